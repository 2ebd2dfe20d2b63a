"""What omnibus does with a settings file, by real Ruby: names that it does not know are errors."""

from __future__ import annotations

from typing import Any

from tests.ruby import POOREST, Ruby

EVALUATE = """
class GitlabRb
  TABLES = %w[registry gitlab_rails nginx registry_nginx letsencrypt].freeze
  CALLS = %w[external_url registry_external_url roles].freeze
  SECRETS = '/etc/gitlab/geo-registry/secrets.json'

  # The node's files: there is one.
  module File
    class << self
      attr_accessor :secrets

      def read(path)
        path == SECRETS ? secrets : raise("no such file: #{path}")
      end
    end
  end

  attr_reader :said

  def initialize(theirs)
    @said = { 'registry' => theirs }
  end

  # A hash below a table comes into being when something in it is stated.
  TABLES.each { |name| define_method(name) { @said[name] ||= {} } }
  NESTED = %w[gitlab_rails registry].freeze
  NESTED.each do |name|
    define_method(name) do
      table = (@said[name] ||= {})
      table.default_proc = ->(hash, key) { key == 'nginx' ? hash[key] = {} : nil }
      table
    end
  end
  CALLS.each { |name| define_method(name) { |value| @said[name] = value } }

  def evaluate(text)
    eval(text.dup.force_encoding('US-ASCII'), binding)
    said
  end
end

$stdout.sync = true
while (line = $stdin.gets)
  answers = JSON.parse(line).map do |text, secrets, theirs|
    GitlabRb::File.secrets = JSON.generate(secrets)
    GitlabRb.new(theirs).evaluate(text)
  rescue ScriptError, StandardError => e
    "#{e.class}: #{e.message}"
  end
  puts JSON.generate(answers)
end
"""


class Omnibus(Ruby):
    """One Ruby for many settings files, under the locale that is hardest on them."""

    def __init__(self) -> None:
        super().__init__("--disable-gems", "-rjson", "-e", EVALUATE, env=POOREST)

    def settings(self, files: list[tuple[str, dict[str, Any], dict[str, Any]]]) -> list[Any]:
        """Of each file, its secrets and what gitlab.rb says before it: tables and calls, or the error."""
        assert all(text.isascii() for text, *_ in files)
        found: list[Any] = self.ask(files)
        return found
