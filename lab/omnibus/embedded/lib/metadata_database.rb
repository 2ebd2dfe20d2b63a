# frozen_string_literal: true

require 'open3'
require 'tempfile'
require_relative 'event_queue'

# The connection of GitLab's registry to its metadata database, by the section `database` of config.yml: a real PostgreSQL,
# asked with psql. Simulated: the connection's parameters as Go's driver (pgx 5) takes them, and its messages. Not simulated:
# connection pools, load balancing, prepared statements.
class MetadataDatabase
  PSQL = File.expand_path('../bin/psql', __dir__)
  ANSWER = ['-X', '-q', '-A', '-t', '-F', "\t", '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=verbose', '-f', '-'].freeze
  BUNDLE = '/etc/ssl/certs/ca-certificates.crt'
  MINIMUM = 150_000
  # Of what the server says before there is a connection, psql does not show the SQLSTATE.
  STATES = {
    /password authentication failed/ => '28P01',
    /database ".*" does not exist/ => '3D000',
    /permission denied for database/ => '42501',
    /the database system is (starting up|shutting down|not yet accepting|in recovery)/ => '57P03',
    /too many (connections|clients)|remaining connection slots/ => '53300'
  }.freeze
  NOT_AUTHORIZED = '28000'

  # The message is the registry's.
  class Error < StandardError; end

  # No connection was made, or it was lost.
  class Unreachable < Error; end

  def initialize(settings)
    @settings = settings
  end

  # The rows, each an Array of texts. The statements are those of one session.
  def query(statements)
    output, said, status = session(statements)
    return output.lines(chomp: true).map { |line| line.split("\t", -1) } if status.success?

    raise Unreachable, connection_problem(said) if said.match?(/connection to server (at|on socket) /)
    raise Unreachable, lookup_problem(said) if said.include?('could not translate host name')

    raise Error, statement_problem(said)
  end

  # Whether there is a connection at all: Error with what the registry says at its first one.
  def open
    query('SELECT 1;')
    self
  rescue Error => e
    raise e.class, "#{e.message.start_with?('cannot parse') ? 'parsing connection string failed' : 'verification failed'}: #{e.message}"
  end

  def value(statement)
    query(statement).dig(0, 0)
  end

  def supported?
    value("SELECT current_setting('server_version_num')::integer >= #{MINIMUM};") == 't'
  end

  def in_recovery?
    value('SELECT pg_is_in_recovery();') == 't'
  end

  # A literal of SQL.
  def self.quote(text)
    raise ArgumentError, 'NUL in a text for PostgreSQL' if text.include?("\0")

    "'#{text.gsub("'", "''")}'"
  end

  private

  # The password is in a file that only this user can read, and that is gone as soon as psql has ended.
  def session(statements)
    Tempfile.create('registry-pgpass') do |file|
      file.puts("*:*:*:*:#{@settings['password'].to_s.gsub(/[:\\]/) { |special| "\\#{special}" }}")
      file.close
      trusted do |certificates|
        environment = { 'PGPASSFILE' => file.path, 'PGOPTIONS' => '-c client_min_messages=warning', 'PGSYSCONFDIR' => '/nowhere' }
        environment['PATH'] = '/usr/sbin:/usr/bin:/sbin:/bin'
        Open3.capture3(environment, PSQL, *ANSWER, '-d', parameters(certificates), stdin_data: statements, unsetenv_others: true)
      end
    end
  end

  def parameters(certificates)
    {
      'host' => @settings['host'], 'port' => @settings['port'], 'user' => @settings['user'], 'dbname' => @settings['dbname'],
      'sslmode' => sslmode, 'sslcert' => @settings['sslcert'] || '/nowhere', 'sslkey' => @settings['sslkey'] || '/nowhere',
      'sslrootcert' => certificates, 'gssencmode' => 'disable', 'connect_timeout' => EventQueue.seconds(@settings['connecttimeout'])&.ceil,
      'application_name' => 'registry'
    }.reject { |_, value| value.to_s.empty? }.map { |name, value| "#{name}='#{value.to_s.gsub(/[\\']/) { |special| "\\#{special}" }}'" }.join(' ')
  end

  def sslmode
    @settings['sslmode'].to_s.empty? ? 'prefer' : @settings['sslmode']
  end

  # Go verifies with what the system and SSL_CERT_DIR trust, where PostgreSQL's own client wants a file.
  def trusted
    return yield(@settings['sslrootcert'] || '/nowhere') unless @settings['sslrootcert'].to_s.empty? && sslmode.start_with?('verify-')

    Tempfile.create('registry-trusted') do |file|
      files = [BUNDLE, *Dir.glob("#{ENV.fetch('SSL_CERT_DIR', '/nowhere')}/*")].select { |path| File.file?(path) }
      files.each { |path| file.puts(File.binread(path)) }
      file.close
      yield file.path
    end
  end

  # -- messages

  def connection_problem(said)
    if (file = said[/root certificate file "([^"]+)" does not exist/, 1])
      return "cannot parse `host=#{@settings['host']} password=xxxxx`: failed to configure TLS (unable to read CA file: open #{file}: no such file or directory)"
    end

    attempts = said.lines(chomp: true).grep(/connection to server|^FATAL|^\t/).slice_when { |_, line| line.include?('connection to server') }
    failed(attempts.map { |lines| attempt(lines.join("\n")) })
  end

  def attempt(text)
    socket = text[/connection to server on socket "([^"]+)"/, 1]
    name, address, port = text.match(/connection to server at "([^"]+)"(?: \(([^)]+)\))?, port (\d+)/)&.captures
    place = socket ? "#{socket} (#{File.dirname(socket)})" : "#{joined(address || name, port)} (#{name})"
    "#{place}: #{cause(text[/ failed: (.*)/m, 1].to_s.strip, socket ? "unix #{socket}" : "tcp #{joined(address || name, port)}")}"
  end

  def joined(host, port)
    host.to_s.include?(':') ? "[#{host}]:#{port}" : "#{host}:#{port}"
  end

  def cause(why, network)
    case why
    when /\AFATAL:  (.*)/
      message = Regexp.last_match(1)
      "server error: FATAL: #{message} (SQLSTATE #{STATES.find { |pattern, _| message.match?(pattern) }&.last || NOT_AUTHORIZED})"
    when /timeout expired|timed out/ then "dial error: timeout: dial #{network}: i/o timeout"
    when /server does not support SSL/ then 'tls error: server refused TLS connection'
    when /certificate verify failed/ then 'tls error: tls: failed to verify certificate: x509: certificate signed by unknown authority'
    when /server certificate for "([^"]+)".* does not match host name "([^"]+)"/
      "tls error: tls: failed to verify certificate: x509: certificate is valid for #{Regexp.last_match(1)}, not #{Regexp.last_match(2)}"
    when /no password supplied/ then %(server error: FATAL: password authentication failed for user "#{@settings['user']}" (SQLSTATE 28P01))
    when /closed the connection unexpectedly/ then 'failed to receive message: unexpected EOF'
    else "dial error: dial #{network}: connect: #{why.lines.first.to_s.strip.downcase}"
    end
  end

  def lookup_problem(said)
    name = said[/could not translate host name "([^"]+)"/, 1]
    failed(["hostname resolving error: lookup #{name}: no such host"])
  end

  def failed(attempts)
    head = "failed to connect to `user=#{@settings['user']} database=#{@settings['dbname']}`:"
    # An answer of the server is the last attempt; otherwise the next one is without TLS, where that is allowed.
    answered = attempts.index { |one| one.match?(/SQLSTATE (28P01|28000|3D000|42501)/) }
    attempts = attempts.first(answered + 1) if answered
    attempts *= 2 if attempts.one? && attempts.first.match?(/: (dial|hostname)/) && %w[prefer allow].include?(sslmode) && !attempts.first.start_with?('/')
    attempts.one? ? "#{head} #{attempts.first}" : "#{head}\n#{attempts.map { |one| "\t#{one}" }.join("\n")}"
  end

  def statement_problem(said)
    found = said.match(/(ERROR|FATAL|PANIC):  ([0-9A-Z]{5}): (.*)/)
    return "#{found[1]}: #{found[3]} (SQLSTATE #{found[2]})" if found
    return 'unexpected EOF' if said.match?(/closed the connection unexpectedly|connection to server was lost/)

    said.strip
  end
end
