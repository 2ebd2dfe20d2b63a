# frozen_string_literal: true

require 'base64'
require 'json'
require 'openssl'
require 'securerandom'
require_relative 'lab'

# A token as Rails signs it for the registry (lib/json_web_token/rsa_token.rb and
# app/services/auth/container_registry_authentication_service.rb of GitLab). All of it kept.
class RegistryToken
  AUDIENCE = 'container_registry'
  SECONDS = 300
  BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'

  # `registry`: what RailsConfig has of it. The key is read again for each token.
  def initialize(registry)
    @key = OpenSSL::PKey::RSA.new(File.read(Lab.path(registry.fetch('key'))))
    @issuer = registry['issuer']
  end

  def self.pull(registry, name)
    new(registry).sign([{ type: 'repository', name: name, actions: %w[pull] }])
  end

  def self.full(registry, name)
    new(registry).sign([{ type: 'repository', name: name, actions: %w[*] }])
  end

  # The encoded token for an `access` list of {type, name, actions}.
  def sign(access, subject: nil, audience: AUDIENCE)
    now = Time.now.to_i
    header = { typ: 'JWT', alg: 'RS256', kid: kid }
    payload = { access: access, jti: SecureRandom.uuid, aud: audience, sub: subject, iss: @issuer, iat: now,
                nbf: now - 5, exp: now + SECONDS }
    signed = [header, payload].map { |part| encode(JSON.generate(part)) }.join('.')
    "#{signed}.#{encode(@key.sign(OpenSSL::Digest.new('SHA256'), signed))}"
  end

  # libtrust's: 240 bits of the SHA-256 of the public key's DER, in base32, in groups of four.
  def kid
    bits = OpenSSL::Digest::SHA256.digest(@key.public_key.to_der)[0, 30].unpack1('B*')
    bits.scan(/.{5}/).map { |five| BASE32[five.to_i(2)] }.each_slice(4).map(&:join).join(':')
  end

  private

  def encode(bytes)
    Base64.urlsafe_encode64(bytes, padding: false)
  end
end
