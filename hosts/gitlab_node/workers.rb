# frozen_string_literal: true

# Threads that wait for answers of registries, a bounded number of them.
module Workers
  THREADS = 16

  # Yields each item, in any order. Calls `waiting` with the number of items that are done every two seconds.
  def self.each(items, waiting = ->(_) {}, &block)
    queue = Queue.new
    items.each { |item| queue << item }
    queue.close
    workers = Array.new([THREADS, items.size].min) { Thread.new { work(queue, &block) } }
    waiting.call(items.size - queue.size) while workers.any? { |worker| worker.join(2).nil? }
  end

  def self.work(queue)
    Thread.current.report_on_exception = false
    while (item = queue.pop)
      yield item
    end
  rescue StandardError
    queue.clear
    raise
  end
end
