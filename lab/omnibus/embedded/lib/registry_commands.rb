# frozen_string_literal: true

require 'optparse'
require 'yaml'
require_relative 'registry_database'
require_relative 'registry_importer'
require_relative 'registry_storage'

# `registry database …` (registry/root.go of GitLab's registry). Simulated: the options, the exit status (0, or 1 with a
# message), and what is written to the standard output. `enabled` in the configuration counts for none of them. Not
# simulated: `migrate down`, `background-migrate`, `gc-stats`, and a limit for one series alone.
class RegistryCommands
  USAGE = 'usage: registry database migrate up|status|version CONFIG, or registry database import CONFIG'
  STEPS = { 'pre-import' => '1', 'all-repositories' => '2', 'common-blobs' => '3' }.freeze

  IMPORT = [
    %w[-d --dry-run], %w[-c --row-count], %w[-p --pre-import], %w[-1 --step-one], %w[-r --all-repositories], %w[-2 --step-two],
    %w[-B --common-blobs], %w[-3 --step-three], %w[-l --log-to-stdout], ['-m', '--dynamic-media-types [X]'],
    ['-i', '--import-statistics [X]'], ['-t', '--tag-concurrency N'], ['-s', '--debug-server ADDRESS'],
    ['--pre-import-skip-recent DURATION'], ['--log-directory DIRECTORY']
  ].freeze

  class Wrong < StandardError; end

  def initialize(version)
    @version = version
  end

  def run(arguments)
    $stdout.sync = true
    case arguments
    in ['migrate', ('up' | 'status' | 'version') => verb, *rest] then send(verb, rest)
    in ['import', *rest] then import(rest)
    else puts USAGE
    end
  rescue OptionParser::InvalidOption => e
    abort "unknown flag: #{e.args.first}"
  rescue OptionParser::ParseError, Wrong, MetadataDatabase::Error, RegistryStorageClient::Error, SystemCallError => e
    abort e.message
  end

  private

  # -- migrate

  def up(arguments)
    options = parse(arguments, %w[-d --dry-run], %w[-s --skip-post-deployment], ['-n', '--limit N'], ['-p', '--post-deploy-limit N'])
    options['skip-post-deployment'] = true if ENV['SKIP_POST_DEPLOYMENT_MIGRATIONS'] == 'true'
    began = now
    applied = series(options).to_h { |one, known| [one.name, applied(one, known, options)] }
    return if options['dry-run']

    puts format('OK: applied %d pre-deployment migration(s), %d post-deployment migration(s) and 0 background migration(s) in %.3fs',
                applied['pre-deployment'].to_i, applied['post-deployment'].to_i, now - began)
  end

  def applied(one, known, options)
    plan = planned(one, known).first(limit(one, options))
    puts "#{one.name}:", plan.map(&:id) if plan.any?
    return 0 if options['dry-run']

    RegistryMigrations.apply(@database, one, plan)
    plan.size
  rescue MetadataDatabase::Error => e
    raise Wrong, "#{plan ? 'failed to run database migrations' : 'failed to prepare Up plan'}: #{e.message}"
  end

  # A newer registry's database is left as it is.
  def planned(one, known)
    there = RegistryMigrations.applied(@database, one)
    unknown = there.keys - known.map(&:id)
    plan = known.reject { |migration| there.key?(migration.id) }
    return plan if unknown.empty?
    raise MetadataDatabase::Error, "database contains #{unknown.size} migration records in #{one.table.inspect} that are unknown to this registry build" if plan.any?

    warn "INFO: database schema is newer than this registry build (#{unknown.size} unknown #{one.name} migration record(s)); nothing to migrate"
    []
  end

  def limit(one, options)
    chosen = options[one.name == 'pre-deployment' ? 'limit' : 'post-deploy-limit']
    return chosen.to_i if chosen

    options.values_at('limit', 'post-deploy-limit').any? ? 0 : RegistryMigrations::BEFORE.size
  end

  def status(arguments)
    options = parse(arguments, %w[-u --up-to-date], %w[-s --skip-post-deployment])
    series(options).each do |one, known|
      there = RegistryMigrations.applied(@database, one)
      # As the real one, it says so of the first series and stops.
      return puts(known.all? { |migration| there.key?(migration.id) }) if options['up-to-date']

      puts one.name, table(known.map(&:id) | there.keys, there, known.map(&:id))
    end
  rescue MetadataDatabase::Error => e
    raise Wrong, "failed to detect database status: #{e.message}"
  end

  def table(ids, there, known)
    rows = [%w[MIGRATION APPLIED], *ids.sort.map { |id| [known.include?(id) ? id : "#{id} (unknown)", there[id].to_s] }]
    widths = rows.transpose.map { |column| column.map(&:size).max }
    rows.map { |row| "│ #{row.zip(widths).map { |cell, width| cell.ljust(width) }.join(' │ ')} │" }
  end

  def version(arguments)
    series(parse(arguments)).each do |one, _|
      puts "#{one.name}:#{RegistryMigrations.applied(@database, one).keys.max || 'Unknown'}"
    end
  rescue MetadataDatabase::Error => e
    raise Wrong, "failed to detect database version: #{e.message}"
  end

  # The connection is made here, after the options have been read.
  def series(options)
    connect
    raise Wrong, "failed to construct database connection: #{RegistryDatabase::TOO_OLD}" unless @database.supported?

    all = RegistryMigrations.of(@version)
    options['skip-post-deployment'] ? all.first(1) : all
  end

  # -- import

  def import(arguments)
    options = parse(arguments, *IMPORT)
    step = step_of(options)
    storage = storage_of(RegistryStorage.apply(@config, @version))
    connect
    raise Wrong, RegistryDatabase::PENDING if RegistryMigrations.pending?(@database, @version)
    if (many = options['tag-concurrency'])
      raise Wrong, 'tag-concurrency must be between 1 and 5' unless many.to_i.between?(1, 5)
      raise Wrong, 'the tag concurrency option is only compatible with a gcs backed registry storage'
    end

    RegistryImporter.new(@database, storage, RegistryLockFiles.new(storage, @version), options).run(step)
  rescue RegistryImporter::Failed => e
    raise Wrong, "failed to import metadata: #{e.message}"
  rescue RegistryProcess::Refused => e
    raise Wrong, e.message
  end

  def step_of(options)
    chosen = STEPS.select { |name, number| options[name] || options["step-#{{ '1' => 'one', '2' => 'two', '3' => 'three' }[number]}"] }.values
    raise Wrong, "steps two or three can't be used with step one" if chosen.include?('1') && chosen.size > 1
    raise Wrong, "step three can't be used with step two" if chosen.size > 1

    chosen.first
  end

  def storage_of(config)
    name, options = (config['storage'] || {}).find { |key, _| RegistryStorageClient::DRIVERS.key?(key) }
    raise Wrong, "failed to construct #{config['storage']&.keys&.first} driver: the lab imports from S3 and from a directory only" unless name

    RegistryStorageClient::DRIVERS[name].new(options)
  end

  # -- both

  # {'dry-run' => true, 'limit' => '3'}; the configuration is the last argument.
  def parse(arguments, *flags)
    options = {}
    parser = OptionParser.new do |found|
      flags.each { |flag| found.on(*flag) { |value| options[flag.last[/\A--([\w-]+)/, 1]] = value.nil? ? true : value } }
    end
    rest = parser.parse(arguments)
    @config = configuration(rest.first)
    options
  end

  def configuration(file)
    file ||= ENV.fetch('REGISTRY_CONFIGURATION_PATH', nil)
    raise Wrong, 'configuration error: configuration path unspecified' unless file

    YAML.safe_load(File.read(file))
  rescue Errno::ENOENT
    raise Wrong, "configuration error: open #{file}: no such file or directory"
  rescue Errno::EACCES
    raise Wrong, "configuration error: open #{file}: permission denied"
  end

  def connect
    @database = MetadataDatabase.new(@config['database'] || {}).open
  rescue MetadataDatabase::Error => e
    raise Wrong, "failed to construct database connection: #{e.message}"
  end

  def now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end
