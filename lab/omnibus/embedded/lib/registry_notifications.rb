# frozen_string_literal: true

# The notification endpoints of GitLab's registry for Debian's, which has `threshold` alone.
module RegistryNotifications
  def self.apply(config, _version)
    (config.dig('notifications', 'endpoints') || []).each do |endpoint|
      retries = endpoint.delete('maxretries')
      endpoint['threshold'] = retries if retries
    end
    config
  end
end
