#pragma once
/// Notifications on their way to the connections of one gateway (SPEC 6). They are durable, so nothing is queued here: a
/// connection that is up to date is sent what is shown, any other reads what waits for its user, a page at a time, and so
/// does whoever falls behind. Who is in a room is asked of the readers, whatever is live where. Pure: no sockets, no CAF,
/// no clock but what tick() says.
/// Owner      one gateway, on its I/O thread; not thread-safe.
/// Invariants on one connection numbers ascend and none comes twice, but what is sent again for want of an acknowledgement;
///            whatever was shown after start() is sent, or read later, or acknowledged or past its time before that;
///            unacknowledged on a connection ≤ options.page.
/// Bound      a connection that nothing was ever sent to costs nothing; others options.page × 40 bytes at most. Shows that
///            wait for a room's members ≤ options.shows_max a tenant: beyond it all its connections read. Reads under way
///            ≤ options.reads_max, and one a tenant for rooms.
/// Relies on  notification_shown comes in the order of the numbers, after its commit; a read that is asked after a show has
///            seen it; a connection is registered (delivery, session) before start().

#include "actors/messages.hpp"
#include "net/subscriptions.hpp"
#include "protocol/ids.hpp"
#include "protocol/seams.hpp"
#include "protocol/uuid.hpp"
#include "protocol/wire_frame.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace parley::net {

using store::notification_no;

/// A connection that notifications go to.
struct notified_device {
  connection_ref connection;
  bool explicit_acks = false;  ///< `notifications=ack`: only `notification.ack` counts
};

class notification_ports {
 public:
  notification_ports() = default;
  notification_ports(const notification_ports&) = delete;
  notification_ports& operator=(const notification_ports&) = delete;
  virtual ~notification_ports() = default;
  /// Queues a frame on the connection. Must not call back.
  virtual void send(connection_ref c, const frame_ptr& f) = 0;
  /// Asks the client for a pong, behind all that was sent: heard() comes. Must not call back.
  virtual void ping(connection_ref c) = 0;
  /// As in delivery_ports: whoever is refused will hear drained().
  [[nodiscard]] virtual bool takes(connection_ref c, std::size_t bytes) = 0;
  /// All that was sent to it has left the node.
  [[nodiscard]] virtual bool is_written(connection_ref c) const = 0;
  /// Appends the user's connections here that were started and not removed.
  virtual void add_devices(const user_key& user, std::vector<notified_device>& out) const = 0;
  /// Appends the tenant's users who have such a connection, each at least once.
  virtual void add_users(tenant_no tenant, std::vector<user_key>& out) const = 0;
  /// The time is filled in. False: the readers' queue is full; asked again later.
  virtual bool ask(call_no call, actors::notifications_query q) = 0;
  virtual bool ask(call_no call, actors::members_query q) = 0;
  /// To be stored: this user has these.
  virtual void acknowledged(const user_key& user, std::vector<uuid> notifications) = 0;
  /// To be stored: so many frames of each were sent.
  virtual void sent(tenant_no tenant, std::vector<std::pair<uuid, std::uint32_t>> frames) = 0;
};

struct notification_feed_options {
  std::chrono::milliseconds retry_interval{
      5'000};  ///< sent again after that, if it must be acknowledged; each pause is twice the one before, at most …
  std::chrono::milliseconds retry_max_interval{3'600'000};  ///< … this
  std::size_t page = limits::notifications_page;
  std::size_t page_max_bytes = limits::page_max_bytes;
  std::size_t members_page = 500;
  std::size_t reads_max = 32;
  std::size_t shows_max = 1024;
};

struct notification_counters {
  std::uint64_t sent = 0;        ///< frames, the first of each to a connection
  std::uint64_t sent_again = 0;  ///< for want of an acknowledgement
  std::uint64_t pages = 0;       ///< reads of what waits for a user
  std::uint64_t room_pages = 0;  ///< reads of a room's members
  std::uint64_t overflows =
      0;  ///< too many shows waited: all connections of a tenant were told to read
};

class notification_feed {
 public:
  explicit notification_feed(notification_ports& ports,
                             const notification_feed_options& options = {});
  notification_feed(const notification_feed&) = delete;
  notification_feed& operator=(const notification_feed&) = delete;

  /// How many notifications of the tenant were shown here so far: to be compared by who starts later.
  [[nodiscard]] std::uint64_t shows(tenant_no tenant) const;
  /// Something may wait for some user of the tenant. Until a first read or show has said so, nobody knows.
  [[nodiscard]] bool may_wait(tenant_no tenant) const;
  /// From now on it is sent what is shown. `reads`: and what waits already; without it nothing does, up to what was shown
  /// here.
  void start(const notified_device& device, const user_key& user, bool reads);
  /// Of a connection that was started.
  void remove(connection_ref c, const user_key& user);

  void on(const actors::notification_shown_ptr& m);
  void on(call_no call, const actors::read_result& answer);
  /// The client has said something, or answered a ping.
  void heard(connection_ref c);
  /// The user has it: nothing of this gateway sends it to this user again. `stores`: and that is stored.
  void acknowledge(const user_key& user, const uuid& notification, bool stores);
  void drained(connection_ref c);
  /// About every 100 ms.
  void tick(mono_time now);

  [[nodiscard]] const notification_counters& counters() const { return counters_; }
  /// Connections that are remembered: something was sent to them, or is to be read.
  [[nodiscard]] std::size_t size() const { return feeds_.size(); }
  [[nodiscard]] std::size_t unacknowledged() const;
  /// For tests: walks everything and asserts the invariants that can be seen from inside.
  void check_invariants() const;

 private:
  /// Sent, and not acknowledged.
  struct owed {
    notification_no no;
    uuid id;
    std::uint32_t sends = 1;
    mono_time again_at{};
  };
  /// A connection. What was never sent anything and has nothing to read has none.
  struct feed {
    user_key user;
    bool explicit_acks = false;
    bool reading = false;
    bool queued = false;        ///< in due_ or retry_
    bool behind = false;        ///< there may be more behind `looked`
    bool again = false;         ///< something unacknowledged is due
    bool blocked = false;       ///< on its connection's bound
    bool unwritten = false;     ///< in unwritten_
    bool pinged = false;        ///< and not heard since
    notification_no looked;     ///< up to here everything was sent, or is not for it
    notification_no sent;       ///< the last that was
    notification_no written;    ///< up to here all has left the node, as far as was looked
    notification_no shown;      ///< the newest that it was not sent at once
    mono_time timer{};          ///< in timers_; none: not set
    std::vector<owed> unacked;  ///< ascending
  };
  struct tenant_state {
    enum class any : std::uint8_t { unknown, none, some };
    any notifications = any::unknown;
    bool reading = false;  ///< the members of the first show's room
    std::size_t connections = 0;
    std::uint64_t shows = 0;
    std::deque<actors::notification_shown_ptr> waiting;
    std::size_t batch = 0;     ///< so many of the first are for the room whose members are read
    std::string cursor;        ///< of the members
    call_no call{};            ///< their page that is being read; none: it is to be asked again
    notification_no resolved;  ///< shows up to here were sent to whom they are for
    notification_no horizon;   ///< somebody who is not remembered has looked as far as this
  };
  enum class call_kind : std::uint8_t { page, members };
  struct call_target {
    call_kind kind;
    connection_ref connection{};
    tenant_no tenant{};
    notification_no after{};
    notification_no shown{};  ///< what was shown before it was asked
    bool again = false;
  };

  feed& remember(const notified_device& d, const user_key& user, notification_no looked);
  /// Forgets the connection again, if nothing of it must be known any more.
  void settle(connection_ref c);
  void want(connection_ref c, feed& f);
  void run();
  bool try_send(connection_ref c, feed& f, const uuid& id, const frame_ptr& frame);
  bool send_first(connection_ref c, feed& f, notification_no no, const uuid& id,
                  const frame_ptr& frame);
  bool send_again(connection_ref c, feed& f, const uuid& id, const frame_ptr& frame);
  /// Who only listens acknowledges by pongs: it is pinged when half a page is unacknowledged, not just by the heartbeat.
  void ask_for_pong(connection_ref c, feed& f);
  void set_timer(connection_ref c, feed& f);
  void show_to(const user_key& user, const actors::notification_shown& m);
  void show_to(const notified_device& d, const user_key& user, const tenant_state& t,
               const actors::notification_shown& m);
  void advance(tenant_no tenant, tenant_state& t);
  void ask_members(tenant_no tenant, tenant_state& t);
  void all_read(tenant_no tenant, tenant_state& t);
  void on_members(tenant_no tenant, call_no call, const actors::read_result& answer);
  void on_page(const call_target& asked, const actors::read_result& answer);
  void store_ack(const user_key& user, const uuid& id);
  void flush_acks(const user_key& user);
  void flush_sent();
  [[nodiscard]] std::chrono::milliseconds pause_after(std::uint32_t sends) const;

  notification_ports& ports_;
  const notification_feed_options options_;
  std::unordered_map<connection_ref, feed> feeds_;
  std::unordered_map<tenant_no, tenant_state> tenants_;
  std::unordered_map<call_no, call_target> calls_;
  call_no last_call_;
  std::size_t reads_ = 0;              ///< pages under way
  std::deque<connection_ref> due_;     ///< want to read
  std::vector<connection_ref> retry_;  ///< their read failed
  std::vector<tenant_no> retry_members_;
  std::vector<connection_ref> unwritten_;  ///< implicit ones whose `written` may be behind
  std::set<std::pair<mono_time, connection_ref>> timers_;
  std::unordered_map<user_key, std::vector<uuid>> acks_;  ///< not handed over yet
  std::unordered_map<tenant_no, std::unordered_map<uuid, std::uint32_t>> sent_;  ///< likewise
  std::size_t sent_waiting_ = 0;                                                 ///< rows in sent_
  mono_time now_{};
  mono_time sent_due_{};
  std::vector<notified_device> devices_;  // scratch
  notification_counters counters_;
};

/// Call numbers of this kind have this bit and none above it, so that they differ from those of subscriptions.
inline constexpr std::uint64_t notification_call_bit = std::uint64_t{1} << 61U;

}  // namespace parley::net
