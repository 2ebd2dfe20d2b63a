# frozen_string_literal: true

require 'openssl'
require 'securerandom'
require 'socket'
require_relative 'event_queue'
require_relative 'http_server'
require_relative 'registry_log'

# The notifications of GitLab's registry, around Debian's, which would retry each event forever and loses all of them
# when it stops: it passes its events to queues here, which behave like those of GitLab's registry of this version.
class EventRelay
  # From this version, a registry that stops continues with its queue for a while; before, the queue is lost
  # silently (container registry commits 7b073c28 and 4d0e4639).
  ENDS_WITH_ITS_QUEUE = '4.10.0'
  # Time for the last events to arrive, after the last request has been answered.
  HAND_OVER_SECONDS = 0.3

  def self.endpoints(config)
    (config.dig('notifications', 'endpoints') || []).reject { |endpoint| endpoint['disabled'] }
  end

  # `recorder`: gets every event as well.
  def initialize(config, version, recorder = nil)
    @config = config
    @version = version
    @recorder = recorder
    @path = SecureRandom.hex
    @endpoints = EventRelay.endpoints(config)
  end

  # The configuration for Debian's registry. Durations that Go cannot read stay: it rejects them.
  def config
    @server = HttpServer.new(0, logged: false)
    endpoints = @endpoints.each_with_index.map do |endpoint, number|
      durations = endpoint.slice('timeout', 'backoff').reject { |_, value| EventQueue.seconds(value) }
      { 'timeout' => '30s', 'threshold' => 1, 'backoff' => '50ms', **durations, **endpoint.slice('name', 'ignore', 'ignoredmediatypes'),
        'url' => "http://127.0.0.1:#{@server.port}/#{@path}/#{number}" }
    end
    endpoints << recorded if @recorder
    http = (@config['http'] || {}).reject { |_, value| value == 0 }
    # It then finishes its requests before it ends; see #stop.
    http = { 'draintimeout' => '10s' }.merge(http) if ends_with_its_queue?
    @config.merge('notifications' => { 'endpoints' => endpoints }, 'http' => http)
  end

  # Runs Debian's registry until it ends or is stopped; returns the exit status.
  def run(environment, *command, **options)
    $stdout.sync = true
    asked, tell = IO.pipe
    %w[TERM INT].each { |name| trap(name) { tell.write_nonblock('.', exception: false) } }
    output, its = IO.pipe
    # It must not outlive this process.
    pid = Process.spawn(environment, '/usr/bin/setpriv', '--pdeathsig', 'KILL', *command, out: its, err: its, **options)
    its.close
    reader = Thread.new { output.each_line { |line| said(line) } }
    Thread.new { @server.run { |request| take(request) } }
    ended = Process.detach(pid)
    sleep 0.02 until ended.join(0) || asked.wait_readable(0.2)
    return ended.value.exitstatus || 1 if ended.join(0)

    stop(pid, ended)
    reader.join
    0
  end

  private

  def recorded
    { 'name' => 'recorder', 'timeout' => '30s', 'threshold' => 1, 'backoff' => '50ms', 'ignore' => { 'actions' => ['pull'] },
      'url' => "http://127.0.0.1:#{@server.port}/#{@path}/#{@endpoints.size}" }
  end

  def ends_with_its_queue?
    @version >= ENDS_WITH_ITS_QUEUE
  end

  # Not before it has read its configuration: an error in it has ended the registry by then.
  def said(line)
    return RegistryLog.translate(line) unless line.include?('msg="configuring endpoint')

    number = line[%r{/#{@path}/(\d+)\)}, 1].to_i
    endpoint = @endpoints[number] or return
    queues[number]
    headers = (endpoint['headers'] || {}).map { |name, values| "#{name}:[#{Array(values).join(' ')}]" }
    timeout = endpoint['timeout'].is_a?(Integer) ? "#{endpoint['timeout']}ns" : endpoint['timeout']
    RegistryLog.write('info', "configuring endpoint #{endpoint['name']} (#{endpoint['url']}), timeout=#{timeout}, headers=map[#{headers.join(' ')}]")
  end

  def queues
    @queues ||= @endpoints.map { |endpoint| EventQueue.new(endpoint, @version, trusted) }
  end

  # As Go does: those in the directory, once.
  def trusted
    @trusted ||= OpenSSL::X509::Store.new.tap do |store|
      store.set_default_paths
      Dir.glob("#{ENV.fetch('SSL_CERT_DIR', '/nowhere')}/*").each do |file|
        store.add_file(file)
      rescue OpenSSL::X509::StoreError
        nil # No certificate, or one that is in it already.
      end
    end
  end

  def take(request)
    _, path, number = request.path.split('/')
    return [404, {}] unless path == @path

    queue = queues[number.to_i] || @recorder
    JSON.parse(request.body)['events'].each { |event| queue.push(event) }
    [200, {}]
  end

  # A new connection without a request prevents Debian's registry from ending, while it accepts no others: long enough
  # for it to pass on its last events.
  def stop(pid, ended)
    if ends_with_its_queue?
      open = connect
      queues.each(&:interrupt)
    end
    Process.kill('TERM', pid)
    sleep HAND_OVER_SECONDS if open
    open&.close
    ended.join
    return unless ends_with_its_queue?

    queues.map { |queue| Thread.new { queue.close } }.each(&:join)
    RegistryLog.write('info', 'graceful shutdown successful')
  rescue Errno::ESRCH
    nil # It has ended by itself meanwhile.
  end

  def connect
    host, _, port = @config.dig('http', 'addr').to_s.rpartition(':')
    TCPSocket.new({ '' => '127.0.0.1', '0.0.0.0' => '127.0.0.1', '[::]' => '::1' }.fetch(host, host.delete('[]')), port.to_i)
  rescue SystemCallError
    nil # It does not listen yet.
  end
end
