#pragma once
/// One user who is online, or was a moment ago: its connections, its cursors on their way, what the others are shown of
/// it (docs/adr/0008). No CAF, no I/O.
///
///   offline ──attach──▶ online ◀──presence.set──▶ away      of several connections: online if one is
///      ▲                   │ the last one leaves
///      └── grace is over ──┴──▶ (shown as before)           coming back within the grace changes nothing
///
/// Owner      one session_actor; not thread-safe.
/// Invariants no two connections with the same device; others are told a status only when it differs from what they were
///            told last, at most once in presence_interval, never before herd_until.
/// Bound      connections ≤ the user's limit (the newest is refused with 1008); cursor moves under way ≤ cursors_max;
///            typing frames that are being checked ≤ typing_checks_max, questions to readers for them ≤ one a room; rooms
///            it types in, or typed in a moment ago, ≤ typing_rooms_max (beyond: the longest silent one stops whose
///            start was shown a typing_interval ago; without one nothing is shown), so as many starts a typing_interval.

#include "actors/messages.hpp"
#include "protocol/seams.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace parley::actors {

class session_ports {
 public:
  session_ports() = default;
  session_ports(const session_ports&) = delete;
  session_ports& operator=(const session_ports&) = delete;
  virtual ~session_ports() = default;
  virtual void to_gateway(gateway_no gateway, const attached& m) = 0;
  virtual void to_gateway(gateway_no gateway, cursors_stored_ptr m) = 0;
  virtual void to_gateway(gateway_no gateway, receipt_ptr m) = 0;
  virtual void to_gateway(gateway_no gateway, session_done_ptr m) = 0;
  virtual void to_gateway(gateway_no gateway, const close_connection& m) = 0;
  virtual void to_gateways(presence_shown_ptr m) = 0;  ///< to each
  virtual void to_gateways(typing_shown_ptr m) = 0;    ///< to each
  virtual void to_storage(store_cursors_ptr m) = 0;
  virtual void to_storage(store_last_seen_ptr m) = 0;
  virtual void to_directory(const session_idle& m) = 0;
  /// The answer comes as on(call, result). False: the readers' queue is full.
  virtual bool read(call_no call, read_query q) = 0;
  /// For presence_table.
  virtual void list_as(presence_status status) = 0;
  /// wake() is wanted at that time; asked again only for an earlier one, or after wake().
  virtual void wake_at(mono_time when) = 0;
};

struct session_options {
  std::chrono::milliseconds presence_grace{5000};
  std::chrono::milliseconds presence_interval{1000};  ///< SPEC 5: one update a user and second
  std::int64_t presence_max_members = 200;
  std::chrono::milliseconds retry_interval{1000};  ///< of an audience that could not be read
  mono_time herd_until{};                          ///< no presence is shown before
  /// What changed before herd_until is shown within so long after it, each user at its own time.
  std::chrono::milliseconds herd_spread{0};
  std::chrono::milliseconds typing_interval{2000};
  std::chrono::milliseconds typing_timeout{6000};
  std::int64_t typing_max_members = 200;
};

class session {
 public:
  /// `successor`: of one that ended by a bug. What the others were shown is not known, and its connections are being
  /// closed.
  session(user_key user, instance_no instance, session_ports& ports, const clock& now,
          const session_options& options, bool successor = false);
  session(const session&) = delete;
  session& operator=(const session&) = delete;

  /// Once, right after construction.
  void start();

  void on(const attach& m);
  void on(const detach& m);
  void on(const move_cursors_ptr& m);
  void on(const cursors_stored_ptr& m);
  void on(const set_presence& m);
  void on(const type_in_room& m);
  void on(call_no call, const read_result& answer);
  /// It is time (wake_at), or later; too early is harmless.
  void wake();

  [[nodiscard]] const user_key& user() const { return user_; }
  [[nodiscard]] std::size_t connections() const { return connections_.size(); }

  static constexpr std::size_t cursors_max = 256;  ///< frames of moves under way; beyond: UNAVAILABLE
  static constexpr std::size_t typing_checks_max = 64;  ///< beyond: UNAVAILABLE
  static constexpr std::size_t typing_rooms_max = 16;

 private:
  struct attached_connection {
    gateway_no gateway;
    connection_ref connection;
    std::string device{};
    bool away = false;
    [[nodiscard]] bool is(gateway_no g, connection_ref c) const {
      return gateway == g && connection == c;
    }
  };
  /// A typing frame whose membership is being checked; frames of a room share a call.
  struct typing_check {
    call_no call;
    room_id room;
    reply_to to;
    connection_ref connection;
    bool start = true;
    bool cancelled = false;  ///< a stop, a message or the connection's end came after it
  };
  /// One room that it types in; or, no more active, in which no start may be shown yet.
  struct typing {
    room_id room;
    gateway_no gateway;
    connection_ref connection;
    mono_time shown_at;
    mono_time until;
    bool active = true;
  };
  using connection_list = std::vector<attached_connection>;

  connection_list::iterator find(gateway_no gateway, connection_ref connection);
  void let_go(connection_list::iterator gone);
  void finish(const reply_to& to, std::optional<error> failure = std::nullopt);

  void start_typing(const typing_check& asked);
  /// No start may be shown in its room yet.
  [[nodiscard]] bool is_recent(const typing& t) const;
  /// Nullptr: none that is recent.
  [[nodiscard]] typing* recent_typing(const room_id& room);
  /// A start that is not shown keeps alive what was.
  void go_on(typing& t, gateway_no gateway, connection_ref connection);
  void show_typing(const room_id& room, bool start);
  /// True: it was active. `shown`: the others hear that it stopped.
  bool stop_typing(const room_id& room, bool shown);
  /// Ends all of which `over` is true.
  template <class Over>
  void stop_typing_if(Over&& over);
  [[nodiscard]] bool types() const;
  void cancel_checks(const room_id& room);

  /// What is, when connections change: the table, the grace, the end of the herd.
  void settle();
  /// What the others are to be told; what they were told while it is not decided.
  [[nodiscard]] std::optional<presence_status> wanted() const;
  void tell_if_due();
  void tell(const store::audience& audience);
  void ask_to_be_woken();
  void maybe_idle();

  const user_key user_;
  const instance_no instance_;
  session_ports& ports_;
  const clock& clock_;
  const session_options options_;
  const bool successor_;
  connection_list connections_;
  std::uint64_t seen_ = 0;  ///< attaches and cursors; the directory counts what it sends
  std::size_t cursors_under_way_ = 0;

  std::optional<presence_status> shown_ =
      presence_status::offline;                        ///< to the others; nullopt: not known
  presence_status listed_ = presence_status::offline;  ///< in the table
  std::optional<mono_time> left_at_{};  ///< when the last connection ended: the grace runs
  utc_time left_at_utc_{};
  mono_time tell_after_{};  ///< the end of the herd, a retry
  mono_time rest_until_{};  ///< after what was told; also to one who has left: its next session would not know
  bool audience_asked_ = false;
  call_no audience_call_{};

  std::vector<typing_check> checks_;  ///< as they came
  std::vector<typing> typing_;

  call_no last_call_{};
  std::optional<mono_time> woken_at_{};  ///< what was asked of wake_at and has not come
};

}  // namespace parley::actors
