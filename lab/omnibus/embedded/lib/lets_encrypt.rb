# frozen_string_literal: true

require 'fileutils'
require 'json'
require 'net/http'
require 'openssl'
require 'securerandom'
require 'socket'
require 'uri'
require_relative 'lab'

# A stand-in for omnibus' Let's Encrypt (the cookbooks letsencrypt and acme). Simulated: a self-signed certificate first, so
# that nginx starts; then one certificate for all names, asked for over the internet, each name proven by a file below
# /.well-known/acme-challenge on port 80; what an unproven name makes of a reconfigure. Not simulated: ACME itself, the
# attempt at the staging service before.
class LetsEncrypt
  URL = URI('https://acme-v02.api.letsencrypt.org/lab/certificate')
  WWW = '/var/opt/gitlab/nginx/www'
  CHALLENGES = "#{WWW}/.well-known/acme-challenge".freeze
  RENEW_SECONDS = 7 * 86_400 # 30 days of 90 in reality; the lab's certificates live for 30

  def initialize(settings)
    @host = URI(settings['external_url']).host
    @names = [@host, *settings['letsencrypt']['alt_names']].uniq
    @certificate, @key = settings['nginx'].values_at('ssl_certificate', 'ssl_certificate_key').map { |file| Lab.path(file) }
  end

  # A self-signed certificate, unless there is one; whether it created one.
  def self_sign
    FileUtils.mkdir_p([File.dirname(@certificate), Lab.path(CHALLENGES)])
    return false if File.exist?(@certificate)

    key = OpenSSL::PKey::EC.generate('prime256v1')
    write(own(key), key)
    true
  end

  # Whether there is a new certificate; RuntimeError if none could be issued.
  def request
    return false if good?

    key = OpenSSL::PKey::EC.generate('prime256v1')
    token, proof = SecureRandom.urlsafe_base64(24), SecureRandom.urlsafe_base64(24)
    File.write(Lab.path("#{CHALLENGES}/#{token}"), proof)
    write(ask(key, token, proof), key)
    true
  ensure
    FileUtils.rm_f(Lab.path("#{CHALLENGES}/#{token}")) if token
  end

  private

  def good?
    certificate = OpenSSL::X509::Certificate.new(File.read(@certificate))
    names = certificate.extensions.find { |extension| extension.oid == 'subjectAltName' }&.value.to_s.scan(/DNS:([^,\s]+)/)
    certificate.issuer != certificate.subject && (@names - names.flatten).empty? &&
      certificate.not_after > Time.now + RENEW_SECONDS
  end

  def ask(key, token, proof)
    answer = Net::HTTP.start(URL.host, URL.port, nil, use_ssl: true, open_timeout: 5, read_timeout: 30) do |http|
      http.post(URL.path, JSON.generate(names: @names, token: token, proof: proof, key: key.public_to_pem),
                'Content-Type' => 'application/json')
    end
    return answer.body if answer.is_a?(Net::HTTPSuccess)

    refused("Validation failed, unable to request certificate, Errors: [{url: #{URL}, status: invalid, error: #{answer.body}} ]")
  rescue SystemCallError, SocketError, Net::OpenTimeout, OpenSSL::SSL::SSLError => e
    refused("#{e.class}: #{e.message}")
  end

  def refused(text)
    raise "letsencrypt_certificate[#{@host}] (letsencrypt::http_authorization line 6) had an error: RuntimeError: " \
          "acme_certificate[staging] (letsencrypt::http_authorization line 43) had an error: RuntimeError: " \
          "ruby_block[create certificate for #{@host}] (letsencrypt::http_authorization line 110) had an error: " \
          "RuntimeError: [#{@host}] #{text}"
  end

  def own(key)
    certificate = OpenSSL::X509::Certificate.new
    certificate.subject = certificate.issuer = OpenSSL::X509::Name.parse("/CN=#{@host}")
    certificate.not_before = Time.now - 3600
    certificate.not_after = Time.now + (30 * 86_400)
    certificate.public_key = key
    certificate.serial = SecureRandom.random_number(2**64)
    certificate.version = 2
    names = @names.map { |name| "DNS:#{name}" }.join(',')
    certificate.add_extension(OpenSSL::X509::ExtensionFactory.new.create_extension('subjectAltName', names))
    certificate.sign(key, OpenSSL::Digest.new('SHA256')).to_pem
  end

  def write(certificate, key)
    File.write(@certificate, certificate)
    File.write(@key, key.to_pem, perm: 0o600)
  end
end
