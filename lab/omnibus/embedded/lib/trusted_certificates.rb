# frozen_string_literal: true

require 'digest'
require 'fileutils'
require 'openssl'
require_relative 'lab'

# A stand-in for omnibus' CertificateHelper (package/libraries/certificate_helper.rb): the administrator's certificates
# become links in the directory that GitLab's Ruby, curl and registry trust. Simulated: `openssl rehash` looks at .pem, .crt,
# .cer and .crl only, and passes over a file of several certificates with a warning (as since GitLab 18.2; before and
# since 18.4 all of such a file counts); what lies in GitLab's own directory is moved to the administrator's; nothing is
# done while all files have the times that they had.
class TrustedCertificates
  TRUSTED = '/etc/gitlab/trusted-certs'
  EMBEDDED = '/opt/gitlab/embedded/ssl/certs'
  SEEN = '/var/opt/gitlab/trusted-certs-directory-hash'
  OWN = %w[README cacert.pem].freeze

  # Whether anything was new.
  def apply
    return false if File.exist?(Lab.path(SEEN)) && File.read(Lab.path(SEEN)) == times

    puts "  * Moving existing certificates found in #{EMBEDDED}"
    files(EMBEDDED).each { |file| move(file) unless OWN.include?(File.basename(file)) }
    puts "  * Symlinking existing certificates found in #{TRUSTED}"
    rehash
    files(TRUSTED).each { |file| link(file) if File.symlink?(file) && certificate?(file) }
    File.write(Lab.path(SEEN), times)
    true
  end

  private

  # Without the links that lead nowhere any more, which are deleted.
  def files(directory)
    Dir.glob("#{Lab.path(directory)}/*").select do |file|
      File.exist?(file) || (FileUtils.rm_f(file) && false)
    end
  end

  def times
    Digest::SHA1.hexdigest((files(TRUSTED) + files(EMBEDDED)).map { |file| File.stat(file).mtime }.join)
  end

  def move(file)
    raise "ERROR: Not a certificate: #{file}. Move it to a different location and reconfigure again." unless certificate?(file)
    return if File.symlink?(file) && File.readlink(file).start_with?(Lab.path(TRUSTED))

    real = File.realpath(file)
    puts "    Moving #{real}"
    inside = real.start_with?(Lab.path(EMBEDDED))
    inside ? FileUtils.mv(real, Lab.path(TRUSTED), force: true) : FileUtils.cp(real, Lab.path(TRUSTED))
    FileUtils.rm_f(file) if File.symlink?(file)
  end

  def rehash
    FileUtils.chmod(0o644, files(TRUSTED).reject { |file| File.directory?(file) })
    IO.popen(['openssl', 'rehash', Lab.path(TRUSTED)], err: %i[child out]) { |said| said.each_line { |line| puts line } }
  end

  def link(file)
    target = "#{Lab.path(EMBEDDED)}/#{File.basename(file)}"
    puts "    Linking #{File.basename(file)} from #{File.realpath(file)}"
    FileUtils.ln_s(File.realpath(file), target) unless File.exist?(target)
  end

  def certificate?(file)
    OpenSSL::X509::Certificate.new(File.read(file))
    true
  rescue OpenSSL::X509::CertificateError => e
    warn("ERROR: #{file}: OpenSSL error: #{e.message}!")
    false
  end
end
