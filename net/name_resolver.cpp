#include "net/name_resolver.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <unordered_set>
#include <utility>

namespace parley::net {
namespace {

using boost::asio::ip::address;
using boost::asio::ip::address_v4;
using boost::asio::ip::address_v6;

address address_of(const sockaddr_in& in) { return address_v4{ntohl(in.sin_addr.s_addr)}; }

address address_of(const sockaddr_in6& in) {
  address_v6::bytes_type bytes;
  static_assert(sizeof bytes == sizeof in.sin6_addr);
  std::memcpy(bytes.data(), &in.sin6_addr, sizeof bytes);
  return address_v6{bytes, in.sin6_scope_id};
}

name_answer look_up(const std::string& name) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;  // no IPv6 addresses for a machine that has no IPv6
  addrinfo* first = nullptr;
  const int failed = ::getaddrinfo(name.c_str(), nullptr, &hints, &first);
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> list{first, &::freeaddrinfo};

  name_answer out;
  if (failed != 0) {
    const bool is_unknown = failed == EAI_NONAME || failed == EAI_NODATA;
    out.outcome = is_unknown ? name_outcome::unknown : name_outcome::failed;
    return out;
  }
  for (const auto* at = first; at != nullptr; at = at->ai_next) {
    sockaddr_storage where{};
    std::memcpy(&where, at->ai_addr, std::min<std::size_t>(at->ai_addrlen, sizeof where));
    if (at->ai_family == AF_INET) {
      sockaddr_in in{};
      std::memcpy(&in, &where, sizeof in);
      out.addresses.push_back(address_of(in));
    } else if (at->ai_family == AF_INET6) {
      sockaddr_in6 in{};
      std::memcpy(&in, &where, sizeof in);
      out.addresses.push_back(address_of(in));
    }
  }
  out.outcome = out.addresses.empty() ? name_outcome::unknown : name_outcome::found;
  return out;
}

struct lookup {
  std::string name;
  std::function<void(name_answer)> done;
  std::shared_ptr<std::atomic<bool>> begun;
};

/// Outlives the resolver for as long as one of its threads is within a lookup.
class lookup_queue {
 public:
  explicit lookup_queue(resolver_options options) : options_(std::move(options)) {
    if (!options_.look_up) options_.look_up = look_up;
  }

  /// False: there is no room; `next` is as it was.
  static bool add(const std::shared_ptr<lookup_queue>& queue, lookup& next) {
    const std::lock_guard lock{queue->mutex_};
    return queue->add(next, [&] { std::thread{[queue] { queue->serve(); }}.detach(); });
  }
  void stop() {
    std::deque<lookup> dropped[2];
    {
      const std::lock_guard lock{mutex_};
      is_stopping_ = true;
      dropped[0].swap(usual_);
      dropped[1].swap(slow_);
    }
    wake_.notify_all();
  }

 private:
  bool add(lookup& next, const auto& start_thread) {
    const bool is_slow = slow_names_.contains(next.name);
    if (usual_.size() + slow_.size() >= options_.waiting_max) return false;
    if (is_slow && slow_.size() >= options_.waiting_max / 2) return false;
    auto& line = is_slow ? slow_ : usual_;
    line.push_back(std::move(next));
    if (ready() > threads_ - running_ && threads_ < options_.threads_max) {
      try {
        start_thread();
        ++threads_;
      } catch (const std::system_error&) {  // the machine has none to give: those there are serve
        if (threads_ > 0) return true;
        next = std::move(line.back());
        line.pop_back();
        return false;
      }
    }
    wake_.notify_one();
    return true;
  }

  /// Those that wait for nothing but a thread.
  [[nodiscard]] std::size_t ready() const {
    const auto slow_threads_max = options_.threads_max / 2;
    return usual_.size() + std::min(slow_.size(), slow_threads_max - slow_running_);
  }

  void serve() {
    using std::chrono::steady_clock;
    std::unique_lock lock{mutex_};
    for (;;) {
      wake_.wait(lock, [this] { return is_stopping_ || ready() > 0; });
      if (is_stopping_) return;
      const bool was_slow = usual_.empty();
      auto& line = was_slow ? slow_ : usual_;
      const auto next = std::move(line.front());
      line.pop_front();
      ++running_;
      slow_running_ += was_slow ? 1 : 0;
      next.begun->store(true);
      lock.unlock();
      const auto since = steady_clock::now();
      auto answer = options_.look_up(next.name);
      const auto took = steady_clock::now() - since;
      lock.lock();
      if (is_stopping_) return;
      --running_;
      slow_running_ -= was_slow ? 1 : 0;
      const auto slow_after = options_.slow_after / (answer.outcome == name_outcome::failed ? 4 : 1);
      remember(next.name, took >= slow_after);
      lock.unlock();
      next.done(std::move(answer));
      lock.lock();
    }
  }

  void remember(const std::string& name, bool is_slow) {
    if (!is_slow) {
      slow_names_.erase(name);
      return;
    }
    if (slow_names_.size() >= options_.slow_names_max) slow_names_.erase(slow_names_.begin());
    slow_names_.insert(name);
  }

  resolver_options options_;
  std::mutex mutex_;  // for all below
  std::condition_variable wake_;
  std::deque<lookup> usual_;
  std::deque<lookup> slow_;  ///< of names that were slow the last time: behind all others
  std::unordered_set<std::string> slow_names_;
  std::size_t threads_ = 0;
  std::size_t running_ = 0;       ///< … of which within a lookup
  std::size_t slow_running_ = 0;  ///< … out of slow_
  bool is_stopping_ = false;
};

class system_resolver final : public name_resolver {
 public:
  explicit system_resolver(resolver_options options)
      : queue_(std::make_shared<lookup_queue>(std::move(options))) {}
  ~system_resolver() override { queue_->stop(); }
  system_resolver(const system_resolver&) = delete;
  system_resolver& operator=(const system_resolver&) = delete;

  lookup_begun resolve(std::string name, std::function<void(name_answer)> done) override {
    auto begun = std::make_shared<std::atomic<bool>>(false);
    lookup next{std::move(name), std::move(done), begun};
    if (!lookup_queue::add(queue_, next)) next.done({name_outcome::busy, {}});
    return begun;
  }

 private:
  const std::shared_ptr<lookup_queue> queue_;
};

}  // namespace

std::unique_ptr<name_resolver> make_system_resolver(resolver_options options) {
  return std::make_unique<system_resolver>(std::move(options));
}

}  // namespace parley::net
