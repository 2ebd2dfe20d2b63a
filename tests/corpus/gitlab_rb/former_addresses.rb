external_url 'https://gitlab.london.example.com'
letsencrypt['enable'] = false
# From the time when the registry had GitLab's own name.
gitlab_rails['registry_port'] = '5050'
gitlab_rails['registry_host'] = 'gitlab.london.example.com'
gitlab_rails['registry_enabled'] = false
gitlab_rails['registry_api_url'] = 'http://gitlab:5050'
registry['token_realm'] = 'https://old.example.com'
