#!/usr/bin/ruby --disable-gems
# frozen_string_literal: true

Encoding.default_external = Encoding::UTF_8
require 'fileutils'
require 'socket'
require_relative 'lab'
require_relative 'replica'

# A real PostgreSQL, Debian's, for the metadata database of GitLab's own registry: on hosts that have that registry, and
# only while the database is on. Kept of omnibus' PostgreSQL: the socket, the role and the database `registry`, the
# migrations in each reconfigure, and that a secondary's is a standby of the primary's, which nobody can write to. Not
# kept: GitLab's own tables (Postgresql, SiteDatabase), who may connect, and standbys of created hosts.
module RegistryPostgresql
  SERVICE = 'registry-postgresql'
  PROGRAMS = '/usr/lib/postgresql/*/bin'
  REGISTRY = File.expand_path('../bin/registry', __dir__)
  CONFIG = '/var/opt/gitlab/registry/config.yml'
  DIRECTORY = '/var/opt/gitlab/postgresql'
  # The directory is one for all hosts of the lab, and PostgreSQL is not: the socket there leads to each host's own.
  SOCKET = "#{DIRECTORY}/.s.PGSQL.5432"
  RUN = '/run/registry-postgresql'
  DATA = "/var/opt/gitlab/geo-postgresql/registry-data-#{Socket.gethostname}"
  # Where standbys find the primary's.
  STREAM = "#{DIRECTORY}/registry-stream"
  USER = 'gitlab-psql'
  SECONDS = 60
  # It loses nothing here but what a power cut of the whole machine would lose.
  OPTIONS = {
    'listen_addresses' => '', 'fsync' => 'off', 'shared_buffers' => '16MB', 'max_connections' => '100',
    'max_locks_per_transaction' => '512',
    'min_wal_size' => '2MB', 'max_wal_size' => '32MB', 'log_min_messages' => 'warning'
  }.freeze

  class << self
    # Whether this host, with these settings, has one.
    def wanted?(settings)
      gitlabs_own? && managed?(settings)
    end

    # Whether the registry's database is in the PostgreSQL that omnibus has on this node.
    def managed?(settings)
      registry = settings['registry']
      return false unless registry['enable'] && settings['postgresql']['enable'] != false

      database = registry['database'] || {}
      %w[true prefer].include?(database['enabled'].to_s) && database['host'] == DIRECTORY
    end

    # The stand-in has none of it.
    def gitlabs_own?
      File.binread(REGISTRY, 2) != '#!'
    end

    def standby?
      directory = Lab.path(DIRECTORY)
      (File.directory?(directory) && !File.writable?(directory)) || Replica.here?
    end

    # What a reconfigure does once it runs: RuntimeError with chef's words where that fails.
    def prepare(migrate:)
      objects if gitlabs_own?
      return unless migrate

      puts '  * registry_database_migrations[registry] action run'
      return if gitlabs_own? ? migrated? : !refused?

      raise 'bash_hide_env[migrate registry database: registry] (registry::database_migrations line 5) had an error: ' \
            "Mixlib::ShellOut::ShellCommandFailed: Expected process to exit with [0], but received '1'"
    end

    # Becomes PostgreSQL.
    def serve
      FileUtils.mkdir_p(standby? ? [RUN, DATA] : [RUN, DATA, STREAM])
      FileUtils.chown(USER, USER, standby? ? [RUN, DATA] : [RUN, DATA, STREAM])
      File.chmod(0o700, DATA)
      fill unless File.exist?("#{DATA}/PG_VERSION")
      link unless standby?
      options = OPTIONS.merge('unix_socket_directories' => standby? ? RUN : "#{RUN},#{STREAM}")
      exec(*as(USER), program('postgres'), '-D', DATA, *options.flat_map { |name, value| ['-c', "#{name}=#{value}"] })
    end

    private

    def objects
      ready
      return if standby?

      create('pg_roles WHERE rolname', 'CREATE ROLE registry LOGIN')
      create('pg_database WHERE datname', 'CREATE DATABASE registry OWNER registry')
    end

    def migrated?
      system('chpst', '-u', 'registry:registry', REGISTRY, 'database', 'migrate', 'up', CONFIG)
    end

    # What stands for the migrations where there is no database: a standby's refusal, in the registry's words.
    def refused?
      return false unless standby?

      puts 'failed to prepare Up plan: ERROR: cannot execute CREATE TABLE in a read-only transaction (SQLSTATE 25006)'
      true
    end

    def program(name)
      Dir["#{PROGRAMS}/#{name}"].max || abort("PostgreSQL's #{name} is not here: apt-get install postgresql")
    end

    def as(user)
      ['chpst', '-u', "#{user}:#{user}"]
    end

    def fill
      done = if standby?
               system(*as(USER), program('pg_basebackup'), '-h', STREAM, '-U', USER, '-D', DATA, '-R', '-c', 'fast', '-X', 'stream')
             else
               system(*as(USER), program('initdb'), '-D', DATA, '-U', USER, '-A', 'trust', '-E', 'UTF8', '--locale=C',
                      '--wal-segsize=1', '--no-sync')
             end
      return if done

      FileUtils.rm_rf(Dir["#{DATA}/*"])
      sleep 1
      abort 'FATAL:  could not make the database; the next attempt follows'
    end

    def link
      File.symlink("#{RUN}/.s.PGSQL.5432", SOCKET) unless File.symlink?(SOCKET)
    end

    def ready
      (SECONDS * 5).times do
        return if system(program('pg_isready'), '-q', '-h', RUN, '-U', USER)

        sleep 0.2
      end
      raise "PostgreSQL did not respond before service checks were exhausted (#{SECONDS} s)"
    end

    def create(where, statement)
      query = [program('psql'), '-h', RUN, '-U', USER, '-d', 'postgres', '-v', 'ON_ERROR_STOP=1', '-Atc']
      return if IO.popen([*query, "SELECT 1 FROM #{where} = 'registry'"], &:read).strip == '1'

      system(*query, statement) || raise("#{statement} failed")
    end
  end
end

if $PROGRAM_NAME == __FILE__
  $stdout.sync = true
  RegistryPostgresql.serve
end
