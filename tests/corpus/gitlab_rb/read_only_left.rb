external_url 'https://gitlab.london.example.com'
registry_external_url 'https://registry.london.example.com'
letsencrypt['enable'] = false
# Left from a garbage collection.
registry['storage'] = {
  'maintenance' => { 'readonly' => { 'enabled' => true } },
  's3' => { 'bucket' => 'acme-old', 'region' => 'eu-west-1' }
}
