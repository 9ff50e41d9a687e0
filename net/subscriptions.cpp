#include "net/subscriptions.hpp"

#include "protocol/assert.hpp"
#include "protocol/planted.hpp"
#include "protocol/server_frame.hpp"

#include <algorithm>
#include <unordered_set>
#include <utility>

namespace parley::net {

namespace {
constexpr auto retry_soon = std::chrono::milliseconds{200};
constexpr std::size_t frames_per_serve =
    128;  // one subscription's share of a pass: others are due too
constexpr std::size_t sync_steps_per_pass = 256;  // outcomes of one connection in a pass
constexpr std::size_t page_min_bytes = 4096;
constexpr std::size_t ring_edit_bytes = 384;  // what a ring remembers of an edit, beside its frame

room_seq later(room_seq a, room_seq b) { return std::max(a, b); }
}  // namespace

subscriptions::subscriptions(delivery_ports& ports, const subscriptions_options& options)
    : ports_(ports),
      options_(options) {}
subscriptions::~subscriptions() = default;

template <class Append>
frame_ptr subscriptions::frame(Append&& append) {
  scratch_.clear();
  append(scratch_);
  return make_text_frame(scratch_);
}

void subscriptions::reply_error(connection_ref c, const reply_refs& refs, const error& why) {
  ports_.send(c, frame([&](std::string& out) { append_error_frame(out, refs, why); }));
}

// ---- connections ------------------------------------------------------------------------------------------------

subscriptions::connection* subscriptions::find(connection_ref c) {
  const auto it = by_ref_.find(c);
  return it == by_ref_.end() ? nullptr : &conns_[it->second];
}

void subscriptions::add(connection_ref c, const user_key& user, sync_mode mode) {
  slot index;
  if (free_conns_.empty()) {
    index = static_cast<slot>(conns_.size());
    conns_.emplace_back();
  } else {
    index = free_conns_.back();
    free_conns_.pop_back();
  }
  auto& conn = conns_[index];
  conn.ref = c;
  conn.used = true;
  conn.mode = mode;
  conn.goes_live = mode == sync_mode::automatic;
  conn.awaiting_list = true;  // until start(): nothing may come before `hello`
  // Registered before its room list is read: what passes meanwhile is replayed on the list (DESIGN 3.6).
  const auto entry = users_.try_emplace(user).first;
  conn.user = &entry->first;
  entry->second.push_back(index);
  by_ref_.emplace(c, index);
}

void subscriptions::start(connection_ref c) {
  auto* conn = find(c);
  if (conn == nullptr) return;
  if (conn->mode == sync_mode::manual) {
    conn->awaiting_list = false;
    return;
  }
  conn->sync = std::make_unique<sync_state>();
  conn->sync->automatic = true;
  conn->sync->start_done = false;
  conn->sync->asking = sync_state::ask::list;
  ask(by_ref_.at(c));
}

void subscriptions::remove(connection_ref c) {
  const auto it = by_ref_.find(c);
  if (it == by_ref_.end()) return;
  const auto index = it->second;
  by_ref_.erase(it);
  auto& conn = conns_[index];
  while (!conn.subs.empty()) drop_sub(conn.subs.back().second);
  if (auto user = users_.find(*conn.user); user != users_.end()) {
    std::erase(user->second, index);
    if (user->second.empty()) users_.erase(user);
  }
  const auto uses = conn.uses + 1;
  conn = connection{};
  conn.uses = uses;
  free_conns_.push_back(index);
}

std::vector<connection_ref> subscriptions::connections_of(const user_key& user) const {
  std::vector<connection_ref> out;
  if (const auto it = users_.find(user); it != users_.end()) {
    for (const auto c : it->second) out.push_back(conns_[c].ref);
  }
  return out;
}

void subscriptions::live_in(const room_key& room, std::vector<live_reader>& out) const {
  const auto r = find_room(room);
  if (r == no_slot) return;
  for (const auto s : rooms_[r].subs) {
    const auto& sub = subs_[s];
    if (sub.held || sub.syncing || sub.announcing || sub.gone || sub.until != never) continue;
    const auto& conn = conns_[sub.conn];
    out.push_back({conn.ref, conn.user});
  }
}

// ---- rooms and subscriptions --------------------------------------------------------------------------------------

subscriptions::slot subscriptions::find_room(const room_key& key) const {
  const auto it = by_room_.find(key);
  return it == by_room_.end() ? no_slot : it->second;
}

subscriptions::slot subscriptions::room_for(const room_key& key, room_no no) {
  if (const auto known = find_room(key); known != no_slot) return known;
  slot index;
  if (free_rooms_.empty()) {
    index = static_cast<slot>(rooms_.size());
    rooms_.emplace_back();
  } else {
    index = free_rooms_.back();
    free_rooms_.pop_back();
  }
  auto& room = rooms_[index];
  room.key = key;
  room.no = no;
  room.used = true;
  room.by_publish = by_publish_.insert(by_publish_.end(), index);
  by_room_.emplace(key, index);
  return index;
}

void subscriptions::release_room(slot r) {
  ring_drop(r);
  by_publish_.erase(rooms_[r].by_publish);
  by_room_.erase(rooms_[r].key);
  rooms_[r] = room_state{};
  free_rooms_.push_back(r);
}

subscriptions::slot subscriptions::find_sub(const connection& c, slot room) const {
  const auto it = std::lower_bound(c.subs.begin(), c.subs.end(), std::pair{room, slot{0}});
  return it != c.subs.end() && it->first == room ? it->second : no_slot;
}

subscriptions::slot subscriptions::add_sub(slot c, slot room, room_seq sent, room_seq base,
                                           bool in_bulk) {
  slot index;
  if (free_subs_.empty()) {
    index = static_cast<slot>(subs_.size());
    subs_.emplace_back();
  } else {
    index = free_subs_.back();
    free_subs_.pop_back();
  }
  auto& sub = subs_[index];
  const auto uses = sub.uses;
  sub = subscription{};
  sub.uses = uses;
  sub.conn = c;
  sub.room = room;
  sub.sent = sent;
  sub.base = base;
  sub.in_room = static_cast<std::uint32_t>(rooms_[room].subs.size());
  rooms_[room].subs.push_back(index);
  auto& list = conns_[c].subs;
  if (in_bulk) {
    list.emplace_back(room, index);
  } else {
    list.insert(std::upper_bound(list.begin(), list.end(), std::pair{room, index}), {room, index});
  }
  ++live_subscriptions_;
  return index;
}

void subscriptions::sort_subs(slot c) { std::sort(conns_[c].subs.begin(), conns_[c].subs.end()); }

void subscriptions::drop_sub(slot s) {
  auto& sub = subs_[s];
  auto& room = rooms_[sub.room];
  auto& list = conns_[sub.conn].subs;
  const auto it = std::lower_bound(list.begin(), list.end(), std::pair{sub.room, slot{0}});
  PARLEY_ASSERT(it != list.end() && it->second == s);
  list.erase(it);
  const auto last = room.subs.back();
  room.subs[sub.in_room] = last;
  subs_[last].in_room = sub.in_room;
  room.subs.pop_back();
  const auto r = sub.room;
  if (sub.page_pending) page_is_over(room);
  if (sub.has_stints) stints_.erase(s);
  if (sub.announcing) announces_.erase(s);
  const auto uses = sub.uses + 1;
  sub = subscription{};
  sub.uses = uses;
  free_subs_.push_back(s);
  --live_subscriptions_;
  if (rooms_[r].subs.empty()) release_room(r);
}

// ---- rings ------------------------------------------------------------------------------------------------------

void subscriptions::ring_add(slot r, const actors::publish& m) {
  auto& room = rooms_[r];
  const auto skip = std::max<std::int64_t>(0, room.head.value + 1 - m.first_seq.value);
  for (auto at = static_cast<std::size_t>(skip); at < m.frames.size(); ++at) {
    room.ring.push_back(m.frames[at]);
    room.ring_bytes += m.frames[at]->bytes.size();
    ring_bytes_ += m.frames[at]->bytes.size();
  }
  for (const auto& edit : m.edits) {
    if (edit->seq <= room.head) continue;
    room.edits.push_back(edit);
    room.ring_bytes += ring_edit_bytes;
    ring_bytes_ += ring_edit_bytes;
  }
  room.head = m.last_seq();
  ring_cut(room);
  by_publish_.splice(by_publish_.end(), by_publish_, room.by_publish);
  ring_trim();
}

/// Drops the oldest frame.
void subscriptions::ring_pop(room_state& room) {
  auto bytes = room.ring.front()->bytes.size();
  const auto seq = room.head.value - static_cast<std::int64_t>(room.ring.size()) + 1;
  room.ring.pop_front();
  if (!room.edits.empty() && room.edits.front()->seq.value <= seq) {
    room.edits.erase(room.edits.begin());
    bytes += ring_edit_bytes;
  }
  room.ring_bytes -= bytes;
  ring_bytes_ -= bytes;
}

void subscriptions::ring_cut(room_state& room) {
  while (room.ring_bytes > limits::ring_room_max_bytes && !room.ring.empty()) ring_pop(room);
}

/// An edit or a delete: its message and the edits before it show it from now on (SPEC 1). What is queued already stays.
void subscriptions::ring_rewrite(slot r, const actors::rewrite& w) {
  auto& room = rooms_[r];
  const auto put = [&](room_seq seq, const frame_ptr& f) {
    const auto first = room.head.value - static_cast<std::int64_t>(room.ring.size()) + 1;
    if (seq.value < first || seq > room.head) return;
    auto& place = room.ring[static_cast<std::size_t>(seq.value - first)];
    const auto change = f->bytes.size() - place->bytes.size();  // wraps as unsigned numbers do
    room.ring_bytes += change;
    ring_bytes_ += change;
    place = f;
  };
  std::size_t encoded = 0;
  for (auto at = room.edits.size(); at > 0; --at) {
    const auto& edit = *room.edits[at - 1];
    if (edit.message != w.message->message) continue;
    if (++encoded > limits::ring_rewrites_max) {
      // One message edited without end must not cost ever more: who is that far behind reads pages.
      for (const auto upto = edit.seq;
           room.head.value - static_cast<std::int64_t>(room.ring.size()) < upto.value;) {
        ring_pop(room);
      }
      break;
    }
    put(edit.seq, edit_frame(room.key, edit, *w.message));
  }
  put(w.message->seq, w.frame);
  ring_cut(room);
}

void subscriptions::note_rewrite(room_state& room, const actors::rewrite& w, commit_no commit) {
  if (room.pages == 0) return;  // a page that is asked from now on has seen this commit
  auto& all = room.rewrites;
  const auto seq = w.message->seq;
  auto earlier = std::find_if(all.begin(), all.end(), [&](const auto& r) { return r.seq == seq; });
  if (earlier == all.end() && all.size() >= limits::page_rewrites_max) {
    earlier = all.begin();
    room.rewrites_forgotten = earlier->commit;
  }
  if (earlier != all.end()) {
    room.rewrites_bytes -= shown_bytes(*earlier);
    all.erase(earlier);
  }
  all.push_back({commit, seq, w.message, w.frame});
  room.rewrites_bytes += shown_bytes(all.back());
  for (auto it = all.begin();
       room.rewrites_bytes > limits::page_rewrites_max_bytes && it + 1 != all.end(); ++it) {
    room.rewrites_bytes -= shown_bytes(*it);
    it->message.reset();
    it->frame.reset();
  }
}

std::size_t subscriptions::shown_bytes(const rewritten& r) {
  if (!r.message) return 0;
  const auto& body = std::get<message_body>(r.message->body);
  return r.frame->bytes.size() + body.content.size() + body.meta.value.size();
}

void subscriptions::page_is_over(room_state& room) {
  PARLEY_ASSERT(room.pages > 0);
  if (--room.pages > 0) return;
  room.rewrites = {};
  room.rewrites_forgotten = {};
  room.rewrites_bytes = 0;
}

/// What of the page differs from what its entries show now: what a commit has changed since its snapshot was taken.
subscriptions::judged_page subscriptions::judge(const room_state& room,
                                                const actors::page_frames& page) {
  static const bool stale_page_after_delete = planted_defect("stale_page_after_delete");
  if (stale_page_after_delete) return {page.frames.size()};
  if (page.snapshot < room.rewrites_forgotten) return {0};
  judged_page out{page.frames.size()};
  std::unordered_map<room_seq, const rewritten*> newer;
  for (const auto& w : room.rewrites) {
    if (w.commit <= page.snapshot) continue;
    newer.emplace(w.seq, &w);
    const auto at = static_cast<std::size_t>(w.seq.value - page.after.value - 1);
    if (w.seq > page.after && at < page.frames.size())
      out.changed.push_back({at, w.message, w.frame});
  }
  if (newer.empty()) return out;
  for (const auto& e : page.edits) {
    const auto w = newer.find(std::get<message_edited_body>(e.body).message_seq);
    if (w == newer.end()) continue;
    const auto at = static_cast<std::size_t>(e.seq.value - page.after.value - 1);
    out.changed.push_back({at, w->second->message, w->second->frame, &e});
  }
  std::sort(out.changed.begin(), out.changed.end(),
            [](const auto& a, const auto& b) { return a.at < b.at; });
  const auto unknown = std::find_if(out.changed.begin(), out.changed.end(),
                                    [](const auto& o) { return o.message == nullptr; });
  if (unknown != out.changed.end()) out.good = unknown->at;
  return out;
}

frame_ptr subscriptions::as_it_is_now(const room_key& room, const overtaken& o) {
  if (o.edit == nullptr) return o.frame;
  return edit_frame(room, *o.edit, *o.message);
}

/// The edit with what its message says now.
frame_ptr subscriptions::edit_frame(const room_key& room, entry edit, const entry& message) {
  const auto& now = std::get<message_body>(message.body);
  auto& body = std::get<message_edited_body>(edit.body);
  body.content = now.content;
  body.meta = now.meta;
  return frame([&](std::string& out) { append_entry(out, room.room, edit); });
}

void subscriptions::ring_trim() {
  for (auto it = by_publish_.begin(); ring_bytes_ > options_.ring_bytes && it != by_publish_.end();
       ++it) {
    auto& room = rooms_[*it];
    while (ring_bytes_ > options_.ring_bytes && !room.ring.empty()) ring_pop(room);
  }
}

void subscriptions::ring_drop(slot r) {
  auto& room = rooms_[r];
  ring_bytes_ -= room.ring_bytes;
  room.ring_bytes = 0;
  room.ring.clear();
  room.edits.clear();
}

void subscriptions::raise_head(slot r, room_seq head) {
  if (head <= rooms_[r].head) return;
  ring_drop(r);  // what lies between is in the log only
  rooms_[r].head = head;
}

// ---- publishes --------------------------------------------------------------------------------------------------

void subscriptions::on(const actors::publish_ptr& m) {
  static const bool membership_after_publish = planted_defect("membership_after_publish");
  if (membership_after_publish) {
    // What an entry says of who is a member holds for its gateway only when the next entry comes.
    static std::unordered_map<room_key, std::vector<actors::member_change>> kept;
    auto late = std::make_shared<actors::publish>(*m);
    std::swap(late->members, kept[m->room]);
    return apply_publish(std::move(late));
  }
  apply_publish(m);
}

void subscriptions::apply_publish(const actors::publish_ptr& m) {
  log_.add(*m);
  if (const auto r = find_room(m->room); r != no_slot && !m->gone) {
    for (const auto s : rooms_[r].subs) stop_at_hole(s, m->first_seq);
  }
  // Memberships first: a removal ends a subscription before any later entry, an addition may bring the room here.
  for (const auto& change : m->members) {
    const auto user = users_.find(user_key{m->room.tenant, change.user});
    if (user == users_.end()) continue;
    for (const auto c : user->second) {
      const auto& conn = conns_[c];
      // While a list is being read the publish log keeps the changes for it. What ends is told at once: a manual
      // connection may have heard of the room, and the list would only not name it.
      const bool told_at_once = !change.joined && conn.sync && !conn.sync->automatic;
      if (!conn.awaiting_list || told_at_once || find_sub(conn, find_room(m->room)) != no_slot) {
        apply(c, m->room, m->no, m->commit, change);
      }
    }
  }
  const auto r = find_room(m->room);
  if (r == no_slot) return;
  auto& room = rooms_[r];
  if (m->gone) {
    raise_head(r, m->last_seq());
    for (const auto s : room.subs) end_sub(s, m->last_seq());
  } else if (!m->frames.empty() && m->last_seq() > room.head) {
    if (m->first_seq.value > room.head.value + 1) {
      ring_drop(r);
      room.head = room_seq{m->first_seq.value - 1};
    }
    for (const auto& w : m->rewrites) {
      note_rewrite(room, w, m->commit);
      ring_rewrite(r, w);
    }
    if (m->commit < room.erased_by) {
      raise_head(r, m->last_seq());
    } else {
      ring_add(r, *m);
    }
  }
  for (const auto s : room.subs) make_due(s);
}

void subscriptions::on(const actors::room_rewritten& m) {
  const auto r = find_room(m.room);
  if (r == no_slot) return;  // what is read of it from now on has seen that commit
  auto& room = rooms_[r];
  if (m.first_seq != room_seq{}) return starts_at(r, m.first_seq);
  room.erased_by = std::max(room.erased_by, m.commit);
  if (room.pages > 0) room.rewrites_forgotten = std::max(room.rewrites_forgotten, m.commit);
  ring_drop(r);
}

/// Retention. Pages that are being read stay good: what they show was there when they were asked.
void subscriptions::starts_at(slot r, room_seq first) {
  auto& room = rooms_[r];
  room.first_seq = later(room.first_seq, first);
  const bool edits_what_is_gone = std::any_of(
      room.edits.begin(), room.edits.end(),
      [&](const auto& e) { return std::get<message_edited_body>(e->body).message_seq < first; });
  if (edits_what_is_gone) return ring_drop(r);  // there is no text any more
  while (!room.ring.empty() &&
         room.head.value - static_cast<std::int64_t>(room.ring.size()) + 1 < first.value) {
    ring_pop(room);
  }
}

/// Publishes of a room are dense and in order. One that does not continue what a subscription knows comes after an actor
/// that died before it published what it had appended: memberships may have changed in there, so nothing may be served
/// across it.
void subscriptions::stop_at_hole(slot s, room_seq first) {
  auto& sub = subs_[s];
  const bool ends = sub.has_stints ? stints_.at(s).back().until != never : sub.until != never;
  if (ends || first.value - 1 <= std::max(rooms_[sub.room].head, sub.base).value) return;
  sub.held = true;
  ports_.restart(conns_[sub.conn].ref);
}

/// The room was deleted; its log ends there.
void subscriptions::end_sub(slot s, room_seq last) {
  auto& sub = subs_[s];
  sub.gone = true;
  if (sub.until == never) sub.until = last;
  if (sub.has_stints && stints_.at(s).back().until == never) stints_.at(s).back().until = last;
}

/// What passed by while a snapshot was being read: everything of the publish log from `from` on that the snapshot has
/// not seen. `only`: of these rooms, and only where the connection now has a subscription.
void subscriptions::replay(slot c, publish_log::position from, commit_no snapshot,
                           const std::vector<room_key>* only) {
  const auto sub_in = [&](const room_key& key) {
    const auto r = find_room(key);
    return r == no_slot ? no_slot : find_sub(conns_[c], r);
  };
  const auto for_subs = [&](auto&& step) {
    if (only == nullptr) {
      for (const auto& [room, s] : conns_[c].subs) step(s);
    } else {
      for (const auto& key : *only) {
        if (const auto s = sub_in(key); s != no_slot) step(s);
      }
    }
  };
  // Holes first: what has one is not served, whatever its membership became after it.
  for_subs([&](slot s) {
    if (const auto* run = log_.newest_run(rooms_[subs_[s].room].key)) stop_at_hole(s, run->first);
  });
  log_.for_events_from(from, [&](const publish_log::event& e) {
    if (e.commit <= snapshot) return;
    if (only != nullptr && (std::find(only->begin(), only->end(), e.room) == only->end() ||
                            sub_in(e.room) == no_slot)) {
      return;
    }
    for (const auto& change : e.members) {
      if (change.user == conns_[c].user->user && e.room.tenant == conns_[c].user->tenant) {
        apply(c, e.room, e.no, e.commit, change);
      }
    }
    if (const auto s = sub_in(e.room); s != no_slot && e.gone) {
      raise_head(subs_[s].room, e.last_seq);
      end_sub(s, e.last_seq);
      make_due(s);
    }
  });
  // All memberships are known; now entries may be served up to where each log has come.
  for_subs([&](slot s) { catch_up(s); });
}

/// The room's head is at least what has passed here.
void subscriptions::catch_up(slot s) {
  const auto* run = log_.newest_run(rooms_[subs_[s].room].key);
  if (run == nullptr) return;
  stop_at_hole(s, run->first);  // of those that the replay has added
  raise_head(subs_[s].room, run->last);
  make_due(s);
}

void subscriptions::apply(slot c, const room_key& key, room_no no, commit_no commit,
                          const actors::member_change& change) {
  const auto room = find_room(key);
  const auto s = room == no_slot ? no_slot : find_sub(conns_[c], room);
  const auto added = [&] {
    return frame([&](std::string& out) { append_room_added(out, *change.room_json, change.seq); });
  };
  if (s != no_slot) {
    auto& sub = subs_[s];
    // What this subscription started from, or has heard already (a replay repeats it), changes nothing.
    auto known_to = sub.until != never ? sub.until : sub.base;
    if (sub.has_stints) {
      const auto& last = stints_.at(s).back();
      known_to = last.until != never ? last.until : last.start;
    }
    if (change.seq <= known_to) return;
    const bool member_at_the_end =
        sub.has_stints ? stints_.at(s).back().until == never : sub.until == never || sub.told_only;
    if (change.joined && !member_at_the_end) {
      stints_[s].push_back({change.seq, never, added()});
      sub.has_stints = true;
    } else if (!change.joined && member_at_the_end) {
      if (sub.has_stints) {
        stints_.at(s).back().until = change.seq;
      } else {
        if (sub.told_only) sub.sent = sub.base = change.seq;
        sub.told_only = false;
        sub.until = change.seq;
      }
    }
    make_due(s);
    return;
  }
  auto& conn = conns_[c];
  // The room list has it. But a manual connection may have heard of a room that the list only does not name any more.
  if (commit <= conn.list_commit && (change.joined || conn.mode == sync_mode::automatic)) return;
  if (removed_before(conn, key, change.seq)) return;
  if (!change.joined) {
    // It had no subscription here (never asked for, or unsubscribed): it only informs.
    if (conn.awaiting_list) conn.lost_rooms.emplace_back(key, change.seq);
    ports_.send(conn.ref, frame([&](std::string& out) { append_room_removed(out, key.room); }));
    return;
  }
  auto* const gone = owed_as_gone(conn, key.room);
  const bool full = conn.subs.size() >= options_.max_subscriptions;
  if (full || (!conn.goes_live && gone == nullptr)) {
    ports_.send(conn.ref, added());
    if (conn.goes_live) say_not_live(conn.ref, key.room.id.to_string());
    return;
  }
  const auto r = room_for(key, no);
  const auto fresh = add_sub(c, r, change.seq, change.seq);
  auto& sub = subs_[fresh];
  sub.announcing = true;
  announces_[fresh] = added();
  if (!conn.goes_live) {
    sub.told_only = true;
    sub.until = change.seq;
  }
  if (gone != nullptr) {
    // Its sync owes it a `gone`, which is about the membership before this one: that is said first.
    sub.held = true;
    gone->sub = fresh;
    gone->uses = sub.uses;
  }
  make_due(fresh);
}

/// The outcome `gone` that a sync under way has still to state for this room.
subscriptions::sync_item* subscriptions::owed_as_gone(connection& conn, const room_id& room) {
  if (!conn.sync || conn.sync->items.empty()) return nullptr;
  const auto text = room.id.to_string();
  const auto owed = std::find_if(
      conn.sync->items.begin(), conn.sync->items.end(),
      [&](const auto& i) { return i.stated_first == sync_outcome::gone && i.room == text; });
  return owed == conn.sync->items.end() ? nullptr : &*owed;
}

/// What a check has not found was entered since it was read, and that was told: it is to be checked again.
bool subscriptions::entered_since(const connection& conn, publish_log::position from,
                                  const store::checked_rooms& checked) const {
  std::unordered_set<room_id> missing;
  for (std::size_t at = 0; at < checked.rooms.size(); ++at) {
    const auto& room = conn.sync->frame.rooms[at].room;
    if (!checked.rooms[at] && room) missing.insert(*room);
  }
  bool entered = false;
  if (missing.empty()) return entered;
  log_.for_events_from(from, [&](const publish_log::event& e) {
    if (e.commit <= checked.snapshot || e.room.tenant != conn.user->tenant ||
        !missing.contains(e.room.room)) {
      return;
    }
    for (const auto& change : e.members)
      entered = entered || (change.joined && change.user == conn.user->user);
  });
  return entered;
}

/// While a list is read: `room.removed` was already sent for a membership that ended at `seq` or later.
bool subscriptions::removed_before(const connection& c, const room_key& key, room_seq seq) {
  return std::any_of(c.lost_rooms.begin(), c.lost_rooms.end(),
                     [&](const auto& lost) { return lost.first == key && seq <= lost.second; });
}

// ---- serving ----------------------------------------------------------------------------------------------------

/// What may be sent: the membership is known up to what was published here or, at a start, to its snapshot. A snapshot
/// may be ahead of the publishes; about other readers of the room it says nothing.
room_seq subscriptions::reach(const subscription& s) const {
  return std::min(std::max(rooms_[s.room].head, s.base), s.until);
}

room_seq subscriptions::limit(const subscription& s) const {
  auto to = reach(s);
  if (s.syncing) to = std::min(to, conns_[s.conn].sync->target);
  return to;
}

void subscriptions::make_due(slot s) {
  auto& sub = subs_[s];
  if (sub.conn == no_slot || sub.queued || sub.held || sub.page_pending || sub.blocked || sub.retry)
    return;
  if (!sub.announcing && sub.sent >= limit(sub) && sub.sent < sub.until && !sub.syncing) return;
  sub.queued = true;
  due_.push_back({false, s, sub.uses});
  ports_.wake();
}

void subscriptions::make_due_connection(slot c) {
  auto& sync = conns_[c].sync;
  if (!sync || sync->queued || sync->blocked) return;
  sync->queued = true;
  due_.push_back({true, c, conns_[c].uses});
  ports_.wake();
}

bool subscriptions::run(std::size_t max_sends) {
  while (!due_.empty() && max_sends > 0) {
    const auto item = due_.front();
    due_.pop_front();
    if (item.is_connection) {
      if (conns_[item.index].uses != item.uses || !conns_[item.index].used ||
          !conns_[item.index].sync)
        continue;
      conns_[item.index].sync->queued = false;
      step_sync(item.index);
      --max_sends;
    } else {
      if (subs_[item.index].uses != item.uses) continue;
      subs_[item.index].queued = false;
      max_sends -= std::min(
          max_sends,
          std::max<std::size_t>(1, serve(item.index, std::min(max_sends, frames_per_serve))));
    }
  }
  return !due_.empty();
}

bool subscriptions::try_send(slot c, const frame_ptr& f) {
  const auto ref = conns_[c].ref;
  static const bool unbounded_outbound = planted_defect("unbounded_outbound");
  if (!unbounded_outbound && !ports_.takes(ref, f->bytes.size())) return false;
  ports_.send(ref, f);
  return true;
}

void subscriptions::block(slot s) {
  subs_[s].blocked = true;
  conns_[subs_[s].conn].blocked.push_back(s);
}

std::size_t subscriptions::serve(slot s, std::size_t budget) {
  auto& sub = subs_[s];
  if (sub.held || sub.page_pending || sub.blocked || sub.retry) return 0;
  std::size_t frames = 0;
  if (sub.announcing) {
    if (!try_send(sub.conn, announces_.at(s))) {
      block(s);
      return frames;
    }
    sub.announcing = false;
    announces_.erase(s);
    ++frames;
  }
  const auto& room = rooms_[sub.room];
  while (sub.sent < limit(sub)) {
    if (frames >= budget) {
      make_due(s);
      return frames;
    }
    const auto ring_first = room.head.value - static_cast<std::int64_t>(room.ring.size()) + 1;
    static const bool trim_under_due = planted_defect("trim_under_due");
    if (trim_under_due && sub.sent.value + 1 < ring_first && sub.sent < room.head)
      sub.sent = std::min(limit(sub), room_seq{ring_first - 1});
    if (sub.sent >= limit(sub)) break;
    // One that started from a snapshot ahead of what was published here knows of rewrites that the ring has not.
    if (sub.sent.value + 1 < ring_first || sub.sent >= room.head || sub.base > room.head) {
      ask_page(s);
      return frames;
    }
    if (!try_send(sub.conn, room.ring[static_cast<std::size_t>(sub.sent.value + 1 - ring_first)])) {
      block(s);
      return frames;
    }
    ++sub.sent;
    ++frames;
    ++counters_.frames_from_ring;
  }
  if (sub.syncing) {
    // All that its sync promised is sent: the outcome comes before anything later.
    sub.held = true;
    conns_[sub.conn].sync->reached = true;
    make_due_connection(sub.conn);
  } else if (sub.sent >= sub.until) {
    finish_stint(s);
  }
  return frames;
}

/// The membership is sent to its end: `room.removed`, then the next one or nothing. False: blocked.
bool subscriptions::finish_stint(slot s) {
  auto& sub = subs_[s];
  auto& conn = conns_[sub.conn];
  const auto key = rooms_[sub.room].key;
  if (!sub.told_only) {
    if (!try_send(sub.conn, frame([&](std::string& out) { append_room_removed(out, key.room); }))) {
      block(s);
      return false;
    }
    if (conn.awaiting_list) conn.lost_rooms.emplace_back(key, sub.gone ? never : sub.until);
  }
  if (!sub.has_stints) {
    drop_sub(s);
    return true;
  }
  auto& later_ones = stints_.at(s);
  auto next = std::move(later_ones.front());
  later_ones.pop_front();
  if (later_ones.empty()) {
    stints_.erase(s);
    sub.has_stints = false;
  }
  sub.sent = next.start;
  sub.until = next.until;
  sub.told_only = false;
  if (!conn.goes_live) {
    // `room.added` only informs here (SPEC 5), however late it comes.
    sub.told_only = next.until == never;
    if (sub.told_only) sub.until = next.start;
    sub.sent = sub.until;
  }
  sub.base = sub.sent;
  sub.announcing = true;
  announces_[s] = std::move(next.announce);
  make_due(s);
  return true;
}

void subscriptions::ask_page(slot s) {
  auto& sub = subs_[s];
  const auto space = ports_.space(conns_[sub.conn].ref);
  if (!ports_.takes(conns_[sub.conn].ref, page_min_bytes)) {
    block(s);
    return;
  }
  const auto call = ++last_call_;
  const auto& room = rooms_[sub.room];
  actors::page_query q{room.key,
                       room.no,
                       sub.sent,
                       limit(sub),
                       limits::page_max_entries,
                       std::clamp(space, page_min_bytes, limits::page_max_bytes)};
  if (!ports_.read(call, room.key.tenant, std::move(q))) {
    ++counters_.reads_refused;
    sub.retry = true;
    retry_.push_back({false, s, sub.uses});
    return;
  }
  ++counters_.pages;
  sub.page_pending = true;
  ++rooms_[sub.room].pages;
  calls_.emplace(call, call_target{call_kind::page, s, sub.uses, 0, {}, {}});
}

/// Of a room that was deleted, or was stated to be gone: nothing is served any more, whatever was still owed.
void subscriptions::nothing_more(slot s) {
  auto& sub = subs_[s];
  sub.until = sub.sent;
  if (sub.has_stints) {
    stints_.erase(s);
    sub.has_stints = false;
  }
}

void subscriptions::on_page(slot s, const actors::read_result& answer) {
  auto& sub = subs_[s];
  sub.page_pending = false;
  const auto again_later = [&] {
    sub.retry = true;
    retry_.push_back({false, s, sub.uses});
  };
  const auto* page = std::get_if<actors::page_frames>(&answer);
  auto& room = rooms_[sub.room];
  const auto judged = page == nullptr ? judged_page{} : judge(room, *page);
  page_is_over(room);
  if (page == nullptr) return again_later();
  if (!page->room_exists) {
    sub.gone = true;
    nothing_more(s);
    make_due(s);
    return;
  }
  room.first_seq = later(room.first_seq, page->first_seq);
  const auto to = limit(sub);
  auto start = page->after;
  if (page->frames.empty()) start = std::min(room_seq{page->first_seq.value - 1}, to);
  if (start > sub.sent) {
    // Retention was faster: a stated gap instead of what is gone (SPEC 5).
    sync_complete_info gap{.room = {},
                           .outcome = sync_outcome::gap,
                           .seq = start,
                           .from_seq = sub.sent.next(),
                           .to_seq = start,
                           .truncated = true};
    const auto text = room.key.room.id.to_string();
    gap.room = text;
    if (!try_send(sub.conn, frame([&](std::string& out) { append_sync_complete(out, gap); })))
      return block(s);
    sub.sent = start;
    if (sub.syncing) conns_[sub.conn].sync->stated = true;
  } else if (page->frames.empty()) {
    return again_later();
  }
  if (judged.good < page->frames.size()) ++counters_.stale_pages;
  if (page->after == sub.sent) {
    auto changed = judged.changed.begin();
    for (std::size_t at = 0; at < judged.good; ++at) {
      if (sub.sent >= to) break;
      auto f = page->frames[at];
      if (changed != judged.changed.end() && changed->at == at) {
        f = as_it_is_now(room.key, *changed++);
        ++counters_.frames_overtaken;
      }
      if (!try_send(sub.conn, f)) return block(s);
      ++sub.sent;
      ++counters_.frames_from_pages;
    }
  }
  static const bool skip_head_recheck = planted_defect("skip_head_recheck");
  if (skip_head_recheck && !sub.syncing && page->complete && judged.good == page->frames.size())
    return;
  // A publish may have passed meanwhile: the head is looked at again. What was stale is asked again there, too.
  if (!sub.queued) {
    sub.queued = true;
    due_.push_back({false, s, sub.uses});
    ports_.wake();
  }
}

void subscriptions::drained(connection_ref c) {
  auto* conn = find(c);
  if (conn == nullptr) return;
  const auto index = by_ref_.at(c);
  const auto blocked = std::exchange(conn->blocked, {});
  for (const auto s : blocked) {
    if (subs_[s].conn != index || !subs_[s].blocked) continue;
    subs_[s].blocked = false;
    if (!subs_[s].queued && !subs_[s].held) {
      subs_[s].queued = true;
      due_.push_back({false, s, subs_[s].uses});
    }
  }
  if (conn->sync && conn->sync->blocked) {
    conn->sync->blocked = false;
    make_due_connection(index);
  }
  ports_.wake();
}

void subscriptions::tick() {
  const auto again = std::exchange(retry_, {});
  for (const auto& item : again) {
    if (item.is_connection) {
      if (conns_[item.index].uses == item.uses && conns_[item.index].sync) ask(item.index);
    } else if (subs_[item.index].uses == item.uses) {
      subs_[item.index].retry = false;
      if (!subs_[item.index].queued && !subs_[item.index].held) {
        subs_[item.index].queued = true;
        due_.push_back({false, item.index, item.uses});
      }
    }
  }
  if (!again.empty()) ports_.wake();
}

void subscriptions::on(call_no call, const actors::read_result& answer) {
  const auto it = calls_.find(call);
  if (it == calls_.end()) return;
  const auto t = std::move(it->second);
  calls_.erase(it);
  if (t.kind == call_kind::page) {
    if (subs_[t.index].uses == t.uses) on_page(t.index, answer);
    return;
  }
  if (!conns_[t.index].used || conns_[t.index].uses != t.uses) return;
  switch (t.kind) {
    case call_kind::list:
      on_list(t.index, t.log_position, answer);
      break;
    case call_kind::check:
      on_check(t.index, t.log_position, answer);
      break;
    default:
      on_subscribed(t.index, t, answer);
  }
}

// ---- sync -------------------------------------------------------------------------------------------------------

void subscriptions::ask(slot c) {
  auto& conn = conns_[c];
  const auto call = ++last_call_;
  const auto position = log_.end();
  bool asked = false;
  call_kind kind = call_kind::list;
  if (conn.sync->asking == sync_state::ask::list) {
    asked = ports_.read(call, conn.user->tenant,
                        actors::positions_query{conn.user->tenant, conn.user->user});
  } else if (conn.sync->asking == sync_state::ask::check) {
    kind = call_kind::check;
    actors::check_query q{conn.user->tenant, conn.user->user, {}};
    for (const auto& p : conn.sync->frame.rooms) q.rooms.push_back(p.room ? *p.room : room_id{});
    asked = ports_.read(call, conn.user->tenant, std::move(q));
  } else {
    return;
  }
  if (asked) {
    calls_.emplace(call, call_target{kind, c, conn.uses, position, {}, {}});
  } else {
    ++counters_.reads_refused;
    retry_.push_back({true, c, conn.uses});
  }
}

void subscriptions::sync(connection_ref c, const reply_refs& refs, sync_frame frame_in) {
  auto* conn = find(c);
  if (conn == nullptr) return;
  if (frame_in.rooms.size() > options_.max_subscriptions) {
    reply_error(c, refs, invalid("rooms", "too many rooms in one frame"));
    return;
  }
  if (!conn->sync) {
    conn->sync = std::make_unique<sync_state>();
    conn->sync->next.push_back({refs, std::move(frame_in)});
    begin_sync(by_ref_.at(c));
    return;
  }
  if (conn->sync->next.size() >= sync_requests_max) {
    reply_error(c, refs, unavailable("too many sync frames wait", retry_soon));
    return;
  }
  conn->sync->next.push_back({refs, std::move(frame_in)});
}

/// Takes the next waiting request, or ends.
void subscriptions::begin_sync(slot c) {
  while (true) {
    auto& conn = conns_[c];
    if (conn.sync->next.empty()) {
      conn.sync.reset();
      return;
    }
    auto request = std::move(conn.sync->next.front());
    auto rest = std::move(conn.sync->next);
    rest.pop_front();
    conn.sync = std::make_unique<sync_state>();
    conn.sync->next = std::move(rest);
    const bool live_already =
        std::any_of(request.frame.rooms.begin(), request.frame.rooms.end(), [&](const auto& p) {
          const auto r = p.room ? find_room({conn.user->tenant, *p.room}) : no_slot;
          return r != no_slot && find_sub(conn, r) != no_slot;
        });
    if (live_already) {
      reply_error(
          conn.ref, request.refs,
          error{error_code::conflict, "a room of it is live on this connection already", "rooms"});
      continue;
    }
    if (conn.subs.size() + request.frame.rooms.size() > options_.max_subscriptions) {
      reply_error(conn.ref, request.refs,
                  beyond("max_subscriptions",
                         {error_code::conflict, "too many rooms on this connection", "rooms"}));
      continue;
    }
    conn.sync->refs = std::move(request.refs);
    conn.sync->frame = std::move(request.frame);
    if (conn.sync->frame.rest_live) {
      conn.awaiting_list = true;
      conn.lost_rooms.clear();
      conn.sync->asking = sync_state::ask::list;
      ask(c);
    } else if (!conn.sync->frame.rooms.empty()) {
      conn.sync->asking = sync_state::ask::check;
      ask(c);
    } else {
      make_due_connection(c);
    }
    return;
  }
}

void subscriptions::on_list(slot c, publish_log::position log_position,
                            const actors::read_result& answer) {
  auto& conn = conns_[c];
  if (!conn.sync || conn.sync->asking != sync_state::ask::list) return;
  const auto* all = std::get_if<store::positions>(&answer);
  if (all == nullptr) {
    retry_.push_back({true, c, conn.uses});  // the disk can't be read now; nothing is lost by waiting
    return;
  }
  if (!log_.remembers(log_position)) {
    ++counters_.list_overflows;
    ask(c);
    return;
  }
  conn.sync->asking = sync_state::ask::nothing;
  static const bool subscribe_before_register = planted_defect("subscribe_before_register");
  if (conn.sync->automatic) {
    plan_automatic(c, *all);
  } else {
    std::unordered_map<room_id, const store::room_position*> by_id;
    for (const auto& p : all->rooms) by_id.emplace(p.room, &p);
    std::vector<std::optional<store::room_position>> found;
    for (const auto& p : conn.sync->frame.rooms) {
      const auto it = p.room ? by_id.find(*p.room) : by_id.end();
      found.push_back(it == by_id.end() ? std::nullopt : std::optional{*it->second});
    }
    plan_manual(c, found, all);
    conns_[c].goes_live = true;
  }
  conns_[c].list_commit = all->snapshot;
  conns_[c].awaiting_list = false;
  if (!subscribe_before_register) replay(c, log_position, all->snapshot, nullptr);
  conns_[c].lost_rooms.clear();
  make_due_connection(c);
}

/// Never partial but silent (SPEC 2.9): `room`, or what a list has left, would be one too many.
void subscriptions::say_not_live(connection_ref c, const std::string& room) {
  reply_error(c, {{}, {}, room},
              beyond("max_subscriptions",
                     {error_code::conflict,
                      room.empty() ? "too many rooms: the rest is not live on this connection"
                                   : "too many rooms: this one is not live on this connection"}));
}

void subscriptions::plan_automatic(slot c, const store::positions& all) {
  const auto tenant = conns_[c].user->tenant;
  conns_[c].sync->notifications = all.notifications;
  std::vector<std::pair<slot, slot>> known = conns_[c].subs;  // subscribed by hand meanwhile
  for (const auto& p : all.rooms) {
    if (conns_[c].subs.size() >= options_.max_subscriptions) {
      say_not_live(conns_[c].ref, {});
      break;
    }
    if (removed_before(conns_[c], {tenant, p.room}, p.last_seq)) continue;
    const auto r = room_for({tenant, p.room}, p.no);
    if (std::any_of(known.begin(), known.end(), [&](const auto& k) { return k.first == r; }))
      continue;
    rooms_[r].first_seq = later(rooms_[r].first_seq, p.first_seq);
    static const bool cursor_off_by_one = planted_defect("cursor_off_by_one");
    const auto from = cursor_off_by_one ? std::min(p.last_ack.next(), p.last_seq) : p.last_ack;
    const auto s = add_sub(c, r, from, p.last_seq, true);
    subs_[s].held = true;
    auto& sync = *conns_[c].sync;
    sync.start.emplace_back(p.room, p.last_ack);
    sync.items.push_back({p.room.id.to_string(), std::nullopt, s, subs_[s].uses, {}});
    ++sync.rooms;
  }
  sort_subs(c);
}

std::vector<room_key> subscriptions::plan_manual(
    slot c, const std::vector<std::optional<store::room_position>>& found,
    const store::positions* all) {
  const auto tenant = conns_[c].user->tenant;
  auto& sync = *conns_[c].sync;
  std::vector<room_key> added;
  const bool epoch_agrees = sync.frame.epoch && *sync.frame.epoch == options_.epoch.value;
  std::unordered_set<room_id> listed;
  for (std::size_t at = 0; at < found.size(); ++at) {
    const auto& asked = sync.frame.rooms[at];
    ++sync.rooms;
    if (asked.room) listed.insert(*asked.room);
    const auto known = asked.room ? find_room({tenant, *asked.room}) : no_slot;
    if (const auto live = known == no_slot ? no_slot : find_sub(conns_[c], known); live != no_slot) {
      // Subscribed or entered while this was being checked: it goes on from where it is.
      sync.items.push_back({asked.text, asked.after ? sync_outcome::gap : sync_outcome::live, live,
                            subs_[live].uses, asked.after.value_or(subs_[live].sent)});
      continue;
    }
    if (!asked.room || !found[at] ||
        removed_before(conns_[c], {tenant, *asked.room}, found[at]->last_seq) ||
        conns_[c].subs.size() >= options_.max_subscriptions) {
      sync.items.push_back({asked.text, sync_outcome::gone, no_slot, 0, {}});
      continue;
    }
    const auto& p = *found[at];
    const room_key key{tenant, p.room};
    const auto r = room_for(key, p.no);
    rooms_[r].first_seq = later(rooms_[r].first_seq, p.first_seq);
    std::optional<sync_outcome> outcome;
    auto from = asked.after.value_or(p.last_seq);
    if (!asked.after) {
      outcome = sync_outcome::live;
    } else if (from > p.last_seq || (from.value > 0 && !epoch_agrees)) {
      outcome = sync_outcome::reset;
      from = p.last_seq;
    }
    const auto s = add_sub(c, r, from, p.last_seq);
    subs_[s].held = true;
    sync.items.push_back({asked.text, outcome, s, subs_[s].uses, from});
    added.push_back(key);
  }
  if (all != nullptr) {
    for (const auto& p : all->rooms) {
      const room_key key{tenant, p.room};
      const auto known = find_room(key);
      if (listed.contains(p.room) || removed_before(conns_[c], key, p.last_seq) ||
          (known != no_slot && find_sub(conns_[c], known) != no_slot)) {
        continue;
      }
      if (conns_[c].subs.size() >= options_.max_subscriptions) {
        say_not_live(conns_[c].ref, {});
        break;
      }
      const auto r = room_for(key, p.no);
      ++sync.rooms;
      rooms_[r].first_seq = later(rooms_[r].first_seq, p.first_seq);
      add_sub(c, r, p.last_seq, p.last_seq);
    }
  }
  return added;
}

void subscriptions::on_check(slot c, publish_log::position log_position,
                             const actors::read_result& answer) {
  auto& conn = conns_[c];
  if (!conn.sync || conn.sync->asking != sync_state::ask::check) return;
  const auto* checked = std::get_if<store::checked_rooms>(&answer);
  if (checked == nullptr) {
    retry_.push_back({true, c, conn.uses});
    return;
  }
  if (!log_.remembers(log_position)) {
    ++counters_.list_overflows;
    ask(c);
    return;
  }
  if (entered_since(conn, log_position, *checked)) {
    ask(c);
    return;
  }
  conn.sync->asking = sync_state::ask::nothing;
  const auto added = plan_manual(c, checked->rooms, nullptr);
  replay(c, log_position, checked->snapshot, &added);
  make_due_connection(c);
}

bool subscriptions::state_outcome(slot c, const sync_complete_info& s) {
  if (try_send(c, frame([&](std::string& out) { append_sync_complete(out, s); }))) {
    ++counters_.outcomes[static_cast<std::size_t>(s.outcome)];
    return true;
  }
  conns_[c].sync->blocked = true;
  return false;
}

void subscriptions::step_sync(slot c) {
  for (std::size_t steps = 0; steps < sync_steps_per_pass; ++steps) {
    auto& sync = *conns_[c].sync;
    if (sync.asking != sync_state::ask::nothing || sync.blocked) return;
    if (!sync.start_done) {
      const auto n = std::min(limits::sync_start_max_rooms, sync.start.size() - sync.start_sent);
      const auto part = std::span{sync.start}.subspan(sync.start_sent, n);
      if (!try_send(c, frame([&](std::string& out) { append_sync_start(out, part); }))) {
        sync.blocked = true;
        return;
      }
      sync.start_sent += n;
      if (sync.start_sent == sync.start.size()) {
        sync.start_done = true;
        sync.start = {};
      }
      continue;
    }
    if (sync.items.empty()) {
      if (!try_send(c, frame([&](std::string& out) {
                      append_sync_done(out, sync.refs.request_id, sync.rooms);
                    }))) {
        sync.blocked = true;
        return;
      }
      if (sync.automatic) ports_.synced(conns_[c].ref, sync.notifications);
      begin_sync(c);
      return;
    }
    const auto& item = sync.items.front();
    const bool valid = item.sub != no_slot && subs_[item.sub].uses == item.uses;
    if (sync.active) {
      if (!sync.reached) return;  // its entries are on their way
      if (!sync.stated) {
        const bool gone =
            !valid ||
            (subs_[item.sub].sent >= subs_[item.sub].until && subs_[item.sub].until < sync.target) ||
            (valid && subs_[item.sub].gone);
        sync_complete_info outcome{.room = item.room,
                                   .outcome = gone ? sync_outcome::gone : sync_outcome::recovered,
                                   .seq = gone ? std::nullopt : std::optional{sync.target}};
        if (!state_outcome(c, outcome)) return;
        if (gone && valid) nothing_more(item.sub);
      }
    } else if (item.stated_first || !valid) {
      sync_complete_info info{.room = item.room, .outcome = sync_outcome::gone};
      if (valid) {
        const auto sent = subs_[item.sub].sent;
        info.outcome = *item.stated_first;
        if (info.outcome == sync_outcome::reset) {
          info.seq = item.at;
        } else if (info.outcome != sync_outcome::gone) {
          info.seq = sent;
        }
        if (info.outcome == sync_outcome::gap && item.at < sent) {
          info.from_seq = item.at.next();
          info.to_seq = sent;
        } else if (info.outcome == sync_outcome::gap) {
          info.outcome = sync_outcome::recovered;
        }
      }
      if (!state_outcome(c, info)) return;
    } else {
      auto& sub = subs_[item.sub];
      const auto& room = rooms_[sub.room];
      sync.target = std::max(sub.sent, reach(sub));
      const auto missing = sync.target.value - sub.sent.value;
      const bool truncated = room.first_seq.value > sub.sent.value + 1 && missing > 0;
      sync.stated = false;
      if (missing > static_cast<std::int64_t>(options_.sync_max_events) || truncated) {
        const auto to = std::min(
            sync.target,
            room_seq{std::max(sync.target.value - static_cast<std::int64_t>(options_.sync_max_events),
                              room.first_seq.value - 1)});
        sync_complete_info gap{.room = item.room,
                               .outcome = sync_outcome::gap,
                               .seq = to,
                               .from_seq = sub.sent.next(),
                               .to_seq = to,
                               .truncated = truncated};
        if (!state_outcome(c, gap)) return;
        sub.sent = to;
        sync.stated = true;
      }
      sync.active = true;
      sync.reached = sub.sent >= sync.target;
      sub.syncing = true;
      if (!sync.reached) {
        sub.held = false;
        make_due(item.sub);
      }
      continue;
    }
    // The item is over: its subscription is live from here.
    if (valid) {
      const auto s = item.sub;
      subs_[s].held = false;
      subs_[s].syncing = false;
      sync.active = false;
      sync.items.pop_front();
      make_due(s);
    } else {
      sync.active = false;
      sync.items.pop_front();
    }
  }
  make_due_connection(c);
}

// ---- subscribe, unsubscribe -----------------------------------------------------------------------------------------

void subscriptions::subscribe(connection_ref c, const reply_refs& refs, const room_id& room) {
  auto* conn = find(c);
  if (conn == nullptr) return;
  const auto index = by_ref_.at(c);
  const auto r = find_room({conn->user->tenant, room});
  if (const auto s = r == no_slot ? no_slot : find_sub(*conn, r); s != no_slot) {
    confirm(c, refs, room, s);
    return;
  }
  if (conn->subs.size() >= options_.max_subscriptions) {
    reply_error(c, refs,
                beyond("max_subscriptions",
                       {error_code::conflict, "too many rooms on this connection", "room_id"}));
    return;
  }
  const auto call = ++last_call_;
  if (!ports_.read(call, conn->user->tenant,
                   actors::check_query{conn->user->tenant, conn->user->user, {room}})) {
    ++counters_.reads_refused;
    reply_error(c, refs, unavailable("the readers are busy", retry_soon));
    return;
  }
  calls_.emplace(call, call_target{call_kind::subscribe, index, conn->uses, log_.end(), refs, room});
}

/// There is a subscription already. One that ends is no more what was asked for: whatever comes after it (a new
/// membership, or none) is seen when it has gone.
void subscriptions::confirm(connection_ref c, const reply_refs& refs, const room_id& room, slot s) {
  if (subs_[s].until != never) {
    reply_error(c, refs, unavailable("an earlier membership is still being sent", retry_soon));
    return;
  }
  ports_.send(c, frame([&](std::string& out) { append_subscribed(out, refs, room, subs_[s].sent); }));
}

void subscriptions::on_subscribed(slot c, const call_target& t, const actors::read_result& answer) {
  const auto ref = conns_[c].ref;
  const auto* checked = std::get_if<store::checked_rooms>(&answer);
  if (checked == nullptr || !log_.remembers(t.log_position)) {
    if (checked != nullptr) ++counters_.list_overflows;
    reply_error(ref, t.refs, unavailable("the room could not be read", retry_soon));
    return;
  }
  const auto& found = checked->rooms.front();
  if (!found) {
    reply_error(ref, t.refs, not_found("room"));
    return;
  }
  const room_key key{conns_[c].user->tenant, t.room};
  const auto r = room_for(key, found->no);
  auto s = find_sub(conns_[c], r);
  if (s == no_slot) {
    rooms_[r].first_seq = later(rooms_[r].first_seq, found->first_seq);
    s = add_sub(c, r, found->last_seq, found->last_seq);
    ports_.send(
        ref, frame([&](std::string& out) { append_subscribed(out, t.refs, t.room, subs_[s].sent); }));
    const std::vector<room_key> only{key};
    replay(c, t.log_position, checked->snapshot, &only);
    make_due(s);
  } else {
    confirm(ref, t.refs, t.room, s);
  }
}

void subscriptions::unsubscribe(connection_ref c, const reply_refs& refs, const room_id& room) {
  auto* conn = find(c);
  if (conn == nullptr) return;
  if (conn->sync && conn->sync->asking == sync_state::ask::list) {
    // What the list makes live is not known yet; this came later and must not be undone by it.
    reply_error(c, refs, unavailable("the room list is being read", retry_soon));
    return;
  }
  const auto r = find_room({conn->user->tenant, room});
  if (const auto s = r == no_slot ? no_slot : find_sub(*conn, r); s != no_slot) {
    // Also one that was subscribed by hand and is named by a sync whose outcome for it is still to come.
    const auto is_named = [&] {
      if (!conn->sync) return false;
      const auto& sync = *conn->sync;
      return std::any_of(sync.items.begin(), sync.items.end(),
                         [&](const auto& item) { return item.sub == s; }) ||
             (sync.asking == sync_state::ask::check &&
              std::any_of(sync.frame.rooms.begin(), sync.frame.rooms.end(),
                          [&](const auto& p) { return p.room == room; }));
    };
    if (subs_[s].held || subs_[s].syncing || is_named()) {
      reply_error(
          c, refs,
          error{error_code::conflict, "the room is being synced on this connection", "room_id"});
      return;
    }
    // Its entries are not wanted any more; that the user entered or left the room still informs.
    const auto removed = [&] {
      ports_.send(c, frame([&](std::string& out) { append_room_removed(out, room); }));
    };
    const auto& sub = subs_[s];
    if (sub.announcing) ports_.send(c, announces_.at(s));
    if (sub.until != never && !sub.told_only) removed();
    if (sub.has_stints) {
      for (const auto& later_one : stints_.at(s)) {
        ports_.send(c, later_one.announce);
        if (later_one.until != never) removed();
      }
    }
    drop_sub(s);
  }
  ports_.send(c, frame([&](std::string& out) { append_ok(out, refs); }));
}

void subscriptions::check_invariants() const {
  for (slot s = 0; s < subs_.size(); ++s) {
    const auto& sub = subs_[s];
    if (sub.conn == no_slot) continue;
    const auto& room = rooms_[sub.room];
    PARLEY_ASSERT(room.used && room.subs[sub.in_room] == s);
    PARLEY_ASSERT(find_sub(conns_[sub.conn], sub.room) == s);
    PARLEY_ASSERT(sub.sent <= std::max(room.head, sub.base));
    // No lost wake-up: who lags is due, held, waits for a page, is blocked or waits for a retry.
    const bool lags = sub.announcing || sub.sent < reach(sub) || sub.sent >= sub.until;
    PARLEY_ASSERT(!lags || sub.queued || sub.held || sub.page_pending || sub.blocked || sub.retry);
    PARLEY_ASSERT(!sub.has_stints || !stints_.at(s).empty());
  }
  std::size_t bytes = 0;
  for (const auto& room : rooms_) {
    std::size_t own = 0;
    for (const auto& f : room.ring) own += f->bytes.size();
    own += room.edits.size() * ring_edit_bytes;
    PARLEY_ASSERT(own == room.ring_bytes);
    PARLEY_ASSERT(room.edits.empty() ||
                  (room.edits.back()->seq <= room.head &&
                   room.edits.front()->seq.value >
                       room.head.value - static_cast<std::int64_t>(room.ring.size())));
    const auto reading = std::count_if(room.subs.begin(), room.subs.end(),
                                       [&](slot s) { return subs_[s].page_pending; });
    PARLEY_ASSERT(static_cast<std::size_t>(reading) == room.pages);
    PARLEY_ASSERT(room.rewrites.size() <= limits::page_rewrites_max);
    std::size_t rewrites_bytes = 0;
    for (const auto& r : room.rewrites) rewrites_bytes += shown_bytes(r);
    PARLEY_ASSERT(rewrites_bytes == room.rewrites_bytes);
    PARLEY_ASSERT(room.rewrites.empty() || rewrites_bytes <= limits::page_rewrites_max_bytes +
                                                                 shown_bytes(room.rewrites.back()));
    PARLEY_ASSERT(room.pages > 0 || room.rewrites.empty());
    bytes += own;
  }
  PARLEY_ASSERT(bytes == ring_bytes_);
  PARLEY_ASSERT(log_.size() <= limits::publish_log_entries);
}

}  // namespace parley::net
