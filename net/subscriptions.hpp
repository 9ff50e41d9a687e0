#pragma once
/// Delivery (DESIGN 1): who reads which room from where, on one gateway. A subscription is a reader of a room's log at a
/// position; live delivery, reconnect sync and a slow socket are the same step: send (sent, head] from the ring, else
/// from a page. Pure: no sockets, no CAF, no clock.
/// Owner      one gateway, on its I/O thread; not thread-safe.
/// Invariants per connection and room, seqs sent are strictly increasing, +1 but for a stated gap, reset or absence (I3);
///            what is sent shows its message at least as new as the last rewrite of it that was published here, and as
///            the snapshot that its subscription started from (SPEC 1);
///            a subscription with sent < min(max(head, base), until) is due, held by its sync, waits for a page, or is blocked on
///            its connection's outbound bound: no wake-up is lost, since the head is looked at again after each.
/// Bound      ≤ node_limits.max_subscriptions a connection; rings ≤ options.ring_bytes; the publish log ≤
///            limits::publish_log_entries; sync requests waiting ≤ sync_requests_max a connection; rewritten messages
///            remembered ≤ limits::page_rewrites_max a room, what they show ≤ limits::page_rewrites_max_bytes and one
///            more, and only while a page of it is being read. Nothing is queued per slow reader: its backlog is the log.
/// Progress   a page is served whatever was rewritten since it was read, and shows that: only what was rewritten before the
///            last so many other messages were, within the reading of one page, is asked again.
/// Relies on  a user is registered here before its room list is read; publishes of one room arrive in order; a reader's
///            answer carries the last commit that its snapshot has seen.

#include "actors/messages.hpp"
#include "net/publish_log.hpp"
#include "protocol/client_frame.hpp"
#include "protocol/ids.hpp"
#include "protocol/wire_frame.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace parley::net {

using actors::call_no;
using actors::connection_ref;

class delivery_ports {
 public:
  delivery_ports() = default;
  delivery_ports(const delivery_ports&) = delete;
  delivery_ports& operator=(const delivery_ports&) = delete;
  virtual ~delivery_ports() = default;
  /// Queues a frame on the connection. Must not call back.
  virtual void send(connection_ref c, const frame_ptr& f) = 0;
  /// Bytes the connection still takes politely.
  [[nodiscard]] virtual std::size_t space(connection_ref c) const = 0;
  /// A frame of so many bytes may go now: it fits, or less than half of the bound is queued (so that whoever is refused
  /// will certainly hear drained()).
  [[nodiscard]] virtual bool takes(connection_ref c, std::size_t bytes) = 0;
  /// False: the readers' queue is full; asked again at the next tick.
  virtual bool read(call_no call, tenant_no tenant, actors::read_query q) = 0;
  /// What this connection should have been given is lost (a room's actor died): close it (1011) in a later turn; its
  /// client resumes from the log.
  virtual void restart(connection_ref c) = 0;
  /// run() is to be called in a later turn.
  virtual void wake() = 0;
  /// An automatic connection was sent its `sync.done`. `notifications`: some may wait for its user, as of the snapshot of
  /// its room list. Must not call back.
  virtual void synced(connection_ref c, bool notifications) {
    static_cast<void>(c);
    static_cast<void>(notifications);
  }
};

enum class sync_mode : std::uint8_t { automatic, manual };
inline constexpr std::size_t sync_outcomes = 5;
static_assert(static_cast<std::size_t>(sync_outcome::gone) + 1 == sync_outcomes);

struct subscriptions_options {
  std::uint32_t sync_max_events = 1000;
  std::uint32_t max_subscriptions = 5000;
  std::size_t ring_bytes = limits::ring_total_bytes;  ///< of this gateway
  epoch_id epoch{};
};

struct subscriptions_counters {
  std::uint64_t frames_from_ring = 0;
  std::uint64_t frames_from_pages = 0;
  std::uint64_t pages = 0;
  std::uint64_t frames_overtaken =
      0;  ///< of pages: rewritten since the page was read, and sent as they are now
  std::uint64_t stale_pages =
      0;  ///< asked again, since what a rewrite of something in them says is forgotten
  std::uint64_t list_overflows = 0;  ///< room lists read again because the publish log had moved on
  std::uint64_t reads_refused = 0;
  std::array<std::uint64_t, sync_outcomes> outcomes{};  ///< of rooms of syncs, by sync_outcome
};

class subscriptions {
 public:
  subscriptions(delivery_ports& ports, const subscriptions_options& options);
  ~subscriptions();
  subscriptions(const subscriptions&) = delete;
  subscriptions& operator=(const subscriptions&) = delete;

  /// Registers the connection: from now on nothing that concerns its user is missed.
  void add(connection_ref c, const user_key& user, sync_mode mode);
  /// After its `hello`: an automatic connection reads its room list and streams.
  void start(connection_ref c);
  void remove(connection_ref c);

  // Client frames. Each answers exactly once, now or later.
  void sync(connection_ref c, const reply_refs& refs, sync_frame frame);
  void subscribe(connection_ref c, const reply_refs& refs, const room_id& room);
  void unsubscribe(connection_ref c, const reply_refs& refs, const room_id& room);

  void on(const actors::publish_ptr& m);
  /// What was read of the room before that commit is not served any more.
  void on(const actors::room_rewritten& m);
  void on(call_no call, const actors::read_result& answer);
  /// The connection has room again.
  void drained(connection_ref c);
  /// Serves what is due, about `max_sends` frames; true: more is due (call again in a later turn).
  bool run(std::size_t max_sends);
  /// About every 100 ms: reads that were refused are asked again.
  void tick();

  /// Every connection of a user here.
  [[nodiscard]] std::vector<connection_ref> connections_of(const user_key& user) const;
  /// Whoever reads the room live now: a member up to what was published here, with its sync behind it. Appended to `out`
  /// in no order; the users are good until the next call that changes anything.
  struct live_reader {
    connection_ref connection;
    const user_key* user;
  };
  void live_in(const room_key& room, std::vector<live_reader>& out) const;
  [[nodiscard]] std::size_t connections() const { return by_ref_.size(); }
  [[nodiscard]] std::size_t size() const { return live_subscriptions_; }
  [[nodiscard]] std::size_t rooms() const { return by_room_.size(); }
  [[nodiscard]] std::size_t ring_bytes() const { return ring_bytes_; }
  [[nodiscard]] const subscriptions_counters& counters() const { return counters_; }
  /// For tests: walks everything and asserts the invariants that can be seen from inside.
  void check_invariants() const;

  static constexpr std::size_t sync_requests_max = 16;

 private:
  using slot = std::uint32_t;
  static constexpr slot no_slot = ~slot{0};
  static constexpr room_seq never{INT64_MAX};

  /// A later membership of a user whose earlier one is not sent to its end yet.
  struct stint {
    room_seq start;
    room_seq until = never;
    frame_ptr announce;  ///< `room.added`, sent first
  };
  struct subscription {
    slot conn = no_slot;  ///< no_slot: free
    slot room = no_slot;
    std::uint32_t uses = 0;
    std::uint32_t in_room = 0;  ///< index in the room's list
    room_seq sent;
    room_seq until = never;    ///< the last entry this user may see; then `room.removed`
    room_seq base;             ///< membership changes up to here are in what it started from
    bool queued : 1 = false;   ///< in due_
    bool held : 1 = false;     ///< its sync's turn has not come, or its outcome is being stated
    bool syncing : 1 = false;  ///< its sync's turn is now
    bool page_pending : 1 = false;
    bool blocked : 1 = false;  ///< on its connection's bound
    bool gone : 1 = false;     ///< the room was deleted
    bool has_stints : 1 = false;
    bool announcing : 1 = false;  ///< `room.added` goes first (announces_)
    bool told_only : 1 =
        false;  ///< `room.added` only informs; nothing follows, not even `room.removed`
    bool retry : 1 = false;  ///< in retry_
  };
  /// A message that was rewritten while pages of its room are read, after its newest rewrite.
  struct rewritten {
    commit_no commit;
    room_seq seq;
    std::shared_ptr<const entry> message;  ///< nullptr: forgotten, as is `frame`
    frame_ptr frame;
  };
  /// A frame of a page that a commit has changed since the page was read.
  struct overtaken {
    std::size_t at = 0;
    std::shared_ptr<const entry> message;  ///< as it is now
    frame_ptr frame;                       ///< the same, encoded
    const entry* edit = nullptr;           ///< the page's frame is this edit of it
  };
  struct judged_page {
    std::size_t good = 0;  ///< so many frames can be sent; what is behind them is asked again
    std::vector<overtaken> changed{};  ///< which of those differ from the page, ascending
  };
  struct room_state {
    room_key key;
    room_no no;
    room_seq head;  ///< of what was published here; all memberships up to it are applied
    room_seq first_seq{1};
    std::deque<frame_ptr> ring;                       ///< frames (head − ring.size(), head]
    std::vector<std::shared_ptr<const entry>> edits;  ///< which of them are edits, ascending, without their texts
    std::size_t ring_bytes = 0;
    std::size_t pages = 0;            ///< being read
    std::vector<rewritten> rewrites;  ///< since the oldest of them was asked, by commit, or all newer than:
    commit_no rewrites_forgotten{};  ///< a page of an older snapshot can't be judged
    std::size_t rewrites_bytes = 0;  ///< what they show
    commit_no erased_by{};           ///< a publish from before it is no source for the ring
    std::vector<slot> subs;
    std::list<slot>::iterator by_publish;
    bool used = false;
  };
  struct sync_item {
    std::string room;                          ///< as text, for its outcome
    std::optional<sync_outcome> stated_first;  ///< live, reset, gone: known at once
    slot sub = no_slot;
    std::uint32_t uses = 0;
    room_seq at;  ///< for live and reset: the stated position
  };
  struct sync_request {
    reply_refs refs;
    sync_frame frame;
  };
  struct sync_state {
    bool automatic = false;
    bool notifications = false;  ///< automatic: some may wait
    enum class ask : std::uint8_t {
      nothing,
      list,
      check
    } asking = ask::nothing;  ///< under way, or to be asked again
    reply_refs refs;
    sync_frame frame;
    std::vector<std::pair<room_id, room_seq>> start;  ///< automatic: for `sync.start`
    std::size_t start_sent = 0;
    bool start_done = true;
    std::deque<sync_item> items;
    std::size_t rooms = 0;
    // The item whose turn it is:
    bool active = false;
    bool reached = false;  ///< all its entries are sent; its outcome is next
    bool stated = false;   ///< its outcome was stated before its entries (gap)
    room_seq target;
    bool queued = false;  ///< in due_
    bool blocked = false;
    std::deque<sync_request> next;
  };
  struct connection {
    connection_ref ref;
    const user_key* user = nullptr;  ///< key in users_
    std::uint32_t uses = 0;
    bool used = false;
    bool goes_live = false;  ///< new rooms are live at once: automatic, or after rest:"live"
    bool awaiting_list =
        false;  ///< membership changes wait in the publish log for the list's snapshot
    sync_mode mode = sync_mode::automatic;
    commit_no list_commit;                    ///< changes up to here are in the list
    std::vector<std::pair<slot, slot>> subs;  ///< (room, subscription), ascending
    std::vector<slot> blocked;
    std::vector<std::pair<room_key, room_seq>> lost_rooms;  ///< while awaiting_list: removals already carried out
    std::unique_ptr<sync_state> sync;
  };
  struct due_item {
    bool is_connection;
    slot index;
    std::uint32_t uses;
  };
  enum class call_kind : std::uint8_t { list, check, subscribe, page };
  struct call_target {
    call_kind kind;
    slot index;  ///< connection, or subscription for a page
    std::uint32_t uses;
    publish_log::position log_position;  ///< when asked
    reply_refs refs{};                   ///< of a subscribe
    room_id room{};
  };

  // connections and rooms
  connection* find(connection_ref c);
  slot find_room(const room_key& key) const;
  slot room_for(const room_key& key, room_no no);
  void release_room(slot r);
  slot find_sub(const connection& c, slot room) const;
  /// `in_bulk`: the caller sorts the connection's list at the end.
  slot add_sub(slot c, slot room, room_seq sent, room_seq base, bool in_bulk = false);
  void sort_subs(slot c);
  void drop_sub(slot s);

  // publishes
  void apply_publish(const actors::publish_ptr& m);
  void replay(slot c, publish_log::position from, commit_no snapshot,
              const std::vector<room_key>* only);
  void catch_up(slot s);
  void apply(slot c, const room_key& room, room_no no, commit_no commit,
             const actors::member_change& change);
  void ring_add(slot r, const actors::publish& m);
  void ring_pop(room_state& room);
  void ring_cut(room_state& room);
  void ring_rewrite(slot r, const actors::rewrite& w);
  void note_rewrite(room_state& room, const actors::rewrite& w, commit_no commit);
  void page_is_over(room_state& room);
  [[nodiscard]] static std::size_t shown_bytes(const rewritten& r);
  [[nodiscard]] static judged_page judge(const room_state& room, const actors::page_frames& page);
  [[nodiscard]] frame_ptr as_it_is_now(const room_key& room, const overtaken& o);
  [[nodiscard]] frame_ptr edit_frame(const room_key& room, entry edit, const entry& message);
  void ring_drop(slot r);
  void starts_at(slot r, room_seq first);
  void raise_head(slot r, room_seq head);
  void end_sub(slot s, room_seq last);
  void stop_at_hole(slot s, room_seq first);
  [[nodiscard]] static bool removed_before(const connection& c, const room_key& key, room_seq seq);
  void ring_trim();

  // serving
  void make_due(slot s);
  void make_due_connection(slot c);
  std::size_t serve(slot s, std::size_t budget);
  bool try_send(slot c, const frame_ptr& f);
  void block(slot s);
  bool finish_stint(slot s);
  void nothing_more(slot s);
  void ask_page(slot s);
  void on_page(slot s, const actors::read_result& answer);
  [[nodiscard]] room_seq reach(const subscription& s) const;
  [[nodiscard]] room_seq limit(const subscription& s) const;

  // sync
  void ask(slot c);
  void begin_sync(slot c);
  void end_sync(slot c);
  void on_list(slot c, publish_log::position log_position, const actors::read_result& answer);
  void on_check(slot c, publish_log::position log_position, const actors::read_result& answer);
  void say_not_live(connection_ref c, const std::string& room);
  void plan_automatic(slot c, const store::positions& all);
  void confirm(connection_ref c, const reply_refs& refs, const room_id& room, slot s);
  void on_subscribed(slot c, const call_target& t, const actors::read_result& answer);
  std::vector<room_key> plan_manual(slot c,
                                    const std::vector<std::optional<store::room_position>>& found,
                                    const store::positions* all);
  void step_sync(slot c);
  bool state_outcome(slot c, const sync_complete_info& s);
  [[nodiscard]] static sync_item* owed_as_gone(connection& conn, const room_id& room);
  [[nodiscard]] bool entered_since(const connection& conn, publish_log::position from,
                                   const store::checked_rooms& checked) const;

  void reply_error(connection_ref c, const reply_refs& refs, const error& why);
  template <class Append>
  frame_ptr frame(Append&& append);

  delivery_ports& ports_;
  const subscriptions_options options_;
  std::vector<connection> conns_;
  std::vector<slot> free_conns_;
  std::unordered_map<connection_ref, slot> by_ref_;
  std::unordered_map<user_key, std::vector<slot>> users_;
  std::vector<subscription> subs_;
  std::vector<slot> free_subs_;
  std::size_t live_subscriptions_ = 0;
  std::vector<room_state> rooms_;
  std::vector<slot> free_rooms_;
  std::unordered_map<room_key, slot> by_room_;
  std::list<slot> by_publish_;  ///< rooms, longest without a publish first: rings shrink from here
  std::size_t ring_bytes_ = 0;
  std::unordered_map<slot, std::deque<stint>> stints_;
  std::unordered_map<slot, frame_ptr> announces_;
  std::deque<due_item> due_;
  publish_log log_;
  std::unordered_map<call_no, call_target> calls_;
  call_no last_call_{};
  std::vector<due_item> retry_;
  std::string scratch_;
  subscriptions_counters counters_;
};

}  // namespace parley::net
