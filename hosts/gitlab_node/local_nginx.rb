# frozen_string_literal: true

# Requests to nginx on this node: by the names that it serves, at the addresses where it listens, independent of DNS and
# load balancers. Necessary because `sv restart` and a reconfigure succeed even if nginx ends immediately.
class LocalNginx
  RUN = '/opt/gitlab/sv/nginx/run'
  OFF = '/opt/gitlab/sv/nginx/down'
  SERVICE = '/opt/gitlab/service/nginx'
  LOG = '/var/log/gitlab/nginx'
  # The files of the server blocks, from GitLab 18.5 on and before.
  FILES = { 'GitLab' => %w[service_conf/gitlab-rails.conf gitlab-http.conf],
            'the registry' => %w[service_conf/gitlab-registry.conf gitlab-registry.conf] }.freeze
  START_SECONDS = 10
  # Puma alone takes minutes on a small node.
  SERVICE_SECONDS = 300

  # rank: 0 nginx does not answer, 1 it answers but the service behind it does not, 2 the service answers. distrust: why
  # this node does not trust the certificate, or nil.
  Answer = Struct.new(:rank, :text, :distrust)

  # Records what answers now, to compare later answers with it. incomplete: an earlier run was interrupted, so what does
  # not answer now may have answered before it.
  def initialize(order, incomplete: false)
    @order = order
    @incomplete = incomplete
    @sizes = logs.to_h { |path| [path, File.size(path)] }
    @before = blocks.to_h { |block| [block, ask(block)] }
  end

  # Checks nginx itself, a few seconds after its restart; GitLab and registry may still be starting.
  def check_nginx
    blocks.each do |block|
      next unless expected?(block)

      starts = failed_starts
      seen = Http.until(START_SECONDS) do
        now = ask(block)
        { ok: now.rank.positive? || failed_starts >= starts + 2, seen: now }
      end[:seen]
      not_answering(block, seen) if seen.rank.zero?
      distrusted(block, seen)
    end
  end

  # Checks that everything that answered before still does, and a new registry too; {check => answer}.
  def check_services(services = FILES.keys)
    blocks.select { |block| services.include?(block.service) }.to_h do |block|
      expected = expected_rank(block)
      reported = false
      seen = Http.until(expected.positive? ? SERVICE_SECONDS : 0) do
        now = ask(block)
        unless now.rank >= expected || reported
          reported = true
          Report.say("#{@order['node']}: waiting for #{block.service} behind this node's nginx (#{now.text}), " \
                     "at most #{SERVICE_SECONDS} s")
        end
        { ok: now.rank >= expected, seen: now }
      end[:seen]
      service_not_answering(block, seen) if seen.rank < expected
      ["#{block.service} answers for #{block.name} through this node's nginx", shown(seen)]
    end
  end

  # The end of a sentence: whether nginx answers with the restored settings; "" if it did not answer before. A restart
  # helps if runit has stopped starting it.
  def after_rollback
    due = blocks.select { |block| @incomplete || @before[block]&.rank.to_i.positive? }
    return '' if due.empty?

    down = unanswered(due)
    unless down.empty?
      Omnibus.restart(@order, 'nginx')
      down = unanswered(due)
    end
    @unavailable = !down.empty?
    return ', and nginx answers' unless @unavailable

    ", but nginx does not answer for #{down.map(&:name).uniq.join(' and ')}#{last_error}"
  rescue Failure => e
    @unavailable = true
    ", but nginx does not answer (#{e.cause_text})"
  end

  # Whether nginx did not answer after a rollback.
  def unavailable?
    @unavailable == true
  end

  private

  # What did not answer before need not answer now. What is new must, unless nginx as a whole did not answer.
  def expected?(block)
    return true if @incomplete
    return @before[block].rank.positive? if @before.key?(block)

    @before.empty? || @before.values.any? { |seen| seen.rank.positive? }
  end

  # Under a new name of GitLab, it is unknown whether Rails can answer yet.
  def expected_rank(block)
    return 0 unless expected?(block)

    former = @before[block]&.rank.to_i
    return former if former.positive?

    block.service == 'GitLab' ? 1 : 2
  end

  def unanswered(due)
    due.reject { |block| Http.until(START_SECONDS) { { ok: ask(block).rank.positive? } }[:ok] }
  end

  def not_answering(block, seen)
    raise Failure.new('nginx-not-answering', "nginx on this node does not answer for #{block.name}",
                      cause: "#{seen.text}#{last_error}",
                      remedy: 'fix what its log reports (`gitlab-ctl tail nginx`), then `pulumi up` again')
  end

  def service_not_answering(block, seen)
    service = block.service == 'GitLab' ? 'puma' : 'registry'
    was = @before[block] ? " (before this change: #{@before[block].text})" : ''
    raise Failure.new('service-not-answering', "#{block.service} on this node does not answer for #{block.name}",
                      cause: "through nginx at #{block.at}: #{seen.text}#{was}",
                      remedy: "run `gitlab-ctl tail #{service}` on the node, fix the cause, then `pulumi up` again")
  end

  def distrusted(block, seen)
    return unless seen.distrust && @before[block] && @before[block].rank.positive? && @before[block].distrust.nil?

    raise Failure.new('certificate-no-longer-trusted', "this node no longer trusts the certificate of #{block.name}",
                      cause: "#{seen.distrust}; before this change, this node trusted the certificate",
                      remedy: 'restore the former certificate, or add the new one\'s CA to ' \
                              'trusted_certificates; then `pulumi up` again')
  end

  def shown(seen)
    return "no: #{seen.text}" if seen.rank.zero?

    seen.distrust ? "#{seen.text}, with a certificate that this node does not trust: #{seen.distrust}" : seen.text
  end

  # -- nginx' configuration

  Block = Struct.new(:service, :name, :address, :port, :tls, :proxy) do
    def at
      "#{address.include?(':') ? "[#{address}]" : address}:#{port}"
    end
  end

  def blocks
    return [] unless File.exist?(SERVICE) && !File.exist?(OFF)

    conf = "#{Files.read(RUN).to_s[/nginx\s+-p\s+(\S+)/, 1] || '/var/opt/gitlab/nginx'}/conf"
    FILES.flat_map do |service, names|
      path = names.map { |name| "#{conf}/#{name}" }.find { |file| File.exist?(file) }
      path ? servers(File.read(path)).flat_map { |text| listens(service, text) } : []
    end.uniq
  end

  # The server blocks in a file, as text.
  def servers(text)
    text = text.scrub.gsub(/^\s*#.*/, '')
    text.split(/^\s*server\s*\{/).drop(1)
  end

  def listens(service, text)
    name = text[/\bserver_name\s+([^;\s]+)/, 1]
    return [] if name.nil? || name.start_with?('~', '_', '"')

    text.scan(/\blisten\s+([^;\s]+)([^;]*);/).filter_map do |where, flags|
      address, port = where.match(/\A(?:(.*):)?(\d+)\z/)&.captures
      port && Block.new(service, name, reached(address), port.to_i,
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

  # -- requests

  def ask(block)
    socket = Socket.tcp(block.address, block.port, connect_timeout: 5)
    Timeout.timeout(20) { converse(socket, block) }
  rescue SystemCallError, SocketError, IOError, Timeout::Error, OpenSSL::SSL::SSLError => e
    why = Unreached.of(e, URI("#{block.tls ? 'https' : 'http'}://#{block.at}"), e.is_a?(Timeout::Error) ? 20 : 5)
    # If it accepted the connection and does not answer in time, nginx runs, and so does the service behind it.
    Answer.new(why.kind == :slow ? 1 : 0, why.text, nil)
  ensure
    socket&.close
  end

  def converse(socket, block)
    socket.write("PROXY TCP4 127.0.0.1 127.0.0.1 #{block.port} #{block.port}\r\n") if block.proxy
    stream, distrust = block.tls ? tls(socket, block) : [socket, nil]
    path = block.service == 'GitLab' ? "#{relative_root}/-/health" : '/v2/'
    stream.write("GET #{path} HTTP/1.1\r\nHost: #{block.name}\r\nConnection: close\r\n" \
                 "User-Agent: geo-registry-proof\r\n\r\n")
    status = stream.gets.to_s[%r{\AHTTP/[0-9.]+ (\d{3})}, 1] or raise EOFError
    Answer.new(status.to_i >= 500 ? 1 : 2, status, distrust)
  end

  # With any certificate: trust is reported separately.
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

  # The last error that kept nginx from starting.
  def last_error
    lines = errors
    lines.empty? ? '' : "; nginx' log: #{lines.last[0, 300]}"
  end

  # How often nginx failed to start: twice is a loop. A port that is still in use will be released.
  def failed_starts
    errors.reject { |line| line.include?('bind()') }.size
  end

  # Errors since then that kept nginx from starting, from the log that has most.
  def errors
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
