# frozen_string_literal: true

require 'yaml'
require_relative 'lab'

# gitlab.yml as Rails reads it once, at its start, with the defaults of its config/initializers/1_settings.rb.
class RailsConfig
  PATH = '/var/opt/gitlab/gitlab-rails/etc/gitlab.yml'
  HERE = 'http://localhost:5000'

  SECRETS = '/var/opt/gitlab/gitlab-rails/etc/secrets.yml'

  def initialize
    secrets = Lab.path(SECRETS)
    @secrets = File.exist?(secrets) ? YAML.safe_load(File.read(secrets)).fetch('production') : {}
    @production = YAML.safe_load(File.read(Lab.path(PATH)), aliases: true).fetch('production')
  end

  # enabled, api_url, key (a path), issuer, notification_secret
  def registry
    { 'api_url' => HERE }.merge((@production['registry'] || {}).compact)
  end

  def db_key_base
    @secrets['db_key_base']
  end

  def url
    gitlab = @production['gitlab']
    "#{gitlab['https'] ? 'https' : 'http'}://#{gitlab['host']}"
  end

  # Geo's name for this site.
  def node_name
    name = @production.dig('geo', 'node_name').to_s
    name.empty? ? "#{url}/" : name
  end

  # Whether this site's roles make it a secondary. (Not in the real file: Rails finds itself in the database.)
  def secondary?
    @production.dig('lab', 'secondary_role') == true
  end

  # Without an address a secondary takes its own registry for the primary's, and finds all of it in order.
  def replication
    { 'enabled' => false, 'primary_api_url' => HERE }.merge((@production.dig('geo', 'registry_replication') || {}).compact)
  end
end
