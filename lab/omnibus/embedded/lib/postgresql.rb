# frozen_string_literal: true

Encoding.default_external = Encoding::UTF_8
require 'ipaddr'
require 'openssl'
require_relative 'replica'

# A stand-in for PostgreSQL as far as Geo replicates it. Simulated: the port, who may connect (listen_address,
# md5_auth_cidr_addresses), the replication user's password, that a replica follows for as long as it can connect.
# Not simulated: PostgreSQL. It runs only where it has something to do: on a primary that others may reach, and on a replica.
class Postgresql
  CONFIG = '/opt/gitlab/etc/postgresql.json'
  LOOK_SECONDS = 0.1
  RETRY_SECONDS = 0.5

  # What a reconfigure leaves for it; nil where nobody is to reach it.
  def self.config(settings)
    postgresql = settings['postgresql']
    return if [nil, '', 'localhost', '127.0.0.1'].include?(postgresql['listen_address'])

    JSON.pretty_generate(
      'port' => postgresql['port'] || 5432,
      'networks' => Array(postgresql['md5_auth_cidr_addresses']),
      'user' => postgresql['sql_replication_user'] || 'gitlab_replicator',
      'password' => postgresql['sql_replication_password'],
      'encrypted_with' => Digest::SHA256.hexdigest(settings['gitlab_rails']['db_key_base'].to_s)
    )
  end

  # Self-signed, made once: what a secondary knows its primary's database by.
  def self.certificate
    key = OpenSSL::PKey::RSA.new(2048)
    made = OpenSSL::X509::Certificate.new
    made.serial = OpenSSL::BN.rand(64)
    made.subject = made.issuer = OpenSSL::X509::Name.parse('/CN=PostgreSQL')
    made.public_key = key.public_key
    made.not_before = Time.now
    made.not_after = Time.now + 315_360_000
    made.sign(key, OpenSSL::Digest.new('SHA256')).to_pem
  end

  def run
    return follow if Replica.here?

    @config = JSON.parse(File.read(Lab.path(CONFIG)))
    server = TCPServer.new('0.0.0.0', @config['port'])
    loop { Thread.new(server.accept) { |socket| serve(socket) } }
  end

  private

  def follow
    loop do
      Replica.follow(Replica.connection) { |line| Replica.store(line) }
    rescue SystemCallError, Replica::Refused => e
      puts "FATAL:  could not connect to the primary server: #{e.message}"
    ensure
      sleep RETRY_SECONDS
    end
  end

  def serve(socket)
    hello = JSON.parse(socket.gets.to_s)
    problem = refusal(hello, socket.remote_address.ip_address)
    return socket.puts(problem) if problem

    socket.puts("ok #{Digest::SHA256.file(Lab.path(Replica::CERTIFICATE)).hexdigest}")
    stream(socket)
  rescue SystemCallError, IOError, JSON::ParserError
    nil # It went away.
  ensure
    socket.close
  end

  def refusal(hello, address)
    user = hello['user']
    unless @config['networks'].any? { |network| IPAddr.new(network).include?(address) }
      return "FATAL:  no pg_hba.conf entry for replication connection from host \"#{address}\", user \"#{user}\", SSL on"
    end
    # As PostgreSQL stores it: `gitlab-ctl pg-password-md5`.
    right = user == @config['user'] && @config['password'] == Digest::MD5.hexdigest("#{hello['password']}#{user}")
    "FATAL:  password authentication failed for user \"#{user}\"" unless right
  end

  def stream(socket)
    sent = nil
    loop do
      file = Lab.path(Replica::DATA)
      data = File.exist?(file) ? File.read(file) : JSON.generate(SiteDatabase::EMPTY)
      now = JSON.generate(Replica::KEY => @config['encrypted_with'], Replica::DATA => data)
      socket.puts(sent = now) unless now == sent
      return if socket.wait_readable(LOOK_SECONDS)
    end
  end
end

if $PROGRAM_NAME == __FILE__
  $stdout.sync = true
  require 'io/wait'
  Postgresql.new.run
end
