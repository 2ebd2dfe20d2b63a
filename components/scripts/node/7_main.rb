# frozen_string_literal: true

# The orders: apply, undo; adopt and inspect_storage, which only read; lock_file, which leaves the node alone, too.
class Main
  STATE = "#{Change::DIRECTORY}/state.json"
  SECRETS = "#{Change::DIRECTORY}/secrets.json"
  LOCK = '/run/gitlab-geo-registry.lock'

  def initialize(order)
    @order = order
    Report.learn(order['secrets'])
    Report.learn((order['storage'] || {}).slice('access_key', 'secret_key'))
    Report.learn(order['files'])
  end

  def run(command)
    unless File.exist?(Omnibus::CTL) && File.exist?(Omnibus::GITLAB_RB)
      raise Failure.new('no omnibus GitLab on this node',
                        cause: "#{Omnibus::CTL} or #{Omnibus::GITLAB_RB} is missing",
                        remedy: "check that this host is the GitLab node #{@order['node']}")
    end
    # It need not wait until a reconfigure has ended, and other sites wait for it.
    return lock_file if command == 'lock_file'

    locked { send(command) }
  end

  private

  def lock_file
    Storage.trusting(@order) { LockFiles.new(@order).write }
  end

  def locked
    File.open(LOCK, File::RDWR | File::CREAT, 0o600) do |file|
      deadline = Omnibus.now + @order['reconfigure_seconds']
      until file.flock(File::LOCK_EX | File::LOCK_NB)
        Report.say("#{@order['node']}: waiting for another run on this node to end") unless @told
        @told = true
        if Omnibus.now > deadline
          raise Failure.new('another run of this program is still at work on this node',
                            cause: "#{LOCK} is held",
                            remedy: 'wait for it to end, then `pulumi up` again')
        end
        sleep 0.5
      end
      # Not before: somebody else may have changed it while this run waited.
      @state = JSON.parse(Files.read(STATE) || '{}')
      yield
    end
  end

  # The key pair in use; for a server that is new a pair of its own, since its image may have brought one that everybody
  # has. Touches nothing, and comes before all that does: what the primary will refuse must not find other sites
  # changed.
  def adopt
    return adopted(*Omnibus.make_pair) if @order['created']

    Storage.refuse_to_hide_images(@order) if registry?
    key, certificate = Omnibus.registry_secrets.values_at('internal_key', 'internal_certificate')
    unless key && certificate && Omnibus.pair?(key, certificate)
      raise Failure.new('no registry key pair to take over',
                        cause: "#{Omnibus::SECRETS_JSON} has no matching internal_key and internal_certificate",
                        remedy: 'set registry_external_url there, run `gitlab-ctl reconfigure`, then `pulumi up` again')
    end
    used = Files.read(Omnibus.key)
    if used && used.strip != key.strip
      raise Failure.new('the registry key in use is not the one that the next reconfigure would write',
                        cause: "#{Omnibus.key} was replaced by hand; #{Omnibus::SECRETS_JSON} has another",
                        remedy: 'run `gitlab-ctl reconfigure` and `gitlab-ctl restart registry` on the primary, ' \
                                'then `pulumi up` again')
    end
    PublicName.refuse_change(@order)
    Conflicts.refuse(@order, Settings.read({}), certificate)
    adopted(key, certificate)
  end

  def adopted(key, certificate)
    { 'registry_key' => key, 'registry_certificate' => certificate, 'fingerprint' => Omnibus.fingerprint(certificate) }
  end

  def inspect_storage
    Storage.refuse_to_hide_images(@order) if @order['storage']
    { 'storage' => Storage.identity(Omnibus.registry_config) }
  end

  def apply
    mine
    interrupted = recover
    Storage.refuse_to_hide_images(@order) if registry?
    rewritten
    PublicName.refuse_change(@order) unless @state['owner']
    contents = wanted
    settings = Settings.read(contents)
    Conflicts.refuse(@order, settings, @order['secrets']['registry_certificate'])
    proven = Storage.prove(@order)
    proven.merge!(Certificates.check(@order, contents, settings))
    changed = contents.reject { |path, bytes| Files.read(path) == bytes }
    needed = !changed.empty? || interrupted || !Proof.rendered(@order).empty?
    Report.say("#{@order['node']}: settings unchanged") unless needed
    @nginx = OwnNginx.new(@order, unfinished: interrupted)
    proof = lambda do
      proven.merge!(Proof.new(@order, agreed: @state['agreed'] == Proof.agreement(@order)).run, @nginx.as_before)
    end
    needed ? change(changed, restart: interrupted, &proof) : proof.call
    { 'node' => @order['node'], 'site' => @order['site'], 'reconfigured' => needed,
      'fingerprint' => Omnibus.fingerprint(@order['secrets']['registry_certificate']), 'proof' => proven,
      **(@events ? { 'events' => @events } : {}) }
  end

  # A tool that writes gitlab.rb from a template takes our line out each time.
  def rewritten
    return if !@state['owner'] || Include.present?(Files.read(Omnibus::GITLAB_RB).to_s)

    Report.say("#{@order['node']}: #{Omnibus::GITLAB_RB} was rewritten without the line that includes the settings; " \
               'it is put back. Where a tool writes that file, put the line into its template (docs/your-own-sites.md)')
  end

  # What a cut-off run had changed is back; so is the state of before it, and the secrets of before it.
  def recover
    [Omnibus::GITLAB_RB, Omnibus::SECRETS_JSON].each { |path| InPlace.complete(path) }
    journal = JSON.parse(Files.read(Change::JOURNAL) || '{}')
    section, failed = journal.values_at('section', 'failed')
    return false unless Change.recover

    @begun = journal.slice('since', 'endpoint') if journal['since']

    Report.say("#{@order['node']}: #{failed || 'an earlier run was cut off; what it had begun is taken back first'}")
    Omnibus.put_back_registry_secrets(section) if section
    @state = JSON.parse(Files.read(STATE) || '{}')
    true
  end

  def mine
    owner = @state['owner']
    return if owner.nil? || owner == @order['owner']

    raise Failure.new("this node is managed by the stack #{owner}",
                      cause: "#{STATE} says so",
                      remedy: 'run `pulumi destroy` in that stack first; if that stack is gone, ' \
                              "put #{@order['owner']} in as owner there")
  end

  def wanted
    gitlab_rb = File.binread(Omnibus::GITLAB_RB)
    check_end(gitlab_rb)
    with, added = Include.add(gitlab_rb, @state['newline_added'])
    state = { 'owner' => @order['owner'], 'resource' => @order['resource'], 'newline_added' => added,
              'before' => @state['before'] || Omnibus.registry_secrets, 'files' => @order['files'].keys,
              'agreed' => Proof.agreement(@order) }
    contents = {
      **site_files,
      Include::SETTINGS => @order['settings'].b,
      SECRETS => JSON.pretty_generate(@order['secrets']).b,
      STATE => JSON.pretty_generate(state).b,
      Omnibus::GITLAB_RB => with
    }
    check_syntax(contents)
    contents
  end

  def check_end(gitlab_rb)
    last = Omnibus.early_end(gitlab_rb) or return
    raise Failure.new("#{Omnibus::GITLAB_RB} ends before its last line",
                      cause: "Ruby reads nothing after #{last}, so no settings could be included at its end",
                      remedy: 'remove that line and what follows it, then `pulumi up` again')
  end

  # Certificates that were given for this site, or nil for one that no longer is.
  def site_files
    given = @order['files'].transform_values(&:b)
    (@state['files'] || []).to_h { |path| [path, nil] }.merge(given)
  end

  def check_syntax(contents)
    [Include::SETTINGS, Omnibus::GITLAB_RB].each do |path|
      why = Omnibus.syntax_error(contents[path])
      next unless why

      raise Failure.new("#{path} would not be valid Ruby",
                        cause: why,
                        remedy: 'mend the file, then `pulumi up` again')
    end
  end

  # Writes, reconfigures, proves; takes all of it back if any of it fails.
  def change(contents, restart:)
    before = rendered_files
    section = Omnibus.registry_secrets
    trusted = Omnibus.trusted(@order['files'])
    modes = { Include::SETTINGS => 0o644, SECRETS => 0o600, STATE => 0o600,
              **@order['files'].to_h { |path, _| [path, trusted.include?(path) ? 0o644 : 0o600] } }
    @begun ||= Events.beginning
    transaction = Change.make(contents, modes, section, @begun)
    begin
      Omnibus.reconfigure(@order)
      restart ? restart_all : restart_if_only_the_certificate_changed(before, contents)
      reload_nginx_for_new_certificates(contents)
      @nginx&.came_back
      yield
      @events = notify_again
    rescue StandardError => e
      raise Failure.from(e).with_state(take_back(transaction))
    end
    transaction.end
  end

  # The journal goes last: until then the next run knows that this one did not come to its end.
  def take_back(transaction)
    Report.say("#{@order['node']}: putting the former state back")
    transaction.take_files_back
    before = rendered_files
    Omnibus.put_back_registry_secrets(transaction.section)
    Omnibus.reconfigure(@order)
    taken = transaction.files.to_h { |f| [f['path'], nil] }
    restart_if_only_the_certificate_changed(before, taken)
    reload_nginx_for_new_certificates(taken)
    nginx = @nginx&.after_rollback
    notify_again
    # The next run must not take an nginx that is away for one that was away before.
    return nginx_away(nginx) if @nginx&.away?

    transaction.end
    Dir.rmdir(Change::DIRECTORY) if Dir.exist?(Change::DIRECTORY) && Dir.empty?(Change::DIRECTORY)
    "the former settings are back, and a reconfigure with them succeeded#{nginx}"
  rescue Failure => e
    noted("the last run failed, and so did the reconfigure with the former settings (#{e.cause_text})")
    "the former settings are back in #{Omnibus::GITLAB_RB}, but a reconfigure with them failed as well " \
      "(#{e.cause_text}); services run as the last successful reconfigure left them#{@nginx&.after_rollback}"
  rescue StandardError => e
    noted("the last run failed, and putting the former settings back came to no end (#{e.message})")
    "the former settings are being put back, and that came to no end (#{e.message}); the next run goes on with it"
  end

  def nginx_away(nginx)
    noted('the last run failed, and nginx did not answer after the former settings were back')
    "the former settings are back, and a reconfigure with them succeeded#{nginx}"
  end

  # Of what was pushed to a registry that has been restarted since. Rails may be starting still.
  def notify_again(leaving: false)
    return unless registry? && @begun

    Events.new(@order, @begun).deliver([120, @order['reconfigure_seconds'] / 3].max, leaving: leaving)
  end

  def noted(what)
    Change.note_failure(Report.hide("#{what}; this run goes on from there"))
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

  # A reconfigure that was cut off had written files whose restarts it never came to, and no later run makes up for it.
  def restart_all
    services = { 'registry' => 'registry', 'rails' => 'puma', 'sidekiq' => 'sidekiq' }
    services.slice(*@order['roles']).each_value { |service| Omnibus.restart(@order, service) }
  end

  # A certificate at the same path is no change of nginx' settings, so omnibus leaves nginx as it is.
  def reload_nginx_for_new_certificates(contents)
    own = @order['files'].keys - Omnibus.trusted(@order['files'])
    Omnibus.hup('nginx') if own.any? { |path| contents.key?(path) }
  end

  # A changed config.yml has restarted the registry already; a changed certificate restarts nothing, be it its own or
  # one that it trusts (Go reads those once).
  def restart_if_only_the_certificate_changed(before, contents)
    return unless registry?

    now = rendered_files
    return if now[:certificate] == before[:certificate] && Omnibus.trusted(contents).empty?
    return if now[:config] != before[:config]

    Omnibus.restart(@order, 'registry')
  end

  def registry?
    @order['roles'].include?('registry')
  end

  # Takes out all that apply put in, and nothing else.
  def undo
    interrupted = recover
    holder = [@state['owner'], @state['resource']]
    if @state['owner'] && holder != [@order['owner'], @order['resource']]
      return nothing("#{@order['node']}: now managed as #{holder.join(' ')}, nothing to take out")
    end

    gitlab_rb = File.binread(Omnibus::GITLAB_RB)
    if @state.empty? && !interrupted && !Include.present?(gitlab_rb)
      return nothing("#{@order['node']}: nothing of ours on this node")
    end

    was = Storage.identity(Omnibus.registry_config) if registry?
    before = rendered_files
    section = Omnibus.registry_secrets
    gone = [*@state['files'], Include::SETTINGS, SECRETS, STATE]
    contents = gone.to_h { |path| [path, nil] }
    contents[Omnibus::GITLAB_RB] = Include.remove(gitlab_rb, @state['newline_added'])
    @nginx = OwnNginx.new(@order, unfinished: interrupted)
    transaction = Change.make(contents, {}, section, @begun ||= Events.beginning)
    begin
      Omnibus.put_back_registry_secrets(@state['before']) if @state['before']
      Omnibus.reconfigure(@order)
      interrupted ? restart_all : restart_if_only_the_certificate_changed(before, contents)
      @nginx.came_back
      @nginx.as_before(%w[GitLab]) # The registry as it was before this program need not have answered.
      notify_again(leaving: true)
    rescue StandardError => e
      raise Failure.from(e).with_state(take_back(transaction))
    end
    transaction.end
    Dir.rmdir(Change::DIRECTORY) if Dir.empty?(Change::DIRECTORY)
    tell_what_stays(was)
    { 'node' => @order['node'], 'undone' => true }
  end

  def nothing(text)
    Report.say(text)
    { 'node' => @order['node'], 'undone' => false }
  end

  def tell_what_stays(was)
    now = registry? && Storage.identity(Omnibus.registry_config)
    return unless was && now && was != now

    place = was['driver'] == 's3' ? "s3://#{was['place'][1]}" : was['place'].compact.join(':')
    Report.say("#{@order['node']}: the registry is on its former storage again (#{now['driver']}); " \
               "the images in #{place} stay there")
  end
end

# The engine may be killed and the connection lost at any time: the work on the node goes on to a whole state.
# A block, not 'IGNORE': what is ignored here would be ignored by gitlab-ctl and all it starts.
%w[HUP PIPE INT TERM].each { |name| trap(name) {} }
def order_behind_the_program
  JSON.parse(DATA.read)
rescue JSON::ParserError # its message quotes what it read
  Report.say('the order is no JSON, so nothing was changed on this node; report this')
  exit 1
end
order = order_behind_the_program
begin
  Report.result(Main.new(order).run(ARGV.fetch(0)))
rescue StandardError => e
  Report.failure(order, Failure.from(e))
  exit 1
end
