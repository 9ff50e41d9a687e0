#pragma once
/// A third implementation of the store (store/store.hpp): in memory, with versioned snapshots and failures on demand. What
/// was committed outlives the node; what was not is forgotten by crash().
/// It trusts nobody: whatever the node must never ask of a store is a violation, not an error.

#include "protocol/limits.hpp"
#include "store/store.hpp"
#include "tests/sim/chance.hpp"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

namespace parley::sim {

/// What a message says from a commit on.
struct message_change {
  commit_no commit;
  std::string content;
  json_text meta;
  std::optional<utc_time> edited_at;
  std::optional<utc_time> deleted_at;
};
struct stored_entry {
  entry e;  ///< as it was appended
  std::optional<store::send_key> key;
  commit_no commit;
  std::vector<message_change> changes{};  ///< of a message, ascending; each snapshot looks at those it has seen
};
/// One room, as of one snapshot. The log is shared by all snapshots and only grows behind them.
struct stored_room {
  room_no no;
  tenant_no tenant;
  room_info info;
  bool deleted = false;
  std::int64_t latest = 0;  ///< id of its latest log entry, for the order of room lists
  std::shared_ptr<std::vector<stored_entry>> log = std::make_shared<std::vector<stored_entry>>();
  std::map<user_id, store::member_row> members;
  std::map<user_id, room_seq> left;  ///< whose membership ended: its last member.left
  std::map<user_id, store::cursor_state> cursors;
  std::vector<store::used_key> only_keys;  ///< of calls that changed nothing

  /// The key, however it was used.
  [[nodiscard]] std::optional<store::used_key> used(const user_id& sender, const hash128& key) const;
  [[nodiscard]] const stored_entry& at(room_seq seq) const {
    return (*log)[static_cast<std::size_t>(seq.value - 1)];
  }
  /// The message that the entry is or is about; the entry itself for other kinds.
  [[nodiscard]] const stored_entry& subject(room_seq seq) const;
  /// How many changes of its subject a snapshot has seen.
  [[nodiscard]] std::size_t changes_seen(room_seq seq, commit_no snapshot) const;
  /// The entry as it reads after so many changes of its subject (SPEC 1: content and meta are served as they are now).
  [[nodiscard]] entry shown(room_seq seq, std::size_t changes) const;
  [[nodiscard]] entry shown_at(room_seq seq, commit_no snapshot) const {
    return shown(seq, changes_seen(seq, snapshot));
  }
};

struct snapshot {
  commit_no commit;
  std::int64_t last_log_id = 0;
  std::int64_t last_room_no = 0;
  std::map<room_no, std::shared_ptr<const stored_room>> rooms;
  std::unordered_map<room_key, room_no> by_id;
  std::map<std::pair<tenant_no, std::string>, room_no> dms;
  std::map<std::tuple<tenant_no, user_id, hash128>, std::pair<hash128, room_no>> call_keys;

  [[nodiscard]] const stored_room* find(const room_key& key) const;  ///< deleted ones too
  [[nodiscard]] const stored_room* live(const room_key& key) const;
};
using snapshot_ptr = std::shared_ptr<const snapshot>;

/// Chances in permille, of each call.
struct store_faults {
  unsigned item = 0;   ///< an append is refused, its transaction goes on
  unsigned batch = 0;  ///< of a commit
  unsigned begin = 0;  ///< no transaction can be begun
  unsigned fatal = 0;  ///< of a commit; chance decides what became of it
  unsigned open = 0;   ///< a room cannot be read by the writer
  unsigned read = 0;   ///< a reader cannot read
  bool full = false;   ///< no space until this is taken back
};
/// Small ones show what big rooms do.
struct store_bounds {
  std::size_t members_in_memory = limits::room_members_in_memory;
  std::size_t keys_in_memory = limits::room_keys_in_memory;
};

class model_store final : public store::writer {
 public:
  model_store(dice& chance, const store_bounds& bounds) : dice_(chance), bounds_(bounds) {}

  store_faults faults;

  [[nodiscard]] const snapshot_ptr& committed() const { return committed_; }
  /// The process ends: what is not committed is forgotten.
  void crash();
  /// Retention: the first entries of a room are no more to be read (in a commit of its own).
  void retain(room_no room, room_seq first_seq);

  store::write_result<void> begin() override;
  store::write_result<log_id> append(const store::append_row& row) override;
  store::write_result<store::created_room> create_room(const store::new_room& room) override;
  store::write_result<room_seq> delete_room(tenant_no tenant, room_no room, utc_time at) override;
  store::write_result<tenant_no> create_tenant(const store::new_tenant& tenant) override;
  store::write_result<store::tenant_row> change_tenant(const store::tenant_change& change) override;
  store::write_result<store::cursor_state> move_cursor(const store::cursor_move& move) override;
  store::write_result<void> store_last_seen(tenant_no tenant, const user_id& user,
                                            utc_time at) override;
  store::write_result<void> store_key_used(tenant_no tenant, const key_id& key, utc_time at) override;
  store::write_result<std::optional<store::opened_room>> open_room(tenant_no tenant, room_id room,
                                                                   utc_time keys_since) override;
  store::write_result<commit_no> commit() override;
  void rollback() override;
  store::write_result<void> maintain(mono_time, utc_time) override { return {}; }
  store::job_news take_job_news() override { return {}; }
  store::write_result<void> probe() override;
  store::write_result<void> close_clean() override { return {}; }
  [[nodiscard]] store::writer_status status() const override { return {}; }

 private:
  [[nodiscard]] const snapshot& seen() const { return work_ ? *work_ : *committed_; }
  stored_room& touch(room_no room);
  store::write_result<log_id> append_only_key(const store::append_row& row);
  void apply(stored_room& room, const entry& e);
  void change_message(stored_room& room, const entry& e);

  dice& dice_;
  const store_bounds bounds_;
  snapshot_ptr committed_ = std::make_shared<const snapshot>();
  std::shared_ptr<snapshot> work_;
  std::map<room_no, std::shared_ptr<stored_room>> touched_;
};

/// A reader of one snapshot; answers what rooms, the directory and gateways ask.
class model_reader final : public store::reader {
 public:
  explicit model_reader(snapshot_ptr of) : snapshot_(std::move(of)) {}

  result<store::positions> positions(tenant_no tenant, const user_id& user) override;
  result<store::checked_rooms> check(tenant_no tenant, const user_id& user,
                                     const std::vector<room_id>& rooms) override;
  result<store::log_page> page(room_no room, room_seq after, room_seq to, std::size_t max_entries,
                               std::size_t max_bytes) override;
  result<std::optional<store::room_view>> room(tenant_no tenant, room_id room,
                                               const std::optional<user_id>& self) override;
  result<bool> room_exists(tenant_no tenant, room_id room) override;
  result<store::audience> audience(tenant_no tenant, const user_id& user, std::int64_t max_members,
                                   std::size_t max_rooms) override;
  result<store::sender_lookup> look_up(room_no room, const user_id& user,
                                       const std::optional<hash128>& key,
                                       utc_time keys_since) override;
  result<std::vector<store::member_row>> owners(room_no room) override;
  result<bool> is_message(room_no room, message_id message) override;
  result<std::optional<entry>> message(room_no room, message_id message) override;

  // What the simulated node never asks.
  result<std::optional<user_id>> in_too_many_rooms(tenant_no, room_id, const std::vector<user_id>&,
                                                   const std::optional<user_id>&, bool,
                                                   std::uint32_t) override {
    return std::optional<user_id>{};  // no limit is simulated
  }
  result<store::presence_list> presence(tenant_no, const std::optional<user_id>&,
                                        const std::vector<user_id>&) override;
  result<store::room_list> rooms_of(tenant_no, const user_id&, std::size_t, std::string_view,
                                    std::size_t) override;
  result<store::room_list> rooms_of_tenant(tenant_no, std::size_t, std::string_view,
                                           std::size_t) override;
  result<store::member_list> members(room_no, std::size_t, std::string_view, std::size_t) override;
  result<store::history_page> history(room_no, store::page_position, std::size_t, bool,
                                      std::size_t) override;
  result<std::optional<store::tenant_row>> tenant_by_api_key(const sha256_digest&) override;
  result<std::optional<store::tenant_row>> tenant(const tenant_id&) override;
  result<store::tenant_list> tenants(std::size_t, std::string_view) override;
  result<store::tenant_usage_list> tenant_usage(std::size_t, std::string_view, std::int64_t) override;
  result<std::optional<store::tenant_row>> tenant_by_key(const key_id&) override;
  result<std::optional<utc_time>> revoked_before(tenant_no, const user_id&) override;
  result<std::optional<store::job_row>> job(std::string_view) override;
  result<store::job_list> jobs(std::size_t, std::string_view) override;
  result<std::optional<store::user_export_page>> export_user(tenant_no, const user_id&,
                                                             std::string_view, std::size_t,
                                                             std::size_t) override;

 private:
  [[nodiscard]] std::optional<store::room_position> position(const stored_room& room,
                                                             const user_id& user) const;
  const snapshot_ptr snapshot_;
};

}  // namespace parley::sim
