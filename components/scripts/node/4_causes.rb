# frozen_string_literal: true

# Why nothing answered: in words, with what to do about it, and whether waiting could help.
class Unreached
  # What OpenSSL and Ruby say of a certificate => [kind, the same in words].
  CERTIFICATES = [
    [/expired/i, :expired, 'has expired'],
    [/not yet valid/i, :expired, 'is not valid yet'],
    [/self.signed|local issuer|unable to get issuer|unable to verify the first/i, :authority,
     'is signed by an authority that this node does not trust'],
    [/hostname mismatch|IP address mismatch|does not match the server certificate/i, :name, 'is for other names'],
    [/./, :certificate, 'is not accepted here']
  ].freeze
  CERTIFICATE_REMEDIES = {
    expired: 'put a new certificate there, and check the clocks of both nodes',
    authority: 'give its authority in trusted_certificates, or have the whole chain (certificate and intermediates) ' \
               'served there',
    name: 'put a certificate there whose subjectAltName has this name; where nothing serves this name, ' \
          'another server block answers',
    certificate: 'correct the certificate there'
  }.freeze

  attr_reader :kind, :text

  def self.of(error, uri, seconds)
    new(error, uri, seconds)
  end

  def initialize(error, uri, seconds)
    @host = uri.hostname
    @at = "#{@host}:#{uri.port}"
    @seconds = seconds
    @kind, @text = cause(error)
  end

  # Nothing but a change of somebody's makes it answer: no use in waiting.
  def final?
    %i[unknown expired authority name certificate].include?(@kind)
  end

  def remedy
    CERTIFICATE_REMEDIES[@kind] || {
      unknown: "let #{@host} resolve on this node (DNS, or /etc/hosts)",
      resolver: "see to this node's DNS server (/etc/resolv.conf)",
      refused: "start what is to listen at #{@at}, or correct the port in its URL; " \
               'a firewall that rejects looks the same',
      silent: "let this node reach #{@at}: firewall, security group, routing",
      slow: "see what keeps #{@at} busy, in its log",
      route: "correct routing or firewall between this node and #{@host}",
      closed: "see the log of what listens at #{@at}: is it a proxy, or does it restart?",
      plain: "correct the scheme in its URL: plain HTTP is spoken at #{@at}",
      tls: "allow a TLS version and cipher at #{@at} that this node knows",
      strange: "see what listens at #{@at}"
    }.fetch(@kind)
  end

  # Of an answer there is nothing.
  def [](_name); end

  private

  def cause(error)
    case error
    when Net::OpenTimeout, Errno::ETIMEDOUT then [:silent, "#{@at} did not answer within #{@seconds} s"]
    when Timeout::Error then [:slow, "#{@at} accepted the connection and did not answer within #{@seconds} s"]
    when OpenSSL::SSL::SSLError then tls(plain(error))
    when SocketError then lookup(plain(error))
    when EOFError, Errno::ECONNRESET, Errno::EPIPE, Errno::ECONNABORTED
      [:closed, "#{@at} closed the connection without an answer"]
    when Net::HTTPBadResponse then [:strange, "#{@at} answers, but not with HTTP"]
    else system(error)
    end
  end

  def system(error)
    case error
    when Errno::ECONNREFUSED then [:refused, "#{@at} refuses the connection: nothing listens there"]
    when Errno::EHOSTUNREACH, Errno::ENETUNREACH, Errno::EADDRNOTAVAIL then [:route, "there is no route to #{@host}"]
    else [:strange, "#{error.class}: #{error.message}"]
    end
  end

  def lookup(said)
    if said.match?(/temporary failure|try again/i)
      return [:resolver, "#{@host} could not be looked up: no DNS server answered"]
    end

    [:unknown, "the name #{@host} does not resolve"]
  end

  def tls(said)
    unless said.match?(/certificate verify failed|server certificate/i)
      if said.match?(/wrong version number|http request|record layer failure/i)
        return [:plain, "#{@at} speaks plain HTTP, not TLS"]
      end
      return [:closed, "#{@at} closed the connection during the TLS handshake"] if said.match?(/EOF|reset|errno=104/i)

      return [:tls, "#{@at} and this node agree on no TLS (#{said[/state=error: (.*)/, 1] || said})"]
    end
    reason = said[/certificate verify failed(?: \((.*)\))?/, 1]
    _, kind, words = CERTIFICATES.find { |pattern, *| (reason || said).match?(pattern) }
    [kind, "the certificate of #{@at} #{words}#{reason && " (certificate verify failed: #{reason})"}"]
  end

  def plain(error)
    error.message.gsub(/\s+/, ' ')
  end
end
