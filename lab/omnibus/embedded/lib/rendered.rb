# frozen_string_literal: true

require 'json'
require_relative 'derived'

# The texts of the files that a reconfigure writes, with the keys and forms of omnibus' templates
# (registry-config.yml.erb, gitlab.yml.erb, nginx-*.conf.erb), as far as registry and Geo go.
class Rendered
  # Whether the server blocks are where they are since 18.5; before that they lie beside nginx.conf.
  def self.service_conf?
    Lab.version >= '18.5'
  end

  def initialize(settings)
    @settings = settings
    @registry = settings['registry']
    @rails = settings['gitlab_rails']
  end

  # Hashes are rendered as JSON with all their keys: misspelled keys reach the registry.
  def registry_config
    <<~YAML
      version: 0.1
      log:
        level: #{@registry['log_level']}
        formatter: #{@registry['log_formatter']}
        fields:
          service: registry
          environment: production
      storage: #{@registry['storage'].to_json}
      #{optional('middleware')}http:
        addr: #{@registry['registry_http_addr']}
        secret: "#{@registry['http_secret']}"
        headers:
          X-Content-Type-Options: [nosniff]
      #{'  draintimeout: 0' if Lab.version >= '18.10'}
      health:
        storagedriver:
          enabled: #{@registry['health_storagedriver_enabled']}
          interval: 10s
          threshold: 3
      auth:
        token:
          realm: #{@registry['token_realm']}/jwt/auth
          service: container_registry
          issuer: #{@rails['registry_issuer']}
          rootcertbundle: #{@registry['rootcertbundle']}
          autoredirect: #{@registry['autoredirect']}
      validation:
        disabled: #{!@registry['validation_enabled']}
      #{notifications}#{optional('database')}#{optional('gc')}
    YAML
  end

  # The keys under `registry` and `geo` as Rails' 1_settings.rb reads them. (registry['issuer'] is read by nobody:
  # one setting of gitlab_rails feeds both files.)
  def gitlab_yml
    <<~YAML
      # This file is managed by gitlab-ctl. Manual changes will be erased!
      production: &base
        gitlab:
          host: #{@rails['gitlab_host']}
          port: #{@rails['gitlab_port']}
          https: #{@rails['gitlab_https']}
          time_zone: #{@rails['time_zone'].to_s.to_json}
        registry:
          enabled: #{@rails['registry_enabled']}
          host: #{@rails['registry_host']}
          port: #{@rails['registry_port']}
          api_url: #{@rails['registry_api_url']}
          path: #{@rails['registry_path']}
          key: #{@rails['registry_key_path']}
          issuer: #{@rails['registry_issuer']}
          notification_secret: #{@rails['registry_notification_secret']}
        geo:
          node_name: #{@rails['geo_node_name']}
          registry_replication:
            enabled: #{@rails['geo_registry_replication_enabled']}
            primary_api_url: #{@rails['geo_registry_replication_primary_api_url']}
        lab:
          secondary_role: #{@settings['geo_secondary_role']['enable'] == true}
    YAML
  end

  def secrets_yml
    "production:\n  db_key_base: #{@rails['db_key_base']}\n"
  end

  def nginx_conf
    dir = "#{Derived::DATA}/nginx"
    temporary = %w[client_body proxy fastcgi uwsgi scgi].map { |name| "  #{name}_temp_path #{dir}/#{name}_temp;" }
    <<~CONF
      daemon off;
      user gitlab-www gitlab-www;
      worker_processes 1;
      pid #{dir}/nginx.pid;
      error_log /var/log/gitlab/nginx/error.log;
      events { worker_connections 1024; }
      http {
        include /etc/nginx/mime.types;
        access_log /var/log/gitlab/nginx/access.log;
        client_max_body_size #{@settings['nginx']['client_max_body_size'] || '250m'};
        server_names_hash_bucket_size 64;
      #{temporary.join("\n")}
        include #{dir}/conf/#{'service_conf/' if Rendered.service_conf?}gitlab-*.conf;
      }
    CONF
  end

  def nginx_rails
    server(@settings['nginx'], @rails['gitlab_host'], '127.0.0.1:8080', redirect: @settings['nginx']['redirect_http_to_https'])
  end

  # Docker's client needs the address it asked for in the Location of an upload, and no buffering of layers.
  def nginx_registry
    nginx = @settings['registry_nginx']
    server(nginx, @rails['registry_host'], @registry['registry_http_addr'], redirect: nginx['redirect_http_to_https'],
           extra: 'client_max_body_size 0; proxy_buffering off; proxy_request_buffering off;')
  end

  private

  def optional(name)
    value = @registry[name]
    value.nil? || value == {} ? '' : "#{name}: #{value.to_json}\n"
  end

  def notifications
    @registry['notifications'] ? "notifications:\n  endpoints: #{@registry['notifications'].to_json}\n" : ''
  end

  # Requests to port 80 are redirected, except for the proofs that Let's Encrypt requests.
  def plain_server(host, port)
    proofs = "location /.well-known/acme-challenge/ { root #{Derived::DATA}/nginx/www; } " if @settings['letsencrypt']['enable']
    port = port.to_i == 443 ? '' : ":#{port}"
    "server { listen *:80; server_name #{host}; #{proofs}location / { return 301 https://#{host}#{port}$request_uri; } }\n"
  end

  # listen_https decides whether nginx uses TLS; the URL decides what Rails and the registry get.
  def server(nginx, host, upstream, extra: '', redirect: false)
    tls = nginx['listen_https'].nil? ? nginx['https'] : nginx['listen_https']
    ssl = "\n  ssl_certificate #{nginx['ssl_certificate']};\n  ssl_certificate_key #{nginx['ssl_certificate_key']};" if tls
    plain = plain_server(host, nginx['listen_port']) if tls && redirect
    <<~CONF
      #{plain}server {
        listen *:#{nginx['listen_port']}#{' ssl' if tls};
        server_name #{host};#{ssl}
        #{extra}
        location / {
          proxy_pass http://#{upstream};
          proxy_http_version 1.1;
          proxy_read_timeout 900;
          proxy_set_header Host $http_host;
          proxy_set_header X-Real-IP $remote_addr;
          proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
          proxy_set_header X-Forwarded-Proto #{nginx['https'] ? 'https' : 'http'};
        }
      }
    CONF
  end
end
