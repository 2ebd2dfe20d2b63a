# frozen_string_literal: true

require 'cgi'
require 'fileutils'
require 'json'
require 'net/http'
require 'openssl'
require 'uri'

# What GitLab's registry does in its storage before it serves, which Debian's does not: with the registry's own
# credentials, so that what these may not do ends it.
module RegistryStorageClient
  class Error < StandardError; end

  REPOSITORIES = 'docker/registry/v2/repositories/'

  # A driver without what it needs is refused by Debian's registry, which knows all of that.
  def self.incomplete?(name, options)
    name == 's3' && %w[bucket region].any? { |key| options.to_h[key].to_s.empty? }
  end

  BLOBS = 'docker/registry/v2/blobs/'

  # The images of a storage, for an import. It has `objects(prefix)`, [[key, size]] of all below, and `get(key)`, nil where
  # there is nothing.
  module Images
    # Paths of repositories: where there are manifests.
    def repositories
      objects(REPOSITORIES).filter_map { |key, _| key[%r{\A#{REPOSITORIES}(.+)/_manifests/}, 1] }.uniq.sort
    end

    # {name => digest}
    def tags(repository)
      prefix = "#{REPOSITORIES}#{repository}/_manifests/tags/"
      names = objects(prefix).filter_map { |key, _| key[%r{\A#{Regexp.escape(prefix)}([^/]+)/current/link\z}, 1] }
      names.sort.to_h { |name| [name, get("#{prefix}#{name}/current/link").to_s.strip] }
    end

    def blob(digest)
      hash = digest.delete_prefix('sha256:')
      get("#{BLOBS}sha256/#{hash[0, 2]}/#{hash}/data")
    end

    # [[digest, size]]
    def blobs
      objects(BLOBS).filter_map { |key, size| (hash = key[%r{/(\h{64})/data\z}, 1]) && ["sha256:#{hash}", size] }
    end
  end

  # A directory.
  class Directory
    include Images

    def driver
      'filesystem'
    end

    def initialize(options)
      @root = (options || {})['rootdirectory'] || '/var/lib/registry'
    end

    def there?(key)
      File.exist?("#{@root}/#{key}")
    end

    # A repository is where there are manifests.
    def repositories?
      Dir.glob("#{@root}/#{REPOSITORIES}**/_manifests").any?
    end

    def put(key, body)
      FileUtils.mkdir_p(File.dirname("#{@root}/#{key}"))
      File.write("#{@root}/#{key}", body)
    rescue SystemCallError => e
      raise Error, "filesystem: #{e.message}"
    end

    def delete(key)
      File.delete("#{@root}/#{key}")
    rescue Errno::ENOENT
      nil
    rescue SystemCallError => e
      raise Error, "filesystem: #{e.message}"
    end

    def objects(prefix)
      Dir.glob("#{@root}/#{prefix}**/*").filter_map do |path|
        file = File.stat(path)
        [path.delete_prefix("#{@root}/"), file.size] if file.file?
      rescue Errno::ENOENT
        nil # an upload that has ended since
      end
    end

    def get(key)
      File.binread("#{@root}/#{key}")
    rescue Errno::ENOENT
      nil
    end
  end

  # A bucket of S3, by requests that are signed (AWS Signature Version 4) with the keys of the configuration or those of
  # the instance metadata service.
  class Bucket
    include Images

    METADATA = 'http://169.254.169.254'

    def initialize(options)
      @options = options
      @root = options['rootdirectory'].to_s.delete_prefix('/').chomp('/')
    end

    # As the driver looks for a path: itself, and if that is refused in a list.
    def there?(key)
      answer = call('Head', path(key))
      return answer.is_a?(Net::HTTPSuccess) if [200, 404].include?(answer.code.to_i)

      list('prefix' => path(key), 'max-keys' => '1').include?("<Key>#{path(key)}</Key>")
    end

    def driver
      's3_v2'
    end

    def repositories?
      each_page(REPOSITORIES) { |page| return true if page.include?('/_manifests/') }
      false
    end

    def objects(prefix)
      found = []
      each_page(prefix) do |page|
        page.scan(%r{<Contents>.*?</Contents>}m) do |object|
          key = CGI.unescapeHTML(object[%r{<Key>(.*?)</Key>}m, 1])
          found << [@root.empty? ? key : key.delete_prefix("#{@root}/"), object[%r{<Size>(\d+)</Size>}, 1].to_i]
        end
      end
      found
    end

    def get(key)
      answer = call('Get', path(key))
      answer.code == '404' ? nil : expect(answer, 'GetObject').body
    end

    def put(key, body)
      expect(call('Put', path(key), body: body), 'PutObject')
    end

    def delete(key)
      expect(call('Delete', path(key)), 'DeleteObject')
    end

    private

    def path(key)
      @root.empty? ? key : "#{@root}/#{key}"
    end

    def each_page(prefix)
      more = {}
      loop do
        page = list({ 'prefix' => path(prefix) }.merge(more))
        yield page
        token = page[%r{<NextContinuationToken>(.*?)</NextContinuationToken>}m, 1] or return
        more = { 'continuation-token' => CGI.unescapeHTML(token) }
      end
    end

    def list(query)
      expect(call('Get', '', query: { 'list-type' => '2' }.merge(query)), 'ListObjectsV2').body
    end

    def expect(answer, operation)
      return answer if answer.is_a?(Net::HTTPSuccess)

      code = answer.body.to_s[%r{<Code>(\w+)</Code>}, 1]
      raise Error, "operation error S3: #{operation}, https response error StatusCode: #{answer.code}, api error #{code}"
    end

    def call(method, key, query: {}, body: '')
      uri = URI("#{endpoint}/#{@options['bucket']}/#{key}")
      uri.query = query.sort.map { |name, value| "#{name}=#{CGI.escape(value).gsub('+', '%20')}" }.join('&') unless query.empty?
      request = Net::HTTP.const_get(method).new(uri)
      request.body = body if method == 'Put'
      signed(request, uri, body).each { |name, value| request[name] = value }
      Net::HTTP.start(uri.hostname, uri.port, nil, use_ssl: uri.scheme == 'https', open_timeout: 10, read_timeout: 30) { |http| http.request(request) }
    rescue SystemCallError, SocketError, Timeout::Error, OpenSSL::SSL::SSLError => e
      raise Error, "operation error S3: exceeded maximum number of attempts, #{e.message}"
    end

    def endpoint
      endpoint = @options['regionendpoint'].to_s.chomp('/')
      return "https://s3.#{@options['region']}.amazonaws.com" if endpoint.empty?

      endpoint.include?('://') ? endpoint : "https://#{endpoint}"
    end

    def signed(request, uri, body)
      time = Time.now.utc.strftime('%Y%m%dT%H%M%SZ')
      hash = OpenSSL::Digest::SHA256.hexdigest(body)
      headers = { 'host' => uri.port == uri.default_port ? uri.hostname : "#{uri.hostname}:#{uri.port}",
                  'x-amz-content-sha256' => hash, 'x-amz-date' => time }
      id, secret, token = keys
      headers['x-amz-security-token'] = token if token
      scope = "#{time[0, 8]}/#{@options['region']}/s3/aws4_request"
      names = headers.keys.join(';')
      text = [request.method, uri.path, uri.query.to_s, *headers.map { |name, value| "#{name}:#{value}" }, '', names, hash].join("\n")
      to_sign = ['AWS4-HMAC-SHA256', time, scope, OpenSSL::Digest::SHA256.hexdigest(text)].join("\n")
      key = scope.split('/').inject("AWS4#{secret}") { |last, part| OpenSSL::HMAC.digest('SHA256', last, part) }
      signature = OpenSSL::HMAC.hexdigest('SHA256', key, to_sign)
      headers.merge('authorization' => "AWS4-HMAC-SHA256 Credential=#{id}/#{scope}, SignedHeaders=#{names}, Signature=#{signature}")
    end

    def keys
      return @options.values_at('accesskey', 'secretkey') unless @options['accesskey'].to_s.empty?

      @keys ||= of_the_server
    end

    def of_the_server
      uri = URI(ENV.fetch('AWS_EC2_METADATA_SERVICE_ENDPOINT', METADATA))
      Net::HTTP.start(uri.hostname, uri.port, nil, open_timeout: 2, read_timeout: 5) do |http|
        token = http.put('/latest/api/token', '', 'X-aws-ec2-metadata-token-ttl-seconds' => '300').body
        read = ->(name) { http.get("/latest/meta-data/iam/security-credentials/#{name}", 'X-aws-ec2-metadata-token' => token).body }
        JSON.parse(read.call(read.call('').lines.first.to_s.strip)).values_at('AccessKeyId', 'SecretAccessKey', 'Token')
      end
    rescue SystemCallError, SocketError, Timeout::Error, JSON::ParserError => e
      raise Error, "failed to refresh cached credentials, no EC2 IMDS role found, #{e.class}"
    end
  end

  DRIVERS = { 's3' => Bucket, 'filesystem' => Directory }.freeze
end
