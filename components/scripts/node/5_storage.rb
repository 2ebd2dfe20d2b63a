# frozen_string_literal: true

# Whether the storage may be used as the order says, found out before anything is touched.
module Storage
  DRIVERS = %w[s3 s3_v2 s3aws gcs azure azure_v2 swift oss filesystem inmemory].freeze

  # Where a registry's images really are: {'driver', 'place'}; equal for two registries on one storage.
  def self.identity(config)
    storage = (config || {})['storage'] || {}
    name, driver = storage.find { |key, _| DRIVERS.include?(key) }
    return nil unless name

    driver ||= {}
    root = trimmed(driver['rootdirectory'])
    place = case name
            when /\As3/ then [server(driver['regionendpoint']), driver['bucket'], root]
            when 'filesystem' then directory("/#{root}")
            when /\Aazure/ then azure(driver, root)
            when 'swift'
              [address(driver['authurl']).sub(%r{/v[0-9.]+\z}, ''), driver['container'], trimmed(driver['prefix'])]
            when 'oss' then [server(driver['endpoint']), driver['bucket'], root]
            else [driver['bucket'], root, *universe(driver)]
            end
    { 'driver' => name.start_with?('s3') ? 's3' : name.sub('_v2', ''), 'place' => place }
  end

  # Google clouds of one's own have buckets of the same names.
  def self.universe(driver)
    [driver['universe_domain'].to_s.downcase] - ['', 'googleapis.com']
  end

  def self.trimmed(path)
    path.to_s.gsub(%r{\A/+|/+\z}, '')
  end

  # The account by its service's host, the container, the root; paths begin with // where that was asked for (since 16.0
  # no longer without being asked).
  def self.azure(driver, root)
    url = driver['serviceurl'].to_s
    host = url[%r{\A[a-z]+://([^/]+)}, 1].to_s
    host = "#{driver['accountname']}.blob.#{driver['realm'] || 'core.windows.net'}" if url.empty?
    legacy = driver['legacyrootprefix'] == true || driver['trimlegacyrootprefix'] == false
    [address(host), driver['container'], legacy ? "/#{root}" : root]
  end

  # Where a URL leads, however it is written.
  def self.address(url)
    host, slash, path = url.to_s.downcase.sub(%r{\A[a-z]+://}, '').partition('/')
    host = host.gsub(/\.+(?=:|\z)/, '').sub(/:(80|443)\z/, '')
    host = host.sub(/\A\[(.*)\]/) { "[#{compressed(Regexp.last_match(1))}]" }
    "#{host}#{slash}#{path}".sub(%r{/+\z}, '')
  end

  def self.compressed(address)
    IPAddr.new(address).to_s
  rescue IPAddr::Error
    address
  end

  # nil for AWS and Alibaba Cloud themselves, whether or not their endpoint is written out: a bucket's name says it all.
  def self.server(endpoint)
    plain = address(endpoint)
    known = /\A([a-z0-9-]+\.)*(s3[a-z0-9.-]*\.amazonaws\.com(\.cn)?|oss-[a-z0-9-]+\.aliyuncs\.com)\z/
    plain.empty? || plain.match?(known) ? nil : plain
  end

  # [whose disk, path on it]. A network file system is one for every host that mounts it, wherever it mounts it; any
  # other disk is this host's own.
  def self.directory(path)
    existing = path
    existing = File.dirname(existing) until File.exist?(existing)
    said = IO.popen(['df', '--output=source,fstype,target', '--', existing], &:read)
    source, type, target = said.lines.last.to_s.split
    return on_network(source, target, path) if type =~ /\A(nfs|cifs|smb|ceph|gluster|fuse|lustre|gfs|ocfs)/

    [machine, path.delete_prefix('/')]
  end

  def self.machine
    id = Files.read('/etc/machine-id').to_s.strip
    id.empty? ? `hostname`.strip : id
  end

  def self.on_network(source, target, path)
    [source, path.delete_prefix(target.chomp('/')).delete_prefix('/')]
  end

  # The registry would come up on the new storage empty, or without the metadata of its images.
  def self.refuse_to_hide_images(order)
    config = Omnibus.registry_config or return
    move = move(order, identity(config))
    refuse_move(config, move) if move && !order['data_moved']
    return refuse_import(order, config) if order['database']

    refuse_database(config) unless database?(config) == false || (database?(config).nil? && order['data_moved'])
  end

  # A registry that is given a database looks for metadata there only, and does not start where the storage has them.
  def self.refuse_import(order, config)
    return if order['data_moved'] || database?(config) || images?(config) == false

    raise Failure.new("refused: its registry's metadata database would be switched on",
                      cause: 'the registry holds images, or could not be asked, ' \
                             'and their metadata are not in the database',
                      remedy: 'import them first (`gitlab-ctl registry-database import`, GitLab docs, "Container ' \
                              'registry metadata database"), then `pulumi config set --path storage.data_moved true`')
  end

  # What the registry would move from and to; nil where it stays.
  def self.move(order, now)
    wanted = wanted(order['storage'])
    return now && wanted != now ? "from #{now['driver']} #{shown(now)} to #{order['storage']['shown']}" : nil if wanted

    stated = Files.read(Include::SETTINGS).to_s.include?("registry['storage']")
    now && stated ? "from #{now['driver']} #{shown(now)} back to what gitlab.rb says" : nil
  end

  # A place as people know it: a disk's own name says nothing to them, and the root of a bucket has none.
  def self.shown(identity)
    named = identity['place'].compact.reject(&:empty?)
    identity['driver'] == 'filesystem' ? named.last : named.join('/')
  end

  # The place that the order says, as `identity` says it.
  def self.wanted(storage)
    return unless storage

    place = storage['driver'] == 'filesystem' ? directory("/#{storage['place'].first}") : storage['place']
    { 'driver' => storage['driver'], 'place' => place }
  end

  def self.refuse_move(config, move)
    known = images?(config)
    return if known == false

    images = known ? 'the registry holds images' : 'the registry could not be asked whether it holds images'
    raise Failure.new("refused: its registry would move #{move}",
                      cause: "#{images}, and after the change it would not find them",
                      remedy: 'copy the images to the new place (docs/storage.md, "Images that are there already"), ' \
                              'then `pulumi config set --path storage.data_moved true`')
  end

  def self.refuse_database(config)
    return if images?(config) == false

    raise Failure.new("refused: its registry's metadata database would be switched off",
                      cause: 'tags and manifests of its images are in that database, or may be; ' \
                             'without it they would not be found',
                      remedy: 'push the images again to a registry without the database (for example with ' \
                              '`skopeo sync`); where you know that the database holds nothing, ' \
                              '`pulumi config set --path storage.data_moved true`')
  end

  # Whether the images' metadata are in the database: true, false, nil where it cannot be seen. "prefer" uses the
  # database unless the metadata are in the storage already; only the files tell.
  def self.database?(config)
    mode = config.dig('database', 'enabled').to_s
    return mode == 'true' unless mode == 'prefer'

    root = config.dig('storage', 'filesystem', 'rootdirectory')
    root && File.exist?("#{root}/docker/registry/lockfiles/database-in-use")
  end

  def self.images?(config)
    root = config.dig('storage', 'filesystem', 'rootdirectory')
    return !Dir.glob("#{root}/docker/registry/v2/repositories/*").empty? if root && database?(config) == false

    key = Files.read(Omnibus.key)
    key && Registry.local.images?(Token.new(key, config.dig('auth', 'token', 'issuer')))
  end

  # The rights that go with the keys, tried; a write that must be refused is tried too. Says what it found.
  def self.prove(order)
    trusting(order) { rights(order).merge(LockFiles.new(order).prove) }
  end

  # Certificates that the node trusts after the reconfigure only.
  def self.trusting(order, &block)
    Http.trusting(order['files'].values_at(*Omnibus.trusted(order['files'])), &block)
  end

  def self.rights(order)
    access = order['storage'] or return {}
    return disk(order, access) if access['driver'] == 'filesystem'
    return untried(access) unless access['driver'] == 's3'

    s3 = S3.new(access['access_key'] ? access : access.merge(of_the_server(order)))
    expect(order, s3, 'read', 200) { s3.read }
    if access['write']
      expect(order, s3, 'write', 200) { s3.write }
      return { "storage #{s3.where} can be read and written with this site's key" => 'yes' }
    end
    expect(order, s3, 'put an object', 403) { s3.put }
    expect(order, s3, 'delete an object', 403) { s3.delete }
    { "storage #{s3.where} can be read with this site's key" => 'yes',
      "storage #{s3.where} refuses a write and a delete with it" => '403' }
  end

  def self.untried(access)
    { "rights at #{access['shown']} (tried for S3 only)" =>
        access['write'] ? 'not tried' : 'not tried: see to it that the credentials can only read' }
  end

  # Another site's server could mount it as well, and nobody would know of it.
  def self.disk(order, access)
    path = "/#{access['place'].first}"
    where = directory(path)
    return { "directory #{path} is on this server's own disk" => 'yes' } if where.first == machine

    raise Failure.new("refused: the directory #{path} is not on this server's own disk",
                      cause: "it is on #{where.first}, and another site may have its images there too",
                      remedy: "name a directory on the disk in sites.#{order['site']}.storage, " \
                              'or `keep` the storage that the registry has')
  end

  # A role that was given to a server a moment ago is not known to it at once.
  def self.of_the_server(order)
    answer = Http.until(order['storage']['patience']) do
      code, found, why = InstanceProfile.credentials
      { ok: code == 200 || Http.final?(why), code: code, found: found, why: why }
    end
    return answer[:found] if answer[:code] == 200

    raise Failure.new('the server has no credentials of its own',
                      cause: 'the instance metadata service ' \
                             "#{answer[:code].zero? ? 'cannot be asked:' : "answered #{answer[:code]}"} " \
                             "#{answer[:found].to_s.lines.first.to_s.strip[0, 200]}",
                      remedy: 'check that the instance has its instance profile and that its metadata service is on, ' \
                              'then `pulumi up` again')
  end

  def self.expect(order, s3, what, status)
    # Keys and policies that this stack has just made are not known everywhere at once.
    answer = Http.until(order['storage']['patience']) do
      code, body, why = yield
      hopeless = %w[SignatureDoesNotMatch NoSuchBucket].include?(body[%r{<Code>(\w+)</Code>}, 1])
      { ok: code == status || Http.final?(why) || hopeless, code: code, body: body, why: why }
    end
    return if answer[:code] == status
    raise unreached(order, s3, what, answer) if answer[:code].zero?

    got = [answer[:code], answer[:body][%r{<Code>(\w+)</Code>}, 1] || answer[:body][0, 200]].join(' ').strip
    raise status == 403 ? writable(order, s3, what, got) : unusable(order, s3, what, got)
  end

  def self.writable(order, s3, what, got)
    Failure.new('the proof failed: this secondary could change the shared storage',
                cause: "an attempt to #{what} in #{s3.where} with the key of #{order['site']} was answered #{got}, " \
                       "not 403; Geo's worker could delete the primary's images",
                remedy: "take the right to write from #{order['site']}'s key (IAM policy of its user, " \
                        'policy of the bucket), then `pulumi up` again')
  end

  def self.unusable(order, s3, what, got)
    Failure.new("the proof failed: the storage does not answer to this site's key",
                cause: "an attempt to #{what} #{s3.where} with the key of #{order['site']} was answered #{got}",
                remedy: "check sites.#{order['site']}.s3_keys if you gave them, the bucket's name and region, " \
                        "and the policy of the key's user; then `pulumi up` again")
  end

  def self.unreached(order, s3, what, answer)
    Failure.new('the proof failed: the storage does not answer this node',
                cause: "an attempt to #{what} #{s3.where} with the key of #{order['site']}: #{answer[:body]}",
                remedy: Http.remedy(answer[:why]) do
                  'look at name resolution, firewall and TLS certificate between this node and the storage; ' \
                    'then `pulumi up` again'
                end)
  end
end
