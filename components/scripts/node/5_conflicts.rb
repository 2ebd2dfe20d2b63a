# frozen_string_literal: true

# What stands in the administrator's gitlab.rb that this program's settings must not override, since only the
# administrator knows whether it is meant: found before anything is touched.
class Conflicts
  # `settings`: Settings; where they could not be evaluated the proof after the reconfigure finds the same.
  def self.refuse(order, settings, certificate)
    return unless settings.known?

    conflicts = new(order, settings)
    conflicts.early_return if order['settings']
    return unless order['roles'].include?('registry')

    conflicts.read_only
    conflicts.address
    conflicts.listen_port
    conflicts.certificates(certificate)
  end

  def initialize(order, settings)
    @order = order
    @settings = settings
  end

  # `return` ends the file, as Ruby evaluates it, and `throw` may; a syntax error is said elsewhere.
  def early_return
    enabled = @settings.get('registry', 'enable')
    issuer = @settings.get('gitlab_rails', 'registry_issuer')
    return if enabled == @order['roles'].include?('registry') && issuer == @order['issuer']

    refused("#{Omnibus::GITLAB_RB} ends before its last line",
            'evaluated, it does not come to the include of this program\'s settings at its end',
            'look there for `return` and the like, and take it out')
  end

  # Of a garbage collection, mostly: to end read-only mode while one runs would lose images.
  def read_only
    maintenance = @settings.theirs('registry', 'storage', 'maintenance')
    mode = maintenance.is_a?(Hash) ? maintenance['readonly'] : nil
    return unless (@order['storage'] || @order['kind'] == 'primary') && !@order['read_only']
    return unless mode.is_a?(Hash) && mode['enabled'].to_s == 'true'

    refused("registry['storage']['maintenance']['readonly'] is on at #{@order['site']}",
            "#{at(/readonly/)} has it, and a registry that people push to would refuse every push",
            'when the garbage collection or whatever it was for is over, remove maintenance.readonly there')
  end

  # omnibus' template writes the address into config.yml without quotes, where a bracket begins a list.
  def address
    address = @settings.get('registry', 'registry_http_addr').to_s
    return unless address.start_with?('[')

    refused("registry['registry_http_addr'] is an IPv6 address",
            "#{at(/registry_http_addr/)} has #{address}, which omnibus writes into config.yml without quotes, " \
            'so that the registry would not start',
            "write ':5000' there, which listens on IPv4 and IPv6, or an IPv4 address")
  end

  # A load balancer may pass the URL on to this port. Where gitlab.rb has the same URL, it has both together.
  def listen_port
    name, nginx = registry_nginx
    port = nginx['listen_port'].to_s
    url = @order['public']['registry_url']
    return if nginx['enable'] == false || nginx['listen_https'] == false || @settings.theirs('nginx', 'enable') == false
    return if port !~ /\A\d+\z/ || port.to_i == URI(url).port
    return if PublicName.of(@settings.theirs('registry_external_url')) == PublicName.of(url)

    refused("#{name}['listen_port'] is not the port of registry_url",
            "#{at(/listen_port/)} has #{port}, so the node's nginx would listen there alone and not answer for #{url}",
            "remove that line; if a load balancer passes #{url} on to port #{port}, " \
            "write `registry_external_url '#{url}'` above it")
  end

  # omnibus writes no such file: what is in it is what the registry accepts tokens of.
  def certificates(wanted)
    bundle = @settings.theirs('registry', 'rootcertbundle')
    directory = @settings.theirs('registry', 'dir') || Omnibus::REGISTRY
    return unless bundle.is_a?(String) && bundle != "#{directory}/gitlab-registry.crt"
    return if Omnibus.certificate_in?(Files.read(bundle).to_s, wanted)

    refused("registry['rootcertbundle'] names a file without this stack's registry certificate",
            "#{at(/rootcertbundle/)} names #{bundle}, and its registry would refuse every token that GitLab signs",
            'remove that line: omnibus then uses the certificate in its own settings')
  end

  private

  # From 19.2 on registry['nginx'] is the name, and it wins (nginx/libraries/nginx.rb).
  def registry_nginx
    former, latter = [%w[registry_nginx], %w[registry nginx]].map do |path|
      found = @settings.theirs(*path)
      found.is_a?(Hash) ? found.compact : {}
    end
    [latter.key?('listen_port') ? "registry['nginx']" : 'registry_nginx', former.merge(latter)]
  end

  def at(pattern)
    lines = Files.read(Omnibus::GITLAB_RB).to_s.lines.each_with_index
    _, line = lines.find { |text, _| text.match?(pattern) && !text.lstrip.start_with?('#') }
    line ? "line #{line + 1} of #{Omnibus::GITLAB_RB}" : "#{Omnibus::GITLAB_RB}, or a file that it includes,"
  end

  def refused(what, cause, remedy)
    raise Failure.new("refused: #{what}", cause: cause, remedy: "#{remedy}, then `pulumi up` again")
  end
end

# The name under which people have a site's images: host and port of the registry's URL.
module PublicName
  def self.of(url)
    return nil unless url.is_a?(String) && url.match?(%r{\Ahttps?://})

    uri = URI(url)
    shown(uri.host, uri.port)
  rescue URI::Error
    nil
  end

  # As Docker's client and gitlab.yml have it: without the standard ports.
  def self.shown(host, port)
    [host.to_s.downcase, *([80, 443].include?(port.to_i) || port.to_s.empty? ? [] : port)].join(':')
  end

  # GitLab would name all images otherwise from now on; what names them by the former name would find nobody. At the
  # first `up` on a node only: later ones change what `pulumi preview` shows.
  def self.refuse_change(order)
    rails = Omnibus.rails_config
    now = rails['registry'] || {}
    return unless now['enabled'] == true && !now['host'].to_s.empty? && !order['registry_url_changes']

    former = shown(now['host'], now['port'])
    wanted = of(order['public']['registry_url'])
    return if former == wanted
    return Report.say("#{order['node']}: the registry moves from #{former} to #{wanted}") if images?(now) == false

    by_itself = " (omnibus turns it on there by itself, beside Let's Encrypt)"
    by_itself = '' unless former == shown(rails.dig('gitlab', 'host'), 5050)
    raise Failure.new("refused: its registry would be at #{wanted} instead of #{former}",
                      cause: "it is at #{former} now#{by_itself} and holds images, or could not be asked; " \
                             'pipelines and deployments that name them by that address would not find them',
                      remedy: "to keep the address, `pulumi config set --path sites.#{order['site']}.registry_url " \
                              "https://#{former}`; to change it, `pulumi config set --path " \
                              "sites.#{order['site']}.registry_url_changes true`; then `pulumi up` again")
  end

  def self.images?(rails)
    config = Omnibus.registry_config
    return Storage.images?(config) if config

    key = Files.read(Omnibus.key)
    key && rails['api_url'] && Registry.new(rails['api_url']).images?(Token.new(key, rails['issuer']))
  end
end
