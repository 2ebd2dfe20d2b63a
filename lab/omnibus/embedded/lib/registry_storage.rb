# frozen_string_literal: true

require_relative 'version'

# The storage section of GitLab's registry for Debian's: the drivers that the version has under Distribution's names, and
# what its S3 driver refuses. Two drivers end it (Distribution sees to that).
module RegistryStorage
  # Distribution's name, and from which registry on and before which it is there (CHANGELOG.md of the registry; of s3_v2
  # the first entry that names it).
  Driver = Struct.new(:name, :since, :until)
  DRIVERS = {
    's3' => Driver.new('s3'), 's3aws' => Driver.new('s3'), 's3_v2' => Driver.new('s3', '4.15'),
    'azure' => Driver.new('azure'), 'azure_v2' => Driver.new('azure', '4.15'),
    'gcs' => Driver.new('gcs'), 'filesystem' => Driver.new('filesystem'), 'inmemory' => Driver.new('inmemory'),
    'swift' => Driver.new('swift', nil, '4.0'), 'oss' => Driver.new('oss', nil, '4.0')
  }.freeze
  NO_DRIVERS = %w[cache delete maintenance redirect].freeze

  # The regions that AWS' SDK 1.46 has, which GitLab's registry takes the names from; its driver s3_v2 does so too.
  REGIONS = %w[
    af-south-1 ap-east-1 ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1 ap-south-2 ap-southeast-1
    ap-southeast-2 ap-southeast-3 ap-southeast-4 ca-central-1 cn-north-1 cn-northwest-1 eu-central-1 eu-central-2
    eu-north-1 eu-south-1 eu-south-2 eu-west-1 eu-west-2 eu-west-3 il-central-1 me-central-1 me-south-1 sa-east-1
    us-east-1 us-east-2 us-gov-east-1 us-gov-west-1 us-iso-east-1 us-iso-west-1 us-isob-east-1 us-west-1 us-west-2
  ].freeze
  # SDK 1.55, from registry 4.12 on.
  LATER_REGIONS = %w[ca-west-1 eu-isoe-west-1].freeze
  # Those that Debian's registry does not have; where they are is what AWS' names say.
  NOT_DISTRIBUTIONS = %w[ap-southeast-4 ca-west-1 eu-isoe-west-1 il-central-1].freeze
  SMALLEST_CHUNK = 5 << 20
  # From registry 4.20 on half of what S3 takes.
  LARGEST_CHUNK = { '4.20' => 5 << 29, '0.0' => 5 << 30 }.freeze

  class << self
    # {'s3_v2' => {…}, 'cache' => {…}} under Distribution's names.
    def apply(config, version)
      storage = (config['storage'] || {}).to_h do |name, options|
        next [name, options] if NO_DRIVERS.include?(name)

        driver = known(name, version)
        [driver, driver == 's3' ? s3(options || {}, version) : options]
      end
      config.merge('storage' => storage)
    end

    private

    def known(name, version)
      driver = DRIVERS[name]
      return driver.name if driver && version >= (driver.since || '0.0') && !(driver.until && version >= driver.until)

      raise RegistryProcess::Refused, "StorageDriver not registered: #{name}"
    end

    def s3(options, version)
      problems = [region_problem(options, version), chunk_problem(options['chunksize'], version)].compact
      raise RegistryProcess::Refused, together(problems) if problems.any?

      return options unless NOT_DISTRIBUTIONS.include?(options['region']) && blank?(options['regionendpoint'])

      options.merge('regionendpoint' => "https://s3.#{options['region']}.amazonaws.com")
    end

    # No region at all is a matter of Distribution's as well.
    def region_problem(options, version)
      region = options['region'].to_s
      return if region.empty? || !blank?(options['regionendpoint'])
      return if REGIONS.include?(region) || (LATER_REGIONS.include?(region) && version >= '4.12')

      "validating region provided: #{region}"
    end

    def chunk_problem(size, version)
      largest = LARGEST_CHUNK.find { |since, _| version >= since }.last
      return if size.nil? || size.to_i.between?(SMALLEST_CHUNK, largest)

      name = version >= '4.0' ? '"chunksize"' : 'chunksize'
      "converting #{name} to int64: the chunksize #{size} parameter should be a number between " \
        "#{SMALLEST_CHUNK} and #{largest} (inclusive)"
    end

    # As Go's multierror writes several.
    def together(problems)
      head = problems.one? ? '1 error' : "#{problems.size} errors"
      "#{head} occurred:\n#{problems.map { |problem| "\t* #{problem}\n" }.join}\n"
    end

    def blank?(value)
      value.to_s.empty?
    end
  end
end
