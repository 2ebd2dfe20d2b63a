# frozen_string_literal: true

# The commands. Only apply and undo change settings.
class Main
  STATE = "#{FileTransaction::DIRECTORY}/state.json"
  LOCK = '/run/gitlab-geo-registry.lock'
  COMMANDS = {
    'apply' => :apply, 'undo' => :undo, 'verify' => :verify, 'adopt' => :read_key_pair,
    'inspect_storage' => :inspect_storage, 'import' => :import, 'trust' => :trust
  }.freeze

  def initialize(order)
    @order = order
    Report.redact(order['secrets'])
    Report.redact((order['storage'] || {}).slice('access_key', 'secret_key'))
    Report.redact(order['files'])
  end

  def run(command)
    unless File.exist?(Omnibus::CTL) && File.exist?(Omnibus::GITLAB_RB)
      raise Failure.new('gitlab-not-installed', 'GitLab is not installed on this node',
                        cause: "#{Omnibus::CTL} or #{Omnibus::GITLAB_RB} is missing",
                        remedy: "check that this host is the GitLab node #{@order['node']}")
    end
    # It need not wait for the end of a reconfigure, and other sites wait for it.
    return lock_file if command == 'lock_file'
    # They only read, and must not wait for a reconfigure.
    return Status.new(@order).run if command == 'status'
    return Comparison.new(@order).run if command == 'compare'
    return Import.new(@order).progress if @order.dig('import', 'action') == 'progress'

    locked { send(COMMANDS.fetch(command)) }
  end

  private

  def lock_file
    Storage.trusting(@order) { LockFiles.new(@order).write }
  end

  def locked
    File.open(LOCK, File::RDWR | File::CREAT, 0o600) do |file|
      deadline = Omnibus.now + @order['reconfigure_seconds']
      until file.flock(File::LOCK_EX | File::LOCK_NB)
        Report.say("#{@order['node']}: waiting for another run on this node to end") unless @waiting
        @waiting = true
        if Omnibus.now > deadline
          raise Failure.new('another-run-in-progress', 'another run of this program is still running on this node',
                            cause: "#{LOCK} is held",
                            remedy: 'wait for it to end, then `pulumi up` again')
        end
        sleep 0.5
      end
      # Only now: another run may have changed it while this one waited.
      @state = JSON.parse(Files.read(STATE) || '{}')
      yield
    end
  end

  # The key pair in use; for a created node a new pair, because its image may contain one that everybody has. Changes
  # nothing, and runs before anything else: what the primary refuses must not leave other sites changed.
  def read_key_pair
    return key_pair(*Omnibus.generate_key_pair) if @order['created']

    Storage.refuse_to_hide_images(@order) if registry?
    key, bundle = Omnibus.registry_secrets.values_at('internal_key', 'internal_certificate')
    certificate = Omnibus.with_own_first(key, bundle)
    unless key && certificate && Omnibus.pair?(key, certificate)
      raise Failure.new('registry-key-pair-missing', 'no registry key pair to adopt',
                        cause: "#{Omnibus::SECRETS_JSON} has no matching internal_key and internal_certificate",
                        remedy: 'set registry_external_url there, run `gitlab-ctl reconfigure`, then `pulumi up` again')
    end
    in_use = Files.read(Omnibus.key)
    if in_use && in_use.strip != key.strip
      raise Failure.new('registry-key-replaced',
                        'the registry key in use is not the one that the next reconfigure would write',
                        cause: "#{Omnibus.key} was replaced manually; #{Omnibus::SECRETS_JSON} has another",
                        remedy: 'run `gitlab-ctl reconfigure` and `gitlab-ctl restart registry` on the primary, ' \
                                'then `pulumi up` again')
    end
    PublicName.refuse_change(@order)
    Conflicts.refuse(@order, EvaluatedSettings.read({}), certificate)
    key_pair(key, certificate)
  end

  def key_pair(key, certificate)
    { 'registry_key' => key, 'registry_certificate' => certificate, 'fingerprint' => Omnibus.fingerprint(certificate) }
  end

  def inspect_storage
    Storage.refuse_to_hide_images(@order) if @order['storage']
    { 'storage' => Storage.identity(Omnibus.registry_config) }
  end

  # One action of an import of metadata into the database.
  def import
    ensure_owned
    unless @state['owner']
      raise Failure.new('import-before-first-up', 'refused: this node is not configured by this program yet',
                        cause: "#{STATE} is missing",
                        remedy: 'leave out metadata_database of this site, `pulumi up`, add it, then try again')
    end
    recover
    action = @order['import']['action']
    import = Import.new(@order)
    import.refuse_foreign unless %w[check phase].include?(action)
    case action
    when 'check' then import.check(EvaluatedSettings.read({}))
    when 'phase', 'run', 'record', 'compare' then import.send(action)
    when 'read_only' then read_only(import, @order['import']['enabled'])
    when 'give_up' then import.give_up { read_only(import, false) }
    end
  rescue Failure => e
    raise e if e.state || !%w[read-only imported].include?(Import.state['phase'])

    raise e.with_state('its registry is read-only, and serves images from its storage as before')
  end

  # Makes the registry refuse or accept pushes.
  def read_only(import, enabled)
    text = import.read_only_settings(enabled)
    @nginx = LocalNginx.new(@order, incomplete: false)
    unless Files.read(Include::SETTINGS) == text && import.read_only? == enabled
      change({ Include::SETTINGS => text }, restart: false) do
        unless import.read_only? == enabled
          raise Failure.new('registry-mode-unchanged', "its registry is still #{enabled ? 'writable' : 'read-only'}",
                            cause: "a line after the include of #{Include::SETTINGS} sets registry['storage']",
                            remedy: "remove that line, then #{Import.command(@order)} again")
        end
        wait_for_registry
      end
    end
    import.note_read_only(enabled)
    { 'read_only' => enabled }
  end

  def wait_for_registry
    answer = Http.until(Checks::STARTING) do
      code, body = Http.call('get', "#{Registry.local.url}/v2/")
      { ok: code == 401, code: code, body: body }
    end
    return if answer[:ok]

    raise Failure.new('registry-not-answering', 'the registry does not answer',
                      cause: "GET #{Registry.local.url}/v2/: #{[answer[:code], answer[:body]].join(' ')[0, 200]}",
                      remedy: "read its log (`gitlab-ctl tail registry`), then #{Import.command(@order)} again")
  end

  def apply
    ensure_owned
    interrupted = recover
    Import.refuse_change(@order) if registry?
    Storage.refuse_to_hide_images(@order) if registry?
    report_missing_include
    PublicName.refuse_change(@order) unless @state['owner']
    contents = desired_files
    settings = EvaluatedSettings.read(contents)
    Conflicts.refuse(@order, settings, @order['secrets']['registry_certificate'])
    database = Database.new(@order)
    proven = database.check(settings).merge!(Storage.prove(@order))
    proven.merge!(Certificates.check(@order, contents, settings), Proof.new(@order).refuse_writable_registry)
    changed = contents.reject { |path, bytes| Files.read(path) == bytes }
    needed = !changed.empty? || interrupted || !Rendered.faults(@order).empty?
    Report.say("#{@order['node']}: settings unchanged") unless needed
    database.migrate
    @nginx = LocalNginx.new(@order, incomplete: interrupted)
    proof = -> { proven.merge!(Proof.new(@order).run, @nginx.check_services) }
    needed ? change(changed, restart: interrupted, &proof) : proof.call
    Import.switched if registry? && @order['database']
    { 'node' => @order['node'], 'site' => @order['site'], 'reconfigured' => needed,
      'fingerprint' => Omnibus.fingerprint(@order['secrets']['registry_certificate']), 'proof' => proven,
      **(@events ? { 'events' => @events } : {}) }
  end

  # The first step of a rotation of the registry key.
  def trust
    ensure_owned
    interrupted = recover
    unless @state['owner'] && Trust.registry?
      Report.say("#{@order['node']}: no registry with this program's settings yet")
      return { 'node' => @order['node'], 'proof' => {} }
    end
    trust = Trust.new(@order)
    trust.refuse_conflict
    contents = trust.contents
    @nginx = LocalNginx.new(@order, incomplete: interrupted)
    proven = {}
    proof = -> { proven.merge!(trust.prove, @nginx.check_services) }
    needed = interrupted || contents.any? || !trust.in_effect?
    needed ? change(contents, restart: interrupted, &proof) : proof.call
    { 'node' => @order['node'], 'proof' => proven, **(@events ? { 'events' => @events } : {}) }
  end

  # A tool that writes gitlab.rb from a template removes the line each time.
  def report_missing_include
    return if !@state['owner'] || Include.present?(Files.read(Omnibus::GITLAB_RB).to_s)

    Report.say("#{@order['node']}: #{Omnibus::GITLAB_RB} was rewritten without the line that includes the settings; " \
               'the line is added again. If a tool writes that file, add the line to its template ' \
               '(docs/your-own-sites.md)')
  end

  # Rolls back an interrupted run, including this program's state and the registry's secrets.
  def recover
    [Omnibus::GITLAB_RB, Omnibus::SECRETS_JSON].each { |path| InPlace.complete(path) }
    journal = JSON.parse(Files.read(FileTransaction::JOURNAL) || '{}')
    section, failed = journal.values_at('section', 'failed')
    return false unless FileTransaction.recover

    @begun = journal.slice('since', 'endpoint') if journal['since']

    Report.say("#{@order['node']}: #{failed || 'an earlier run was interrupted; its changes are rolled back first'}")
    Omnibus.restore_registry_secrets(section) if section
    @state = JSON.parse(Files.read(STATE) || '{}')
    true
  end

  def ensure_owned
    owner = @state['owner']
    # Only the engine knows the organization.
    return if owner.nil? || owner == @order['owner'] || (@order['stack'] && owner.end_with?("/#{@order['stack']}"))

    raise Failure.new('managed-by-another-stack', "this node is managed by the stack #{owner}",
                      cause: "#{STATE} names that stack as the owner",
                      remedy: 'run `pulumi destroy` in that stack first; if that stack is gone, ' \
                              "set owner to #{@order['owner'] || @order['stack']} there")
  end

  def desired_files
    gitlab_rb = File.binread(Omnibus::GITLAB_RB)
    check_end(gitlab_rb)
    with, added = Include.add(gitlab_rb, @state['newline_added'])
    state = { 'owner' => @order['owner'], 'resource' => @order['resource'], 'newline_added' => added,
              'before' => before, 'files' => @order['files'].keys }
    contents = {
      **site_files,
      Include::SETTINGS => @order['settings'].b,
      @order['secrets_file'] => JSON.pretty_generate(@order['secrets']).b,
      STATE => JSON.pretty_generate(state).b,
      Omnibus::GITLAB_RB => with
    }
    check_syntax(contents)
    contents
  end

  # What the node gets back when the settings are removed: its former key pair, or, if that was replaced after a leak,
  # the stack's. With new ones from GitLab, the nodes of a site would have different pairs.
  def before
    former = @state['before'] || Omnibus.registry_secrets
    return former unless revoked?(former)

    secrets = @order['secrets']
    former.merge('internal_key' => secrets['registry_key'], 'internal_certificate' => secrets['registry_certificate'])
  end

  # Whether this pair was replaced after a leak.
  def revoked?(pair)
    (Omnibus.fingerprints(pair['internal_certificate'].to_s) & (@order['revoked'] || [])).any?
  end

  def check_end(gitlab_rb)
    last = Omnibus.early_end(gitlab_rb) or return
    raise Failure.new('gitlab-rb-ends-early', "#{Omnibus::GITLAB_RB} ends before its last line",
                      cause: "Ruby reads nothing after #{last}, so no settings could be included at its end",
                      remedy: 'remove that line and what follows it, then `pulumi up` again')
  end

  # The certificates of this site's configuration; nil for one that is no longer in it.
  def site_files
    configured = @order['files'].transform_values(&:b)
    (@state['files'] || []).to_h { |path| [path, nil] }.merge(configured)
  end

  def check_syntax(contents)
    [Include::SETTINGS, Omnibus::GITLAB_RB].each do |path|
      why = Omnibus.syntax_error(contents[path])
      next unless why

      raise Failure.new('gitlab-rb-invalid', "#{path} would not be valid Ruby",
                        cause: why,
                        remedy: 'fix the file, then `pulumi up` again')
    end
  end

  # Writes the files, reconfigures and checks; rolls everything back if a step fails.
  def change(contents, restart:)
    before = rendered_files
    section = Omnibus.registry_secrets
    trusted = Omnibus.trusted(@order['files'])
    modes = { Include::SETTINGS => 0o644, @order['secrets_file'] => 0o600, STATE => 0o600,
              **@order['files'].to_h { |path, _| [path, trusted.include?(path) ? 0o644 : 0o600] } }
    @begun ||= Events.beginning
    transaction = FileTransaction.write(contents, modes, section, @begun)
    begin
      Omnibus.reconfigure(@order)
      restart ? restart_all : restart_if_only_certificates_changed(before, contents)
      reload_nginx_for_new_certificates(contents)
      @nginx&.check_nginx
      yield
      @events = notify_again(0)
    rescue StandardError => e
      raise Failure.from(e).with_state(roll_back(transaction))
    end
    transaction.commit
  end

  # The journal is deleted last: until then the next run knows that this one is incomplete.
  def roll_back(transaction)
    Report.say("#{@order['node']}: rolling back to the former settings")
    transaction.rollback
    Import.new(@order).back
    before = rendered_files
    Omnibus.restore_registry_secrets(transaction.section)
    Omnibus.reconfigure(@order)
    restored = transaction.files.to_h { |f| [f['path'], nil] }
    restart_if_only_certificates_changed(before, restored)
    reload_nginx_for_new_certificates(restored)
    nginx = @nginx&.after_rollback
    notify_again(Events::RAILS_STARTS)
    # The next run must expect this nginx to answer.
    return nginx_unavailable(nginx) if @nginx&.unavailable?

    transaction.commit
    FileTransaction.remove_empty_directory
    "the former settings are restored, and a reconfigure with them succeeded#{nginx}"
  rescue Failure => e
    return lock_files_not_restored(e) if e.code == 'lock-files-not-restored'

    note_failure("the last run failed, and so did the reconfigure with the former settings (#{e.cause_text})")
    "the former settings are restored in #{Omnibus::GITLAB_RB}, but a reconfigure with them failed as well " \
      "(#{e.cause_text}); services run as the last successful reconfigure left them#{@nginx&.after_rollback}"
  rescue StandardError => e
    note_failure("the last run failed, and its rollback did not complete (#{e.message})")
    "rollback did not complete (#{e.message}); the next run resumes it"
  end

  # Without a reconfigure, which would stop the registry: it cannot start without the database any more.
  def lock_files_not_restored(error)
    note_failure("the last run failed, and #{error.message}")
    "the former settings are restored in #{Omnibus::GITLAB_RB} without a reconfigure, because #{error.message} " \
      "(#{error.cause_text}); services run as the last successful reconfigure left them"
  end

  def nginx_unavailable(nginx)
    note_failure('the last run failed, and nginx did not answer after the former settings were restored')
    "the former settings are restored, and a reconfigure with them succeeded#{nginx}"
  end

  # For images pushed to a registry that was restarted since. GitLab on another node may have another secret until that
  # node is updated, so verification retries the rest.
  def notify_again(seconds, leaving: false)
    return unless registry? && @begun

    Events.new(@order, @begun).deliver(seconds, leaving: leaving)
  end

  # Checks other nodes' answers, after all have their settings.
  def verify
    proven = Verification.new(@order).run
    events = Events.new(@order).deliver(Events::RAILS_STARTS) if registry?
    { 'node' => @order['node'], 'site' => @order['site'], 'proof' => proven, **(events ? { 'events' => events } : {}) }
  end

  def note_failure(what)
    FileTransaction.note_failure(Report.hide("#{what}; this run resumes the rollback"))
  end

  def rendered_files
    { certificate: Files.read(rendered_certificate), config: Files.read(Omnibus.registry_config_path) }
  end

  # A config.yml that cannot be read must not stop a rollback.
  def rendered_certificate
    Omnibus.certificate
  rescue Failure
    "#{Omnibus.registry_directory}/gitlab-registry.crt"
  end

  # An interrupted reconfigure wrote files without the restarts they need, and no later reconfigure does them.
  def restart_all
    services = { 'registry' => 'registry', 'rails' => 'puma', 'sidekiq' => 'sidekiq' }
    services.slice(*@order['roles']).each_value { |service| Omnibus.restart(@order, service) }
  end

  # A new certificate at the same path does not change nginx' settings, so the Linux package does not reload nginx.
  def reload_nginx_for_new_certificates(contents)
    served = @order['files'].keys - Omnibus.trusted(@order['files'])
    Omnibus.hup('nginx') if served.any? { |path| contents.key?(path) }
  end

  # A changed config.yml has restarted the registry already. A changed certificate does not, neither the registry's nor
  # one that it trusts (Go reads those once).
  def restart_if_only_certificates_changed(before, contents)
    return unless registry?

    now = rendered_files
    return if now[:certificate] == before[:certificate] && Omnibus.trusted(contents).empty?
    return if now[:config] != before[:config]

    Omnibus.restart(@order, 'registry')
  end

  def registry?
    @order['roles'].include?('registry')
  end

  # Removes everything that apply added, and nothing else.
  def undo
    interrupted = recover
    manager = [@state['owner'], @state['resource']]
    if @state['owner'] && manager != [@order['owner'], @order['resource']]
      return nothing("#{@order['node']}: now managed as #{manager.join(' ')}, nothing to remove")
    end

    gitlab_rb = File.binread(Omnibus::GITLAB_RB)
    if @state.empty? && !interrupted && !Include.present?(gitlab_rb)
      return nothing("#{@order['node']}: no settings of this program on this node")
    end

    Import.of(@order).leave
    was = Storage.identity(Omnibus.registry_config) if registry?
    database = registry? && Database.in_use
    before = rendered_files
    section = Omnibus.registry_secrets
    deleted = [*@state['files'], Include::SETTINGS, @order['secrets_file'], STATE]
    contents = deleted.to_h { |path| [path, nil] }
    contents[Omnibus::GITLAB_RB] = Include.remove(gitlab_rb, @state['newline_added'])
    @nginx = LocalNginx.new(@order, incomplete: interrupted)
    transaction = FileTransaction.write(contents, {}, section, @begun ||= Events.beginning)
    begin
      Omnibus.restore_registry_secrets(@state['before']) if @state['before']
      Omnibus.reconfigure(@order)
      interrupted ? restart_all : restart_if_only_certificates_changed(before, contents)
      @nginx.check_nginx
      @nginx.check_services(%w[GitLab]) # The former registry need not have answered.
      notify_again(Events::RAILS_STARTS, leaving: true)
    rescue StandardError => e
      raise Failure.from(e).with_state(roll_back(transaction))
    end
    transaction.commit
    FileUtils.rm_f(Events::PENDING)
    FileTransaction.remove_empty_directory
    report_former_storage(was)
    report_former_database(database)
    report_leaked_pair
    { 'node' => @order['node'], 'undone' => true }
  end

  def nothing(text)
    Report.say(text)
    { 'node' => @order['node'], 'undone' => false }
  end

  # Only gitlab.rb itself can bring it back, and this program does not change that.
  def report_leaked_pair
    return unless revoked?(Omnibus.registry_secrets)

    Report.say("#{@order['node']}: the leaked registry key is in use again, because #{Omnibus::GITLAB_RB} sets it: " \
               "delete registry['internal_key'] and registry['internal_certificate'] there, and reconfigure")
  end

  # Only the administrator can keep it: the settings contain its password.
  def report_former_database(was)
    return if !was || Database.in_use == was

    Report.say("#{@order['node']}: the registry no longer uses the metadata database #{was}, " \
               'so it does not find the images that are in it, or does not start. To keep the registry on this node, ' \
               "add registry['database'] with enabled, host, port, user, password, dbname and sslmode to gitlab.rb, " \
               'and reconfigure')
  end

  def report_former_storage(was)
    now = registry? && Storage.identity(Omnibus.registry_config)
    return unless was && now && was != now

    place = was['driver'] == 's3' ? "s3://#{was['place'][1]}" : was['place'].compact.join(':')
    Report.say("#{@order['node']}: the registry uses its former storage again (#{now['driver']}); " \
               "the images in #{place} remain there")
  end
end

# The engine may be killed and the connection lost at any time: the program continues to a consistent state.
# A block, not 'IGNORE': gitlab-ctl and its children would inherit an ignored signal.
%w[HUP PIPE INT TERM].each { |name| trap(name) {} }
def read_payload
  JSON.parse(DATA.read)
rescue JSON::ParserError # its message quotes the payload
  Report.say('the payload is not valid JSON, so nothing was changed on this node; open an issue')
  exit 1
end
order = read_payload
begin
  Report.result(Main.new(order).run(ARGV.fetch(0)))
rescue StandardError => e
  Report.failure(order, Failure.from(e))
  exit 1
end
