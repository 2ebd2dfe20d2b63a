# frozen_string_literal: true

require 'etc'
require 'fileutils'
require_relative 'lab'

# A stand-in for chef's resources. Simulated: a file is written (atomically) only where it differs, the difference is
# printed, secrets and all, unless the resource is sensitive, and restarts are put off to the end of the run, also of
# one that fails. Like in chef they are lost when the run is killed, and no later run makes up for it.
class Resources
  attr_reader :restarts, :updated

  def initialize
    @restarts = []
    @updated = 0
  end

  def directory(path, owner: 'root', group: owner, mode: 0o755)
    full = Lab.path(path)
    FileUtils.mkdir_p(full)
    attributes(full, owner, group, mode)
  end

  def file(path, text, owner: 'root', group: owner, mode: 0o644, sensitive: false, restart: [])
    full = Lab.path(path)
    before = File.exist?(full) ? File.read(full) : nil
    unless before == text
      puts "  * file[#{path}] action create"
      sensitive ? puts('    - suppressed sensitive resource') : difference(full, text)
      @restarts |= restart
      @updated += 1
    end
    write(full, text, owner, group, mode) unless before == text && attributes?(full, owner, group, mode)
  end

  # For changes other than files of chef.
  def restart(service)
    @restarts |= [service]
  end

  def delete(path, restart: [])
    full = Lab.path(path)
    return unless File.exist?(full)

    puts "  * file[#{path}] action delete"
    File.delete(full)
    @restarts |= restart
    @updated += 1
  end

  private

  def write(full, text, owner, group, mode)
    FileUtils.mkdir_p(File.dirname(full))
    copy = "#{File.dirname(full)}/.chef-#{File.basename(full)}-#{Process.pid}"
    File.write(copy, text, perm: 0o600)
    attributes(copy, owner, group, mode)
    File.rename(copy, full)
  ensure
    FileUtils.rm_f(copy) if copy
  end

  def difference(full, text)
    old = File.exist?(full) ? full : '/dev/null'
    IO.popen(['diff', '--unified=0', old, '-'], 'r+') do |diff|
      diff.write(text)
      diff.close_write
      diff.each_line.drop(2).each { |line| puts "    #{line}" }
    end
  end

  # The accounts are those of a GitLab host; a test's folder belongs to the user who runs the test.
  def ids(owner, group)
    return [Process.uid, Process.gid] unless Lab::ROOT.empty?

    [Etc.getpwnam(owner).uid, Etc.getgrnam(group).gid]
  end

  def attributes?(full, owner, group, mode)
    stat = File.stat(full)
    [stat.uid, stat.gid, stat.mode & 0o7777] == [*ids(owner, group), mode]
  end

  def attributes(full, owner, group, mode)
    File.chown(*ids(owner, group), full)
    File.chmod(mode, full)
  end
end
