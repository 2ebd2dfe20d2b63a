# frozen_string_literal: true

require 'json'
require 'yaml'
require_relative 'event_relay'
require_relative 'registry_database'
require_relative 'registry_lock_files'
require_relative 'registry_recorder'
require_relative 'registry_storage'

# One start of the registry: what GitLab's would reject ends it with GitLab's message, the rest becomes a configuration
# for Debian's.
class RegistryProcess
  # In the order in which GitLab's registry checks them. Each `apply(config, version)` returns the resulting
  # configuration, or raises Refused.
  STEPS = [RegistryStorage, RegistryDatabase, RegistryLockFiles].freeze
  # Distribution has no such sections.
  NOT_DISTRIBUTION = %w[database gc redis].freeze
  # AWS_CA_BUNDLE, for example, makes Debian's registry panic: it gets only the variables of the real one.
  ENVIRONMENT = %w[SSL_CERT_DIR SSL_CERT_FILE HTTPS_PROXY NO_PROXY AWS_EC2_METADATA_SERVICE_ENDPOINT].freeze

  # From this registry on its answers say whether its metadata database is on.
  TELLS_OF_DATABASE = '3.85'

  # Why the registry exits at startup.
  class Refused < StandardError; end

  def initialize(file, version)
    @file = file
    @version = version
  end

  # Becomes Debian's registry, or runs it as a child if there are notifications or a metadata database.
  def serve
    $stdout.sync = true
    config = STEPS.inject(YAML.safe_load(File.read(@file))) { |now, step| step.apply(now, @version) }
    recorder = RegistryRecorder.of(config)
    config = with_headers(config).except(*NOT_DISTRIBUTION)
    return debians(config) { |*command, **options| exec(*command, **options) } if EventRelay.endpoints(config).empty? && !recorder

    relay = EventRelay.new(config, @version, recorder)
    exit debians(relay.config) { |*command, **options| relay.run(*command, **options) }
  rescue Refused => e
    abort "#{'creating new registry instance: ' if @version >= '4.0'}configuring application: #{e.message}"
  end

  private

  # GitLab's registry has them in its answers to /v2/ only.
  def with_headers(config)
    http = config['http'] || {}
    headers = { 'Gitlab-Container-Registry-Version' => ["#{@version}-gitlab"] }
    headers['Gitlab-Container-Registry-Database-Enabled'] = [RegistryDatabase.on?(config).to_s] if @version >= TELLS_OF_DATABASE
    config.merge('http' => http.merge('headers' => (http['headers'] || {}).merge(headers)))
  end

  # Through a pipe, so that no second file contains the secrets.
  def debians(config)
    reader, writer = IO.pipe
    writer.write(JSON.generate(config))
    writer.close
    environment = ENV.slice(*ENVIRONMENT).merge('PATH' => '/usr/sbin:/usr/bin:/sbin:/bin')
    yield environment, '/usr/bin/docker-registry', 'serve', "/dev/fd/#{reader.fileno}", reader => reader, unsetenv_others: true
  end
end
