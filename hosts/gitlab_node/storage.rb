# frozen_string_literal: true

# Checks whether the storage can be used as the payload says, before anything is changed.
module Storage
  DRIVERS = %w[s3 s3_v2 s3aws gcs azure azure_v2 swift oss filesystem inmemory].freeze

  # The identity of a registry's storage: {'driver', 'place'}; equal for two registries on the same storage.
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

  # Separate Google universes can have buckets with the same name.
  def self.universe(driver)
    [driver['universe_domain'].to_s.downcase] - ['', 'googleapis.com']
  end

  def self.trimmed(path)
    path.to_s.gsub(%r{\A/+|/+\z}, '')
  end

  # The account by its service's host, the container, the root. Paths begin with // only if that is configured (until
  # 16.0 by default).
  def self.azure(driver, root)
    url = driver['serviceurl'].to_s
    host = url[%r{\A[a-z]+://([^/]+)}, 1].to_s
    host = "#{driver['accountname']}.blob.#{driver['realm'] || 'core.windows.net'}" if url.empty?
    legacy = driver['legacyrootprefix'] == true || driver['trimlegacyrootprefix'] == false
    [address(host), driver['container'], legacy ? "/#{root}" : root]
  end

  # The canonical form of a URL's address.
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

  # nil for AWS and Alibaba Cloud, with or without an explicit endpoint: there a bucket's name is globally unique.
  def self.server(endpoint)
    plain = address(endpoint)
    known = /\A([a-z0-9-]+\.)*(s3[a-z0-9.-]*\.amazonaws\.com(\.cn)?|oss-[a-z0-9-]+\.aliyuncs\.com)\z/
    plain.empty? || plain.match?(known) ? nil : plain
  end

  # [owner of the disk, path on it]. A network file system is the same for every host and mount point; any other disk
  # belongs to this host.
  def self.directory(path)
    existing = path
    existing = File.dirname(existing) until File.exist?(existing)
    output = IO.popen(['df', '--output=source,fstype,target', '--', existing], &:read)
    source, type, target = output.lines.last.to_s.split
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

  # Refuses changes after which the registry would be empty, or without the metadata of its images.
  def self.refuse_to_hide_images(order)
    config = Omnibus.registry_config or return
    move = move(order, identity(config))
    refuse_move(config, move) if move && !order['data_moved']
    return refuse_import(order, config) if order['database']

    refuse_database(order, config) unless order['data_moved'] || database?(config) == false
  end

  # A registry with a database reads metadata only from there, and does not start if the storage contains metadata.
  def self.refuse_import(order, config)
    imported = Import.complete?(Database.new(order).where)
    return if order['data_moved'] || imported || database?(config) || images?(config) == false

    raise Failure.new('metadata-database-switched-on', "refused: its registry's metadata database would be switched on",
                      cause: 'the registry holds images, or did not answer, ' \
                             'and their metadata is not in the database',
                      remedy: "import it first: #{Import.command(order)} " \
                              '(docs/storage.md, "Import of existing images")')
  end

  # The registry's former and new storage, as text; nil if they are the same.
  def self.move(order, now)
    if (desired = desired(order['storage']))
      return now && desired != now ? "from #{now['driver']} #{shown(now)} to #{order['storage']['shown']}" : nil
    end

    stated = Files.read(Include::SETTINGS).to_s.lines.reject { |line| line.include?(Import::MARK) }
    managed = stated.any? { |line| line.include?("registry['storage']") }
    now && managed ? "from #{now['driver']} #{shown(now)} back to what gitlab.rb says" : nil
  end

  # A storage as text: without the name of the disk, and without an empty root.
  def self.shown(identity)
    parts = identity['place'].compact.reject(&:empty?)
    identity['driver'] == 'filesystem' ? parts.last : parts.join('/')
  end

  # The storage in the payload, in the form of `identity`.
  def self.desired(storage)
    return unless storage

    place = storage['driver'] == 'filesystem' ? directory("/#{storage['place'].first}") : storage['place']
    { 'driver' => storage['driver'], 'place' => place }
  end

  def self.refuse_move(config, move)
    known = images?(config)
    return if known == false

    images = known ? 'the registry holds images' : 'the registry did not answer whether it holds images'
    raise Failure.new('storage-would-move', "refused: its registry would move #{move}",
                      cause: "#{images}, and after the change it would not find them",
                      remedy: 'copy the images to the new storage (docs/storage.md, ' \
                              '"Existing images"), ' \
                              'then `pulumi config set --path storage.data_moved true`')
  end

  def self.refuse_database(order, config)
    return if images?(config) == false

    raise Failure.new('metadata-database-switched-off',
                      "refused: its registry's metadata database would be switched off",
                      cause: 'tags and manifests of its images are in that database, or could be; ' \
                             'without it they would not be found',
                      remedy: "keep it: `pulumi config set --path sites.#{order['site']}.metadata_database managed` " \
                              'if it is in the PostgreSQL of the Linux package, otherwise describe it there; ' \
                              'if you know that the database is empty, ' \
                              '`pulumi config set --path storage.data_moved true`')
  end

  # Whether the images' metadata is in the database: true, false, or nil if it is unknown. "prefer" uses the database
  # unless the storage already contains the metadata: the running registry says it, or its lock file.
  def self.database?(config)
    mode = config.dig('database', 'enabled').to_s
    return mode == 'true' unless mode == 'prefer'

    answer = token(config) && Registry.local.database?(token(config))
    return answer unless answer.nil?

    root = config.dig('storage', 'filesystem', 'rootdirectory')
    root && File.exist?("#{root}/docker/registry/lockfiles/database-in-use")
  end

  def self.token(config)
    key = Files.read(Omnibus.key)
    key && Token.new(key, config.dig('auth', 'token', 'issuer'))
  end

  def self.images?(config)
    root = config.dig('storage', 'filesystem', 'rootdirectory')
    return !Dir.glob("#{root}/docker/registry/v2/repositories/*").empty? if root && database?(config) == false

    token(config) && Registry.local.images?(token(config))
  end

  # Tests the permissions of the keys, including that a write is refused. Returns {check => answer}.
  def self.prove(order)
    trusting(order) { permissions(order).merge(LockFiles.new(order).prove) }
  end

  # For certificates that the node trusts only after the reconfigure.
  def self.trusting(order, &block)
    Http.trusting(order['files'].values_at(*Omnibus.trusted(order['files'])), &block)
  end

  def self.permissions(order)
    access = order['storage'] or return {}
    return disk(order, access) if access['driver'] == 'filesystem'
    return untested(access) unless access['driver'] == 's3'

    s3 = S3.new(s3_access(order))
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

  def self.untested(access)
    { "permissions at #{access['shown']} (tested for S3 only)" =>
        access['write'] ? 'not tested' : 'not tested: make sure that the credentials are read-only' }
  end

  # A node of another site could mount a network file system as well, without anyone noticing.
  def self.disk(order, access)
    path = "/#{access['place'].first}"
    where = directory(path)
    return { "directory #{path} is on this node's local disk" => 'yes' } if where.first == machine

    raise Failure.new('storage-directory-not-local', "refused: the directory #{path} is not on this node's local disk",
                      cause: "it is on #{where.first}, and another site may have its images there too",
                      remedy: "use a directory on the local disk in sites.#{order['site']}.storage, " \
                              'or `keep` the storage that the registry has')
  end

  # With the keys of the payload, or of the instance.
  def self.s3_access(order)
    access = order['storage']
    access['access_key'] ? access : access.merge(instance_credentials(order))
  end

  # A role that was just attached to an instance takes effect with a delay.
  def self.instance_credentials(order)
    answer = Http.until(order['storage']['patience']) do
      code, keys, why = InstanceProfile.credentials
      { ok: code == 200 || Http.final?(why), code: code, keys: keys, why: why }
    end
    return answer[:keys] if answer[:code] == 200

    raise Failure.new('instance-credentials-missing', 'the instance provides no credentials',
                      cause: 'the instance metadata service ' \
                             "#{answer[:code].zero? ? 'does not answer:' : "answered #{answer[:code]}"} " \
                             "#{answer[:keys].to_s.lines.first.to_s.strip[0, 200]}",
                      remedy: 'check that the instance has its instance profile and that its metadata service ' \
                              'is enabled, then `pulumi up` again')
  end

  def self.expect(order, s3, what, status)
    # Keys and policies that this stack just created take effect with a delay.
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
    Failure.new('storage-writable-by-secondary', 'the proof failed: this secondary could change the shared storage',
                cause: "a request to #{what} in #{s3.where} with the key of #{order['site']} was answered with " \
                       "#{got}; 403 was expected, because Geo's worker could otherwise delete the primary's images",
                remedy: "remove the write permission of #{order['site']}'s key (IAM policy of its user, " \
                        'policy of the bucket), then `pulumi up` again')
  end

  def self.unusable(order, s3, what, got)
    Failure.new('storage-key-refused', "the proof failed: the storage refuses this site's key",
                cause: "a request to #{what} #{s3.where} with the key of #{order['site']} was answered with #{got}",
                remedy: "check sites.#{order['site']}.s3_keys if you set them, the bucket's name and region, " \
                        "and the policy of the key's user; then `pulumi up` again")
  end

  def self.unreached(order, s3, what, answer)
    Failure.new('storage-unreachable', 'the proof failed: the storage does not answer this node',
                cause: "an attempt to #{what} #{s3.where} with the key of #{order['site']}: #{answer[:body]}",
                remedy: Http.remedy(answer[:why]) do
                  'check name resolution, firewall and TLS certificate between this node and the storage; ' \
                    'then `pulumi up` again'
                end)
  end
end
