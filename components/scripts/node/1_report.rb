# frozen_string_literal: true

# One GitLab node, changed as a whole or not at all. Runs as root under omnibus' own Ruby; the program comes over
# stdin (`ruby - apply`), the order as JSON behind __END__, so neither is ever on disk, in argv or in a log.

require 'date'
require 'digest'
require 'fileutils'
require 'ipaddr'
require 'json'
require 'net/http'
require 'openssl'
require 'securerandom'
require 'time'
require 'uri'
require 'yaml'
require 'zlib'

# A failure in the administrator's words: what happened, why, in which state the node is now, what to do.
class Failure < StandardError
  attr_reader :cause_text, :remedy, :state

  def initialize(what, cause:, remedy:)
    super(what)
    @cause_text = cause
    @remedy = remedy
  end

  def self.from(error)
    case error
    when Failure then error
    when Errno::EROFS, Errno::EPERM
      new('a file could not be written',
          cause: error.message,
          remedy: 'it is mounted read-only or protected (chattr +i): make it writable for root, then `pulumi up` again')
    when SystemCallError, IOError
      new('a file could not be written',
          cause: error.message,
          remedy: 'make room or mend the file system, then `pulumi up` again')
    else
      new('the program stopped',
          cause: "#{error.class}: #{error.message} (#{error.backtrace.first})",
          remedy: 'run `pulumi up` again; if it stays, report this')
    end
  end

  def with_state(text)
    @state = text
    self
  end
end

# What the person at the terminal sees. Progress and failures go to stderr, which the engine shows live; stdout
# carries the result only, because it is kept as the resource's output.
module Report
  # What is not UTF-8 (a file's bytes, another encoding's words) the command provider cannot pass on: it would call the
  # run failed after it has ended well.
  def self.text(value)
    value.to_s.dup.force_encoding(Encoding::UTF_8).scrub
  end

  # The same for all texts in `data`, which JSON.generate would refuse.
  def self.readable(data)
    case data
    when Hash then data.to_h { |key, value| [text(key), readable(value)] }
    when Array then data.map { |value| readable(value) }
    when String, Symbol then text(data)
    else data
    end
  end

  # stderr is gone when the engine was killed; the work on the node goes on to its end all the same.
  def self.say(line)
    $stderr.puts(text(line))
    $stderr.flush
  rescue SystemCallError, IOError
    nil
  end

  def self.result(data)
    $stdout.puts(JSON.generate(readable(data)))
    $stdout.flush
  rescue SystemCallError, IOError
    nil
  end

  def self.failure(order, error)
    say("#{order['node']} (site #{order['site']}): #{hide(error.message)}")
    say("  cause: #{hide(error.cause_text)}")
    say("  state: #{hide(error.state || 'nothing was changed on this node')}")
    say("  do:    #{hide(error.remedy)}")
  end

  def self.secrets
    @secrets ||= []
  end

  # Everything below `data` that could be a secret, to be blotted out of whatever is shown.
  def self.learn(data)
    case data
    when Hash then data.each_value { |v| learn(v) }
    when Array then data.each { |v| learn(v) }
    when String
      secrets << data if data.length >= 8
      data.lines.each { |l| secrets << l.strip if data.include?("\n") && l.strip.length >= 16 }
    end
  end

  def self.hide(shown)
    secrets.map { |s| text(s) }.uniq.sort_by { |s| -s.length }.inject(text(shown)) { |t, s| t.gsub(s, '[secret]') }
  end
end
