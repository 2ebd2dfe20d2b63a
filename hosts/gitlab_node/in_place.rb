# frozen_string_literal: true

# Writes files that are mount points, as gitlab.rb in some containers: a rename cannot replace them (EBUSY). The former
# and the new content are kept beside the file meanwhile, so that the next run can repair an interrupted write.
module InPlace
  def self.write(path, bytes)
    former = File.binread(path)
    return if former == bytes

    keep(path, former, bytes)
    begin
      overwrite(path, bytes)
    rescue SystemCallError
      overwrite(path, former)
      raise
    end
  end

  # Called when the write is complete, or rolled back.
  def self.forget(path)
    FileUtils.rm_f(log(path))
  end

  # Completes an interrupted write. A file that was edited since is left unchanged.
  def self.complete(path)
    path = File.realpath(path) if File.exist?(path)
    former, new = kept(path)
    overwrite(path, new) if new && torn?(File.binread(path), former, new)
    forget(path)
  end

  # Whether `now` is a mixture of the two, in whatever order the disk wrote it; zeros where it did not.
  def self.torn?(now, former, new)
    return false if [former, new].include?(now) || now.bytesize > [former.bytesize, new.bytesize].max

    now.each_byte.with_index.all? { |byte, n| [former.getbyte(n), new.getbyte(n), 0].include?(byte) }
  end

  def self.log(path)
    "#{File.dirname(path)}/.#{File.basename(path)}.geo-registry-in-place"
  end

  # Kept until `forget`: restoring the former content needs no more space on a full disk.
  def self.keep(path, former, new)
    return if kept(path).sort == [former, new].sort

    File.open(log(path), File::WRONLY | File::CREAT | File::TRUNC, 0o600) do |f|
      f.write(JSON.generate('former' => [former].pack('m0'), 'new' => [new].pack('m0')))
      f.fsync
    end
    Files.sync(File.dirname(path))
  rescue SystemCallError
    forget(path)
    raise
  end

  # [former content, new content]; [] if none is kept, or only a part, because then the write had not begun.
  def self.kept(path)
    JSON.parse(Files.read(log(path)) || '{}').values_at('former', 'new').compact.map { |text| text.unpack1('m0') }
  rescue JSON::ParserError
    []
  end

  def self.overwrite(path, bytes)
    File.open(path, 'r+b') do |f|
      f.write(bytes)
      f.truncate(bytes.bytesize)
      f.fsync
    end
  end
  private_class_method :torn?, :keep, :kept, :overwrite
end
