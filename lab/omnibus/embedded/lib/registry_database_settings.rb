# frozen_string_literal: true

require_relative 'lab'

# registry['database'] as omnibus of each version completes it (registry/attributes/default.rb, and
# parse_database_configuration in gitlab/libraries/registry.rb).
class RegistryDatabaseSettings
  DIRECTORY = '/var/opt/gitlab/postgresql'
  DEFAULTS = { 'user' => 'registry', 'dbname' => 'registry', 'port' => 5432, 'sslmode' => 'prefer' }.freeze
  # `enabled` where nobody states it, from a version on. Commits 9d5b887e8, 38e09490b and cbd04d779.
  ENABLED = { '18.3' => false, '18.7' => 'false', '19.0' => 'prefer' }.freeze
  # The beginning of omnibus' warning.
  OVERRIDDEN = "Registry database mode is set to 'prefer', but GitLab-managed PostgreSQL is disabled."

  def initialize(settings, warnings)
    @registry = settings['registry']
    @postgresql = settings['postgresql']
    @warnings = warnings
  end

  # Before 18.3 config.yml has what was stated, or no such section.
  def apply
    default = ENABLED.reverse_each.find { |since, _| Lab.version >= since }
    return unless default

    @registry['auto_migrate'] = true if @registry['auto_migrate'].nil?
    stated = @registry['database'] || {}
    database = ConfigMash.from(DEFAULTS.merge('enabled' => default.last, 'host' => host))
    database['port'] = @postgresql['port'] if Lab.version >= '19.1' && @postgresql['port']
    @registry['database'] = database.merge!(stated.reject { |_, value| value.nil? })
    prefer if Lab.version >= '18.7'
  end

  private

  # Of several addresses that PostgreSQL listens at, the first.
  def host
    (@postgresql['listen_address'] || @postgresql['dir'] || DIRECTORY).to_s.split(',').first
  end

  # Only in a PostgreSQL of omnibus' own on this node the database is there without anybody's doing.
  def prefer
    database = @registry['database']
    return unless database['enabled'] == 'prefer' && @postgresql['enable'] == false

    database.merge!('enabled' => 'false', '_prefer_mode_overridden' => true)
    @warnings << OVERRIDDEN
  end
end
