#pragma once
/// When a client that lost its connection comes back. Pure: no clock, no socket.
///
/// at_once   all at the same moment, as clients without any manners would
/// jitter    spread evenly at random over a span
/// obey      after the delay that server.shutdown named for it, counted from its close (SPEC 5)
///
/// A try that is refused is repeated after a pause that doubles each time.

#include <cstdint>
#include <optional>
#include <random>

namespace parley::bench {

enum class return_manner : std::uint8_t { at_once, jitter, obey };

struct absence {
  std::int64_t closed_ns = 0;
  std::optional<std::uint64_t> told_ms;  // reconnect_after_ms, if the node named one
};

class return_policy {
 public:
  return_policy(return_manner manner, std::int64_t jitter_ns, std::uint64_t seed)
      : manner_{manner},
        jitter_ns_{jitter_ns},
        random_{seed} {}

  /// Does a client wait until it is known when the node is back? Else its absence alone tells when it tries.
  [[nodiscard]] bool waits_for_node(const absence& a) const {
    return manner_ != return_manner::obey || !a.told_ms;
  }
  /// When the first try is due. `node_back_ns`: when the node can be reached again; looked at where waits_for_node().
  [[nodiscard]] std::int64_t first_try_ns(const absence& a, std::int64_t node_back_ns);
  /// The pause after `tries` refused ones, at least 1: 100 ms, 200 ms, … up to 2 s.
  [[nodiscard]] static std::int64_t pause_ns(std::uint32_t tries);

 private:
  return_manner manner_;
  std::int64_t jitter_ns_;
  std::mt19937_64 random_;
};

}  // namespace parley::bench
