# frozen_string_literal: true

# The server blocks that nginx on this node will have after a reconfigure, and their certificates: as the Linux package
# derives them from the settings (libraries/gitlab_rails.rb, registry.rb, nginx.rb, lets_encrypt.rb and config/roles).
class ServerBlocks
  # service: "GitLab" or "the registry"; names: the prefix of its settings in gitlab.rb; certificate, key: paths, nil
  # without TLS.
  Block = Struct.new(:service, :host, :names, :certificate, :key, :passwords, keyword_init: true)
  # Roles that do not decide which services run.
  SITE_ROLES = %w[geo_primary geo_secondary backup].freeze
  VERSION = '/opt/gitlab/embedded/service/gitlab-rails/VERSION'
  # From this version on nginx settings belong to the service (omnibus-gitlab 0ddeb868); the older names are also valid.
  BELOW_SERVICE = [19, 2].freeze

  # settings: EvaluatedSettings; exists: whether a file will be there; secrets: gitlab-secrets.json.
  def initialize(settings, exists:, secrets:, version: ServerBlocks.version)
    @settings = settings
    @exists = exists
    @secrets = secrets
    @below_service = version.nil? || (version <=> BELOW_SERVICE) >= 0
  end

  # [19, 2, 1]; nil if it is unknown.
  def self.version
    Files.read(VERSION).to_s[/\A\d+(\.\d+)+/]&.split('.')&.map(&:to_i)
  end

  def all
    [gitlab, registry].compact
  end

  def gitlab
    uri = url('external_url')
    unless uri && nginx? && rails? && !(@below_service && @settings.get('gitlab_rails', 'nginx', 'enable') == false)
      return
    end

    block('GitLab', uri, method(:gitlab_nginx), @below_service ? "gitlab_rails['nginx']" : 'nginx')
  end

  def registry
    uri = url('registry_external_url')
    enabled = @settings.get('registry', 'enable')
    return unless uri && nginx? && (enabled.nil? || enabled) && registry_nginx('enable') != false

    names = @below_service ? "registry['nginx']" : 'registry_nginx'
    registry = block('the registry', uri, method(:registry_nginx), names)
    return registry unless by_lets_encrypt?(registry)

    registry.dup.tap { |copy| copy.certificate, copy.key = gitlab_files }
  end

  # Whether this block's certificate is Let's Encrypt's (letsencrypt/libraries/helper.rb).
  def by_lets_encrypt?(block)
    return false unless block&.certificate && lets_encrypt?
    return true if block.service == 'GitLab'
    return false unless url('external_url')

    file = files(url('registry_external_url'), method(:registry_nginx)).first
    !@exists.call(file) ||
      (file == gitlab_files.first && Array(@settings.get('letsencrypt', 'alt_names')).include?(block.host))
  end

  def lets_encrypt?
    value = @settings.get('letsencrypt', 'enable')
    return value ? true : false unless value.nil?

    listens = gitlab_nginx('listen_https')
    return false unless url('external_url')&.scheme == 'https' && nginx? && (listens.nil? || listens)
    return false if unwritten_secrets?

    @secrets.dig('letsencrypt', 'auto_enabled') || gitlab_files.none? { |file| @exists.call(file) } ? true : false
  end

  private

  def unwritten_secrets?
    @settings.get('package', 'generate_secrets_json_file') == false
  end

  def gitlab_files
    files(url('external_url'), method(:gitlab_nginx))
  end

  def files(uri, nginx)
    named = %w[ssl_certificate ssl_certificate_key].map { |key| nginx.call(key) }
    named.zip(%w[crt key]).map { |path, ending| path || "/etc/gitlab/ssl/#{uri.host}.#{ending}" }
  end

  def block(service, uri, nginx, names)
    listens = nginx.call('listen_https')
    https = listens.nil? ? uri.scheme == 'https' : listens
    certificate, key = https ? files(uri, nginx) : nil
    Block.new(service: service, host: uri.host, names: names, certificate: certificate, key: key,
              passwords: nginx.call('ssl_password_file'))
  end

  # The reconfigure rejects an invalid URL.
  def url(name)
    uri = URI(@settings.get(name).to_s)
    uri if uri.host
  rescue URI::InvalidURIError
    nil
  end

  def gitlab_nginx(key)
    newer = @below_service ? @settings.get('gitlab_rails', 'nginx', key) : nil
    newer.nil? ? @settings.get('nginx', key) : newer
  end

  def registry_nginx(key)
    newer = @below_service ? @settings.get('registry', 'nginx', key) : nil
    newer.nil? ? @settings.get('registry_nginx', key) : newer
  end

  def nginx?
    value = @settings.get('nginx', 'enable')
    return value ? true : false unless value.nil?

    service_roles.empty? || !(service_roles & %w[application pages]).empty?
  end

  def rails?
    value = @settings.get('gitlab_rails', 'enable')
    return value ? true : false unless value.nil?

    service_roles.empty? || !(service_roles & %w[application sidekiq postgres patroni]).empty?
  end

  def service_roles
    listed = Array(@settings.get('roles')).flatten.map { |role| role.to_s.tr('-', '_').delete_suffix('_role') }
    known = EvaluatedSettings::READ.map(&:first).grep(/_role\z/).map { |role| role.delete_suffix('_role') }
    (listed + known.select { |role| @settings.get("#{role}_role", 'enable') }).uniq - SITE_ROLES
  end
end
