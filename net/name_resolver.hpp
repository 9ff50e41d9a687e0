#pragma once
/// Names → addresses, without keeping the asker waiting: an interface, so that tests answer as they like, and the system's
/// resolver (getaddrinfo(3): /etc/hosts, resolv.conf) on threads of its own.

#include <boost/asio/ip/address.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace parley::net {

enum class name_outcome : std::uint8_t {
  found,
  unknown,  ///< the DNS says: no such name, or no address
  failed,   ///< no answer, or a broken one
  busy,     ///< not asked: too many names are being looked up
};
struct name_answer {
  name_outcome outcome = name_outcome::failed;
  std::vector<boost::asio::ip::address> addresses{};  ///< the best first; not empty when found
};

/// Whether a lookup has begun; false: it waits for others to end.
using lookup_begun = std::shared_ptr<const std::atomic<bool>>;

class name_resolver {
 public:
  name_resolver() = default;
  name_resolver(const name_resolver&) = delete;
  name_resolver& operator=(const name_resolver&) = delete;
  virtual ~name_resolver() = default;
  /// `done` is called once, on any thread, perhaps within this call. Once the resolver is gone, it may still be called,
  /// or never. Any thread.
  virtual lookup_begun resolve(std::string name, std::function<void(name_answer)> done) = 0;
};

/// A lookup may take 30 s and can't be given up, and who owns a name decides how long: a name that was slow the last time
/// waits for the threads that such names may hold, half of all. The others are kept waiting only by names that are slow
/// for the first time, as many at once as there are threads.
struct resolver_options {
  std::size_t threads_max = 32;   ///< made when they are needed, and kept
  std::size_t waiting_max = 256;  ///< names without a thread, half of them slow ones; beyond: `busy`
  std::chrono::milliseconds slow_after{2000};  ///< a lookup that failed is slow after a quarter of it
  std::size_t slow_names_max = 1024;           ///< remembered; beyond, any of them is forgotten
  std::function<name_answer(const std::string& name)> look_up{};  ///< blocks; none: getaddrinfo(3)
};

/// Going away it waits for nobody: a thread within a lookup ends with it.
[[nodiscard]] std::unique_ptr<name_resolver> make_system_resolver(resolver_options options = {});

}  // namespace parley::net
