// What a room decides of its members: who joins, is added, leaves, is removed, and which role each has.

#include "actors/room.hpp"
#include "protocol/assert.hpp"

#include <algorithm>
#include <utility>

namespace parley::actors {

namespace {
error dm_has_two() { return {error_code::conflict, "a dm has exactly its two members"}; }
error too_many_members() {
  return beyond("max_room_members",
                {error_code::conflict, "the room has too many members", "user_ids"});
}
}  // namespace

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

/// `what`: «remove members», for the refusal of one who may do nothing of the kind.
room::member_target room::target_of(const room_command_ptr& m, const user_id& user,
                                    std::string_view what, error in_a_dm, const facts& f) {
  member_target out;
  auto who = caller_of(m, f);
  if (who.settled) {
    out.settled = who.settled;
    return out;
  }
  out.caller = std::move(who.row);
  const auto* removal = std::get_if<remove_member_command>(&m->what);
  const bool erased = removal != nullptr && removal->erased;
  if (info_.type == room_type::dm && !erased) {
    out.settled = refused(m, std::move(in_a_dm));
    return out;
  }
  auto target = member(user, f);
  const bool leaves = out.caller && out.caller->user == user &&
                      std::holds_alternative<remove_member_command>(m->what);
  if (!target.known) {
    out.settled = handled::needs_lookup;
  } else if (out.caller && out.caller->role == member_role::member && !leaves) {
    out.settled = refused(
        m, error{error_code::authorization, "only owner and admins may " + std::string{what}});
  } else if (!target.row) {
    answer_with({user}, m->to, not_found("member"));
    out.settled = handled::done;
  } else {
    out.row = std::move(*target.row);
  }
  return out;
}

// ---- entering -----------------------------------------------------------------------------------------------------

room::handled room::handle_add(const room_command_ptr& m, const add_members_command& c,
                               const facts& f) {
  const auto who = caller_of(m, f);
  if (who.settled) return *who.settled;
  if (info_.type == room_type::dm) return refused(m, dm_has_two());
  if (who.row && who.row->role == member_role::member)
    return refused(m, error{error_code::authorization, "only owner and admins may add members"});
  if (who.row && c.role >= who.row->role) {
    return refused(
        m, error{error_code::authorization, "only a role below one's own can be given", "role"});
  }
  if (c.role == member_role::owner)
    return refused(m, invalid("role", "a new member can be member or admin"));
  // In a big room, whom memory does not know may be a member already: one look-up tells of all of them.
  std::vector<user_id> added;
  for (const auto& user : c.users) {
    const auto known = member(user, f);
    if (!known.known) return handled::needs_lookup;
    if (!known.row) added.push_back(user);
  }
  const auto count = info_.member_count + pending_members_ + static_cast<std::int64_t>(added.size());
  if (options_.max_room_members != 0 && count > static_cast<std::int64_t>(options_.max_room_members)) {
    return refused(
        m, beyond("max_room_members",
                  {error_code::conflict, "the room would have too many members", "user_ids"}));
  }
  const auto entries = (added.size() + limits::entry_max_users - 1) / limits::entry_max_users;
  if (pending_full(entries)) return refused_as_full(m);
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
  submit_from(first);
  return handled::done;
}

room::handled room::handle_join(const room_command_ptr& m, const facts& f) {
  PARLEY_ASSERT(m->who.user.has_value());
  const auto who = member(*m->who.user, f);
  if (!who.known) return handled::needs_lookup;
  if (who.row) {
    if (info_.type == room_type::dm) return refused(m, dm_has_two());
    // A member already: the same answer, no entry. One whose joining is pending waits for it.
    if (auto pending = overlay_.find(*m->who.user); pending != overlay_.end()) {
      this->pending(pending->second.last)
          ->waiters.push_back({m->to, room_result{{}, who.row->role}, false});
    } else {
      answer(m->to, room_result{info_, who.row->role});
    }
    return handled::done;
  }
  if (info_.type != room_type::channel)
    return refused(m, not_found("room"));  // only members see groups and dms
  if (options_.max_room_members != 0 && info_.member_count + pending_members_ >=
                                            static_cast<std::int64_t>(options_.max_room_members)) {
    return refused(m, too_many_members());
  }
  if (waiting_full())
    return refused(m, unavailable("too many calls wait for this room", retry_soon));
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
      refuse(*m, too_many_members());
    } else if (pending_full(1)) {
      static_cast<void>(refused_as_full(m));
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

// ---- leaving ------------------------------------------------------------------------------------------------------

/// An owner who leaves is followed at once (SPEC 3), in the same commit: no crash leaves a room without one.
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
    // Nobody acts in this.
    auto row = *member(*heir, {}).row;
    row.role = member_role::owner;
    auto& p = assign(member_updated_body{*heir, member_role::owner}, std::nullopt);
    overlay_[*heir] = {std::move(row), p.no};
  }
  pending_.back().waiters.push_back({m.to, done_result{}, false});
  submit_from(first);
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
  const auto target = target_of(m, c.user, "remove members", dm_has_two(), f);
  if (target.settled) return *target.settled;
  const bool self = target.caller && target.caller->user == c.user;
  if (target.caller && !self && target.row.role >= target.caller->role) {
    return refused(m, error{error_code::authorization,
                            "only members of a role below one's own can be removed"});
  }
  if (pending_full(2)) return refused_as_full(m);
  const auto reason = self ? leave_reason::left : leave_reason::removed;
  leave(target.row, c.erased ? leave_reason::erased : reason, *m);
  return handled::done;
}

room::handled room::handle_leave(const room_command_ptr& m, const facts& f) {
  PARLEY_ASSERT(m->who.user.has_value());
  const auto who = caller_of(m, f);
  if (who.settled) return *who.settled;
  if (info_.type == room_type::dm) return refused(m, dm_has_two());
  if (pending_full(2)) return refused_as_full(m);
  leave(*who.row, leave_reason::left, *m);
  return handled::done;
}

// ---- roles --------------------------------------------------------------------------------------------------------

room::pending_entry& room::assign_role(store::member_row row, member_role role,
                                       const room_command& m) {
  auto& p = assign(member_updated_body{row.user, role}, m.who.user);
  row.role = role;
  auto user = row.user;
  overlay_[std::move(user)] = {std::move(row), p.no};
  return p;
}

room::handled room::handle_update_member(const room_command_ptr& m, const update_member_command& c,
                                         const facts& f) {
  const auto target = target_of(m, c.user, "change roles",
                                error{error_code::conflict, "in a dm both are members"}, f);
  if (target.settled) return *target.settled;
  const auto& who = target.caller;
  if (c.role == member_role::owner) {
    if (who && who->role != member_role::owner) {
      return refused(
          m, error{error_code::authorization, "only the owner hands the room over", "role"});
    }
    return hand_over(m, target.row, f);
  }
  if (who && target.row.role >= who->role) {
    return refused(m, error{error_code::authorization,
                            "only members of a role below one's own can be given another"});
  }
  if (who && c.role >= who->role) {
    return refused(
        m, error{error_code::authorization, "only a role below one's own can be given", "role"});
  }
  members_result result{{target.row}, info_.member_count + pending_members_};
  if (target.row.role == c.role) {
    answer_with({c.user}, m->to, std::move(result));
    return handled::done;
  }
  if (pending_full(1)) return refused_as_full(m);
  result.added.front().role = c.role;
  auto& p = assign_role(target.row, c.role, *m);
  p.waiters.push_back({m->to, std::move(result), false});
  submit(p);
  return handled::done;
}

/// All others who own the room become admins, in the same commit: at no time has it two owners, or none.
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
    answer_with({to.user}, m->to, std::move(result));
    return handled::done;
  }
  if (pending_full(former.size() + 1)) return refused_as_full(m);
  const auto first = pending_.size();
  if (to.role != member_role::owner) assign_role(to, member_role::owner, *m);
  for (auto& row : former) assign_role(std::move(row), member_role::admin, *m);
  pending_.back().waiters.push_back({m->to, std::move(result), false});
  submit_from(first);
  return handled::done;
}

}  // namespace parley::actors
