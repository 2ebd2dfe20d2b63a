# frozen_string_literal: true

# The settings that a reconfigure will work with, read before it runs. gitlab.rb is a program, so it is evaluated, as
# omnibus does it (package/libraries/settings_dsl.rb, config_mash.rb), in a child process that ends afterwards. Not by
# `gitlab-ctl show-config`: that reads only what is on disk already, writes gitlab-secrets.json, generates an RSA key
# and takes seconds.
#
#   settings = Settings.read('/etc/gitlab/gitlab.rb' => bytes, ...)   files as they are to be
#   settings.known?                                  false: could not be evaluated, settings.why says the reason
#   settings.get('registry', 'enable')               with this program's settings; nil where nobody states it
#   settings.theirs('registry', 'enable')            what the administrator's gitlab.rb says alone
#
# Only what READ lists leaves the child process: no secret does.
class Settings
  READ = [
    %w[external_url], %w[registry_external_url], %w[roles], %w[package generate_secrets_json_file],
    %w[letsencrypt enable], %w[letsencrypt alt_names],
    %w[nginx], %w[registry_nginx], %w[gitlab_rails nginx], %w[registry nginx],
    %w[gitlab_rails enable], %w[gitlab_rails registry_enabled],
    %w[gitlab_rails registry_host], %w[gitlab_rails registry_port],
    %w[gitlab_rails registry_api_url], %w[gitlab_rails registry_key_path], %w[gitlab_rails registry_path],
    %w[gitlab_rails registry_issuer], %w[gitlab_rails gitlab_relative_url],
    %w[registry enable], %w[registry dir], %w[registry registry_http_addr],
    %w[registry token_realm], %w[registry rootcertbundle],
    %w[registry issuer], %w[registry storage maintenance], %w[registry database enabled],
    *%w[application sidekiq postgres patroni redis_sentinel redis_master redis_replica
        monitoring pgbouncer consul pages gitaly].map { |role| ["#{role}_role", 'enable'] }
  ].freeze
  # Headers and pieces of configuration may hold a token.
  HIDDEN = /header|custom|password\z/.freeze
  SECONDS = 60 # files that ask a secret store take their time

  def self.read(files)
    new(Evaluation.run(files))
  end

  # {'theirs', 'all': {path joined by dots => value}} or {'why'}
  def initialize(found)
    @found = found
  end

  def known?
    @found.key?('all')
  end

  def why
    @found['why']
  end

  def get(*path)
    pick('all', path)
  end

  def theirs(*path)
    pick('theirs', path)
  end

  private

  def pick(whose, path)
    return nil unless known?

    (1..path.size).each do |n|
      key = path.first(n).join('.')
      next unless @found[whose].key?(key)

      return path.drop(n).inject(@found[whose][key]) { |value, name| value.is_a?(Hash) ? value[name] : nil }
    end
    return if READ.any? { |known| known.first(path.size) == path || path.first(known.size) == known }

    raise KeyError, "#{path.join('.')} is not in Settings::READ"
  end

  # A hash whose keys are text, and whose missing members come into being while a file is evaluated (ConfigMash).
  class Mash < Hash
    class << self
      attr_accessor :vivid
    end

    def self.of(hash)
      hash.each_with_object(new) { |(key, value), mash| mash[key] = value }
    end

    def [](key)
      key = key.to_s
      self[key] = Mash.new if Mash.vivid && !key?(key)
      super(key)
    end

    def []=(key, value)
      super(key.to_s, convert(value))
    end
    alias store []=

    def key?(key)
      super(key.to_s)
    end
    alias has_key? key?
    alias include? key?

    def fetch(key, *default, &block)
      super(key.to_s, *default, &block)
    end

    def delete(key)
      super(key.to_s)
    end

    def merge!(*others)
      others.each { |other| other.each { |key, value| self[key] = value } }
      self
    end
    alias update merge!

    def merge(*others)
      Mash.of(self).merge!(*others)
    end

    private

    def convert(value)
      case value
      when Mash then value
      when Hash then Mash.of(value)
      when Array then value.map { |member| convert(member) }
      else value
      end
    end
  end

  # The file could not be evaluated here, though a reconfigure may be able to.
  class Unknown < StandardError; end

  # What gitlab.rb is evaluated in. Every name is taken for a setting: a wrong one is the reconfigure's to refuse.
  class Recorder
    # These hold a single value: nil until it is stated.
    PLAIN = %w[external_url registry_external_url pages_external_url mattermost_external_url gitlab_kas_external_url
               runtime_dir git_data_dir roles edition].freeze

    def initialize(files)
      @files = files
      @values = {}
    end

    attr_reader :theirs

    def from_file(path)
      @theirs = taken if path == Include::SETTINGS
      Mash.vivid = true
      bytes = @files.fetch(path) { File.binread(path) } or raise Errno::ENOENT, path
      instance_eval(bytes.dup.force_encoding('UTF-8'), path, 1)
    ensure
      Mash.vivid = false
    end

    def [](name)
      @values.fetch(name.to_s) { |key| PLAIN.include?(key) ? nil : @values[key] = Mash.new }
    end

    def []=(name, value)
      @values[name.to_s] = value.is_a?(Hash) ? Mash.of(value) : value
    end

    # Facts about the machine, which only chef has.
    def node
      raise Unknown, 'it reads node[...], which exists only during a reconfigure'
    end

    def taken
      READ.each_with_object({}) do |path, found|
        value = path.inject(@values) { |hash, key| hash.is_a?(Hash) && hash.key?(key) ? hash.fetch(key) : nil }
        found[path.join('.')] = plain(value) unless value.nil?
      end
    end

    private

    # With the empty hashes that came into being by being looked at: omnibus takes them for a value as well.
    def plain(value)
      case value
      when Hash then value.reject { |key, _| key.to_s.match?(HIDDEN) }.to_h { |key, member| [key.to_s, plain(member)] }
      when Array then value.map { |member| plain(member) }
      when Symbol, String then value.to_s.dup.force_encoding('UTF-8').scrub
      when Integer, Float, true, false, nil then value
      else "(#{value.class})"
      end
    end

    def method_missing(symbol, *args)
      name = symbol.to_s.delete_suffix('=')
      return self[name] if args.empty?

      self[name] = args.size == 1 ? args.first : args
    end

    def respond_to_missing?(*)
      true
    end
  end

  # The child process: its output goes nowhere, it has no input, and it ends when its time is over.
  module Evaluation
    def self.run(files)
      read, write = IO.pipe
      pid = fork do
        read.close
        Process.setpgid(0, 0)
        child(files, write)
      ensure
        exit!(0) # neither handlers nor ensure blocks of the program above
      end
      write.close
      answer(pid, read)
    ensure
      read.close
    end

    # Whatever the file has done to this process: an answer that is no JSON says so.
    def self.answer(pid, read)
      reader = Thread.new { read.read }
      deadline = Omnibus.now + SECONDS
      until Process.wait(pid, Process::WNOHANG)
        if Omnibus.now > deadline
          Process.kill('KILL', -pid) rescue Process.kill('KILL', pid) # rubocop:disable Style/RescueModifier
          Process.wait(pid)
          return { 'why' => "no end after #{SECONDS} s" }
        end
        sleep 0.005
      end
      # A process that the file has started may hold the pipe open.
      reader.join(2) ? JSON.parse(reader.value) : { 'why' => 'something that it started did not end' }
    rescue JSON::ParserError
      { 'why' => 'it ended the process that evaluated it' }
    end

    def self.child(files, write)
      $stdin.reopen('/dev/null')
      [$stdout, $stderr].each { |stream| stream.reopen('/dev/null', 'w') }
      %w[HUP PIPE INT TERM].each { |name| trap(name, 'DEFAULT') }
      Encoding.default_external = Encoding::UTF_8 # as chef does, whatever LANG a session brings
      require 'rubygems' # gitlab.rb may require a gem of GitLab's Ruby
      write.write(JSON.generate(evaluate(files)))
      write.close
    end

    def self.evaluate(files)
      Future.files = files
      [File, IO].each { |owner| owner.singleton_class.prepend(Future) }
      recorder = Recorder.new(files)
      Object.send(:remove_const, :Gitlab) if Object.const_defined?(:Gitlab)
      Object.const_set(:Gitlab, recorder)
      recorder.from_file(Omnibus::GITLAB_RB)
      all = recorder.taken
      { 'theirs' => recorder.theirs || all, 'all' => all }
    rescue Unknown => e
      { 'why' => "#{e.message} (#{at(e)})" }
    rescue Exception => e # rubocop:disable Lint/RescueException (SystemExit and SyntaxError as well)
      # Its message could quote a secret.
      { 'why' => "#{e.class} (#{at(e)})" }
    end

    def self.at(error)
      line = (error.backtrace || []).find do |l|
        l.start_with?('/') && !l.start_with?(__FILE__) && !l.match?(%r{/lib/ruby/})
      end
      line ? line[/\A[^:]+:\d+/] : Omnibus::GITLAB_RB
    end
  end

  # Files as they are to be, for a gitlab.rb that reads them.
  module Future
    class << self
      attr_accessor :files
    end

    def read(path, *rest, **options)
      to_be?(path) ? Future.files[path.to_s].dup.force_encoding('UTF-8') : super
    end

    def binread(path, *rest)
      to_be?(path) ? Future.files[path.to_s].dup : super
    end

    def exist?(path)
      Future.files.key?(path.to_s) ? !Future.files[path.to_s].nil? : super
    end

    private

    def to_be?(path)
      path.is_a?(String) && Future.files[path]
    end
  end
end
