# frozen_string_literal: true

# A file that is mounted by itself, as containers do with gitlab.rb, cannot be replaced by a rename (EBUSY): it is
# written in place. What stood there and what is to stand there is kept beside it meanwhile, so that a run that was cut
# off in the middle leaves nothing torn for longer than until the next run.
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

  # The write is over, or taken back.
  def self.forget(path)
    FileUtils.rm_f(log(path))
  end

  # Completes a write that was cut off. A file that somebody has changed since is theirs.
  def self.complete(path)
    path = File.realpath(path) if File.exist?(path)
    former, new = kept(path)
    overwrite(path, new) if new && torn?(File.binread(path), former, new)
    forget(path)
  end

  # Whether it is a mixture of the two, in whatever order the disk has written it; zeros where it has not.
  def self.torn?(now, former, new)
    return false if [former, new].include?(now) || now.bytesize > [former.bytesize, new.bytesize].max

    now.each_byte.with_index.all? { |byte, at| [former.getbyte(at), new.getbyte(at), 0].include?(byte) }
  end

  def self.log(path)
    "#{File.dirname(path)}/.#{File.basename(path)}.geo-registry-in-place"
  end

  # Kept until it is forgotten: putting the former text back needs no more room on a full disk.
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

  # [former text, new text]; [] where none is kept, or not wholly, so that the write had not begun.
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
