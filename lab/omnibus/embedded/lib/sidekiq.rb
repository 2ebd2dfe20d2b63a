# frozen_string_literal: true

Encoding.default_external = Encoding::UTF_8
require 'time'
require_relative 'container_repository_sync'
require_relative 'rails_config'

# A stand-in for Sidekiq and the Geo log cursor of a secondary, as far as container repositories go. Simulated: it reads
# events and repositories from the replicated database and keeps its states in the site's own; events that come while
# replication is off are passed over; what was never synced is searched for regularly; a sync that fails as a whole is
# tried again; gitlab.yml is read once, at the start. Not simulated: ten at a time, verification, the real waiting times.
class Sidekiq
  LOOK_SECONDS = 0.3
  LONGEST_RETRY = 15

  def initialize
    @config = RailsConfig.new
    @database = SiteDatabase.new
    @tracking = TrackingDatabase.new
    @next_backfill = Time.at(0)
  end

  def run
    sleep Lab.settings['sidekiq_boot_seconds']
    log('INFO', @database.read_only? ? 'Booted on a secondary site' : 'Booted on a primary site')
    log('INFO', 'Container Registry replication is not enabled') unless replicating?
    loop do
      look
      sleep LOOK_SECONDS
    end
  end

  # One pass over events, backfill and due retries.
  def look
    return unless @database.read_only?

    events
    return unless replicating?

    backfill
    due.each { |repository| sync(repository) }
  end

  private

  def replicating?
    @config.replication['enabled'] == true
  end

  # A new secondary starts with the last event: backfill copies what was pushed before.
  def events
    return @tracking.cursor = @database.last_event if @tracking.cursor.nil?

    news = @database.events_after(@tracking.cursor)
    return if news.empty?

    news.map { |event| event['container_repository_id'] }.uniq.each { |id| @tracking.set(id, :pending) } if replicating?
    @tracking.cursor = news.last['id']
  end

  def backfill
    return if Time.now < @next_backfill

    @next_backfill = Time.now + Lab.settings['backfill_seconds']
    known = @tracking.registries.map { |row| row['container_repository_id'] }
    @database.repositories.reject { |one| known.include?(one['id']) }.each { |one| @tracking.set(one['id'], :pending) }
  end

  # Pending; failed, and time to try again; started by a worker that is no more (its lease is free).
  def due
    paths = @database.repositories.to_h { |one| [one['id'], one['path']] }
    rows = @tracking.registries.select do |row|
      row['state'] < TrackingDatabase::STATES[:synced] ||
        (row['state'] == TrackingDatabase::STATES[:failed] && Time.parse(row['retry_at']) <= Time.now)
    end
    rows.map { |row| row.merge('path' => paths[row['container_repository_id']]) }.select { |row| row['path'] }
  end

  def sync(row)
    id = row['container_repository_id']
    @tracking.lease(id) do
      log('INFO', "#{row['path']}: marking sync as started")
      @tracking.set(id, :started)
      ContainerRepositorySync.new(row['path'], @config, method(:log)).execute
      # Even if some tags failed: "synced" does not prove that they were copied.
      @tracking.set(id, :synced, 'retry_count' => 0, 'last_sync_failure' => nil, 'last_synced_at' => Time.now.utc.iso8601)
    rescue StandardError => e
      failed(row, e)
    end
  end

  def failed(row, error)
    log('ERROR', "#{row['path']}: Container repository sync failed: #{error.message}")
    tries = row['retry_count'] + 1
    @tracking.set(row['container_repository_id'], :failed, 'retry_count' => tries, 'last_sync_failure' => error.message,
                                                           'retry_at' => (Time.now + [2**tries, LONGEST_RETRY].min).iso8601(3))
  end

  def log(severity, message)
    puts JSON.generate(severity: severity, time: Time.now.utc.iso8601(3), class: 'Geo::ContainerRepositorySync', message: message)
  end
end

if $PROGRAM_NAME == __FILE__
  $stdout.sync = true
  Sidekiq.new.run
end
