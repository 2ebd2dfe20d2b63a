# frozen_string_literal: true

require 'etc'
require 'json'
require 'optparse'
require 'yaml'
require_relative 'lab'
require_relative 'runit'

# `gitlab-ctl registry-database` (files/gitlab-ctl-commands of omnibus-gitlab). Simulated: its options, what it requires of
# the registry, that the command runs as the account registry, the exit status (128 for options that it does not know), and
# that it starts a stopped registry after each command that succeeded. Not simulated: gc-stats, help texts.
class RegistryDatabaseCommands
  PROGRAM = File.expand_path('../bin/registry', __dir__)
  PUBLIC = '/var/opt/gitlab/public_attributes.json'
  USAGE = "Usage:\n  gitlab-ctl registry-database command subcommand [options]"
  IMPORT = { '-B' => '--common-blobs', '-c' => '--row-count', '-d' => '--dry-run', '-e' => '--require-empty-database', '-p' => '--pre-import',
             '-r' => '--all-repositories', '-1' => '--step-one', '-2' => '--step-two', '-3' => '--step-three', '-l' => '--log-to-stdout' }.freeze
  READ_ONLY = %w[--all-repositories --step-two].freeze
  # Option of gitlab-ctl → option of the registry.
  MIGRATE = {
    'up' => { %w[-d --dry-run] => '-d', ['-l', '--limit LIMIT'] => '-n', %w[-s --skip-post-deployment] => '-s' },
    'down' => { %w[-d --dry-run] => '-d', ['-l', '--limit LIMIT'] => '-n', %w[-f --force] => '-f' },
    'status' => { %w[-s --skip-post-deployment] => '-s', %w[-u --up-to-date] => '-u' },
    'version' => {}
  }.freeze

  def initialize
    @runit = Runit.new
  end

  def run(arguments)
    command = parse(arguments)
    puts "Running #{command.first(2).join(' ')}"
    Dir.chdir(Lab.path(directory))
    return puts('Container registry is not enabled, exiting...') unless @runit.enabled.include?('registry')
    abort "Could not find '#{config}' file. Is this command being run on a Container Registry node?" unless File.exist?(config)

    required(command)
    execute([PROGRAM, 'database', *command, config])
  rescue OptionParser::ParseError => e
    warn "#{e.message}\n\n#{USAGE}"
    exit 128
  end

  private

  def parse(arguments)
    command, *rest = arguments
    raise OptionParser::ParseError, 'registry-database command is not specified.' unless command
    raise OptionParser::ParseError, "Unknown registry-database command: #{command}" unless %w[migrate import].include?(command)

    command == 'import' ? ['import', *options(rest, IMPORT.to_h { |short, long| [[short, long], long] })] : migrate(rest)
  end

  def migrate(arguments)
    subcommand, *rest = arguments
    raise OptionParser::ParseError, 'migrate subcommand is not specified.' unless subcommand

    known = MIGRATE.fetch(subcommand) { raise OptionParser::ParseError, "Unknown migrate subcommand: #{subcommand}" }
    ['migrate', subcommand, *options(rest, known)]
  end

  def options(arguments, known)
    chosen = []
    parser = OptionParser.new do |found|
      known.each do |flags, own|
        found.on(*flags) { |value| chosen.concat(value.is_a?(String) ? [own, limit(value)] : [own]) }
      end
    end
    parser.order!(arguments)
    chosen
  end

  def limit(value)
    raise OptionParser::ParseError, '--limit option must be a positive number' unless value.to_i.positive?

    value
  end

  # What the registry must be, before the command.
  def required(command)
    if command.first(2) == %w[migrate down] && !command.include?('-d') && running?
      puts 'WARNING: Command cannot run while the container registry is running. Stop the registry before proceeding? (y/n)'
      abort 'Exiting...' unless $stdin.gets.to_s.chomp.casecmp?('y')
      @runit.command('stop', 'registry')
    end
    return if (command & READ_ONLY).empty? || !running? || read_only?

    puts 'Command requires the container registry to be in read-only mode. Exiting...'
    exit 1
  end

  def execute(command)
    command = ['chpst', '-u', 'registry:registry', *command] unless !Lab::ROOT.empty? || Etc.getpwuid(Process.euid).name == 'registry'
    puts "Executing command:\n#{command.join(' ')}"
    $stdout.flush
    exit!(1) unless system(*command)

    return if running?

    puts 'Starting service registry'
    @runit.command('start', 'registry')
  end

  def running?
    return true unless Lab::ROOT.empty?

    system({ 'SVDIR' => '/opt/gitlab/service' }, 'sv', 'status', 'registry', out: File::NULL, err: File::NULL) &&
      File.read("#{@runit.directory('registry')}/supervise/stat").strip == 'run'
  end

  def read_only?
    YAML.safe_load(File.read(config)).dig('storage', 'maintenance', 'readonly', 'enabled') == true
  end

  def config
    "#{Lab.path(directory)}/config.yml"
  end

  def directory
    file = Lab.path(PUBLIC)
    (File.exist?(file) && JSON.parse(File.read(file)).dig('registry', 'dir')) || '/var/opt/gitlab/registry'
  end
end
