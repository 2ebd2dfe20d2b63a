# frozen_string_literal: true

require 'fileutils'
require 'socket'
require_relative 'lab'

# runit as omnibus uses it, real runit: a run script for each service, `sv` to command it. In a test's folder there is
# no runit; what would have been commanded is added to sv.log there.
class Runit
  SERVICES = %w[postgresql registry puma sidekiq nginx].freeze
  LIB = '/opt/gitlab/embedded/lib'
  RUBY = '/opt/gitlab/embedded/bin/ruby --disable-gems'
  RUN = {
    'registry' => 'cd /var/opt/gitlab/registry && exec chpst -P -e /opt/gitlab/etc/registry/env ' \
                  '-U registry:registry -u registry:registry /opt/gitlab/embedded/bin/registry serve ./config.yml',
    'postgresql' => "exec chpst -P -u git:git #{RUBY} #{LIB}/postgresql.rb",
    'puma' => "exec chpst -P -u git:git #{RUBY} #{LIB}/puma.rb",
    'sidekiq' => "exec chpst -P -u git:git #{RUBY} #{LIB}/sidekiq.rb",
    'nginx' => 'exec chpst -P nginx -p /var/opt/gitlab/nginx -c conf/nginx.conf'
  }.freeze

  def run_script(name)
    "#!/bin/bash\nexec 2>&1\n#{RUN.fetch(name)}\n"
  end

  def enabled
    SERVICES.select { |name| Dir.exist?(directory(name)) && !File.exist?(down(name)) }
  end

  # Starts those that are off; which they were.
  def enable(names)
    off = names.select { |name| File.exist?(down(name)) }
    command('start', *off)
    off.each { |name| File.delete(down(name)) }
  end

  def disable(name)
    return if File.exist?(down(name)) || !Dir.exist?(directory(name))

    FileUtils.touch(down(name))
    command('stop', name)
  end

  # Prints what sv says, e.g. "ok: run: registry: (pid 71) 0s"; whether it succeeded. That a service ends at once
  # again is not noticed, as in reality.
  def command(action, *names)
    return true if names.empty?

    unless Lab::ROOT.empty?
      File.write(Lab.path('/sv.log'), names.map { |name| "#{action} #{name}\n" }.join, mode: 'a')
      return true
    end
    sv = ['sv', '-w', '30', action, *names]
    output = IO.popen({ 'SVDIR' => '/opt/gitlab/service' }, sv, err: %i[child out], &:read)
    puts output.gsub('/opt/gitlab/service/', '')
    $?.success?
  end

  # Restart it and wait for another process: of one that was started in this very second sv says at once that it was
  # restarted, before it has ended.
  def renew(name)
    former = pid(name)
    command('restart', name)
    soon { !['', former].include?(pid(name)) }
  end

  # Wait until something on this host accepts connections to a port; nothing happens if that takes too long.
  def listening(port)
    soon { TCPSocket.new('127.0.0.1', port).close || true }
  end

  def directory(name)
    Lab.path("/opt/gitlab/sv/#{name}")
  end

  private

  # Five seconds at most.
  def soon
    250.times do
      return if yield
    rescue SystemCallError
      next
    ensure
      sleep 0.02
    end
  end

  # Empty while it does not run.
  def pid(name)
    File.read("#{directory(name)}/supervise/pid")
  end

  def down(name)
    "#{directory(name)}/down"
  end
end
