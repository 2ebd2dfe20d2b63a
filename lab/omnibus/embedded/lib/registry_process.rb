# frozen_string_literal: true

require 'json'
require 'yaml'
require_relative 'event_relay'
require_relative 'registry_database'
require_relative 'registry_lock_files'
require_relative 'registry_storage'

# One start of the registry: what GitLab's would refuse ends it with GitLab's words, the rest becomes a configuration
# for Debian's.
class RegistryProcess
  # In the order in which GitLab's registry looks at them. Each `apply(config, version)` returns the configuration as
  # it goes on, or raises Refused.
  STEPS = [RegistryStorage, RegistryDatabase, RegistryLockFiles].freeze
  # Distribution has no such sections.
  NOT_DISTRIBUTION = %w[database gc redis].freeze
  # AWS_CA_BUNDLE, for one, makes Debian's registry panic: it gets what the real one is given, and no more.
  ENVIRONMENT = %w[SSL_CERT_DIR SSL_CERT_FILE HTTPS_PROXY NO_PROXY AWS_EC2_METADATA_SERVICE_ENDPOINT].freeze

  # Why the registry ends at its start.
  class Refused < StandardError; end

  def initialize(file, version)
    @file = file
    @version = version
  end

  # Becomes Debian's registry; stays around it where there are notifications.
  def serve
    config = STEPS.inject(YAML.safe_load(File.read(@file))) { |now, step| step.apply(now, @version) }
    config = config.except(*NOT_DISTRIBUTION)
    return debians(config) { |*command, **options| exec(*command, **options) } if EventRelay.endpoints(config).empty?

    relay = EventRelay.new(config, @version)
    exit debians(relay.config) { |*command, **options| relay.run(*command, **options) }
  rescue Refused => e
    abort "#{'creating new registry instance: ' if @version >= '4.0'}configuring application: #{e.message}"
  end

  private

  # Through a pipe, so that no file has the secrets a second time.
  def debians(config)
    reader, writer = IO.pipe
    writer.write(JSON.generate(config))
    writer.close
    environment = ENV.slice(*ENVIRONMENT).merge('PATH' => '/usr/sbin:/usr/bin:/sbin:/bin')
    yield environment, '/usr/bin/docker-registry', 'serve', "/dev/fd/#{reader.fileno}", reader => reader, unsetenv_others: true
  end
end
