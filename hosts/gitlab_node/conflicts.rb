# frozen_string_literal: true

# Finds settings in the administrator's gitlab.rb that this program must not override, because only the administrator
# knows whether they are intended. Runs before anything is changed.
class Conflicts
  # settings: EvaluatedSettings; if they cannot be evaluated, the checks after the reconfigure find the same.
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

  # `return` ends the evaluation of the file, and `throw` may. Syntax errors are reported elsewhere.
  def early_return
    enabled = @settings.get('registry', 'enable')
    issuer = @settings.get('gitlab_rails', 'registry_issuer')
    return if enabled == @order['roles'].include?('registry') && issuer == @order['issuer']

    refused('gitlab-rb-ends-early', "#{Omnibus::GITLAB_RB} ends before its last line",
            'when it is evaluated, Ruby does not reach the include of this program\'s settings at its end',
            'look there for `return` or a similar statement, and remove it')
  end

  # Usually for a garbage collection: to disable read-only mode while one runs would lose images.
  def read_only
    maintenance = @settings.administrators('registry', 'storage', 'maintenance')
    mode = maintenance.is_a?(Hash) ? maintenance['readonly'] : nil
    return unless (@order['storage'] || @order['kind'] == 'primary') && !@order['read_only']
    return unless mode.is_a?(Hash) && mode['enabled'].to_s == 'true'

    refused('registry-left-read-only', "registry['storage']['maintenance']['readonly'] is enabled at #{@order['site']}",
            "#{location(/readonly/)} enables it, and a registry that users push to would refuse every push",
            'when the garbage collection, or whatever it was enabled for, is finished, ' \
            'remove maintenance.readonly there')
  end

  # The Linux package's templates write the address to config.yml without quotes, where a bracket starts a list, and to
  # nginx' proxy_pass, which needs a host.
  def address
    address = @settings.get('registry', 'registry_http_addr').to_s
    has = "#{location(/registry_http_addr/)} has #{address}"
    if address.start_with?('[')
      refused('registry-address-ipv6', "registry['registry_http_addr'] is an IPv6 address",
              "#{has}, which the Linux package writes to config.yml without quotes: the registry would not start",
              "write '0.0.0.0#{address[/:\d+\z/]}' there")
    elsif address.start_with?(':') && behind_nginx?
      refused('registry-address-without-host', "registry['registry_http_addr'] has no host",
              "#{has}, from which the Linux package makes `proxy_pass http://#{address}`: nginx would not start, " \
              'and GitLab on this node would not answer',
              "write '0.0.0.0#{address}' there")
    end
  end

  # Whether nginx on this node has a server block for the registry.
  def behind_nginx?
    paths = [%w[nginx enable], %w[registry_nginx enable], %w[registry nginx enable]]
    paths.none? { |path| @settings.get(*path) == false }
  end

  # A load balancer may pass the URL on to this port: that is intended if gitlab.rb has the same URL.
  def listen_port
    name, nginx = registry_nginx
    port = nginx['listen_port'].to_s
    url = @order['public']['registry_url']
    return if [nginx['enable'], nginx['listen_https'], @settings.administrators('nginx', 'enable')].include?(false)
    return if port !~ /\A\d+\z/ || port.to_i == URI(url).port
    return if PublicName.of(@settings.administrators('registry_external_url')) == PublicName.of(url)

    refused('listen-port-mismatch', "#{name}['listen_port'] is not the port of registry_url",
            "#{location(/listen_port/)} has #{port}, so the node's nginx would listen only there " \
            "and not answer for #{url}",
            "remove that line; if a load balancer passes #{url} on to port #{port}, " \
            "write `registry_external_url '#{url}'` above it")
  end

  # The Linux package does not write such a file: its content decides which tokens the registry accepts.
  def certificates(expected)
    bundle = @settings.administrators('registry', 'rootcertbundle')
    directory = @settings.administrators('registry', 'dir') || Omnibus::REGISTRY
    return unless bundle.is_a?(String) && bundle != "#{directory}/gitlab-registry.crt"
    return if Omnibus.certificate_in?(Files.read(bundle).to_s, expected)

    refused('rootcertbundle-mismatch',
            "registry['rootcertbundle'] names a file without this stack's registry certificate",
            "#{location(/rootcertbundle/)} names #{bundle}, and its registry would refuse every token " \
            'that GitLab signs',
            'remove that line: the Linux package then uses the certificate from this program\'s settings')
  end

  private

  # From 19.2 on the name is registry['nginx'], and it takes precedence (nginx/libraries/nginx.rb).
  def registry_nginx
    former, latter = [%w[registry_nginx], %w[registry nginx]].map do |path|
      value = @settings.administrators(*path)
      value.is_a?(Hash) ? value.compact : {}
    end
    [latter.key?('listen_port') ? "registry['nginx']" : 'registry_nginx', former.merge(latter)]
  end

  def location(pattern)
    lines = Files.read(Omnibus::GITLAB_RB).to_s.lines.each_with_index
    _, line = lines.find { |text, _| text.match?(pattern) && !text.lstrip.start_with?('#') }
    line ? "line #{line + 1} of #{Omnibus::GITLAB_RB}" : "#{Omnibus::GITLAB_RB}, or a file that it includes,"
  end

  def refused(code, what, cause, remedy)
    raise Failure.new(code, "refused: #{what}", cause: cause, remedy: "#{remedy}, then `pulumi up` again")
  end
end

# The name that prefixes a site's images: host and port of the registry's URL.
module PublicName
  def self.of(url)
    return nil unless url.is_a?(String) && url.match?(%r{\Ahttps?://})

    uri = URI(url)
    shown(uri.host, uri.port)
  rescue URI::Error
    nil
  end

  # As Docker's client and gitlab.yml write it: without the standard ports.
  def self.shown(host, port)
    [host.to_s.downcase, *([80, 443].include?(port.to_i) || port.to_s.empty? ? [] : port)].join(':')
  end

  # GitLab would use another name for all images from now on, and the former name would no longer work. Only checked at
  # the first `up` on a node: `pulumi preview` shows later changes.
  def self.refuse_change(order)
    rails = Omnibus.rails_config
    now = rails['registry'] || {}
    return unless now['enabled'] == true && !now['host'].to_s.empty? && !order['registry_url_changes']

    former = shown(now['host'], now['port'])
    desired = of(order['public']['registry_url'])
    return if former == desired
    return Report.say("#{order['node']}: the registry moves from #{former} to #{desired}") if images?(now) == false

    by_default = " (the Linux package enables it there by default, together with Let's Encrypt)"
    by_default = '' unless former == shown(rails.dig('gitlab', 'host'), 5050)
    raise Failure.new('registry-url-would-change', "refused: its registry would be at #{desired} instead of #{former}",
                      cause: "it is at #{former} now#{by_default} and holds images, or did not answer; " \
                             'pipelines and deployments that use that address would not find them',
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
