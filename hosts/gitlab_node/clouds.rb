# frozen_string_literal: true

# A token from an OAuth service: [200, the token], or [0, why there is none].
module OAuth
  def self.token(status, body, *)
    return [0, "no token: #{status} #{body[0, 200]}".strip] unless status == 200

    token = JSON.parse(body)['access_token'].to_s
    Report.redact(token)
    [200, token]
  rescue JSON::ParserError
    [0, 'no token: the answer is not JSON']
  end

  def self.ask(url, form)
    token(*Http.call('post', url, headers: { 'Content-Type' => 'application/x-www-form-urlencoded' },
                                  body: URI.encode_www_form(form)))
  end
end

# Google Cloud Storage through its JSON API, authenticated as the registry's driver gcs: with a service account's key
# (its text, or a file on this node), else with the service account of the instance.
class Gcs
  SCOPE = 'https://www.googleapis.com/auth/devstorage.read_write'
  # The default if a key file has none (golang.org/x/oauth2/google).
  TOKENS = 'https://oauth2.googleapis.com/token'
  METADATA = 'http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/token'

  def initialize(access)
    @access = access
  end

  # [status, body], and so do all below.
  def look(key)
    call('get', "/storage/v1/b/#{@access['bucket']}/o/#{URI.encode_www_form_component(key)}")
  end

  # 412 if it exists: nothing is overwritten.
  def create(key, body)
    query = URI.encode_www_form('uploadType' => 'media', 'ifGenerationMatch' => '0', 'name' => key)
    call('post', "/upload/storage/v1/b/#{@access['bucket']}/o?#{query}", body)
  end

  def where
    "gs://#{@access['bucket']}"
  end

  def command(key)
    "gcloud storage cp - #{where}/#{key}"
  end

  private

  def call(method, path, body = nil)
    @token ||= token
    return @token unless @token.first == 200

    headers = { 'Authorization' => "Bearer #{@token.last}", 'Content-Type' => 'application/octet-stream' }
    Http.call(method, "https://storage.#{@access['universe']}#{path}", headers: headers, body: body).first(2)
  end

  def token
    account = @access['credentials'] || (@access['keyfile'] && JSON.parse(File.read(@access['keyfile'])))
    unless account
      return OAuth.token(*Http.call('get', METADATA, headers: { 'Metadata-Flavor' => 'Google' }, seconds: 5))
    end

    # From a file on this node; secrets of the payload are redacted already.
    Report.redact(account['private_key'])
    account = { 'token_uri' => TOKENS }.merge(account)
    OAuth.ask(account['token_uri'], 'grant_type' => 'urn:ietf:params:oauth:grant-type:jwt-bearer',
                                    'assertion' => assertion(account))
  rescue SystemCallError, JSON::ParserError, OpenSSL::PKey::PKeyError, ArgumentError, TypeError => e
    [0, "no token: #{e.class} (#{@access['keyfile'] || 'credentials'})"]
  end

  def assertion(account)
    now = Time.now.to_i
    claims = { iss: account['client_email'], scope: SCOPE, aud: account['token_uri'], iat: now, exp: now + 300 }
    key = Token.new(account['private_key'], nil)
    key.sign([{ alg: 'RS256', typ: 'JWT' }, claims].map { |part| key.encoded(JSON.generate(part)) }.join('.'))
  end
end

# Azure Blob Storage, authenticated as the registry's driver azure: with the account's key, as an application, or with
# the managed identity of the instance.
class Azure
  VERSION = '2021-12-02'
  RESOURCE = 'https://storage.azure.com/'
  METADATA = 'http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fstorage.azure.com%2F'

  def initialize(access)
    @access = access
  end

  def look(key)
    call('head', key)
  end

  # 409 if it exists: nothing is overwritten.
  def create(key, body)
    more = { 'Content-Type' => 'application/octet-stream', 'If-None-Match' => '*', 'x-ms-blob-type' => 'BlockBlob' }
    call('put', key, more, body)
  end

  def where
    "#{@access['url'].chomp('/')}/#{@access['container']}"
  end

  def command(key)
    "az storage blob upload --account-name #{@access['account']} --container-name '#{@access['container']}' " \
      "--name '#{key}' --data @-"
  end

  private

  def call(method, key, more = {}, body = nil)
    # As Azure's libraries encode a name in a URL, including one with a leading slash.
    uri = URI("#{where}/#{URI.encode_www_form_component(key)}")
    headers = { 'x-ms-date' => Time.now.utc.strftime('%a, %d %b %Y %H:%M:%S GMT'),
                'x-ms-version' => VERSION }.merge(more)
    status, authorization = authorized(method, uri, headers, body)
    return [status, authorization] unless status == 200

    Http.call(method, uri.to_s, headers: headers.merge('Authorization' => authorization), body: body).first(2)
  end

  # [200, the value of the header], or [0, why there is none].
  def authorized(method, uri, headers, body)
    if @access['credentials_type'] == 'shared_key'
      return [200, "SharedKey #{@access['account']}:#{signature(method, uri, headers, body)}"]
    end

    @token ||= token
    @token.first == 200 ? [200, "Bearer #{@token.last}"] : @token
  end

  # Azure Storage's reference, "Authorize with Shared Key".
  def signature(method, uri, headers, body)
    named = headers.select { |name, _| name.start_with?('x-ms-') }.sort.map { |name, value| "#{name}:#{value}" }
    text = [method.upcase, '', '', body ? body.bytesize : '', '', headers['Content-Type'], '', '', '',
            headers['If-None-Match'], '', '', *named, "/#{@access['account']}#{uri.path}"].join("\n")
    [OpenSSL::HMAC.digest('SHA256', @access['accountkey'].unpack1('m'), text)].pack('m0')
  end

  def token
    unless @access['credentials_type'] == 'client_secret'
      return OAuth.token(*Http.call('get', METADATA, headers: { 'Metadata' => 'true' }, seconds: 5))
    end

    OAuth.ask("https://login.microsoftonline.com/#{@access['tenant_id']}/oauth2/v2.0/token",
              'grant_type' => 'client_credentials',
              'client_id' => @access['client_id'], 'client_secret' => @access['secret'],
              'scope' => "#{RESOURCE}.default")
  end
end
