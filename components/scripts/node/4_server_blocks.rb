# frozen_string_literal: true

# Which server blocks nginx on this node will have after a reconfigure, and with which certificates: as omnibus derives
# it from the settings (libraries/gitlab_rails.rb, registry.rb, nginx.rb, lets_encrypt.rb and config/roles).
class ServerBlocks
  # what: "GitLab" or "the registry"; names: how gitlab.rb names its settings; certificate, key: paths, nil without TLS.
  Block = Struct.new(:what, :host, :names, :certificate, :key, :passwords, keyword_init: true)
  # Roles that do not decide which services run.
  SITE_ROLES = %w[geo_primary geo_secondary backup].freeze
  VERSION = '/opt/gitlab/embedded/service/gitlab-rails/VERSION'
  # From here on nginx' settings have their place below the service (omnibus-gitlab 0ddeb868); the older names count as
  # well.
  BELOW_SERVICE = [19, 2].freeze

  # settings: Settings; exists: whether a file will be there; secrets: gitlab-secrets.json.
  def initialize(settings, exists:, secrets:, version: ServerBlocks.version)
    @settings = settings
    @exists = exists
    @secrets = secrets
    @below_service = version.nil? || (version <=> BELOW_SERVICE) >= 0
  end

  # [19, 2]; nil where it cannot be seen.
  def self.version
    Files.read(VERSION).to_s[/\A\d+\.\d+/]&.split('.')&.map(&:to_i)
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

    found = block('the registry', uri, method(:registry_nginx), @below_service ? "registry['nginx']" : 'registry_nginx')
    by_lets_encrypt?(found) ? found.dup.tap { |own| own.certificate, own.key = gitlab_files } : found
  end

  # Whether this block's certificate is Let's Encrypt's (letsencrypt/libraries/helper.rb).
  def by_lets_encrypt?(block)
    return false unless block&.certificate && lets_encrypt?
    return true if block.what == 'GitLab'
    return false unless url('external_url')

    file = files(url('registry_external_url'), method(:registry_nginx)).first
    !@exists.call(file) ||
      (file == gitlab_files.first && Array(@settings.get('letsencrypt', 'alt_names')).include?(block.host))
  end

  def lets_encrypt?
    stated = @settings.get('letsencrypt', 'enable')
    return stated ? true : false unless stated.nil?

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

  def block(what, uri, nginx, names)
    listens = nginx.call('listen_https')
    https = listens.nil? ? uri.scheme == 'https' : listens
    certificate, key = https ? files(uri, nginx) : nil
    Block.new(what: what, host: uri.host, names: names, certificate: certificate, key: key,
              passwords: nginx.call('ssl_password_file'))
  end

  # A URL that is none is the reconfigure's to refuse.
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
    stated = @settings.get('nginx', 'enable')
    return stated ? true : false unless stated.nil?

    service_roles.empty? || !(service_roles & %w[application pages]).empty?
  end

  def rails?
    stated = @settings.get('gitlab_rails', 'enable')
    return stated ? true : false unless stated.nil?

    service_roles.empty? || !(service_roles & %w[application sidekiq postgres patroni]).empty?
  end

  def service_roles
    listed = Array(@settings.get('roles')).flatten.map { |role| role.to_s.tr('-', '_').delete_suffix('_role') }
    known = Settings::READ.map(&:first).grep(/_role\z/).map { |role| role.delete_suffix('_role') }
    (listed + known.select { |role| @settings.get("#{role}_role", 'enable') }).uniq - SITE_ROLES
  end
end
