# frozen_string_literal: true

require_relative 'metadata_database'
require_relative 'registry_lock_files'
require_relative 'registry_log'
require_relative 'registry_migrations'

# A start of GitLab's registry with its metadata database (registry/handlers/app.go, initializeMetadataDatabase): the lock
# files first, then the database itself, which must answer, be new enough, writable and migrated; then it marks the storage.
module RegistryDatabase
  PENDING = "there are pending database migrations, use the 'registry database migrate' CLI command to check and apply them"
  RECOVERY = 'the database is in read-only mode (in recovery)'
  TOO_OLD = 'the database version is lower than the minimal supported version 15.0'
  FALLBACK = 'database prefer mode enabled, but found filesystem metadata: falling back to legacy metadata'
  FRESH = 'database in prefer mode on a fresh install: configured and reachable metadata database required to start'
  # Of the checks the one that came last.
  CHECKS_RECOVERY = '4.0'

  class << self
    def on?(config)
      %w[true prefer].include?(config.dig('database', 'enabled').to_s)
    end

    # Off in what it returns, where the mode "prefer" goes on without it.
    def apply(config, version)
      return config unless on?(config)

      locks = RegistryLockFiles.of(config, version)
      return off(config) if locks && !locks.with_database(config['database']['enabled'].to_s)

      RegistryLog.write('info', 'using the metadata database')
      ready(MetadataDatabase.new(config['database']), version)
      locks&.mark_database
      config
    rescue RegistryStorageClient::Error, MetadataDatabase::Error => e
      raise RegistryProcess::Refused, e.message
    end

    private

    def off(config)
      RegistryLog.write('warning', FALLBACK)
      config.merge('database' => config['database'].merge('enabled' => 'false'))
    end

    def ready(database, version)
      opened(database, version)
      raise RegistryProcess::Refused, TOO_OLD unless database.supported?

      if version >= CHECKS_RECOVERY && database.in_recovery?
        RegistryLog.write('error', 'could not connect to database', error: RECOVERY)
        raise RegistryProcess::Refused, RECOVERY
      end
      raise RegistryProcess::Refused, PENDING if RegistryMigrations.pending?(database, version)
    end

    def opened(database, version)
      database.open
    rescue MetadataDatabase::Error => e
      raise RegistryProcess::Refused, "failed to initialize database connections: #{"failed to open primary database connection: " if version >= '4.10'}#{e.message}"
    end
  end
end
