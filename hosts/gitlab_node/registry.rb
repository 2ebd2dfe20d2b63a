# frozen_string_literal: true

# Requests with a time limit. Returns [status, body, headers], or [0, why, Unreached] if there was no answer.
module Http
  #
  # connections: where to take the connection from, and to leave it for the next request.
  def self.call(method, url, headers: {}, body: nil, seconds: 15, verify: true, connections: nil)
    uri = URI(url)
    request = Net::HTTP.const_get(method.capitalize).new(uri.request_uri, headers)
    request.body = body if body
    options = { use_ssl: uri.scheme == 'https', open_timeout: seconds, read_timeout: seconds, cert_store: @store }
    options[:verify_mode] = OpenSSL::SSL::VERIFY_NONE unless verify
    connect = ->(&use) { Net::HTTP.start(uri.hostname, uri.port, nil, nil, nil, nil, **options, &use) }
    ask = ->(http) { http.request(request) }
    answer = connections ? connections.use(uri, connect, &ask) : connect.call(&ask)
    [answer.code.to_i, answer.body.to_s, answer]
  rescue SystemCallError, SocketError, Timeout::Error, OpenSSL::SSL::SSLError, Net::HTTPBadResponse, EOFError => e
    why = Unreached.of(e, uri, seconds)
    [0, why.text, why]
  end

  # Connections that stay open, because a handshake takes longer than the request. There are as many as there are
  # requests at the same time.
  class Connections
    def initialize
      @idle = Hash.new { |known, origin| known[origin] = Queue.new }
      @lock = Mutex.new
    end

    def use(uri, connect)
      idle = @lock.synchronize { @idle[[uri.scheme, uri.host, uri.port]] }
      http = take(idle) || connect.call
      answer = yield http
      idle << http
      answer
    rescue StandardError
      http.finish if http&.started?
      raise
    end

    private

    def take(idle)
      idle.pop(true)
    rescue ThreadError
      nil
    end
  end

  # Whether a retry cannot get another answer. why: the third part of an answer.
  def self.final?(why)
    why.is_a?(Unreached) && why.final?
  end

  # The remedy; the block's value if something answered.
  def self.remedy(why)
    why.is_a?(Unreached) ? "#{why.remedy}; then `pulumi up` again" : yield
  end

  # In the block, trusts these certificates in addition to those that the node trusts.
  def self.trusting(certificates)
    unless certificates.empty?
      @store = OpenSSL::X509::Store.new
      @store.set_default_paths
      certificates.each { |pem| @store.add_cert(OpenSSL::X509::Certificate.new(pem)) }
    end
    yield
  ensure
    @store = nil
  end

  # Repeats the block until its answer has :ok or the time is over. Returns the last answer.
  def self.until(seconds)
    deadline = Omnibus.now + seconds
    loop do
      answer = yield
      return answer if answer[:ok] || Omnibus.now >= deadline

      sleep 0.5
    end
  end
end

# A token as GitLab Rails signs it for its registry (JSONWebToken::RSAToken; the kid is libtrust's).
class Token
  ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'

  def initialize(key_pem, issuer)
    @key = OpenSSL::PKey::RSA.new(key_pem)
    @issuer = issuer
  end

  def for(name, actions, type: 'repository')
    now = Time.now.to_i
    header = { alg: 'RS256', typ: 'JWT', kid: kid }
    claims = { iss: @issuer, aud: 'container_registry', sub: 'geo-registry-proof', jti: SecureRandom.uuid,
               iat: now, nbf: now - 5, exp: now + 300, access: [{ type: type, name: name, actions: actions }] }
    "Bearer #{sign([header, claims].map { |part| encoded(JSON.generate(part)) }.join('.'))}"
  end

  def sign(text)
    "#{text}.#{encoded(@key.sign(OpenSSL::Digest.new('SHA256'), text))}"
  end

  def encoded(bytes)
    [bytes].pack('m0').tr('+/', '-_').delete('=')
  end

  def kid
    der = OpenSSL::PKey::RSA.new(@key.public_key.to_der).to_der
    bits = OpenSSL::Digest::SHA256.digest(der)[0, 30].unpack1('B*')
    bits.scan(/.{5}/).map { |five| ALPHABET[five.to_i(2)] }.join.scan(/.{4}/).join(':')
  end
end

# A token with the signature of another one: what anyone could forge who has seen a token but does not have the key.
class ForgedToken < Token
  def sign(text)
    "#{text}.#{super("#{text}.").rpartition('.').last}"
  end
end

# Requests to one registry, as Geo's worker sends them.
class Registry
  PROBE = 'geo-registry-proof/probe'

  # The registry of this node; nil if none is configured.
  def self.local
    address = local_address
    address && new("http://#{address}")
  end

  # host:port; nil if none is configured.
  def self.local_address
    address = (Omnibus.registry_config || {}).dig('http', 'addr')
    # Psych reads a string with a leading colon as a symbol.
    address = ":#{address}" if address.is_a?(Symbol)
    address&.sub(/\A:/, '127.0.0.1:')
  end

  def initialize(url)
    @url = url.chomp('/')
  end

  attr_reader :url

  # [status, body]: 404 NAME_UNKNOWN means that the token is accepted, 401 that it is not.
  def tags(token, name = PROBE)
    Http.call('get', "#{@url}/v2/#{name}/tags/list", headers: { 'Authorization' => token.for(name, %w[pull]) })
  end

  # Starts an upload, and cancels it if it was accepted. Returns the answer to the start.
  def push(token, actions)
    auth = { 'Authorization' => token.for(PROBE, actions) }
    status, body, answer = Http.call('post', "#{@url}/v2/#{PROBE}/blobs/uploads/",
                                     headers: auth.merge('Content-Length' => '0'))
    if status == 202 && answer['Location']
      Http.call('delete', URI.join("#{@url}/", answer['Location']).to_s, headers: auth)
    end
    [status, body, answer]
  end

  # Whether it keeps metadata in the database now, whatever its configuration prefers: true, false, or nil if it does
  # not say (before 3.85, container-registry 121e440d).
  def database?(token)
    auth = { 'Authorization' => token.for('catalog', %w[*], type: 'registry') }
    _, _, answer = Http.call('get', "#{@url}/v2/", headers: auth)
    value = answer.is_a?(Net::HTTPResponse) ? answer['Gitlab-Container-Registry-Database-Enabled'] : nil
    value && value == 'true'
  end

  # Whether it has any repository: true, false, or nil if it does not answer.
  def images?(token)
    auth = { 'Authorization' => token.for('catalog', %w[*], type: 'registry') }
    status, body, = Http.call('get', "#{@url}/v2/_catalog?n=1", headers: auth, seconds: 60)
    status == 200 ? !(JSON.parse(body)['repositories'] || []).empty? : nil
  rescue JSON::ParserError
    nil
  end
end
