#pragma once
/// What the outbox needs from the configuration.

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace parley::actors {

struct outbox_options {
  std::chrono::milliseconds offline_after{
      10'000};  ///< a message not acked for so long is told as message.offline
  std::chrono::milliseconds herd_window{30'000};  ///< after a start nobody is told to be away
  std::int64_t offline_max_members = 200;         ///< over it: one event for all who miss a message
  std::uint32_t max_attempts = 10;                ///< then it is a dead letter
  std::chrono::milliseconds retry_interval{
      5'000};  ///< the first pause; each is twice the one before, at most …
  std::chrono::milliseconds retry_max_interval{3'600'000};  ///< … this; full jitter
  std::chrono::milliseconds retry_after_max{3'600'000};     ///< what an endpoint may ask for
  std::uint32_t breaker_failures = 5;                       ///< in a row; then it rests
  std::chrono::milliseconds breaker_rest{30'000};           ///< then one probe
  std::size_t concurrency_per_endpoint = 16;                ///< requests under way
  std::size_t concurrency = 256;                            ///< of all endpoints
  /// The client answers sooner, by its own deadlines; if it ever does not, a lane must not wait for ever.
  std::chrono::milliseconds attempt_deadline{300'000};
  /// By then whoever asked for a test is told what came of it. Shorter than a gateway waits (net/gateway_notifications).
  std::chrono::milliseconds call_deadline{12'000};
};

}  // namespace parley::actors
