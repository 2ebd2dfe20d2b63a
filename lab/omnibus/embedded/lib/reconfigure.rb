# frozen_string_literal: true

require_relative 'gitlab_rb'
require_relative 'lets_encrypt'
require_relative 'postgresql'
require_relative 'rails_config'
require_relative 'registry_postgresql'
require_relative 'secrets'
require_relative 'derived'
require_relative 'rendered'
require_relative 'resources'
require_relative 'runit'
require_relative 'tee'
require_relative 'trusted_certificates'

# Evaluates gitlab.rb and gitlab-secrets.json; the secrets are written back before anything else can fail.
class Compilation
  attr_reader :settings, :warnings

  def initialize
    @settings = GitlabRb.new
    path = Lab.path('/etc/gitlab/gitlab.rb')
    @settings.from_file(path) if File.exist?(path)
    Secrets.new(Lab.path('/etc/gitlab/gitlab-secrets.json'), Lab.settings['registry_key_bits']).apply(@settings)
    derived = Derived.new(@settings)
    derived.apply
    @warnings = derived.warnings
    removed = Names.removed_in(@settings)
    return if removed.empty?

    raise RemovedSettings, removed
  end
end

# As omnibus raises it: the list is printed separately (package/libraries/helpers/logging_helper.rb).
class RemovedSettings < RuntimeError
  attr_reader :list

  def initialize(list)
    super('Removed configurations found in gitlab.rb. Aborting reconfigure.')
    @list = list
  end
end

# One run of `gitlab-ctl reconfigure`: a stand-in for chef with omnibus' cookbooks (gitlab/recipes/gitlab-rails.rb,
# registry/recipes/enable.rb, nginx). Simulated: the order of secrets, files and restarts, which file restarts which service, the
# lock without a time limit, one numbered log per run.
class Reconfigure
  DATA = Derived::DATA
  RAILS_ETC = "#{DATA}/gitlab-rails/etc"
  LOG = '/var/log/gitlab/reconfigure'
  REGISTRY = File.expand_path('../bin/registry', __dir__)
  LOCK = '/opt/gitlab/embedded/cookbooks/cache/cinc-client-running.pid'

  # Whether it succeeded.
  def run
    @resources = Resources.new
    FileUtils.mkdir_p(Lab.path(LOG), mode: 0o700)
    Tee.to(Lab.path(LOG)) do
      puts 'Starting Cinc Client (a stand-in)'
      alone { converge }
      true
    rescue ScriptError, StandardError => e
      failed(e)
    end
  end

  private

  def alone
    lock = Lab.path(LOCK)
    FileUtils.mkdir_p(File.dirname(lock))
    File.open(lock, File::RDWR | File::CREAT, 0o644) do |file|
      unless file.flock(File::LOCK_EX | File::LOCK_NB)
        puts "Cinc Client #{file.read.strip} is running, will wait for it to finish and then run."
        file.flock(File::LOCK_EX)
      end
      file.truncate(0)
      file.pwrite(Process.pid.to_s, 0)
      yield
    end
  end

  def converge
    @runit = Runit.new
    compilation = Compilation.new
    @settings = compilation.settings
    @rendered = Rendered.new(@settings)
    begin
      @resources.directory(DATA)
      rails if rails?
      trusted_certificates
      postgresql
      # At this point, so that a run that is killed leaves some files new and some old.
      sleep Lab.settings['reconfigure_seconds']
      registry
      nginx
      services
      registry_database
      lets_encrypt if lets_encrypt?
    ensure
      restarts
    end
    public_attributes
    puts 'Running handlers complete', "Infra Phase complete, #{@resources.updated} resources updated"
    puts '', 'Warnings:', *compilation.warnings, '' if compilation.warnings.any?
    puts 'gitlab Reconfigured!'
  end

  def rails
    rails = @settings['gitlab_rails']
    key = @settings['registry']['internal_key']
    root_password(rails)
    @resources.directory("#{DATA}/gitlab-rails", owner: 'git')
    @resources.directory(RAILS_ETC, owner: 'git', mode: 0o700)
    @resources.directory(rails['shared_path'], owner: 'git', group: 'gitlab-www', mode: 0o751)
    # Rails reads it again for each token, so nothing is restarted.
    @resources.file(rails['registry_key_path'], key, owner: 'git', mode: 0o600, sensitive: true) if rails['registry_enabled']
    @resources.file("#{RAILS_ETC}/gitlab.yml", @rendered.gitlab_yml,
                    group: 'git', mode: 0o640, restart: %w[puma sidekiq])
    @resources.file(RailsConfig::SECRETS, @rendered.secrets_yml, owner: 'git', mode: 0o600, sensitive: true,
                                                                 restart: %w[puma sidekiq])
    @resources.file("#{DATA}/gitlab-rails/VERSION", "#{Lab.version}\n")
  end

  # Only Puma reads them again: a running registry or Sidekiq keeps those it has.
  def trusted_certificates
    [TrustedCertificates::TRUSTED, TrustedCertificates::EMBEDDED].each { |path| @resources.directory(path) }
    @resources.file("#{TrustedCertificates::EMBEDDED}/README", "Place certificates in #{TrustedCertificates::TRUSTED}.\n")
    @resources.restart('puma') if TrustedCertificates.new.apply
  end

  # The password of a new database, unless the administrator has chosen one; deleted after a day.
  def root_password(rails)
    return if File.exist?(Lab.path("#{RAILS_ETC}/gitlab.yml")) || rails['auto_migrate'] == false || ENV['GITLAB_ROOT_PASSWORD']

    text = "# This password is valid only until it is changed.\n\nPassword: #{SecureRandom.base64(32)}\n"
    @resources.file('/etc/gitlab/initial_root_password', text, mode: 0o600, sensitive: true)
  end

  def postgresql
    @postgresql = Postgresql.config(@settings)
    return @resources.delete(Postgresql::CONFIG) unless @postgresql

    unless File.exist?(Lab.path(Replica::CERTIFICATE))
      @resources.directory(File.dirname(Replica::CERTIFICATE), owner: 'gitlab-psql', mode: 0o755)
      @resources.file(Replica::CERTIFICATE, Postgresql.certificate, owner: 'gitlab-psql', mode: 0o644)
    end
    @resources.file(Postgresql::CONFIG, @postgresql, owner: 'git', mode: 0o600, restart: %w[postgresql])
  end

  def registry
    return unless @settings['registry']['enable']

    certificate = @settings['registry']['internal_certificate']
    dir = @settings['registry']['dir']
    @resources.directory(dir, owner: 'registry', mode: 0o2770)
    @resources.directory(@settings['gitlab_rails']['registry_path'], owner: 'registry', group: 'git', mode: 0o770)
    environment.each do |name, value|
      @resources.file("/opt/gitlab/etc/registry/env/#{name}", value, restart: %w[registry])
    end
    # The registry reads it only at startup, and is not restarted for it.
    @resources.file("#{dir}/gitlab-registry.crt", certificate, owner: 'registry', sensitive: true)
    @resources.file("#{dir}/config.yml", @rendered.registry_config, owner: 'registry', restart: %w[registry])
    # Makes an upgrade restart it.
    @resources.file("#{dir}/VERSION", IO.popen([REGISTRY, '--version'], &:read), restart: %w[registry])
  end

  # What a non-root user can read after a completed run (registry/libraries/registry_helper.rb).
  def public_attributes
    registry = { 'dir' => @settings['registry']['dir'], 'username' => 'registry', 'group' => 'registry' }
    @resources.file("#{DATA}/public_attributes.json", "#{JSON.generate('registry' => registry)}\n")
  end

  def environment
    environment = { 'SSL_CERT_DIR' => "#{TrustedCertificates::EMBEDDED}/" }
    environment['GODEBUG'] = 'tlsmlkem=0' if Lab.version >= '18.2'
    environment.merge(@settings['registry']['env'] || {})
  end

  def nginx
    return unless enabled?('nginx')

    self_sign if lets_encrypt?
    conf = "#{DATA}/nginx/conf"
    @resources.directory(conf)
    @resources.file("#{conf}/nginx.conf", @rendered.nginx_conf, restart: %w[nginx])
    server_blocks(conf)
  end

  # Nothing checks whether the files in them exist.
  def server_blocks(conf)
    rails, registry = %w[http registry].map { |name| "#{conf}/gitlab-#{name}.conf" }
    if Rendered.service_conf?
      # The files of a former version would no longer be read.
      [rails, registry].each { |file| @resources.delete(file) }
      @resources.directory("#{conf}/service_conf")
      rails, registry = %w[rails registry].map { |name| "#{conf}/service_conf/gitlab-#{name}.conf" }
    end
    server_block(rails, rails? && @settings['external_url'], :nginx_rails)
    nginx = @settings['registry_nginx']
    server_block(registry, @settings['registry']['enable'] && nginx['listen_port'] && nginx['enable'] != false, :nginx_registry)
  end

  def server_block(file, wanted, text)
    wanted ? @resources.file(file, @rendered.send(text), restart: %w[nginx]) : @resources.delete(file, restart: %w[nginx])
  end

  def self_sign
    @settings['nginx']['redirect_http_to_https'] = true if @settings['nginx']['redirect_http_to_https'].nil?
    @lets_encrypt = LetsEncrypt.new(@settings)
    @resources.restart('nginx') if @lets_encrypt.self_sign
  end

  def lets_encrypt?
    @settings['letsencrypt']['enable'] && @settings['gitlab_rails']['gitlab_https'] && enabled?('nginx')
  end

  def registry_database
    RegistryPostgresql.prepare(@settings)
  end

  # Only if nginx can answer for this node. It reloads its files immediately, not at the end.
  def lets_encrypt
    return unless Lab::ROOT.empty?

    if @resources.restarts.delete('nginx') && !@started.include?('nginx')
      @runit.command('restart', 'nginx')
    end
    @runit.listening(80)
    @runit.command('hup', 'nginx') if @lets_encrypt.request
    Secrets.remember_lets_encrypt if @settings['letsencrypt']['auto_enabled']
  end

  def services
    wanted, others = Runit::SERVICES.partition { |name| enabled?(name) }
    others.each { |name| @runit.disable(name) }
    wanted.each do |name|
      # Only for root: the registry logs its headers, including the notification token.
      @resources.directory("/var/log/gitlab/#{name}", mode: 0o700)
      @resources.file("/opt/gitlab/sv/#{name}/run", @runit.run_script(name, @settings['registry']['dir']), mode: 0o755, restart: [name])
    end
    @started = @runit.enable(wanted)
  end

  # One after another, in the order in which their files changed: Rails before the registry. Like chef, it restarts all
  # of them, and then fails with the first one that sv did not see restarted within SVWAIT.
  def restarts
    failed = ((@resources.restarts & @runit.enabled) - (@started || [])).reject { |name| @runit.command('restart', name) }
    return if failed.empty? || $! # an earlier failure has precedence

    raise "runit_service[#{failed.first}] (#{failed.first}::enable line 120) had an error: Mixlib::ShellOut::ShellCommandFailed: " \
          "Expected process to exit with [0], but received '1'"
  end

  # A node without Rails gets none of its files, including the signing key.
  def rails?
    @settings['gitlab_rails']['enable'] != false
  end

  def enabled?(name)
    return Replica.here? || !@postgresql.nil? if name == 'postgresql'
    return RegistryPostgresql.wanted?(@settings) if name == RegistryPostgresql::SERVICE
    return false if %w[puma sidekiq].include?(name) && !rails?

    name == 'registry' ? @settings['registry']['enable'] : @settings[name]['enable'] != false
  end

  # As chef and omnibus' handler (package/libraries/handlers/gitlab.rb) print it, to one terminal.
  def failed(error)
    name = error.is_a?(RemovedSettings) ? 'RuntimeError' : error.class.name
    puts '', '=' * 80, "Recipe Compile Error in #{COOKBOOKS}/gitlab-base/recipes/default.rb", '=' * 80, '', name, '-' * name.size,
         error.message, '', 'Cookbook Trace: (most recent call first)', '-' * 40,
         *(error.backtrace || []).grep(/gitlab\.rb|settings/).first(3).map { |line| "  #{line}" },
         '', 'System Info:', '-' * 12, 'chef_version=18.3.0', 'executable=/opt/gitlab/embedded/bin/cinc-client', ''
    puts 'Running handlers:', "#{stamp} ERROR: Running exception handlers",
         'There was an error running gitlab-ctl reconfigure:', '', error.message, ''
    removals(error.list) if error.is_a?(RemovedSettings)
    puts 'Running handlers complete', "#{stamp} ERROR: Exception handlers complete",
         "Infra Phase failed. #{@resources.updated} resources updated in 04 seconds",
         "#{stamp} FATAL: Stacktrace dumped to /opt/gitlab/embedded/cookbooks/cache/cinc-stacktrace.out",
         "#{stamp} FATAL: #{name}: #{error.message}"
    false
  end

  COOKBOOKS = '/opt/gitlab/embedded/cookbooks/cache/cookbooks'

  def removals(list)
    puts '', 'Removals:', *list, '', 'Update the configuration in your gitlab.rb file or GITLAB_OMNIBUS_CONFIG environment.', ''
  end

  def stamp
    Time.now.strftime('[%Y-%m-%dT%H:%M:%S%:z]')
  end
end
