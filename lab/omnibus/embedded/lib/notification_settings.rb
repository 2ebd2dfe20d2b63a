# frozen_string_literal: true

require_relative 'lab'

# The notification endpoints as omnibus of each version completes them (parse_registry_notifications in
# gitlab/libraries/registry.rb).
class NotificationSettings
  DEFAULTS = { 'timeout' => '500ms', 'threshold' => 5, 'maxretries' => 5, 'backoff' => '1s' }.freeze

  def initialize(settings, warnings)
    @rails = settings['gitlab_rails']
    @registry = settings['registry']
    @warnings = warnings
  end

  # No check of the shape: what is not an Array of Hashes with an Authorization fails by itself, with Ruby's words.
  # registry['notification_secret'], which some docs name, is read by nothing.
  def apply
    @registry['notifications'].each do |endpoint|
      retries(endpoint)
      default(endpoint, 'timeout')
      default(endpoint, 'backoff')
      endpoint['headers'] = ConfigMash.from(@registry['default_notifications_headers'] || {})
                                      .merge!(endpoint['headers'] || {})
      next unless endpoint['name'] == 'geo_event'

      @rails['registry_notification_secret'] ||= endpoint['headers']['Authorization'].last
    end
  end

  private

  # Up to 17.0 `threshold` alone (commit a602a6229), then both, whichever was stated; from 19.1 on `threshold` only where
  # it is stated alone (commit 40720b672).
  def retries(endpoint)
    return default(endpoint, 'threshold') if Lab.version < '17.1'

    if Lab.version < '19.1'
      %w[threshold maxretries].each { |key| default(endpoint, key) }
    elsif endpoint['threshold'] && !endpoint['maxretries']
      @warnings << "registry: notification endpoint '#{endpoint['name']}': 'threshold' is deprecated. " \
                   "Please migrate to 'maxretries'."
    else
      default(endpoint, 'maxretries')
    end
  end

  def default(endpoint, key)
    endpoint[key] ||= @registry["default_notifications_#{key}"] || DEFAULTS.fetch(key)
  end
end
