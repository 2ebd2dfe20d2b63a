# frozen_string_literal: true

require 'json'
require 'openssl'
require 'securerandom'
require_relative 'lab'

# A stand-in for omnibus' SecretsHelper (package/libraries/helpers/secrets_helper.rb). Simulated: gitlab.rb wins over
# gitlab-secrets.json, what is missing is generated, all of it is written back by every reconfigure, also by one that
# fails later. Not simulated: the sections of parts of GitLab that are not here are left as they are, and the generated key
# has as many bits as lab.json says (4096 in reality, which take seconds).
class Secrets
  GENERATED = {
    'gitlab_rails' => %w[secret_key_base db_key_base otp_key_base],
    'gitlab_shell' => %w[secret_token],
    'gitlab_workhorse' => %w[secret_token],
    'registry' => %w[http_secret internal_certificate internal_key]
  }.freeze

  def initialize(path, key_bits)
    @path = path
    @key_bits = key_bits
    # Malformed JSON is an error here, and so ends the reconfigure.
    @known = File.exist?(path) ? JSON.parse(File.read(path)) : {}
  end

  PATH = '/etc/gitlab/gitlab-secrets.json'

  # Let's Encrypt was switched on by nobody and has worked: from now on it stays on.
  def self.remember_lets_encrypt
    path = Lab.path(PATH)
    known = JSON.parse(File.read(path))
    return if known.dig('letsencrypt', 'auto_enabled')

    File.write(path, JSON.pretty_generate(known.merge('letsencrypt' => { 'auto_enabled' => true })))
  end

  def apply(settings)
    read_into(settings)
    generate(settings)
    write(settings)
  end

  private

  def read_into(settings)
    @known.each do |section, values|
      next warn("Ignoring section #{section} in #{@path}, does not exist in gitlab.rb") unless settings[section]

      values.each { |key, value| settings[section][key] ||= value }
    end
  end

  def generate(settings)
    registry = settings['registry']
    unless registry['internal_certificate'] && registry['internal_key']
      # One half in gitlab.rb gets the other half of a new pair: they do not match, and nobody says so.
      certificate, key = key_pair
      registry['internal_certificate'] ||= certificate
      registry['internal_key'] ||= key
    end
    GENERATED.each do |section, keys|
      keys.each { |key| settings[section][key] ||= SecureRandom.hex(64) }
    end
  end

  # In place, not by renaming, as the real one does.
  def write(settings)
    stated = GENERATED.to_h do |section, keys|
      [section, (@known[section] || {}).merge(keys.to_h { |key| [key, settings[section][key]] })]
    end
    File.open(@path, 'w', 0o600) do |file|
      file.puts(JSON.pretty_generate(@known.merge(stated)))
      file.chmod(0o600)
    end
  end

  def key_pair
    key = OpenSSL::PKey::RSA.new(@key_bits)
    certificate = OpenSSL::X509::Certificate.new
    name = OpenSSL::X509::Name.parse('/C=USA/O=GitLab/OU=Container/CN=Registry')
    certificate.subject = certificate.issuer = name
    certificate.not_before = Time.now
    certificate.not_after = Time.now + (3650 * 86_400)
    certificate.public_key = key.public_key
    certificate.serial = 0
    certificate.version = 2
    certificate.sign(key, OpenSSL::Digest.new('SHA256'))
    [certificate.to_pem, key.to_pem]
  end
end
