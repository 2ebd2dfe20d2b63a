# frozen_string_literal: true

require_relative 'registry_storage_client'
require_relative 'version'

# The lock files by which GitLab's registry knows where the metadata of a storage's images are (its
# registry/handlers/app.go at each of its tags). Metadata database off: it marks a storage that has images, read-only mode
# or not, and ends where it may not. Database on: it marks the storage once the database is ready. Before 4.11 there was
# none of it; the flag kept it off until 4.29, from 4.31.1 to 4.33 and from then to 4.35 in part: the files were written
# anyway. From 4.38 on there is no flag.
class RegistryLockFiles
  FILESYSTEM = 'docker/registry/lockfiles/filesystem-in-use'
  DATABASE = 'docker/registry/lockfiles/database-in-use'
  BODY = '{"version":1}'
  FLAG = 'REGISTRY_FF_ENFORCE_LOCKFILES'
  DOCS = 'https://docs.gitlab.com/ee/administration/packages/container_registry_metadata_database.html'
  BOTH = 'database-in-use and filesystem-in-use lockfiles present, see ' \
         'https://docs.gitlab.com/administration/packages/container_registry_metadata_database_troubleshooting'
  DATABASE_IN_USE = "registry metadata database in use, please enable the database #{DOCS}"
  FILESYSTEM_IN_USE = 'registry filesystem metadata in use, please import data before enabling the database, ' \
                      "see #{DOCS}#existing-registries"
  # From this registry on, the mode "prefer" looks for images that no lock file tells of (GitLab issue 600955).
  LOOKS_FOR_IMAGES = '4.40.1'

  # `config` with Distribution's names of drivers; comes back as it is. RegistryProcess::Refused ends the registry.
  def self.apply(config, version)
    of(config, version)&.without_database unless RegistryDatabase.on?(config)
    config
  rescue RegistryStorageClient::Error => e
    raise RegistryProcess::Refused, e.message
  end

  # Those of this storage; nil where there are none: an older registry, or a driver that this lab has no client for.
  def self.of(config, version)
    name, options = (config['storage'] || {}).find { |key, _| RegistryStorageClient::DRIVERS.key?(key) }
    return unless name && version >= '4.11' && !RegistryStorageClient.incomplete?(name, options)

    new(RegistryStorageClient::DRIVERS[name].new(options), version)
  end

  def initialize(storage, version)
    @storage = storage
    @version = version
  end

  # Whether a registry whose database is on, in the mode "true" or "prefer", uses it; Refused for what ends it.
  def with_database(mode)
    return true unless looks?

    database, filesystem = both
    if enforced? && filesystem
      raise RegistryProcess::Refused, database ? BOTH : FILESYSTEM_IN_USE if database || mode != 'prefer'

      return false
    end
    return true if mode != 'prefer' || database || filesystem || !enforced?
    return false if @version >= LOOKS_FOR_IMAGES && @storage.repositories?

    RegistryLog.write('info', RegistryDatabase::FRESH)
    true
  end

  # The database is ready.
  def mark_database
    return unless looks?

    database, filesystem = both
    @storage.put(DATABASE, BODY) unless database
    # Only where the flag is off: what an earlier release left there by mistake.
    @storage.delete(FILESYSTEM) if filesystem
    warn 'level=warning msg="lockfile state transition: creating database lock"' unless database
  rescue RegistryStorageClient::Error => e
    warn "level=error msg=\"failed to mark filesystem for database only usage\" error=\"#{e.message}\""
    raise
  end

  def without_database
    return unless looks?

    database, filesystem = both
    raise RegistryProcess::Refused, filesystem ? BOTH : DATABASE_IN_USE if database && enforced?
    return if filesystem && !database
    return unless @storage.repositories?

    mark unless filesystem
    # Only where the flag is off: what an earlier release left there by mistake.
    @storage.delete(DATABASE) if database
  end

  # -- what an import does

  def database?
    @storage.there?(DATABASE)
  end

  def give_to_database
    @storage.delete(FILESYSTEM) if @storage.there?(FILESYSTEM)
    @storage.put(DATABASE, BODY) unless database?
  end

  def give_to_filesystem
    @storage.delete(DATABASE) if database?
    @storage.put(FILESYSTEM, BODY) unless @storage.there?(FILESYSTEM)
  end

  private

  # [database-in-use, filesystem-in-use]
  def both
    [DATABASE, FILESYSTEM].map { |name| @storage.there?(name) }
  end

  def looks?
    enforced? || @version >= '4.33'
  end

  def enforced?
    return true if @version >= '4.38'

    default = (@version >= '4.29' && @version < '4.31.1') || @version >= '4.35'
    ENV.fetch(FLAG, default.to_s) == 'true'
  end

  def mark
    @storage.put(FILESYSTEM, BODY)
    warn 'level=warning msg="lockfile state transition: creating filesystem lock"'
  rescue RegistryStorageClient::Error => e
    warn "level=error msg=\"failed to mark filesystem only usage\" error=\"#{e.message}\""
    raise
  end
end
