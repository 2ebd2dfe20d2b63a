# frozen_string_literal: true

# The metadata database of GitLab's registry. PostgreSQL itself is not there, only the place where it would keep its
# data: the replica's is mounted read-only, and a registry that is to use it ends.
module RegistryDatabase
  # GitLab's own, run on a standby; of those before 4.0 nobody has seen it.
  REPLICA = {
    '4.0' => 'the database is in read-only mode (in recovery)',
    '0.0' => 'failed to initialize database: ERROR: cannot execute INSERT in a read-only transaction (SQLSTATE 25006)'
  }.freeze

  def self.apply(config, version)
    database = config['database'] || {}
    return config unless %w[true prefer].include?(database['enabled'].to_s)

    data = database['host'].to_s
    return config unless File.directory?(data) && (!File.writable?(data) || File.exist?("#{data}/standby.signal"))

    raise RegistryProcess::Refused, REPLICA.find { |since, _| version >= since }.last
  end
end
