## GitLab configuration settings
##! Maintained by the platform team. Run `gitlab-ctl reconfigure` after a change.
##! Docs: https://docs.gitlab.com/omnibus/settings/

external_url '$external_url'

## This site in the Geo setup
roles ['$role']
gitlab_rails['geo_node_name'] = '$site'
gitlab_rails['time_zone'] = 'UTC'
# gitlab_rails['gitlab_email_enabled'] = false

################################################################################
## Container registry
################################################################################
$registry
# registry['internal_key'] = nil

### nginx
nginx['redirect_http_to_https'] = true
nginx['client_max_body_size'] = '0'
letsencrypt['enable'] = false

### What this node runs
puma['worker_processes'] = 2
prometheus_monitoring['enable'] = false
$services
