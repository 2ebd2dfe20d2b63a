# frozen_string_literal: true

# Why a request got no answer: the cause, the remedy, and whether waiting could help.
class Unreached
  # OpenSSL's and Ruby's message about a certificate => [kind, its explanation].
  CERTIFICATES = [
    [/expired/i, :expired, 'has expired'],
    [/not yet valid/i, :expired, 'is not valid yet'],
    [/self.signed|local issuer|unable to get issuer|unable to verify the first/i, :authority,
     'is signed by a CA that this node does not trust'],
    [/hostname mismatch|IP address mismatch|does not match the server certificate/i, :name, 'is for other names'],
    [/./, :certificate, 'is not accepted by this node']
  ].freeze
  CERTIFICATE_REMEDIES = {
    expired: 'install a new certificate there, and check the clocks of both nodes',
    authority: 'add its CA to trusted_certificates, or serve the whole chain (certificate and intermediates) there',
    name: 'install a certificate there whose subjectAltName has this name; if nothing serves this name, ' \
          'another server block answers',
    certificate: 'correct the certificate there'
  }.freeze

  attr_reader :kind, :text

  def self.of(error, uri, seconds)
    new(error, uri, seconds)
  end

  def initialize(error, uri, seconds)
    @host = uri.hostname
    @address = "#{@host}:#{uri.port}"
    @seconds = seconds
    @kind, @text = cause(error)
  end

  # Only a change by a person can make it answer: waiting is useless.
  def final?
    %i[unknown expired authority name certificate].include?(@kind)
  end

  def remedy
    CERTIFICATE_REMEDIES[@kind] || {
      unknown: "make #{@host} resolve on this node (DNS, or /etc/hosts)",
      resolver: "check this node's DNS server (/etc/resolv.conf)",
      refused: "start the service that should listen at #{@address}, or correct the port in its URL; " \
               'a firewall that rejects looks the same',
      silent: "allow this node to reach #{@address}: firewall, security group, routing",
      slow: "check in its log what keeps #{@address} busy",
      route: "correct routing or firewall between this node and #{@host}",
      closed: "check the log of the service at #{@address}: is it a proxy, or does it restart?",
      plain: "correct the scheme in its URL: the service at #{@address} speaks plain HTTP",
      tls: "enable a TLS version and cipher at #{@address} that this node supports",
      strange: "check what listens at #{@address}"
    }.fetch(@kind)
  end

  # Stands in for the headers of an answer: there are none.
  def [](_name); end

  private

  def cause(error)
    case error
    when Net::OpenTimeout, Errno::ETIMEDOUT then [:silent, "#{@address} did not answer within #{@seconds} s"]
    when Timeout::Error then [:slow, "#{@address} accepted the connection and did not answer within #{@seconds} s"]
    when OpenSSL::SSL::SSLError then tls(plain(error))
    when SocketError then lookup(plain(error))
    when EOFError, Errno::ECONNRESET, Errno::EPIPE, Errno::ECONNABORTED
      [:closed, "#{@address} closed the connection without an answer"]
    when Net::HTTPBadResponse then [:strange, "#{@address} answers, but not with HTTP"]
    else system(error)
    end
  end

  def system(error)
    case error
    when Errno::ECONNREFUSED then [:refused, "#{@address} refuses the connection: nothing listens there"]
    when Errno::EHOSTUNREACH, Errno::ENETUNREACH, Errno::EADDRNOTAVAIL then [:route, "there is no route to #{@host}"]
    else [:strange, "#{error.class}: #{error.message}"]
    end
  end

  def lookup(message)
    if message.match?(/temporary failure|try again/i)
      return [:resolver, "#{@host} could not be looked up: no DNS server answered"]
    end

    [:unknown, "the name #{@host} does not resolve"]
  end

  def tls(message)
    unless message.match?(/certificate verify failed|server certificate/i)
      if message.match?(/wrong version number|http request|record layer failure/i)
        return [:plain, "#{@address} speaks plain HTTP, not TLS"]
      end
      if message.match?(/EOF|reset|errno=104/i)
        return [:closed, "#{@address} closed the connection during the TLS handshake"]
      end

      detail = message[/state=error: (.*)/, 1] || message
      return [:tls, "#{@address} and this node have no TLS version or cipher in common (#{detail})"]
    end
    reason = message[/certificate verify failed(?: \((.*)\))?/, 1]
    _, kind, words = CERTIFICATES.find { |pattern, *| (reason || message).match?(pattern) }
    [kind, "the certificate of #{@address} #{words}#{reason && " (certificate verify failed: #{reason})"}"]
  end

  def plain(error)
    error.message.gsub(/\s+/, ' ')
  end
end
