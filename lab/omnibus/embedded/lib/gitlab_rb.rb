# frozen_string_literal: true

require_relative 'names'

# A stand-in for what evaluates gitlab.rb in omnibus (the Gitlab module: Mixlib::Config with omnibus' SettingsDSL).
# Kept, from package/libraries/settings_dsl.rb and config_mash.rb: the file is real Ruby; an unknown top-level name is
# an error in strict mode; nested names are whatever one writes; `name = value` only makes a local variable; hashes
# below a known name come into being when they are read; after a `from_file` in the file both are off for its rest.

# A hash with text keys, whose missing members come into being while a file is evaluated.
class ConfigMash < Hash
  class << self
    attr_accessor :auto_vivify
  end

  def self.from(hash)
    hash.each_with_object(new) { |(key, value), mash| mash[key] = value }
  end

  def [](key)
    key = key.to_s
    return super(key) if !ConfigMash.auto_vivify || key?(key)

    self[key] = ConfigMash.new
  end

  def []=(key, value)
    super(key.to_s, convert(value))
  end
  alias store []=

  def key?(key)
    super(key.to_s)
  end

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
    ConfigMash.from(self).merge!(*others)
  end

  private

  def convert(value)
    case value
    when ConfigMash then value
    when Hash then ConfigMash.from(value)
    when Array then value.map { |member| convert(member) }
    else value
    end
  end
end

module Mixlib
  module Config
    # Under its real name, because administrators search for it.
    class UnknownConfigOptionError < StandardError; end
  end
end

# The settings: `gitlab_rb['registry']['enable']`.
class GitlabRb
  def initialize
    @values = Names::HASHES.to_h { |name| [name, ConfigMash.new] }
    Names::VALUES.each { |name| @values[name] = nil }
    @strict = false
  end

  # Evaluate a file in strict mode; afterwards, also when called from the file itself, strict mode and auto-creation
  # are off. IOError where it cannot be read, SyntaxError and whatever the file raises as they are.
  def from_file(path)
    @strict = true
    ConfigMash.auto_vivify = true
    raise IOError, "Cannot open or read #{path}!" unless File.file?(path) && File.readable?(path)

    instance_eval(File.read(path), path, 1)
  ensure
    ConfigMash.auto_vivify = false
    @strict = false
  end

  def [](name)
    @values[name.to_s]
  end

  def []=(name, value)
    @values[name.to_s] = value
  end

  def values_at(*names)
    names.map { |name| self[name] }
  end

  def to_h
    @values.reject { |_, value| value.nil? || (value.is_a?(Hash) && value.empty?) }
  end

  private

  def method_missing(symbol, *args)
    name = symbol.to_s.delete_suffix('=')
    if @strict && !@values.key?(name)
      what = args.empty? ? 'Reading unsupported config value' : 'Cannot set unsupported config value'
      raise Mixlib::Config::UnknownConfigOptionError, "#{what} #{name}."
    end
    return @values[name] if args.empty?

    value = args.size == 1 ? args.first : args
    @values[name] = value.is_a?(Hash) && !value.is_a?(ConfigMash) ? ConfigMash.from(value) : value
  end
end
