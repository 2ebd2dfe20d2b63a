external_url 'https://gitlab.london.example.com'
registry_external_url 'https://registry.london.example.com'
letsencrypt['enable'] = false
gitlab_rails['registry_key_path'] = '/etc/gitlab/registry-signing.key'
registry['rootcertbundle'] = '/etc/gitlab/registry-signing.crt'
