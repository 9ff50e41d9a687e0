#include "net/name_resolver.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>
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
};

/// Outlives the resolver for as long as one of its threads is within a lookup.
struct lookup_queue {
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<lookup> waiting;
  bool is_stopping = false;

  void serve() {
    std::unique_lock lock{mutex};
    for (;;) {
      wake.wait(lock, [this] { return is_stopping || !waiting.empty(); });
      if (is_stopping) return;
      const auto next = std::move(waiting.front());
      waiting.pop_front();
      lock.unlock();
      auto answer = look_up(next.name);
      lock.lock();
      if (is_stopping) return;
      lock.unlock();
      next.done(std::move(answer));
      lock.lock();
    }
  }
};

class system_resolver final : public name_resolver {
 public:
  system_resolver() {
    for (std::size_t i = 0; i < resolver_threads; ++i)
      std::thread{[queue = queue_] { queue->serve(); }}.detach();
  }
  ~system_resolver() override {
    std::deque<lookup> dropped;
    {
      const std::lock_guard lock{queue_->mutex};
      queue_->is_stopping = true;
      dropped.swap(queue_->waiting);
    }
    queue_->wake.notify_all();
  }
  system_resolver(const system_resolver&) = delete;
  system_resolver& operator=(const system_resolver&) = delete;

  void resolve(std::string name, std::function<void(name_answer)> done) override {
    {
      const std::lock_guard lock{queue_->mutex};
      if (queue_->waiting.size() < resolver_waiting_max) {
        queue_->waiting.push_back({std::move(name), std::move(done)});
        queue_->wake.notify_one();
        return;
      }
    }
    done({});
  }

 private:
  std::shared_ptr<lookup_queue> queue_ = std::make_shared<lookup_queue>();
};

}  // namespace

std::unique_ptr<name_resolver> make_system_resolver() {
  return std::make_unique<system_resolver>();
}

}  // namespace parley::net
