# frozen_string_literal: true

# The settings that a reconfigure will use, read before it runs. gitlab.rb is a program, so it is evaluated as the Linux
# package does (package/libraries/settings_dsl.rb, config_mash.rb), in a child process that ends afterwards. Not with
# `gitlab-ctl show-config`: that reads only files on disk, writes gitlab-secrets.json, generates an RSA key and takes
# seconds.
#
#   settings = EvaluatedSettings.read('/etc/gitlab/gitlab.rb' => bytes, ...)   the desired files
#   settings.known?                                  false: could not be evaluated; the reason is settings.why
#   settings.get('registry', 'enable')               including this program's settings; nil if not set
#   settings.administrators('registry', 'enable')    what the administrator's gitlab.rb sets by itself
#
# Only what READ lists leaves the child process: no secret does.
class EvaluatedSettings
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
    %w[registry issuer], %w[registry storage maintenance],
    %w[registry database host], %w[postgresql enable],
    *%w[application sidekiq postgres patroni redis_sentinel redis_master redis_replica
        monitoring pgbouncer consul pages gitaly].map { |role| ["#{role}_role", 'enable'] }
  ].freeze
  # Headers and custom configuration may contain a token.
  HIDDEN = /header|custom|password\z/.freeze
  SECONDS = 60 # files that query a secret store take long

  def self.read(files)
    new(Evaluation.run(files))
  end

  # {'administrators', 'all': {path joined by dots => value}} or {'why'}
  def initialize(result)
    @result = result
  end

  def known?
    @result.key?('all')
  end

  def why
    @result['why']
  end

  def get(*path)
    pick('all', path)
  end

  def administrators(*path)
    pick('administrators', path)
  end

  private

  def pick(source, path)
    return nil unless known?

    (1..path.size).each do |n|
      key = path.first(n).join('.')
      next unless @result[source].key?(key)

      return path.drop(n).inject(@result[source][key]) { |value, name| value.is_a?(Hash) ? value[name] : nil }
    end
    return if READ.any? { |known| known.first(path.size) == path || path.first(known.size) == known }

    raise KeyError, "#{path.join('.')} is not in EvaluatedSettings::READ"
  end

  # A hash with string keys, which creates missing members while a file is evaluated (ConfigMash).
  class Mash < Hash
    class << self
      attr_accessor :autovivify
    end

    def self.of(hash)
      hash.each_with_object(new) { |(key, value), mash| mash[key] = value }
    end

    def [](key)
      key = key.to_s
      self[key] = Mash.new if Mash.autovivify && !key?(key)
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

  # The file cannot be evaluated here, but a reconfigure may be able to.
  class Unknown < StandardError; end

  # The object in which gitlab.rb is evaluated. Every name is a setting here: the reconfigure rejects unknown ones.
  class Recorder
    # These have a single value: nil until it is set.
    PLAIN = %w[external_url registry_external_url pages_external_url mattermost_external_url gitlab_kas_external_url
               runtime_dir git_data_dir roles edition].freeze

    def initialize(files)
      @files = files
      @values = {}
    end

    attr_reader :administrators

    def from_file(path)
      @administrators = values_read if path == Include::SETTINGS
      Mash.autovivify = true
      bytes = @files.fetch(path) { File.binread(path) } or raise Errno::ENOENT, path
      instance_eval(bytes.dup.force_encoding('UTF-8'), path, 1)
    ensure
      Mash.autovivify = false
    end

    def [](name)
      @values.fetch(name.to_s) { |key| PLAIN.include?(key) ? nil : @values[key] = Mash.new }
    end

    def []=(name, value)
      @values[name.to_s] = value.is_a?(Hash) ? Mash.of(value) : value
    end

    # Facts about the machine, which only chef knows.
    def node
      raise Unknown, 'it reads node[...], which exists only during a reconfigure'
    end

    def values_read
      READ.each_with_object({}) do |path, values|
        value = path.inject(@values) { |hash, key| hash.is_a?(Hash) && hash.key?(key) ? hash.fetch(key) : nil }
        values[path.join('.')] = plain(value) unless value.nil?
      end
    end

    private

    # Including the empty hashes that reading created: the Linux package treats them as values too.
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

  # The child process: without input and output, and with a time limit.
  module Evaluation
    def self.run(files)
      read, write = IO.pipe
      pid = fork do
        read.close
        Process.setpgid(0, 0)
        child(files, write)
      ensure
        exit!(0) # runs no handlers and ensure blocks of the parent
      end
      write.close
      answer(pid, read)
    ensure
      read.close
    end

    # Whatever the file did to the child: output that is not JSON means that it ended early.
    def self.answer(pid, read)
      reader = Thread.new { read.read }
      deadline = Omnibus.now + SECONDS
      until Process.wait(pid, Process::WNOHANG)
        if Omnibus.now > deadline
          Process.kill('KILL', -pid) rescue Process.kill('KILL', pid) # rubocop:disable Style/RescueModifier
          Process.wait(pid)
          return { 'why' => "did not end within #{SECONDS} s" }
        end
        sleep 0.005
      end
      # A process that the file started may hold the pipe open.
      reader.join(2) ? JSON.parse(reader.value) : { 'why' => 'a process that it started did not end' }
    rescue JSON::ParserError
      { 'why' => 'it ended the process that evaluated it' }
    end

    def self.child(files, write)
      $stdin.reopen('/dev/null')
      [$stdout, $stderr].each { |stream| stream.reopen('/dev/null', 'w') }
      %w[HUP PIPE INT TERM].each { |name| trap(name, 'DEFAULT') }
      Encoding.default_external = Encoding::UTF_8 # as chef does, whatever LANG the session has
      require 'rubygems' # gitlab.rb may require a gem of GitLab's Ruby
      write.write(JSON.generate(evaluate(files)))
      write.close
    end

    def self.evaluate(files)
      DesiredFiles.files = files
      [File, IO].each { |owner| owner.singleton_class.prepend(DesiredFiles) }
      recorder = Recorder.new(files)
      Object.send(:remove_const, :Gitlab) if Object.const_defined?(:Gitlab)
      Object.const_set(:Gitlab, recorder)
      recorder.from_file(Omnibus::GITLAB_RB)
      all = recorder.values_read
      { 'administrators' => recorder.administrators || all, 'all' => all }
    rescue Unknown => e
      { 'why' => "#{e.message} (#{location(e)})" }
    rescue Exception => e # rubocop:disable Lint/RescueException (SystemExit and SyntaxError as well)
      # Its message may quote a secret.
      { 'why' => "#{e.class} (#{location(e)})" }
    end

    def self.location(error)
      line = (error.backtrace || []).find do |l|
        l.start_with?('/') && !l.start_with?(__FILE__) && !l.match?(%r{/lib/ruby/})
      end
      line ? line[/\A[^:]+:\d+/] : Omnibus::GITLAB_RB
    end
  end

  # The desired files, for a gitlab.rb that reads them.
  module DesiredFiles
    class << self
      attr_accessor :files
    end

    def read(path, *rest, **options)
      desired?(path) ? DesiredFiles.files[path.to_s].dup.force_encoding('UTF-8') : super
    end

    def binread(path, *rest)
      desired?(path) ? DesiredFiles.files[path.to_s].dup : super
    end

    def exist?(path)
      DesiredFiles.files.key?(path.to_s) ? !DesiredFiles.files[path.to_s].nil? : super
    end

    private

    def desired?(path)
      path.is_a?(String) && DesiredFiles.files[path]
    end
  end
end
