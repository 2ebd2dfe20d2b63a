## GitLab configuration settings
##! This file is generated during initial installation and **is not** modified
##! during upgrades.
##! Docs: https://docs.gitlab.com/omnibus/settings/

## GitLab URL
##! URL on which GitLab will be reachable.
external_url 'http://gitlab.example.com'

## Roles for multi-instance GitLab
# roles ['redis_sentinel_role', 'redis_master_role']

### GitLab settings
# gitlab_rails['time_zone'] = 'UTC'
# gitlab_rails['initial_root_password'] = "password"

################################################################################
## Container registry settings
################################################################################
# registry_external_url 'https://registry.example.com'
# registry['enable'] = true
# registry['log_level'] = "info"

################################################################################
## Let's Encrypt integration
################################################################################
# letsencrypt['enable'] = nil
# letsencrypt['contact_emails'] = [] # This should be an array of email addresses to add as contacts

## The lab's: where the AWS SDK finds the instance metadata service, which is link-local on EC2.
registry['env'] = { 'AWS_EC2_METADATA_SERVICE_ENDPOINT' => 'http://127.0.0.169' }
