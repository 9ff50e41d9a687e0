#include "actors/read_pool.hpp"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>

namespace parley::actors {

struct read_pool::impl {
  struct job {
    read_query query;
    done when_done;
    mono_time submitted = std::chrono::steady_clock::now();
  };
  read_pool_options options;
  std::vector<std::unique_ptr<store::reader>> readers;
  mutable std::mutex mutex;
  std::condition_variable wake;
  std::unordered_map<tenant_no, std::deque<job>> queues;  // none is empty
  std::deque<tenant_no> turns;                            // every tenant with a queue, once
  std::size_t queued = 0;
  bool stopping = false;
  std::atomic<std::uint64_t> served{0};
  std::atomic<std::uint64_t> refused{0};
  histogram waited{latency_bounds_ns};  // both moved with the lock held
  histogram ran{latency_bounds_ns};
  std::vector<std::thread> threads;

  /// Of the tenant whose turn it is. The lock is held.
  job take_next() {
    const auto tenant = turns.front();
    turns.pop_front();
    auto& queue = queues.at(tenant);
    auto next = std::move(queue.front());
    queue.pop_front();
    --queued;
    if (queue.empty()) {
      queues.erase(tenant);
    } else {
      turns.push_back(tenant);
    }
    waited.observe(since(next.submitted));
    return next;
  }
  static std::uint64_t since(mono_time then) {
    return static_cast<std::uint64_t>(
        std::chrono::nanoseconds{std::chrono::steady_clock::now() - then}.count());
  }
  void run(store::reader& reader, job next) {
    read_result answer = error{};
    try {
      answer = run_query(reader, next.query);
    } catch (const std::exception&) {
      // Out of memory, or a bug: the asker hears it, the reader lives on. The text may hold content: it is not kept.
      answer = error{error_code::internal, "the query failed"};
    }
    served.fetch_add(1, std::memory_order_relaxed);
    next.when_done(std::move(answer));
  }
  void work(store::reader& reader) {
    std::unique_lock lock(mutex);
    while (true) {
      wake.wait(lock, [&] { return stopping || queued > 0; });
      if (stopping) return;
      auto next = take_next();
      lock.unlock();
      const auto began = std::chrono::steady_clock::now();
      run(reader, std::move(next));
      lock.lock();
      ran.observe(since(began));
    }
  }
};

read_pool::read_pool(std::vector<std::unique_ptr<store::reader>> readers,
                     const read_pool_options& options)
    : impl_(std::make_unique<impl>()) {
  impl_->options = options;
  impl_->readers = std::move(readers);
  for (auto& reader : impl_->readers) {
    if (options.threads == 0) break;
    impl_->threads.emplace_back([this, r = reader.get()] { impl_->work(*r); });
  }
}

read_pool::~read_pool() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->wake.notify_all();
  for (auto& thread : impl_->threads) thread.join();
}

bool read_pool::submit(tenant_no tenant, read_query query, done when_done) {
  {
    const std::lock_guard lock(impl_->mutex);
    const auto it = impl_->queues.find(tenant);
    const auto waiting = it == impl_->queues.end() ? 0 : it->second.size();
    if (impl_->stopping || impl_->queued >= impl_->options.queue_max ||
        waiting >= impl_->options.queue_max_per_tenant) {
      impl_->refused.fetch_add(1, std::memory_order_relaxed);
      return false;
    }
    if (it == impl_->queues.end()) impl_->turns.push_back(tenant);
    impl_->queues[tenant].push_back({std::move(query), std::move(when_done)});
    ++impl_->queued;
  }
  impl_->wake.notify_one();
  return true;
}

bool read_pool::run_one() {
  std::unique_lock lock(impl_->mutex);
  if (impl_->queued == 0) return false;
  auto next = impl_->take_next();
  lock.unlock();
  const auto began = std::chrono::steady_clock::now();
  impl_->run(*impl_->readers.front(), std::move(next));
  lock.lock();
  impl_->ran.observe(impl::since(began));
  return true;
}

std::size_t read_pool::queued() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->queued;
}
std::uint64_t read_pool::served() const { return impl_->served.load(std::memory_order_relaxed); }
std::uint64_t read_pool::refused() const { return impl_->refused.load(std::memory_order_relaxed); }
const histogram& read_pool::waited() const { return impl_->waited; }
const histogram& read_pool::ran() const { return impl_->ran; }

}  // namespace parley::actors
