# frozen_string_literal: true

# Checks the certificates that nginx will use, before anything is written. nginx does not start if a file is missing or
# does not match, and the reconfigure exits 0 anyway (the Linux package uses `sv restart`): GitLab would be down.
class Certificates
  # Base of relative paths (nginx -p /var/opt/gitlab/nginx, conf/nginx.conf).
  CONF = '/var/opt/gitlab/nginx/conf'

  # {check => answer}. Raises Failure if nginx would not start, or the registry's clients would reject its certificate.
  # contents: the desired files, nil for one to delete.
  def self.check(order, contents, settings = EvaluatedSettings.read(contents))
    return new(order, contents, settings).check if settings.known?

    Report.say("#{order['node']}: the certificates for nginx could not be checked in advance: " \
               "gitlab.rb cannot be evaluated here: #{settings.why}")
    { 'nginx certificates are usable' => "not checked in advance: gitlab.rb cannot be evaluated here: #{settings.why}" }
  end

  def initialize(order, contents, settings)
    @order = order
    @contents = contents
    @blocks = ServerBlocks.new(settings, exists: method(:exists?), secrets: Omnibus.secrets)
  end

  def check
    @answers = {}
    @blocks.all.each { |block| check_block(block) if block.certificate }
    @answers
  end

  private

  def check_block(block)
    lets_encrypt = @blocks.by_lets_encrypt?(block)
    check_name(block) if lets_encrypt
    # The Linux package generates a self-signed certificate until there is one from Let's Encrypt.
    return if lets_encrypt && !exists?(block.certificate)
    return if [block.certificate, block.key].any? { |path| external?(path) }

    files = CertificateFiles.new(block, method(:read))
    unusable(block, files.unusable) unless files.unusable.empty?
    refused_by_clients(block, files.refused) unless lets_encrypt || files.refused.empty?
  end

  # The file is in an engine, or named by a variable: only nginx can resolve it.
  def external?(path)
    return false unless path.match?(/\A(engine|store|data):|\$/)

    @answers['nginx certificates are usable'] = "not checked: #{path}"
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
    raise Failure.new('certificate-unusable', "refused: nginx would not start with the certificate of #{block.host}",
                      cause: why.join('; '),
                      remedy: remedy(block))
  end

  # This program does not change GitLab's URL of an existing node, so this is only reported.
  def refused_by_clients(block, why)
    if block.service == 'GitLab' && !@order['created']
      Report.say("#{@order['node']}: #{block.host}: #{why.join('; ')}")
      @answers["certificate of #{block.host} is valid"] = "no: #{why.join('; ')}"
      return
    end
    raise Failure.new('certificate-invalid', "refused: clients would not accept the certificate of #{block.host}",
                      cause: why.join('; '),
                      remedy: remedy(block))
  end

  def remedy(block)
    if @order['files'].key?(block.certificate)
      return "set a certificate and key for #{block.host} in sites.#{@order['site']}.aws.tls, then `pulumi up` again"
    end

    "install a certificate for #{block.host} (followed by its intermediates) " \
      "as #{block.certificate} and its key as #{block.key}, " \
      "or name other files in gitlab.rb (#{block.names}['ssl_certificate'], ['ssl_certificate_key']), " \
      "or, if TLS is terminated in front of this node, set #{block.names}['listen_https'] = false; " \
      'then `pulumi up` again'
  end

  # Let's Encrypt resolves each name; what it reaches there is unknown here.
  def check_name(block)
    addresses = Addrinfo.getaddrinfo(block.host, nil, nil, :STREAM).map(&:ip_address).uniq
    return unless (addresses & Socket.ip_address_list.map(&:ip_address)).empty?

    @answers["#{block.host} resolves to this node, as Let's Encrypt requires"] =
      "unknown: it resolves to #{addresses.join(', ')}, which is not an address of this node"
  rescue SocketError => e
    return unresolved(block, e) if e.message.match?(/temporary failure|try again/i) || covered?(block)

    raise Failure.new('letsencrypt-name-unresolved', "refused: Let's Encrypt could not find #{block.host}",
                      cause: 'the name does not resolve, and the certificate of this node must contain it',
                      remedy: "create a DNS record that points #{block.host} to this node; or install your own " \
                              "certificate and set letsencrypt['enable'] = false; then `pulumi up` again")
  end

  # The existing certificate covers the name, or this node's DNS server does not answer: no reason to refuse a change.
  def unresolved(block, error)
    @answers["#{block.host} resolves to this node, as Let's Encrypt requires"] = "unknown: #{error.message}"
  end

  def covered?(block)
    files = CertificateFiles.new(block, method(:read))
    files.unusable.empty? && files.refused.empty?
  end
end

# A certificate file and a key file, as nginx and GitLab's clients use them.
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

  # Why clients would reject the certificate.
  def refused
    [wrong_time, wrong_name].compact
  end

  private

  def wrong_certificate
    bytes = content(@block.certificate) { |why| return why }
    texts = bytes.scan(PEM)
    return "#{@block.certificate} contains no certificate in PEM format" if texts.empty?

    @chain = texts.map { |text| OpenSSL::X509::Certificate.new(text) }
    nil
  rescue OpenSSL::X509::CertificateError
    "#{@block.certificate} contains a certificate that cannot be read"
  end

  def wrong_key
    bytes = content(@block.key) { |why| return why }
    return "#{@block.key} contains no key in PEM format" unless bytes.include?('-----BEGIN')

    @key = passwords.lazy.map { |password| readable(bytes, password) }.find(&:itself)
    return if @key

    encrypted = bytes.include?('ENCRYPTED')
    "#{@block.key} contains a key that #{encrypted ? 'has a passphrase that nginx does not have' : 'cannot be read'}"
  end

  def wrong_pair
    return if pair?(@chain.first)

    if @chain.drop(1).any? { |one| pair?(one) }
      return "the key in #{@block.key} belongs to a later certificate of #{@block.certificate}: " \
             "the node's certificate must come first"
    end

    "the key in #{@block.key} does not belong to the certificate in #{@block.certificate}"
  end

  def wrong_time
    now = Time.now
    return "#{@block.certificate} is not valid before #{day(leaf.not_before)}" if leaf.not_before > now

    "#{@block.certificate} expired on #{day(leaf.not_after)}" if leaf.not_after < now
  end

  # Docker, GitLab Runner and the registry (Go since 1.15) only use subjectAltName.
  def wrong_name
    names = CertificateNames.of(leaf)
    return "#{@block.certificate} has no subjectAltName, and Docker ignores its common name" if names.empty?

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

  # Never nil: OpenSSL would prompt on the terminal.
  def passwords
    ['', *(@block.passwords && @read.call(@block.passwords)).to_s.lines.map(&:chomp)]
  rescue SystemCallError
    ['']
  end
end

# The names in a certificate, and whether they cover a host (RFC 6125: a wildcard matches one label).
module CertificateNames
  def self.of(certificate)
    extension = certificate.extensions.find { |one| one.oid == 'subjectAltName' }
    extension ? extension.value.scan(/(?:DNS|IP Address):([^,\s]+)/).flatten : []
  end

  def self.cover?(names, host)
    host = host.delete('[]').downcase
    names.any? do |name|
      name = name.downcase
      name == host || same_address?(name, host) ||
        (name.start_with?('*.') && host.partition('.').drop(1).join == name.delete_prefix('*'))
    end
  end

  # OpenSSL writes IPv6 addresses in the long form.
  def self.same_address?(name, host)
    host.include?(':') && name.include?(':') && Addrinfo.ip(name).ip_address == Addrinfo.ip(host).ip_address
  rescue SocketError
    false
  end
end
