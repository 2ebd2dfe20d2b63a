# frozen_string_literal: true

require 'json'

# What is the lab's and not GitLab's: where the host's files begin, and lab.json.
module Lab
  # Tests without a host put the whole tree below a folder.
  ROOT = ENV.fetch('LAB_ROOT', '')

  def self.path(path)
    ROOT + path
  end

  DEFAULTS = {
    'reconfigure_seconds' => 0.3, # besides its work; minutes in reality
    'registry_key_bits' => 2048, # of a generated key; 4096 in reality
    'rails_port' => 8080,
    'sidekiq_boot_seconds' => 3, # about a minute in reality; never so short that a registry restarted after it is late
    'backfill_seconds' => 2 # between looks for repositories that were never synced; a minute in reality
  }.freeze

  def self.settings
    file = path('/opt/gitlab/etc/lab.json')
    DEFAULTS.merge(File.exist?(file) ? JSON.parse(File.read(file)) : {})
  end
end
