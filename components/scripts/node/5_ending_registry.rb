# frozen_string_literal: true

# A registry from 17.5 on that is told to end while GitLab is away gives its queue 5 s; then it only waits until the
# event that was refused last could be tried again, up to 90 s in which nobody can pull, and drops that event as well.
# gitlab-ctl calls it failed after 30 s. Nothing is left to lose then: it is killed, and runit starts it again.
class EndingRegistry
  STATUS = '/opt/gitlab/sv/registry/supervise/stat'
  QUEUE_SECONDS = 10

  # The block's value; meanwhile a registry on this node that does not come to its end is helped to it.
  def self.hurried(order)
    return yield unless Array(order['roles']).include?('registry') && notifying?

    over, tell = IO.pipe
    watch = Thread.new { new(order).watch(-> { IO.select([over], nil, nil, 0.5) }) }
    yield
  ensure
    tell&.close
    watch&.join
    over&.close
  end

  def self.notifying?
    !Events.endpoint.nil?
  rescue StandardError # of a config.yml that is about to be written anew
    false
  end

  def initialize(order)
    @order = order
  end

  # `over`: waits a little; whether there is nothing to watch any more.
  def watch(over)
    until over.call
      ending = Files.read(STATUS).to_s.include?('got TERM')
      @since = ending ? @since || Omnibus.now : nil
      kill if ending && Omnibus.now - @since > patience
    end
  rescue StandardError
    nil # Then it takes as long as it takes.
  end

  private

  # With registry['http_draintimeout'] it first waits for its requests.
  def patience
    drain = Omnibus.registry_config.dig('http', 'draintimeout').to_s
    units = { 'ms' => 0.001, 's' => 1, 'm' => 60, 'h' => 3600 }
    QUEUE_SECONDS + drain.scan(/([\d.]+)(m?s|m|h)/).sum { |number, unit| number.to_f * units[unit] }
  end

  def kill
    Report.say("#{@order['node']}: the registry has given up its queue and only waits for GitLab: " \
               'gitlab-ctl kill registry')
    Omnibus.run([Omnibus::CTL, 'kill', 'registry'], 60)
    @since = nil
  end
end
