# frozen_string_literal: true

# Why a command of gitlab-ctl failed, from what it printed. Ruby's and chef's messages quote lines of gitlab.rb, and
# those may hold a password of the administrator's: they are left out.
class Reason
  HEADLINE = 'There was an error running gitlab-ctl reconfigure:'
  # What comes after the exception's message (omnibus' package/libraries/handlers/gitlab.rb): it prints the settings
  # that were removed before this, too.
  REST = /\A(Running handlers complete|(Infra Phase|Chef Infra Client|Cinc Client) failed)/.freeze
  GENERAL = /\A(Removals:|Deprecations:|Warnings:|Notes:|Update the configuration in your gitlab\.rb)/.freeze
  TELLING = /error|fatal|undefined|unknown|unsupported|unexpected|no space|not permitted|no end after/i.freeze

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
    telling = shown(message)
    telling = shown(@lines.grep(TELLING)) if telling.empty?
    # Never just the last lines: they may show a line of gitlab.rb.
    telling.empty? ? 'it does not say why' : telling.first(6).join("\n         ")
  end

  private

  def message
    start = @lines.rindex { |l| l.end_with?(HEADLINE) }
    start ? @lines.drop(start + 1).take_while { |l| !l.match?(REST) } : []
  end

  def shown(lines)
    lines.reject { |l| l.empty? || l.match?(GENERAL) || excerpt?(l) }.map { |l| hidden(l)[0, 300] }
  end

  # A line of gitlab.rb, whole or cut as Ruby cuts long ones, or the arrow below it.
  def excerpt?(line)
    bare = line.sub(/\A>?\s*\d*\s*\|\s*/, '').gsub(/\A\.\.\.|\.\.\.\z/, '').strip
    bare.match?(/\A[\^~ |>]*\z/) || @source.any? { |l| line.include?(l) || (bare.length >= 8 && l.include?(bare)) }
  end

  # What Ruby quotes of a line that it cannot read, passwords in URLs, and what gitlab.rb names a secret.
  def hidden(line)
    if line.match?(/\.rb:\d+: .*(syntax|unterminated|unexpected|invalid)/i)
      line = line.gsub(%r{(?<=\s)/.*/|".*"}, '...')
    end
    line = line.gsub(%r{([a-z][a-z0-9+.-]*://)[^"']*@}i, '\1[secret]@')
    @secrets.inject(line) { |text, secret| text.gsub(secret, '[secret]') }
  end

  # The quoted texts right of an assignment that may be secrets; a path is none.
  def texts(line)
    line.sub(/\A[^=]*=/, '').scan(/'([^']{6,})'|"([^"]{6,})"/).flatten.compact.reject { |text| text.start_with?('/') }
  end
end
