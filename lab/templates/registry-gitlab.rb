## Registry node of the site $site: no GitLab here, only its container registry
##! gitlab-secrets.json is a copy of the application nodes': key pair and http_secret must be the same.
##! Docs: https://docs.gitlab.com/administration/packages/container_registry/

$registry
## Where clients fetch their tokens: the application nodes
registry['token_realm'] = '$external_url'

### nginx serves the registry's URL, with the certificate in /etc/gitlab/ssl
registry_nginx['redirect_http_to_https'] = true
nginx['client_max_body_size'] = '0'
letsencrypt['enable'] = false

### What this node does not run
gitlab_rails['enable'] = false
gitlab_rails['auto_migrate'] = false
puma['enable'] = false
sidekiq['enable'] = false
gitlab_workhorse['enable'] = false
gitaly['enable'] = false
gitlab_kas['enable'] = false
postgresql['enable'] = false
redis['enable'] = false
prometheus_monitoring['enable'] = false
