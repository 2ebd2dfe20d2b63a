# frozen_string_literal: true

# Images that were changed while GitLab was away. The registry keeps the events of pushes and deletions in its memory
# and ends without them, also without the one that is just being sent; a registry before GitLab 17.5 does not even log
# that. So the changes are read in its log, and GitLab is notified of them again. Twice does no harm: a secondary then
# looks at the repository once more.
class Events
  BATCH = 20
  # Between two tries of one event, with the time that a try may take (github.com/cenkalti/backoff v4).
  LONGEST_PAUSE = 100
  HOUR = 3600
  PATH = %r{\A/v2/(.+)/(?:manifests|tags/reference)/([^/?]+)\z}.freeze
  TYPE = 'application/vnd.docker.distribution.events.v1+json'
  MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
  # runit writes it at each start.
  PID = '/opt/gitlab/sv/registry/supervise/pid'

  # `begun`: what is remembered of the first change of this node that has not come to its end: 'since', in seconds, and
  # 'endpoint', the one that was in force then.
  def initialize(order, begun)
    @order = order
    @since = begun['since']
    @former = begun['endpoint']
  end

  # Of a change that begins now.
  def self.beginning
    { 'since' => Time.now.to_f, 'endpoint' => endpoint }
  rescue StandardError # of a config.yml that cannot be read
    { 'since' => Time.now.to_f, 'endpoint' => nil }
  end

  # What had to be told once more: {'notified_again' => number, 'not_notified' => repositories}; nil for nothing.
  # `seconds`: how long GitLab may take to be there. leaving: this registry is taken out of the site, whose other ones
  # go on notifying GitLab where it was notified until now.
  def deliver(seconds, leaving: false)
    endpoint = Events.endpoint || @former
    return unless endpoint && (Events.endpoint || leaving || @order['replication'])

    images = undelivered
    return if images.empty?

    left = images
    if Events.endpoint || leaving
      final = leaving ? [401] : []
      left = images.each_slice(BATCH).drop_while { |some| sent?(endpoint, some, seconds, final: final) }.flatten(1)
      tell(images.size - left.size, left, "POST #{endpoint['url']} was answered #{@code.zero? ? 'not at all' : @code}")
    else
      tell_of_former_primary(left)
    end
    { 'notified_again' => images.size - left.size, 'not_notified' => left.map(&:first).uniq }
  rescue StandardError => e
    Report.say("#{@order['node']}: whether GitLab missed the push of an image could not be seen " \
               "(#{e.class}: #{e.message})")
    nil
  end

  # [repository, tag or digest, action] of each change whose event may have been in a registry that has ended since.
  def undelivered
    @from = @since - 5
    @first_refused = @since
    # With registry['log_level'] above "info" its log says of no start and no end; requests are in it at every level.
    @ended = Events.last_start.then { |time| time if time && time >= @since }
    changed = []
    RegistryLog.read_back(@since - HOUR) do |line|
      look_at(line)
      image = line.kind == :access && image(line.text)
      changed << [line.time, image] if image && @ended && line.time <= @ended
      line.time > [@from, @first_refused - LONGEST_PAUSE].min
    end
    changed.select { |time, _| time >= @from }.map(&:last).reverse.uniq
  end

  # The endpoint that is in force now, after a change or after it was taken back.
  def self.endpoint
    ((Omnibus.registry_config || {}).dig('notifications', 'endpoints') || []).find { |e| e['name'] == 'geo_event' }
  end

  def self.last_start
    File.mtime(PID).to_f
  rescue SystemCallError
    nil
  end

  private

  # An event that was refused before this change began is in the queue still; all that came after it stands behind it.
  def look_at(line)
    case line.kind
    when :started, :lost, :told_to_end then @ended = [@ended, line.time].compact.max if line.time >= @since
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

  # final: answers that more time does not change, beside the usual ones.
  def sent?(endpoint, images, seconds, final: [])
    body = JSON.generate('events' => images.map { |image| event(*image) })
    headers = { 'Authorization' => Array(endpoint.dig('headers', 'Authorization')).last.to_s, 'Content-Type' => TYPE }
    Http.until(seconds) do
      @code, = Http.call('post', endpoint['url'], headers: headers, body: body, seconds: 30)
      { ok: @code.between?(200, 299) || (@code.between?(400, 499) && @code != 401) || final.include?(@code) }
    end
    @code.between?(200, 299)
  end

  def event(repository, reference, action)
    what = reference.include?(':') ? 'digest' : 'tag'
    { 'id' => SecureRandom.uuid, 'timestamp' => Time.now.utc.iso8601, 'action' => action,
      'request' => {}, 'actor' => {},
      'target' => { 'mediaType' => MANIFEST, 'repository' => repository, what => reference },
      'source' => { 'addr' => @order['node'] } }
  end

  def tell(sent, left, answer)
    if sent.positive?
      Report.say("#{@order['node']}: GitLab was notified again of #{images(sent)}: " \
                 'the registry restarted before it could')
    end
    return if left.empty?

    Report.say("#{@order['node']}: GitLab does not know of #{images(left.size)}, " \
               'which may be missing at the secondaries')
    Report.say("  cause: the registry restarted with their events, and #{answer}")
    Report.say("  do:    at each secondary, Admin > Geo > Sites > Container repositories: resync #{names(left)}, " \
               'or all')
  end

  # Its registry has what the new primary's may not have, and Geo takes the new primary's word.
  def tell_of_former_primary(left)
    Report.say("#{@order['node']}: the secondaries do not know of #{images(left.size)}, " \
               'which may be missing at the new primary')
    Report.say('  cause: this registry was restarted with their events, and its site is no longer the primary')
    Report.say("  do:    push again to the new primary what it does not have: #{names(left)}")
  end

  def images(number)
    "#{number} changed image#{'s' unless number == 1}"
  end

  def names(left)
    names = left.map(&:first).uniq
    "#{names.first(10).join(', ')}#{" and #{names.size - 10} more" if names.size > 10}"
  end
end
