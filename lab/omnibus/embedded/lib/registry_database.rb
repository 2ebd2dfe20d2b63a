# frozen_string_literal: true

# The metadata database of GitLab's registry. PostgreSQL itself is not there, only the place where it would keep its
# data: the replica's is mounted read-only, and a registry that is to write to it ends.
module RegistryDatabase
  def self.apply(config, _version)
    database = config['database'] || {}
    return config unless %w[true prefer].include?(database['enabled'].to_s)

    data = database['host'].to_s
    return config unless File.directory?(data) && (!File.writable?(data) || File.exist?("#{data}/standby.signal"))

    raise RegistryProcess::Refused,
          'failed to initialize database: ERROR: cannot execute INSERT in a read-only transaction (SQLSTATE 25006)'
  end
end
