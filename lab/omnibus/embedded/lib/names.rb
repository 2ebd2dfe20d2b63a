# frozen_string_literal: true

# The top-level names that gitlab.rb may use (package/libraries/config/gitlab.rb of omnibus-gitlab), and some of the
# settings that were removed (package/libraries/deprecations.rb): using one of those ends a reconfigure.
module Names
  ROLES = %w[
    application redis_sentinel redis_master redis_replica geo_primary geo_secondary monitoring postgres patroni
    pgbouncer consul gitaly sidekiq spamcheck pages
  ].freeze
  HASHES = (%w[
    package registry redis postgresql consul gitaly praefect mattermost letsencrypt crond prometheus alertmanager
    node_exporter redis_exporter postgres_exporter gitlab_exporter pgbouncer_exporter geo_postgresql geo_secondary
    geo_logcursor sentinel gitlab_shell gitlab_sshd gitlab_rails gitlab_workhorse gitlab_kas gitlab_pages logging puma
    mailroom storage_check nginx bootstrap omnibus_gitconfig manage_accounts manage_storage_directories user gitlab_ci
    sidekiq mattermost_nginx pages_nginx registry_nginx gitlab_kas_nginx remote_syslog logrotate high_availability
    web_server prometheus_monitoring pgbouncer patroni spamcheck git_data_dirs
  ] + ROLES.map { |role| "#{role}_role" }).freeze
  VALUES = %w[
    external_url registry_external_url pages_external_url mattermost_external_url gitlab_kas_external_url runtime_dir
    git_data_dir roles node edition
  ].freeze

  # [path in gitlab.rb, removed in, what to do]
  REMOVED = [
    [%w[git_data_dirs], '18.0', "Use gitaly['configuration']['storage'] instead."],
    [%w[gitlab_shell migration], '18.0', 'It has had no effect since 17.3.'],
    [%w[gitlab_shell custom_hooks_dir], '15.0', "Use gitaly['custom_hooks_dir'] instead."],
    [%w[sidekiq cluster], '14.0', 'sidekiq-cluster is always used.'],
    [%w[postgresql data_dir], '14.0', "Use postgresql['dir'] instead."],
    [%w[nginx gzip], '14.0', "Use nginx['gzip_enabled'] instead."],
    [%w[gitlab_rails extra_piwik_url], '14.0', "Use gitlab_rails['extra_matomo_url'] instead."]
  ].freeze

  # Lines for those that the settings use.
  def self.removed_in(settings)
    used = REMOVED.select do |path, _, _|
      value = path.inject(settings) { |hash, key| hash && hash[key] }
      !value.nil? && value != {}
    end
    used.map do |(name, *keys), version, advice|
      "* #{name}#{keys.map { |key| "['#{key}']" }.join} was removed in #{version}. #{advice}"
    end
  end
end
