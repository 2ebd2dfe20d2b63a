# frozen_string_literal: true

require_relative 'databases'
require_relative 'registry_client'
require_relative 'registry_token'

# One repository made equal to the primary's (ee/app/services/geo/container_repository_sync.rb of GitLab). Simulated: the
# primary's list first, then this site's; what only this site has is deleted, by digest; the trouble of a single tag is
# only logged. Not simulated: the subjects that signatures refer to.
class ContainerRepositorySync
  INDEXES = %w[
    application/vnd.docker.distribution.manifest.list.v2+json application/vnd.oci.image.index.v1+json
  ].freeze
  FOREIGN = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip'
  PAUSE = "#{TrackingDatabase::DIRECTORY}/pause-between-listings"
  PAUSED = "#{TrackingDatabase::DIRECTORY}/paused"

  # `log` is called with a severity and a text.
  def initialize(name, config, log)
    @name = name
    @log = log
    @primary = RegistryClient.new(config.replication['primary_api_url'], RegistryToken.pull(config.registry, name))
    @here = RegistryClient.new(config.registry['api_url'], RegistryToken.full(config.registry, name))
  end

  # Raises when the primary's registry cannot be asked at all.
  def execute
    raise 'No valid connection to primary registry' unless @primary.connected?

    wanted = list(@primary)
    pause
    present = list(@here)
    missing = wanted - present
    stale = present - wanted
    copied = missing.count { |tag| try('syncing', tag) { copy(tag) } }
    removed = stale.count { |tag| try('removing', tag) { remove(tag) } }
    @log.call('INFO', "#{@name}: copied #{copied} of #{missing.size}, removed #{removed} of #{stale.size} tags")
  end

  private

  # [[tag, digest]]
  def list(client)
    client.tags(@name).map { |tag| [tag, client.digest(@name, tag)] }
  end

  # For tests: the moment in which a push is deadly where both registries have one storage.
  def pause
    return unless File.exist?(Lab.path(PAUSE))

    File.write(Lab.path(PAUSED), @name)
    sleep 0.02 while File.exist?(Lab.path(PAUSE))
    File.delete(Lab.path(PAUSED))
  end

  def try(what, tag)
    yield
    true
  rescue StandardError => e
    @log.call('ERROR', "Error while #{what} tag #{tag.first} of #{@name}: #{e.message}")
    false
  end

  def copy((tag, _))
    bytes = @primary.manifest(@name, tag)
    copy_parts(manifest = JSON.parse(bytes))
    @here.push_manifest(@name, tag, bytes, type(manifest))
  end

  def copy_parts(manifest)
    parts = manifest['manifests'] || []
    return copy_blobs(manifest) if !INDEXES.include?(manifest['mediaType']) || parts.any? { |part| buildkit?(part) }

    parts.each do |part|
      bytes = @primary.manifest(@name, part['digest'])
      copy_blobs(inner = JSON.parse(bytes))
      @here.push_manifest(@name, part['digest'], bytes, type(inner, part['mediaType']))
    end
  end

  def copy_blobs(manifest)
    layers = manifest['layers'] || manifest['manifests'] || manifest['blobs'] || []
    digests = layers.reject { |layer| layer['mediaType'] == FOREIGN }.map { |layer| layer['digest'] }
    [*digests, manifest.dig('config', 'digest')].compact.each do |digest|
      next if @here.blob?(@name, digest)

      @primary.pull_blob(@name, digest) { |file| @here.push_blob(@name, digest, file) }
    end
  end

  # A cache of BuildKit: an index that lists blobs.
  def buildkit?(part)
    part['mediaType'].to_s.include?('application/vnd.buildkit.cacheconfig')
  end

  def type(manifest, otherwise = nil)
    manifest['mediaType'] || otherwise || 'application/vnd.oci.image.manifest.v1+json'
  end

  # By its digest alone, as GitLab does (remove_tag): a tag whose digest the registry did not say, since it restarts or the
  # tag is only being written, is not deleted by its name.
  def remove((_, digest))
    status = @here.delete_manifest(@name, digest.to_s)
    raise "the registry answered #{status}" unless [202, 404].include?(status)
  end
end
