# frozen_string_literal: true

# From 17.5 on, a registry that is stopped while GitLab is unavailable gives its queue 5 s. Then it only waits for the
# next retry of the last rejected event, up to 90 s in which nobody can pull, and drops that event as well. gitlab-ctl
# reports a failure after 30 s. There is nothing left to lose then: it is killed, and runit starts it again.
class StoppingRegistry
  STATUS = '/opt/gitlab/sv/registry/supervise/stat'
  QUEUE_SECONDS = 10

  # The block's value. In the block, kills a registry on this node that does not end.
  def self.watching(order)
    return yield unless Array(order['roles']).include?('registry') && notifying?

    finished, finish = IO.pipe
    watch = Thread.new { new(order).watch(-> { IO.select([finished], nil, nil, 0.5) }) }
    yield
  ensure
    finish&.close
    watch&.join
    finished&.close
  end

  def self.notifying?
    !Events.endpoint.nil?
  rescue StandardError # for a config.yml that is about to be replaced
    false
  end

  def initialize(order)
    @order = order
  end

  # finished: waits shortly, then returns whether to stop watching.
  def watch(finished)
    until finished.call
      ending = Files.read(STATUS).to_s.include?('got TERM')
      @since = ending ? @since || Omnibus.now : nil
      kill if ending && Omnibus.now - @since > patience
    end
  rescue StandardError
    nil # Then the stop is not shortened.
  end

  private

  # With registry['http_draintimeout'] the registry first waits for its requests.
  def patience
    drain = Omnibus.registry_config.dig('http', 'draintimeout').to_s
    units = { 'ms' => 0.001, 's' => 1, 'm' => 60, 'h' => 3600 }
    QUEUE_SECONDS + drain.scan(/([\d.]+)(m?s|m|h)/).sum { |number, unit| number.to_f * units[unit] }
  end

  def kill
    Report.say("#{@order['node']}: the registry has discarded its queue and only waits for GitLab: " \
               'gitlab-ctl kill registry')
    Omnibus.run([Omnibus::CTL, 'kill', 'registry'], 60)
    @since = nil
  end
end
