# frozen_string_literal: true

# The node's own nginx, asked on the node itself: by the names that it serves, at the addresses where it listens,
# whatever DNS and load balancers say. `sv restart` and a reconfigure succeed although nginx ends at once, so somebody
# must ask.
class OwnNginx
  RUN = '/opt/gitlab/sv/nginx/run'
  OFF = '/opt/gitlab/sv/nginx/down'
  SERVICE = '/opt/gitlab/service/nginx'
  LOG = '/var/log/gitlab/nginx'
  # The files of the server blocks, from GitLab 18.5 on and before.
  FILES = { 'GitLab' => %w[service_conf/gitlab-rails.conf gitlab-http.conf],
            'the registry' => %w[service_conf/gitlab-registry.conf gitlab-registry.conf] }.freeze
  START_SECONDS = 10
  # Puma alone takes minutes on a small server.
  PATIENCE = 300

  # rank: 0 nginx does not answer, 1 it answers for a service that does not, 2 the service answers. distrust: why this
  # node does not trust the certificate, or nil.
  Seen = Struct.new(:rank, :text, :distrust)

  # Remembers what answers now: everything that comes later is compared with it. unfinished: an earlier run left a
  # change behind, so that what does not answer now may have answered before it.
  def initialize(order, unfinished: false)
    @order = order
    @unfinished = unfinished
    @sizes = logs.to_h { |path| [path, File.size(path)] }
    @before = blocks.to_h { |block| [block, ask(block)] }
  end

  # nginx itself, a few seconds after it was restarted; GitLab and registry may still be starting.
  def came_back
    blocks.each do |block|
      next unless expected?(block)

      starts = vain_starts
      seen = Http.until(START_SECONDS) do
        now = ask(block)
        { ok: now.rank.positive? || vain_starts >= starts + 2, seen: now }
      end[:seen]
      gone(block, seen) if seen.rank.zero?
      distrusted(block, seen)
    end
  end

  # Everything that answered before, and the registry that is new; {check => answer}. of: what is looked at.
  def as_before(of = FILES.keys)
    blocks.select { |block| of.include?(block.what) }.to_h do |block|
      wanted = wanted(block)
      told = false
      seen = Http.until(wanted.positive? ? PATIENCE : 0) do
        now = ask(block)
        unless now.rank >= wanted || told
          told = true
          Report.say("#{@order['node']}: waiting for #{block.what} behind this node's nginx (#{now.text}), " \
                     "at most #{PATIENCE} s")
        end
        { ok: now.rank >= wanted, seen: now }
      end[:seen]
      silent(block, seen) if seen.rank < wanted
      ["#{block.what} answers for #{block.name} through this node's nginx", shown(seen)]
    end
  end

  # Whether nginx answers again, once the former settings are back; a restart helps where it has given up. nil: as it
  # should; "": there is nothing to say.
  def after_rollback
    due = blocks.select { |block| @unfinished || @before[block]&.rank.to_i.positive? }
    return '' if due.empty?

    down = unanswered(due)
    unless down.empty?
      Omnibus.restart(@order, 'nginx')
      down = unanswered(due)
    end
    @away = !down.empty?
    return ', and nginx answers' unless @away

    ", but nginx does not answer for #{down.map(&:name).uniq.join(' and ')}#{log_says}"
  rescue Failure => e
    @away = true
    ", but nginx does not answer (#{e.cause_text})"
  end

  # Whether it did not come back after a rollback.
  def away?
    @away == true
  end

  private

  # What did not answer before need not do so now; what is new must, unless all of nginx was off.
  def expected?(block)
    return true if @unfinished
    return @before[block].rank.positive? if @before.key?(block)

    @before.empty? || @before.values.any? { |seen| seen.rank.positive? }
  end

  # Of a GitLab by a new name nobody knows whether its Rails can answer yet.
  def wanted(block)
    return 0 unless expected?(block)

    former = @before[block]&.rank.to_i
    return former if former.positive?

    block.what == 'GitLab' ? 1 : 2
  end

  def unanswered(due)
    due.reject { |block| Http.until(START_SECONDS) { { ok: ask(block).rank.positive? } }[:ok] }
  end

  def gone(block, seen)
    raise Failure.new("nginx on this node does not answer for #{block.name}",
                      cause: "#{seen.text}#{log_says}",
                      remedy: 'correct what its log says (`gitlab-ctl tail nginx`), then `pulumi up` again')
  end

  def silent(block, seen)
    service = block.what == 'GitLab' ? 'puma' : 'registry'
    was = @before[block] ? " (before this change: #{@before[block].text})" : ''
    raise Failure.new("#{block.what} on this node does not answer for #{block.name}",
                      cause: "through nginx at #{block.at}: #{seen.text}#{was}",
                      remedy: "run `gitlab-ctl tail #{service}` on the node, mend the cause, then `pulumi up` again")
  end

  def distrusted(block, seen)
    return unless seen.distrust && @before[block] && @before[block].rank.positive? && @before[block].distrust.nil?

    raise Failure.new("this node no longer trusts the certificate of #{block.name}",
                      cause: "#{seen.distrust}; before this change it did",
                      remedy: 'put the former certificate back, or give the new one\'s authority in ' \
                              'trusted_certificates; then `pulumi up` again')
  end

  def shown(seen)
    return "no: #{seen.text}" if seen.rank.zero?

    seen.distrust ? "#{seen.text}, with a certificate that this node does not trust: #{seen.distrust}" : seen.text
  end

  # -- what nginx was given

  Block = Struct.new(:what, :name, :address, :port, :tls, :proxy) do
    def at
      "#{address.include?(':') ? "[#{address}]" : address}:#{port}"
    end
  end

  def blocks
    return [] unless File.exist?(SERVICE) && !File.exist?(OFF)

    conf = "#{Files.read(RUN).to_s[/nginx\s+-p\s+(\S+)/, 1] || '/var/opt/gitlab/nginx'}/conf"
    FILES.flat_map do |what, names|
      path = names.map { |name| "#{conf}/#{name}" }.find { |file| File.exist?(file) }
      path ? servers(File.read(path)).flat_map { |text| listens(what, text) } : []
    end.uniq
  end

  # The texts of the server blocks in a file.
  def servers(text)
    text = text.scrub.gsub(/^\s*#.*/, '')
    text.split(/^\s*server\s*\{/).drop(1)
  end

  def listens(what, text)
    name = text[/\bserver_name\s+([^;\s]+)/, 1]
    return [] if name.nil? || name.start_with?('~', '_', '"')

    text.scan(/\blisten\s+([^;\s]+)([^;]*);/).filter_map do |where, flags|
      address, port = where.match(/\A(?:(.*):)?(\d+)\z/)&.captures
      port && Block.new(what, name, reached(address), port.to_i,
                        flags.match?(/\bssl\b/), flags.match?(/\bproxy_protocol\b/))
    end
  end

  def reached(address)
    case address
    when nil, '*', '0.0.0.0' then '127.0.0.1'
    when '[::]' then '::1'
    else address.delete('[]')
    end
  end

  # -- asking

  def ask(block)
    socket = Socket.tcp(block.address, block.port, connect_timeout: 5)
    Timeout.timeout(20) { converse(socket, block) }
  rescue SystemCallError, SocketError, IOError, Timeout::Error, OpenSSL::SSL::SSLError => e
    why = Unreached.of(e, URI("#{block.tls ? 'https' : 'http'}://#{block.at}"), e.is_a?(Timeout::Error) ? 20 : 5)
    # One that has accepted and does not answer in time is there, and so is what is behind it.
    Seen.new(why.kind == :slow ? 1 : 0, why.text, nil)
  ensure
    socket&.close
  end

  def converse(socket, block)
    socket.write("PROXY TCP4 127.0.0.1 127.0.0.1 #{block.port} #{block.port}\r\n") if block.proxy
    stream, distrust = block.tls ? tls(socket, block) : [socket, nil]
    path = block.what == 'GitLab' ? "#{relative_root}/-/health" : '/v2/'
    stream.write("GET #{path} HTTP/1.1\r\nHost: #{block.name}\r\nConnection: close\r\n" \
                 "User-Agent: geo-registry-proof\r\n\r\n")
    status = stream.gets.to_s[%r{\AHTTP/[0-9.]+ (\d{3})}, 1] or raise EOFError
    Seen.new(status.to_i >= 500 ? 1 : 2, status, distrust)
  end

  # Whatever its certificate is: that is told apart from whether it answers.
  def tls(socket, block)
    context = OpenSSL::SSL::SSLContext.new
    context.verify_mode = OpenSSL::SSL::VERIFY_NONE
    stream = OpenSSL::SSL::SSLSocket.new(socket, context)
    stream.hostname = block.name unless block.name.match?(/\A[\d.]+\z|:/)
    stream.connect
    [stream, distrust(stream.peer_cert, stream.peer_cert_chain, block.name)]
  end

  def distrust(certificate, chain, name)
    @store ||= OpenSSL::X509::Store.new.tap(&:set_default_paths)
    return @store.error_string unless @store.verify(certificate, chain)

    names = CertificateNames.of(certificate)
    "it is for #{names.first(5).join(', ')}" unless CertificateNames.cover?(names, name)
  end

  def relative_root
    (Omnibus.rails_config.dig('gitlab', 'relative_url_root') || '').chomp('/')
  rescue SystemCallError, Psych::Exception
    ''
  end

  # -- its log

  def logs
    Dir.glob("#{LOG}/{current,error.log,gitlab_error.log}").select { |path| File.file?(path) }
  end

  # The last thing that kept nginx from starting.
  def log_says
    lines = complaints
    lines.empty? ? '' : "; nginx' log: #{lines.last[0, 300]}"
  end

  # How often runit has started it for nothing: twice is a loop. A port that is still taken becomes free.
  def vain_starts
    complaints.reject { |line| line.include?('bind()') }.size
  end

  # What has kept nginx from starting since, each line once a log.
  def complaints
    logs.map do |path|
      since = @sizes[path].to_i
      File.open(path, 'rb') do |file|
        file.seek(since <= file.size ? since : 0)
        file.read(1 << 20).to_s.scrub.scan(/\[(?:emerg|alert|crit)\].*/)
      end
    end.max_by(&:size) || []
  rescue SystemCallError
    []
  end
end
