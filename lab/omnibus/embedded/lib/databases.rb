# frozen_string_literal: true

require 'json'
require_relative 'lab'

# A JSON document that several hosts read and write: what stands for a table or two of PostgreSQL.
class Document
  def initialize(path, empty)
    @path = Lab.path(path)
    @empty = empty
  end

  def read
    JSON.parse(File.read(@path))
  rescue Errno::ENOENT
    JSON.parse(JSON.generate(@empty))
  end

  # Read, change in the block, write: one at a time, and readers see it whole.
  def update
    File.open("#{@path}.lock", File::RDWR | File::CREAT, 0o666) do |lock|
      lock.flock(File::LOCK_EX)
      data = read
      result = yield data
      File.write("#{@path}.new", JSON.pretty_generate(data))
      File.rename("#{@path}.new", @path)
      result
    end
  end
end

# GitLab's database. A secondary has the primary's, replicated as it is written, and cannot write to it; that is also
# how a site is known to be a secondary here (in reality by the geo_nodes table and geo_node_name).
class SiteDatabase
  DIRECTORY = '/var/opt/gitlab/postgresql'
  EMPTY = { 'container_repositories' => [], 'geo_events' => [] }.freeze

  def initialize
    @document = Document.new("#{DIRECTORY}/gitlab.json", EMPTY)
  end

  def read_only?
    !File.writable?(Lab.path(DIRECTORY)) || File.exist?(Lab.path("#{DIRECTORY}/standby.signal"))
  end

  # {'name', 'url'} of the site that is the primary, as `gitlab-ctl set-geo-primary-node` states it.
  def primary_node=(node)
    raise Errno::EROFS, DIRECTORY if read_only?

    @document.update { |data| data['geo_nodes'] = [node.merge('primary' => true)] }
  end

  # [{'id', 'path'}]
  def repositories
    @document.read['container_repositories']
  end

  # [{'id', 'container_repository_id'}] that came after the event `id`
  def events_after(id)
    @document.read['geo_events'].select { |event| event['id'] > id }
  end

  def last_event
    @document.read['geo_events'].map { |event| event['id'] }.max || 0
  end

  def create_repository(path)
    @document.update do |data|
      known = data['container_repositories']
      known << { 'id' => known.size + 1, 'path' => path } unless known.any? { |one| one['path'] == path }
    end
  end

  # An event for a repository that GitLab knows; false for any other.
  def create_event(path)
    @document.update do |data|
      repository = data['container_repositories'].find { |one| one['path'] == path }
      next false unless repository

      data['geo_events'] << { 'id' => data['geo_events'].size + 1, 'container_repository_id' => repository['id'] }
      true
    end
  end
end

# A secondary's own tracking database: what Geo::ContainerRepositoryRegistry has there, with its numbers for states.
class TrackingDatabase
  DIRECTORY = '/var/opt/gitlab/geo-postgresql'
  STATES = { pending: 0, started: 1, synced: 2, failed: 3 }.freeze

  def initialize
    @document = Document.new("#{DIRECTORY}/tracking.json", 'event_cursor' => nil, 'container_repository_registries' => [])
  end

  def cursor
    @document.read['event_cursor']
  end

  def cursor=(id)
    @document.update { |data| data['event_cursor'] = id }
  end

  def registries
    @document.read['container_repository_registries']
  end

  # {'container_repository_id', 'state', 'retry_count', 'retry_at', 'last_sync_failure', 'last_synced_at'}
  def set(repository_id, state, extra = {})
    @document.update do |data|
      all = data['container_repository_registries']
      one = all.find { |row| row['container_repository_id'] == repository_id }
      all << (one = { 'container_repository_id' => repository_id, 'retry_count' => 0 }) unless one
      one.merge!('state' => STATES.fetch(state), **extra)
    end
  end

  # Only one worker of the site syncs a repository at a time. (In reality the lease also outlives a worker that was
  # killed, for up to 8 hours.)
  def lease(repository_id)
    File.open(Lab.path("#{DIRECTORY}/lease-#{repository_id}.lock"), File::RDWR | File::CREAT, 0o666) do |file|
      yield if file.flock(File::LOCK_EX | File::LOCK_NB)
    end
  end
end
