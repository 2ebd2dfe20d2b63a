# frozen_string_literal: true

require_relative 'registry_storage_client'
require_relative 'version'

# The lock files by which GitLab's registry knows where the metadata of a storage's images are (its
# registry/handlers/app.go at each of its tags). Metadata database off: it marks a storage that has images, read-only mode
# or not, and ends where it may not. Before 4.11 there was none of it; the flag kept it off until 4.29, from 4.31.1 to
# 4.33 and from then to 4.35 in part: the file was written all the same. From 4.38 on there is no flag.
# Not kept: what a registry with the database on writes. It only ends at the other one's file here.
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

  # `config` with Distribution's names of drivers; comes back as it is. RegistryProcess::Refused ends the registry.
  def self.apply(config, version)
    name, options = (config['storage'] || {}).find { |key, _| RegistryStorageClient::DRIVERS.key?(key) }
    return config unless name && version >= '4.11' && !RegistryStorageClient.incomplete?(name, options)

    new(RegistryStorageClient::DRIVERS[name].new(options), version).start(config.dig('database', 'enabled').to_s)
    config
  rescue RegistryStorageClient::Error => e
    raise RegistryProcess::Refused, e.message
  end

  def initialize(storage, version)
    @storage = storage
    @version = version
  end

  def start(database)
    return unless enforced? || @version >= '4.33'
    return without_database unless %w[true prefer].include?(database)

    raise RegistryProcess::Refused, FILESYSTEM_IN_USE if database == 'true' && enforced? && @storage.there?(FILESYSTEM)
  end

  private

  def enforced?
    return true if @version >= '4.38'

    default = (@version >= '4.29' && @version < '4.31.1') || @version >= '4.35'
    ENV.fetch(FLAG, default.to_s) == 'true'
  end

  def without_database
    database, filesystem = [DATABASE, FILESYSTEM].map { |name| @storage.there?(name) }
    raise RegistryProcess::Refused, filesystem ? BOTH : DATABASE_IN_USE if database && enforced?
    return if filesystem && !database
    return unless @storage.repositories?

    mark unless filesystem
    # Only where the flag is off: what an earlier release left there by mistake.
    @storage.delete(DATABASE) if database
  end

  def mark
    @storage.put(FILESYSTEM, BODY)
    warn 'level=warning msg="lockfile state transition: creating filesystem lock"'
  rescue RegistryStorageClient::Error => e
    warn "level=error msg=\"failed to mark filesystem only usage\" error=\"#{e.message}\""
    raise
  end
end
