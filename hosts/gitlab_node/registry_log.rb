# frozen_string_literal: true

# Reads the registry's log, newest line first. Its messages are logrus' text or JSON, the access log is always JSON
# (container registry, registry/registry.go).
class RegistryLog
  CHUNK = 1 << 20
  KINDS = {
    access: /"?msg"?[:=] ?"?access\b/,
    refused: /error writing event/,
    lost: /event lost|these events will be lost|queue full, dropping event/,
    started: /"?msg"?[:=] ?"?listening on /,
    stopping: /attempting to stop server gracefully/
  }.freeze
  Line = Struct.new(:kind, :time, :text)

  # runit's logger names the directory (registry['log_directory']).
  def self.directory
    Files.read('/opt/gitlab/sv/registry/log/run').to_s[%r{svlogd\b.*\s(/\S+)\s*\z}, 1] || '/var/log/gitlab/registry'
  end

  # Yields lines of the known kinds until the block returns false or a line is older than `oldest`.
  def self.read_back(oldest)
    # Rotated files are named by the time of their rotation.
    [*Dir.glob("#{directory}/current"), *Dir.glob("#{directory}/@*.[su]").sort.reverse].each do |path|
      backwards(path) do |text|
        time = time(text) or next
        return if time < oldest

        kind = KINDS.find { |_, form| text.match?(form) } or next
        return unless yield Line.new(kind.first, time, text)
      end
    end
  end

  # A rotated file may be compressed (logging['svlogd_filter']).
  def self.backwards(path, &block)
    File.open(path, 'rb') do |file|
      compressed = file.read(2) == "\x1F\x8B".b
      file.rewind
      return Zlib::GzipReader.new(file).each_line.map(&:b).reverse_each(&block) if compressed

      position = file.size
      rest = ''.b
      while position.positive?
        position -= (size = [CHUNK, position].min)
        file.seek(position)
        lines = (file.read(size) + rest).lines
        rest = position.zero? ? ''.b : lines.shift.to_s
        lines.reverse_each(&block)
      end
    end
  end

  def self.time(text)
    stamp = text[/"?\btime"?[:=] ?"([^"]+)"/n, 1] and Time.iso8601(stamp).to_f
  rescue ArgumentError
    nil
  end
end
