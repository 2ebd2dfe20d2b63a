# frozen_string_literal: true

require 'json'
require 'net/http'
require 'openssl'
require 'timeout'
require 'uri'
require_relative 'registry_log'

# One notification endpoint of GitLab's registry: events wait in memory and are delivered one by one (container registry,
# notifications/sinks.go, endpoint.go and http.go). Kept for each version: how often and after which pauses a refused
# event is repeated, when it is dropped, what a stop does, the texts in the log. Not simulated: metrics, redirects.
class EventQueue
  # github.com/cenkalti/backoff v4, exponential.go.
  LONGEST_PAUSE = 60.0
  LIMIT = 900.0
  FACTOR = 1.5
  TYPE = 'application/vnd.docker.distribution.events.v1+json'
  UNITS = { 'ns' => 1e-9, 'us' => 1e-6, 'ms' => 1e-3, 's' => 1.0, 'm' => 60.0, 'h' => 3600.0 }.freeze
  CLOSED = 'sink: closed'
  CANCELED = 'context canceled'

  # Seconds of a Go duration, "1m30s" or the Integer 500 (nanoseconds); nil if Go would reject it.
  def self.seconds(text)
    return text * 1e-9 if text.is_a?(Integer)
    return unless text.to_s.match?(/\A(\d+(\.\d+)?(ns|us|ms|s|m|h))+\z/)

    text.scan(/([\d.]+)([a-z]+)/).sum { |number, unit| number.to_f * UNITS.fetch(unit) }
  end

  # `trusted`: the certificates that the registry read at its start.
  def initialize(endpoint, version, trusted)
    @url = URI(endpoint['url'])
    @headers = endpoint['headers'] || {}
    @timeout = EventQueue.seconds(endpoint['timeout'] || '1s')
    @backoff = EventQueue.seconds(endpoint['backoff'] || '1s')
    @version = version
    @trusted = trusted
    @threshold = endpoint['threshold'].to_i
    @retries = retries(endpoint['maxretries'].to_i)
    @purge = EventQueue.seconds(endpoint['queuepurgetimeout'] || '5s')
    @most = version >= '4.26.0' ? endpoint['queuesizelimit'] || 3000 : Float::INFINITY
    @events = []
    @mutex = Mutex.new
    @changed = ConditionVariable.new
    @sender = Thread.new { deliver_all }
  end

  def push(event)
    @mutex.synchronize do
      return if @stopping
      next RegistryLog.write('warning', 'queue full, dropping event', queue_size: @events.size, event_id: event['id']) if @events.size >= @most

      @events << event
      @changed.broadcast
    end
  end

  # When a registry is asked to stop, from 4.10. If nothing else is queued, the event that is being sent is aborted
  # immediately, and not retried.
  def interrupt
    @mutex.synchronize { @answer&.push(:interrupted) if @events.empty? }
  end

  # Then it continues with its queue for a while, and aborts the last event. The pause after a refused event is not
  # shortened.
  def close
    RegistryLog.write('info', 'event queue: closing')
    lost = @mutex.synchronize { drain }
    lost.each { |event| RegistryLog.write('warning', "eventqueue: event lost: #{shown(event)}") }
    RegistryLog.write('info', "#{@retries ? 'backoffSink' : 'retryingSink'}: closing")
    RegistryLog.write('info', 'httpsink: closing')
    @mutex.synchronize do
      @closed = true
      @answer&.push(:interrupted)
      @changed.broadcast
    end
    @sender.join
  end

  private

  # The maximum number of attempts of this version; nil for a registry that never gives up.
  def retries(maxretries)
    return if @version < '3.93.0'
    return maxretries if maxretries.positive?
    return if @version < '4.30.0'

    @threshold.positive? ? translated : 10
  end

  # As many as fit into 120 s for each second of backoff.
  def translated
    window = [120 * @backoff, LIMIT].min
    pause = @backoff
    waited = 0.0
    tries = 0
    while waited + pause <= window
      waited += pause
      tries += 1
      pause = [pause * FACTOR, LONGEST_PAUSE].min
    end
    [tries, @threshold].max
  end

  def drain
    @stopping = true
    RegistryLog.write('warning', 'eventqueue: received termination signal', remaining_events: @events.size)
    deadline = now + @purge
    @changed.wait(@mutex, [deadline - now, 0.01].max) while !@events.empty? && now < deadline
    @ended = true
    @events.slice!(0..)
  end

  def deliver_all
    while (event = take)
      why = @retries ? backed_off(event) : repeated(event)
      RegistryLog.write('warning', 'eventqueue: event lost', error: why, event: shown(event)) if why
    end
  end

  # The next event, or nil at the end.
  def take
    @mutex.synchronize do
      @changed.wait(@mutex) while @events.empty? && !@ended
      @events.shift.tap { @changed.broadcast }
    end
  end

  # backoffSink: nil, or why the event is lost.
  def backed_off(event)
    began = now
    interval = @backoff
    (0..).each do |tries|
      return CLOSED if @closed

      why = post(event) or return
      RegistryLog.write('error', @version >= '4.10.0' ? 'backoffSink: error writing event' : 'retryingsink: error writing event, retrying count', error: why)
      pause = interval * (0.5 + rand)
      return why if tries == @retries || now - began + pause > LIMIT

      interval = interval >= LONGEST_PAUSE / FACTOR ? LONGEST_PAUSE : interval * FACTOR
      sleep pause
      return CLOSED if why.end_with?(CANCELED)
    end
  end

  # retryingSink: `threshold` times immediately, then after each backoff, forever.
  def repeated(event)
    (0..).each do |failures|
      pause if failures >= [@threshold, 1].max
      return CLOSED if @closed

      why = post(event) or return
      return CLOSED if why.end_with?(CANCELED)

      next RegistryLog.write('error', 'retryingsink: error writing event, retrying', error: why, railure_count: failures) if @version >= '4.10.0'

      RegistryLog.write('error', "retryingsink: error writing events: #{why}, retrying")
    end
  end

  def pause
    @mutex.synchronize { @changed.wait(@mutex, @backoff) unless @closed }
  end

  # nil, or why it was not accepted.
  def post(event)
    answer = Queue.new
    return CANCELED if @mutex.synchronize { @answer = answer; @closed }

    asking = Thread.new { answer << ask(JSON.generate('events' => [event])) }
    status = answer.pop
    @mutex.synchronize { @answer = nil }
    asking.kill
    status = CANCELED if status == :interrupted
    return if status.is_a?(Net::HTTPSuccess) || status.is_a?(Net::HTTPRedirection)

    "httpSink{#{@url}}: " + (status.is_a?(String) ? "error posting: Post \"#{@url}\": #{status}" : "response status #{status.code} #{status.message} unaccepted")
  end

  def ask(body)
    request = Net::HTTP::Post.new(@url.request_uri, 'Content-Type' => TYPE)
    @headers.each { |name, values| request[name] = Array(values) }
    request.body = body
    proxy = @url.find_proxy
    Timeout.timeout(@timeout) do
      Net::HTTP.start(@url.hostname, @url.port, proxy&.hostname, proxy&.port, use_ssl: @url.scheme == 'https', cert_store: @trusted) do |http|
        http.request(request)
      end
    end
  rescue Timeout::Error
    'context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
  rescue Errno::ECONNREFUSED
    "dial tcp #{@url.hostname}:#{@url.port}: connect: connection refused"
  rescue SystemCallError, SocketError, OpenSSL::SSL::SSLError, IOError, Net::HTTPBadResponse => e
    e.message
  end

  # An event as Go's %v shows it, in as far as somebody reads it: action, media type, digest, repository, tag.
  def shown(event)
    target = event['target'] || {}
    "&{#{event['id']} #{event['timestamp']} #{event['action']} {{#{target['mediaType']} #{target['size'].to_i} #{target['digest']} [] map[] <nil>} <nil> " \
      "#{target['length'].to_i} #{target['repository']}  #{target['url']} #{target['tag']} []}}"
  end

  def now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end
