external_url 'https://gitlab.london.example.com'
letsencrypt['enable'] = false
# Set in the administrator's shell, and absent over SSH.
registry['enable'] = ENV['GITLAB_REGISTRY_ON'] == 'yes'
