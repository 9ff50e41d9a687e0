#pragma once
/// One load thread: its connections from the upgrade over `hello` and the sync to the end, every frame checked. What is
/// sent, and what is measured, a scenario adds by deriving from it.
///
/// Owner     the thread in run(). Others may read `progress` and set `run_schedule`; the rest after the thread has ended.
/// Life      connect (at a bounded rate) → all synced → load_from: completeness is checked → measure_to: nothing new is
///           sent, what is under way arrives → is_closing: missing is missing, goodbye.
/// Absence   a scenario may have clients start away, cut them, or expect their loss (will_return); come_back() opens them
///           again. They resume from their own positions, send again what was not answered, and stay under all checks.

#include "bench/checker.hpp"
#include "bench/faults.hpp"
#include "bench/fleet_plan.hpp"
#include "bench/frame_fields.hpp"
#include "bench/histogram.hpp"
#include "bench/message_stamp.hpp"
#include "bench/target_url.hpp"
#include "bench/ws_loop.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace simdjson::dom {
class parser;
}

namespace parley::bench {

inline constexpr std::int64_t never = std::numeric_limits<std::int64_t>::max();

/// When what happens, for all threads of a run. The coordinator writes, the workers look once a turn.
struct run_schedule {
  std::atomic<std::int64_t> load_from{never};
  std::atomic<std::int64_t> measure_from{never};
  std::atomic<std::int64_t> measure_to{never};
  std::atomic<bool> is_closing{false};

  // Herds (herd_worker): the number of the latest, written last; when it begins; when the node can be reached again.
  std::atomic<std::uint32_t> herd{0};
  std::atomic<std::int64_t> herd_from{never};
  std::atomic<std::int64_t> return_from{never};
  std::atomic<bool> expects_closes{false};  // by the node, with 1012

  std::atomic<std::uint32_t> step{
      0};  // of a scenario whose workers act by steps (slow_worker, presence_worker)
};

/// What a worker tells while it runs; counts since its start.
struct worker_progress {
  std::atomic<std::uint64_t> opened{0};
  std::atomic<std::uint64_t> ready{0};
  std::atomic<std::uint64_t> frames{0};
  std::atomic<std::uint64_t> deliveries{0};
  std::atomic<std::uint64_t> accepted{0};
  std::atomic<std::uint64_t> errors{0};
  std::atomic<std::uint64_t> faults{0};
  std::atomic<std::uint64_t> lost{0};
  std::atomic<std::uint64_t> returned{0};  // came back from an absence and have all their rooms again
  std::atomic<std::uint64_t> told_later{0};  // upgrades that were answered with 429 or 503
  std::atomic<std::uint32_t> herd{0};        // the latest that the worker has seen
  std::atomic<std::int64_t> last_ready_ns{0};
  std::atomic<bool> is_settled{false};  // nothing of this thread is under way
  std::atomic<bool> has_failed{false};  // see failure()
};

struct session_options {
  target_url target;
  std::string api_key;
  bool has_manual_sync = false;
  double connects_per_s = 0;      // of this worker; 0: as many as `opening_max` allows
  std::size_t opening_max = 256;  // upgrades under way; well below the node's accept backlog
  unsigned sources = 1;
  std::size_t content_bytes = 0;
  std::uint64_t seed = 1;
  /// Rooms are checked from their first entry on, whenever a reader comes: for rooms that nobody has written to.
  bool has_whole_log = false;
  std::uint32_t away_from =
      std::numeric_limits<std::uint32_t>::max();  // from there on clients start away
  std::int64_t ack_every_ns = 0;                  // each client's cursors; 0: never
  bool allows_gaps = false;
};

class chat_worker : public ws_events {
 public:
  /// Plays the plan's connections [first, first + count).
  chat_worker(const fleet_plan& plan, std::uint32_t first, std::uint32_t count,
              session_options options, room_heads& heads, run_schedule& schedule);
  ~chat_worker() override;

  /// Until the schedule closes; never throws, see failure().
  void run();

  [[nodiscard]] const worker_progress& progress() const { return progress_; }
  // After run():
  [[nodiscard]] const checker& checks() const { return checker_; }
  [[nodiscard]] const std::string& failure() const { return failure_; }
  [[nodiscard]] const histogram& hello_times() const { return hello_times_; }
  [[nodiscard]] const histogram& ready_times() const { return ready_times_; }
  /// The same of those that came back from an absence, from when each was due to try.
  [[nodiscard]] const histogram& return_hello_times() const { return return_hello_times_; }
  [[nodiscard]] const histogram& return_ready_times() const { return return_ready_times_; }
  /// How connections ended and upgrades were refused during expected absences: by close code, by HTTP status or the socket's error.
  [[nodiscard]] const std::map<int, std::uint64_t>& close_codes() const { return close_codes_; }
  [[nodiscard]] const std::map<std::string, std::uint64_t>& refusals() const { return refusals_; }
  [[nodiscard]] std::uint64_t resent() const { return resent_; }
  [[nodiscard]] std::uint64_t duplicates() const { return duplicates_; }
  [[nodiscard]] const std::map<std::string, std::uint64_t, std::less<>>& error_codes() const {
    return error_codes_;
  }
  /// What the first `hello` said: server_version, and limits as JSON.
  [[nodiscard]] const std::string& server_version() const { return server_version_; }
  [[nodiscard]] const std::string& limits() const { return limits_; }

 protected:
  // For scenarios. Clients are numbered from 0 in a worker.
  virtual void on_ready(std::uint32_t /*client*/, std::int64_t /*now*/) {}
  /// `hello` after an absence, or the first one of a client that started away.
  virtual void on_return(std::uint32_t /*client*/, std::int64_t /*now*/) {}
  /// A connection was lost that was open. True: as the scenario expects, and come_back() will follow or was called.
  virtual bool will_return(std::uint32_t /*client*/, const close_notice& /*notice*/) {
    return false;
  }
  /// A frame of the node that is neither an entry nor an answer, or an error that answers no send. True: expected.
  virtual bool on_event(std::uint32_t /*client*/, const frame_fields& /*frame*/,
                        std::int64_t /*now*/) {
    return false;
  }
  virtual void on_delivery(std::uint32_t /*client*/, const delivery& /*what*/,
                           const message_stamp& /*stamp*/, std::int64_t /*now*/) {}
  virtual void on_accepted(std::uint32_t /*client*/, const open_send& /*send*/,
                           std::int64_t /*now*/) {}
  virtual void on_refusal(std::uint32_t /*client*/, const open_send& /*send*/,
                          std::int64_t /*retry_after_ns*/, std::int64_t /*now*/) {}
  /// Once a turn, after what came in; gives when it wants the next one at the latest.
  virtual std::int64_t on_turn(std::int64_t /*now*/) { return never; }

  [[nodiscard]] std::uint32_t count() const { return static_cast<std::uint32_t>(sessions_.size()); }
  [[nodiscard]] std::uint32_t first() const { return first_; }
  /// Synced, and not told to leave.
  [[nodiscard]] bool is_ready(std::uint32_t client) const {
    return sessions_[client].is_ready && !sessions_[client].told_ms;
  }
  [[nodiscard]] bool is_away(std::uint32_t client) const { return sessions_[client].is_away; }
  /// reconnect_after_ms of a server.shutdown on the last connection.
  [[nodiscard]] std::optional<std::uint64_t> told_ms(std::uint32_t client) const {
    return sessions_[client].told_ms;
  }
  [[nodiscard]] std::int64_t last_frame_ns(std::uint32_t client) const {
    return sessions_[client].last_frame_ns;
  }
  [[nodiscard]] std::int64_t ready_ns(std::uint32_t client) const {
    return sessions_[client].ready_ns;
  }
  /// Resets the connection, whatever its state: the client is away until come_back().
  void cut(std::uint32_t client);
  /// An absent client connects at this time; its times count from then.
  void come_back(std::uint32_t client, std::int64_t at_ns);
  void pause_reading(std::uint32_t client) { loop_.pause_reading(client); }
  void resume_reading(std::uint32_t client) { loop_.resume_reading(client); }
  /// For connections to come: SO_RCVBUF of this client.
  void set_receive_buffer(std::uint32_t client, int bytes) {
    sessions_[client].receive_buffer_bytes = bytes;
  }
  void send_frame(std::uint32_t client, std::string_view text) { loop_.send_text(client, text); }
  [[nodiscard]] checker& checks_for_scenario() { return checker_; }
  void tell_herd(std::uint32_t number) { progress_.herd = number; }
  [[nodiscard]] std::span<const reading> readings(std::uint32_t client) const {
    return sessions_[client].readings;
  }
  [[nodiscard]] const fleet_plan& plan() const { return plan_; }
  [[nodiscard]] const run_schedule& schedule() const { return schedule_; }
  [[nodiscard]] std::uint64_t frames_per_s() const { return frames_per_s_; }
  [[nodiscard]] std::size_t open_sends() const { return checker_.open_sends(); }
  [[nodiscard]] std::size_t open_sends_of(std::uint32_t client) const {
    return checker_.open_sends_of(first_ + client);
  }
  /// Sends a message with this stamp (of this client) to a room of its own.
  void send_message(std::uint32_t client, const reading& room, const message_stamp& stamp);

 private:
  struct session {
    std::vector<reading> readings;  // by room_key
    std::int64_t connect_ns = 0;    // when it connected, or was due to
    std::int64_t ready_ns = 0;      // when the last sync was done
    std::int64_t last_frame_ns = 0;
    std::optional<std::uint64_t> told_ms;
    std::uint32_t completes = 0;  // sync.complete on this connection
    std::uint32_t tries = 0;      // refused ones in a row
    int receive_buffer_bytes = 0;
    bool is_ready = false;
    bool is_lost = false;
    bool is_away = false;  // expectedly, until the next sync is done
  };
  struct retry {
    std::int64_t at_ns;
    std::uint32_t client;
    bool operator>(const retry& other) const { return at_ns > other.at_ns; }
  };

  void on_wake(std::int64_t now_ns) override;
  void on_open(std::uint32_t client, std::int64_t now_ns) override;
  void on_text(std::uint32_t client, std::string_view text, std::int64_t now_ns) override;
  void on_closed(std::uint32_t client, const close_notice& notice) override;
  void on_refused(std::uint32_t client, const response_head& answer, std::string_view text) override;
  void on_broken(std::uint32_t client, std::string_view why) override;

  void turns();
  void connect_due(std::int64_t now);
  void open(std::uint32_t client, std::int64_t due_ns);
  void acknowledge_due(std::int64_t now);
  void leave(std::uint32_t client);
  void sync_from_positions(std::uint32_t client, std::string_view epoch);
  void say_goodbye();
  void publish();
  [[nodiscard]] std::string name(std::uint32_t client) const;
  [[nodiscard]] reading* find_reading(std::uint32_t client);  // of fields_.room_id
  [[nodiscard]] bool is_whole_json(std::string_view text);

  void take_entry(std::uint32_t client, std::int64_t now);
  void take_accepted(std::uint32_t client, std::int64_t now);
  void take_error(std::uint32_t client, std::int64_t now);
  void take_hello(std::uint32_t client, std::int64_t now);
  void take_sync_start(std::uint32_t client);
  void take_sync_complete(std::uint32_t client);
  void take_sync_done(std::uint32_t client, std::int64_t now);
  void take_acked(std::uint32_t client);
  void take_other(std::uint32_t client, std::string_view text, std::int64_t now);
  void foreign_room(std::uint32_t client);
  void write_message(std::uint32_t client, std::uint32_t room, const message_stamp& stamp);

  const fleet_plan& plan_;
  std::uint32_t first_;
  session_options options_;
  run_schedule& schedule_;
  checker checker_;
  ws_loop loop_;
  content_pattern content_;
  std::vector<session> sessions_;
  std::deque<std::uint32_t> to_connect_;
  // Clients that are away, or were told to come back later. Bound: one a client.
  std::priority_queue<retry, std::vector<retry>, std::greater<>> retries_;
  std::int64_t next_connect_ns_ = 0;
  std::uint64_t connect_retries_ = 0;
  bool is_loading_ = false;
  bool is_closing_ = false;
  frame_fields fields_;
  std::string scratch_;
  std::string stamp_scratch_;
  std::unique_ptr<simdjson::dom::parser> parser_;

  std::uint64_t frames_ = 0;
  std::uint64_t deliveries_ = 0;
  std::uint64_t accepted_ = 0;
  std::uint64_t errors_ = 0;
  std::uint64_t opened_ = 0;
  std::uint64_t ready_ = 0;
  std::uint64_t lost_ = 0;
  std::int64_t next_settled_check_ns_ = 0;
  histogram hello_times_;
  histogram ready_times_;
  histogram return_hello_times_;
  histogram return_ready_times_;
  std::map<int, std::uint64_t> close_codes_;
  std::map<std::string, std::uint64_t> refusals_;
  std::uint64_t returned_ = 0;
  std::uint64_t resent_ = 0;
  std::uint64_t duplicates_ = 0;
  std::uint64_t acks_due_ = 0;  // clients whose turn to acknowledge has come, counted for ever
  std::int64_t acks_from_ns_ = 0;
  std::string epoch_;
  std::map<std::string, std::uint64_t, std::less<>> error_codes_;
  std::string server_version_;
  std::string limits_;
  std::uint64_t frames_per_s_ = 0;
  std::string failure_;
  alignas(64) worker_progress progress_;
};

}  // namespace parley::bench
