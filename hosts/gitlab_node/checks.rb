# frozen_string_literal: true

# Checks that apply and verification share: requests to registries, each with a counterpart that must fail, because a
# registry that accepts everything would pass half of them. Nothing here boots Rails.
module Checks
  # Seconds after which an answer no longer changes by itself: a registry that does not answer, or answers 5xx, is
  # starting; after a change of its certificate it may answer 401 for a moment.
  STARTING = 60
  REFUSING = 3
  # nginx reads new certificates after `hup` ends, and those from Let's Encrypt replace a self-signed one.
  RELOADING = 10

  def self.rails?(order)
    !(order['roles'] & %w[rails sidekiq]).empty?
  end

  def initialize(order)
    @order = order
    @secrets = order['secrets']
    @token = Token.new(@secrets['registry_key'], order['issuer'])
    @done = {}
  end

  private

  def registry?
    @order['roles'].include?('registry')
  end

  def passed(check, answer)
    @done[check] = answer.to_s
  end

  def failed(code, what, cause, remedy)
    raise Failure.new(code, "#{self.class::FAILED}: #{what}", cause: cause, remedy: remedy)
  end

  # [status, body, why] of the block's request, which is repeated while its answer may change by itself. expected: final
  # status codes; starting: how many seconds to wait for a service that answers 5xx.
  def settled(url, *expected, starting: STARTING)
    began = Omnibus.now
    Http.until(starting) do
      code, body, why = yield
      waited = Omnibus.now - began
      ok = expected.include?(code) || waited > limit(code, why, starting)
      report_waiting(url, code, body, starting) if !ok && waited > 5
      { ok: ok, answer: [code, body.to_s, why] }
    end[:answer]
  end

  def limit(code, why, starting)
    case code
    when 0 then unanswered_limit(why)
    when 401, 403 then REFUSING
    when 500.. then starting
    else -1
    end
  end

  def unanswered_limit(why)
    return STARTING unless Http.final?(why)

    %i[name authority].include?(why.kind) ? RELOADING : -1
  end

  def report_waiting(url, code, body, seconds)
    return if @waiting

    @waiting = true
    Report.say("#{@order['node']}: waiting for #{url} (#{code.zero? ? body : "answers #{code}"}), at most #{seconds} s")
  end

  # nil if the registry accepts the token, else [what it answered, why it did not answer].
  def refusal(registry)
    code, body, why = settled(registry.url) { registry.tags(@token) }
    return if known?(code, body)

    ["#{"#{code} " unless code.zero?}#{body[0, 200]}".strip, why.is_a?(Unreached) ? why : nil]
  end

  # 404 NAME_UNKNOWN accepts the token: there is no such repository.
  def known?(code, body)
    code == 200 || (code == 404 && body.include?('NAME_UNKNOWN'))
  end

  def own_registry(registry)
    answer, why = refusal(registry)
    not_accepted(registry, answer, why) if answer
    passed('own registry accepts a token signed with the key', 'yes')
    forged(registry, @order['site'])
    read_only(registry) if @order['read_only']
  end

  def not_accepted(registry, answer, why)
    log = "run `gitlab-ctl tail registry` on the #{"registry's " unless registry?}node"
    log = "read the registry's log on its host" unless @order['registry_kind'] == 'omnibus'
    log = "#{log}; a problem with the storage or the certificate may prevent the registry from starting"
    failed('own-token-not-accepted', "the registry of #{@order['site']} does not accept its own token",
           why ? "GET #{registry.url}/v2/: #{answer}" : "#{registry.url} answered #{answer}",
           why && !%i[refused closed].include?(why.kind) ? Http.remedy(why) : log)
  end

  # A token with the right key ID and an invalid signature must be refused.
  def forged(registry, site)
    code, = settled(registry.url, 401) { registry.tags(forger) }
    unless code == 401
      failed('forged-token-accepted', "#{site}'s registry accepts a forged token",
             "the registry answered #{code} to a token with an invalid signature; 401 was expected",
             "token authentication is off or bypassed at #{registry.url}: fix it on #{site}, then `pulumi up` again")
    end
    passed("#{site}'s registry refuses a forged token", code)
  end

  def forger
    @forger ||= ForgedToken.new(@secrets['registry_key'], @order['issuer'])
  end

  def read_only(registry)
    code, = settled(registry.url) { registry.push(@token, %w[pull push]) }
    unless code == 405
      setting = 'REGISTRY_STORAGE_MAINTENANCE_READONLY in its environment'
      setting = "a later registry['storage'] in gitlab.rb" if @order['registry_kind'] == 'omnibus'
      failed('secondary-accepts-pushes',
             'the registry of this secondary accepts pushes',
             "the registry answered #{code} to a request to start an upload; 405 was expected",
             "with shared storage it must be read-only: look for #{setting}, then `pulumi up` again")
    end
    passed('own registry refuses a push (read-only)', code)
  end
end
