# frozen_string_literal: true

require 'yaml'
require_relative 'lab'

# gitlab.yml as Rails reads it once, at its start, with the defaults of its config/initializers/1_settings.rb.
class RailsConfig
  PATH = '/var/opt/gitlab/gitlab-rails/etc/gitlab.yml'
  HERE = 'http://localhost:5000'

  def initialize
    @production = YAML.safe_load(File.read(Lab.path(PATH)), aliases: true).fetch('production')
  end

  # enabled, api_url, key (a path), issuer, notification_secret
  def registry
    { 'api_url' => HERE }.merge((@production['registry'] || {}).compact)
  end

  # Without an address a secondary takes its own registry for the primary's, and finds all of it in order.
  def replication
    { 'enabled' => false, 'primary_api_url' => HERE }.merge((@production.dig('geo', 'registry_replication') || {}).compact)
  end
end
