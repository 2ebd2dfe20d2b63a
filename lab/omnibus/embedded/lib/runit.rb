# frozen_string_literal: true

require 'fileutils'
require 'socket'
require_relative 'lab'

# runit as omnibus uses it, real runit: a run script for each service, `sv` to command it. In a test's folder there is
# no runit; what would have been commanded is added to sv.log there.
class Runit
  # The first is the lab's own: in reality it is in the second.
  SERVICES = %w[registry-postgresql postgresql registry puma sidekiq nginx].freeze
  TAI = (1 << 62) + 10 # 1970 in runit's clock
  LIB = '/opt/gitlab/embedded/lib'
  RUBY = '/opt/gitlab/embedded/bin/ruby --disable-gems'
  RUN = {
    'registry' => 'cd %<registry>s && exec chpst -P -e /opt/gitlab/etc/registry/env ' \
                  '-U registry:registry -u registry:registry /opt/gitlab/embedded/bin/registry serve ./config.yml',
    'registry-postgresql' => "exec #{RUBY} #{LIB}/registry_postgresql.rb",
    'postgresql' => "exec chpst -P -u git:git #{RUBY} #{LIB}/postgresql.rb",
    'puma' => "exec chpst -P -u git:git #{RUBY} #{LIB}/puma.rb",
    'sidekiq' => "exec chpst -P -u git:git #{RUBY} #{LIB}/sidekiq.rb",
    'nginx' => 'exec chpst -P nginx -p /var/opt/gitlab/nginx -c conf/nginx.conf'
  }.freeze

  def run_script(name, registry = '')
    "#!/bin/bash\nexec 2>&1\n#{format(RUN.fetch(name), registry: registry)}\n"
  end

  def enabled
    SERVICES.select { |name| Dir.exist?(directory(name)) && !File.exist?(down(name)) }
  end

  # Starts those that are down; returns them.
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

  # Prints the output of sv, e.g. "ok: run: registry: (pid 71) 0s"; whether it succeeded. As in reality, a service
  # that exits immediately is not noticed.
  def command(action, *names)
    return true if names.empty?

    unless Lab::ROOT.empty?
      File.write(Lab.path('/sv.log'), names.map { |name| "#{action} #{name}\n" }.join, mode: 'a')
      return true
    end
    past_their_second(names) if action == 'restart'
    nginx = action == 'restart' && names == ['nginx']
    sv = ['sv', '-w', nginx ? '5' : '30', action, *names]
    output = IO.popen({ 'SVDIR' => '/opt/gitlab/service' }, sv, err: %i[child out], &:read)
    succeeded = $?.success?
    # sv looks several times a second. A real nginx that cannot load a certificate lives long enough to be seen running by
    # it, so that a restart succeeds; the lab's ends within milliseconds.
    output.sub!(/^timeout: down: nginx:.*/, 'ok: run: nginx: (pid 1) 0s') && succeeded = true if nginx
    puts output.gsub('/opt/gitlab/service/', '')
    succeeded
  end

  # Wait until something on this host accepts connections to a port; nothing happens if that takes too long.
  def listening(port, seconds: 5)
    (seconds * 50).to_i.times do
      return TCPSocket.new('127.0.0.1', port).close
    rescue SystemCallError
      sleep 0.02
    end
  end

  def directory(name)
    Lab.path("/opt/gitlab/sv/#{name}")
  end

  private

  # sv compares seconds: of a service that was started in this very one it says at once that it was restarted, while
  # the former process still answers. Only here can a restart follow a start so soon.
  def past_their_second(names)
    since = names.map { |name| File.binread("#{directory(name)}/supervise/status", 8).unpack1('Q>') - TAI }.max
    sleep 1.01 - (Time.now.to_f % 1) if Time.now.to_i <= since
  rescue Errno::ENOENT
    nil # Not supervised yet; sv says so.
  end

  def down(name)
    "#{directory(name)}/down"
  end
end
