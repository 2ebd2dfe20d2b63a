# frozen_string_literal: true

# The storage section of GitLab's registry for Debian's: its drivers' names, and that swift and oss are gone. Two drivers
# end it (Distribution sees to that).
module RegistryStorage
  DRIVERS = {
    's3_v2' => 's3', 's3' => 's3', 's3aws' => 's3', 'azure_v2' => 'azure', 'azure' => 'azure', 'gcs' => 'gcs',
    'filesystem' => 'filesystem', 'inmemory' => 'inmemory'
  }.freeze
  NO_DRIVERS = %w[cache delete maintenance redirect].freeze

  # {'s3_v2' => {…}, 'cache' => {…}} under Distribution's names.
  def self.apply(config, _version)
    storage = (config['storage'] || {}).to_h do |name, options|
      next [name, options] if NO_DRIVERS.include?(name)

      [DRIVERS.fetch(name) { raise RegistryProcess::Refused, "StorageDriver not registered: #{name}" }, options]
    end
    config.merge('storage' => storage)
  end
end
