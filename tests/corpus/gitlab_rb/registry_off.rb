external_url 'https://gitlab.london.example.com'
letsencrypt['enable'] = false
# A configuration tool states every setting, this one with omnibus' default.
registry['enable'] = false
