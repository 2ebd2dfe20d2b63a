# frozen_string_literal: true

# The images of a registry, as it serves them.
class Catalog
  ACCEPT = %w[application/vnd.oci.image.index.v1+json application/vnd.oci.image.manifest.v1+json
              application/vnd.docker.distribution.manifest.list.v2+json
              application/vnd.docker.distribution.manifest.v2+json].join(', ')
  # Requests at a time.
  THREADS = 8

  # By default, the registry on this node.
  def initialize(token, url = Registry.local.url)
    @token = token
    @url = url
  end

  # [{"path:tag" => digest}, [those that the registry itself cannot read]]. Raises Failure if it does not answer.
  def digests
    found = {}
    broken = []
    images = repositories.flat_map { |path| tags(path).map { |tag| [path, tag] } }
    each_of(images) do |path, tag|
      digest = digest(path, tag)
      digest ? found["#{path}:#{tag}"] = digest : broken << "#{path}:#{tag}"
    end
    [found, broken]
  end

  # {tag => digest} of one repository; nil as the digest of one that the registry cannot read.
  def of(path)
    found = {}
    each_of(tags(path).map { |tag| [path, tag] }) { |_, tag| found[tag] = digest(path, tag) }
    found
  end

  def repositories
    pages('_catalog', 'repositories') { @token.for('catalog', %w[*], type: 'registry') }
  end

  private

  def each_of(images)
    queue = Queue.new
    images.each { |image| queue << image }
    total = queue.size
    workers = Array.new(THREADS) do
      Thread.new do
        Thread.current.report_on_exception = false
        loop { yield(*queue.pop(true)) }
      rescue ThreadError
        nil
      end
    end
    show(queue, total) while workers.any? { |worker| worker.join(5).nil? }
    workers.each(&:value)
  end

  def show(queue, total)
    Report.say("compared #{total - queue.size} of #{total} tags")
  end

  def tags(path)
    pages("#{path}/tags/list", 'tags') { @token.for(path, %w[pull]) }
  end

  # A repository without tags is unknown to a registry with legacy metadata. The block: a token for each page, as it is
  # valid for five minutes.
  def pages(path, key)
    found = []
    link = "#{@url}/v2/#{path}?n=1000"
    while link
      status, body, answer = Http.call('get', link, headers: { 'Authorization' => yield }, seconds: 120)
      return found if status == 404

      raise unreadable(link, status, body) unless status == 200

      found.concat(JSON.parse(body)[key] || [])
      following = answer['Link'].to_s[/<([^>]+)>; *rel="next"/, 1]
      link = following && URI.join("#{@url}/", following).to_s
    end
    found
  end

  def digest(path, tag)
    @pull ||= Hash.new { |known, name| known[name] = [@token.for(name, %w[pull]), Omnibus.now] }
    authorization, since = @pull[path]
    # A token is valid for five minutes.
    authorization, = @pull[path] = [@token.for(path, %w[pull]), Omnibus.now] if Omnibus.now - since > 120
    status, body, answer = Http.call('head', "#{@url}/v2/#{path}/manifests/#{tag}",
                                     headers: { 'Authorization' => authorization, 'Accept' => ACCEPT }, seconds: 60)
    return answer['Docker-Content-Digest'] if status == 200
    return if status == 404

    raise unreadable("#{path}:#{tag}", status, body)
  end

  def unreadable(what, status, body)
    Failure.new('registry-not-readable', 'its registry does not list its images',
                cause: "a request for #{what} was answered #{status} #{body.to_s[0, 200]}".strip,
                remedy: 'read the log of the registry (`gitlab-ctl tail registry`), correct that, then try again')
  end
end
