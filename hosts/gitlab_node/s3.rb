# frozen_string_literal: true

# The credentials of the instance, as the registry's AWS SDK obtains them: from the instance metadata service version 2,
# at the address in the SDK's environment variable, if it is set.
module InstanceProfile
  HEADER = 'X-aws-ec2-metadata-token'

  def self.credentials
    base = ENV.fetch('AWS_EC2_METADATA_SERVICE_ENDPOINT', 'http://169.254.169.254').chomp('/')
    _, token, = Http.call('put', "#{base}/latest/api/token", seconds: 5,
                                                             headers: { "#{HEADER}-ttl-seconds" => '300' })
    read = lambda do |path|
      Http.call('get', "#{base}/latest/meta-data/iam/security-credentials/#{path}",
                headers: { HEADER => token.strip }, seconds: 5)
    end
    status, role, why = read.call('')
    return [status, role, why] unless status == 200

    status, body, why = read.call(role.lines.first.to_s.strip)
    return [status, body, why] unless status == 200

    keys = JSON.parse(body)
    Report.redact(keys.slice('SecretAccessKey', 'Token'))
    [200, { 'access_key' => keys['AccessKeyId'], 'secret_key' => keys['SecretAccessKey'], 'token' => keys['Token'] }]
  end
end

# S3 as the registry uses it: requests signed with the registry's keys (AWS Signature Version 4).
class S3
  def initialize(access)
    @access = access
  end

  def read
    call('GET', '', 'list-type=2&max-keys=1')
  end

  # Starts a multipart upload and aborts it: it leaves no object and no version behind.
  def write
    key = probe
    status, body, why = call('POST', key, 'uploads=')
    id = body[%r{<UploadId>([^<]+)</UploadId>}, 1]
    call('DELETE', key, "uploadId=#{URI.encode_www_form_component(id)}") if id
    [status, body, why]
  end

  # Puts an object, which must be refused; deletes it if it was not.
  def put
    key = probe
    status, body, why = call('PUT', key, '', 'geo-registry-proof')
    call('DELETE', key, '') if status == 200
    [status, body, why]
  end

  # Deletes an object that does not exist, which must be refused anyway.
  def delete
    call('DELETE', probe, '')
  end

  # 200 if an object exists, 404 if not.
  def look(key)
    call('HEAD', key, '')
  end

  # With the headers that the registry sends for an object: encryption, access control list.
  def create(key, body)
    call('PUT', key, '', body, @access['headers'] || {})
  end

  def where
    "s3://#{@access['bucket']}"
  end

  def command(key)
    "aws s3 cp - #{where}/#{key}#{@access['endpoint'] && " --endpoint-url #{@access['endpoint']}"}"
  end

  private

  def probe
    root = (@access['root'] || '').gsub(%r{\A/+|/+\z}, '')
    "#{root.empty? ? '' : "#{root}/"}geo-registry-proof-#{SecureRandom.hex(8)}"
  end

  def base
    suffix = @access['region'].start_with?('cn-') ? 'amazonaws.com.cn' : 'amazonaws.com'
    @access['endpoint'] || "https://s3.#{@access['region']}.#{suffix}"
  end

  # The bucket is in the host name or in the path, as with the registry: its SDKs put a name with dots, which no
  # certificate covers, in the path.
  def url(key)
    uri = URI(base.chomp('/'))
    bucket = @access['bucket']
    in_path = @access['path_style'] || (uri.scheme == 'https' && bucket.include?('.'))
    return URI("#{uri}/#{bucket}/#{key}") if in_path

    uri.host = "#{bucket}.#{uri.host}"
    URI("#{uri}/#{key}")
  end

  def call(method, key, query, body = '', more = {})
    uri = url(key)
    time = Time.now.utc.strftime('%Y%m%dT%H%M%SZ')
    hash = Digest::SHA256.hexdigest(body)
    host = uri.port == uri.default_port ? uri.host : "#{uri.host}:#{uri.port}"
    signed = { 'host' => host, 'x-amz-content-sha256' => hash, 'x-amz-date' => time }
    signed['x-amz-security-token'] = @access['token'] if @access['token']
    signed = signed.merge(more).sort.to_h
    headers = signed.merge('authorization' => authorization(method, uri.path, query, signed, hash, time))
    uri.query = query unless query.empty?
    headers['content-type'] = 'application/octet-stream' if method == 'PUT'
    Http.call(method, uri.to_s, headers: headers, body: method == 'PUT' ? body : nil, verify: !@access['skip_verify'])
  end

  def authorization(method, path, query, signed, hash, time)
    scope = "#{time[0, 8]}/#{@access['region']}/s3/aws4_request"
    names = signed.keys.join(';')
    canonical = [method, path, query, *signed.map { |k, v| "#{k}:#{v}" }, '', names, hash].join("\n")
    to_sign = ['AWS4-HMAC-SHA256', time, scope, Digest::SHA256.hexdigest(canonical)].join("\n")
    key = scope.split('/').inject("AWS4#{@access['secret_key']}") { |k, part| OpenSSL::HMAC.digest('SHA256', k, part) }
    signature = OpenSSL::HMAC.hexdigest('SHA256', key, to_sign)
    "AWS4-HMAC-SHA256 Credential=#{@access['access_key']}/#{scope}, SignedHeaders=#{names}, Signature=#{signature}"
  end
end
