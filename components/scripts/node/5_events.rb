# Images that were changed while GitLab was away. The registry keeps the events of pushes and deletions in its memory and
# ends without them, also without the one that is just being sent; a registry before GitLab 17.5 does not even log that.
# So the changes are read in its log, and GitLab is notified of them again. Twice does no harm: a secondary then looks at
# the repository once more.
class Events
  BATCH = 20
  # Between two tries of one event, with the time that a try may take (github.com/cenkalti/backoff v4).
  LONGEST_PAUSE = 100
  HOUR = 3600
  PATH = %r{\A/v2/(.+)/(?:manifests|tags/reference)/([^/?]+)\z}.freeze
  TYPE = 'application/vnd.docker.distribution.events.v1+json'
  MANIFEST = 'application/vnd.oci.image.manifest.v1+json'

  # `since`: when the first change of this node began that has not come to its end, in seconds.
  def initialize(order, since)
    @order = order
    @since = since
  end

  # What had to be told once more: {'notified_again' => number, 'not_notified' => repositories}; nil for nothing.
  # `seconds`: how long GitLab may take to be there.
  def deliver(seconds)
    endpoint = Events.endpoint or return
    images = undelivered
    return if images.empty?

    left = images.each_slice(BATCH).drop_while { |some| sent?(endpoint, some, seconds) }.flatten(1)
    tell(images.size - left.size, left, endpoint)
    { 'notified_again' => images.size - left.size, 'not_notified' => left.map(&:first).uniq }
  rescue StandardError => e
    Report.say("#{@order['node']}: whether GitLab missed the push of an image could not be seen (#{e.class}: #{e.message})")
    nil
  end

  # [repository, tag or digest, action] of each change whose event may have been in a registry that has ended since.
  def undelivered
    @from = @since - 5
    @first_refused = @since
    @ended = nil
    changed = []
    RegistryLog.each(@since - HOUR) do |line|
      look_at(line)
      image = line.kind == :access && image(line.text)
      changed << [line.time, image] if image && @ended
      line.time > [@from, @first_refused - LONGEST_PAUSE].min
    end
    changed.select { |time, _| time >= @from }.map(&:last).reverse.uniq
  end

  # The endpoint that is in force now, after a change or after it was taken back.
  def self.endpoint
    ((Omnibus.registry_config || {}).dig('notifications', 'endpoints') || []).find { |e| e['name'] == 'geo_event' }
  end

  private

  # An event that was refused before this change began is in the queue still; all that came after it stands behind it.
  def look_at(line)
    case line.kind
    when :started, :lost, :told_to_end then @ended ||= line.time if line.time >= @since
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

  def sent?(endpoint, images, seconds)
    body = JSON.generate('events' => images.map { |image| event(*image) })
    headers = { 'Authorization' => Array(endpoint.dig('headers', 'Authorization')).last.to_s, 'Content-Type' => TYPE }
    Http.until(seconds) do
      @code, = Http.call('post', endpoint['url'], headers: headers, body: body, seconds: 30)
      { ok: @code.between?(200, 299) || (@code.between?(400, 499) && @code != 401) }
    end
    @code.between?(200, 299)
  end

  def event(repository, reference, action)
    what = reference.include?(':') ? 'digest' : 'tag'
    { 'id' => SecureRandom.uuid, 'timestamp' => Time.now.utc.iso8601, 'action' => action, 'request' => {}, 'actor' => {},
      'target' => { 'mediaType' => MANIFEST, 'repository' => repository, what => reference }, 'source' => { 'addr' => @order['node'] } }
  end

  def tell(sent, left, endpoint)
    Report.say("#{@order['node']}: GitLab was notified again of #{sent} changed image#{'s' unless sent == 1}: the registry restarted before it could") if sent.positive?
    return if left.empty?

    names = left.map(&:first).uniq
    Report.say("#{@order['node']}: GitLab does not know of #{left.size} changed image#{'s' unless left.size == 1}, which may be missing at the secondaries")
    Report.say("  cause: the registry restarted with their events, and POST #{endpoint['url']} was answered #{@code.zero? ? 'not at all' : @code}")
    Report.say("  do:    at each secondary, Admin > Geo > Sites > Container repositories: resync #{names.first(10).join(', ')}" \
               "#{" and #{names.size - 10} more, or all" if names.size > 10}")
  end
end
