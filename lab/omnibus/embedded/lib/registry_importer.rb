# frozen_string_literal: true

require 'digest'
require 'json'
require 'time'
require_relative 'event_queue'
require_relative 'registry_migrations'
require_relative 'registry_storage_client'

# `registry database import` (registry/datastore/importer.go): step one imports the manifests of all tags, step two the tags
# and whatever manifest is missing, in a transaction per repository, step three all other blobs; without a step all three.
# Simulated: what each needs, leaves and prints, that step two refuses where there are tags, and what it does to the lock
# files: after a success the database's, after a failure or a dry run the other. Not simulated: layers, media types,
# retries, concurrency.
class RegistryImporter
  NOT_EMPTY = 'halting import to protect data: tags already present in database - this may be an imported registry! If you are retrying an ' \
              'import, you must manually truncate the tags table before retrying: see ' \
              'https://docs.gitlab.com/administration/packages/container_registry_metadata_database_troubleshooting'
  LOCKED = 'database-in-use lockfile exists'
  COUNTED = %w[repositories manifests blobs tags].freeze
  NAMES = { '1' => ['step one', 'import manifests', 'pre importing all repositories'], '2' => ['step two', 'import tags', 'importing all repositories'],
            '3' => ['step three', 'import blobs', 'importing blobs'] }.freeze
  # Seconds; a Go duration, or 0.
  SKIP_RECENT = 72 * 3600

  class Failed < StandardError; end

  # A repository's tags in the storage, and the manifests that they need.
  Image = Struct.new(:tags, :manifests)

  def initialize(database, storage, locks, options)
    @database = database
    @storage = storage
    @locks = locks
    @options = options
    @dry_run = options['dry-run']
    # What a dry run would have done, for one transaction at the end.
    @statements = []
    @counts = Hash.new(0)
  end

  def run(only)
    @began = now
    @started = Time.now.utc
    open_log
    log('info', 'starting metadata import', pre_import: [nil, '1'].include?(only), dry_run: @dry_run ? true : false)
    (only ? [only] : NAMES.keys).each { |step| timed(step) }
    @database.query("BEGIN;\n#{@statements.join("\n")}\nROLLBACK;") if @dry_run && @statements.any?
    describe('registry import complete')
    log('info', 'metadata import complete', **(@options['row-count'] ? rows : {}), duration_s: (now - @began).round(6))
  rescue MetadataDatabase::Error, RegistryStorageClient::Error => e
    raise Failed, e.message
  ensure
    statistics
  end

  private

  # -- what it prints

  def open_log
    return @log = $stdout if @options['log-to-stdout']

    path = File.join(@options['log-directory'] || Dir.pwd, "#{Time.now.iso8601}-registry-import.log")
    @log = File.open(path, 'a', 0o600)
    @log.sync = true
    describe("registry import starting, detailed log written to: #{path}")
  rescue SystemCallError => e
    raise Failed, "opening log file: open #{path}: #{e.message.sub(/ @ .*/, '').downcase}"
  end

  def log(level, message, **fields)
    line = { time: Time.now.utc.iso8601(3), level: level, msg: message.to_json, **fields }.map { |name, value| "#{name}=#{value}" }
    @log&.puts(line.join(' '))
  end

  def describe(text)
    puts "| [#{(now - @began).round}s] #{text}" unless @options['log-to-stdout']
  end

  def bar(done, total, text, unit)
    return if @options['log-to-stdout']

    width = total.zero? ? 0 : 40 * done / total
    puts "#{total.zero? ? 0 : 100 * done / total}% [#{'=' * width}#{' ' * (40 - width)}] (#{done}/#{total}, #{done} #{unit}/s) #{text}"
  end

  # -- steps

  def timed(step)
    name, what, failing = NAMES.fetch(step)
    describe("#{name}: #{what}")
    began = now
    send({ '1' => :manifests, '2' => :tags, '3' => :blobs }.fetch(step))
    describe("#{name} completed in #{(now - began).round}s")
  rescue MetadataDatabase::Error, RegistryStorageClient::Error, Failed => e
    raise Failed, "#{failing}: #{e.message}"
  end

  def manifests
    recent = imported_since
    each_repository do |path|
      log('info', 'pre importing repository', repository: path)
      next log('info', 'skipping repository pre import: last pre imported after skip cutoff date', repository: path) if recent.include?(path)

      image = read(path)
      bar(image.tags.size, image.tags.size, "pre importing manifests in #{path}", 'manifests')
      change(repository(path), *image.manifests.map { |digest, payload| manifest(path, digest, payload) },
             "UPDATE repositories SET last_published_at = now() WHERE path = #{quote(path)};")
      log('info', 'repository pre import complete', repository: path)
    end
  end

  def imported_since
    seconds = @options['pre-import-skip-recent']
    seconds = seconds ? EventQueue.seconds(seconds) || 0 : SKIP_RECENT
    return [] unless seconds.positive?

    @database.query("SELECT path FROM repositories WHERE last_published_at > now() - interval '#{seconds} seconds';").flatten
  end

  def tags
    raise Failed, NOT_EMPTY unless @database.value('SELECT count(*) FROM tags;') == '0'

    @counts.clear
    each_repository do |path|
      log('info', 'importing repository', repository: path)
      image = read(path)
      bar(image.tags.size, image.tags.size, "importing tags in #{path}", 'tags')
      change(repository(path), *image.manifests.map { |digest, payload| manifest(path, digest, payload) },
             *image.tags.map { |name, digest| tag(path, name, digest) })
      @counts['repositories'] += 1
      @counts['tags'] += image.tags.size
      @counts['manifests'] += image.manifests.size
      log('info', 'repository import complete', repository: path)
    end
  rescue MetadataDatabase::Error, RegistryStorageClient::Error, Failed => e
    locks_after_failure(e.message)
  else
    @dry_run ? locks_after_failure(nil) : @locks.give_to_database
  end

  # Also where the tags were imported earlier, which is a failure as well: the database's file is removed then.
  def locks_after_failure(message)
    problem = restore_locks
    together = [message, problem && "could not restore lockfiles: #{problem}"].compact.join(': ')
    raise Failed, together unless together.empty?
  end

  # Returns why it could not.
  def restore_locks
    return LOCKED if @dry_run && @locks.database?

    @locks.give_to_filesystem
    nil
  rescue RegistryStorageClient::Error => e
    e.message
  end

  def blobs
    all = @storage.blobs
    all.each_with_index do |(digest, size), number|
      log('info', 'importing blob', digest: digest, count: number, size: size)
      change(blob(digest, size))
    end
    @counts['blobs'] += all.size
    bar(all.size, all.size, 'importing blobs', 'blobs')
    log('info', 'blob import complete')
  end

  def each_repository(&block)
    all = @storage.repositories
    raise RegistryStorageClient::Error, "#{@storage.driver}: Path not found: /#{RegistryStorageClient::REPOSITORIES.chomp('/')}" if all.empty?

    all.each(&block)
  end

  # Tags whose link is broken are skipped, and manifests that are not there.
  def read(path)
    tags = @storage.tags(path).select { |_, digest| digest.match?(/\Asha256:\h{64}\z/) }
    found = {}
    tags.each_value { |digest| collect(digest, found) }
    Image.new(tags.select { |_, digest| found.key?(digest) }, found)
  end

  # With those that an index names, before it.
  def collect(digest, found)
    return if found.key?(digest)

    payload = @storage.blob(digest)
    return log('warning', 'unknown manifest revision, skipping', digest: digest) if payload.to_s.empty?

    (JSON.parse(payload)['manifests'] || []).each { |one| collect(one['digest'], found) }
    found[digest] = payload
  rescue JSON::ParserError
    log('warning', 'invalid manifest payload, skipping', digest: digest)
  end

  # -- statements

  def change(*statements)
    statements.flatten!
    @dry_run ? @statements.concat(statements) : @database.query("BEGIN;\n#{statements.join("\n")}\nCOMMIT;")
  end

  def repository(path)
    RegistryRows.repository(path)
  end

  def manifest(path, digest, payload)
    RegistryRows.manifest(path, digest, payload)
  end

  def tag(path, name, digest)
    RegistryRows.tag(path, name, digest)
  end

  def blob(digest, size)
    RegistryRows.blob(digest, size)
  end

  def quote(text)
    MetadataDatabase.quote(text)
  end

  # -- counts

  def rows
    COUNTED.to_h { |table| [table.to_sym, @database.value("SELECT count(*) FROM #{table};").to_i] }
  end

  def statistics
    return if @options['import-statistics'] == 'false' || @dry_run

    columns = @counts.map { |name, number| ["#{name}_count", number] }
    @database.query("INSERT INTO import_statistics (started_at, finished_at#{columns.map { |name, _| ", #{name}" }.join}) " \
                    "VALUES (#{quote(@started.iso8601)}, now()#{columns.map { |_, number| ", #{number}" }.join});")
  rescue MetadataDatabase::Error => e
    log('error', 'failed to commit import statistics to the database', error: e.message.to_json)
  end

  def now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end

# Statements that put one image's metadata into the tables, whatever is there already.
module RegistryRows
  class << self
    def repository(path)
      space = quote(path[%r{\A[^/]+}])
      ["INSERT INTO top_level_namespaces (name) VALUES (#{space}) ON CONFLICT DO NOTHING;",
       'INSERT INTO repositories (top_level_namespace_id, name, path) ' \
       "SELECT id, #{quote(path.split('/').last)}, #{quote(path)} FROM top_level_namespaces WHERE name = #{space} ON CONFLICT DO NOTHING;"]
    end

    def manifest(path, digest, payload)
      parts = referenced(payload)
      [*parts.map { |one| blob(one['digest'], one['size'].to_i) },
       'INSERT INTO manifests (top_level_namespace_id, repository_id, schema_version, digest, payload, total_size) ' \
       "SELECT top_level_namespace_id, id, 2, #{binary(digest)}, '\\x#{payload.unpack1('H*')}', #{parts.sum { |one| one['size'].to_i }} " \
       "FROM repositories WHERE path = #{quote(path)} ON CONFLICT DO NOTHING;"]
    end

    def tag(path, name, digest)
      'INSERT INTO tags (top_level_namespace_id, repository_id, manifest_id, name) ' \
        "SELECT r.top_level_namespace_id, r.id, m.id, #{quote(name)} FROM repositories r JOIN manifests m ON m.repository_id = r.id " \
        "WHERE r.path = #{quote(path)} AND m.digest = #{binary(digest)} " \
        'ON CONFLICT (repository_id, name) DO UPDATE SET manifest_id = EXCLUDED.manifest_id, updated_at = now();'
    end

    def blob(digest, size)
      "INSERT INTO blobs (digest, size) VALUES (#{binary(digest)}, #{size}) ON CONFLICT DO NOTHING;"
    end

    # Of everything that points to it.
    def without_manifest(path, digest)
      "DELETE FROM manifests m USING repositories r WHERE m.repository_id = r.id AND r.path = #{quote(path)} AND m.digest = #{binary(digest)};"
    end

    private

    def referenced(payload)
      manifest = JSON.parse(payload)
      [manifest['config'], *manifest['layers']].compact
    end

    # As GitLab's registry stores a digest: a byte for the algorithm, then the hash.
    def binary(digest)
      "'\\x01#{digest.delete_prefix('sha256:')}'"
    end

    def quote(text)
      MetadataDatabase.quote(text)
    end
  end
end
