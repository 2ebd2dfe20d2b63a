# frozen_string_literal: true

Encoding.default_external = Encoding::UTF_8
require_relative 'databases'
require_relative 'http_server'
require_relative 'rails_config'
require_relative 'replica'
require_relative 'registry_token'

# A stand-in for GitLab's Rails, for its registry and Geo: the token service, the endpoint for the registry's
# events, health. It reads gitlab.yml once, at startup. Simulated: status codes, claims, what is compared with
# what, a repository coming into being with the first token to push to it. Not simulated: users and projects. There is one
# administrator, and every path of two parts or more is a private project's.
class Puma
  USER = 'root'
  PASSWORD = 'lab-password'
  ACTIONS = %w[pull push delete *].freeze
  HEALTH = %w[/-/health /-/readiness /-/liveness].freeze
  EVENTS = '/api/v4/container_registry_event/events'

  def initialize
    config = RailsConfig.new
    @registry = config.registry
    @secondary = config.secondary?
    @db_key_base = config.db_key_base
    @database = SiteDatabase.new
  end

  def call(request)
    return [500, { 'message' => '500 Internal Server Error' }] if trouble && !HEALTH.include?(request.path)

    case [request.method, request.path]
    when ['GET', '/jwt/auth'] then token(request)
    when ['POST', EVENTS] then events(request)
    when *HEALTH.map { |path| ['GET', path] } then [200, { 'status' => 'ok' }]
    else [404, { 'error' => '404 Not Found' }]
    end
  end

  private

  # A secondary's database has no tables of its own, and encrypted columns are the primary's.
  def trouble
    return "PG::UndefinedTable: ERROR:  relation does not exist" if @secondary && !@database.read_only?

    'OpenSSL::Cipher::CipherError' unless Replica.readable?(@db_key_base)
  end

  # -- app/controllers/jwt_controller.rb, app/services/auth/container_registry_authentication_service.rb

  def token(request)
    user = user(request)
    return refused(401, 'UNAUTHORIZED', 'HTTP Basic: Access denied.') if user == :unknown
    return [404, {}] unless request.values('service') == [RegistryToken::AUDIENCE]
    return refused(404, 'UNAVAILABLE', 'registry not enabled') unless @registry['enabled']

    scopes = request.values('scope').flat_map(&:split)
    return refused(403, 'DENIED', 'access forbidden') if scopes.empty? && user.nil?

    access = user ? scopes.filter_map { |scope| granted(scope) } : []
    [200, { 'token' => RegistryToken.new(@registry).sign(access, subject: user) }]
  end

  # nil without credentials, :unknown with wrong ones.
  def user(request)
    scheme, encoded = request.headers['authorization'].to_s.split(' ', 2)
    return unless scheme&.casecmp?('basic')

    encoded.to_s.unpack1('m') == "#{USER}:#{PASSWORD}" ? USER : :unknown
  end

  # "repository:group/app:pull,push" as far as the administrator may: on everything that could be a project.
  def granted(scope)
    type, name, actions = scope.split(':', 3)
    actions = actions.to_s.split(',') & ACTIONS
    return { type: type, name: name, actions: actions } if [type, name, actions] == ['registry', 'catalog', %w[*]]
    return unless type == 'repository' && name.to_s.include?('/') && !actions.empty?

    @database.create_repository(name) if actions.include?('push') && !@database.read_only?
    { type: type, name: name, actions: actions }
  end

  def refused(status, code, message)
    [status, { 'errors' => [{ 'code' => code, 'message' => message }] }]
  end

  # -- lib/api/container_registry_event.rb

  def events(request)
    return [401, { 'message' => '401 Unauthorized' }] unless secret?(request.headers['authorization'])
    return [403, { 'message' => 'You cannot perform write operations on a read-only instance' }] if @database.read_only?

    body = parse(request.body)
    return [400, { 'error' => 'events is missing' }] unless body.is_a?(Hash) && body['events'].is_a?(Array)

    body['events'].each { |event| @database.create_event(event.dig('target', 'repository')) if of_interest?(event) }
    [200, {}]
  end

  # A push of a tag or manifest, not of its blobs; any delete. What is pulled changes nothing.
  def of_interest?(event)
    target = event['target'] || {}
    return true if event['action'] == 'delete'

    event['action'] == 'push' && (target.key?('tag') || target['mediaType'].to_s.match?(/manifest|index/))
  end

  # As it stands in the header: no "Bearer", no Basic. None configured: none is right.
  def secret?(token)
    secret = @registry['notification_secret']
    return false if secret.nil? || token.nil?

    secret.bytesize == token.bytesize && OpenSSL.fixed_length_secure_compare(secret, token)
  end

  def parse(body)
    JSON.parse(body)
  rescue JSON::ParserError
    nil
  end
end

if $PROGRAM_NAME == __FILE__
  $stdout.sync = true
  sleep Lab.settings['puma_boot_seconds']
  puma = Puma.new
  HttpServer.new(Lab.settings['rails_port']).run { |request| puma.call(request) }
end
