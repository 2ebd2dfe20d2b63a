# frozen_string_literal: true

# The Linux package on this node: what it rendered from the settings, and its commands.
module Omnibus
  CTL = '/opt/gitlab/bin/gitlab-ctl'
  GITLAB_RB = '/etc/gitlab/gitlab.rb'
  SECRETS_JSON = '/etc/gitlab/gitlab-secrets.json'
  KEY = '/var/opt/gitlab/gitlab-rails/etc/gitlab-registry.key'
  REGISTRY = '/var/opt/gitlab/registry' # the default of registry['dir']
  PUBLIC_ATTRIBUTES = '/var/opt/gitlab/public_attributes.json'
  TRUSTED = '/etc/gitlab/trusted-certs'
  RAILS_CONFIG = '/var/opt/gitlab/gitlab-rails/etc/gitlab.yml'
  CERTIFICATE = /-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----/m.freeze
  PAIR = %w[internal_key internal_certificate http_secret].freeze # what reconfigure copies from gitlab.rb

  # Raises Failure with the lines that say why, secrets redacted: chef's output shows the changed config.yml with its
  # tokens.
  def self.reconfigure(order)
    Report.say("#{order['node']}: gitlab-ctl reconfigure")
    ok, output = StoppingRegistry.watching(order) { run([CTL, 'reconfigure'], order['reconfigure_seconds']) }
    return if ok

    Report.redact(secrets)
    raise Failure.new('reconfigure-failed', 'gitlab-ctl reconfigure failed',
                      cause: CommandReason.of(output),
                      remedy: 'read /var/log/gitlab/reconfigure/ on the node, fix the cause, then `pulumi up` again')
  end

  def self.restart(order, service)
    Report.say("#{order['node']}: gitlab-ctl restart #{service}")
    ok, output = StoppingRegistry.watching(order) { run([CTL, 'restart', service], 120) }
    return if ok

    raise Failure.new('service-restart-failed', "gitlab-ctl restart #{service} failed",
                      cause: CommandReason.of(output),
                      remedy: "run `gitlab-ctl tail #{service}` on the node, fix the cause, then `pulumi up` again")
  end

  def self.hup(service)
    ok, output = run([CTL, 'hup', service], 60)
    return if ok

    raise Failure.new('service-reload-failed', "gitlab-ctl hup #{service} failed",
                      cause: CommandReason.of(output),
                      remedy: "run `gitlab-ctl tail #{service}` on the node, fix the cause, then `pulumi up` again")
  end

  # [success, output]. With a time limit, because gitlab-ctl waits for another reconfigure without one.
  def self.run(command, seconds)
    output = +''
    read, write = IO.pipe
    pid = Process.spawn(*command, in: '/dev/null', out: write, err: write, pgroup: true)
    write.close
    reader = Thread.new { read.each_line { |l| output << l } }
    deadline = now + seconds
    until (done = Process.wait2(pid, Process::WNOHANG))
      if now > deadline
        stop(pid)
        why = "did not end within #{seconds} s (is another reconfigure running or hanging?)"
        return [false, "#{output.scrub}\nError: #{why}"]
      end
      sleep 0.05
    end
    # A service that the command started may hold the pipe open forever.
    reader.join(2)
    [done.last.success?, output.scrub]
  end

  def self.stop(pid)
    Process.kill('TERM', -pid)
    sleep 5
    Process.kill('KILL', -pid)
  rescue Errno::ESRCH
    nil
  ensure
    Process.wait(pid) rescue nil # rubocop:disable Style/RescueModifier
  end

  # The syntax errors of this gitlab.rb, by line, or nil. It is only compiled, and only the lines with the error are
  # returned: the lines that Ruby quotes may contain a password.
  def self.syntax_error(bytes)
    warnings = $VERBOSE
    $VERBOSE = nil
    RubyVM::InstructionSequence.compile(bytes.dup.force_encoding('UTF-8'), '-')
    nil
  rescue ArgumentError => e # for a magic comment with an unknown encoding
    e.message
  rescue SyntaxError => e
    lines = e.message.scrub.lines.grep(/\A-:\d+:/).map { |l| l.strip.sub(/\A-:/, 'line ').gsub(%r{/.*/|".*"}, '...') }
    lines.empty? ? 'Ruby does not say where' : lines.first(4).join('; ')
  ensure
    $VERBOSE = warnings
  end

  # The line that ends this Ruby file before its last line, as text for a person; nil if there is none. In a heredoc the
  # same line is content. So Ruby decides: whether a syntax error appended to the file is still reported.
  def self.early_end(bytes)
    ends = ->(text) { syntax_error("#{text}\n)]}\n").nil? }
    return if syntax_error(bytes) || !ends.call(bytes)

    lines = bytes.lines
    last = lines.index.with_index do |line, n|
      line.match?(/\A__END__\r?\n?\z|[\0\x04\x1a]/n) && ends.call(lines[0..n].join)
    end
    return 'one of its lines' unless last

    "line #{last + 1}#{lines[last].start_with?('__END__') ? ', __END__' : ', which contains a control character'}"
  end

  def self.now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end

  def self.secrets
    JSON.parse(File.read(SECRETS_JSON))
  rescue Errno::ENOENT
    {}
  rescue JSON::ParserError
    raise Failure.new('gitlab-secrets-invalid', "#{SECRETS_JSON} is not JSON",
                      cause: 'a reconfigure would fail on it as well',
                      remedy: 'restore it from a backup (gitlab-ctl backup-etc), then `pulumi up` again')
  end

  # The part of gitlab-secrets.json that a reconfigure overwrites with this program's values.
  def self.registry_secrets
    (secrets['registry'] || {}).slice(*PAIR)
  end

  def self.restore_registry_secrets(former)
    all = secrets
    return if (all['registry'] || {}).slice(*PAIR) == former

    all['registry'] = (all['registry'] || {}).reject { |k, _| PAIR.include?(k) }.merge(former)
    Files.write(SECRETS_JSON, "#{JSON.pretty_generate(all)}\n", mode: 0o600)
  end

  # The registry's directory as of the last successful reconfigure.
  def self.registry_directory
    JSON.parse(Files.read(PUBLIC_ATTRIBUTES) || '{}').dig('registry', 'dir') || REGISTRY
  rescue JSON::ParserError, TypeError
    REGISTRY
  end

  # The file with the certificates whose tokens the registry accepts (registry['rootcertbundle']).
  def self.certificate
    (registry_config || {}).dig('auth', 'token', 'rootcertbundle') || "#{registry_directory}/gitlab-registry.crt"
  end

  # The file with the key that GitLab signs with (gitlab_rails['registry_key_path']).
  def self.key
    rails_config.dig('registry', 'key') || KEY
  end

  def self.registry_config_path
    "#{registry_directory}/config.yml"
  end

  def self.registry_config
    yaml(registry_config_path)
  rescue Errno::ENOENT
    nil
  end

  def self.rails_config
    (yaml(RAILS_CONFIG) || {})['production'] || {}
  rescue Errno::ENOENT
    {}
  end

  def self.yaml(path)
    YAML.safe_load(File.read(path), permitted_classes: [Symbol, Date, Time], aliases: true)
  rescue Psych::Exception # for a value that the Linux package's template writes without quotes
    raise Failure.new('rendered-config-invalid', "#{path} is not YAML",
                      cause: 'the Linux package writes the value of a setting in gitlab.rb to it without quotes, ' \
                             'so the service that reads it does not start',
                      remedy: 'correct gitlab.rb, run `gitlab-ctl reconfigure` on the node, then `pulumi up` again')
  end

  # As the cookbooks generate it (registry/libraries/registry.rb): RSA-4096, self-signed, ten years.
  def self.generate_key_pair
    key = OpenSSL::PKey::RSA.new(4096)
    certificate = OpenSSL::X509::Certificate.new
    certificate.version = 2
    certificate.serial = OpenSSL::BN.rand(159)
    certificate.subject = certificate.issuer = OpenSSL::X509::Name.parse('/CN=Registry')
    certificate.public_key = key.public_key
    certificate.not_before = Time.now
    certificate.not_after = Time.now + (10 * 365 * 24 * 60 * 60)
    certificate.sign(key, OpenSSL::Digest.new('SHA256'))
    [key.to_pem, certificate.to_pem]
  end

  # Those of `files` that a reconfigure adds to the CAs that the node trusts.
  def self.trusted(files)
    files.keys.select { |path| path.start_with?("#{TRUSTED}/") }
  end

  # SHA-256 of the certificate's DER, as `openssl x509 -fingerprint -sha256` prints it, lower case without colons.
  def self.fingerprint(pem)
    OpenSSL::Digest::SHA256.hexdigest(OpenSSL::X509::Certificate.new(pem).to_der)
  end

  # Of all certificates in a PEM text.
  def self.fingerprints(text)
    text.scan(CERTIFICATE).map { |one| fingerprint(one) }
  end

  # Whether a PEM text contains all of these certificates.
  def self.certificate_in?(text, certificates)
    wanted = fingerprints(certificates)
    wanted.any? && (wanted - fingerprints(text)).empty?
  rescue OpenSSL::OpenSSLError
    false
  end

  # The certificates with that of the key first: in a rotation that was not completed, it may be another one.
  def self.with_own_first(key, bundle)
    own = bundle.to_s.scan(CERTIFICATE).find { |one| pair?(key, one) }
    return bundle if own.nil? || bundle.start_with?(own)

    "#{own}\n#{bundle.sub(own, '').strip}\n"
  end

  def self.pair?(key, certificate)
    OpenSSL::X509::Certificate.new(certificate).check_private_key(OpenSSL::PKey::RSA.new(key))
  rescue OpenSSL::OpenSSLError, TypeError
    false
  end
end
