# frozen_string_literal: true

# Proof, not hope: what the node does, asked of its services. Nothing here boots Rails. Each check has its
# counterpart, because a registry that accepts everything would pass half of them.
class Proof
  # `agreed`: nothing that others must agree on has changed since the last proof, so that a refusal is final.
  def initialize(order, agreed:)
    @order = order
    @agreed = agreed
    @secrets = order['secrets']
    @token = Token.new(@secrets['registry_key'], order['issuer'])
    @done = {}
  end

  def self.rails?(order)
    !(order['roles'] & %w[rails sidekiq]).empty?
  end

  # What a refusal may come from. All nodes are changed at once: where this differs from the last proof, another
  # node may still be on its way to it.
  def self.agreement(order)
    secrets = order['secrets']
    { 'kind' => order['kind'], 'primary' => order['primary'], 'registry' => order['registry_url'],
      'issuer' => order['issuer'],
      'certificate' => Omnibus.fingerprint(secrets['registry_certificate']),
      'notification' => secrets['notification_secret'] && Digest::SHA256.hexdigest(secrets['notification_secret']) }
  end

  # Why what omnibus has rendered is not what the settings say; empty when it is.
  def self.rendered(order)
    wrong = []
    secrets = order['secrets']
    if rails?(order) && Files.read(Omnibus.key).to_s.strip != secrets['registry_key'].strip
      wrong << "#{Omnibus.key} holds another key"
    end
    wrong += rendered_registry(order, secrets) if order['roles'].include?('registry')
    wrong += rendered_rails(order, secrets) if rails?(order)
    wrong
  end

  def self.rendered_registry(order, secrets)
    config = Omnibus.registry_config or return ["#{Omnibus.registry_config_path} is missing"]
    wrong = []
    unless Omnibus.certificate_in?(Files.read(Omnibus.certificate).to_s, secrets['registry_certificate'])
      wrong << "#{Omnibus.certificate} does not hold the certificate"
    end
    realm = config.dig('auth', 'token', 'realm')
    if realm != "#{order['public']['external_url']}/jwt/auth"
      wrong << "config.yml has the realm #{realm} (registry['token_realm'])"
    end
    if config.dig('auth', 'token', 'issuer') != order['issuer']
      wrong << "config.yml has the issuer #{config.dig('auth', 'token', 'issuer')}"
    end
    wrong += rendered_database(config['database'] || {}, order['database'])
    endpoints = (config.dig('notifications', 'endpoints') || []).select { |e| e['name'] == 'geo_event' }
    tokens = endpoints.map { |e| e.dig('headers', 'Authorization') }
    wanted = order['kind'] == 'primary' ? [[secrets['notification_secret']]] : []
    wrong << 'config.yml has other geo_event notifications' if tokens != wanted
    read_only = config.dig('storage', 'maintenance', 'readonly', 'enabled') == true
    if order['storage'] && read_only != order['read_only']
      wrong << "config.yml has read-only #{read_only} (registry['storage']['maintenance']['readonly'])"
    end
    wrong
  end

  def self.rendered_database(database, wanted)
    on = !['', 'false'].include?(database['enabled'].to_s)
    return on ? ['config.yml has the metadata database on'] : [] unless wanted
    return [] if on && database.values_at('host', 'dbname') == wanted.values_at('host', 'name')

    ["config.yml has the metadata database #{on ? "at #{database['host']} #{database['dbname']}" : 'off'}"]
  end

  def self.rendered_rails(order, secrets)
    config = Omnibus.rails_config
    wrong = rendered_address(order, config)
    if order['kind'] == 'primary'
      if config.dig('registry', 'notification_secret') != secrets['notification_secret']
        wrong << 'gitlab.yml has another notification secret'
      end
      return wrong
    end
    geo = config.dig('geo', 'registry_replication') || {}
    if (geo['enabled'] == true) != order['replication']
      wrong << "gitlab.yml has registry replication #{geo['enabled'].inspect}"
    end
    if order['replication'] && geo['primary_api_url'] != order['primary']['registry_url']
      wrong << "gitlab.yml has the primary's registry at #{geo['primary_api_url'].inspect}"
    end
    wrong
  end

  # How GitLab names images, where it asks the registry, and whether it is the one that tokens are fetched from.
  def self.rendered_address(order, config)
    registry = config['registry'] || {}
    name = PublicName.shown(registry['host'], registry['port'])
    wanted = PublicName.of(order['public']['registry_url'])
    wrong = []
    wrong << 'gitlab.yml has the registry off' unless registry['enabled'] == true
    if name != wanted
      wrong << "gitlab.yml has the registry at #{name} (registry_external_url, gitlab_rails['registry_port'])"
    end
    if registry['api_url'] != api_url(order)
      wrong << "gitlab.yml has the registry's API at #{registry['api_url']} (gitlab_rails['registry_api_url'])"
    end
    host = config.dig('gitlab', 'host').to_s
    if host.casecmp(URI(order['public']['external_url']).host) != 0
      wrong << "gitlab.yml has GitLab at #{host} (external_url), not at #{order['public']['external_url']}"
    end
    wrong
  end

  def self.api_url(order)
    return order['public']['api_url'] if order['public']['api_url']

    "http://#{Registry.local_address}"
  end

  # {check => answer}. Raises Failure at the first check that fails.
  def run
    check_rendered
    given = own_registry
    read_only if given && @order['read_only']
    @order['kind'] == 'primary' ? notifications : primarys_registry
    @done
  end

  private

  def registry?
    @order['roles'].include?('registry')
  end

  def passed(check, answer)
    @done[check] = answer.to_s
  end

  def failed(what, cause, remedy)
    raise Failure.new("the proof failed: #{what}", cause: cause, remedy: remedy)
  end

  def check_rendered
    wrong = Proof.rendered(@order)
    unless wrong.empty?
      failed('the settings have no effect', wrong.join('; '),
             "look in #{Omnibus::GITLAB_RB} and the files that it includes for what makes these values: " \
             "something that comes after the include of #{Include::SETTINGS}, " \
             'or ends the file early; then `pulumi up` again')
    end
    passed('key, certificate and settings are in effect', 'yes')
  end

  # Beside the registry: itself. Elsewhere: the site's registry, as this node's Rails asks it. Whether it has been given
  # what makes it this site's.
  def own_registry
    check = 'own registry accepts a token signed with the key'
    return false unless given?(own, check, @order['registry_kind'])

    code, body, why = accepted(own, 60, others: !registry?)
    unless code
      log = "run `gitlab-ctl tail registry` on the #{"registry's " unless registry?}node"
      log = 'read its log on its host' unless @order['registry_kind'] == 'omnibus'
      log = "#{log}; its storage or its certificate keeps it from starting"
      failed("the registry of #{@order['site']} does not accept its own token",
             why ? "GET #{own.url}/v2/: #{body}" : "#{own.url} answered #{body}",
             why && !%i[refused closed].include?(why.kind) ? Http.remedy(why) : log)
    end
    passed(check, 'yes')
    forged(own, @order['site'])
    true
  end

  # A registry that is not ours to touch is given its lines by hand, after this: until then that is recorded only.
  def given?(registry, check, kind)
    return true unless kind == 'by hand'

    code, body = registry.tags(@token)
    wrong, = registry.tags(forger)
    return true if known?(code, body) && wrong == 401

    says = "answers #{code}#{", and #{wrong} to a forged one" if known?(code, body)}"
    says = "does not answer (#{body})" if code.zero?
    passed(check, "not yet: #{registry.url} #{says}; put in what the output registry_config says, then " \
                  '`pulumi config set proof "$(date)"` and `pulumi up`')
    false
  end

  def known?(code, body)
    code == 200 || (code == 404 && body.include?('NAME_UNKNOWN'))
  end

  def own
    @own ||= registry? ? Registry.local : Registry.new(@order['registry_url'])
  end

  # Of a registry by hand nobody else would ask.
  def notifications
    return unless registry? || (@order['registry_kind'] == 'by hand' && @order['roles'].include?('rails'))

    url = "#{@order['primary']['external_url']}/api/v4/container_registry_event/events"
    answer = Http.until(patience) do
      code, text, why = events(url, @secrets['notification_secret'])
      { ok: settled?(code) || Http.final?(why), code: code, text: text, why: why }
    end
    right = answer[:code]
    if right == 401 || right == 403 || right.zero? || right >= 500
      failed("GitLab does not accept the registry's notifications",
             "POST #{url} with the notification secret was answered " \
             "#{right.zero? ? "not at all: #{answer[:text]}" : right}",
             Http.remedy(answer[:why]) { events_remedy })
    end
    wrong = answered { events(url, "A#{SecureRandom.alphanumeric(31)}") }
    unless [401, 403].include?(wrong)
      failed('GitLab accepts notifications with any secret',
             "POST #{url} with a wrong secret was answered #{wrong}, not 401",
             'something in front of GitLab answers this path: let it through to Rails')
    end
    passed('notification endpoint accepts the secret', 'yes')
    passed('notification endpoint refuses a wrong one', wrong)
  end

  def events_remedy
    "on each Rails node of #{@order['site']} registry_notification_secret must be the secret of this stack: " \
      'list all of them in the configuration; if GitLab is still starting, run `pulumi up` again'
  end

  # How long another node may take to its end of the change.
  def patience
    @agreed ? 120 : [120, @order['reconfigure_seconds'] / 3].max
  end

  def settled?(code)
    return false if code.zero? || code >= 500

    !(@order['siblings'] && !@agreed && [401, 403].include?(code))
  end

  def events(url, secret)
    type = 'application/vnd.docker.distribution.events.v1+json'
    Http.call('post', url, headers: { 'Authorization' => secret, 'Content-Type' => type }, body: '{"events":[]}')
  end

  # The secondary's workers copy from there, so its registry alone need not reach it.
  def primarys_registry
    return unless Proof.rails?(@order)

    site = @order['primary']['site']
    registry = Registry.new(@order['primary']['registry_url'])
    check = "#{site}'s registry accepts a pull-only token signed here"
    return unless given?(registry, check, @order['primary']['registry_kind'])

    code, body, why = accepted(registry, 30, others: true)
    refused(site, registry, body, why) unless code
    passed(check, 'yes')
    forged(registry, site)
    status = answered { registry.push(@token, %w[pull]) }
    unless [401, 403].include?(status)
      failed("#{site}'s registry lets a pull-only token push",
             "beginning an upload there was answered #{status}, not 401",
             "token authentication is off or bypassed at #{registry.url}: mend it on #{site}, then `pulumi up` again")
    end
    passed("#{site}'s registry refuses a push with it", status)
  end

  # [status or nil, what was answered, Unreached where nothing was]. A registry that cannot be reached is waited for
  # `seconds`. One that restarts may say 401 for a moment; another node's, which may still be given key or issuer, says
  # it until then.
  def accepted(registry, seconds, others:)
    began = Omnibus.now
    answer = Http.until(patience) do
      code, body, why = registry.tags(@token)
      final = [200, 404].include?(code) || (Http.final?(why) && !served_soon?(why, others)) ||
              Omnibus.now - began > limit(code, seconds, others)
      tell_of_waiting(registry, code, body) if !final && Omnibus.now - began > 5
      { ok: final, code: code, body: body, why: why.is_a?(Unreached) ? why : nil }
    end
    code, body = answer.values_at(:code, :body)
    [known?(code, body) ? code : nil, "#{code.zero? ? '' : code} #{body[0, 200]}".strip, answer[:why]]
  end

  # Until another node has come to its end of the change, nginx there may answer with another server block's
  # certificate, or with the one of its own that Let's Encrypt's replaces.
  def served_soon?(why, others)
    others && !@agreed && %i[name authority].include?(why.kind)
  end

  def limit(code, seconds, others)
    return patience if !code.zero? && others && !@agreed

    # A refusal does not mend itself.
    code == 401 ? 3 : seconds
  end

  def tell_of_waiting(registry, code, body)
    return if @told

    @told = true
    Report.say("#{@order['node']}: waiting for #{registry.url} (#{code.zero? ? body : "answers #{code}"}), " \
               "at most #{patience} s")
  end

  # The status of a request past a restart on the other side; of another node's registry past its change, too.
  def answered(*expected, others: false)
    changing = others && !@agreed
    Http.until(changing ? patience : 30) do
      code, _, why = yield
      { ok: expected.include?(code) || (code.between?(1, 499) && !changing) || Http.final?(why), code: code }
    end[:code]
  end

  def refused(site, registry, body, why)
    if body.start_with?('401')
      failed("#{site}'s registry refuses a token signed with this stack's key",
             "#{registry.url} answered 401: its certificate is not the stack's (SHA-256 " \
             "#{Omnibus.fingerprint(@secrets['registry_certificate'])}) " \
             "or its issuer is not #{@order['issuer']}",
             "something on #{site} was changed by hand after the last `pulumi up`: " \
             '`pulumi config set proof "$(date)"` and `pulumi up` set it right')
    end
    failed("#{site}'s registry cannot be reached from here", "GET #{registry.url}/v2/ from #{@order['node']}: #{body}",
           Http.remedy(why) do
             "open #{registry.url} from this node: is it a proxy that answers? Then `pulumi up` again"
           end)
  end

  def forger
    @forger ||= ForgedToken.new(@secrets['registry_key'], @order['issuer'])
  end

  # The counterpart of every yes: the right key's name with a signature that is none must be refused.
  def forged(registry, site)
    code = answered { registry.tags(forger) }
    unless code == 401
      failed("#{site}'s registry accepts a forged token",
             "a token with a wrong signature was answered #{code}, not 401",
             "token authentication is off or bypassed at #{registry.url}: mend it on #{site}, then `pulumi up` again")
    end
    passed("#{site}'s registry refuses a forged token", code)
  end

  def read_only
    status = answered(405, others: !registry?) { own.push(@token, %w[pull push]) }
    unless status == 405
      setting = 'REGISTRY_STORAGE_MAINTENANCE_READONLY in its environment'
      setting = "a later registry['storage'] in gitlab.rb" if @order['registry_kind'] == 'omnibus'
      failed('the registry of this secondary accepts pushes', "beginning an upload was answered #{status}, not 405",
             "with shared storage it must be read-only: look for #{setting}, then `pulumi up` again")
    end
    passed('own registry refuses a push (read-only)', status)
  end
end
