# frozen_string_literal: true

require_relative 'lab'

# The nginx settings of each service, as omnibus of each version takes them: from 19.2 on below the service, with the
# former names translated and warned of (translate_client_settings in gitlab/libraries/gitlab_rails.rb and
# translate_service_nginx_settings in nginx/libraries/nginx.rb). Before that nothing reads the newer names.
#
# Behind it the rest of the lab finds both where they were before, under `nginx` and `registry_nginx`.
class NginxSettings
  # Those of `nginx` that are Rails' own server's, of which the lab knows any.
  RAILS = %w[client_max_body_size listen_https listen_port redirect_http_to_https ssl_certificate ssl_certificate_key].freeze

  def initialize(settings, warnings)
    @settings = settings
    @warnings = warnings
  end

  def apply
    return if Lab.version < '19.2'

    rails
    registry
  end

  private

  def rails
    former, newer = @settings['nginx'], @settings['gitlab_rails'].delete('nginx') || {}
    RAILS.each do |key|
      next if former[key].nil?

      @warnings << "nginx['#{key}'] has been deprecated. Please use gitlab_rails['nginx']['#{key}'] instead."
    end
    former.merge!(newer)
  end

  def registry
    former, newer = @settings['registry_nginx'], @settings['registry'].delete('nginx') || {}
    @warnings << "registry_nginx has been deprecated. Please use registry['nginx'] instead." unless former.empty?
    former.merge!(newer)
  end
end
