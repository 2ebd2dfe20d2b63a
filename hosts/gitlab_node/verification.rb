# frozen_string_literal: true

# Checks that need other nodes and sites, run when all of them have their settings. Changes nothing on this node.
class Verification
  include Checks

  FAILED = 'verification failed'
  STATE = 'the settings are in effect on this node, and nothing is rolled back'
  # Puma alone takes minutes on a small node.
  GITLAB_STARTS = 300

  # {check => answer}. Raises Failure at the first check that fails.
  def run
    site_registry unless registry?
    @order['kind'] == 'primary' ? notifications : primary_registry
    @done
  rescue Failure => e
    raise e.with_state(STATE)
  end

  private

  # On another node or host of this site.
  def site_registry
    registry = Registry.new(@order['registry_url'])
    check = 'own registry accepts a token signed with the key'
    return unless ready_for_proof?(registry, check, @order['registry_kind'])

    own_registry(registry)
  end

  # A registry that you configure yourself gets its lines after this run: until then, that is only recorded.
  def ready_for_proof?(registry, check, kind)
    return true unless kind == 'manual'

    code, body = registry.tags(@token)
    forged, = registry.tags(forger)
    return true if known?(code, body) && forged == 401

    answer = "answers #{code}#{" to a valid token, and #{forged} to a forged one" if known?(code, body)}"
    answer = "does not answer (#{body})" if code.zero?
    passed(check, "not yet: #{registry.url} #{answer}; add the lines from the output registry_config, then " \
                  '`pulumi config set proof "$(date)"` and `pulumi up`')
    false
  end

  # For a registry that you configure yourself, no other node would run this check.
  def notifications
    return unless registry? || (@order['registry_kind'] == 'manual' && @order['roles'].include?('rails'))

    url = @order['primary']['events_url']
    code, text, why = settled(url, starting: GITLAB_STARTS) { events(url, @secrets['notification_secret']) }
    not_accepted_events(url, code, text, why) if [0, 401, 403].include?(code) || code >= 500
    refuses_wrong_secret(url)
  end

  def not_accepted_events(url, code, text, why)
    failed('notifications-not-accepted', "GitLab does not accept the registry's notifications",
           "POST #{url} #{code.zero? ? "got no answer: #{text}" : "was answered with #{code}"}",
           Http.remedy(why) { events_remedy(code) })
  end

  def refuses_wrong_secret(url)
    code, text, why = settled(url, 401, 403) { events(url, "A#{SecureRandom.alphanumeric(31)}") }
    not_accepted_events(url, code, text, why) if code.zero? || code >= 500
    unless [401, 403].include?(code)
      failed('notification-secret-not-checked', 'GitLab accepts notifications with any secret',
             "POST #{url} with a wrong secret was answered with #{code}; 401 was expected",
             'something in front of GitLab answers this path: pass it on to Rails')
    end
    passed('notification endpoint accepts the secret', 'yes')
    passed('notification endpoint refuses a wrong one', code)
  end

  # Secondaries of Geo answer 403.
  def events_remedy(code)
    return "promote #{@order['site']} in GitLab, or set `primary` back; then `pulumi up` again" if code == 403

    "every Rails node of #{@order['site']} must use this stack's registry_notification_secret: " \
      'list all Rails nodes in the configuration; if GitLab is still starting, run `pulumi up` again'
  end

  def events(url, secret)
    type = 'application/vnd.docker.distribution.events.v1+json'
    Http.call('post', url, headers: { 'Authorization' => secret, 'Content-Type' => type }, body: '{"events":[]}')
  end

  # The secondary's workers copy from there, so a node with only its registry need not reach it.
  def primary_registry
    return unless Checks.rails?(@order)

    site = @order['primary']['site']
    registry = Registry.new(@order['primary']['registry_url'])
    check = "#{site}'s registry accepts a pull-only token signed by this node"
    return unless ready_for_proof?(registry, check, @order['primary']['registry_kind'])

    answer, why = refusal(registry)
    refused(site, registry, answer, why) if answer
    passed(check, 'yes')
    forged(registry, site)
    refuses_push(site, registry)
  end

  def refuses_push(site, registry)
    code, = settled(registry.url, 401, 403) { registry.push(@token, %w[pull]) }
    unless [401, 403].include?(code)
      failed('pull-only-token-pushes', "#{site}'s registry accepts a push with a pull-only token",
             "the registry answered #{code} to a request to start an upload; 401 was expected",
             "token authentication is off or bypassed at #{registry.url}: fix it on #{site}, then `pulumi up` again")
    end
    passed("#{site}'s registry refuses a push with it", code)
  end

  def refused(site, registry, answer, why)
    if answer.start_with?('401')
      failed('registry-key-mismatch', "#{site}'s registry refuses a token signed with this stack's key",
             "#{registry.url} answered 401: its certificate is not the stack's (SHA-256 " \
             "#{Omnibus.fingerprint(@secrets['registry_certificate'])}) " \
             "or its issuer is not #{@order['issuer']}",
             "something on #{site} was changed manually after the last `pulumi up`: run " \
             '`pulumi config set proof "$(date)"` and `pulumi up`')
    end
    failed('primary-registry-unreachable',
           "#{site}'s registry cannot be reached from this node",
           "GET #{registry.url}/v2/ from #{@order['node']}: #{answer}",
           Http.remedy(why) do
             "request #{registry.url} from this node and check whether a proxy answers; then `pulumi up` again"
           end)
  end
end
