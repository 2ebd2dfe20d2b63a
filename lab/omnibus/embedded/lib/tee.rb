# frozen_string_literal: true

# Everything printed goes to the terminal and to a log of this run, named "<unix time>_<n>.log".
class Tee
  def self.to(directory)
    terminal = $stdout
    terminal.sync = true
    $stdout = new(terminal, log(directory))
    yield
  ensure
    $stdout = terminal
  end

  # nil where the disk is full: the run goes on without a log.
  def self.log(directory)
    number = Dir.children(directory).size + 1
    File.open("#{directory}/#{Time.now.to_i}_#{number}.log", File::WRONLY | File::CREAT | File::EXCL, 0o600)
  rescue Errno::EEXIST
    retry
  rescue SystemCallError
    nil
  end
  private_class_method :log

  def initialize(*streams)
    @streams = streams.compact
  end

  def puts(*lines)
    lines = [''] if lines.empty?
    lines.flatten.each { |line| write(line.to_s.end_with?("\n") ? line.to_s : "#{line}\n") }
  end

  # Ruby asks for it before it starts a process; every write is flushed already.
  def flush
    self
  end

  # A terminal that has gone away, or a full disk, does not end the run.
  def write(*texts)
    @streams.each do |stream|
      stream.write(*texts)
      stream.flush
    rescue SystemCallError
      @streams -= [stream]
    end
    texts.sum(&:bytesize)
  end
end
