# frozen_string_literal: true

# What differs on this node from what the last `pulumi up` wrote there, and how its registry is. Changes nothing.
class Status
  def initialize(order)
    @order = order
    @state = JSON.parse(Files.read(Main::STATE) || '{}')
  end

  # {'differences' => [{'what', 'since'}], 'certificates' => [{'path', 'ends'}], 'gitlab', 'registry', 'geo'}
  def run
    { 'node' => @order['node'], 'site' => @order['site'], 'gitlab' => ServerBlocks.version&.join('.'),
      'differences' => [*ownership, *files, *rendered, *running, *locks], 'certificates' => certificates,
      'registry' => registry? ? registry : nil, 'geo' => @order['kind'] == 'secondary' ? Geo.numbers : nil }
  end

  private

  def registry?
    @order['roles'].include?('registry')
  end

  # `since`: when the file was changed, which helps to find out who did it.
  def difference(what, path = nil)
    { 'what' => Report.hide(what), 'since' => path && File.mtime(path).utc.iso8601 }
  rescue SystemCallError
    { 'what' => Report.hide(what), 'since' => nil }
  end

  def ownership
    return [difference('the settings of this stack are not on this node')] unless @state['owner']
    return [] if @state['owner'] == @order['owner']

    [difference("the node is managed by the stack #{@state['owner']}", Main::STATE)]
  end

  def files
    found = []
    unless Include.present?(Files.read(Omnibus::GITLAB_RB).to_s)
      found << difference("#{Omnibus::GITLAB_RB} no longer includes the settings of this stack", Omnibus::GITLAB_RB)
    end
    if File.exist?(FileTransaction::JOURNAL)
      found << difference('a run is under way, or was interrupted; the next `pulumi up` rolls it back',
                          FileTransaction::JOURNAL)
    end
    expected.each { |path, bytes| found << difference("#{path} was changed", path) if Files.read(path) != bytes }
    found
  end

  def expected
    { Include::SETTINGS => @order['settings'].b,
      @order['secrets_file'] => JSON.pretty_generate(@order['secrets']).b, **@order['files'].transform_values(&:b) }
  end

  def rendered
    Rendered.faults(@order).map { |text| difference(text) }
  end

  # A process that has not read its files since they were changed.
  def running
    return [] unless registry?

    started = Events.last_start
    return [difference('the registry does not run')] unless started

    [Omnibus.certificate, Omnibus.registry_config_path].filter_map do |path|
      changed = File.mtime(path).to_f
      difference("#{path} was changed after the registry was started", path) if changed > started + 1
    rescue SystemCallError
      nil
    end
  end

  # The registry would not start again.
  def locks
    return [] unless registry?

    Storage.trusting(@order) { LockFiles.new(@order).prove }
    []
  rescue Failure => e
    [difference("#{e.message} (#{e.cause_text}) [#{e.code}]")]
  end

  def certificates
    paths = [Omnibus.certificate, *Dir.glob('/etc/gitlab/ssl/*.crt')].uniq
    paths.filter_map do |path|
      ends = OpenSSL::X509::Certificate.new(Files.read(path).to_s).not_after
      { 'path' => path, 'ends' => ends.utc.iso8601 }
    rescue OpenSSL::X509::CertificateError, SystemCallError
      nil
    end
  end

  def registry
    config = Omnibus.registry_config or return nil
    code, = Http.call('get', "#{Registry.local.url}/v2/")
    { 'answers' => code, 'read_only' => config.dig('storage', 'maintenance', 'readonly', 'enabled') == true,
      'database' => Database.in_use, 'lock_file' => lock_file }
  end

  def lock_file
    Storage.trusting(@order) { LockFiles.new(@order).name }
  rescue Failure
    nil
  end
end
