# frozen_string_literal: true

# Files that are there whole or not at all, and a change of several of them that can be taken back.
module Files
  # Same directory, so that the rename is atomic; the target of a link, so that the link stays.
  def self.write(path, bytes, mode: nil)
    replace(path, bytes, mode: mode)
    InPlace.forget(File.realpath(path))
  end

  # Where the file had to be written in place, InPlace goes on to know its former text until it is to forget it.
  def self.replace(path, bytes, mode: nil)
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
      move(copy, target)
    rescue SystemCallError
      FileUtils.rm_f(copy)
      raise
    end
  end

  def self.move(copy, target)
    File.rename(copy, target)
    sync(File.dirname(target))
  rescue Errno::EBUSY
    InPlace.write(target, File.binread(copy))
    FileUtils.rm_f(copy)
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
    File.open(directory, &:fsync)
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
# back first. Taking files back only renames copies made beforehand, so it needs no space on a full disk.
class Change
  DIRECTORY = '/etc/gitlab/geo-registry'
  JOURNAL = "#{DIRECTORY}/journal.json"

  # Undoes what a run that was cut off (power, kill -9) left half-done. True if there was such a run; the journal stays
  # until a change has come to its end, so that whoever fails before that is followed by one who knows as well.
  def self.recover
    journal = Files.read(JOURNAL)
    return false unless journal

    journal = JSON.parse(journal)
    journal['files'].each { |f| InPlace.complete(f['path']) }
    new(journal['files'], journal['section']).take_files_back
    Files.write(JOURNAL, JSON.generate(journal.merge('files' => [])), mode: 0o600)
    true
  end

  # For whoever comes next: why taking the change back failed as well.
  def self.note_failure(why)
    journal = Files.read(JOURNAL) or return
    Files.write(JOURNAL, JSON.generate(JSON.parse(journal).merge('failed' => why)), mode: 0o600)
  rescue SystemCallError, IOError
    nil
  end

  # files [{'path', 'former' (the copy's path, or nil where there was none), 'written' (SHA-256 of our bytes, or nil)}];
  # section: what gitlab-secrets.json said of the registry before.
  def initialize(files, section)
    @files = files
    @section = section
  end

  # contents {path => bytes, or nil to delete}, modes {path => mode}; begun: what the journal is to remember of the
  # first change that has not come to its end. Raises SystemCallError or IOError with everything as it was, and a
  # journal only where there was one.
  def self.make(contents, modes, section, begun = {})
    unfinished = File.exist?(JOURNAL)
    FileUtils.mkdir_p(DIRECTORY, mode: 0o755)
    change = new(contents.map { |path, bytes| prepare(path, bytes) }, section)
    Files.write(JOURNAL, JSON.generate('files' => change.files, 'section' => section, **begun), mode: 0o600)
    contents.each do |path, bytes|
      # A new image has no trusted-certs before its first reconfigure.
      FileUtils.mkdir_p(File.dirname(path)) if bytes
      bytes ? Files.replace(path, bytes, mode: modes[path]) : FileUtils.rm_f(path)
    end
    change
  rescue SystemCallError, IOError
    change ? change.take_files_back : contents.each_key { |path| FileUtils.rm_f(former(path)) }
    FileUtils.rm_f(JOURNAL) unless unfinished
    Dir.rmdir(DIRECTORY) if Dir.exist?(DIRECTORY) && Dir.empty?(DIRECTORY)
    raise
  end

  def self.former(path)
    target = File.exist?(path) ? File.realpath(path) : path
    "#{File.dirname(target)}/.#{File.basename(target)}.geo-registry-former"
  end

  def self.prepare(path, bytes)
    written = bytes && Digest::SHA256.hexdigest(bytes)
    return { 'path' => path, 'former' => nil, 'written' => written } unless File.exist?(path)

    Files.clone(File.realpath(path), former(path))
    { 'path' => File.realpath(path), 'former' => former(path), 'written' => written }
  end

  attr_reader :files, :section

  def take_files_back
    @files.each do |f|
      if f['former'].nil?
        FileUtils.rm_f(f['path'])
      elsif File.exist?(f['former'])
        edited?(f) ? keep_edit(f) : Files.move(f['former'], f['path'])
      end
      InPlace.forget(f['path'])
    end
  end

  def end
    FileUtils.rm_f(JOURNAL)
    @files.each do |f|
      FileUtils.rm_f(f['former']) if f['former']
      InPlace.forget(f['path'])
    end
  end

  private

  # Whether somebody changed the file after we did: then it is theirs.
  def edited?(file)
    now = Files.read(file['path'])
    now && file['written'] && Digest::SHA256.hexdigest(now) != file['written'] && now != File.binread(file['former'])
  end

  def keep_edit(file)
    now = File.binread(file['path'])
    if Include.present?(now) && !Include.present?(File.binread(file['former']))
      Files.write(file['path'], Include.remove(now, false))
    end
    FileUtils.rm_f(file['former'])
  end
end
