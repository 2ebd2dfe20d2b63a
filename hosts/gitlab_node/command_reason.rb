# frozen_string_literal: true

# Why a gitlab-ctl command failed, from its output. Ruby's and chef's messages quote lines of gitlab.rb, which may
# contain a password: they are omitted.
class CommandReason
  HEADLINE = 'There was an error running gitlab-ctl reconfigure:'
  # What follows the exception's message (omnibus-gitlab, package/libraries/handlers/gitlab.rb): before this it also
  # prints the removed settings.
  REST = /\A(Running handlers complete|(Infra Phase|Chef Infra Client|Cinc Client) failed)/.freeze
  GENERAL = /\A(Removals:|Deprecations:|Warnings:|Notes:|Update the configuration in your gitlab\.rb)/.freeze
  ERROR_LINE = /error|fatal|undefined|unknown|unsupported|unexpected|no space|not permitted|did not end within/i.freeze

  def self.of(output)
    new(output).to_s
  end

  def initialize(output)
    @lines = output.scrub.gsub(/\e\[[0-9;]*m/, '').lines.map(&:strip)
    gitlab_rb = Files.read(Omnibus::GITLAB_RB).to_s.dup.force_encoding('UTF-8').scrub.lines.map(&:strip)
    @source = gitlab_rb.select { |l| l.length >= 8 && !l.start_with?('#') }
    @secrets = @source.grep(/pass|secret|token|key|credential/i).flat_map { |l| texts(l) }.sort_by { |s| -s.length }
  end

  def to_s
    reasons = shown(message)
    reasons = shown(@lines.grep(ERROR_LINE)) if reasons.empty?
    # Never only the last lines: they may quote a line of gitlab.rb.
    reasons.empty? ? 'it reports no reason' : reasons.first(6).join("\n         ")
  end

  private

  def message
    start = @lines.rindex { |l| l.end_with?(HEADLINE) }
    start ? @lines.drop(start + 1).take_while { |l| !l.match?(REST) } : []
  end

  def shown(lines)
    lines.reject { |l| l.empty? || l.match?(GENERAL) || excerpt?(l) }.map { |l| hidden(l)[0, 300] }
  end

  # Whether it is a line of gitlab.rb, complete or truncated as Ruby does, or the arrow below one.
  def excerpt?(line)
    bare = line.sub(/\A>?\s*\d*\s*\|\s*/, '').gsub(/\A\.\.\.|\.\.\.\z/, '').strip
    bare.match?(/\A[\^~ |>]*\z/) || @source.any? { |l| line.include?(l) || (bare.length >= 8 && l.include?(bare)) }
  end

  # Without what Ruby quotes of a line it cannot parse, passwords in URLs, and the secrets of gitlab.rb.
  def hidden(line)
    if line.match?(/\.rb:\d+: .*(syntax|unterminated|unexpected|invalid)/i)
      line = line.gsub(%r{(?<=\s)/.*/|".*"}, '...')
    end
    line = line.gsub(%r{([a-z][a-z0-9+.-]*://)[^"']*@}i, '\1[secret]@')
    @secrets.inject(line) { |text, secret| text.gsub(secret, '[secret]') }
  end

  # The quoted strings of an assignment that may be secrets; a path is not one.
  def texts(line)
    line.sub(/\A[^=]*=/, '').scan(/'([^']{6,})'|"([^"]{6,})"/).flatten.compact.reject { |text| text.start_with?('/') }
  end
end
