external_url 'https://gitlab.london.example.com'
letsencrypt['enable'] = false
registry_nginx['listen_port'] = 5050
