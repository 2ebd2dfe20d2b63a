# frozen_string_literal: true

# Compares the images of the primary's registry with those of this site, digest by digest. Both are read with pull-only
# tokens that are signed here. Some repositories at a time, so that memory does not grow with the number of tags, and
# after each of these parts its result is printed: a comparison that was interrupted continues after it.
#
# An index with the same digest does not prove that its manifests are there, so each of them is looked for. Signatures
# and SBOMs are tags with an image's digest as their name (`sha256-....sig`), or manifests that refer to the image; of
# these clients keep an index at the tag `sha256-...`, since neither GitLab's registry (4.39) nor Distribution has the
# referrers API of OCI 1.1. All of these are tags here. With `deep`, each blob that a manifest refers to is looked for.
class Comparison
  # Images of each kind in a part; counts go on.
  LISTED = 200
  KINDS = %w[missing different surplus].freeze
  REPOSITORIES = 64
  # BuildKit's cache: an index that lists blobs.
  CACHE = 'application/vnd.buildkit.cacheconfig'

  def initialize(order)
    @order = order
    @after, @deep = (order['compare'] || {}).values_at('after', 'deep')
    tokens = PullTokens.new(Token.new(order['secrets']['registry_key'], order['issuer']))
    @primary = Catalog.new(tokens, order['primary']['registry_url'].chomp('/'))
    # An external registry is on another host.
    local = order['roles'].include?('registry') ? Registry.local.url : order['registry_url'].chomp('/')
    @here = Catalog.new(tokens, local)
    @lock = Mutex.new
  end

  # Prints {'after' => the last repository of a part, 'tags' => number, 'missing' => {'count', 'images'}, 'different',
  # 'surplus'}, each with {'compared', 'of'}: the number of repositories. While it works on a part, only these two.
  # Raises Failure if one of both registries cannot be read: that is never "equal".
  def run
    known = [@primary, @here].map { |catalog| catalog.repositories.to_h { |path| [path, true] } }
    all = known.flat_map(&:keys).uniq.sort
    done = all.count { |path| path <= @after.to_s }
    all.drop(done).each_slice(REPOSITORIES) do |paths|
      share = ->(of_part) { Report.result('compared' => (done + (paths.size * of_part)).round(1), 'of' => all.size) }
      share.call(0)
      found = part(paths, known, share)
      done += paths.size
      Report.result('compared' => done, 'of' => all.size, 'after' => paths.last, **found)
    end
    { 'compared' => done, 'of' => all.size, 'complete' => true }
  end

  private

  def part(paths, known, share)
    @seen = {}
    @found = KINDS.to_h { |kind| [kind, { 'count' => 0, 'images' => [] }] }
    tags = Queue.new
    Workers.each(paths.product([@primary, @here].zip(known))) do |path, (catalog, there)|
      tags << [catalog, path, there[path] ? catalog.tags(path) : []]
    end
    lists = Array.new(tags.size) { tags.pop }.group_by(&:first).transform_values { |all| all.to_h { |_, *one| one } }
    compare(paths, lists, share)
    @found.each_value { |kind| kind['images'].sort! }
    { 'tags' => lists[@primary].sum { |_, names| names.size }, **@found }
  end

  def compare(paths, lists, share)
    both = paths.flat_map do |path|
      remote, local = lists.values_at(@primary, @here).map { |names| names[path] }
      (remote - local).each { |tag| note('missing', "#{path}:#{tag}") }
      (local - remote).each { |tag| note('surplus', "#{path}:#{tag}") }
      (remote & local).map { |tag| [path, tag] }
    end
    Workers.each(both, ->(done) { share.call(done.fdiv(both.size)) }) { |path, tag| compare_tag(path, tag) }
  end

  def compare_tag(path, tag)
    remote, local = [@primary, @here].map { |catalog| catalog.manifest(path, tag) }
    return note('different', "#{path}:#{tag}") if remote&.digest != local&.digest

    look_into(path, tag, local) if local && (@deep || index?(local)) && first?(path, local.digest)
  end

  def index?(manifest)
    Catalog::INDEXES.include?(manifest.type)
  end

  # Each digest of a repository is looked for once.
  def look_into(path, tag, manifest)
    content = @here.content(path, manifest.digest) or return note('missing', "#{path}:#{tag}@#{manifest.digest}")
    parts = content['manifests'] || []
    if index?(manifest) && parts.none? { |part| part['mediaType'].to_s.include?(CACHE) }
      parts.each { |part| look_for_manifest(path, tag, part['digest']) if first?(path, part['digest']) }
    elsif @deep
      blobs = [content['config'], *content['layers'], *content['blobs'], *parts].compact.reject { |one| foreign?(one) }
      blobs.each { |blob| look_for_blob(path, tag, blob['digest']) if first?(path, blob['digest']) }
    end
  end

  def look_for_manifest(path, tag, digest)
    found = @here.manifest(path, digest)
    # What the primary has not got cannot be copied from there.
    note('missing', "#{path}:#{tag}@#{digest}") if found.nil? && @primary.manifest(path, digest)
    look_into(path, tag, found) if found && (@deep || index?(found))
  end

  def look_for_blob(path, tag, digest)
    note('missing', "#{path}:#{tag}@#{digest}") unless @here.blob?(path, digest)
  end

  # A layer that clients fetch from elsewhere (Windows).
  def foreign?(layer)
    layer['mediaType'].to_s.match?(/foreign|nondistributable/)
  end

  def first?(path, digest)
    @lock.synchronize { @seen[[path, digest]] ? false : @seen[[path, digest]] = true }
  end

  def note(kind, image)
    @lock.synchronize do
      list = @found[kind]
      list['count'] += 1
      list['images'] << image if list['images'].size < LISTED
    end
  end
end
