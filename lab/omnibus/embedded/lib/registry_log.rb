# frozen_string_literal: true

require 'json'
require 'time'

# Lines as GitLab's registry writes them: its own in logrus' text form, those of requests as JSON whatever the form of the
# others (registry/registry.go, configureAccessLogging).
module RegistryLog
  ACCESS = %r{\A(?<remote>\S+) - - \[[^\]]*\] "(?<method>\S+) (?<uri>\S+) (?<protocol>HTTP/\S+)" (?<status>\d+) (?<written>\d+)}
  MUTEX = Mutex.new

  def self.write(level, message, **fields)
    line("time=\"#{now}\" level=#{level} msg=#{message.to_json}#{fields.map { |name, value| " #{name}=#{plain(value)}" }.join}")
  end

  # What Debian's registry says, with its lines of requests as GitLab's has them.
  def self.translate(text)
    found = text.match(ACCESS) or return line(text)

    line(JSON.generate('content_type' => '', 'duration_ms' => 0, 'level' => 'info', 'method' => found[:method], 'msg' => 'access',
                       'proto' => found[:protocol], 'remote_ip' => found[:remote], 'status' => found[:status].to_i,
                       'system' => 'http', 'time' => now, 'uri' => found[:uri], 'written_bytes' => found[:written].to_i))
  end

  def self.line(text)
    MUTEX.synchronize { $stdout.write("#{text.chomp}\n") }
  end

  def self.plain(value)
    value.is_a?(Integer) || value.to_s.match?(%r{\A[\w./:@-]+\z}) ? value.to_s : value.to_s.to_json
  end

  def self.now
    Time.now.utc.iso8601(3)
  end
end
