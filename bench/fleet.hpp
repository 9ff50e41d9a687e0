#pragma once
/// All load threads of a run, taken through its phases by the scenario's thread:
///
///   connect() → load() → settle() → close()          (idle: connect() → stay() → close())
///   connect() → begin_load() → begin_herd(), wait_for(), stay() … → end_load() → settle() → close()
///
/// Meanwhile that thread prints progress, looks after the node, and notices an interrupt: then each phase ends early.

#include "bench/chat_worker.hpp"
#include "bench/fleet_plan.hpp"
#include "bench/node_process.hpp"
#include "bench/room_heads.hpp"
#include "bench/run_context.hpp"

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace parley::bench {

/// Makes the worker for connections [first, first + count).
using worker_maker = std::function<std::unique_ptr<chat_worker>(
    const fleet_plan& plan, std::uint32_t first, std::uint32_t count, session_options session,
    room_heads& heads, run_schedule& schedule)>;

inline constexpr std::uint32_t never_herd = std::numeric_limits<std::uint32_t>::max();

/// Sums over all threads.
struct fleet_progress {
  std::uint64_t opened = 0;
  std::uint64_t ready = 0;
  std::uint64_t frames = 0;
  std::uint64_t deliveries = 0;
  std::uint64_t accepted = 0;
  std::uint64_t errors = 0;
  std::uint64_t faults = 0;
  std::uint64_t lost = 0;
  std::uint64_t returned = 0;
  std::uint64_t told_later = 0;
  std::uint32_t herd = never_herd;  // the least of all threads
  std::int64_t last_ready_ns = 0;
  bool is_settled = true;
  bool has_failed = false;
};

/// A span of time and what the processes used in it.
struct measured_window {
  double seconds = 0;
  std::optional<process_usage> node_before;
  std::optional<process_usage> node_after;
  std::optional<process_usage> bench_before;
  std::optional<process_usage> bench_after;
  std::vector<std::uint64_t> accepted_each_s;
  std::vector<std::uint64_t> deliveries_each_s;
};

class fleet {
 public:
  /// Makes the rooms of the plan, and the workers.
  fleet(run_context& context, fleet_plan plan, const worker_maker& make, bool tracks_last);
  ~fleet();
  fleet(const fleet&) = delete;
  fleet& operator=(const fleet&) = delete;

  /// All connections, or the first `expected` if the others start away, all synced. False: some are not, which is a fault.
  bool connect(std::uint32_t expected = 0);
  /// warm-up, then the measurement.
  measured_window load(double warmup_s, double duration_s);
  /// The load without an end yet; all of it is measured.
  void begin_load();
  void end_load();
  /// The next herd begins at `from_ns`; the node can be reached again from `return_from_ns` on, `never`: not known yet.
  void begin_herd(std::int64_t from_ns, std::int64_t return_from_ns);
  [[nodiscard]] run_schedule& schedule() { return schedule_; }
  /// Until `is_done`; it is asked every few milliseconds. False: not within `deadline_s`, an interrupt, or the node ended.
  bool wait_for(double deadline_s, const char* phase,
                const std::function<bool(const fleet_progress&)>& is_done);
  /// Waits until all that was accepted has arrived everywhere. What has not by then, close() reports.
  void settle(double deadline_s);
  /// Says nothing for so long.
  measured_window stay(double duration_s, const char* phase = "idle");
  /// Ends the threads; the faults of all are then in the context.
  void close();

  [[nodiscard]] const fleet_plan& plan() const { return plan_; }
  [[nodiscard]] double setup_s() const { return setup_s_; }
  [[nodiscard]] double connect_s() const { return connect_s_; }
  [[nodiscard]] fleet_progress progress() const;
  [[nodiscard]] const std::vector<std::unique_ptr<chat_worker>>& workers() const {
    return workers_;
  }
  /// Fields about the connections that every run has. After close().
  [[nodiscard]] nlohmann::ordered_json describe() const;

 private:
  /// Until then, `is_done`, an interrupt, or an end of the node. False: the last two.
  bool wait(std::int64_t until_ns, const char* phase,
            const std::function<bool(const fleet_progress&)>& is_done = {},
            measured_window* window = nullptr);
  void print_progress(const char* phase, const fleet_progress& now);
  [[nodiscard]] bool must_stop(const fleet_progress& now);

  run_context& context_;
  fleet_plan plan_;
  std::unique_ptr<room_heads> heads_;
  run_schedule schedule_;
  std::vector<std::unique_ptr<chat_worker>> workers_;
  std::vector<std::jthread> threads_;
  double setup_s_ = 0;
  double connect_s_ = 0;
  bool is_closed_ = false;
  bool has_node_ended_ = false;
  std::int64_t begun_ns_ = 0;
  std::int64_t last_printed_ns_ = 0;
  fleet_progress last_;
  std::optional<process_usage> last_node_;
};

}  // namespace parley::bench
