# frozen_string_literal: true

# Imports the metadata of a registry's images from its storage into the metadata database of the payload. The importer
# of GitLab's registry runs for hours without a connection; a client starts each step and asks for its progress
# (operations/import_registry.py). What it has done so far is in STATE, so that it continues where it stopped.
class Import
  STATE = "#{FileTransaction::DIRECTORY}/import.json"
  # Owned by root, because root writes there; the importer, which is not root, only reads its configuration.
  DIRECTORY = '/var/opt/gitlab/geo-registry-import'
  # container-registry, registry/datastore/importer.go: what it logs at the end of each repository, or of each blob.
  DONE = { '1' => '(skipping )?repository pre import( complete|: last)', '2' => 'repository import complete',
           '3' => 'importing blob\b' }.freeze
  FLAGS = { '1' => '--step-one', '2' => '--step-two', '3' => '--step-three' }.freeze
  # The line that is added to the settings file while the registry must be read-only.
  MARK = '# read-only while the metadata is imported'
  ROWS = 'SELECT count(*) FROM repositories'
  TAGS = 'SELECT count(*) FROM tags'
  # Nothing in the database is another registry's: an import begins with an empty one.
  EMPTY = 'TRUNCATE top_level_namespaces CASCADE'
  # Other nodes' registries that are connected to it.
  OTHERS = 'SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() ' \
           'AND client_addr <> inet_client_addr()'
  LAST_LINES = 65_536
  NOT_RESTORED = 'could not restore lockfiles'

  class << self
    # {'database', 'phase', 'read_only_since', 'locked', 'last'}; empty without an import. 'locked': step two has begun,
    # at whose end the lock files in the storage are the database's.
    def state
      JSON.parse(Files.read(STATE) || '{}')
    end

    # Whether this registry's images have been imported into the database of the payload.
    def complete?(database)
      state.values_at('phase', 'database') == ['imported', database]
    end

    # Refuses to write settings that would make a registry writable whose tags are being imported.
    def refuse_change(order)
      return unless %w[read-only imported].include?(state['phase']) && order['database'].nil?

      raise Failure.new('import-in-progress', "refused: the metadata of this registry's images is being imported",
                        cause: "it is read-only since #{since}, and would accept pushes that are not imported",
                        remedy: "set metadata_database of #{order['site']} to #{state['database']} again, then " \
                                "finish the import, or give it up: #{command(order)} (GIVE_UP=1)")
    end

    # After `up` has switched the registry to its database. Returns the seconds in which nobody could push.
    def switched
      all = state
      return unless all['phase'] == 'imported'

      seconds = (Time.now.to_i - all['read_only_since'].to_i).clamp(0, nil)
      save(all.merge('phase' => 'switched', 'read_only_seconds' => seconds))
      Report.say("the registry uses its metadata database now; it was read-only for #{seconds} s")
    end

    # With the database of the import, which a payload from before it does not have.
    def of(order)
      known = JSON.parse(Files.read("#{DIRECTORY}/config.yml") || '{}')['database'] or return new(order)
      database = known.slice('host', 'port', 'user', 'sslmode', 'sslrootcert').merge('name' => known['dbname'])
      secrets = (order['secrets'] || {}).merge('database_password' => known['password']).compact
      new(order.merge('database' => database, 'secrets' => secrets))
    end

    def since
      Time.at(state['read_only_since'].to_i).utc.iso8601
    end

    def save(all)
      FileUtils.mkdir_p(FileTransaction::DIRECTORY, mode: 0o755)
      Files.write(STATE, JSON.pretty_generate(all), mode: 0o600)
    end

    def command(order)
      stack = (order['owner'] || order['stack']).to_s.split('/').last
      "`make import-registry STACK=#{stack} SITE=#{order['site']}`"
    end
  end

  def initialize(order)
    @order = order
    @request = order['import']
    @database = Database.new(order)
  end

  # -- what a client asks for

  # Checks that the import can begin or continue, and creates the database's tables.
  def check(settings)
    config = Omnibus.registry_config
    phase = Import.state['phase']
    return described if %w[switched done].include?(phase) && Storage.database?(config)

    forget if %w[checked switched done].include?(phase) && (phase != 'checked' || foreign?)
    refuse_foreign
    refuse_database_in_use(config) unless phase == 'imported'
    @database.check(settings, importing: !Import.state.empty?)
    refuse_missing unless @database.exists?
    refuse_rows if Import.state.empty? && rows.positive?
    @database.migrate(always: true)
    Import.save('database' => @database.where, 'phase' => 'checked') if Import.state.empty?
    described
  end

  # How far this node is, for clients that import a site with several.
  def phase
    { 'phase' => Import.state['phase'] || 'checked' }
  end

  # Starts a step, unless it runs already. Returns its progress.
  def run
    return progress if running?

    step, dry = @request.values_at('step', 'dry_run')
    refuse_database_in_use(Omnibus.registry_config) unless step == '3' && !dry
    prepare_tags if step == '2' && !dry
    command = importer(FLAGS.fetch(step), *(dry ? ['--dry-run'] : []))
    script = "#{Shellwords.join(command)} > #{log} 2>&1; echo $? > #{status}.new; mv #{status}.new #{status}"
    pid = Process.spawn('setsid', '--fork', 'sh', '-c', "echo $$ > #{DIRECTORY}/pid; #{script}",
                        in: '/dev/null', out: '/dev/null', err: '/dev/null', chdir: '/')
    Process.wait(pid)
    wait_for_start
    note(step, dry)
    progress
  end

  # {'running', 'step', 'dry_run', 'done', 'seconds', 'ok', 'why'}. `ok` is nil while it runs, and if it was killed.
  def progress
    last = Import.state['last'] || {}
    code = Files.read(status)&.strip
    ended = code ? File.mtime(status).to_i : Time.now.to_i
    { 'running' => running?, 'step' => last['step'], 'dry_run' => last['dry_run'],
      'done' => last['step'] ? counted(DONE.fetch(last['step'])) : 0,
      'seconds' => last['began'] ? ended - last['began'] : 0,
      'ok' => code && code == '0', 'why' => code == '0' ? nil : Report.hide(why(last_words)) }
  end

  # A step has succeeded: what follows depends on it. Returns {phase}.
  def record
    phase = @request['phase']
    refuse_writable if phase == 'imported'
    Import.save(Import.state.merge('phase' => phase, 'database' => @database.where))
    FileUtils.rm_rf(DIRECTORY) if phase == 'done'
    { 'phase' => phase }
  end

  # The content of the settings file, with or without the line that makes the registry read-only.
  def read_only_settings(enabled)
    text = File.binread(Include::SETTINGS).force_encoding('UTF-8').lines.reject { |line| line.include?(MARK) }.join
    return text.b unless enabled

    root = (Omnibus.registry_config || {}).dig('storage', 'filesystem', 'rootdirectory')
    # The default would be lost with the first key of `storage`.
    default = root ? "{ 'filesystem' => { 'rootdirectory' => #{root.dump} } }" : '{}'
    "#{text.chomp}\nregistry['storage'] = #{default}.merge(registry['storage'] || {}, 'maintenance' => " \
      "{ 'readonly' => { 'enabled' => true }, 'uploadpurging' => { 'enabled' => false } }) #{MARK}\n".b
  end

  def read_only?
    (Omnibus.registry_config || {}).dig('storage', 'maintenance', 'readonly', 'enabled') == true
  end

  # Notes when pushes were last possible, or that they are possible again.
  def note_read_only(enabled)
    state = Import.state
    return Import.save(state.except('read_only_since').merge('phase' => 'checked')) unless enabled

    Import.save({ 'read_only_since' => Time.now.to_i }.merge(state, 'phase' => 'read-only'))
  end

  # Compares what the registry serves from its storage with what is in the database: repositories, tags and digests.
  def compare
    found = @database.rows("SELECT r.path, t.name, encode(m.digest, 'hex') FROM tags t " \
                           'JOIN repositories r ON r.id = t.repository_id ' \
                           'JOIN manifests m ON m.id = t.manifest_id AND m.repository_id = r.id')
    imported = found.to_h { |path, tag, digest| ["#{path}:#{tag}", "sha256:#{digest[2..]}"] }
    served, broken = Catalog.new(token).digests
    different = (served.keys | imported.keys).reject { |image| served[image] == imported[image] } - broken
    return compared(served, broken) if different.empty?

    Import.save(Import.state.except('last')) # The next run repeats the step.
    raise Failure.new('import-differs', 'the database does not have the same tags as the storage',
                      cause: "#{different.size} of #{served.size} tags differ: #{different.sort.first(5).join(', ')}",
                      remedy: "#{Import.command(@order)} again, which repeats the import of the tags; " \
                              'if they still differ, GIVE_UP=1')
  end

  # The registry as before: the importer is stopped, lock files and settings are restored, the database is empty.
  # `yield` makes the registry writable.
  def give_up
    refuse_database_in_use(Omnibus.registry_config)
    return { 'given_up' => false } if [nil, 'switched', 'done'].include?(Import.state['phase'])

    stop
    unlock
    empty_database
    yield
    forget
    { 'given_up' => true }
  end

  # The node is removed from the stack: its former settings do not have the database.
  def leave
    return if Import.state.empty?

    unless %w[switched done].include?(Import.state['phase'])
      stop
      unlock
    end
    forget
  end

  # The registry must start with its former settings, which a storage that belongs to the database does not allow.
  def back
    return unless Import.state['phase'] == 'imported'

    if @database.query(OTHERS).to_i.positive?
      raise not_restored('other registries of this site use the database already', '`pulumi up` again')
    end

    unlock
  end

  # Before anything that changes a database, or depends on it.
  def refuse_foreign
    return unless foreign?

    was = Import.state['database']
    raise Failure.new('import-into-another-database', 'refused: an import into another database has begun',
                      cause: "#{STATE} names #{was}, and the configuration #{@database.where}",
                      remedy: "set metadata_database of #{@order['site']} to #{was} again, give that import up " \
                              "(#{Import.command(@order)}, with GIVE_UP=1), then change it")
  end

  # Stops the importer; a step that was stopped can be started again.
  def stop
    return unless running?

    Process.kill('TERM', -pid)
    20.times { running? ? sleep(0.5) : return }
    Process.kill('KILL', -pid)
  rescue Errno::ESRCH
    nil
  end

  private

  def foreign?
    !Import.state.empty? && Import.state['database'] != @database.where
  end

  def forget
    FileUtils.rm_rf([DIRECTORY, STATE])
  end

  # Whether the lock files in the storage could be the database's: the importer restores them only if it fails.
  def locked?
    return false unless Import.state['locked']

    failed = progress.values_at('running', 'step', 'ok') == [false, '2', false]
    !failed || last_words.include?(NOT_RESTORED)
  end

  # From here on the import is not complete: a run that is interrupted must not switch to a database without tags.
  def unlock
    restore_lock_files if locked?
    state = Import.state
    phase = state['phase'] == 'imported' ? 'read-only' : state['phase']
    Import.save(state.except('locked').merge('phase' => phase))
  end

  # It is not needed any more, and with the database down it can be left as it is.
  def empty_database
    @database.query(EMPTY) if rows.positive?
  rescue Failure => e
    Report.say("#{@order['node']}: the database is left as it is: #{Report.hide(e.cause_text)}")
  end

  # Step two needs a registry that takes no pushes, and refuses a database with tags, for example those that an
  # interrupted step two has left.
  def prepare_tags
    refuse_writable
    Import.save(Import.state.merge('phase' => 'read-only', 'locked' => true))
    @database.query('TRUNCATE tags') if tags.positive?
  end

  def refuse_writable
    return if read_only? && Import.state['read_only_since']

    raise Failure.new('import-not-read-only', 'its registry is not read-only',
                      cause: 'images that are pushed now would not be imported',
                      remedy: "#{Import.command(@order)} again, which makes it read-only first")
  end

  def wait_for_start
    200.times { pid || File.exist?(status) ? return : sleep(0.05) }
    raise IOError, "#{DIRECTORY}/pid was not written"
  end

  # Signed here; a node with only a registry has no key of its own.
  def token
    config = Omnibus.registry_config
    key = @order.dig('secrets', 'registry_key')
    key ? Token.new(key, config.dig('auth', 'token', 'issuer')) : Storage.token(config)
  end

  # How many; nil if that cannot be listed quickly.
  def repositories
    Timeout.timeout(30) { Catalog.new(token).repositories.size }
  rescue Timeout::Error, Failure
    nil
  end

  # Its last error, or its last line.
  def why(text)
    lines = text.lines.map(&:strip).reject(&:empty?)
    (lines.grep(/error/i).last || lines.last).to_s[0, 500]
  end

  # The log has a line for each blob.
  def last_words
    File.open(log) do |file|
      file.seek([file.size - LAST_LINES, 0].max)
      file.read.scrub
    end
  rescue SystemCallError
    ''
  end

  def counted(pattern)
    _, output = Omnibus.run(['grep', '-cE', pattern, log], Database::SECONDS)
    output.to_i
  end

  def described
    state = Import.state
    { 'phase' => state['phase'], 'read_only' => read_only?, 'read_only_since' => state['read_only_since'],
      'read_only_seconds' => state['read_only_seconds'], 'database' => @database.where,
      'repositories' => repositories, 'progress' => progress }
  end

  def compared(served, broken)
    { 'repositories' => served.keys.map { |image| image.rpartition(':').first }.uniq.size, 'tags' => served.size,
      'digests' => served.values.uniq.size, 'broken' => broken.size }
  end

  # The command of GitLab's importer. Its configuration is the registry's own, with the database.
  def importer(*flags)
    FileUtils.mkdir_p(DIRECTORY, mode: 0o755)
    FileUtils.rm_f([log, status, "#{DIRECTORY}/pid"])
    Files.write(config_path, JSON.generate(Omnibus.registry_config.merge('database' => @database.settings)),
                mode: 0o600)
    FileUtils.chown(*@database.owner, config_path)
    [*@database.as_registry, *environment, Database::REGISTRY, 'database', 'import', *flags, '--log-to-stdout',
     config_path]
  end

  def note(step, dry)
    state = Import.state
    phase = step == '1' && !dry ? 'pre-import' : state['phase']
    last = { 'step' => step, 'dry_run' => dry, 'began' => Time.now.to_i }
    Import.save(state.merge('last' => last, 'phase' => phase))
  end

  # The registry's own importer restores them when it finds tags, for every storage driver.
  def restore_lock_files
    if tags.zero?
      raise not_restored('the database has no tags, so the importer would import them',
                         "complete the import: #{Import.command(@order)} without GIVE_UP")
    end

    _, output = Omnibus.run(importer(FLAGS['2']), @order['reconfigure_seconds'])
    return if output.include?('tags already present') && !output.include?(NOT_RESTORED)

    # GitLab's importer prints that it found tags on a line of its own.
    raise not_restored(output[/#{NOT_RESTORED}.*/] || why(output),
                       "correct that, then #{Import.command(@order)} again, with GIVE_UP=1 to give it up")
  end

  def not_restored(cause, remedy)
    Failure.new('lock-files-not-restored', "the lock files in the registry's storage are still those of the " \
                                           'metadata database, and without it the registry would not start',
                cause: cause, remedy: remedy)
  end

  def refuse_database_in_use(config)
    raise missing('its registry has not been configured yet', 'run `gitlab-ctl reconfigure` there') unless config
    return unless Storage.database?(config)

    raise Failure.new('import-not-needed', 'refused: this registry uses a metadata database already',
                      cause: 'there is no metadata in its storage that it does not have in the database',
                      remedy: '`pulumi up`')
  end

  def missing(why, remedy)
    Failure.new('import-not-possible', 'refused: nothing can be imported', cause: why,
                                                                           remedy: "#{remedy}, then try again")
  end

  def refuse_missing
    raise missing('the Linux package on this node has not created a database for the registry, as it does from ' \
                  'GitLab 18.3 on', 'upgrade GitLab, or name a PostgreSQL of your own in metadata_database (host, ' \
                                    'password)')
  end

  def refuse_rows
    raise Failure.new('metadata-database-in-use', 'refused: its metadata database is not empty',
                      cause: "#{@database.where} has metadata of images that this program did not import",
                      remedy: "name an empty database, then #{Import.command(@order)} again")
  end

  def rows
    @database.registry_tables? ? @database.query(ROWS).to_i : 0
  end

  def tags
    @database.registry_tables? ? @database.query(TAGS).to_i : 0
  end

  def running?
    number = pid
    number && File.read("/proc/#{number}/cmdline").include?('database') && !File.exist?(status)
  rescue SystemCallError
    false
  end

  def pid
    number = Files.read("#{DIRECTORY}/pid").to_i
    number.positive? ? number : nil
  end

  # Credentials and certificates of the service.
  def environment
    path = '/opt/gitlab/etc/registry/env'
    Dir.exist?(path) ? [Database::CHPST, '-e', path] : []
  end

  def config_path
    "#{DIRECTORY}/config.yml"
  end

  def log
    "#{DIRECTORY}/log"
  end

  def status
    "#{DIRECTORY}/status"
  end
end
