external_url 'https://gitlab.london.example.com'
registry_external_url 'https://registry.london.example.com'
letsencrypt['enable'] = false
registry['dir'] = '/srv/gitlab/registry'
gitlab_rails['registry_path'] = '/srv/gitlab/images'
