# frozen_string_literal: true

# The first step of a rotation of the registry key: the registry on this node trusts the new certificate in addition,
# before any node signs with the new key. Everything else stays as it is on the node, whatever the configuration says by
# now: the settings follow when all registries have taken this step.
class Trust
  include Checks

  FAILED = 'the proof failed'

  # Whether the settings on this node enable a registry; otherwise its first ones contain both certificates.
  def self.registry?
    Files.read(Include::SETTINGS).to_s.include?("registry['enable'] = true")
  end

  def initialize(order)
    @written = JSON.parse(Files.read(order['secrets_file']) || '{}')
    Report.redact(@written)
    issuer = (Omnibus.registry_config || {}).dig('auth', 'token', 'issuer')
    super(order.merge('issuer' => issuer, 'read_only' => false))
    @bundle = @secrets['registry_certificate']
  end

  def refuse_conflict
    settings = EvaluatedSettings.read({})
    Conflicts.new(@order, settings).certificates(@bundle) if settings.known?
  end

  # The secrets file with the bundle, which the settings then have as well, so that the registry restarts only once.
  def contents
    former = @written['registry_certificate'].to_s
    return {} if former.empty? || Omnibus.certificate_in?(former, @bundle)

    kept = former.scan(Omnibus::CERTIFICATE).reject { |one| Omnibus.certificate_in?(@bundle, one) }
    bundle = kept.empty? ? @bundle : "#{@bundle.rstrip}\n#{kept.join("\n")}\n"
    { @order['secrets_file'] => JSON.pretty_generate(@written.merge('registry_certificate' => bundle)).b }
  end

  def in_effect?
    Omnibus.certificate_in?(Files.read(Omnibus.certificate).to_s, @bundle)
  end

  # {check => answer}, with tokens of both keys. Raises Failure at the first check that fails.
  def prove
    unless in_effect?
      failed('settings-without-effect', 'the settings have no effect',
             "#{Omnibus.certificate} does not contain the certificates",
             "find what overrides registry['internal_certificate'] in #{Omnibus::GITLAB_RB} " \
             'and the files it includes, then `pulumi up` again')
    end
    keys = [@written['registry_key'], @secrets['registry_key']].compact
    keys.each do |key|
      @token = Token.new(key, @order['issuer'])
      own_registry(Registry.local)
    end
    @done
  end
end
