#pragma once
/// What a reader tells of the outbox: endpoints, what the log means for them, what waits with its bodies, dead letters.
///
/// Owner      a reader, inside its snapshot.
/// Invariants what a scan says of the entries up to `to` depends on nothing but its snapshot: whoever scans them again says
///            the same, or less.
/// Bound      a scan or a page ends after about slice_time, or slice_steps: what is left is asked for again.

#include "store/endpoint_rows.hpp"
#include "store/entry_rows.hpp"
#include "store/notification_reads.hpp"
#include "store/outbox.hpp"
#include "store/page_cursor.hpp"
#include "store/room_rows.hpp"
#include "store/sqlite_db.hpp"
#include "store/user_names.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

namespace parley::store {

class outbox_reads {
 public:
  static constexpr std::chrono::milliseconds slice_time{10};
  static constexpr std::size_t slice_steps = 64 * 1024;
  /// A lane whose first row waits for the reader of the log is looked at again so soon.
  static constexpr std::chrono::milliseconds place_retry{100};
  /// So is an endpoint while rows of the one before it are being dropped.
  static constexpr std::chrono::milliseconds drop_retry{1000};

  /// Throws db_exception.
  outbox_reads(connection& db, user_names& users, entry_decoder& entries,
               notification_reads& notifications, const clock& now);

  db_result<endpoint_list> endpoints(std::size_t limit, tenant_no after);
  db_result<std::optional<endpoint_row>> endpoint(tenant_no tenant);
  db_result<log_positions> positions();
  db_result<scanned> scan_events(log_id after, std::size_t max_rows);
  db_result<scanned> scan_offline(log_id after, utc_time due_before, std::int64_t max_members,
                                  std::size_t max_rows);
  db_result<scanned> scan_tenant(tenant_no tenant, log_id after, log_id to, std::size_t max_rows);
  db_result<log_id> last_before(utc_time t);
  db_result<outbox_page> page(tenant_no tenant, lane_no after, utc_time now, std::size_t max_lanes,
                              std::size_t per_lane, std::size_t max_bytes);
  db_result<store::acked_members> acked_members(room_no room, user_no after, std::size_t limit);
  db_result<dead_letter_list> dead_letters(tenant_no tenant, std::size_t limit, std::int64_t before);

 private:
  /// Who is told of entries.
  struct wish {
    event_mask events = 0;
    log_id since;
  };
  using wishes = std::unordered_map<tenant_no, wish>;
  db_result<wishes> active();
  db_result<log_id> position(std::string_view name);
  db_result<log_id> last();
  db_result<scanned> scan(const wishes& who, log_id after, log_id to, std::size_t max_rows);

  /// Whether a slice is over.
  class slice {
   public:
    explicit slice(const clock& now) : clock_(now), end_(now.mono() + slice_time) {}
    /// One more step; the clock is asked at every 32nd.
    bool over() {
      ++steps_;
      return steps_ > slice_steps || (steps_ % 32 == 0 && clock_.mono() >= end_);
    }

   private:
    const clock& clock_;
    mono_time end_;
    std::size_t steps_ = 0;
  };

  /// A room that a scan for message.offline has come across.
  struct offline_room {
    bool live = false;
    bool big = false;
    struct member {
      user_no user;
      room_seq joined;
      room_seq acked;
    };
    std::vector<member> members;  ///< unless it is big
  };
  db_result<offline_room> load_room(room_no room, std::int64_t max_members);

  /// A row that waits.
  struct waiting {
    outbox_no no;
    log_id place;
    event_type type = event_type::webhook_test;
    log_id log;
    std::optional<user_no> recipient{};
    std::string event_id{};
    std::string data{};
    utc_time at{};
    std::uint32_t attempts = 0;
    utc_time next_at{};
  };
  /// What may still come before it in its lane is stored, as far as the log was read.
  static bool has_its_turn(const waiting& w, log_id read_to) { return w.place <= read_to.next(); }
  db_result<std::vector<waiting>> rows_of(tenant_no tenant, lane_no lane, std::size_t limit);
  db_result<outbox_item> item_of(const tenant_id& tenant, tenant_no no, lane_no lane, waiting&& w);
  /// What there is to tell now; false: nothing.
  db_result<bool> tell(outbox_item& item, tenant_no tenant, const waiting& w);
  db_result<bool> tell_offline(outbox_item& item, tenant_no tenant, room_no room, const waiting& w,
                               bool live);
  struct found_room {
    room_info info;
    bool live = false;
  };
  db_result<std::optional<found_room>> room_of(room_no room);
  struct found_entry {
    entry e;
    room_no room;
    std::optional<room_seq> target{};
  };
  db_result<std::optional<found_entry>> entry_of(log_id id);
  db_result<std::optional<entry>> entry_at(room_no room, room_seq seq);
  db_result<void> name_entry(dead_letter& d, log_id id);

  connection& db_;
  user_names& users_;
  entry_decoder& entries_;
  notification_reads& notifications_;
  const clock& clock_;

  statement endpoints_;
  statement endpoint_;
  statement active_;
  statement any_active_;
  statement position_;
  statement last_;
  statement first_commit_;
  statement commit_before_;
  statement entry_from_;
  statement scan_;
  statement entry_time_;
  statement message_;
  statement room_size_;
  statement members_;
  statement next_lane_;
  statement lane_rows_;
  statement dropping_;
  statement room_;
  statement entry_;
  statement entry_at_;
  statement member_cursor_;
  statement dead_letters_;
  statement entry_name_;
  statement room_id_;
};

}  // namespace parley::store
