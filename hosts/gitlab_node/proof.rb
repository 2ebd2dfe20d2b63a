# frozen_string_literal: true

# Checks that need only this node's services, before apply ends: if one fails, the settings are rolled back.
class Proof
  include Checks

  FAILED = 'the proof failed'

  # {check => answer}. Raises Failure at the first check that fails.
  def run
    check_rendered
    own_registry(Registry.local) if registry?
    @done
  end

  # Before replication is enabled on a node whose site has its registry on another node: with a registry that can write
  # to the shared storage, Geo would delete the primary's images. Changes nothing.
  def refuse_writable_registry
    return {} if registry? || !@order['replication'] || !@order['read_only'] || @order['registry_kind'] == 'manual'

    Storage.trusting(@order) { own_registry(Registry.new(@order['registry_url'])) }
    @done
  end

  private

  def check_rendered
    wrong = Rendered.faults(@order)
    unless wrong.empty?
      failed('settings-without-effect', 'the settings have no effect', wrong.join('; '),
             "find what overrides these values in #{Omnibus::GITLAB_RB} and the files it includes: " \
             "a line after the include of #{Include::SETTINGS}, " \
             'or a statement that ends the file early; then `pulumi up` again')
    end
    passed('key, certificate and settings are in effect', 'yes')
  end
end
