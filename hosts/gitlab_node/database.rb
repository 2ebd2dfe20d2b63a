# frozen_string_literal: true

# Checks from the registry's node whether its registry can use the metadata database of the payload, with the client of
# the Linux package, before anything is changed. Only `migrate` changes something, and only in that database.
class Database
  PSQL = '/opt/gitlab/embedded/bin/psql'
  REGISTRY = '/opt/gitlab/embedded/bin/registry'
  CHPST = '/opt/gitlab/embedded/bin/chpst'
  # Go, crypto/x509/root_linux.go: Debian, Fedora, SUSE, Alpine.
  AUTHORITIES = %w[/etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem
                   /etc/ssl/cert.pem].freeze
  SERVICE = '/opt/gitlab/service/postgresql'
  # container-registry, registry/datastore/datastore.go, MinPostgresqlVersion.
  OLDEST = 150_000
  # omnibus-gitlab 9d5b887e8: from here on, each reconfigure migrates the database.
  MIGRATED_BY_RECONFIGURE = [18, 3].freeze
  SECONDS = 10
  # Version, replica, permission to create, number of tables, whether a registry has created them, and whether it has
  # images. A registry's tables are created by its migrations, which need to create a schema too.
  ASK = <<~SQL.tr("\n", ' ')
    SELECT current_setting('server_version_num'), pg_is_in_recovery(),
      has_database_privilege(current_database(), 'CREATE'),
      (SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')),
      to_regclass('schema_migrations') IS NOT NULL AND to_regclass('repositories') IS NOT NULL
  SQL
  IMAGES = 'SELECT EXISTS (SELECT FROM repositories)'

  # host/name of the one that the registry uses now; nil if it has none.
  def self.in_use
    config = Omnibus.registry_config
    config && Storage.database?(config) ? config['database'].values_at('host', 'dbname').join('/') : nil
  end

  def initialize(order)
    @order = order
    @database = order['database'] || {}
    @password = order.dig('secrets', 'database_password')
    take_over_rendered if @database['managed']
  end

  # Raises Failure if the registry could not start with the database, or would find other images there; `importing`:
  # those are the ones that this program has imported. Returns {check => answer}.
  def check(settings, importing: false)
    return {} if @database.empty? || !@order['roles'].include?('registry')
    return managed(settings) if @database['managed']

    registrys = check_server
    return {} if importing

    images = registrys == 't' && query(IMAGES) == 't'
    refuse_tables('another registry keeps the metadata of its images there') if images && others?
    refuse_change if !images && elsewhere?
    { "metadata database #{where} can be used by this site's registry" => 'yes' }
  end

  # The database's tables, where no reconfigure creates them. They do no harm to a registry that does not use them.
  def migrate(always: false)
    return if @database.empty? || !@order['roles'].include?('registry')
    return if @database['managed'] && !always
    return unless always || (ServerBlocks.version && (ServerBlocks.version <=> MIGRATED_BY_RECONFIGURE).negative?)

    Report.say("#{@order['node']}: registry database migrate up")
    ok, output = with_file('.yml', config) do |path|
      Omnibus.run([*as_registry, REGISTRY, 'database', 'migrate', 'up', path], @order['reconfigure_seconds'])
    end
    return if ok

    raise Failure.new('metadata-database-not-migrated', 'the tables of its metadata database could not be created',
                      cause: "#{where}: #{CommandReason.of(output)}",
                      remedy: 'correct that, then `pulumi up` again; the next run creates those that are missing')
  end

  # host:port/name, as messages show it.
  def where
    "#{@database['host']}:#{@database['port']}/#{@database['name']}"
  end

  # Whether it is known where the database is: before GitLab 18.3, the Linux package has none for the registry.
  def exists?
    !@database['host'].nil?
  end

  # The section of the registry's configuration.
  def settings
    return @rendered.merge('enabled' => true) if @database['managed']

    { 'enabled' => true, 'host' => @database['host'], 'port' => @database['port'], 'user' => @database['user'],
      'password' => @password, 'dbname' => @database['name'],
      'sslmode' => @database['sslmode'], 'sslrootcert' => @database['sslrootcert'] }.compact
  end

  # The last line of what a query returns, columns separated by `|`; raises Failure.
  def query(sql)
    # Warnings come before it.
    psql(sql).lines.last.to_s.strip
  end

  # All rows of a query whose columns have no `|`.
  def rows(sql)
    psql(sql, @order['reconfigure_seconds']).lines.map { |line| line.chomp.split('|') }.select { |row| row.size > 1 }
  end

  # Whether a registry's migrations have created its tables.
  def registry_tables?
    query("SELECT to_regclass('tags') IS NOT NULL") == 't'
  end

  def as_registry
    owner ? [CHPST, '-u', ":#{owner.join(':')}"] : []
  end

  # The registry's user, as of the last reconfigure.
  def owner
    stat = File.stat(Omnibus.registry_config_path)
    [stat.uid, stat.gid]
  rescue SystemCallError
    nil
  end

  private

  # Whether a registry has created tables there: "t" or "f".
  def check_server
    version, standby, creates, tables, registrys = query(ASK).split('|')
    refuse_old(version) if version.to_i < OLDEST
    refuse_standby if standby == 't'
    refuse_tables("it has #{tables} tables that are not a registry's") if tables.to_i.positive? && registrys != 't'
    refuse_permission unless creates == 't'
    registrys
  end

  # The Linux package decides where its database is and how the registry logs in, and renders that even where the
  # registry does not use the database (from GitLab 18.3 on, which also creates it).
  def take_over_rendered
    @rendered = (Omnibus.registry_config || {})['database'] || {}
    # That of a database that the registry leaves is not the package's own.
    @rendered = {} unless local?(@rendered['host'].to_s)
    @password = @rendered['password']
    Report.redact(@password) if @password
    names = { 'host' => 'host', 'port' => 'port', 'user' => 'user', 'name' => 'dbname', 'sslmode' => 'sslmode' }
    @database = @database.merge(names.transform_values { |name| @rendered[name] })
  end

  # A registry that keeps the PostgreSQL of the Linux package on another node has no database of its own there.
  def managed(settings)
    here = File.exist?(SERVICE) && (!settings.known? || settings.get('postgresql', 'enable') != false)
    other = settings.known? ? settings.administrators('registry', 'database', 'host').to_s : ''
    return refuse_change_to_managed if here && local?(other)

    refused('metadata-database-not-managed', 'this node has no managed metadata database',
            here ? "gitlab.rb names the registry's database at #{other}" : 'PostgreSQL is not enabled on this node',
            "describe the database in sites.#{@order['site']}.metadata_database (host, password)")
  end

  # Metadata of images that the registry on this node does not have. Other nodes of the site may have written it.
  def others?
    !@order['data_moved'] && !Import.complete?(where) && @order['alone'] && !(now && same?(now))
  end

  # Whether the registry has its metadata in another database, which it would lose sight of.
  def elsewhere?
    !@order['data_moved'] && now && !same?(now) && Storage.images?(Omnibus.registry_config) != false
  end

  # The database that the registry uses now; nil if it has none.
  def now
    return @now if defined?(@now) # the registry may have to be asked

    config = Omnibus.registry_config
    @now = config && Storage.database?(config) ? config['database'] : nil
  end

  def same?(database)
    database.values_at('host', 'port', 'dbname').map(&:to_s) == @database.values_at('host', 'port', 'name').map(&:to_s)
  end

  # The Linux package names the first address that PostgreSQL listens on, which on a Geo primary is not the loopback.
  def local?(host)
    host.empty? || host.start_with?('/') || host.match?(/\A(127\.|localhost\z|0\.0\.0\.0\z|::1?\z)/) ||
      Socket.ip_address_list.any? { |address| address.ip_address == host }
  end

  def refuse_change_to_managed
    refuse_change if now && !local?(now['host'].to_s) && elsewhere?
    {}
  end

  def psql(sql, seconds = SECONDS * 3)
    # A socket may know the registry's user; everybody else needs the password.
    user = @password ? [] : as_registry
    with_file('.pass', @password ? "*:*:*:*:#{escaped(@password)}\n" : '') do |pass|
      ok, output = Omnibus.run([*user, PSQL, '-XwAtc', sql, conninfo(pass)], seconds)
      ok ? output : unusable(output)
    end
  end

  def conninfo(pass)
    verify = @database['sslmode'].start_with?('verify') ? { 'sslrootcert' => authorities } : {}
    values = { 'host' => @database['host'], 'port' => @database['port'], 'user' => @database['user'],
               'dbname' => @database['name'], 'sslmode' => @database['sslmode'], 'connect_timeout' => SECONDS,
               'passfile' => pass, **verify }
    values.map { |key, value| "#{key}='#{value.to_s.gsub(/[\\']/) { |c| "\\#{c}" }}'" }.join(' ')
  end

  # As ~/.pgpass has it.
  def escaped(password)
    password.gsub(/[\\:]/) { |c| "\\#{c}" }
  end

  # What the registry's migrations trust: Go's list, without SSL_CERT_DIR, which only the service has.
  def authorities
    @database['sslrootcert'] || AUTHORITIES.find { |path| File.exist?(path) } || AUTHORITIES.first
  end

  # A file for one command, readable for the registry's user, which never remains.
  def with_file(suffix, text)
    Dir.mktmpdir('geo-registry-') do |directory|
      path = "#{directory}/file#{suffix}"
      Files.write(path, text, mode: 0o600)
      FileUtils.chown_R(*owner, directory) if owner && (suffix == '.yml' || text.empty?)
      yield path
    end
  end

  # Only what the command reads: any storage will do.
  def config
    JSON.generate('version' => '0.1', 'storage' => { 'filesystem' => { 'rootdirectory' => '/nonexistent' } },
                  'database' => settings)
  end

  # By what PostgreSQL's client says.
  def unusable(output)
    said = output[/.*(?:FATAL|ERROR): +(.+)/m, 1] || output.sub(/\Apsql: error: /, '')
    cause = "#{where}: #{said.lines.first(2).map(&:strip).join(' ')}"
    case output
    when /password authentication failed|no password supplied|no pg_hba.conf entry|role ".*" does not exist|Peer auth/
      refused('metadata-database-login-refused', 'its metadata database refuses the login', cause,
              'check user and password of metadata_database, and that pg_hba.conf there admits this node')
    when /database ".*" does not exist/
      refused('metadata-database-not-found', 'its metadata database does not exist', cause,
              'create it on that server, owned by the user of metadata_database')
    when /server does not support SSL/
      refused('metadata-database-without-tls', 'the server of its metadata database has no TLS', cause,
              'enable TLS there (`ssl = on`), or use a sslmode that does not need it')
    when /certificate|SSL error/
      refused('metadata-database-certificate-refused', 'the certificate of its metadata database is not trusted', cause,
              'set metadata_database.sslrootcert to a file that contains its CA, ' \
              'or set host to a name in the certificate')
    when /could not translate|refused|timeout|No route|unreachable|No such file|closed the connection|starting up/
      refused('metadata-database-unreachable', 'its metadata database does not answer', cause,
              'check host and port of metadata_database, that PostgreSQL runs, and the firewall in between')
    else
      refused('metadata-database-unusable', 'its metadata database cannot be used', cause,
              'correct that, or metadata_database')
    end
  end

  def refuse_old(version)
    refused('metadata-database-too-old', 'its metadata database is too old',
            "#{where} is PostgreSQL #{version.to_i / 10_000}, and GitLab's registry requires PostgreSQL 15 or later",
            'upgrade PostgreSQL')
  end

  def refuse_standby
    refused('metadata-database-read-only', 'its metadata database is a read-only replica',
            "#{where} is in recovery: it is a read-only replica, " \
            'like every PostgreSQL server to which Geo replicates, so the registry would not start',
            "use a PostgreSQL server that is not a replica (sites.#{@order['site']}.metadata_database)")
  end

  def refuse_permission
    refused('metadata-database-permission-missing', 'its metadata database does not let it create tables',
            "#{@database['user']} has no CREATE permission on #{where}",
            "run `ALTER DATABASE #{@database['name']} OWNER TO #{@database['user']}` there")
  end

  def refuse_change
    refused('metadata-database-would-change', 'its registry would use another metadata database',
            "the metadata of its images is in #{now['host']}/#{now['dbname']}, and it would not find the images",
            'copy that database (`pg_dump`), or keep it; if the new one has the same content, ' \
            '`pulumi config set --path storage.data_moved true`')
  end

  def refuse_tables(why)
    refused('metadata-database-in-use', 'its metadata database is not empty',
            "#{where}: #{why}, and this registry does not use it now",
            'name an empty database; if you imported the images of this registry into it, ' \
            '`pulumi config set --path storage.data_moved true`')
  end

  def refused(code, what, cause, remedy)
    raise Failure.new(code, "refused: #{what}", cause: cause, remedy: "#{remedy}, then `pulumi up` again")
  end
end
