# frozen_string_literal: true

require 'json'
require 'socket'
require 'uri'

# A minimal HTTP server behind nginx: one request per connection, bodies with a Content-Length.
class HttpServer
  Request = Struct.new(:method, :path, :query, :headers, :body) do
    # All values of a parameter of the query.
    def values(name)
      query.select { |key, _| key == name }.map(&:last)
    end
  end

  # Port 0: any that is free.
  def initialize(port, logged: true)
    @server = TCPServer.new('127.0.0.1', port)
    @logged = logged
  end

  def port
    @server.addr[1]
  end

  # Serves forever; the block converts a Request to [status, hash].
  def run(&block)
    loop { Thread.new(@server.accept) { |socket| serve(socket, &block) } }
  end

  private

  def serve(socket)
    request = read(socket) or return
    status, answer = begin
      yield request
    rescue StandardError => e
      warn "#{e.class}: #{e.message}", *e.backtrace.first(3)
      [500, { 'message' => '500 Internal Server Error' }]
    end
    puts "#{request.method} #{request.path} #{status}" if @logged
    write(socket, status, JSON.generate(answer))
  rescue SystemCallError, IOError
    nil # The client went away.
  ensure
    socket.close
  end

  def read(socket)
    method, target = socket.gets.to_s.split
    return unless target

    headers = {}
    while (line = socket.gets.to_s.chomp) && !line.empty?
      name, value = line.split(':', 2)
      headers[name.downcase] = value.to_s.strip
    end
    path, query = target.split('?', 2)
    Request.new(method, path, URI.decode_www_form(query.to_s), headers, socket.read(headers['content-length'].to_i))
  end

  def write(socket, status, body)
    socket.write("HTTP/1.1 #{status} Lab\r\nContent-Type: application/json\r\nContent-Length: #{body.bytesize}\r\n" \
                 "Connection: close\r\n\r\n#{body}")
  end
end
