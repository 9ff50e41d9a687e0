#pragma once
/// What a room decides: who gets which seq, and when anyone may hear of it. No CAF, no I/O.
/// Owner      one room_actor; not thread-safe.
/// State      loading → active ⇄ loading (a lost generation is opened anew) → deleting → ended
///            opened()   loading → active, or ended when there is no such room
///            lost()     active, deleting → loading
///            deleted()  deleting → ended
/// Invariants committed_ ≤ assigned_; pending_ holds exactly the entries in (committed_, assigned_], ascending, and
///            between them the keys of calls that changed nothing.
///            Validation reads the committed and the pending state; delivery reads only the committed (DESIGN 3.2).
/// Bound      pending_ ≤ limits::room_pending_max_entries, commands waiting (for the opening or a look-up)
///            ≤ limits::room_waiting_max_commands; beyond: UNAVAILABLE, nothing is stored. Keys in memory
///            ≤ limits::room_keys_in_memory, members of big rooms likewise. Joins that gather count as commands waiting.
///            changed_ ≤ pending_ and what was committed while a look-up was under way,
///            ≤ limits::room_pending_max_entries.
/// Relies on  storage: within a generation, committed() in order of entries; lost(): nothing of this generation beyond
///            what was reported committed is in the log, or ever will be; an append of several rows is stored as a whole.

#include "actors/messages.hpp"
#include "protocol/seams.hpp"
#include "protocol/uuid.hpp"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

namespace parley::actors {

/// What a room may ask of the world; carried out by room_actor, or by the simulation.
class room_ports {
 public:
  room_ports() = default;
  room_ports(const room_ports&) = delete;
  room_ports& operator=(const room_ports&) = delete;
  virtual ~room_ports() = default;
  virtual void open(open_room_ptr m) = 0;
  virtual void append(append_ptr m) = 0;
  virtual void delete_room(delete_room_ptr m) = 0;
  virtual void close(close_room m) = 0;
  virtual void answer(gateway_no gateway, replies_ptr m) = 0;
  virtual void publish(publish_ptr m) = 0;
  /// False: the readers' queue is full.
  virtual bool look_up(call_no call, lookup_query q) = 0;
  virtual void retired(room_retired m) = 0;
  virtual void absent(room_absent m) = 0;
  /// on(room_tick) in about so long.
  virtual void wake_in(std::chrono::milliseconds delay) = 0;
};

struct room_options {
  std::uint32_t max_room_members = 100000;
};

class room {
 public:
  room(room_key key, instance_no instance, room_ports& ports, const clock& now,
       uuid7_generator& ids, const room_options& options);
  room(const room&) = delete;
  room& operator=(const room&) = delete;

  /// Asks storage to open the log. Once, right after construction.
  void start();

  void on(const room_command_ptr& m);
  void on(const opened& m);
  void on(const committed& m);
  void on(const lost& m);
  void on(const deleted& m);
  /// Retention has moved the start of the log.
  void on(const room_rewritten& m) { info_.first_seq = std::max(info_.first_seq, m.first_seq); }
  void on(call_no call, const read_result& looked_up);
  void on(const retire& m);
  void on(const room_tick& m);

  /// Nothing is in work: may retire.
  [[nodiscard]] bool idle() const;
  /// Retired, so that nobody sends to it any more: it may stop. One that is gone (deleted, absent) may not: until the
  /// directory has heard of it and lets go, it answers what was forwarded meanwhile.
  [[nodiscard]] bool ended() const { return retired_; }
  [[nodiscard]] room_seq committed_seq() const { return committed_; }
  [[nodiscard]] room_seq assigned_seq() const { return assigned_; }

 private:
  static constexpr std::chrono::milliseconds retry_soon{200};
  enum class state : std::uint8_t { loading, active, deleting, ended };
  /// What a look-up brought for one command.
  struct facts {
    bool looked_up = false;
    lookup_result found{};
    user_id user{};  ///< whom found.found.member is about
  };
  /// Who waits for an entry, and for what.
  struct waiter {
    reply_to to;
    room_outcome outcome;  ///< on success; a send's `duplicate` is set in it
    bool is_send = false;
  };
  struct pending_entry {
    entry_no no;
    entry e;
    std::vector<waiter> waiters;
    std::optional<store::send_key> key;
    credit_ptr credit;
    std::shared_ptr<const entry> message{};  ///< of an edit or delete: its message after it
    std::optional<utc_time> only_key{};  ///< no entry: the key of a call that changed nothing of message `e`
  };
  /// A message that was edited or deleted here: as it is after `last`. It is newer than what a look-up finds that was asked
  /// before `last` was committed, so it is kept while there are such.
  struct changed_message {
    std::shared_ptr<const entry> message;
    entry_no last;
    credit_ptr credit;
  };
  /// What the repeated answer needs of a used key; whose it is stands in its key_ref.
  struct key_record {
    hash128 body;
    room_seq seq;
    message_id message;
    utc_time created_at;
    store::keyed_call call = store::keyed_call::send;
  };
  struct key_ref {
    user_id sender;
    hash128 key;
    bool operator==(const key_ref&) const = default;
  };
  struct key_ref_hash {
    std::size_t operator()(const key_ref& k) const {
      return hash_combine(std::hash<user_id>{}(k.sender), std::hash<hash128>{}(k.key));
    }
  };
  struct overlay {
    std::optional<store::member_row> member;  ///< nullopt: leaves
    entry_no last;                            ///< the latest pending entry that says so
  };
  struct held_commands {
    std::deque<room_command_ptr> queue;
    bool looking_up = false;
    bool joining = false;  ///< its user's join is in joining_
    [[nodiscard]] bool waits() const { return looking_up || joining; }
  };
  struct gathered_join {
    room_command_ptr command;
    std::uint64_t forgotten;  ///< of members_, when it was judged
  };
  enum class handled : std::uint8_t { done, needs_lookup };

  // One command against the state as it will be when all pending is committed.
  handled handle(const room_command_ptr& m, const facts& f);
  handled handle_send(const room_command_ptr& m, const send_command& c, const facts& f);
  handled handle_add(const room_command_ptr& m, const add_members_command& c, const facts& f);
  handled handle_remove(const room_command_ptr& m, const remove_member_command& c, const facts& f);
  handled handle_join(const room_command_ptr& m, const facts& f);
  handled handle_leave(const room_command_ptr& m, const facts& f);
  handled handle_delete(const room_command_ptr& m, const facts& f);
  handled handle_edit_message(const room_command_ptr& m, const edit_message_command& c,
                              const facts& f);
  handled handle_delete_message(const room_command_ptr& m, const delete_message_command& c,
                                const facts& f);
  handled handle_update_member(const room_command_ptr& m, const update_member_command& c,
                               const facts& f);
  handled hand_over(const room_command_ptr& m, const store::member_row& to, const facts& f);
  handled handle_update_room(const room_command_ptr& m, const update_room_command& c, const facts& f);

  void enqueue(const room_command_ptr& m);
  void run_held(const user_id& who, const facts& first);
  void ask(const user_id& who, const room_command& m);
  void refuse(const room_command& m, error why);
  handled refused(const room_command_ptr& m, error why);
  handled refused_as_full(const room_command_ptr& m);
  void refuse_waiting(const error& why);
  void answer(const reply_to& to, room_outcome outcome);
  void answer_with(const std::vector<user_id>& users, const reply_to& to, room_outcome outcome);
  void flush_answers();
  /// Appends one entry with the next seq; the caller adds waiters to what comes back.
  pending_entry& assign(entry_body body, const std::optional<user_id>& actor, message_id id = {});
  void submit(const pending_entry& p);
  void submit_from(std::size_t first);
  [[nodiscard]] store::append_row row_of(const pending_entry& p) const;
  void store_joins();
  [[nodiscard]] bool waiting_full() const;
  void leave(const store::member_row& who, leave_reason reason, const room_command& m);
  pending_entry& assign_role(store::member_row row, member_role role, const room_command& m);
  /// Who calls.
  struct caller_row {
    std::optional<handled> settled{};        ///< refused already, or a look-up must tell first
    std::optional<store::member_row> row{};  ///< nullopt: the backend
  };
  caller_row caller_of(const room_command_ptr& m, const facts& f);
  /// The member whom a call is about, and who calls.
  struct member_target {
    std::optional<handled> settled{};
    store::member_row row{};
    std::optional<store::member_row> caller{};
  };
  member_target target_of(const room_command_ptr& m, const user_id& user, std::string_view what,
                          error in_a_dm, const facts& f);
  /// The call's own key, if it has one, is judged before all else (SPEC 2.4). nullopt: it was never used.
  std::optional<handled> repeated(const room_command_ptr& m, const user_id& sender,
                                  const std::optional<hash128>& key, store::keyed_call call,
                                  const hash128& body, const facts& f);
  void use_key(pending_entry& p, std::optional<store::send_key> key);
  handled submit_message(const room_command_ptr& m, pending_entry& p,
                         std::optional<store::send_key> key, send_result outcome);
  /// The message that a call wants to change, and whether its caller is a member who sees it.
  struct message_target {
    std::optional<handled> settled{};
    std::shared_ptr<const entry> message{};
    std::optional<store::member_row> caller{};
  };
  message_target target_of(const room_command_ptr& m, const message_id& message, const facts& f);
  handled nothing_to_change(const room_command_ptr& m, const message_target& target,
                            std::optional<store::send_key> key);
  handled change(const room_command_ptr& m, entry_body body, message_body after,
                 const message_target& target, std::optional<store::send_key> key);
  void forget_settled_changes();
  void apply(const pending_entry& p, publish& out);
  void show(const pending_entry& p, publish& out,
            const std::unordered_map<message_id, std::shared_ptr<const entry>>& after);
  void settle(const user_id& user, entry_no by);
  [[nodiscard]] static key_record record_of(const store::used_key& k);
  void remember_key(const store::used_key& k);
  void load(store::opened_room room);
  void tell_where_it_stands();
  void tell_that_it_is_gone();
  void reopen();

  /// The member as of the pending state; `known` false: a look-up must tell.
  struct membership {
    bool known = true;
    std::optional<store::member_row> row;
  };
  [[nodiscard]] membership member(const user_id& user, const facts& f) const;
  [[nodiscard]] std::optional<user_id> successor(const user_id& leaving) const;
  [[nodiscard]] bool pending_full(std::size_t more) const;
  [[nodiscard]] static bool is_same_json(const json_text& a, const json_text& b);
  [[nodiscard]] pending_entry* pending(entry_no no);
  /// The room as it will be when all pending is committed: what update_room_command can change.
  [[nodiscard]] const room_info& info_then() const { return updated_ ? updated_->info : info_; }
  void check_invariants() const;

  const room_key key_;
  const instance_no instance_;
  room_ports& ports_;
  const clock& clock_;
  uuid7_generator& ids_;
  const room_options options_;

  state state_ = state::loading;
  bool retired_ = false;
  error why_ended_ = not_found("room");  // what whoever comes too late hears
  generation generation_{};
  room_no no_{};
  room_info info_;  // committed
  room_seq committed_{};
  room_seq assigned_{};
  entry_no last_entry_{};
  utc_time last_time_{};
  std::deque<pending_entry> pending_;
  std::size_t only_keys_pending_ = 0;  // how many of pending_ are no entries
  std::int64_t pending_members_ = 0;   // change of member_count by pending_

  std::unordered_map<user_id, std::optional<store::member_row>>
      members_;  // nullopt (big rooms only): known to be none
  bool members_complete_ = true;
  std::uint64_t members_forgotten_ =
      0;  // look-ups from before a clean-up of members_ or changed_ are asked again
  std::unordered_map<user_id, overlay> overlay_;
  std::unordered_map<message_id, changed_message> changed_;
  struct settled_change {
    call_no asked_before;  ///< look-ups up to this one may be older than its commit
    message_id message;
  };
  std::deque<settled_change> settled_;  // what of changed_ is committed, in order
  struct updated_room {
    room_info info;
    entry_no last;
  };
  std::optional<updated_room> updated_;  ///< while changes of name, metadata or posting are pending

  std::unordered_map<key_ref, key_record, key_ref_hash> keys_;
  std::deque<const key_ref*> keys_by_age_;  // keys of keys_, oldest first
  bool keys_complete_ = true;
  std::unordered_map<key_ref, entry_no, key_ref_hash> pending_keys_;

  std::deque<room_command_ptr> waiting_;             // for the opening
  std::unordered_map<user_id, held_commands> held_;  // behind a look-up, per user who acts
  std::size_t held_count_ = 0;
  struct lookup_ref {
    user_id user;
    std::uint64_t forgotten = 0;
  };
  std::map<call_no, lookup_ref> lookups_;  // oldest first
  call_no last_call_{};
  std::optional<waiter> deleting_for_;

  // Joins gather while some are being stored, so that a burst shares entries and commits (DESIGN 11).
  std::vector<gathered_join> joining_;
  entry_no last_join_{};  ///< of this generation; 0: none
  mono_time next_joins_{};
  bool waking_ = false;

  std::vector<std::pair<gateway_no, std::shared_ptr<replies>>> answers_;  // of this step
};

}  // namespace parley::actors
