#pragma once
/// A load thread whose clients leave together and come back: talkers send, open loop; the audience listens, is cut, or
/// closed by the node, and resumes.
///
/// A herd begins at schedule.herd_from: with `cuts_audience` each listening client is reset then (those that started away
/// are away already); without, the node is expected to close all, talkers too (schedule.expects_closes, code 1012).
/// schedule.return_from: the node can be reached again. When each tries is the return_policy's matter.

#include "bench/message_worker.hpp"
#include "bench/recovery_curve.hpp"
#include "bench/return_policy.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace parley::bench {

struct herd_options {
  send_options send;  // senders: the talkers
  bool cuts_audience = true;
  return_manner manner = return_manner::at_once;
  std::int64_t jitter_ns = 0;
};

/// What one herd was like, from herd_from on.
struct herd_figures {
  recovery_curve curve;    // until a client had all its rooms again
  histogram silences;      // from a client's last frame before to its hello after
  std::uint64_t left = 0;  // clients that were cut, or closed by the node
  std::uint64_t told = 0;  // … of which server.shutdown had named a delay
  void add(const herd_figures& other);
};

class herd_worker final : public message_worker {
 public:
  herd_worker(const fleet_plan& plan, std::uint32_t first, std::uint32_t count,
              session_options sessions, const herd_options& options, room_heads& heads,
              run_schedule& schedule);

  /// By herd. After run().
  [[nodiscard]] const std::vector<herd_figures>& herds() const { return herds_; }

 private:
  void on_ready(std::uint32_t client, std::int64_t now) override;
  void on_return(std::uint32_t client, std::int64_t now) override;
  bool will_return(std::uint32_t client, const close_notice& notice) override;
  std::int64_t on_turn(std::int64_t now) override;

  void begin_herd();
  /// Away until the node is back.
  struct parked {
    std::uint32_t client;
    absence away;
  };

  herd_options options_;
  return_policy policy_;
  std::uint32_t herd_ = 0;
  std::int64_t herd_from_ = 0;
  std::vector<parked> parked_;  // Bound: one a client.
  std::vector<herd_figures> herds_;
};

}  // namespace parley::bench
