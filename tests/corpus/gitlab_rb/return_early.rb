external_url 'https://gitlab.london.example.com'
letsencrypt['enable'] = false
registry_external_url 'https://old.example.com'
return if external_url
