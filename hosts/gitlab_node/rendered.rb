# frozen_string_literal: true

# Compares the files that the Linux package rendered with the settings.
module Rendered
  # The differences, as text; empty if there are none.
  def self.faults(order)
    wrong = []
    secrets = order['secrets']
    if Checks.rails?(order) && Files.read(Omnibus.key).to_s.strip != secrets['registry_key'].strip
      wrong << "#{Omnibus.key} contains another key"
    end
    wrong += registry(order, secrets) if order['roles'].include?('registry')
    wrong += rails(order, secrets) if Checks.rails?(order)
    wrong
  end

  def self.registry(order, secrets)
    config = Omnibus.registry_config or return ["#{Omnibus.registry_config_path} is missing"]
    wrong = []
    unless Omnibus.certificate_in?(Files.read(Omnibus.certificate).to_s, secrets['registry_certificate'])
      wrong << "#{Omnibus.certificate} does not contain the certificate"
    end
    realm = config.dig('auth', 'token', 'realm')
    if realm != "#{order['public']['external_url']}/jwt/auth"
      wrong << "config.yml has the realm #{realm} (registry['token_realm'])"
    end
    if config.dig('auth', 'token', 'issuer') != order['issuer']
      wrong << "config.yml has the issuer #{config.dig('auth', 'token', 'issuer')}"
    end
    wrong += database(config['database'] || {}, order['database'])
    endpoints = (config.dig('notifications', 'endpoints') || []).select { |e| e['name'] == 'geo_event' }
    tokens = endpoints.map { |e| e.dig('headers', 'Authorization') }
    expected = order['kind'] == 'primary' ? [[secrets['notification_secret']]] : []
    wrong << 'config.yml contains different geo_event notifications' if tokens != expected
    read_only = config.dig('storage', 'maintenance', 'readonly', 'enabled') == true
    if order['storage'] && read_only != order['read_only']
      wrong << "read-only mode is #{read_only ? 'on' : 'off'} in config.yml " \
               "(registry['storage']['maintenance']['readonly'])"
    end
    wrong
  end

  def self.database(database, expected)
    enabled = !['', 'false'].include?(database['enabled'].to_s)
    return enabled ? ['config.yml has the metadata database enabled'] : [] unless expected
    return enabled ? [] : ['config.yml has the metadata database disabled'] if expected['managed']
    return [] if enabled && database.values_at('host', 'dbname') == expected.values_at('host', 'name')

    ["config.yml has the metadata database #{enabled ? "at #{database['host']} #{database['dbname']}" : 'disabled'}"]
  end

  def self.rails(order, secrets)
    config = Omnibus.rails_config
    geo = config.dig('geo', 'registry_replication') || {}
    wrong = address(order, config)
    enabled = geo['enabled'] == true
    wrong << "registry replication is #{enabled ? 'on' : 'off'} in gitlab.yml" if enabled != order['replication']
    if order['kind'] == 'primary' && config.dig('registry', 'notification_secret') != secrets['notification_secret']
      wrong << 'gitlab.yml has another notification secret'
    end
    if order['replication'] && geo['primary_api_url'] != order['primary']['registry_url']
      wrong << "gitlab.yml has the primary's registry at #{geo['primary_api_url'].inspect}"
    end
    wrong
  end

  # The name of images, the URL of the registry's API, and the URL of the GitLab that issues tokens.
  def self.address(order, config)
    registry = config['registry'] || {}
    name = PublicName.shown(registry['host'], registry['port'])
    expected = PublicName.of(order['public']['registry_url'])
    wrong = []
    wrong << 'gitlab.yml has the registry disabled' unless registry['enabled'] == true
    if name != expected
      wrong << "gitlab.yml has the registry at #{name} (registry_external_url, gitlab_rails['registry_port'])"
    end
    if registry['api_url'] != api_url(order)
      wrong << "gitlab.yml has the registry's API at #{registry['api_url']} (gitlab_rails['registry_api_url'])"
    end
    host = config.dig('gitlab', 'host').to_s
    if host.casecmp(URI(order['public']['external_url']).host) != 0
      wrong << "gitlab.yml has GitLab at #{host} (external_url), not at #{order['public']['external_url']}"
    end
    wrong
  end

  def self.api_url(order)
    return order['public']['api_url'] if order['public']['api_url']

    "http://#{Registry.local_address}"
  end
end
