# frozen_string_literal: true

# Compares the tags of the primary's registry with those of this site's, digest by digest, one repository after the
# other: memory is needed for the largest repository only. Both are read with pull-only tokens that are signed here.
class Comparison
  # Of each kind; counts go on.
  LISTED = 200
  KINDS = %w[missing different surplus].freeze

  def initialize(order)
    @order = order
    @token = Token.new(order['secrets']['registry_key'], order['issuer'])
    @primary = Catalog.new(@token, order['primary']['registry_url'].chomp('/'))
    @here = Catalog.new(@token, Registry.local.url)
  end

  # {'repositories', 'tags', 'missing' => {'count', 'images'}, 'different', 'surplus'}. Raises Failure if one of both
  # registries cannot be read: that is never "equal".
  def run
    names = [@primary, @here].map { |catalog| catalog.repositories.to_h { |path| [path, true] } }
    @found = KINDS.to_h { |kind| [kind, { 'count' => 0, 'images' => [] }] }
    @tags = 0
    all = names.flat_map(&:keys).uniq.sort
    all.each_with_index do |path, number|
      compare(path, *names.map { |known| known.key?(path) })
      Report.say("#{@order['node']}: compared #{number + 1} of #{all.size} repositories") if ((number + 1) % 50).zero?
    end
    { 'repositories' => all.size, 'tags' => @tags, **@found }
  end

  private

  def compare(path, *known)
    remote, local = [@primary, @here].zip(known).map { |catalog, there| there ? catalog.of(path) : {} }
    @tags += remote.size
    note('missing', path, remote.keys - local.keys)
    note('surplus', path, local.keys - remote.keys)
    note('different', path, (remote.keys & local.keys).reject { |tag| remote[tag] == local[tag] })
  end

  def note(kind, path, tags)
    list = @found[kind]
    list['count'] += tags.size
    list['images'].concat(tags.first(LISTED - list['images'].size).map { |tag| "#{path}:#{tag}" })
  end
end
