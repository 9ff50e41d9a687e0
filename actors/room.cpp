// What a room is in: opening, waiting, pending entries and what becomes of them. Its decisions about messages are in
// room_messages.cpp, those about members in room_members.cpp.

#include "actors/room.hpp"

#include "protocol/assert.hpp"
#include "protocol/json_canonical.hpp"
#include "protocol/planted.hpp"
#include "protocol/server_frame.hpp"

#include <algorithm>
#include <utility>

namespace parley::actors {

namespace {

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

/// Members see a room; to others it does not exist (SPEC 3). The backend sees it and is none.
room::caller_row room::caller_of(const room_command_ptr& m, const facts& f) {
  if (m->who.is_backend()) return {};
  auto who = member(*m->who.user, f);
  if (!who.known) return {handled::needs_lookup, {}};
  if (!who.row) return {refused(m, not_found("room")), {}};
  return {{}, std::move(who.row)};
}

bool room::is_same_json(const json_text& a, const json_text& b) {
  return a == b || canonical_json(a) == canonical_json(b);
}

bool room::pending_full(std::size_t more) const {
  return pending_.size() + more > limits::room_pending_max_entries;
}

room::pending_entry* room::pending(entry_no no) {
  if (pending_.empty() || no < pending_.front().no || no > pending_.back().no) return nullptr;
  return &pending_[no.value - pending_.front().no.value];
}

bool room::waiting_full() const {
  return waiting_.size() + held_count_ + joining_.size() >= limits::room_waiting_max_commands;
}

room::handled room::handle_delete(const room_command_ptr& m, const facts& f) {
  const auto who = caller_of(m, f);
  if (who.settled) return *who.settled;
  if (who.row && (info_.type == room_type::dm || who.row->role != member_role::owner)) {
    return refused(m, error{error_code::authorization,
                            "only the owner may delete a room, a dm only the backend"});
  }
  // Behind all appends in storage's queue. Calls that come from now on wait for what becomes of it.
  state_ = state::deleting;
  deleting_for_ = waiter{m->to, done_result{}, false};
  ports_.delete_room(std::make_shared<const delete_room>(
      delete_room{instance_, generation_, key_.tenant, no_, clock_.now()}));
  return handled::done;
}

room::handled room::handle_update_room(const room_command_ptr& m, const update_room_command& c,
                                       const facts& f) {
  const auto who = caller_of(m, f);
  if (who.settled) return *who.settled;
  if (who.row && who.row->role == member_role::member)
    return refused(m,
                   error{error_code::authorization, "only owner and admins may change the room"});
  const auto role = who.row ? std::optional{who.row->role} : std::nullopt;
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
  if (pending_full(1)) return refused_as_full(m);
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

store::append_row room::row_of(const pending_entry& p) const {
  return {key_.tenant, no_, p.e, p.key, p.only_key};
}

void room::submit(const pending_entry& p) {
  ports_.append(std::make_shared<const append>(append{instance_, generation_, p.no, row_of(p), {}}));
}

/// All pending entries from there on, which mean one thing together: stored in one commit, or not at all.
void room::submit_from(std::size_t first) {
  append m{instance_, generation_, pending_.back().no, row_of(pending_[first]), {}};
  for (auto at = first + 1; at < pending_.size(); ++at) m.also.push_back(row_of(pending_[at]));
  ports_.append(std::make_shared<const append>(std::move(m)));
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
    if (p.only_key) {
      --only_keys_pending_;
    } else {
      apply(p, *out);
      show(p, *out, after);
    }
    if (p.key) {
      pending_keys_.erase({p.key->sender, p.key->key});
      remember_key({*p.key, p.e.seq, p.e.message, p.e.created_at});
    }
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
  only_keys_pending_ = 0;
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

room::handled room::refused(const room_command_ptr& m, error why) {
  refuse(*m, std::move(why));
  return handled::done;
}

room::handled room::refused_as_full(const room_command_ptr& m) {
  return refused(m, unavailable("too many changes of this room are being stored", retry_soon));
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
  PARLEY_ASSERT(static_cast<std::int64_t>(pending_.size() - only_keys_pending_) ==
                assigned_.value - committed_.value);
  PARLEY_ASSERT(pending_.empty() || pending_.front().only_key ||
                pending_.front().e.seq == committed_.next());
  PARLEY_ASSERT(pending_.size() <= limits::room_pending_max_entries);
  PARLEY_ASSERT(changed_.size() <= 2 * limits::room_pending_max_entries);
}

}  // namespace parley::actors
