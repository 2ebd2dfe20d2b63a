# frozen_string_literal: true

# Writes single files atomically.
module Files
  # The copy is in the same directory, so that the rename is atomic. A link's target is replaced, the link stays.
  def self.write(path, bytes, mode: nil)
    replace(path, bytes, mode: mode)
    InPlace.forget(File.realpath(path))
  end

  # If the file had to be written in place, InPlace keeps its former content until `forget`.
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

  # `cp` keeps owner, mode, ACL and SELinux context; FileUtils does not.
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

# Adds the include line at the end of the administrator's gitlab.rb, and removes it: exact inverses.
module Include
  SETTINGS = '/etc/gitlab/geo-registry/settings.rb'
  LINE = "from_file '#{SETTINGS}' if File.exist?('#{SETTINGS}')"

  # [new bytes, whether a newline had to be added to the administrator's last line]
  def self.add(bytes, newline_added)
    original = remove(bytes, newline_added)
    eol = original[/\r?\n\z/] || (original.include?("\r\n") ? "\r\n" : "\n")
    missing = !original.empty? && !original.end_with?("\n")
    [original + (missing ? eol : '').b + (LINE + eol).b, missing]
  end

  def self.remove(bytes, newline_added)
    start = bytes.rindex(LINE.b)
    return bytes unless start

    last = bytes.byteslice(start + LINE.bytesize..).strip.empty?
    rest = bytes.gsub(/^#{Regexp.escape(LINE)}[ \t]*\r?(\n|\z)/n, ''.b)
    newline_added && last ? rest.sub(/\r?\n\z/n, ''.b) : rest
  end

  def self.present?(bytes)
    bytes.include?(LINE.b)
  end
end

# Changes several files together. While the journal exists the transaction is incomplete, and the next run rolls it back
# first. A rollback only renames copies that were made beforehand, so it needs no space on a full disk.
class FileTransaction
  DIRECTORY = '/etc/gitlab/geo-registry'
  JOURNAL = "#{DIRECTORY}/journal.json"

  # Rolls back what an interrupted run (power, kill -9) left incomplete. True if there was such a run; the journal stays
  # until a transaction is committed, so that if this run fails too, the next still knows that recovery is pending.
  def self.recover
    journal = Files.read(JOURNAL)
    return false unless journal

    journal = JSON.parse(journal)
    journal['files'].each { |f| InPlace.complete(f['path']) }
    new(journal['files'], journal['section']).rollback
    Files.write(JOURNAL, JSON.generate(journal.merge('files' => [])), mode: 0o600)
    true
  end

  # Records for the next run why the rollback failed as well.
  def self.note_failure(why)
    journal = Files.read(JOURNAL) or return
    Files.write(JOURNAL, JSON.generate(JSON.parse(journal).merge('failed' => why)), mode: 0o600)
  rescue SystemCallError, IOError
    nil
  end

  # files: [{'path', 'former' (the copy's path, nil if there was no file), 'written' (SHA-256 of the new bytes, nil if
  # deleted)}]; section: the registry's former section of gitlab-secrets.json.
  def initialize(files, section)
    @files = files
    @section = section
  end

  # contents: {path => bytes, or nil to delete}; modes: {path => mode}; begun: what the journal records of the first
  # transaction that was not committed. Raises SystemCallError or IOError with all files unchanged, and a journal only
  # if there was one before.
  def self.write(contents, modes, section, begun = {})
    incomplete = File.exist?(JOURNAL)
    FileUtils.mkdir_p(DIRECTORY, mode: 0o755)
    transaction = new(contents.map { |path, bytes| prepare(path, bytes) }, section)
    Files.write(JOURNAL, JSON.generate('files' => transaction.files, 'section' => section, **begun), mode: 0o600)
    contents.each do |path, bytes|
      # A new image has no trusted-certs before its first reconfigure.
      FileUtils.mkdir_p(File.dirname(path)) if bytes
      bytes ? Files.replace(path, bytes, mode: modes[path]) : FileUtils.rm_f(path)
    end
    transaction
  rescue SystemCallError, IOError
    transaction ? transaction.rollback : contents.each_key { |path| FileUtils.rm_f(former(path)) }
    FileUtils.rm_f(JOURNAL) unless incomplete
    remove_empty_directory
    raise
  end

  def self.remove_empty_directory
    Dir.rmdir(DIRECTORY) if Dir.exist?(DIRECTORY) && Dir.empty?(DIRECTORY)
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

  def rollback
    @files.each do |f|
      if f['former'].nil?
        FileUtils.rm_f(f['path'])
      elsif File.exist?(f['former'])
        edited?(f) ? keep_edit(f) : Files.move(f['former'], f['path'])
      end
      InPlace.forget(f['path'])
    end
  end

  def commit
    FileUtils.rm_f(JOURNAL)
    @files.each do |f|
      FileUtils.rm_f(f['former']) if f['former']
      InPlace.forget(f['path'])
    end
  end

  private

  # Whether the file was edited since this program wrote it: then the edit is kept.
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
