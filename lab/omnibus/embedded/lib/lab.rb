# frozen_string_literal: true

require 'json'
require_relative 'version'

# What belongs to the lab, not to GitLab: the root of the host's files, lab.json, and the installed versions.
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
    'postgresql_check_seconds' => 0.25, # between looks for a server that is to be migrated; 5 in reality
    'registry_postgresql' => false, # whether there is one where the registry does not use it; in reality, from 18.3 on
    'puma_boot_seconds' => 0, # about a minute in reality, or two
    'sidekiq_boot_seconds' => 3, # about a minute in reality; never so short that a registry restarted after it is late
    'backfill_seconds' => 2 # between looks for repositories that were never synced; a minute in reality
  }.freeze

  def self.settings
    file = path('/opt/gitlab/etc/lab.json')
    DEFAULTS.merge(File.exist?(file) ? JSON.parse(File.read(file)) : {})
  end

  # The Linux package's version file. A test's folder without the file has the version of this stand-in.
  VERSION_FILE = '/opt/gitlab/embedded/service/gitlab-rails/VERSION'
  PACKAGE_VERSION_FILE = File.expand_path('../service/gitlab-rails/VERSION', __dir__)
  REGISTRY_VERSIONS = File.expand_path('registry_versions.json', __dir__)

  # The version of GitLab on this host; to change the file is an upgrade.
  def self.version
    file = path(VERSION_FILE)
    Version[File.read(File.exist?(file) ? file : PACKAGE_VERSION_FILE)]
  end

  # The version of the registry that this GitLab has, by omnibus' config/software/registry.rb at each of its tags.
  def self.registry_version(gitlab = version)
    versions = JSON.parse(File.read(REGISTRY_VERSIONS)).select { |since, _| gitlab >= since }
    raise ArgumentError, "GitLab #{gitlab} is older than all that the lab knows" if versions.empty?

    Version[versions.max_by { |since, _| Version[since] }.last]
  end
end
