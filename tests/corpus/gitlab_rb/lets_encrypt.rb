external_url 'https://gitlab.london.example.com'
letsencrypt['enable'] = true
# No line about the registry: omnibus turns it on by itself, on port 5050 of external_url.
