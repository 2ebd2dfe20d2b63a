# frozen_string_literal: true

require_relative 'registry_importer'
require_relative 'registry_log'

# What is pushed and deleted while the metadata database is on, for its tables: GitLab's registry writes there itself, here
# it follows from the events of Debian's, one after another, as soon as the database takes them.
class RegistryRecorder
  RETRY_SECONDS = 1

  # nil where the database is off, or the storage is one that this lab has no client for.
  def self.of(config)
    return unless RegistryDatabase.on?(config)

    name, options = (config['storage'] || {}).find { |key, _| RegistryStorageClient::DRIVERS.key?(key) }
    new(MetadataDatabase.new(config['database']), RegistryStorageClient::DRIVERS[name].new(options)) if name
  end

  def initialize(database, storage)
    @database = database
    @storage = storage
    @events = Queue.new
    Thread.new { loop { record(@events.pop) } }
  end

  def push(event)
    @events << event
  end

  private

  def record(event)
    statements = statements(event)
    @database.query("BEGIN;\n#{statements.join("\n")}\nCOMMIT;") if statements.any?
  rescue MetadataDatabase::Error, RegistryStorageClient::Error => e
    RegistryLog.write('error', 'writing to the metadata database', error: e.message)
    sleep RETRY_SECONDS
    retry
  end

  def statements(event)
    path, digest, tag = event['target'].values_at('repository', 'digest', 'tag')
    return [RegistryRows.without_manifest(path, digest)] if event['action'] == 'delete' && digest
    return [] unless event['action'] == 'push' && event['target']['mediaType'].to_s.match?(/manifest|index/)

    payload = @storage.blob(digest) or return []
    [*RegistryRows.repository(path), *RegistryRows.manifest(path, digest, payload), *(tag.to_s.empty? ? [] : RegistryRows.tag(path, tag, digest))]
  end
end
