# Files that are there whole or not at all, and a change of several of them that can be taken back.
module Files
  # Same directory, so that the rename is atomic; the target of a link, so that the link stays.
  def self.write(path, bytes, mode: nil)
    target = File.exist?(path) ? File.realpath(path) : path
    copy = "#{File.dirname(target)}/.#{File.basename(target)}.geo-registry-new"
    begin
      clone(target, copy) if File.exist?(target)
      File.open(copy, File::WRONLY | File::CREAT | File::TRUNC, mode || 0o600) do |f|
        f.binmode
        f.write(bytes)
        f.chmod(mode) if mode
        f.fsync
      end
      File.rename(copy, target)
      sync(File.dirname(target))
    rescue SystemCallError
      FileUtils.rm_f(copy)
      raise
    end
  end

  # cp keeps owner, mode, ACL and SELinux context; Ruby's own copy does not.
  def self.clone(from, to)
    out = IO.popen(['cp', '--preserve=all', '--', from, to], err: %i[child out], &:read)
    return if $?.success?

    FileUtils.rm_f(to)
    raise Errno::ENOSPC, from if out.include?('No space left')

    raise IOError, out.strip
  end

  def self.sync(directory)
    File.open(directory) { |d| d.fsync }
  rescue SystemCallError
    nil
  end

  def self.read(path)
    File.binread(path)
  rescue Errno::ENOENT
    nil
  end
end

# The administrator's gitlab.rb with our include as its last line, and without it: exact inverses.
module Include
  SETTINGS = '/etc/gitlab/geo-registry/settings.rb'
  LINE = "from_file '#{SETTINGS}' if File.exist?('#{SETTINGS}')"

  # [new bytes, whether a newline had to be added to the administrator's own last line]
  def self.add(bytes, newline_added)
    own = remove(bytes, newline_added)
    eol = own[/\r?\n\z/] || (own.include?("\r\n") ? "\r\n" : "\n")
    missing = !own.empty? && !own.end_with?("\n")
    [own + (missing ? eol : '').b + (LINE + eol).b, missing]
  end

  def self.remove(bytes, newline_added)
    at = bytes.rindex(LINE.b)
    return bytes unless at

    last = bytes.byteslice(at + LINE.bytesize..).strip.empty?
    rest = bytes.gsub(/^#{Regexp.escape(LINE)}[ \t]*\r?(\n|\z)/n, ''.b)
    newline_added && last ? rest.sub(/\r?\n\z/n, ''.b) : rest
  end

  def self.present?(bytes)
    bytes.include?(LINE.b)
  end
end

# Several files changed together. While the journal exists the change is unfinished, and whoever comes next takes it
# back first. Taking back only renames copies made beforehand, so it needs no space on a full disk.
class Change
  DIRECTORY = '/etc/gitlab/geo-registry'
  JOURNAL = "#{DIRECTORY}/journal.json"

  # Undoes what a run that was cut off (power, kill -9) left half-done. True if there was such a run.
  def self.recover
    journal = Files.read(JOURNAL)
    return false unless journal

    new(JSON.parse(journal)['files']).take_back
    true
  end

  def initialize(files = [])
    @files = files # [{'path', 'former' (the copy's path) or nil where there was none}]
  end

  # contents {path => bytes, or nil to delete}, modes {path => mode}. Raises SystemCallError or IOError with
  # everything as it was.
  def self.make(contents, modes)
    FileUtils.mkdir_p(DIRECTORY, mode: 0o755)
    change = new(contents.keys.map { |path| prepare(path) })
    Files.write(JOURNAL, JSON.generate('files' => change.files), mode: 0o600)
    contents.each { |path, bytes| bytes ? Files.write(path, bytes, mode: modes[path]) : FileUtils.rm_f(path) }
    change
  rescue SystemCallError, IOError
    change ? change.take_back : contents.each_key { |path| discard(path) }
    Dir.rmdir(DIRECTORY) if Dir.exist?(DIRECTORY) && Dir.empty?(DIRECTORY)
    raise
  end

  def self.former(path)
    target = File.exist?(path) ? File.realpath(path) : path
    "#{File.dirname(target)}/.#{File.basename(target)}.geo-registry-former"
  end

  def self.prepare(path)
    return { 'path' => path, 'former' => nil } unless File.exist?(path)

    Files.clone(File.realpath(path), former(path))
    { 'path' => File.realpath(path), 'former' => former(path) }
  end

  def self.discard(path)
    FileUtils.rm_f(former(path))
  end

  attr_reader :files

  def take_back
    @files.each do |f|
      if f['former']
        File.rename(f['former'], f['path']) if File.exist?(f['former'])
      else
        FileUtils.rm_f(f['path'])
      end
    end
    FileUtils.rm_f(JOURNAL)
  end

  def keep
    FileUtils.rm_f(JOURNAL)
    @files.each { |f| FileUtils.rm_f(f['former']) if f['former'] }
  end
end
