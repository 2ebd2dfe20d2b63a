# frozen_string_literal: true

# A failure for the administrator: what happened, why, the node's state now, and what to do.
# Its code is stable: tests and docs/troubleshooting.md refer to it, not to the wording.
# Raised where the check is; a new code needs a case in tests/unit/test_node_messages.py and a row in
# docs/troubleshooting.md.
class Failure < StandardError
  attr_reader :code, :cause_text, :remedy, :state

  def initialize(code, what, cause:, remedy:)
    super(what)
    @code = code
    @cause_text = cause
    @remedy = remedy
  end

  def self.from(error)
    case error
    when Failure then error
    when Errno::EROFS, Errno::EPERM
      new('file-not-written', 'a file could not be written',
          cause: error.message,
          remedy: 'it is mounted read-only or protected (chattr +i): make it writable for root, then `pulumi up` again')
    when SystemCallError, IOError
      new('file-not-written', 'a file could not be written',
          cause: error.message,
          remedy: 'free some space or repair the file system, then `pulumi up` again')
    else
      new('program-stopped', 'the program stopped',
          cause: "#{error.class}: #{error.message} (#{error.backtrace.first})",
          remedy: 'run `pulumi up` again; if the error persists, open an issue')
    end
  end

  def with_state(text)
    @state = text
    self
  end
end
