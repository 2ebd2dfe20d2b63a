# frozen_string_literal: true

# A version of GitLab or of its registry, "18.11.1-ee" or "v4.39.0-gitlab", to be compared with another or with a text:
# `Lab.version >= '18.8'`.
class Version
  include Comparable
  attr_reader :major, :minor, :patch

  # ArgumentError for what is not a version.
  def self.[](text)
    new(text)
  end

  def initialize(text)
    numbers = text.to_s.strip.match(/\Av?(\d+)\.(\d+)(?:\.(\d+))?(?![\d.])/)
    raise ArgumentError, "#{text.inspect} is not a version" unless numbers

    @major, @minor, @patch = numbers.captures.map(&:to_i)
  end

  def to_a
    [major, minor, patch]
  end

  def to_s
    to_a.join('.')
  end

  def <=>(other)
    to_a <=> (other.is_a?(Version) ? other : Version.new(other)).to_a
  end
end
