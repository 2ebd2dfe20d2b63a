# frozen_string_literal: true

require 'etc'
require 'fileutils'
require 'optparse'
require_relative 'postgresql'
require_relative 'rails_config'
require_relative 'reconfigure'

# The Geo commands that an administrator runs (files/gitlab-ctl-commands-ee of omnibus-gitlab). Simulated: options, questions
# on standard input, what is refused, the order of stopping, copying and starting.
class GeoCommands
  FAILED = <<~TEXT
    *** Initial replication failed! ***

    Replication tool returned with a non zero exit status!

    Troubleshooting tips:
      - replication should be run by root user
      - check your trust settings `md5_auth_cidr_addresses` in `gitlab.rb` on the primary node

    Failed to execute: %s
  TEXT

  def initialize
    @runit = Runit.new
  end

  # -- set-geo-primary-node

  def set_primary
    abort 'puma not enabled, exiting...' unless @runit.enabled.include?('puma')

    rails = RailsConfig.new
    puts "Saving primary Geo node with name #{rails.node_name} and URL #{rails.url}/ ..."
    as_git { SiteDatabase.new.primary_node = { 'name' => rails.node_name, 'url' => "#{rails.url}/" } } ||
      abort('Error saving Geo node: cannot execute INSERT in a read-only transaction')
    puts "#{rails.url}/ is now the primary Geo node"
  end

  # -- pg-password-md5 USER

  def password_md5(user)
    abort 'You must provide a username' unless user

    password = ask("Enter password: ")
    abort 'Passwords do not match' unless ask("Confirm password: ") == password
    puts Digest::MD5.hexdigest("#{password}#{user}")
  end

  # -- replicate-geo-database

  def replicate(arguments)
    @options = { user: 'gitlab_replicator', port: 5432 }
    parse(arguments)
    existing
    confirm
    puts '* Stopping PostgreSQL and all GitLab services'
    enabled = @runit.enabled
    @runit.command('stop', *enabled)
    copy
    puts '* Starting PostgreSQL and all GitLab services'
    File.write("#{@runit.directory('postgresql')}/run", @runit.run_script('postgresql'))
    @runit.enable(%w[postgresql])
    @runit.command('start', *enabled)
  end

  private

  def parse(arguments)
    parser = OptionParser.new('Usage: gitlab-ctl replicate-geo-database [options]')
    parser.on('--host=HOST', 'Hostname address of the primary node') { |value| @options[:host] = value }
    parser.on('--user[=USER]', 'Specify a different replication user') { |value| @options[:user] = value }
    parser.on('--port[=PORT]', 'Specify a different PostgreSQL port') { |value| @options[:port] = value.to_i }
    parser.on('--slot-name[=SLOT-NAME]', 'PostgreSQL replication slot name') { |value| @options[:slot] = value }
    parser.on('--no-wait', 'Do not ask for confirmation') { @options[:now] = true }
    parser.on('--force', 'Disable existing database even if instance is not empty') { @options[:force] = true }
    parser.on('--skip-replication-slot', 'Skip the replication slot') { @options[:skip_slot] = true }
    parser.on('--sslmode=MODE', 'How the primary is verified') { |value| @options[:sslmode] = value }
    %w[--skip-backup --sslcompression=1 --recovery-target-timeline=latest --backup-timeout[=SECONDS]
       --db_name=NAME].each { |option| parser.on(option) }
    parser.parse(arguments)
    raise OptionParser::MissingArgument, :host unless @options[:host]
    raise OptionParser::MissingArgument, '--slot-name' unless @options[:skip_slot] || @options[:slot]
  rescue OptionParser::InvalidOption, OptionParser::MissingArgument => e
    puts e.message, parser
    exit 1
  end

  def existing
    return if SiteDatabase.new.repositories.empty?

    found = 'Found data inside the gitlabhq_production database!'
    abort "#{found} If you are sure you are in the secondary server, override with --force" unless @options[:force]
    puts "#{found} Proceeding because --force was supplied"
  end

  def confirm
    puts '', 'WARNING: Make sure this script is run from the secondary server', '',
         '*** You are about to delete your local PostgreSQL database, and replicate the primary database. ***',
         "*** The primary geo node is `#{@options[:host]}` ***", ''
    return if @options[:now]

    puts '*** Are you sure you want to continue (replicate/no)? ***'
    until (answer = ask('Confirmation: ')) == 'replicate'
      exit 0 if answer == 'no'
      # The real one asks forever without a terminal.
      abort "*** You entered `#{answer}` instead of `replicate` or `no`."
    end
  end

  def copy
    password = ask("Enter the password for #{@options[:user]}@#{@options[:host]}: ")
    connection = @options.slice(:host, :port, :user, :slot, :sslmode).transform_keys(&:to_s).merge('password' => password)
    puts "* Starting base backup as the replicator user (#{@options[:user]})"
    first = nil
    Replica.follow(connection) { |line| break first = line }
    raise Replica::Refused, 'the connection was closed' unless first

    # The service runs as git here, which may not read the certificate.
    connection['authority'] = Replica.authority
    as_git do
      FileUtils.rm_f(Dir.glob("#{Lab.path(SiteDatabase::DIRECTORY)}/*"))
      Replica.begin(connection, first)
    end
  rescue SystemCallError, SocketError, Replica::Refused => e
    puts e.message, format(FAILED, "pg_basebackup -h #{@options[:host]} -p #{@options[:port]} -U #{@options[:user]}")
    exit 1
  end

  def ask(text)
    print text
    $stdin.gets.to_s.chomp.tap { puts }
  end

  # The database's files belong to one account, as PostgreSQL's do. Whether it succeeded.
  def as_git
    pid = fork do
      if Lab::ROOT.empty?
        git = Etc.getpwnam('git')
        Process::GID.change_privilege(git.gid)
        Process::UID.change_privilege(git.uid)
      end
      yield
      exit!(0)
    rescue SystemCallError => e
      warn e.message
      exit!(1)
    end
    Process.wait2(pid).last.success?
  end
end
