# frozen_string_literal: true

# The same requests as the program's own proof, for the playbook and for bare SSH: `ruby - '{facts}' < prove.rb`.
# Exit 1 and a line on stderr for the first answer that is not as it must be.
require 'base64'
require 'digest'
require 'json'
require 'net/http'
require 'openssl'
require 'securerandom'

FACTS = JSON.parse(ARGV.fetch(0))
SECRETS = JSON.parse(File.read(FACTS['secrets']))
PROBE = 'geo-registry-proof/probe'
LOCAL = 'http://127.0.0.1:5000'

def request(method, url, headers = {}, body = nil)
  uri = URI(url)
  call = Net::HTTP.const_get(method.capitalize).new(uri.request_uri, headers)
  call.body = body
  Net::HTTP.start(uri.hostname, uri.port, nil, use_ssl: uri.scheme == 'https', open_timeout: 15) { |http| http.request(call) }
rescue SystemCallError, SocketError, Timeout::Error, OpenSSL::SSL::SSLError, EOFError => e
  Struct.new(:code, :body).new('0', e.message)
end

# A restarting service answers nothing, 401 or 5xx for a moment.
def expect(what, *codes, seconds: 60)
  deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + seconds
  loop do
    answer = yield
    return answer if codes.include?(answer.code.to_i)
    abort "#{what}: #{answer.code}, not #{codes.join(' or ')}" if Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline

    sleep 0.5
  end
end

def token(key, actions, forged: false)
  der = OpenSSL::PKey::RSA.new(key.public_key.to_der).to_der
  bits = OpenSSL::Digest::SHA256.digest(der)[0, 30].unpack1('B*').scan(/.{5}/)
  kid = bits.map { |five| [*'A'..'Z', *'2'..'7'][five.to_i(2)] }.join.scan(/.{4}/).join(':')
  now = Time.now.to_i
  claims = { iss: FACTS['issuer'], aud: 'container_registry', sub: 'proof', jti: SecureRandom.uuid, iat: now,
             nbf: now - 5, exp: now + 300, access: [{ type: 'repository', name: PROBE, actions: actions }] }
  signed = [{ alg: 'RS256', typ: 'JWT', kid: kid }, claims].map { |part| Base64.urlsafe_encode64(JSON.generate(part), padding: false) }.join('.')
  signature = key.sign('SHA256', forged ? "#{signed}." : signed)
  { 'Authorization' => "Bearer #{signed}.#{Base64.urlsafe_encode64(signature, padding: false)}" }
end

def s3(method, path, query = '')
  uri = URI("https://s3.#{FACTS['region']}.amazonaws.com/#{FACTS['bucket']}/#{path}")
  time = Time.now.utc.strftime('%Y%m%dT%H%M%SZ')
  hash = Digest::SHA256.hexdigest('')
  headers = { 'host' => uri.hostname, 'x-amz-content-sha256' => hash, 'x-amz-date' => time }
  scope = "#{time[0, 8]}/#{FACTS['region']}/s3/aws4_request"
  canonical = [method.upcase, uri.path, query, *headers.map { |k, v| "#{k}:#{v}" }, '', headers.keys.join(';'), hash].join("\n")
  key = scope.split('/').inject("AWS4#{SECRETS['s3_secret_key']}") { |k, part| OpenSSL::HMAC.digest('SHA256', k, part) }
  signature = OpenSSL::HMAC.hexdigest('SHA256', key, ['AWS4-HMAC-SHA256', time, scope, Digest::SHA256.hexdigest(canonical)].join("\n"))
  headers['authorization'] = "AWS4-HMAC-SHA256 Credential=#{SECRETS['s3_access_key']}/#{scope}, " \
                             "SignedHeaders=#{headers.keys.join(';')}, Signature=#{signature}"
  uri.query = query unless query.empty?
  request(method, uri.to_s, headers)
end

def registry(what, url, key)
  path = "#{url}/v2/#{PROBE}/tags/list"
  expect("#{what} accepts a token signed with the key", 200, 404) { request('get', path, token(key, %w[pull])) }
  expect("#{what} refuses a forged token", 401) { request('get', path, token(key, %w[pull], forged: true)) }
end

def primary
  type = { 'Content-Type' => 'application/vnd.docker.distribution.events.v1+json' }
  { SECRETS['notification_secret'] => [200], "A#{SecureRandom.alphanumeric(31)}" => [401, 403] }.each do |secret, codes|
    expect('the notification endpoint', *codes) { request('post', FACTS['events'], type.merge('Authorization' => secret), '{"events":[]}') }
  end
end

def secondary(key)
  uploads = "/v2/#{PROBE}/blobs/uploads/"
  length = { 'Content-Length' => '0' }
  expect('own registry is read-only', 405) { request('post', LOCAL + uploads, token(key, %w[pull push]).merge(length)) }
  registry("the primary's registry", FACTS['primary_registry'], key)
  expect("the primary's registry refuses a push", 401, 403) { request('post', FACTS['primary_registry'] + uploads, token(key, %w[pull]).merge(length)) }
end

def storage
  probe = "geo-registry-proof-#{SecureRandom.hex(8)}"
  expect('S3 lets this site read', 200) { s3('get', '', 'list-type=2&max-keys=1') }
  if FACTS['role'] == 'primary'
    answer = expect('S3 lets this site write', 200) { s3('post', probe, 'uploads=') }
    s3('delete', probe, "uploadId=#{URI.encode_www_form_component(answer.body[%r{<UploadId>([^<]+)</UploadId>}, 1])}")
  else
    expect('S3 refuses a write', 403) { s3('put', probe) }
    expect('S3 refuses a delete', 403) { s3('delete', probe) }
  end
end

key = OpenSSL::PKey::RSA.new(SECRETS['registry_key'])
storage
registry('own registry', LOCAL, key)
FACTS['role'] == 'primary' ? primary : secondary(key)
