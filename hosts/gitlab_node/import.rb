# frozen_string_literal: true

# Imports the metadata of a registry's images from its storage into the metadata database of the payload. The importer
# of GitLab's registry runs for hours without a connection; a client starts each step and asks for its progress
# (operations/import_registry.py). What it has done so far is in STATE, so that it continues where it stopped.
class Import
  STATE = "#{FileTransaction::DIRECTORY}/import.json"
  # container-registry, registry/datastore/importer.go: what it logs at the end of each repository, or of each blob.
  DONE = { '1' => /(?:skipping )?repository pre import(?: complete|: last)/, '2' => /repository import complete/,
           '3' => /importing blob\b/ }.freeze
  FLAGS = { '1' => '--step-one', '2' => '--step-two', '3' => '--step-three' }.freeze
  # The line that is added to the settings file while the registry must be read-only.
  MARK = '# read-only while the metadata is imported'
  ROWS = 'SELECT count(*) FROM repositories'
  TAGS = 'SELECT count(*) FROM tags'

  class << self
    # {'database', 'phase', 'read_only_since', 'steps'}; empty without an import.
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
                        remedy: "finish or give up the import: #{command(order)} (GIVE_UP=1)")
    end

    # After `up` has switched the registry to its database. Returns the seconds in which nobody could push.
    def switched
      all = state
      return unless all['phase'] == 'imported'

      seconds = (Time.now.to_i - all['read_only_since']).clamp(0, nil)
      save(all.merge('phase' => 'switched', 'read_only_seconds' => seconds))
      Report.say("the registry uses its metadata database now; it was read-only for #{seconds} s")
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
    state = Import.state
    return described(state) if %w[switched done].include?(state['phase'])

    refuse_foreign(state)
    refuse_database_in_use(config) unless state['phase'] == 'imported'
    @database.check(settings, importing: !state.empty?)
    refuse_missing unless @database.exists?
    refuse_rows if state.empty? && rows.positive?
    @database.migrate(always: true)
    Import.save(state.merge('database' => @database.where, 'phase' => 'checked')) if state.empty?
    described(Import.state)
  end

  # Starts a step, unless it runs already. Returns its progress.
  def run
    return progress if running?

    step, dry = @request.values_at('step', 'dry_run')
    refuse_database_in_use(Omnibus.registry_config) unless step == '3' && !dry
    # Step two refuses a database with tags, for example those that an interrupted step two has left.
    @database.query('TRUNCATE tags') if step == '2' && !dry && tags.positive?
    command = importer(FLAGS.fetch(step), *(dry ? ['--dry-run'] : []))
    script = "#{Shellwords.join(command)} > #{log} 2>&1; echo $? > #{status}.new; mv #{status}.new #{status}"
    pid = Process.spawn('setsid', '--fork', 'sh', '-c', "echo $$ > #{directory}/pid; #{script}",
                        in: '/dev/null', out: '/dev/null', err: '/dev/null', chdir: '/')
    Process.wait(pid)
    sleep 0.05 until File.exist?("#{directory}/pid") || File.exist?(status)
    note(step, dry)
    progress
  end

  # {'running', 'step', 'dry_run', 'done', 'seconds', 'ok', 'why'}. `ok` is nil while it runs, and if it was killed.
  def progress
    last = Import.state['last'] || {}
    text = Files.read(log).to_s.scrub
    code = Files.read(status)&.strip
    ended = code ? File.mtime(status).to_i : Time.now.to_i
    { 'running' => running?, 'step' => last['step'], 'dry_run' => last['dry_run'],
      'done' => last['step'] ? text.scan(DONE.fetch(last['step'])).size : 0,
      'seconds' => last['began'] ? ended - last['began'] : 0,
      'ok' => code && code == '0', 'why' => code == '0' ? nil : Report.hide(why(text)) }
  end

  # A step has ended well: what follows depends on it. Returns {phase}.
  def record
    phase = @request['phase']
    Import.save(Import.state.merge('phase' => phase, 'database' => @database.where))
    FileUtils.rm_rf(directory) if phase == 'done'
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
    served, broken = Catalog.new(Storage.token(Omnibus.registry_config)).digests
    different = (served.keys | imported.keys).reject { |image| served[image] == imported[image] } - broken
    return compared(served, broken) if different.empty?

    Import.save(Import.state.except('last')) # The next run repeats the step.
    raise Failure.new('import-differs', 'the database does not have the same tags as the storage',
                      cause: "#{different.size} of #{served.size} tags differ: #{different.sort.first(5).join(', ')}",
                      remedy: "#{Import.command(@order)} again, which repeats the import of the tags; " \
                              'if they still differ, GIVE_UP=1')
  end

  # The registry as before: the importer is stopped, lock files and settings are restored, the database has no tags.
  # `yield` makes the registry writable.
  def give_up
    refuse_database_in_use(Omnibus.registry_config)
    return { 'given_up' => false } if Import.state.empty?

    stop
    empty_database
    yield
    FileUtils.rm_rf([directory, STATE])
    { 'given_up' => true }
  end

  # The registry must start with its former settings, which a storage that belongs to the database does not allow.
  def back
    restore_lock_files
    Import.save(Import.state.merge('phase' => 'read-only'))
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

  # With the database down, an import can be given up until step two has changed the lock files.
  def empty_database
    restore_lock_files if tags.positive?
    @database.query('TRUNCATE tags') if rows.positive?
  rescue Failure => e
    locked = Import.state['phase'] == 'imported' || progress.values_at('step', 'dry_run', 'ok') == ['2', false, true]
    raise if locked || e.code == 'lock-files-not-restored'

    Report.say("#{@order['node']}: the database is left as it is: #{Report.hide(e.cause_text)}")
  end

  # How many; nil if that cannot be listed quickly.
  def repositories
    Timeout.timeout(30) { Catalog.new(Storage.token(Omnibus.registry_config)).repositories.size }
  rescue Timeout::Error, Failure
    nil
  end

  # The importer's last words.
  def why(text)
    lines = text.lines.map(&:strip).reject(&:empty?)
    (lines.grep(/error/i).last || lines.last).to_s[0, 500]
  end

  def described(state)
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
    FileUtils.mkdir_p(directory, mode: 0o700)
    FileUtils.rm_f([log, status, "#{directory}/pid"])
    Files.write(config_path, JSON.generate(Omnibus.registry_config.merge('database' => @database.settings)),
                mode: 0o600)
    FileUtils.chown_R(*@database.owner, directory)
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
    _, output = Omnibus.run(importer(FLAGS['2']), @order['reconfigure_seconds'])
    return if output.include?('tags already present') && !output.include?('could not restore lockfiles')

    raise Failure.new('lock-files-not-restored', "the lock files in the registry's storage are still those of the " \
                                                 'metadata database, and without it the registry would not start',
                      cause: why(output),
                      remedy: "correct that, then #{Import.command(@order)} again, with GIVE_UP=1 to give it up")
  end

  def refuse_foreign(state)
    return if state.empty? || state['database'] == @database.where

    raise Failure.new('import-into-another-database', 'refused: an import into another database has begun',
                      cause: "#{STATE} names #{state['database']}, and the configuration #{@database.where}",
                      remedy: "give up the former import first: #{Import.command(@order)} (GIVE_UP=1)")
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
    Files.read("#{directory}/pid")&.to_i
  end

  # Credentials and certificates of the service.
  def environment
    path = '/opt/gitlab/etc/registry/env'
    Dir.exist?(path) ? [Database::CHPST, '-e', path] : []
  end

  def directory
    "#{Omnibus.registry_directory}/geo-registry-import"
  end

  def config_path
    "#{directory}/config.yml"
  end

  def log
    "#{directory}/log"
  end

  def status
    "#{directory}/status"
  end
end
