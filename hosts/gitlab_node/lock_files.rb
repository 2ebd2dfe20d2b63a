# frozen_string_literal: true

# The directory of a registry that has its images on this node's disk.
class Disk
  def look(key)
    [File.exist?("/#{key}") ? 200 : 404, '']
  end

  def where
    ''
  end
end

# The lock files that GitLab's registry keeps in its storage and reads when it starts (container-registry,
# registry/handlers/app.go). Each says where the metadata of the images is. A registry that finds images writes
# filesystem-in-use if its metadata database is disabled, and database-in-use if it is enabled. It does not start if it
# cannot write its file, or if it finds the other one. (In GitLab 18.6.0 to 18.6.1 and from 18.8; before that the file
# does no harm.) Distribution has no such files, so swift and oss, which GitLab dropped before it had them, need none.
class LockFiles
  FILESYSTEM = 'docker/registry/lockfiles/filesystem-in-use'
  DATABASE = 'docker/registry/lockfiles/database-in-use'
  BODY = '{"version":1}'
  # Registries that do not start without the file: 4.29 to 4.31.0, and from 4.33 on. In versions of GitLab:
  FIRST = [18, 6].freeze
  FIRST_END = [18, 6, 2].freeze
  AGAIN = [18, 8].freeze

  def initialize(order)
    @order = order
    @access = order['storage'] || {}
  end

  # Checks what the site's registry will find when it starts, before anything on the node is changed. Raises Failure if
  # the registry would not start.
  def prove
    registry = @order['roles'].include?('registry')
    # S3 permissions are tested on every node; other credentials exist only on registry nodes.
    return {} unless @order['registry_kind'] == 'omnibus' && (registry || @access['driver'] == 's3') && store

    needed, other = @order['database'] ? [DATABASE, FILESYSTEM] : [FILESYSTEM, DATABASE]
    refuse(other) if store.look(key(other)).first == 200
    # A registry can write to its local disk, even with `read_only`.
    @access['write'] || @access['driver'] == 'filesystem' || !registry ? {} : present(needed)
  end

  # On a node of the site that has write access: writes the file if it is missing, for the registries that have none.
  # Never overwrites or deletes anything. Only S3 must answer: for another storage, the other sites find out themselves.
  def write
    done(store ? catch(:given_up) { put } : 'not written: this program does not support the storage driver')
  end

  # Of the lock file in the storage, without its directory; 'no lock file'; nil if the storage does not answer that.
  def name
    return unless @order['registry_kind'] == 'omnibus' && store

    statuses = [FILESYSTEM, DATABASE].to_h { |name| [File.basename(name), store.look(key(name)).first] }
    statuses.key(200) || ('no lock file' if statuses.values.uniq == [404])
  end

  private

  def store
    @store ||= case @access['driver']
               when 's3' then S3.new(Storage.s3_access(@order))
               when 'gcs' then Gcs.new(@access.merge('credentials' => @order['secrets']['gcs_credentials']))
               when 'azure'
                 Azure.new(@access.merge('accountkey' => @order['secrets']['azure_accountkey'],
                                         'secret' => @order['secrets']['azure_secret']))
               when 'filesystem' then Disk.new
               end
  end

  # Below the root directory; Azure's may begin with a slash.
  def key(name)
    root = @access['place'][@access['driver'] == 'gcs' ? 1 : -1].to_s
    root.empty? ? name : "#{root.chomp('/')}/#{name}"
  end

  def put
    refuse(DATABASE) if request('look for', DATABASE, 200, 404) { |key| store.look(key) } == 200
    return 'already exists' if request('look for', FILESYSTEM, 200, 404) { |key| store.look(key) } == 200

    # Another writer may have created it meanwhile: then Google answers 412, Azure 409.
    request('put', FILESYSTEM, 200, 201, 409, 412) { |key| store.create(key, BODY) }
    'written'
  end

  # The status, one of those expected. Keys and policies that this stack just created take effect with a delay.
  def request(what, name, *expected)
    answer = Http.until(@access['patience'] || 0) do
      status, text, why = yield(key(name))
      { ok: expected.include?(status) || Http.final?(why), code: status, body: text, why: why }
    end
    return answer[:code] if expected.include?(answer[:code])

    what = "#{what} #{key(name)} in"
    got = said(answer[:code], answer[:body][%r{<Code>(\w+)</Code>}, 1] || answer[:body][0, 200])
    if @access['driver'] == 's3' && @order['registry_kind'] == 'omnibus'
      raise Storage.unreached(@order, store, what, answer) if answer[:code].zero?

      raise Storage.unusable(@order, store, what, got)
    end

    throw :given_up, "not written: a request to #{what} #{store.where} was answered with #{got}; #{manually(name)}"
  end

  def said(status, text)
    status.zero? ? "no answer: #{text}" : "#{status} #{text}".strip
  end

  def manually(name)
    "if it is missing, write it with credentials that have write access: printf '#{BODY}' | #{store.command(key(name))}"
  end

  def done(text)
    Report.say("#{@order['node']}: lock file #{FILESYSTEM} in #{@access['shown']}: #{text}")
    { 'lock_file' => text }
  end

  def present(name)
    status, text = store.look(key(name))
    return { "lock file #{name} is in the storage" => "no: #{not_needed_yet}" } if status == 404 && not_needed_yet
    raise missing(name) if status == 404

    unknown = "not checked (#{said(status, text[0, 200])}): make sure that it exists; #{manually(name)}"
    { "lock file #{name} is in the storage" => status == 200 ? 'yes' : unknown }
  end

  def not_needed_yet
    version = ServerBlocks.version
    return unless version && (version <=> AGAIN).negative?

    first = (version <=> FIRST).negative?
    return unless first || (version <=> FIRST_END) >= 0

    "GitLab #{version.join('.')} does not look for it; add it before the upgrade to " \
      "#{(first ? FIRST : AGAIN).join('.')} or later, where the registry would not start without it"
  end

  def missing(name)
    Failure.new('lock-file-missing', 'refused: its registry would not start again',
                cause: "#{store.where}/#{key(name)} is missing; GitLab's registry writes that file when it starts " \
                       'and finds images, and this one has no write access',
                remedy: '`pulumi config set proof "$(date)"` and `pulumi up`, which write the file ' \
                        "with the primary's credentials if storage is shared; " \
                        'if it is still missing, write it with credentials that have write access: ' \
                        "printf '#{BODY}' | #{store.command(key(name))}")
  end

  def refuse(name)
    path = "#{store.where}/#{key(name)}"
    if name == DATABASE
      raise Failure.new('lock-file-database-in-use', 'refused: a registry with a metadata database uses this storage',
                        cause: "#{path} exists, and with the metadata database disabled GitLab's registry " \
                               'does not start: registry metadata database in use, please enable the database',
                        remedy: 'configure metadata_database for the site, or use separate storage; if you know that ' \
                                'no registry uses that database any more, delete this file, then `pulumi up` again')
    end
    raise Failure.new('lock-file-filesystem-in-use',
                      'refused: the metadata of the images is not in the metadata database',
                      cause: "#{path} exists, and with the metadata database enabled GitLab's registry " \
                             'does not start: registry filesystem metadata in use, ' \
                             'please import data before enabling the database',
                      remedy: "import it first, which removes this file: #{Import.command(@order)}")
  end
end
