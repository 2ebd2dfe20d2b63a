# frozen_string_literal: true

# Notifies GitLab again of images that were changed while it was unavailable. The registry keeps the events of pushes
# and deletions in memory and loses them when it ends, including the one that is being sent; before GitLab 17.5 it does
# not even log that. So the changes are read from its access log. A duplicate does no harm: a secondary then only
# compares the repository once more.
class Events
  BATCH = 20
  # Between two attempts to send one event, including the attempt (github.com/cenkalti/backoff v4).
  LONGEST_PAUSE = 100
  HOUR = 3600
  PATH = %r{\A/v2/(.+)/(?:manifests|tags/reference)/([^/?]+)\z}.freeze
  TYPE = 'application/vnd.docker.distribution.events.v1+json'
  MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
  # For verification: {'since' => seconds, 'images' => [[repository, tag or digest, action]]}. Until all of GitLab's
  # nodes have the secret, the registry may drop events, and logs that.
  PENDING = "#{FileTransaction::DIRECTORY}/pending-events.json"
  RAILS_STARTS = 120
  # runit writes it at each start.
  PID = '/opt/gitlab/sv/registry/supervise/pid'

  # begun: what the journal records of this node's first transaction that was not committed: 'since', in seconds, and
  # 'endpoint', the one in effect then. nil in verification.
  def initialize(order, begun = nil)
    @order = order
    @since, @former = (begun || {}).values_at('since', 'endpoint')
  end

  # For a change that begins now.
  def self.beginning
    { 'since' => Time.now.to_f, 'endpoint' => endpoint }
  rescue StandardError # for a config.yml that cannot be read
    { 'since' => Time.now.to_f, 'endpoint' => nil }
  end

  # {'notified_again' => number of images, 'not_notified' => repositories}; nil if there were none. seconds: how long
  # GitLab may take to answer; with 0, the rest is kept for verification. leaving: this registry is removed from the
  # site, whose other registries continue to notify the former endpoint.
  def deliver(seconds, leaving: false)
    now = Time.now.to_f
    notifies = Events.endpoint || (leaving && @former)
    return discard unless notifies || (@former && @order['replication'])

    images = undelivered_and_kept
    return keep(notifies, [], now, seconds, leaving) unless images.any?

    left = notifies ? unsent(notifies, images, seconds, leaving) : report_former_primary(images)
    keep(notifies, left, left.empty? ? now : @since, seconds, leaving)
    { 'notified_again' => images.size - left.size, 'not_notified' => left.map(&:first).uniq }
  rescue StandardError => e
    Report.say("#{@order['node']}: could not determine whether GitLab missed the push of an image " \
               "(#{e.class}: #{e.message})")
    nil
  end

  # [repository, tag or digest, action] of each change whose event may have been lost with a registry that ended since.
  def undelivered
    @from = @since - 5
    @first_refused = @since
    # With registry['log_level'] above "info" starts and stops are not logged; requests are logged at every level.
    @ended = Events.last_start.then { |time| time if time && time >= @since }
    changed = []
    RegistryLog.read_back(@since - HOUR) do |line|
      record(line)
      image = line.kind == :access && image(line.text)
      changed << [line.time, image] if image && @ended && line.time <= @ended
      line.time > [@from, @first_refused - LONGEST_PAUSE].min
    end
    changed.select { |time, _| time >= @from }.map(&:last).reverse.uniq
  end

  # The endpoint in effect now, after a change or its rollback.
  def self.endpoint
    ((Omnibus.registry_config || {}).dig('notifications', 'endpoints') || []).find { |e| e['name'] == 'geo_event' }
  end

  def self.last_start
    File.mtime(PID).to_f
  rescue SystemCallError
    nil
  end

  private

  def undelivered_and_kept
    kept = JSON.parse(Files.read(PENDING) || '{}')
    @since = [@since, kept['since']].compact.min
    ((kept['images'] || []) + (@since ? undelivered : [])).uniq
  end

  # Keeps them for verification after apply, or for the next one unless GitLab rejects them permanently. Returns nil.
  def keep(notifies, images, since, seconds, leaving)
    return discard unless notifies && !leaving && (seconds.zero? || (images.any? && !rejected?))

    FileUtils.mkdir_p(File.dirname(PENDING))
    Files.write(PENDING, JSON.generate('since' => since, 'images' => images), mode: 0o600)
    nil
  end

  def discard
    FileUtils.rm_f(PENDING)
    nil
  end

  # Those of which GitLab was not notified.
  def unsent(endpoint, images, seconds, leaving)
    # Answers that more time does not change, in addition to the usual ones.
    final = leaving ? [401] : []
    left = images.each_slice(BATCH).drop_while { |some| sent?(endpoint, some, seconds, final: final) }.flatten(1)
    report(images.size - left.size, left, endpoint) unless seconds.zero? && left.any?
    left
  end

  def rejected?
    @code.between?(400, 499) && @code != 401
  end

  # An event that was rejected before this change began is still in the queue, and all later ones are behind it.
  def record(line)
    case line.kind
    when :started, :lost, :stopping then @ended = [@ended, line.time].compact.max if line.time >= @since
    when :refused
      return if line.time < @first_refused - LONGEST_PAUSE

      @first_refused = [@first_refused, line.time].min
      @from = [@from, line.time - 10].min
    end
  end

  def image(text)
    method = text[/"?\bmethod"?[:=] ?"?(PUT|DELETE)\b/n, 1]
    status = text[/"?\bstatus"?[:=] ?"?(\d+)/n, 1]
    repository, reference = text[/"?\buri"?[:=] ?"?([^"\s]+)/n, 1].to_s.match(PATH)&.captures
    return unless repository && { 'PUT' => '201', 'DELETE' => '202' }[method] == status

    [repository.force_encoding('UTF-8'), URI.decode_www_form_component(reference), method == 'PUT' ? 'push' : 'delete']
  end

  def sent?(endpoint, images, seconds, final: [])
    body = JSON.generate('events' => images.map { |image| event(*image) })
    headers = { 'Authorization' => Array(endpoint.dig('headers', 'Authorization')).last.to_s, 'Content-Type' => TYPE }
    Http.until(seconds) do
      @code, _, why = Http.call('post', endpoint['url'], headers: headers, body: body, seconds: 30)
      { ok: @code.between?(200, 299) || rejected? || final.include?(@code) || Http.final?(why) }
    end
    @code.between?(200, 299)
  end

  def event(repository, reference, action)
    kind = reference.include?(':') ? 'digest' : 'tag'
    { 'id' => SecureRandom.uuid, 'timestamp' => Time.now.utc.iso8601, 'action' => action,
      'request' => {}, 'actor' => {},
      'target' => { 'mediaType' => MANIFEST, 'repository' => repository, kind => reference },
      'source' => { 'addr' => @order['node'] } }
  end

  def report(sent, left, endpoint)
    if sent.positive?
      Report.say("#{@order['node']}: GitLab was notified again of #{images(sent)}: " \
                 'the registry restarted before it could deliver the events')
    end
    return if left.empty?

    Report.say("#{@order['node']}: GitLab does not know of #{images(left.size)}, " \
               'which may be missing at the secondaries')
    Report.say("  cause: the registry restarted before it delivered their events, and POST #{endpoint['url']} " \
               "#{@code.zero? ? 'got no answer' : "was answered with #{@code}"}")
    Report.say('  do:    on each secondary, under Admin > Geo > Sites > Container repositories, ' \
               "resync #{names(left)}, or all")
  end

  # Its registry has images that the new primary's may lack, and Geo makes this site match the new primary.
  def report_former_primary(left)
    Report.say("#{@order['node']}: the secondaries do not know of #{images(left.size)}, " \
               'which may be missing at the new primary')
    Report.say('  cause: this registry restarted before it delivered their events, ' \
               'and its site is no longer the primary')
    Report.say("  do:    push these again to the new primary, unless it has them: #{names(left.reverse)}")
    left
  end

  def images(number)
    "#{number} changed image#{'s' unless number == 1}"
  end

  def names(left)
    names = left.map(&:first).uniq
    "#{names.first(10).join(', ')}#{" and #{names.size - 10} more" if names.size > 10}"
  end
end
