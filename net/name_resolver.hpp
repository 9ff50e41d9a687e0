#pragma once
/// Names → addresses, without keeping the asker waiting: an interface, so that tests answer as they like, and the system's
/// resolver (getaddrinfo(3): /etc/hosts, resolv.conf) on threads of its own.

#include <boost/asio/ip/address.hpp>

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
  failed,   ///< no answer, or a broken one; or too many names are being looked up
};
struct name_answer {
  name_outcome outcome = name_outcome::failed;
  std::vector<boost::asio::ip::address> addresses{};  ///< the best first; not empty when found
};

class name_resolver {
 public:
  name_resolver() = default;
  name_resolver(const name_resolver&) = delete;
  name_resolver& operator=(const name_resolver&) = delete;
  virtual ~name_resolver() = default;
  /// `done` is called once, on any thread, perhaps within this call. Once the resolver is gone, it may still be called,
  /// or never. Any thread.
  virtual void resolve(std::string name, std::function<void(name_answer)> done) = 0;
};

/// Slow names hold up others only when this many are slow at once: a lookup may take 30 s and can't be given up.
inline constexpr std::size_t resolver_threads = 4;
/// Names that wait for a thread; beyond: `failed`.
inline constexpr std::size_t resolver_waiting_max = 256;

/// Going away it waits for nobody: a thread within a lookup ends with it.
[[nodiscard]] std::unique_ptr<name_resolver> make_system_resolver();

}  // namespace parley::net
