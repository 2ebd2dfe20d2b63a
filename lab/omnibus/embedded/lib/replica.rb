# frozen_string_literal: true

require 'digest'
require 'json'
require 'socket'
require_relative 'databases'

# A database that follows another over the network: what stands for PostgreSQL's streaming replication. The signal file
# has PostgreSQL's own name; here it also says whom to follow.
class Replica
  SIGNAL = "#{SiteDatabase::DIRECTORY}/standby.signal".freeze
  # Of which secret the encrypted columns were made: that of the primary.
  KEY = "#{SiteDatabase::DIRECTORY}/encrypted-with".freeze
  DATA = "#{SiteDatabase::DIRECTORY}/gitlab.json".freeze
  CERTIFICATE = "#{SiteDatabase::DIRECTORY}/data/server.crt".freeze
  ROOT_CERTIFICATE = "#{SiteDatabase::DIRECTORY}/.postgresql/root.crt".freeze

  class Refused < StandardError; end

  def self.here?
    File.exist?(Lab.path(SIGNAL))
  end

  # From now on this host's database is the replica of {'host', 'port', 'user', 'password', 'slot'}.
  def self.begin(connection, first)
    store(first)
    File.write(Lab.path(SIGNAL), JSON.generate(connection), perm: 0o600)
  end

  def self.store(line)
    JSON.parse(line).each do |path, text|
      File.write("#{Lab.path(path)}.new", text)
      File.rename("#{Lab.path(path)}.new", Lab.path(path))
    end
  end

  def self.connection
    JSON.parse(File.read(Lab.path(SIGNAL)))
  end

  # Yields each state of the primary's database, as a line for `store`. Refused, or a SystemCallError, after
  # two seconds where nobody answers; two minutes in reality.
  def self.follow(connection, seconds: 2)
    Socket.tcp(connection['host'], connection['port'], connect_timeout: seconds) do |socket|
      socket.puts(JSON.generate(connection.slice('user', 'password', 'slot')))
      answer = socket.gets.to_s.chomp
      raise Refused, answer unless answer.start_with?('ok')

      verify(connection, answer.delete_prefix('ok '))

      while (line = socket.gets)
        yield line
      end
    end
  end

  # With sslmode=verify-ca the primary must have the very certificate that was installed here.
  def self.verify(connection, shown)
    return unless connection['sslmode'] == 'verify-ca'

    known = connection['authority'] || authority
    raise Refused, "root certificate file \"#{ROOT_CERTIFICATE}\" does not exist" unless known
    raise Refused, 'SSL error: certificate verify failed' unless shown == known
  end

  # The digest of the primary's certificate, as it was installed here; nil without.
  def self.authority
    root = Lab.path(ROOT_CERTIFICATE)
    Digest::SHA256.file(root).hexdigest if File.exist?(root)
  end

  # Rails can read what another site's Rails has encrypted only with the same secret.
  def self.readable?(db_key_base)
    !File.exist?(Lab.path(KEY)) || File.read(Lab.path(KEY)) == Digest::SHA256.hexdigest(db_key_base.to_s)
  end
end
