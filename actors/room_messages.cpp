// What a room decides of its messages: sends, edits, deletes, and the retry keys of all three.

#include "actors/room.hpp"
#include "protocol/planted.hpp"

#include <algorithm>
#include <utility>

namespace parley::actors {

namespace {
/// Planted defect: the first answer leaves before anything is stored, and none after it.
bool acks_before_commit() {
  static const bool planted = planted_defect("ack_before_commit");
  return planted;
}
}  // namespace

/// One removed meanwhile still gets its first answer.
std::optional<room::handled> room::repeated(const room_command_ptr& m, const user_id& sender,
                                            const std::optional<hash128>& key, store::keyed_call call,
                                            const hash128& body, const facts& f) {
  if (!key) return std::nullopt;
  const auto used_otherwise = [&] {
    return refused(
        m, error{error_code::conflict, "this key was used with another message", "client_msg_id"});
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

void room::use_key(pending_entry& p, std::optional<store::send_key> key) {
  if (key) pending_keys_.emplace(key_ref{key->sender, key->key}, p.no);
  p.key = std::move(key);
}

/// The command's entry, with all that its answer and its retries need, goes to storage.
room::handled room::submit_message(const room_command_ptr& m, pending_entry& p,
                                   std::optional<store::send_key> key, send_result outcome) {
  use_key(p, std::move(key));
  p.credit = m->credit;
  p.waiters.push_back({m->to, std::move(outcome), true});
  if (acks_before_commit()) answer(m->to, p.waiters.front().outcome);
  submit(p);
  return handled::done;
}

room::handled room::handle_send(const room_command_ptr& m, const send_command& c, const facts& f) {
  if (auto settled = repeated(m, c.sender, c.key, store::keyed_call::send, c.body, f))
    return *settled;
  // Members see, read and write; to others the room does not exist. The backend may name any sender.
  const auto who = member(c.sender, f);
  if (!who.known) return handled::needs_lookup;
  if (!m->who.is_backend() && !who.row) return refused(m, not_found("room"));
  if (!m->who.is_backend() && info_then().posting == posting_policy::admins &&
      who.row->role == member_role::member) {
    return refused(m, error{error_code::authorization, "only admins may post in this room"});
  }
  if (c.reply_to) {
    if (!f.looked_up) return handled::needs_lookup;
    if (!f.found.reply_to_is_message) return refused(m, invalid_reply_to());
  }
  if (pending_full(1)) {
    return refused(m, unavailable("too many messages of this room are being stored", retry_soon));
  }
  const message_id id{ids_.next()};
  auto& p = assign(message_body{.sender = c.sender,
                                .content = c.content,
                                .meta = c.meta,
                                .reply_to = c.reply_to,
                                .client_msg_id = c.client_msg_id},
                   m->who.user, id);
  std::optional<store::send_key> key;
  if (c.key) key = store::send_key{c.sender, *c.key, store::keyed_call::send, c.body};
  return submit_message(
      m, p, std::move(key),
      send_result{no_, {key_.room, id, p.e.seq, p.e.created_at, false}, m->who.user});
}

// ---- edits and deletes --------------------------------------------------------------------------------------------

room::message_target room::target_of(const room_command_ptr& m, const message_id& message,
                                     const facts& f) {
  message_target out;
  auto who = caller_of(m, f);
  if (who.settled) {
    out.settled = who.settled;
    return out;
  }
  out.caller = std::move(who.row);
  if (auto known = changed_.find(message); known != changed_.end()) {
    out.message = known->second.message;
  } else if (!f.looked_up) {
    out.settled = handled::needs_lookup;
  } else if (f.found.target) {
    out.message = std::make_shared<const entry>(*f.found.target);
  } else {
    out.settled = refused(m, not_found("message"));
  }
  return out;
}

/// The same answer, no entry. If what makes it so is pending, so is the answer. A key is stored before it is answered, so
/// that a repeat hears the same, whatever becomes of the message meanwhile (SPEC 2.4).
room::handled room::nothing_to_change(const room_command_ptr& m, const message_target& target,
                                      std::optional<store::send_key> key) {
  const auto& message = *target.message;
  send_result outcome{no_,
                      {key_.room, message.message, message.seq, message.created_at, false},
                      m->who.user,
                      target.message};
  if (key) {
    if (pending_full(1)) return refused_as_full(m);
    pending_.push_back(
        {++last_entry_,
         entry{message.seq, message.message, message.actor, message.created_at, message_body{}},
         {},
         {},
         {}});
    ++only_keys_pending_;
    auto& p = pending_.back();
    p.only_key = clock_.now();
    return submit_message(m, p, std::move(key), std::move(outcome));
  }
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
  if (pending_full(1)) return refused_as_full(m);
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
  return submit_message(
      m, p, std::move(key),
      send_result{
          no_, {key_.room, before.message, p.e.seq, p.e.created_at, false}, m->who.user, p.message});
}

room::handled room::handle_edit_message(const room_command_ptr& m, const edit_message_command& c,
                                        const facts& f) {
  const auto sender = m->who.user.value_or(user_id{});
  if (auto settled = repeated(m, sender, c.key, store::keyed_call::edit, c.body, f))
    return *settled;
  const auto target = target_of(m, c.message, f);
  if (target.settled) return *target.settled;
  const auto& now = std::get<message_body>(target.message->body);
  if (target.caller && now.sender != target.caller->user)
    return refused(m, error{error_code::authorization, "only its sender may edit a message"});
  if (now.deleted_at) return refused(m, error{error_code::conflict, "the message is deleted"});
  auto after = now;
  after.content = c.content;
  if (c.meta) after.meta = *c.meta;
  std::optional<store::send_key> key;
  if (c.key) key = store::send_key{sender, *c.key, store::keyed_call::edit, c.body};
  if (after.content == now.content && is_same_json(after.meta, now.meta))
    return nothing_to_change(m, target, std::move(key));
  message_edited_body body{target.message->seq, after.content, after.meta, {}};
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
    return refused(m, error{error_code::authorization,
                            "only its sender, owner and admins may delete a message"});
  }
  std::optional<store::send_key> key;
  if (c.key) key = store::send_key{sender, *c.key, store::keyed_call::remove, c.body};
  if (now.deleted_at) return nothing_to_change(m, target, std::move(key));
  auto after = now;
  after.content.clear();
  after.meta = {};
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

}  // namespace parley::actors
