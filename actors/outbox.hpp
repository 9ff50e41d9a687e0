#pragma once
/// What leaves the node by webhook (SPEC 6): looks at the log for whoever wants to hear of it, sends what waits, and says
/// what became of it. No CAF, no I/O.
///
/// Everything is derived from the store (I9): positions, endpoints and rows are read at the start, and what was sent but not
/// noted is sent again, with the same webhook-id. So an outbox may be thrown away at any point.
///
///   log ──scan──► rows, stored with the position ──page──► lanes in memory ──post──► answer ──► outcome, stored
///
/// Owner      one outbox_actor; not thread-safe.
/// Invariants one request of a lane at a time; a lane's next row is sent after the outcome of the one before is known, and
///            is not read again before that outcome is on the disk. Nothing is sent to an endpoint that rests, is disabled,
///            has no secret, or whose tenant is disabled.
/// Fairness   endpoints take turns, for requests and for memory; what is left of either at the end is for those that have
///            little of it, so that some that hang do not hold up the others.
/// Bound      outbox_bounds; and of requests, outbox_options. Rows that are not in memory are in the store.

#include "actors/endpoint_breaker.hpp"
#include "actors/endpoint_lanes.hpp"
#include "actors/log_cursor.hpp"
#include "actors/member_lists.hpp"
#include "actors/messages.hpp"
#include "actors/outbox_options.hpp"
#include "actors/presence_events.hpp"
#include "actors/webhook_client.hpp"
#include "protocol/hash.hpp"
#include "protocol/seams.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

namespace parley::actors {

class outbox_ports {
 public:
  outbox_ports() = default;
  outbox_ports(const outbox_ports&) = delete;
  outbox_ports& operator=(const outbox_ports&) = delete;
  virtual ~outbox_ports() = default;
  /// The answer comes as on(call, result). False: the readers' queue is full.
  virtual bool read(call_no call, tenant_no tenant, read_query q) = 0;
  /// The answer comes as on(outbox_applied).
  virtual void apply(apply_outbox_ptr m) = 0;
  /// The answer comes as on_answer(attempt, …).
  virtual void post(std::uint64_t attempt, webhook_post request) = 0;
  virtual void answer(gateway_no gateway, webhook_called_ptr m) = 0;
  /// Whether this tenant wants to hear of its users' presence.
  virtual void wishes(tenant_no tenant, bool presence) = 0;
  /// The next commit is to be told, as outbox_news.
  virtual void wait_for_log() = 0;
  /// An attempt has ended.
  virtual void observe_attempt(std::chrono::nanoseconds took) = 0;
  /// An event was delivered, so long after what it tells of.
  virtual void observe_delay(std::chrono::nanoseconds delay) = 0;
};

struct outbox_bounds {
  std::size_t endpoint_posts = 512;  ///< in memory, of one endpoint
  std::size_t endpoint_bytes = 1024 * 1024;
  std::size_t endpoint_lanes = 1024;
  std::size_t bytes = 8 * 1024 * 1024;  ///< of all endpoints
  std::size_t lane_posts = 16;          ///< that a page brings of one lane
  std::size_t page_bytes = 256 * 1024;
  std::size_t page_reads = 8;      ///< under way
  std::size_t unconfirmed = 4096;  ///< outcomes that are not on the disk; beyond: nothing is sent
  std::size_t batch_outcomes = 1000;
  std::size_t batch_given_up = 4;   ///< of them: each may have a big room's members looked at
  std::size_t scan_entries = 1000;  ///< that make rows
  std::size_t presence = 10'000;
  std::size_t presence_batch = 1000;
  std::size_t list_bytes = 8 * 1024 * 1024;
  std::size_t list_slice = 2000;
  std::size_t listed_bytes =
      8 * 1024 * 1024;  ///< under way, of requests that name the members of big rooms
  std::int64_t replay_queued =
      10'000;              ///< rows that wait; then a replay goes on only as they are sent
  std::size_t calls = 16;  ///< of operators
};

struct outbox_counters {
  std::uint64_t attempts = 0;
  std::uint64_t delivered = 0;
  std::uint64_t failures = 0;  ///< attempts that failed
  std::uint64_t given_up = 0;
  std::uint64_t obsolete = 0;
  std::uint64_t late_answers = 0;
  std::uint64_t presence_dropped = 0;
  std::int64_t in_flight = 0;
  std::int64_t endpoints = 0;
  std::int64_t resting = 0;
  std::int64_t disabled = 0;
  std::int64_t lag = 0;  ///< entries of the log that are not looked at, as far as is known
};
/// What an outbox and those before it have counted; what is now, only `now` knows.
[[nodiscard]] inline outbox_counters operator+(const outbox_counters& before, outbox_counters now) {
  now.attempts += before.attempts;
  now.delivered += before.delivered;
  now.failures += before.failures;
  now.given_up += before.given_up;
  now.obsolete += before.obsolete;
  now.late_answers += before.late_answers;
  now.presence_dropped += before.presence_dropped;
  return now;
}

class outbox {
 public:
  /// Calls and attempts are numbered from first_no + 1 on: answers to an outbox before this one mean nothing.
  outbox(outbox_ports& ports, const clock& now, random_source& random,
         const outbox_options& options, const secret_key& sealing_key, std::uint64_t first_no = 0,
         const outbox_bounds& bounds = {});
  outbox(const outbox&) = delete;
  outbox& operator=(const outbox&) = delete;

  void start();
  /// About each 50 ms, while wants_ticks().
  void tick();
  void on(const outbox_news& m);
  void on(const outbox_applied& m);
  void on(call_no call, const read_result& answer);
  void on_answer(std::uint64_t attempt, const webhook_answer& answer);
  void on(const tenant_changed& m);
  void on(const user_presence& m);
  void on(const webhook_call& m);

  /// Something is to be done later, or again. A node without endpoints has no such thing.
  [[nodiscard]] bool wants_ticks() const;
  /// A tick sooner than that: the log has grown again right after it was looked at, and may be looked at then.
  [[nodiscard]] std::optional<mono_time> scan_at() const;
  [[nodiscard]] const outbox_counters& counters() const { return counters_; }
  [[nodiscard]] std::uint64_t last_no() const { return last_no_; }
  /// In memory, of all endpoints.
  [[nodiscard]] std::size_t loaded_bytes() const { return loaded_bytes_; }
  [[nodiscard]] std::size_t unconfirmed() const { return gathered_.size() + applying_.size(); }

 private:
  /// What is known of an endpoint's tenant.
  enum class tenant_state : std::uint8_t {
    unknown,    ///< read before the first page
    active,     ///< it has a secret, too
    disabled,   ///< or deleted
    no_secret,  ///< nothing is sent that its receiver could not check
  };
  struct endpoint {
    store::endpoint_row row;
    std::uint64_t life =
        0;  ///< of this object: what belongs to an earlier one of the tenant means nothing
    std::uint64_t url_life = 0;  ///< of its `url`: answers of another one say nothing about this
    bool held = false;           ///< its row is being read again
    tenant_state tenant = tenant_state::unknown;
    std::optional<call_no> tenant_call{};
    std::vector<std::string> secrets;
    endpoint_breaker breaker;
    endpoint_lanes lanes;
    std::size_t in_flight = 0;
    std::size_t seen_bytes = 0;  ///< of `lanes`, as they are in loaded_bytes_
    // A round is one way through all lanes.
    store::lane_no cursor{};
    bool in_round = false;
    bool wants_round = false;
    std::optional<utc_time> round_next_at{};
    std::optional<call_no> page_call{};
    mono_time pages_at{};  ///< not sooner
    std::optional<mono_time> wake_at{};
    bool in_read_turns = false;
    bool in_send_turns = false;
    // A replay goes on slice by slice.
    std::optional<call_no> replay_call{};
    mono_time replay_at{};
    explicit endpoint(const endpoint_breaker::options& o) : breaker(o) {}
  };
  struct attempt {
    tenant_no tenant;
    store::lane_no lane;
    store::outbox_no no;
    std::uint64_t life = 0;
    std::uint64_t url_life = 0;
    bool probe = false;
    std::uint64_t call = 0;  ///< of an operator; 0: none
    std::size_t listed_bytes = 0;
    mono_time began{};
  };
  struct pending_outcome {
    store::outbox_outcome outcome;
    store::lane_no lane;
    std::uint64_t life = 0;
  };
  struct operator_call {
    webhook_call asked;
    store::endpoint_row row;
    std::string event_id;
    mono_time until{};
  };
  enum class read_kind : std::uint8_t {
    positions,
    lag,
    endpoint_page,
    endpoint,
    tenant,
    events,
    offline,
    page,
    replay_endpoint,
    replay_scan,
    members,
    call_endpoint,
    call_tenant,
  };
  struct pending_read {
    read_kind kind = read_kind::positions;
    tenant_no tenant{};
    std::uint64_t ref = 0;      ///< room or operator's call
    std::size_t max_bytes = 0;  ///< of a page
    std::size_t per_lane = 0;   ///< likewise
  };
  enum class apply_kind : std::uint8_t {
    outcomes,
    events,
    offline,
    presence,
    replay,
    rows_of_moved
  };
  struct pending_apply {
    apply_kind kind = apply_kind::outcomes;
    tenant_no tenant{};              ///< of a replay
    std::vector<tenant_no> touched;  ///< whose queues have new rows then
  };

  [[nodiscard]] mono_time mono() const { return clock_.mono(); }
  std::optional<call_no> read(const pending_read& what, tenant_no tenant, read_query q);
  call_no apply(pending_apply what, store::outbox_batch batch);
  void pump();

  // outbox.cpp: endpoints and their tenants
  void read_endpoints();
  void on_endpoints(const store::endpoint_list& page);
  void refresh(tenant_no tenant);
  void read_changed();
  void on_endpoint(tenant_no tenant, const store::endpoint_list& found);
  void put(const store::endpoint_row& row);
  void remove(tenant_no tenant);
  void on_tenant(tenant_no tenant, call_no call, const read_result& answer);
  [[nodiscard]] tenant_state open_secrets(const store::tenant_row& row,
                                          std::vector<std::string>& secrets) const;
  void show_wishes(const endpoint& e);
  void set_disabled(endpoint& e, std::string why);
  void wake(endpoint& e, mono_time when);
  void wake(endpoint& e, utc_time when);
  void want_round(endpoint& e);
  void news_of(tenant_no tenant);

  // outbox_scans.cpp: the log, presence, replays
  void forget_positions();
  void read_positions(mono_time now);
  void on_positions(read_kind kind, const read_result& answer);
  void scan_events(mono_time now);
  void on_events(const read_result& answer);
  void store_events(store::outbox_batch batch);
  void on_events_stored(const pending_apply& done, const std::optional<error>& failure);
  void scan_offline(mono_time now);
  void on_offline(const read_result& answer);
  void on_offline_stored(const pending_apply& done, const std::optional<error>& failure);
  void flush_presence(mono_time now);
  void step_replays(mono_time now);
  void on_replay_endpoint(tenant_no tenant, call_no call, const read_result& answer);
  void on_replay_scan(tenant_no tenant, call_no call, const read_result& answer);
  void on_replay_stored(const pending_apply& done, call_no call, const std::optional<error>& failure);
  void on_presence_stored(const pending_apply& done, const std::optional<error>& failure);

  // outbox_sending.cpp
  void read_pages();
  bool read_page(endpoint& e);
  [[nodiscard]] bool may_load(const endpoint& e, mono_time now) const;
  [[nodiscard]] bool has_budget(const endpoint& e) const;
  void fit(outbox_posts& page, const endpoint& e) const;
  void on_page(const pending_read& asked, call_no call, const read_result& answer);
  void send();
  [[nodiscard]] bool may_send(const endpoint& e, mono_time now) const;
  enum class sending : std::uint8_t { sent, nothing, not_now };
  sending send_one(endpoint& e, mono_time now);
  /// What its recipients make of a post for many; nullopt: the lane waits, or was settled.
  std::optional<std::string> listed_body(endpoint& e, store::lane_no lane, const outbox_post& post,
                                         mono_time now);
  void post(endpoint& e, store::lane_no lane, const outbox_post& what, std::string body,
            std::size_t listed_bytes, mono_time now);
  [[nodiscard]] webhook_post signed_request(const store::endpoint_row& row,
                                            const std::vector<std::string>& secrets,
                                            const std::string& event_id, std::string body) const;
  /// In the node's own words; empty: it was good.
  [[nodiscard]] static std::string failure_text(const webhook_answer& answer);
  void settle(endpoint& e, store::lane_no lane, store::outbox_outcome outcome);
  void on_answered(endpoint& e, const attempt& a, const webhook_answer& answer);
  void on_failed(endpoint& e, const attempt& a, const webhook_answer& answer, utc_time now);
  [[nodiscard]] std::chrono::milliseconds pause_after(std::uint32_t attempts,
                                                      const webhook_answer& answer) const;
  void flush_outcomes(mono_time now);
  void on_outcomes_stored(const std::optional<error>& failure);
  void log_failure(const error& why);
  void read_lists(mono_time now);
  void on_members(room_no room, const read_result& answer);
  void count_bytes(endpoint& e);
  void send_turn(endpoint& e);
  void read_turn(endpoint& e);

  // outbox_calls.cpp: what operators ask
  void on_call_endpoint(std::uint64_t no, const read_result& answer);
  void on_call_tenant(std::uint64_t no, const read_result& answer);
  void on_call_answered(const attempt& a, const webhook_answer& answer, mono_time::duration took);
  void finish(std::uint64_t no, std::variant<error, webhook_report> outcome);
  void sweep_calls(mono_time now);
  void sweep_attempts(mono_time now);

  outbox_ports& ports_;
  const clock& clock_;
  random_source& random_;
  const outbox_options options_;
  const secret_key sealing_key_;
  const outbox_bounds bounds_;
  outbox_counters counters_;
  std::uint64_t last_no_;
  mono_time started_at_{};
  std::unordered_map<call_no, pending_read> reads_;
  std::unordered_map<call_no, pending_apply> applies_;

  std::map<tenant_no, endpoint> endpoints_;
  bool listed_ = false;  ///< all endpoints of the start are known
  std::optional<call_no> list_call_{};
  std::string list_cursor_;
  std::unordered_set<tenant_no> changed_while_listing_;
  std::unordered_set<tenant_no> news_while_listing_;
  std::unordered_map<tenant_no, std::optional<call_no>> changed_;  ///< their rows are to be read again
  mono_time rows_at_{};                                            ///< not sooner
  std::uint64_t last_life_ = 0;
  std::set<std::pair<mono_time, tenant_no>> wakes_;
  mono_time sweep_at_{};

  log_cursor events_{store::log_reader::events};
  log_cursor offline_{store::log_reader::offline};
  // Answers to other calls than these are of a position that was read anew since.
  std::optional<call_no> events_call_{};
  std::optional<call_no> offline_call_{};
  log_id log_end_{};  ///< as far as is known
  bool positions_under_way_ = false;
  bool lag_under_way_ = false;
  bool scan_wanted_ = true;
  bool goes_on_ = false;  ///< there is more in the log than the last scan took
  mono_time scan_began_{};
  mono_time events_at_{};   ///< not sooner
  mono_time offline_at_{};  ///< likewise
  mono_time positions_at_{};
  mono_time lag_at_{};
  bool moves_at_once_ = false;  ///< rows may wait for the position to pass what it was behind
  std::optional<store::outbox_batch> moved_without_rows_;  ///< planted: outbox_position_first
  std::unordered_set<tenant_no> replays_;

  presence_events presence_;
  mono_time presence_at_{};
  bool presence_under_way_ = false;

  std::deque<tenant_no> read_turns_;
  std::deque<tenant_no> send_turns_;
  std::size_t page_reads_ = 0;
  std::size_t loaded_bytes_ = 0;
  std::size_t reserved_bytes_ = 0;  ///< of pages under way
  std::map<std::uint64_t, attempt> attempts_;
  std::size_t listed_in_flight_ = 0;
  member_lists lists_;
  mono_time lists_at_{};  ///< not sooner
  struct waiting_lane {
    tenant_no tenant;
    store::lane_no lane;
    std::uint64_t life = 0;
  };
  std::unordered_map<room_no, waiting_lane> wait_for_list_;

  std::deque<pending_outcome> gathered_;
  std::vector<pending_outcome> applying_;
  std::deque<store::outbox_batch::disable> disables_;
  std::optional<store::outbox_batch::disable> disabling_;
  mono_time outcomes_at_{};  ///< not sooner
  mono_time apply_logged_at_{};

  std::map<std::uint64_t, operator_call> calls_;
};

}  // namespace parley::actors
