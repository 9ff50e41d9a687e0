#include "actors/room.hpp"

#include "protocol/assert.hpp"
#include "protocol/json_canonical.hpp"
#include "protocol/planted.hpp"
#include "protocol/server_frame.hpp"

#include <algorithm>
#include <utility>

namespace parley::actors {

namespace {

constexpr auto retry_soon = std::chrono::milliseconds{200};
/// Entries of a big room's members kept beyond those with pending changes.
constexpr std::size_t big_room_members_max = 8192;

error send_error(error e) {
  e.stored = stored_state::no;
  return e;
}

std::shared_ptr<const std::string> room_json_for(const room_info& info, member_role role) {
  auto text = std::make_shared<std::string>();
  append_room(*text, info, role);
  return text;
}

bool is_same_json(const json_text& a, const json_text& b) {
  return a == b || canonical_json(a) == canonical_json(b);
}

/// An edit without what it says: that is served as its message has it.
std::shared_ptr<const entry> without_text(const entry& edit) {
  auto out = std::make_shared<entry>(
      entry{edit.seq, edit.message, edit.actor, edit.created_at, message_edited_body{}});
  const auto& from = std::get<message_edited_body>(edit.body);
  auto& to = std::get<message_edited_body>(out->body);
  to.message_seq = from.message_seq;
  to.edited_at = from.edited_at;
  return out;
}

}  // namespace

room::room(room_key key, instance_no instance, room_ports& ports, const clock& now,
           uuid7_generator& ids, const room_options& options)
    : key_(key),
      instance_(instance),
      ports_(ports),
      clock_(now),
      ids_(ids),
      options_(options) {}

void room::start() { reopen(); }

void room::reopen() {
  state_ = state::loading;
  ports_.open(std::make_shared<const open_room>(open_room{key_, instance_}));
}

// ---- commands ---------------------------------------------------------------------------------------------------

void room::on(const room_command_ptr& m) {
  enqueue(m);
  store_joins();
  flush_answers();
  check_invariants();
}

void room::enqueue(const room_command_ptr& m) {
  switch (state_) {
    case state::ended:
      refuse(*m, why_ended_);
      return;
    case state::loading:
    case state::deleting:
      if (waiting_full()) {
        refuse(*m, unavailable("too many calls wait for this room", retry_soon));
      } else {
        waiting_.push_back(m);
      }
      return;
    case state::active:
      break;
  }
  // Who acts, acts in order: later calls of a user wait behind its look-up (I5). The backend without a name waits for none.
  const auto* send = std::get_if<send_command>(&m->what);
  const user_id* actor = send != nullptr ? &send->sender : (m->who.user ? &*m->who.user : nullptr);
  if (actor != nullptr) {
    if (auto held = held_.find(*actor); held != held_.end()) {
      if (waiting_full()) {
        refuse(*m, unavailable("too many calls wait for this room", retry_soon));
        return;
      }
      held->second.queue.push_back(m);
      ++held_count_;
      return;
    }
  }
  if (handle(m, {}) == handled::needs_lookup) {
    // A call of the bare backend about a user waits in that user's line.
    user_id line;
    if (actor != nullptr) {
      line = *actor;
    } else if (const auto* remove = std::get_if<remove_member_command>(&m->what)) {
      line = remove->user;
    } else if (const auto* update = std::get_if<update_member_command>(&m->what)) {
      line = update->user;
    }
    if (waiting_full()) {
      refuse(*m, unavailable("too many calls wait for this room", retry_soon));
      return;
    }
    auto& held = held_[line];
    held.queue.push_back(m);
    ++held_count_;
    if (!held.waits()) ask(line, *m);
  }
}

void room::ask(const user_id& who, const room_command& m) {
  lookup_query q{.room = no_, .user = who, .key = {}, .reply_to = {}, .keys_since = {}, .also = {}};
  if (const auto* send = std::get_if<send_command>(&m.what)) {
    q.key = send->key;
    q.reply_to = send->reply_to;
  } else if (const auto* add = std::get_if<add_members_command>(&m.what)) {
    for (const auto& user : add->users) {
      if (user != who && !member(user, {}).known) q.also.push_back(user);
    }
  } else if (const auto* remove = std::get_if<remove_member_command>(&m.what)) {
    if (remove->user != who) q.also.push_back(remove->user);
  } else if (const auto* update = std::get_if<update_member_command>(&m.what)) {
    if (update->user != who) q.also.push_back(update->user);
    q.owners = m.who.is_backend() && update->role == member_role::owner;
  } else if (const auto* edit = std::get_if<edit_message_command>(&m.what)) {
    q.key = edit->key;
    q.target = edit->message;
  } else if (const auto* del = std::get_if<delete_message_command>(&m.what)) {
    q.key = del->key;
    q.target = del->message;
  }
  const auto call = ++last_call_;
  if (ports_.look_up(call, std::move(q))) {
    lookups_.emplace(call, lookup_ref{who, members_forgotten_});
    held_[who].looking_up = true;
    return;
  }
  // The readers are busy beyond their bound: everybody in this line hears so.
  auto line = held_.extract(who);
  held_count_ -= line.mapped().queue.size();
  for (const auto& command : line.mapped().queue)
    refuse(*command, unavailable("the readers are busy", retry_soon));
}

void room::on(call_no call, const read_result& looked_up) {
  auto it = lookups_.find(call);
  if (it == lookups_.end()) return;
  const auto ref = std::move(it->second);
  lookups_.erase(it);
  auto line = held_.find(ref.user);
  if (line == held_.end()) return forget_settled_changes();
  line->second.looking_up = false;
  // opened() goes on with it, from fresh facts.
  if (state_ != state::active) return forget_settled_changes();
  if (const auto* failed = std::get_if<error>(&looked_up)) {
    const auto command = line->second.queue.front();
    line->second.queue.pop_front();
    --held_count_;
    refuse(*command, *failed);
    run_held(ref.user, {});
  } else if (ref.forgotten != members_forgotten_) {
    run_held(ref.user, {});  // its snapshot may be older than what was forgotten meanwhile
  } else {
    run_held(ref.user, facts{true, std::get<lookup_result>(looked_up), ref.user});
  }
  forget_settled_changes();
  store_joins();
  flush_answers();
  check_invariants();
}

/// Goes on with a user's line; `first` holds for its first command only.
void room::run_held(const user_id& who, const facts& first) {
  const user_id line_of = who;  // `who` may live in the node that goes
  bool with_facts = first.looked_up;
  while (state_ == state::active) {
    auto line = held_.find(line_of);
    if (line == held_.end() || line->second.waits()) return;
    if (line->second.queue.empty()) {
      held_.erase(line);
      return;
    }
    const auto command = line->second.queue.front();
    if (handle(command, with_facts ? first : facts{}) == handled::needs_lookup) {
      ask(line_of, *command);
      return;
    }
    with_facts = false;
    // handle() may have asked storage, never touched held_.
    line->second.queue.pop_front();
    --held_count_;
  }
}

room::handled room::handle(const room_command_ptr& m, const facts& f) {
  struct visitor {
    room& self;
    const room_command_ptr& m;
    const facts& f;
    handled operator()(const send_command& c) const { return self.handle_send(m, c, f); }
    handled operator()(const add_members_command& c) const { return self.handle_add(m, c, f); }
    handled operator()(const remove_member_command& c) const { return self.handle_remove(m, c, f); }
    handled operator()(const join_command&) const { return self.handle_join(m, f); }
    handled operator()(const leave_command&) const { return self.handle_leave(m, f); }
    handled operator()(const delete_room_command&) const { return self.handle_delete(m, f); }
    handled operator()(const edit_message_command& c) const {
      return self.handle_edit_message(m, c, f);
    }
    handled operator()(const delete_message_command& c) const {
      return self.handle_delete_message(m, c, f);
    }
    handled operator()(const update_member_command& c) const {
      return self.handle_update_member(m, c, f);
    }
    handled operator()(const update_room_command& c) const {
      return self.handle_update_room(m, c, f);
    }
  };
  return std::visit(visitor{*this, m, f}, m->what);
}

room::membership room::member(const user_id& user, const facts& f) const {
  if (auto pending = overlay_.find(user); pending != overlay_.end())
    return {true, pending->second.member};
  if (auto known = members_.find(user); known != members_.end()) return {true, known->second};
  if (members_complete_) return {true, std::nullopt};
  if (f.looked_up && user == f.user) return {true, f.found.found.member};
  for (const auto& [other, row] : f.found.others) {
    if (other == user) return {true, row};
  }
  return {false, std::nullopt};
}

bool room::pending_full(std::size_t more) const {
  return pending_.size() + more > limits::room_pending_max_entries;
}

room::pending_entry* room::pending(entry_no no) {
  if (pending_.empty() || no < pending_.front().no || no > pending_.back().no) return nullptr;
  return &pending_[no.value - pending_.front().no.value];
}

/// One removed meanwhile still gets its first answer.
std::optional<room::handled> room::repeated(const room_command_ptr& m, const user_id& sender,
                                            const std::optional<hash128>& key, store::keyed_call call,
                                            const hash128& body, const facts& f) {
  if (!key) return std::nullopt;
  const auto used_otherwise = [&] {
    refuse(*m,
           error{error_code::conflict, "this key was used with another message", "client_msg_id"});
    return handled::done;
  };
  const key_ref ref{sender, *key};
  if (auto first = pending_keys_.find(ref); first != pending_keys_.end()) {
    auto& entry = *pending(first->second);
    if (entry.key->call != call || entry.key->body != body) return used_otherwise();
    auto outcome = std::get<send_result>(entry.waiters.front().outcome);
    outcome.accepted.duplicate = true;
    entry.waiters.push_back({m->to, std::move(outcome), true});
    return handled::done;
  }
  std::optional<key_record> used;
  if (auto known = keys_.find(ref); known != keys_.end()) {
    used = known->second;
  } else if (!keys_complete_) {
    if (!f.looked_up) return handled::needs_lookup;
    if (f.found.found.key) used = record_of(*f.found.found.key);
  }
  if (!used) return std::nullopt;
  if (used->call != call || used->body != body) return used_otherwise();
  answer(m->to, send_result{
                    no_, {key_.room, used->message, used->seq, used->created_at, true}, m->who.user});
  return handled::done;
}

room::handled room::handle_send(const room_command_ptr& m, const send_command& c, const facts& f) {
  if (auto settled = repeated(m, c.sender, c.key, store::keyed_call::send, c.body, f))
    return *settled;
  // Members see, read and write; to others the room does not exist. The backend may name any sender.
  const auto who = member(c.sender, f);
  if (!who.known) return handled::needs_lookup;
  if (!m->who.is_backend() && !who.row) {
    refuse(*m, not_found("room"));
    return handled::done;
  }
  if (!m->who.is_backend() && info_then().posting == posting_policy::admins &&
      who.row->role == member_role::member) {
    refuse(*m, error{error_code::authorization, "only admins may post in this room"});
    return handled::done;
  }
  if (c.reply_to) {
    if (!f.looked_up) return handled::needs_lookup;
    if (!f.found.reply_to_is_message) {
      refuse(*m, invalid_reply_to());
      return handled::done;
    }
  }
  if (pending_full(1)) {
    refuse(*m, unavailable("too many messages of this room are being stored", retry_soon));
    return handled::done;
  }
  const message_id id{ids_.next()};
  auto& p = assign(message_body{.sender = c.sender,
                                .content = c.content,
                                .meta = c.meta,
                                .reply_to = c.reply_to,
                                .client_msg_id = c.client_msg_id},
                   m->who.user, id);
  if (c.key) {
    p.key = store::send_key{c.sender, *c.key, store::keyed_call::send, c.body};
    pending_keys_.emplace(key_ref{c.sender, *c.key}, p.no);
  }
  p.credit = m->credit;
  p.waiters.push_back(
      {m->to, send_result{no_, {key_.room, id, p.e.seq, p.e.created_at, false}, m->who.user}, true});
  static const bool ack_before_commit = planted_defect("ack_before_commit");
  if (ack_before_commit) answer(m->to, p.waiters.front().outcome);
  submit(p);
  return handled::done;
}

room::handled room::handle_add(const room_command_ptr& m, const add_members_command& c,
                               const facts& f) {
  if (!m->who.is_backend()) {
    const auto who = member(*m->who.user, f);
    if (!who.known) return handled::needs_lookup;
    if (!who.row) {
      refuse(*m, not_found("room"));
      return handled::done;
    }
    if (info_.type != room_type::dm && who.row->role == member_role::member) {
      refuse(*m, error{error_code::authorization, "only owner and admins may add members"});
      return handled::done;
    }
    if (info_.type != room_type::dm && c.role >= who.row->role) {
      refuse(*m,
             error{error_code::authorization, "only a role below one's own can be given", "role"});
      return handled::done;
    }
  }
  if (info_.type == room_type::dm) {
    refuse(*m, error{error_code::conflict, "a dm has exactly its two members"});
    return handled::done;
  }
  if (c.role == member_role::owner) {
    refuse(*m, invalid("role", "a new member can be member or admin"));
    return handled::done;
  }
  // In a big room, whom memory does not know may be a member already: one look-up tells of all of them.
  std::vector<user_id> added;
  for (const auto& user : c.users) {
    const auto known = member(user, f);
    if (!known.known) return handled::needs_lookup;
    if (!known.row) added.push_back(user);
  }
  const auto count = info_.member_count + pending_members_ + static_cast<std::int64_t>(added.size());
  if (options_.max_room_members != 0 && count > static_cast<std::int64_t>(options_.max_room_members)) {
    refuse(*m, error{error_code::conflict, "the room would have too many members", "user_ids"});
    return handled::done;
  }
  const auto entries = (added.size() + limits::entry_max_users - 1) / limits::entry_max_users;
  if (pending_full(entries)) {
    refuse(*m, unavailable("too many changes of this room are being stored", retry_soon));
    return handled::done;
  }
  if (added.empty()) {
    // Members all. If that of one of them is pending still, so is the answer: it may be lost.
    answer_with(c.users, m->to, members_result{{}, info_.member_count + pending_members_});
    return handled::done;
  }
  members_result result;
  const auto first = pending_.size();
  for (std::size_t at = 0; at < added.size(); at += limits::entry_max_users) {
    const auto end = std::min(at + limits::entry_max_users, added.size());
    member_joined_body body{{added.begin() + static_cast<std::ptrdiff_t>(at),
                             added.begin() + static_cast<std::ptrdiff_t>(end)},
                            c.role};
    auto& p = assign(body, m->who.user);
    for (const auto& user : body.users) {
      store::member_row row{user, c.role, p.e.seq, p.e.created_at};
      overlay_[user] = {row, p.no};
      result.added.push_back(std::move(row));
    }
    pending_members_ += static_cast<std::int64_t>(body.users.size());
  }
  result.member_count = info_.member_count + pending_members_;
  pending_.back().waiters.push_back({m->to, std::move(result), false});
  for (auto at = first; at < pending_.size(); ++at) submit(pending_[at]);
  return handled::done;
}

void room::leave(const store::member_row& who, leave_reason reason, const room_command& m) {
  const auto& user = who.user;
  const auto heir = who.role == member_role::owner ? successor(user) : std::nullopt;
  const auto first = pending_.size();
  {
    auto& p = assign(member_left_body{{user}, reason}, m.who.user);
    overlay_[user] = {std::nullopt, p.no};
    --pending_members_;
  }
  if (heir) {
    // An owner who leaves is followed at once (SPEC 3); nobody acts in this.
    auto row = *member(*heir, {}).row;
    row.role = member_role::owner;
    auto& p = assign(member_updated_body{*heir, member_role::owner}, std::nullopt);
    overlay_[*heir] = {std::move(row), p.no};
  }
  pending_.back().waiters.push_back({m.to, done_result{}, false});
  for (auto at = first; at < pending_.size(); ++at) submit(pending_[at]);
}

/// Once the newest pending change of these users' memberships is committed; at once if there is none. Of a lost one the
/// caller hears that.
void room::answer_with(const std::vector<user_id>& users, const reply_to& to, room_outcome outcome) {
  pending_entry* newest = nullptr;
  for (const auto& user : users) {
    const auto change = overlay_.find(user);
    auto* by = change == overlay_.end() ? nullptr : pending(change->second.last);
    if (by != nullptr && (newest == nullptr || by->no > newest->no)) newest = by;
  }
  if (newest != nullptr) {
    newest->waiters.push_back({to, std::move(outcome), false});
  } else {
    answer(to, std::move(outcome));
  }
}

std::optional<user_id> room::successor(const user_id& leaving) const {
  const store::member_row* best = nullptr;
  const auto consider = [&](const store::member_row& row) {
    if (row.user == leaving || row.role == member_role::owner) return;
    const auto older = [](const store::member_row& a, const store::member_row& b) {
      if (a.role != b.role) return a.role > b.role;
      if (a.joined_seq != b.joined_seq) return a.joined_seq < b.joined_seq;
      return a.user < b.user;
    };
    if (best == nullptr || older(row, *best)) best = &row;
  };
  for (const auto& [user, row] : members_) {
    if (row && !overlay_.contains(user)) consider(*row);
  }
  for (const auto& [user, change] : overlay_) {
    if (change.member) consider(*change.member);
  }
  return best == nullptr ? std::nullopt : std::optional{best->user};
}

room::handled room::handle_remove(const room_command_ptr& m, const remove_member_command& c,
                                  const facts& f) {
  const bool self = m->who.user && *m->who.user == c.user;
  membership who;
  if (!m->who.is_backend()) {
    who = member(*m->who.user, f);
    if (!who.known) return handled::needs_lookup;
    if (!who.row) {
      refuse(*m, not_found("room"));
      return handled::done;
    }
  }
  if (info_.type == room_type::dm) {
    refuse(*m, error{error_code::conflict, "a dm has exactly its two members"});
    return handled::done;
  }
  const auto target = member(c.user, f);
  if (!target.known) return handled::needs_lookup;
  if (!m->who.is_backend() && !self && who.row->role == member_role::member) {
    refuse(*m, error{error_code::authorization, "only owner and admins may remove members"});
    return handled::done;
  }
  if (!target.row) {
    answer_with({c.user}, m->to, not_found("member"));
    return handled::done;
  }
  if (!m->who.is_backend() && !self && target.row->role >= who.row->role) {
    refuse(*m, error{error_code::authorization,
                     "only members of a role below one's own can be removed"});
    return handled::done;
  }
  if (pending_full(2)) {
    refuse(*m, unavailable("too many changes of this room are being stored", retry_soon));
    return handled::done;
  }
  leave(*target.row, self ? leave_reason::left : leave_reason::removed, *m);
  return handled::done;
}

room::handled room::handle_join(const room_command_ptr& m, const facts& f) {
  PARLEY_ASSERT(m->who.user.has_value());
  const auto who = member(*m->who.user, f);
  if (!who.known) return handled::needs_lookup;
  if (who.row) {
    if (info_.type == room_type::dm) {
      refuse(*m, error{error_code::conflict, "a dm has exactly its two members"});
      return handled::done;
    }
    // A member already: the same answer, no entry. One whose joining is pending waits for it.
    if (auto pending = overlay_.find(*m->who.user); pending != overlay_.end()) {
      this->pending(pending->second.last)
          ->waiters.push_back({m->to, room_result{{}, who.row->role}, false});
    } else {
      answer(m->to, room_result{info_, who.row->role});
    }
    return handled::done;
  }
  if (info_.type != room_type::channel) {
    refuse(*m, not_found("room"));  // only members see groups and dms
    return handled::done;
  }
  if (options_.max_room_members != 0 && info_.member_count + pending_members_ >=
                                            static_cast<std::int64_t>(options_.max_room_members)) {
    refuse(*m, error{error_code::conflict, "the room has too many members", "user_ids"});
    return handled::done;
  }
  if (waiting_full()) {
    refuse(*m, unavailable("too many calls wait for this room", retry_soon));
    return handled::done;
  }
  joining_.push_back({m, members_forgotten_});
  held_[*m->who.user].joining = true;  // what this user says next waits for it
  return handled::done;
}

/// All that has gathered, unless some are being stored still, or, in a big room, were a moment ago.
void room::store_joins() {
  if (state_ != state::active || joining_.empty()) return;
  if (!pending_.empty() && last_join_ >= pending_.front().no) return;
  if (info_.member_count > static_cast<std::int64_t>(limits::room_members_in_memory)) {
    const auto now = clock_.mono();
    if (now < next_joins_) {
      if (!std::exchange(waking_, true))
        ports_.wake_in(std::chrono::ceil<std::chrono::milliseconds>(next_joins_ - now));
      return;
    }
    next_joins_ = now + limits::big_room_join_interval;
  }
  const auto all = std::exchange(joining_, {});
  std::vector<room_command_ptr> fresh;
  std::vector<user_id> users;
  const auto first = pending_.size();
  const auto assign_some = [&] {
    if (users.empty()) return;
    // Whoever joins alone acts; of several nobody does (SPEC 1).
    auto& p = assign(member_joined_body{users, member_role::member},
                     users.size() == 1 ? std::optional{users.front()} : std::nullopt);
    for (const auto& user : users)
      overlay_[user] = {store::member_row{user, member_role::member, p.e.seq, p.e.created_at}, p.no};
    pending_members_ += static_cast<std::int64_t>(users.size());
    for (const auto& m : fresh)
      p.waiters.push_back({m->to, room_result{{}, member_role::member}, false});
    last_join_ = p.no;
    fresh.clear();
    users.clear();
  };
  for (const auto& [m, forgotten] : all) {
    const auto& user = *m->who.user;
    const auto count =
        info_.member_count + pending_members_ + static_cast<std::int64_t>(users.size());
    if (member(user, {}).row || (!members_complete_ && forgotten != members_forgotten_)) {
      // Added by somebody else meanwhile, or memory forgot whether: judged once more.
      auto& line = held_.at(user);
      line.queue.push_front(m);
      ++held_count_;
    } else if (options_.max_room_members != 0 &&
               count >= static_cast<std::int64_t>(options_.max_room_members)) {
      refuse(*m, error{error_code::conflict, "the room has too many members", "user_ids"});
    } else if (pending_full(1)) {
      refuse(*m, unavailable("too many changes of this room are being stored", retry_soon));
    } else {
      fresh.push_back(m);
      users.push_back(user);
      if (users.size() == limits::entry_max_users) assign_some();
    }
  }
  assign_some();
  for (auto at = first; at < pending_.size(); ++at) submit(pending_[at]);
  for (const auto& [m, forgotten] : all) held_.at(*m->who.user).joining = false;
  for (const auto& [m, forgotten] : all) run_held(*m->who.user, {});
  store_joins();  // those that were judged once more, if any
}

void room::on(const room_tick&) {
  waking_ = false;
  store_joins();
  flush_answers();
  check_invariants();
}

bool room::waiting_full() const {
  return waiting_.size() + held_count_ + joining_.size() >= limits::room_waiting_max_commands;
}

room::handled room::handle_leave(const room_command_ptr& m, const facts& f) {
  PARLEY_ASSERT(m->who.user.has_value());
  const auto who = member(*m->who.user, f);
  if (!who.known) return handled::needs_lookup;
  if (!who.row) {
    refuse(*m, not_found("room"));
  } else if (info_.type == room_type::dm) {
    refuse(*m, error{error_code::conflict, "a dm has exactly its two members"});
  } else if (pending_full(2)) {
    refuse(*m, unavailable("too many changes of this room are being stored", retry_soon));
  } else {
    leave(*who.row, leave_reason::left, *m);
  }
  return handled::done;
}

room::handled room::handle_delete(const room_command_ptr& m, const facts& f) {
  if (!m->who.is_backend()) {
    const auto who = member(*m->who.user, f);
    if (!who.known) return handled::needs_lookup;
    if (!who.row) {
      refuse(*m, not_found("room"));
      return handled::done;
    }
    if (info_.type == room_type::dm || who.row->role != member_role::owner) {
      refuse(*m, error{error_code::authorization,
                       "only the owner may delete a room, a dm only the backend"});
      return handled::done;
    }
  }
  // Behind all appends in storage's queue. Calls that come from now on wait for what becomes of it.
  state_ = state::deleting;
  deleting_for_ = waiter{m->to, done_result{}, false};
  ports_.delete_room(std::make_shared<const delete_room>(
      delete_room{instance_, generation_, key_.tenant, no_, clock_.now()}));
  return handled::done;
}

// ---- edits and deletes --------------------------------------------------------------------------------------------

room::message_target room::target_of(const room_command_ptr& m, const message_id& message,
                                     const facts& f) {
  message_target out;
  if (!m->who.is_backend()) {
    auto who = member(*m->who.user, f);
    if (!who.known) {
      out.settled = handled::needs_lookup;
      return out;
    }
    if (!who.row) {
      refuse(*m, not_found("room"));
      out.settled = handled::done;
      return out;
    }
    out.caller = std::move(who.row);
  }
  if (auto known = changed_.find(message); known != changed_.end()) {
    out.message = known->second.message;
  } else if (!f.looked_up) {
    out.settled = handled::needs_lookup;
  } else if (f.found.target) {
    out.message = std::make_shared<const entry>(*f.found.target);
  } else {
    refuse(*m, not_found("message"));
    out.settled = handled::done;
  }
  return out;
}

/// The same answer, no entry. If what makes it so is pending, so is the answer.
room::handled room::nothing_to_change(const room_command_ptr& m, const message_target& target) {
  const auto& message = *target.message;
  send_result outcome{no_,
                      {key_.room, message.message, message.seq, message.created_at, false},
                      m->who.user,
                      target.message};
  const auto changed = changed_.find(message.message);
  auto* by = changed == changed_.end() ? nullptr : pending(changed->second.last);
  if (by != nullptr) {
    by->waiters.push_back({m->to, std::move(outcome), true});
  } else {
    answer(m->to, std::move(outcome));
  }
  return handled::done;
}

/// Appends `body`, which leaves the message as `after` says; edited_at or deleted_at are set here.
room::handled room::change(const room_command_ptr& m, entry_body body, message_body after,
                           const message_target& target, std::optional<store::send_key> key) {
  if (pending_full(1)) {
    refuse(*m, unavailable("too many changes of this room are being stored", retry_soon));
    return handled::done;
  }
  auto& p = assign(std::move(body), m->who.user, target.message->message);
  if (auto* edit = std::get_if<message_edited_body>(&p.e.body)) {
    edit->edited_at = p.e.created_at;
    after.edited_at = p.e.created_at;
  } else {
    std::get<message_deleted_body>(p.e.body).deleted_at = p.e.created_at;
    after.deleted_at = p.e.created_at;
  }
  const auto& before = *target.message;
  p.message = std::make_shared<const entry>(
      entry{before.seq, before.message, before.actor, before.created_at, std::move(after)});
  changed_[before.message] = {p.message, p.no, m->credit};
  if (key) pending_keys_.emplace(key_ref{key->sender, key->key}, p.no);
  p.key = std::move(key);
  p.credit = m->credit;
  p.waiters.push_back(
      {m->to,
       send_result{
           no_, {key_.room, before.message, p.e.seq, p.e.created_at, false}, m->who.user, p.message},
       true});
  static const bool ack_before_commit = planted_defect("ack_before_commit");
  if (ack_before_commit) answer(m->to, p.waiters.front().outcome);
  submit(p);
  return handled::done;
}

room::handled room::handle_edit_message(const room_command_ptr& m, const edit_message_command& c,
                                        const facts& f) {
  const auto sender = m->who.user.value_or(user_id{});
  if (auto settled = repeated(m, sender, c.key, store::keyed_call::edit, c.body, f))
    return *settled;
  const auto target = target_of(m, c.message, f);
  if (target.settled) return *target.settled;
  const auto& now = std::get<message_body>(target.message->body);
  if (target.caller && now.sender != target.caller->user) {
    refuse(*m, error{error_code::authorization, "only its sender may edit a message"});
    return handled::done;
  }
  if (now.deleted_at) {
    refuse(*m, error{error_code::conflict, "the message is deleted"});
    return handled::done;
  }
  auto after = now;
  after.content = c.content;
  if (c.meta) after.meta = *c.meta;
  if (after.content == now.content && is_same_json(after.meta, now.meta))
    return nothing_to_change(m, target);
  message_edited_body body{target.message->seq, after.content, after.meta, {}};
  std::optional<store::send_key> key;
  if (c.key) key = store::send_key{sender, *c.key, store::keyed_call::edit, c.body};
  return change(m, std::move(body), std::move(after), target, std::move(key));
}

room::handled room::handle_delete_message(const room_command_ptr& m,
                                          const delete_message_command& c, const facts& f) {
  const auto sender = m->who.user.value_or(user_id{});
  if (auto settled = repeated(m, sender, c.key, store::keyed_call::remove, c.body, f))
    return *settled;
  const auto target = target_of(m, c.message, f);
  if (target.settled) return *target.settled;
  const auto& now = std::get<message_body>(target.message->body);
  if (target.caller && now.sender != target.caller->user &&
      target.caller->role == member_role::member) {
    refuse(*m, error{error_code::authorization,
                     "only its sender, owner and admins may delete a message"});
    return handled::done;
  }
  if (now.deleted_at) return nothing_to_change(m, target);
  auto after = now;
  after.content.clear();
  after.meta = {};
  std::optional<store::send_key> key;
  if (c.key) key = store::send_key{sender, *c.key, store::keyed_call::remove, c.body};
  return change(m, message_deleted_body{target.message->seq, {}}, std::move(after), target,
                std::move(key));
}

/// What is committed is found by look-ups from now on; only those that were asked before may be older.
void room::forget_settled_changes() {
  if (settled_.size() > limits::room_pending_max_entries) {
    ++members_forgotten_;  // look-ups under way are asked again
    settled_.clear();
    std::erase_if(changed_, [&](const auto& c) { return pending(c.second.last) == nullptr; });
    return;
  }
  while (!settled_.empty() &&
         (lookups_.empty() || lookups_.begin()->first > settled_.front().asked_before)) {
    const auto it = changed_.find(settled_.front().message);
    settled_.pop_front();
    if (it == changed_.end() || pending(it->second.last) != nullptr) continue;
    const bool again = std::any_of(settled_.begin(), settled_.end(),
                                   [&](const auto& s) { return s.message == it->first; });
    if (!again) changed_.erase(it);
  }
}

// ---- roles, the room itself ---------------------------------------------------------------------------------------

room::pending_entry& room::assign_role(store::member_row row, member_role role,
                                       const room_command& m) {
  auto& p = assign(member_updated_body{row.user, role}, m.who.user);
  row.role = role;
  auto user = row.user;
  overlay_[std::move(user)] = {std::move(row), p.no};
  return p;
}

void room::submit_from(std::size_t first) {
  for (auto at = first; at < pending_.size(); ++at) submit(pending_[at]);
}

room::handled room::handle_update_member(const room_command_ptr& m, const update_member_command& c,
                                         const facts& f) {
  membership who;
  if (!m->who.is_backend()) {
    who = member(*m->who.user, f);
    if (!who.known) return handled::needs_lookup;
    if (!who.row) {
      refuse(*m, not_found("room"));
      return handled::done;
    }
  }
  if (info_.type == room_type::dm) {
    refuse(*m, error{error_code::conflict, "in a dm both are members"});
    return handled::done;
  }
  const auto target = member(c.user, f);
  if (!target.known) return handled::needs_lookup;
  if (who.row && who.row->role == member_role::member) {
    refuse(*m, error{error_code::authorization, "only owner and admins may change roles"});
    return handled::done;
  }
  if (!target.row) {
    answer_with({c.user}, m->to, not_found("member"));
    return handled::done;
  }
  if (c.role == member_role::owner) {
    if (who.row && who.row->role != member_role::owner) {
      refuse(*m, error{error_code::authorization, "only the owner hands the room over", "role"});
      return handled::done;
    }
    return hand_over(m, *target.row, f);
  }
  if (who.row && target.row->role >= who.row->role) {
    refuse(*m, error{error_code::authorization,
                     "only members of a role below one's own can be given another"});
    return handled::done;
  }
  if (who.row && c.role >= who.row->role) {
    refuse(*m, error{error_code::authorization, "only a role below one's own can be given", "role"});
    return handled::done;
  }
  members_result result{{*target.row}, info_.member_count + pending_members_};
  if (target.row->role == c.role) {
    const auto changed = overlay_.find(c.user);
    auto* by = changed == overlay_.end() ? nullptr : pending(changed->second.last);
    if (by != nullptr) {
      by->waiters.push_back({m->to, std::move(result), false});
    } else {
      answer(m->to, std::move(result));
    }
    return handled::done;
  }
  if (pending_full(1)) {
    refuse(*m, unavailable("too many changes of this room are being stored", retry_soon));
    return handled::done;
  }
  result.added.front().role = c.role;
  auto& p = assign_role(*target.row, c.role, *m);
  p.waiters.push_back({m->to, std::move(result), false});
  submit(p);
  return handled::done;
}

/// The new owner first: if only that is stored, asking again finishes it. All others who own the room become admins.
room::handled room::hand_over(const room_command_ptr& m, const store::member_row& to, const facts& f) {
  std::vector<store::member_row> former;
  const auto consider = [&](const store::member_row& row) {
    if (row.role == member_role::owner && row.user != to.user) former.push_back(row);
  };
  for (const auto& [user, row] : members_) {
    if (row && !overlay_.contains(user)) consider(*row);
  }
  for (const auto& [user, change] : overlay_) {
    if (change.member) consider(*change.member);
  }
  if (!members_complete_ && m->who.is_backend()) {
    if (!f.looked_up) return handled::needs_lookup;
    for (const auto& [user, row] : f.found.others) {
      if (row && !overlay_.contains(user) && !members_.contains(user)) consider(*row);
    }
  } else if (!members_complete_ && m->who.user && !members_.contains(*m->who.user) &&
             !overlay_.contains(*m->who.user)) {
    consider(*member(*m->who.user, f).row);
  }
  members_result result{{to}, info_.member_count + pending_members_};
  result.added.front().role = member_role::owner;
  if (to.role == member_role::owner && former.empty()) {
    const auto changed = overlay_.find(to.user);
    auto* by = changed == overlay_.end() ? nullptr : pending(changed->second.last);
    if (by != nullptr) {
      by->waiters.push_back({m->to, std::move(result), false});
    } else {
      answer(m->to, std::move(result));
    }
    return handled::done;
  }
  if (pending_full(former.size() + 1)) {
    refuse(*m, unavailable("too many changes of this room are being stored", retry_soon));
    return handled::done;
  }
  const auto first = pending_.size();
  if (to.role != member_role::owner) assign_role(to, member_role::owner, *m);
  for (auto& row : former) assign_role(std::move(row), member_role::admin, *m);
  pending_.back().waiters.push_back({m->to, std::move(result), false});
  submit_from(first);
  return handled::done;
}

room::handled room::handle_update_room(const room_command_ptr& m, const update_room_command& c,
                                       const facts& f) {
  std::optional<member_role> role;
  if (!m->who.is_backend()) {
    const auto who = member(*m->who.user, f);
    if (!who.known) return handled::needs_lookup;
    if (!who.row) {
      refuse(*m, not_found("room"));
      return handled::done;
    }
    if (who.row->role == member_role::member) {
      refuse(*m, error{error_code::authorization, "only owner and admins may change the room"});
      return handled::done;
    }
    role = who.row->role;
  }
  const auto& now = info_then();
  room_updated_body body;
  if (c.name && *c.name != now.name) body.name = c.name;
  if (c.metadata && !is_same_json(*c.metadata, now.metadata)) body.metadata = c.metadata;
  if (c.posting && *c.posting != now.posting) body.posting = c.posting;
  if (!body.name && !body.metadata && !body.posting) {
    if (auto* by = updated_ ? pending(updated_->last) : nullptr) {
      by->waiters.push_back({m->to, room_result{{}, role}, false});
    } else {
      answer(m->to, room_result{info_, role});
    }
    return handled::done;
  }
  if (pending_full(1)) {
    refuse(*m, unavailable("too many changes of this room are being stored", retry_soon));
    return handled::done;
  }
  auto then = now;
  if (body.name) then.name = *body.name;
  if (body.metadata) then.metadata = *body.metadata;
  if (body.posting) then.posting = *body.posting;
  auto& p = assign(std::move(body), m->who.user);
  updated_ = updated_room{std::move(then), p.no};
  p.credit = m->credit;
  p.waiters.push_back({m->to, room_result{{}, role}, false});
  submit(p);
  return handled::done;
}

// ---- entries ----------------------------------------------------------------------------------------------------

room::pending_entry& room::assign(entry_body body, const std::optional<user_id>& actor,
                                  message_id id) {
  ++assigned_;
  ++last_entry_;
  // Times of one room's log never go back while it is in memory, whatever the clock does.
  last_time_ = std::max(last_time_, clock_.now());
  pending_.push_back(
      {last_entry_, entry{assigned_, id, actor, last_time_, std::move(body)}, {}, {}, {}});
  return pending_.back();
}

void room::submit(const pending_entry& p) {
  ports_.append(std::make_shared<const append>(
      append{instance_, generation_, p.no, store::append_row{key_.tenant, no_, p.e, p.key}}));
}

void room::on(const committed& m) {
  static const bool no_generation = planted_defect("no_generation");
  if (m.gen != generation_ && !no_generation) return;
  auto out = std::make_shared<publish>();
  out->room = key_;
  out->no = no_;
  out->instance = instance_;
  out->first_seq = committed_.next();
  out->commit = m.commit;
  // What the messages changed by this commit are after it. All that is read after a commit shows them so: also the
  // entries of this commit itself.
  std::unordered_map<message_id, std::shared_ptr<const entry>> after;
  for (const auto& p : pending_) {
    if (p.no > m.up_to) break;
    if (p.message) after[p.e.message] = p.message;
  }
  static const bool ack_before_commit = planted_defect("ack_before_commit");
  while (!pending_.empty() && pending_.front().no <= m.up_to) {
    auto& p = pending_.front();
    apply(p, *out);
    show(p, *out, after);
    for (auto& w : p.waiters) {
      if (ack_before_commit && w.is_send) continue;
      if (auto* joined = std::get_if<room_result>(&w.outcome)) joined->info = info_;
      answer(w.to, std::move(w.outcome));
    }
    if (p.message) settled_.push_back({last_call_, p.e.message});
    if (p.credit) out->credits.push_back(std::move(p.credit));
    pending_.pop_front();
  }
  forget_settled_changes();
  if (!out->frames.empty()) ports_.publish(std::move(out));
  store_joins();
  flush_answers();
  check_invariants();
}

void room::apply(const pending_entry& p, publish& out) {
  committed_ = p.e.seq;
  info_.last_seq = p.e.seq;
  if (const auto* joined = std::get_if<member_joined_body>(&p.e.body)) {
    info_.member_count += static_cast<std::int64_t>(joined->users.size());
    pending_members_ -= static_cast<std::int64_t>(joined->users.size());
    const auto shown = room_json_for(info_, joined->role);
    for (const auto& user : joined->users) {
      members_.insert_or_assign(user, store::member_row{user, joined->role, p.e.seq, p.e.created_at});
      out.members.push_back({user, p.e.seq, true, shown});
      settle(user, p.no);
    }
  } else if (const auto* left = std::get_if<member_left_body>(&p.e.body)) {
    info_.member_count -= static_cast<std::int64_t>(left->users.size());
    pending_members_ += static_cast<std::int64_t>(left->users.size());
    for (const auto& user : left->users) {
      if (members_complete_) {
        members_.erase(user);
      } else {
        members_.insert_or_assign(user, std::nullopt);
      }
      out.members.push_back({user, p.e.seq, false, {}});
      settle(user, p.no);
    }
  } else if (const auto* updated = std::get_if<member_updated_body>(&p.e.body)) {
    if (auto it = members_.find(updated->user); it != members_.end() && it->second) {
      it->second->role = updated->role;
    } else if (auto said = overlay_.find(updated->user);
               said != overlay_.end() && said->second.last == p.no && said->second.member) {
      // Of a big room: a look-up under way may have been asked before this.
      members_.insert_or_assign(updated->user, said->second.member);
    }
    settle(updated->user, p.no);
  } else if (const auto* changed = std::get_if<room_updated_body>(&p.e.body)) {
    if (changed->name) info_.name = *changed->name;
    if (changed->metadata) info_.metadata = *changed->metadata;
    if (changed->posting) info_.posting = *changed->posting;
    info_.updated_at = p.e.created_at;
    if (updated_ && updated_->last == p.no) updated_.reset();
  }
  if (members_.size() >
      (members_complete_ ? 2 * limits::room_members_in_memory : big_room_members_max)) {
    members_complete_ = false;
    // Rows without pending changes are in the database; look-ups under way may be older and are asked again.
    members_.clear();
    ++members_forgotten_;
  }
  if (p.key) {
    pending_keys_.erase({p.key->sender, p.key->key});
    remember_key({*p.key, p.e.seq, p.e.message, p.e.created_at});
  }
}

/// Encodes the entry once, for all who will read it.
void room::show(const pending_entry& p, publish& out,
                const std::unordered_map<message_id, std::shared_ptr<const entry>>& after) {
  thread_local std::string scratch;
  const auto encoded = [&](const entry& e) {
    scratch.clear();
    append_entry(scratch, key_.room, e);
    return make_text_frame(scratch);
  };
  if (!p.message) {
    out.frames.push_back(encoded(p.e));
    return;
  }
  const auto& message = after.at(p.e.message);
  if (message == p.message) out.rewrites.push_back({message, encoded(*message)});
  if (p.e.kind() != entry_kind::message_edited) {
    out.frames.push_back(encoded(p.e));
    return;
  }
  out.edits.push_back(without_text(p.e));
  if (message == p.message) {
    out.frames.push_back(encoded(p.e));
    return;
  }
  auto shown = *out.edits.back();
  const auto& now = std::get<message_body>(message->body);
  auto& edit = std::get<message_edited_body>(shown.body);
  edit.content = now.content;
  edit.meta = now.meta;
  out.frames.push_back(encoded(shown));
}

/// The entry that said so is committed: members_ knows it now, unless a later pending one says otherwise.
void room::settle(const user_id& user, entry_no by) {
  if (auto it = overlay_.find(user); it != overlay_.end() && it->second.last == by)
    overlay_.erase(it);
}

room::key_record room::record_of(const store::used_key& k) {
  return {k.key.body, k.seq, k.message, k.created_at, k.key.call};
}

void room::remember_key(const store::used_key& k) {
  const auto [it, fresh] = keys_.insert_or_assign(key_ref{k.key.sender, k.key.key}, record_of(k));
  if (fresh) keys_by_age_.push_back(&it->first);
  while (keys_by_age_.size() > limits::room_keys_in_memory) {
    keys_.erase(keys_.find(*keys_by_age_.front()));
    keys_by_age_.pop_front();
    keys_complete_ = false;
  }
}

void room::on(const lost& m) {
  static const bool no_generation = planted_defect("no_generation");
  if ((m.gen != generation_ && !no_generation) || state_ == state::loading || state_ == state::ended)
    return;
  for (auto& p : pending_) {
    for (const auto& w : p.waiters) {
      auto why = m.why;
      why.stored = w.is_send ? stored_state::no : stored_state::not_a_send;
      answer(w.to, std::move(why));
    }
  }
  if (deleting_for_) {
    answer(deleting_for_->to, m.why);
    deleting_for_.reset();
  }
  pending_.clear();
  pending_keys_.clear();
  overlay_.clear();
  changed_.clear();
  settled_.clear();
  updated_.reset();
  pending_members_ = 0;
  assigned_ = committed_;
  reopen();
  flush_answers();
  check_invariants();
}

void room::on(const deleted& m) {
  if (m.gen != generation_ || state_ != state::deleting) return;
  PARLEY_ASSERT(pending_.empty());
  auto out = std::make_shared<publish>();
  out->room = key_;
  out->no = no_;
  out->instance = instance_;
  out->first_seq = m.last_seq.next();
  out->commit = m.commit;
  out->gone = true;
  ports_.publish(std::move(out));
  state_ = state::ended;
  if (deleting_for_) answer(deleting_for_->to, std::move(deleting_for_->outcome));
  deleting_for_.reset();
  refuse_waiting(not_found("room"));
  flush_answers();
  ports_.absent({key_, instance_});
}

void room::refuse_waiting(const error& why) {
  for (const auto& command : waiting_) refuse(*command, why);
  waiting_.clear();
  for (const auto& [command, forgotten] : joining_) refuse(*command, why);
  joining_.clear();
  for (auto& [user, line] : held_) {
    for (const auto& command : line.queue) refuse(*command, why);
  }
  held_.clear();
  held_count_ = 0;
  changed_.clear();
  settled_.clear();
}

// ---- opening ----------------------------------------------------------------------------------------------------

void room::on(const opened& m) {
  if (state_ != state::loading) return;
  if (!m.room) {
    state_ = state::ended;
    const auto why = m.failure ? *m.failure : not_found("room");
    why_ended_ = why;
    if (!m.failure) tell_that_it_is_gone();
    refuse_waiting(why);
    flush_answers();
    ports_.absent({key_, instance_, m.failure.has_value()});
    return;
  }
  generation_ = m.gen;
  load(*m.room);
  state_ = state::active;
  tell_where_it_stands();
  std::vector<user_id> lines;
  lines.reserve(held_.size());
  for (const auto& [user, line] : held_) {
    if (!line.waits()) lines.push_back(user);
  }
  for (const auto& user : lines) run_held(user, {});
  // handle() may end the active state (a delete): what is left goes on waiting.
  while (state_ == state::active && !waiting_.empty()) {
    const auto command = waiting_.front();
    waiting_.pop_front();
    enqueue(command);
  }
  store_joins();
  flush_answers();
  check_invariants();
}

/// If an earlier instance died, what it had appended may be committed and never published: its readers see that from this
/// and start anew (DESIGN 1). To all others it says nothing.
void room::tell_where_it_stands() {
  auto out = std::make_shared<publish>();
  out->room = key_;
  out->no = no_;
  out->instance = instance_;
  out->first_seq = committed_.next();
  ports_.publish(std::move(out));
}

/// Mostly its readers know. Not if an earlier instance had it deleted, and died before it could say so.
void room::tell_that_it_is_gone() {
  auto out = std::make_shared<publish>();
  out->room = key_;
  out->instance = instance_;
  out->first_seq = room_seq{1};
  out->commit = commit_no{INT64_MAX};  // newer than any snapshot that still has the room
  out->gone = true;
  ports_.publish(std::move(out));
}

void room::load(store::opened_room r) {
  no_ = r.no;
  info_ = std::move(r.info);
  committed_ = info_.last_seq;
  assigned_ = committed_;
  last_entry_ = {};
  last_join_ = {};
  members_.clear();
  for (auto& row : r.members) {
    auto user = row.user;
    members_.emplace(std::move(user), std::move(row));
  }
  members_complete_ = r.members_complete;
  ++members_forgotten_;  // look-ups under way may be older than this
  keys_by_age_.clear();
  keys_.clear();
  keys_complete_ = r.keys_complete;
  for (const auto& k : r.keys) remember_key(k);
}

void room::on(const retire&) {
  const bool can = idle();
  if (can) {
    state_ = state::ended;
    retired_ = true;
    ports_.close({instance_, generation_, no_});
  }
  ports_.retired({key_, instance_, can});
}

bool room::idle() const {
  return state_ == state::active && pending_.empty() && waiting_.empty() && held_.empty() &&
         lookups_.empty() && joining_.empty();
}

// ---- answers ----------------------------------------------------------------------------------------------------

void room::refuse(const room_command& m, error why) {
  answer(m.to, m.is_send() ? send_error(std::move(why)) : std::move(why));
}

void room::answer(const reply_to& to, room_outcome outcome) {
  for (auto& [gateway, batch] : answers_) {
    if (gateway == to.gateway) {
      batch->items.push_back({to.call, std::move(outcome)});
      return;
    }
  }
  auto batch = std::make_shared<replies>();
  batch->items.push_back({to.call, std::move(outcome)});
  answers_.emplace_back(to.gateway, std::move(batch));
}

void room::flush_answers() {
  for (auto& [gateway, batch] : answers_) ports_.answer(gateway, std::move(batch));
  answers_.clear();
}

void room::check_invariants() const {
  PARLEY_ASSERT(committed_ <= assigned_);
  PARLEY_ASSERT(static_cast<std::int64_t>(pending_.size()) == assigned_.value - committed_.value);
  PARLEY_ASSERT(pending_.empty() || pending_.front().e.seq == committed_.next());
  PARLEY_ASSERT(pending_.size() <= limits::room_pending_max_entries);
  PARLEY_ASSERT(changed_.size() <= 2 * limits::room_pending_max_entries);
}

}  // namespace parley::actors
