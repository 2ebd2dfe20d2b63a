# frozen_string_literal: true

require 'json'
require 'net/http'
require 'tempfile'
require 'uri'

# Rails' client of a registry (lib/container_registry/client.rb of GitLab and its EE part), with its answers to
# trouble: what cannot be reached raises, a list that is refused is an empty list.
class RegistryClient
  class Error < StandardError; end

  MANIFESTS = %w[
    application/vnd.docker.distribution.manifest.v2+json application/vnd.docker.distribution.manifest.list.v2+json
    application/vnd.oci.image.manifest.v1+json application/vnd.oci.image.index.v1+json
  ].freeze
  REDIRECTS = 3

  def initialize(url, token)
    @url = url.chomp('/')
    @token = token
  end

  def connected?
    call('Get', "#{@url}/v2/").is_a?(Net::HTTPSuccess)
  end

  # Unsorted, as the registry has them; [] for "tags": null and for every answer but success.
  def tags(name)
    answer = call('Get', "#{@url}/v2/#{name}/tags/list?n=10000")
    answer.is_a?(Net::HTTPSuccess) ? JSON.parse(answer.body)['tags'] || [] : []
  end

  # nil where the registry does not say.
  def digest(name, tag)
    answer = call('Head', manifest_url(name, tag), 'Accept' => MANIFESTS.join(','))
    answer['docker-content-digest'] if answer.is_a?(Net::HTTPSuccess)
  end

  # The manifest's very bytes.
  def manifest(name, reference)
    answer = call('Get', manifest_url(name, reference), 'Accept' => MANIFESTS.join(','))
    answer.is_a?(Net::HTTPSuccess) ? answer.body : raise(Error, "Could not download manifest: #{answer.code}")
  end

  def push_manifest(name, reference, bytes, type)
    expect(call('Put', manifest_url(name, reference), 'Content-Type' => type, body: bytes), 'Push manifest error')
  end

  # The status: nothing is raised by a refusal.
  def delete_manifest(name, reference)
    call('Delete', manifest_url(name, reference)).code.to_i
  end

  def blob?(name, digest)
    follow('Head', "#{@url}/v2/#{name}/blobs/#{digest}").is_a?(Net::HTTPSuccess)
  end

  # Yields a file with the blob; the storage that a registry sends us to must not see the token.
  def pull_blob(name, digest)
    Tempfile.create('blob') do |file|
      file.binmode
      answer = follow('Get', "#{@url}/v2/#{name}/blobs/#{digest}") { |part| file.write(part) }
      raise Error, "Could not download blob: #{answer.code}" unless answer.is_a?(Net::HTTPSuccess)

      file.rewind
      yield file
    end
  end

  def push_blob(name, digest, file)
    begun = expect(call('Post', "#{@url}/v2/#{name}/blobs/uploads/", body: ''), 'Get upload URL error')
    location = URI.join("#{@url}/", begun['location'])
    location.query = [location.query, URI.encode_www_form(digest: digest)].compact.join('&')
    expect(call('Put', location, 'Content-Type' => 'application/octet-stream', body: file), 'Push Blob error')
  end

  private

  def manifest_url(name, reference)
    "#{@url}/v2/#{name}/manifests/#{reference}"
  end

  def expect(answer, text)
    answer.is_a?(Net::HTTPSuccess) ? answer : raise(Error, "#{text}: #{answer.code} #{answer.body}")
  end

  def follow(method, url, &block)
    answer = call(method, url, &block)
    REDIRECTS.times do
      break unless answer.is_a?(Net::HTTPRedirection)

      answer = call(method, URI.join(url, answer['location']), authorized: false, &block)
    end
    answer
  end

  # The body of a success goes to the block in parts, if there is one.
  def call(method, url, body: nil, authorized: true, **headers, &block)
    uri = URI(url)
    request = Net::HTTP.const_get(method).new(uri, headers.transform_keys(&:to_s))
    request['Authorization'] = "Bearer #{@token}" if authorized
    fill(request, body)
    Net::HTTP.start(uri.host, uri.port, nil, use_ssl: uri.scheme == 'https', open_timeout: 5, read_timeout: 60) do |http|
      http.request(request) { |answer| answer.read_body(&block) if block && answer.is_a?(Net::HTTPSuccess) }
    end
  end

  def fill(request, body)
    return request.body = body if body.is_a?(String)
    return unless body

    request.body_stream = body
    request.content_length = body.size
  end
end
