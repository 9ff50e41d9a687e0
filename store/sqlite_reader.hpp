#pragma once
/// The reader: one read-only connection, each call one short read transaction on one snapshot.
///
/// Owner      one thread at a time.
/// Orders     positions, rooms_of: latest log entry first, then rooms without any, newest made first. rooms_of_tenant:
///            newest made first. members: in the order in which the tenant's users were first named. tenants: oldest first.
/// Bounds     a call that takes longer than `deadline` is given up; a closed reader gate is waited for, not for long.

#include "store/entry_rows.hpp"
#include "store/notification_reads.hpp"
#include "store/outbox_reads.hpp"
#include "store/reader_gate.hpp"
#include "store/room_rows.hpp"
#include "store/sqlite_db.hpp"
#include "store/store.hpp"
#include "store/tenant_rows.hpp"
#include "store/user_names.hpp"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace parley::store {

class sqlite_reader final : public reader, public outbox_reader {
 public:
  /// Throws db_exception.
  sqlite_reader(const connection_options& options, std::shared_ptr<reader_gate> gate,
                const clock& now);

  [[nodiscard]] outbox_reader* outbox() override { return this; }
  result<store::positions> positions(tenant_no tenant, const user_id& user) override;
  result<checked_rooms> check(tenant_no tenant, const user_id& user,
                              const std::vector<room_id>& rooms) override;
  result<log_page> page(room_no room, room_seq after, room_seq to, std::size_t max_entries,
                        std::size_t max_bytes) override;
  result<std::optional<room_view>> room(tenant_no tenant, room_id room,
                                        const std::optional<user_id>& self) override;
  result<bool> room_exists(tenant_no tenant, room_id room) override;
  result<room_list> rooms_of(tenant_no tenant, const user_id& user, std::size_t limit,
                             std::string_view cursor, std::size_t offset) override;
  result<room_list> rooms_of_tenant(tenant_no tenant, std::size_t limit, std::string_view cursor,
                                    std::size_t offset) override;
  result<member_list> members(room_no room, std::size_t limit, std::string_view cursor,
                              std::size_t offset) override;
  result<history_page> history(room_no room, page_position from, std::size_t limit,
                               bool messages_only, std::size_t offset) override;
  result<store::audience> audience(tenant_no tenant, const user_id& user, std::int64_t max_members,
                                   std::size_t max_rooms) override;
  result<std::optional<user_id>> in_too_many_rooms(tenant_no tenant, room_id room,
                                                   const std::vector<user_id>& users,
                                                   const std::optional<user_id>& caller, bool joins,
                                                   std::uint32_t max) override;
  result<presence_list> presence(tenant_no tenant, const std::optional<user_id>& self,
                                 const std::vector<user_id>& users) override;
  result<sender_lookup> look_up(room_no room, const user_id& user,
                                const std::optional<hash128>& key, utc_time keys_since) override;
  result<std::vector<member_row>> owners(room_no room) override;
  result<bool> is_message(room_no room, message_id message) override;
  result<std::optional<entry>> message(room_no room, message_id message) override;
  result<std::optional<tenant_row>> tenant_by_api_key(const sha256_digest& digest) override;
  result<std::optional<tenant_row>> tenant(const tenant_id& id) override;
  result<std::optional<tenant_row>> tenant_by_key(const key_id& key) override;
  result<std::optional<utc_time>> revoked_before(tenant_no tenant, const user_id& user) override;
  result<tenant_list> tenants(std::size_t limit, std::string_view cursor) override;
  result<tenant_usage_list> tenant_usage(std::size_t limit, std::string_view cursor,
                                         std::int64_t count_max) override;
  result<std::optional<job_row>> job(std::string_view id) override;
  result<job_list> jobs(std::size_t limit, std::string_view cursor) override;
  result<std::optional<user_export_page>> export_user(tenant_no tenant, const user_id& user,
                                                      std::string_view cursor, std::size_t max_rows,
                                                      std::size_t max_bytes) override;

  result<endpoint_list> endpoints(std::size_t limit, std::string_view cursor) override;
  result<std::optional<endpoint_row>> endpoint(tenant_no tenant) override;
  result<log_positions> positions() override;
  result<scanned> scan_events(log_id after, std::size_t max_entries) override;
  result<scanned> scan_offline(log_id after, utc_time due_before, std::int64_t max_members,
                               std::size_t max_entries) override;
  result<scanned> scan_tenant(tenant_no tenant, log_id after, log_id to,
                              std::size_t max_entries) override;
  result<log_id> last_before(utc_time t) override;
  result<outbox_page> outbox(tenant_no tenant, lane_no after, utc_time now, std::size_t max_lanes,
                             std::size_t per_lane, std::size_t max_bytes) override;
  result<store::acked_members> acked_members(room_no room, user_no after, std::size_t limit) override;
  result<pending_notifications> notifications(tenant_no tenant, const user_id& user,
                                              notification_no after, utc_time now,
                                              std::size_t max_items, std::size_t max_bytes) override;
  result<std::vector<std::string>> topics(tenant_no tenant, const user_id& user) override;
  result<dead_letter_list> dead_letters(tenant_no tenant, std::size_t limit,
                                        std::string_view cursor) override;

 private:
  /// Runs `query` in one read transaction, between the gate's enter() and leave().
  template <class T, class Query>
  result<T> in_snapshot(const Query& query);

  /// Where a room's log starts and ends; nullopt: no such live room.
  struct room_bounds {
    tenant_no tenant;
    room_seq first_seq;
    room_seq last_seq;
  };
  db_result<std::optional<room_bounds>> bounds_of(room_no room);
  db_result<commit_no> snapshot_no();

  /// A user's rooms with the place of each one's newest entry in the node's log, in the order of the lists.
  struct ranked_room {
    room_position position;
    log_id newest;  ///< 0: none yet
    room_seq joined_seq;
    utc_time joined_at{};
  };
  db_result<std::vector<ranked_room>> ranked_rooms(tenant_no tenant, user_no user);
  static ranked_room ranked_room_of(const statement::rows& row);

  db_result<listed_room> list_room(room_no room);
  db_result<std::int64_t> unread_count(room_no room, room_seq after, user_no self);
  db_result<std::optional<entry>> last_message(room_no room);
  db_result<std::optional<member_row>> membership(tenant_no tenant, room_no room, user_no user,
                                                  const user_id& name);

  /// What a user who asks for presence is in, ascending.
  struct compared_room {
    room_no no;
    std::optional<bool> shows{};  ///< it is a live dm or group; looked up when somebody shares it
  };
  db_result<std::vector<compared_room>> compared_rooms(tenant_no tenant, user_no user);
  /// `other` is in one of them that shows presence. Adds to `steps` what it took, in rows of a scan.
  db_result<bool> shares_one(tenant_no tenant, std::vector<compared_room>& own, user_no other,
                             std::size_t& steps);
  db_result<bool> shows(compared_room& room, std::size_t& steps);

  /// Entries below or above a seq, nearest first.
  enum class direction : std::uint8_t { up, down };
  struct slice {
    room_seq from;  ///< exclusive
    direction way = direction::up;
    std::size_t limit = 0;
    std::size_t offset = 0;
    bool messages_only = false;
  };
  db_result<std::vector<entry>> entries(room_no room, const slice& s);
  db_result<bool> exists_beyond(room_no room, room_seq from, direction way, bool messages_only);

  result<std::optional<tenant_row>> one_tenant(statement& by, std::string_view name);
  static job_row job_of(const statement::rows& row);
  /// Asks the outbox in one snapshot; its statements are prepared with the first question.
  template <class T, class Query>
  result<T> ask_outbox(const Query& query);

  /// A user's memberships after a room, into `out`; the room to go on after, or nullopt: that was all.
  db_result<std::optional<room_no>> export_memberships(user_export_page& out, tenant_no tenant,
                                                       user_no user, room_no after,
                                                       std::size_t max_rows);
  /// What it said after (room, seq), likewise.
  db_result<std::optional<std::pair<room_no, room_seq>>> export_messages(
      user_export_page& out, tenant_no tenant, user_no user, std::pair<room_no, room_seq> after,
      std::size_t max_rows, std::size_t max_bytes);

  std::unique_ptr<connection> db_;
  std::shared_ptr<reader_gate> gate_;
  const clock& clock_;
  user_names users_;
  entry_decoder decoder_;
  tenant_decoder tenants_of_;
  notification_reads notifications_;
  std::unique_ptr<outbox_reads> outbox_;  ///< null: nobody has asked yet

  statement begin_;
  statement end_;
  statement snapshot_no_;
  statement bounds_;
  statement positions_;
  statement check_;
  statement page_;
  statement room_by_id_;
  statement room_by_no_;
  statement room_exists_;
  statement rooms_of_tenant_;
  statement member_;
  statement members_;
  statement audience_;
  statement room_kind_;
  statement role_;
  statement count_memberships_;
  statement count_rooms_;
  statement last_seen_;
  statement newest_rooms_;
  statement rooms_between_;
  statement shows_presence_;
  statement owners_;
  statement key_;
  statement unread_;
  statement last_message_;
  statement up_;
  statement down_;
  statement messages_up_;
  statement messages_down_;
  statement message_;
  statement tenant_by_digest_;
  statement tenant_by_id_;
  statement tenants_;
  statement tenant_usage_;
  statement tenant_by_key_;
  statement revoked_before_;
  statement job_;
  statement jobs_;
  statement export_person_;
  statement export_memberships_;
  statement export_room_;
  statement export_log_;
  statement export_entry_;
};

}  // namespace parley::store
