#!/usr/bin/ruby --disable-gems
# frozen_string_literal: true

Encoding.default_external = Encoding::UTF_8
require 'fileutils'
require 'socket'
require_relative 'lab'
require_relative 'replica'

# A real PostgreSQL, Debian's, for the registry's metadata database: on hosts whose settings put it into the PostgreSQL of
# the Linux package, and only while they do, or where lab.json wants it beforehand, as the Linux package does everywhere
# from 18.3 on. Simulated from the Linux package's PostgreSQL: the socket, who may connect there
# (each account as itself), the role and the database `registry`, the migrations in each reconfigure, and that a secondary's
# is a standby, which nobody can write to. Not simulated: GitLab's own tables (Postgresql, SiteDatabase), connections over
# the network, and that the standby of a created host follows its primary.
module RegistryPostgresql
  SERVICE = 'registry-postgresql'
  PROGRAMS = '/usr/lib/postgresql/*/bin'
  REGISTRY = File.expand_path('../bin/registry', __dir__)
  DIRECTORY = '/var/opt/gitlab/postgresql'
  # The directory is one for all hosts of the lab, and PostgreSQL is not: the socket there leads to each host's own.
  SOCKET = "#{DIRECTORY}/.s.PGSQL.5432"
  RUN = '/run/registry-postgresql'
  DATA = "/var/opt/gitlab/geo-postgresql/registry-data-#{Socket.gethostname}"
  # Where standbys find the primary's.
  STREAM = "#{DIRECTORY}/registry-stream"
  USER = 'gitlab-psql'
  SECONDS = 60
  # pg_isready is asked as often as omnibus asks it, after shorter pauses.
  CHECKS = 20
  OBJECTS = {
    'pg_roles WHERE rolname' => 'CREATE ROLE registry LOGIN', 'pg_database WHERE datname' => 'CREATE DATABASE registry OWNER registry'
  }.freeze
  IDENTITIES = "gitlab registry registry\ngitlab /^(.*)$ \\1\n"
  CONNECTIONS = "local all all peer map=gitlab\nlocal replication all peer map=gitlab\n"
  # It loses nothing here but what a power cut of the whole machine would lose.
  OPTIONS = {
    'listen_addresses' => '', 'fsync' => 'off', 'shared_buffers' => '16MB', 'max_connections' => '100',
    'max_locks_per_transaction' => '512',
    'min_wal_size' => '2MB', 'max_wal_size' => '32MB', 'log_min_messages' => 'warning'
  }.freeze

  class << self
    # Whether this host, with these settings, has one. A test's folder has none.
    def wanted?(settings)
      Lab::ROOT.empty? && here?(settings) && (on?(settings['registry']) || Lab.settings['registry_postgresql'])
    end

    # Whether the registry's database is in the PostgreSQL that omnibus has on this node.
    def managed?(settings)
      on?(settings['registry']) && here?(settings)
    end

    # Whether config.yml names it, used or not.
    def here?(settings)
      settings['postgresql']['enable'] != false && (settings['registry']['database'] || {})['host'] == DIRECTORY
    end

    def on?(registry)
      registry['enable'] && %w[true prefer].include?((registry['database'] || {})['enabled'].to_s)
    end

    def standby?
      directory = Lab.path(DIRECTORY)
      (File.directory?(directory) && !File.writable?(directory)) || Replica.here?
    end

    # What a reconfigure does for the database, wherever it is: RuntimeError with chef's words where that fails.
    def prepare(settings)
      registry = settings['registry']
      objects if wanted?(settings)
      return unless on?(registry)

      migrate(registry, managed?(settings)) if registry['auto_migrate']
    end

    # Becomes PostgreSQL.
    def serve
      FileUtils.mkdir_p(standby? ? [RUN, DATA] : [RUN, DATA, STREAM])
      FileUtils.chown(USER, USER, standby? ? [RUN, DATA] : [RUN, DATA, STREAM])
      File.chmod(0o700, DATA)
      fill unless File.exist?("#{DATA}/PG_VERSION")
      File.write("#{DATA}/pg_ident.conf", IDENTITIES)
      File.write("#{DATA}/pg_hba.conf", CONNECTIONS)
      link if File.writable?(DIRECTORY)
      options = OPTIONS.merge('unix_socket_directories' => standby? ? RUN : "#{RUN},#{STREAM}")
      exec(*as(USER), program('postgres'), '-D', DATA, *options.flat_map { |name, value| ['-c', "#{name}=#{value}"] })
    end

    private

    def objects
      ready
      return if standby?

      OBJECTS.each { |where, statement| create(where, statement) }
    end

    def migrate(registry, managed)
      return unless Lab::ROOT.empty? || managed

      answers(registry['database']) if Lab::ROOT.empty?
      puts '  * registry_database_migrations[registry] action run'
      return if Lab::ROOT.empty? ? migrated?(registry['dir']) : !refused?

      raise 'bash_hide_env[migrate registry database: registry] (registry::database_migrations line 5) had an error: ' \
            "Mixlib::ShellOut::ShellCommandFailed: Expected process to exit with [0], but received '1'"
    end

    # Omnibus waits for the server, not for a login.
    def answers(database)
      connection = database.slice('dbname', 'host', 'port', 'user').values_at('dbname', 'host', 'port', 'user')
      command = [program('pg_isready'), '-q', *%w[-d -h -p -U].zip(connection.map(&:to_s)).flatten]
      CHECKS.times do
        return if system(*command)

        sleep Lab.settings['postgresql_check_seconds']
      end
      raise 'PostgreSQL did not respond before service checks were exhausted'
    end

    def migrated?(directory)
      system('chpst', '-u', 'registry:registry', REGISTRY, 'database', 'migrate', 'up', "#{directory}/config.yml")
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
      done = standby? && File.exist?("#{STREAM}/.s.PGSQL.5432") ? copied? : created?
      return if done

      FileUtils.rm_rf(Dir["#{DATA}/*"])
      sleep 1
      abort 'FATAL:  could not make the database; the next attempt follows'
    end

    def copied?
      system(*as(USER), program('pg_basebackup'), '-h', STREAM, '-U', USER, '-D', DATA, '-R', '-c', 'fast', '-X', 'stream')
    end

    # A standby whose primary has none here is one of an empty database.
    def created?
      made = system(*as(USER), program('initdb'), '-D', DATA, '-U', USER, '-A', 'peer', '-E', 'UTF8', '--locale=C',
                    '--wal-segsize=1', '--no-sync')
      return made unless made && standby?

      single = [*as(USER), program('postgres'), '--single', '-D', DATA, 'postgres']
      IO.popen(single, 'w', out: File::NULL) { |io| io.puts(*OBJECTS.values) }
      FileUtils.touch("#{DATA}/standby.signal")
      $?.success?
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
      query = [*as(USER), program('psql'), '-h', RUN, '-U', USER, '-d', 'postgres', '-v', 'ON_ERROR_STOP=1', '-Atc']
      return if IO.popen([*query, "SELECT 1 FROM #{where} = 'registry'"], &:read).strip == '1'

      system(*query, statement) || raise("#{statement} failed")
    end
  end
end

if $PROGRAM_NAME == __FILE__
  $stdout.sync = true
  RegistryPostgresql.serve
end
