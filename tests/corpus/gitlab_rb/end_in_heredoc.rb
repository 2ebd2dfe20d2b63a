external_url 'https://gitlab.london.example.com'
letsencrypt['enable'] = false
gitlab_rails['extra_sign_in_text'] = <<~TEXT
  Welcome.
__END__
  That ends nothing.
TEXT
