# frozen_string_literal: true

# Before anything is written: the certificates that nginx will be given. nginx does not start with a file that is
# missing or does not fit, a reconfigure exits 0 all the same, and GitLab is down (facts: omnibus restarts nginx with
# `sv restart`).
class Certificates
  # Relative paths begin here (nginx -p /var/opt/gitlab/nginx, conf/nginx.conf).
  CONF = '/var/opt/gitlab/nginx/conf'

  # What is shown of it, {check => answer}; raises Failure where nginx would not start, or the registry's clients would
  # refuse its certificate. contents: files as they are to be, nil for one that is to go.
  def self.check(order, contents, settings = Settings.read(contents))
    return new(order, contents, settings).check if settings.known?

    Report.say("#{order['node']}: the certificates for nginx could not be looked at beforehand: " \
               "gitlab.rb cannot be evaluated here: #{settings.why}")
    { "nginx' certificates fit" => "not looked at beforehand: gitlab.rb cannot be evaluated here: #{settings.why}" }
  end

  def initialize(order, contents, settings)
    @order = order
    @contents = contents
    @blocks = ServerBlocks.new(settings, exists: method(:exists?), secrets: Omnibus.secrets)
  end

  def check
    @said = {}
    @blocks.all.each { |block| look_at(block) if block.certificate }
    @said
  end

  private

  def look_at(block)
    lets_encrypt = @blocks.by_lets_encrypt?(block)
    resolves(block) if lets_encrypt
    # omnibus makes a certificate of its own until Let's Encrypt's is there.
    return if lets_encrypt && !exists?(block.certificate)
    return if [block.certificate, block.key].any? { |path| elsewhere?(path) }

    files = CertificateFiles.new(block, method(:read))
    unusable(block, files.unusable) unless files.unusable.empty?
    refused_by_clients(block, files.refused) unless lets_encrypt || files.refused.empty?
  end

  # nginx itself asks an engine, or a variable.
  def elsewhere?(path)
    return false unless path.match?(/\A(engine|store|data):|\$/)

    @said["nginx' certificates fit"] = "not looked at: #{path}"
  end

  def read(path)
    path = File.expand_path(path, CONF)
    @contents.key?(path) ? @contents[path] : Files.read(path)
  end

  def exists?(path)
    !read(path).nil?
  rescue SystemCallError
    true
  end

  def unusable(block, why)
    raise Failure.new("refused: nginx would not start with the certificate of #{block.host}",
                      cause: why.join('; '),
                      remedy: remedy(block))
  end

  # Of GitLab's own URL at a site that exists nothing is changed, so it is only told.
  def refused_by_clients(block, why)
    if block.what == 'GitLab' && !@order['created']
      Report.say("#{@order['node']}: #{block.host}: #{why.join('; ')}")
      @said["certificate of #{block.host} is good"] = "no: #{why.join('; ')}"
      return
    end
    raise Failure.new("refused: clients would not accept the certificate of #{block.host}",
                      cause: why.join('; '),
                      remedy: remedy(block))
  end

  def remedy(block)
    if @order['files'].key?(block.certificate)
      return "give sites.#{@order['site']}.aws.tls a certificate and key for #{block.host}, then `pulumi up` again"
    end

    "put a certificate for #{block.host} (followed by its intermediates) " \
      "into #{block.certificate} and its key into #{block.key}, " \
      "or name other files in gitlab.rb (#{block.names}['ssl_certificate'], ['ssl_certificate_key']), " \
      "or, where TLS ends in front of this node, #{block.names}['listen_https'] = false; then `pulumi up` again"
  end

  # Let's Encrypt looks for each name; what it will find there cannot be known from here.
  def resolves(block)
    found = Addrinfo.getaddrinfo(block.host, nil, nil, :STREAM).map(&:ip_address).uniq
    here = Socket.ip_address_list.map(&:ip_address)
    return unless (found & here).empty?

    @said["#{block.host} leads to this node, as Let's Encrypt wants"] =
      "not known: it leads to #{found.join(', ')}, which is no address of this node itself"
  rescue SocketError => e
    return unresolved(block, e) if e.message.match?(/temporary failure|try again/i) || covered?(block)

    raise Failure.new("refused: Let's Encrypt could not find #{block.host}",
                      cause: "the name does not resolve, and it is to be in this node's certificate",
                      remedy: "let #{block.host} lead to this node in DNS; or give a certificate of your own and " \
                              "letsencrypt['enable'] = false; then `pulumi up` again")
  end

  # The certificate that is there covers the name, or this node's DNS server is away: nothing to refuse a change for.
  def unresolved(block, error)
    @said["#{block.host} leads to this node, as Let's Encrypt wants"] = "not known: #{error.message}"
  end

  def covered?(block)
    files = CertificateFiles.new(block, method(:read))
    files.unusable.empty? && files.refused.empty?
  end
end

# A certificate file and a key file, as nginx and the clients of GitLab see them.
class CertificateFiles
  PEM = /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----.+?-----END (?:X509 |TRUSTED )?CERTIFICATE-----/m.freeze

  def initialize(block, read)
    @block = block
    @read = read
  end

  # Why nginx would not start with them.
  def unusable
    @unusable ||= [wrong_certificate, wrong_key].compact.then { |wrong| wrong.empty? ? [wrong_pair].compact : wrong }
  end

  # Why clients would refuse the certificate.
  def refused
    [wrong_time, wrong_name].compact
  end

  private

  def wrong_certificate
    bytes = content(@block.certificate) { |why| return why }
    texts = bytes.scan(PEM)
    return "#{@block.certificate} holds no certificate in PEM form" if texts.empty?

    @chain = texts.map { |text| OpenSSL::X509::Certificate.new(text) }
    nil
  rescue OpenSSL::X509::CertificateError
    "#{@block.certificate} holds a certificate that cannot be read"
  end

  def wrong_key
    bytes = content(@block.key) { |why| return why }
    return "#{@block.key} holds no key in PEM form" unless bytes.include?('-----BEGIN')

    @key = passwords.lazy.map { |password| readable(bytes, password) }.find(&:itself)
    return if @key

    encrypted = bytes.include?('ENCRYPTED')
    "#{@block.key} holds a key that #{encrypted ? 'has a passphrase, which nginx is not given' : 'cannot be read'}"
  end

  def wrong_pair
    return if pair?(@chain.first)

    if @chain.drop(1).any? { |one| pair?(one) }
      return "the key in #{@block.key} belongs to a later certificate of #{@block.certificate}: " \
             "the node's own comes first"
    end

    "the key in #{@block.key} does not belong to the certificate in #{@block.certificate}"
  end

  def wrong_time
    now = Time.now
    return "#{@block.certificate} is not valid before #{day(leaf.not_before)}" if leaf.not_before > now

    "#{@block.certificate} expired on #{day(leaf.not_after)}" if leaf.not_after < now
  end

  # Docker, GitLab Runner and the registry (Go since 1.15) look at subjectAltName alone.
  def wrong_name
    names = CertificateNames.of(leaf)
    return "#{@block.certificate} has no subjectAltName, and Docker does not look at its common name" if names.empty?

    return if CertificateNames.cover?(names, @block.host)

    "#{@block.certificate} is for #{names.first(5).join(', ')}#{names.size > 5 ? ', ...' : ''}, not for #{@block.host}"
  end

  def leaf
    @chain.first
  end

  def day(time)
    time.utc.strftime('%Y-%m-%d %H:%M UTC')
  end

  def content(path)
    @read.call(path) || yield("#{path} does not exist")
  rescue SystemCallError => e
    yield("#{path} cannot be read: #{e.message.sub(/ @.*/, '')}")
  end

  def pair?(certificate)
    certificate.check_private_key(@key)
  rescue OpenSSL::OpenSSLError
    false
  end

  def readable(bytes, password)
    OpenSSL::PKey.read(bytes, password)
  rescue OpenSSL::OpenSSLError, ArgumentError
    nil
  end

  # Never nil: OpenSSL would ask at the terminal.
  def passwords
    ['', *(@block.passwords && @read.call(@block.passwords)).to_s.lines.map(&:chomp)]
  rescue SystemCallError
    ['']
  end
end

# The names in a certificate, and whether they cover a host (RFC 6125: a wildcard stands for one label).
module CertificateNames
  def self.of(certificate)
    found = certificate.extensions.find { |extension| extension.oid == 'subjectAltName' }
    found ? found.value.scan(/(?:DNS|IP Address):([^,\s]+)/).flatten : []
  end

  def self.cover?(names, host)
    host = host.delete('[]').downcase
    names.any? do |name|
      name = name.downcase
      name == host || same_address?(name, host) ||
        (name.start_with?('*.') && host.partition('.').drop(1).join == name.delete_prefix('*'))
    end
  end

  # OpenSSL writes IPv6 addresses in their long form.
  def self.same_address?(name, host)
    host.include?(':') && name.include?(':') && Addrinfo.ip(name).ip_address == Addrinfo.ip(host).ip_address
  rescue SocketError
    false
  end
end
