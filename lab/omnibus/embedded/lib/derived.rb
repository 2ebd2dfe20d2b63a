# frozen_string_literal: true

require 'uri'
require_relative 'lab'
require_relative 'nginx_settings'
require_relative 'notification_settings'
require_relative 'registry_database_settings'

# A stand-in for the parse_variables of omnibus' libraries (gitlab/libraries/gitlab_rails.rb and registry.rb): what
# follows from the settings that gitlab.rb states, and what makes a reconfigure fail. Kept for external_url, roles,
# Let's Encrypt (letsencrypt/libraries), registry and Geo.
class Derived
  DATA = '/var/opt/gitlab'
  RAILS = {
    'shared_path' => "#{DATA}/gitlab-rails/shared",
    'registry_enabled' => false,
    'registry_issuer' => 'omnibus-gitlab-issuer',
    'registry_key_path' => "#{DATA}/gitlab-rails/etc/gitlab-registry.key",
    'geo_registry_replication_enabled' => false,
    'time_zone' => 'UTC'
  }.freeze
  REGISTRY = {
    'log_level' => 'info',
    'log_formatter' => 'text',
    'health_storagedriver_enabled' => true,
    'storage_delete_enabled' => true,
    'validation_enabled' => false,
    'autoredirect' => false
  }.freeze

  # What reconfigure says behind all else.
  attr_reader :warnings

  def initialize(settings)
    @warnings = []
    @settings = settings
    @rails = settings['gitlab_rails']
    @registry = settings['registry']
  end

  def apply
    roles
    NginxSettings.new(@settings, @warnings).apply
    external_url
    lets_encrypt
    RAILS.each { |key, value| @rails[key] = value if @rails[key].nil? }
    registry_external_url
    registry_beside_gitlab
    @registry['dir'] ||= "#{DATA}/registry"
    # The recipe's own is a default, which gitlab.rb wins over (registry/recipes/enable.rb).
    @registry['rootcertbundle'] ||= "#{@registry['dir']}/gitlab-registry.crt"
    registry if @registry['enable']
    notifications if @registry['notifications']
  end

  private

  def roles
    names = Array(@settings['roles'])
    invalid = names - Names::ROLES.map { |role| "#{role}_role" }
    raise "The following invalid roles have been set in 'roles': #{invalid.join(', ')}" unless invalid.empty?

    names.each { |name| @settings[name]['enable'] = true if @settings[name]['enable'].nil? }
  end

  def external_url
    return unless @settings['external_url']

    uri = parse(@settings['external_url'], 'GitLab external URL')
    raise "Unsupported external URL scheme: #{uri.scheme}" unless %w[http https].include?(uri.scheme)

    @rails.merge!('gitlab_host' => uri.host, 'gitlab_port' => uri.port, 'gitlab_https' => uri.scheme == 'https')
    certificate(@settings['nginx'], uri)
  end

  # On by itself where the URL is https and no certificate is there. A certificate, and be it the self-signed one that
  # a failed attempt has left, keeps it off from then on; unless it was on by itself and successful before.
  def lets_encrypt
    settings, nginx = @settings.values_at('letsencrypt', 'nginx')
    return unless settings['enable'].nil?

    settings['enable'] = @rails['gitlab_https'] == true && nginx['enable'] != false && nginx['listen_https'] != false &&
                         (settings['auto_enabled'] || certificate_files(nginx).none? { |file| File.exist?(file) })
    settings['auto_enabled'] = settings['enable'] == true
  end

  def certificate_files(nginx)
    nginx.values_at('ssl_certificate', 'ssl_certificate_key').map { |file| Lab.path(file) }
  end

  # Let's Encrypt also certifies the registry's name, and brings a registry where none was asked for.
  def registry_beside_gitlab
    return unless @settings['letsencrypt']['enable'] && @settings['registry_external_url'].nil? && @registry['enable'].nil?

    uri = URI(@settings['external_url'])
    @registry['enable'] = true
    @settings['registry_nginx'].merge!('listen_port' => '5050', 'redirect_http_to_https' => false, 'https' => true)
    registry_address(uri)
    certificate(@settings['registry_nginx'], uri)
    @rails['registry_port'] ||= 5050
  end

  def alternative_name(uri)
    settings, nginx = @settings.values_at('letsencrypt', 'registry_nginx')
    return if !settings['enable'] || uri.scheme != 'https' || File.exist?(Lab.path(nginx['ssl_certificate']))

    host = URI(@settings['external_url']).host
    settings['alt_names'] ||= [host]
    settings['alt_names'] |= [uri.host]
    nginx.merge!('ssl_certificate' => "/etc/gitlab/ssl/#{host}.crt", 'ssl_certificate_key' => "/etc/gitlab/ssl/#{host}.key")
    nginx['redirect_http_to_https'] = true unless nginx.key?('redirect_http_to_https')
  end

  def registry_external_url
    return unless @settings['registry_external_url']

    uri = parse(@settings['registry_external_url'], 'GitLab Container Registry external URL')
    @registry['enable'] = true if @registry['enable'].nil?
    registry_address(uri)
    raise "Unsupported GitLab Registry external URL scheme: #{uri.scheme}" unless %w[http https].include?(uri.scheme)
    raise "Unsupported GitLab Registry external URL path: #{uri.path}" unless ['', '/'].include?(uri.path)

    certificate(@settings['registry_nginx'], uri)
    alternative_name(uri)
    # Old versions of Docker fail where a standard port is named.
    @rails['registry_port'] = uri.port unless [80, 443].include?(uri.port)
  end

  def registry_address(uri)
    @rails['registry_enabled'] = true if @registry['enable']
    @rails['registry_host'] = uri.host
    @registry['registry_http_addr'] ||= '127.0.0.1:5000'
    @registry['token_realm'] ||= @settings['external_url']
    @rails['registry_api_url'] ||= "http://#{@registry['registry_http_addr']}"
  end

  def parse(url, name)
    uri = URI(url.to_s)
    raise "#{name} must include a schema and FQDN, e.g. https://gitlab.example.com/" unless uri.host

    uri
  end

  def certificate(nginx, uri)
    nginx['listen_port'] ||= uri.port
    nginx['https'] = uri.scheme == 'https' if nginx['https'].nil?
    return unless nginx['https']

    nginx['ssl_certificate'] ||= "/etc/gitlab/ssl/#{uri.host}.crt"
    nginx['ssl_certificate_key'] ||= "/etc/gitlab/ssl/#{uri.host}.key"
  end

  # Two drivers pass: it is the registry that then refuses to start.
  def registry
    REGISTRY.each { |key, value| @registry[key] = value if @registry[key].nil? }
    @rails['registry_path'] ||= "#{@rails['shared_path']}/registry"
    @registry['storage'] ||= { 'filesystem' => { 'rootdirectory' => @rails['registry_path'] } }
    @registry['storage']['cache'] ||= { 'blobdescriptor' => 'inmemory' }
    @registry['storage']['delete'] ||= { 'enabled' => @registry['storage_delete_enabled'] }
    RegistryDatabaseSettings.new(@settings, @warnings).apply
  end

  def notifications
    NotificationSettings.new(@settings, @warnings).apply
  end
end
