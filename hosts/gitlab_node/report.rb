# frozen_string_literal: true

# Changes one GitLab node atomically. Runs as root under the Linux package's Ruby; the program comes over stdin
# (`ruby - apply`), its payload as JSON after __END__, so neither is ever on disk, in argv or in a log.

require 'date'
require 'digest'
require 'fileutils'
require 'ipaddr'
require 'json'
require 'net/http'
require 'openssl'
require 'securerandom'
require 'shellwords'
require 'time'
require 'timeout'
require 'tmpdir'
require 'uri'
require 'yaml'
require 'zlib'

# Output. Progress and failures go to stderr, which the engine shows live; stdout carries only the result, because it
# becomes the resource's output.
module Report
  # The command provider cannot pass on bytes that are not UTF-8 (a file's content, a message in another encoding): it
  # would report a successful run as failed.
  def self.text(value)
    value.to_s.dup.force_encoding(Encoding::UTF_8).scrub
  end

  # The same for all strings in `data`; JSON.generate would raise on them.
  def self.readable(data)
    case data
    when Hash then data.to_h { |key, value| [text(key), readable(value)] }
    when Array then data.map { |value| readable(value) }
    when String, Symbol then text(data)
    else data
    end
  end

  # stderr is closed when the engine was killed; the work on the node continues to its end.
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
    say("#{order['node']} (site #{order['site']}): #{hide(error.message)} [#{error.code}]")
    say("  cause: #{hide(error.cause_text)}")
    say("  state: #{hide(error.state || 'nothing was changed on this node')}")
    say("  do:    #{hide(error.remedy)}")
  end

  def self.secrets
    @secrets ||= []
  end

  # Registers every string in `data` that could be a secret: `hide` removes them from all output.
  def self.redact(data)
    case data
    when Hash then data.each_value { |v| redact(v) }
    when Array then data.each { |v| redact(v) }
    when String
      secrets << data if data.length >= 8
      data.lines.each { |l| secrets << l.strip if data.include?("\n") && l.strip.length >= 16 }
    end
  end

  def self.hide(shown)
    secrets.map { |s| text(s) }.uniq.sort_by { |s| -s.length }.inject(text(shown)) { |t, s| t.gsub(s, '[secret]') }
  end
end
