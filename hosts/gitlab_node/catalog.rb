# frozen_string_literal: true

# Pull-only tokens for repositories. The registries of all sites accept the same ones.
class PullTokens
  # A token is valid for five minutes.
  SECONDS = 120
  KEPT = 1000

  def initialize(token)
    @token = token
    @known = {}
    @lock = Mutex.new
  end

  # Signing one takes longer than a request to a registry on the same node.
  def for(path)
    @lock.synchronize do
      known = @known.delete(path)
      known = nil if known && Omnibus.now - known.last > SECONDS
      @known.shift if @known.size >= KEPT
      (@known[path] = known || [@token.for(path, %w[pull]), Omnibus.now]).first
    end
  end

  def for_catalog
    @token.for('catalog', %w[*], type: 'registry')
  end
end

# The images of a registry, as it serves them.
class Catalog
  INDEXES = %w[application/vnd.oci.image.index.v1+json
               application/vnd.docker.distribution.manifest.list.v2+json].freeze
  ACCEPT = [*INDEXES, 'application/vnd.oci.image.manifest.v1+json',
            'application/vnd.docker.distribution.manifest.v2+json'].join(', ')
  Manifest = Struct.new(:digest, :type)

  # tokens: PullTokens, or a Token. By default, the registry on this node.
  def initialize(tokens, url = Registry.local.url)
    @tokens = tokens.is_a?(Token) ? PullTokens.new(tokens) : tokens
    @url = url
    @connections = Http::Connections.new
  end

  # [{"path:tag" => digest}, [those that the registry itself cannot read]]. Raises Failure if it does not answer.
  def digests
    found = Queue.new
    images = repositories.flat_map { |path| tags(path).map { |tag| [path, tag] } }
    waiting = ->(done) { Report.say("compared #{done} of #{images.size} tags") }
    Workers.each(images, waiting) { |path, tag| found << ["#{path}:#{tag}", manifest(path, tag)&.digest] }
    read, broken = Array.new(found.size) { found.pop }.partition(&:last)
    [read.to_h, broken.map(&:first)]
  end

  def repositories
    pages('_catalog', 'repositories') { @tokens.for_catalog }
  end

  # A repository without tags is unknown to a registry with legacy metadata.
  def tags(path)
    pages("#{path}/tags/list", 'tags') { @tokens.for(path) }
  end

  # Digest and media type of what a tag or a digest refers to; nil if the registry cannot read it.
  def manifest(path, reference)
    status, body, answer = ask('head', "#{path}/manifests/#{reference}", @tokens.for(path))
    return if status == 404
    raise unreadable("#{path}:#{reference}", status, body) unless status == 200

    Manifest.new(answer['Docker-Content-Digest'], answer['Content-Type'].to_s[/[^; ]+/])
  end

  # A manifest, parsed; nil if the registry cannot read it.
  def content(path, digest)
    status, body, = ask('get', "#{path}/manifests/#{digest}", @tokens.for(path))
    return if status == 404
    raise unreadable("#{path}@#{digest}", status, body) unless status == 200

    JSON.parse(body)
  rescue JSON::ParserError
    raise unreadable("#{path}@#{digest}", status, body)
  end

  # Whether a blob can be fetched: from the registry, or from the storage that it redirects to.
  def blob?(path, digest)
    status, body, answer = ask('head', "#{path}/blobs/#{digest}", @tokens.for(path))
    if [302, 307].include?(status)
      status, body, = Http.call('head', answer['Location'], seconds: 60, connections: @connections)
    end
    raise unreadable("#{path}@#{digest}", status, body) unless [200, 404].include?(status)

    status == 200
  end

  private

  # A registry or a proxy that restarts must not end a comparison of hours.
  def ask(method, path, authorization, seconds: 60)
    headers = { 'Authorization' => authorization, 'Accept' => ACCEPT }
    answer = Http.until(5) do
      found = Http.call(method, URI.join("#{@url}/v2/", path).to_s, headers: headers, seconds: seconds,
                                                                    connections: @connections)
      { ok: found.first.between?(200, 499) && found.first != 429, found: found }
    end
    answer[:found]
  end

  # The block: a token for each page, as it is valid for five minutes.
  def pages(path, key)
    found = []
    page = "#{path}?n=1000"
    while page
      status, body, answer = ask('get', page, yield, seconds: 120)
      return found if status == 404

      raise unreadable("#{@url}/v2/#{page}", status, body) unless status == 200

      found.concat(JSON.parse(body)[key] || [])
      page = answer['Link'].to_s[/<([^>]+)>; *rel="next"/, 1]
    end
    found
  rescue JSON::ParserError
    raise unreadable("#{@url}/v2/#{page}", status, body)
  end

  def unreadable(what, status, body)
    Failure.new('registry-not-readable', 'its registry does not list its images',
                cause: "a request for #{what} was answered #{status} #{body.to_s[0, 200]}".strip,
                remedy: 'read the log of the registry (`gitlab-ctl tail registry`), correct that, then try again')
  end
end
