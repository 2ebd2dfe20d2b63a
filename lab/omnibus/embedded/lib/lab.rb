# frozen_string_literal: true

require 'json'

# What is the lab's and not GitLab's: where the host's files begin, and lab.json.
module Lab
  # Tests without a host put the whole tree below a folder.
  ROOT = ENV.fetch('LAB_ROOT', '')

  def self.path(path)
    ROOT + path
  end

  # "reconfigure_seconds": how long a reconfigure takes besides its work; "registry_key_bits" of a generated key.
  def self.settings
    file = path('/opt/gitlab/etc/lab.json')
    { 'reconfigure_seconds' => 0.3, 'registry_key_bits' => 2048 }.merge(File.exist?(file) ? JSON.parse(File.read(file)) : {})
  end
end
