#include "tests/sim/witness.hpp"

#include "protocol/server_frame.hpp"

#include <algorithm>
#include <utility>

namespace parley::sim {

const std::string& expected_frames::of(const stored_room& room, room_seq seq, std::size_t changes) {
  auto& text = known_[{room.no, seq, changes}];
  if (text.empty()) append_entry(text, room.info.id, room.shown(seq, changes));
  return text;
}

const std::string& expected_frames::at(const stored_room& room, room_seq seq, commit_no snapshot) {
  return of(room, seq, room.changes_seen(seq, snapshot));
}

bool expected_frames::has(const stored_room& room, room_seq seq, const std::string& text,
                          commit_no since, commit_no until) {
  // An entry of one commit with a later change of its message is never shown without it.
  const auto first = room.changes_seen(seq, std::max(since, room.at(seq).commit));
  for (auto changes = room.changes_seen(seq, until) + 1; changes-- > first;) {
    if (of(room, seq, changes) == text) return true;
  }
  return false;
}

witness::witness(const model_store& store, expected_frames& expected, user_key user, bool automatic,
                 std::size_t max_subscriptions)
    : store_(store),
      expected_(expected),
      user_(std::move(user)),
      automatic_(automatic),
      max_subscriptions_(max_subscriptions),
      goes_live_(automatic) {}

// ---- what the client says -------------------------------------------------------------------------------------------

void witness::asks(const std::string& request_id, std::size_t replies) {
  owed_[request_id] += replies;
}

void witness::asks_sync(const std::string& request_id, const sync_frame& frame) {
  asks(request_id);
  sync_request r;
  r.request_id = request_id;
  r.listed = frame.rooms.size();
  r.rest = frame.rest_live;
  r.epoch_agrees = frame.epoch == "epoch-1";
  r.last_seqs = last_seqs_of_user();
  r.asked_at = store_.committed()->commit;
  for (const auto& p : frame.rooms) {
    r.open.emplace(p.text, p.after ? std::optional{p.after->value} : std::nullopt);
  }
  syncs_.push_back(std::move(r));
}

void witness::asks_unsubscribe(const std::string& request_id, const room_id& room) {
  asks(request_id);
  unsubscribing_[request_id] = room.id.to_string();
}

// ---- what it is shown -----------------------------------------------------------------------------------------------

std::string witness::about(const seen_frame& f) const {
  return user_.user.value + " is shown " + f.text.substr(0, 240);
}

const stored_room* witness::room_of(const std::string& room) const {
  const auto id = room_id::parse(room);
  return id ? store_.committed()->find({user_.tenant, *id}) : nullptr;
}
bool witness::is_member(const stored_room& room) const {
  return !room.deleted && room.members.contains(user_.user);
}
bool witness::ever_left(const stored_room& room) const {
  for (std::int64_t seq = room.info.last_seq.value; seq > 0; --seq) {
    const auto* left = std::get_if<member_left_body>(&room.at(room_seq{seq}).e.body);
    if (left != nullptr &&
        std::find(left->users.begin(), left->users.end(), user_.user) != left->users.end()) {
      return true;
    }
  }
  return false;
}
std::map<std::string, std::int64_t> witness::last_seqs_of_user() const {
  std::map<std::string, std::int64_t> out;
  for (const auto& [no, room] : store_.committed()->rooms) {
    if (room->tenant == user_.tenant && is_member(*room)) {
      out.emplace(room->info.id.id.to_string(), room->info.last_seq.value);
    }
  }
  return out;
}

std::map<std::string, std::int64_t> witness::rooms_left_since(commit_no since) const {
  std::map<std::string, std::int64_t> out;
  for (const auto& [no, room] : store_.committed()->rooms) {
    if (room->tenant != user_.tenant) continue;
    const auto left = room->left.find(user_.user);
    const bool ended = (room->deleted && room->members.contains(user_.user)) ||
                       (left != room->left.end() && room->at(left->second).commit > since);
    if (!ended) continue;
    out.emplace(room->info.id.id.to_string(), room->info.last_seq.value);
  }
  return out;
}

void witness::sees(const seen_frame& f, commit_no told) {
  if (f.type == "hello") {
    expect(!greeted_, "SPEC 5 a second hello");
    greeted_ = true;
    return;
  }
  expect(greeted_, "SPEC 5 something comes before hello", [&] { return about(f); });
  if (f.is_entry) return entry_seen(f, told);
  if (f.type == "sync.start") return start_seen(f);
  if (f.type == "sync.complete") return outcome_seen(f);
  if (f.type == "sync.done") return done_seen(f);
  if (f.type == "room.added") return added_seen(f);
  if (f.type == "room.removed") return removed_seen(f);
  if (f.type == "ack.received" || f.type == "read.received") {
    receipt_seen(f);
    if (f.request_id.empty()) return;
  }
  if (f.type == "typing") return typing_seen(f);
  if (f.type == "presence.update") return presence_seen(f);
  if (f.type == "error" && f.request_id.empty()) {
    // Beyond max_subscriptions a room that entered, or all that a list has left, is not live; and that is said.
    expect(f.code == "CONFLICT" && max_subscriptions_ < 100, "SPEC 5 an error about nothing",
           [&] { return about(f); });
    incomplete_ = true;
    if (!f.room.empty()) rooms_[f.room] = room_view{};
    return;
  }
  replied(f);
}

/// Ephemerals come only where the room is live, or where it may be: the «rest» of a sync under way.
bool witness::may_read_live(const std::string& room) const {
  const auto it = rooms_.find(room);
  return (it != rooms_.end() && (it->second.live || it->second.perhaps)) ||
         (!syncs_.empty() && syncs_.front().rest);
}

bool witness::was_member(const stored_room& room, const std::string& user) {
  return room.members.contains(user_id{user}) || room.left.contains(user_id{user});
}

void witness::receipt_seen(const seen_frame& f) {
  const auto* room = room_of(f.room);
  expect(room != nullptr && was_member(*room, user_.user.value) && was_member(*room, f.user),
         "SPEC 2.7 a receipt of a foreign room", [&] { return about(f); });
  const auto cursor = room->cursors.find(user_id{f.user});
  expect(cursor != room->cursors.end() && cursor->second.last_ack.value >= *f.seq,
         "I14 a receipt is shown before its cursor is committed", [&] { return about(f); });
  if (f.user == user_.user.value) return;
  expect(f.request_id.empty(), "SPEC 2.5 another's receipt is a reply", [&] { return about(f); });
  expect(may_read_live(f.room), "SPEC 5 another's receipt of a room that is not live",
         [&] { return about(f); });
}

void witness::typing_seen(const seen_frame& f) {
  const auto* room = room_of(f.room);
  expect(room != nullptr && was_member(*room, f.user), "SPEC 2.7 typing in a foreign room",
         [&] { return about(f); });
  expect(f.user != user_.user.value, "SPEC 5 one's own typing is shown", [&] { return about(f); });
  expect(may_read_live(f.room), "SPEC 5 typing in a room that is not live", [&] { return about(f); });
}

void witness::presence_seen(const seen_frame& f) const {
  expect(f.user != user_.user.value, "SPEC 5 one's own presence is shown", [&] { return about(f); });
  const auto& rooms = store_.committed()->rooms;
  expect(std::any_of(rooms.begin(), rooms.end(),
                     [&](const auto& r) {
                       return r.second->tenant == user_.tenant &&
                              r.second->info.type != room_type::channel &&
                              was_member(*r.second, f.user) &&
                              was_member(*r.second, user_.user.value) &&
                              may_read_live(r.second->info.id.id.to_string());
                     }),
         "SPEC 2.7 presence of one with whom no dm or group is live", [&] { return about(f); });
}

void witness::entry_seen(const seen_frame& f, commit_no told) {
  const auto* room = room_of(f.room);
  expect(room != nullptr, "SPEC 2.7 an entry of a foreign room", [&] { return about(f); });
  expect(*f.seq <= room->info.last_seq.value, "I1 an entry is shown before its commit",
         [&] { return about(f); });
  const auto now = store_.committed()->commit;
  const room_seq seq{*f.seq};
  expect(expected_.has(*room, seq, f.text, commit_no{0}, now),
         "SPEC 2.2 an entry is shown otherwise than it is stored", [&] { return about(f); });
  expect(expected_.has(*room, seq, f.text, told, now),
         "SPEC 1 an entry shows what an edit or a delete has changed since",
         [&] { return about(f); });
  if (!room->members.contains(user_.user)) {
    const auto left = room->left.find(user_.user);
    expect(left != room->left.end(), "SPEC 2.7 an entry is shown to one who never was a member",
           [&] { return about(f); });
    expect(*f.seq <= left->second.value, "SPEC 1 an entry is shown after one's own member.left",
           [&] { return about(f); });
  }
  auto& view = rooms_[f.room];
  expect(!view.must_be_removed, "SPEC 1 something follows one's own member.left",
         [&] { return about(f); });
  if (!view.live) {
    // The first entry of a sync that has stated nothing yet, or of one of its «rest».
    bool expected = view.perhaps;
    bool named = false;
    if (!syncs_.empty()) {
      const auto& request = syncs_.front();
      if (const auto it = request.open.find(f.room); it != request.open.end() && it->second) {
        view.pos = *it->second;
        view.by_sync = true;
        named = true;
      } else if (request.rest && !view.perhaps) {
        const auto known = request.last_seqs.find(f.room);
        view.after_at_least = known == request.last_seqs.end() ? 0 : known->second;
        view.after_at_most = room->info.last_seq.value;
        expected = true;
      }
    }
    if (view.perhaps && !named && !goes_live_) view.after_at_most = room->info.last_seq.value;
    expected = expected || named;
    expect(expected, "SPEC 5 an entry of a room that is not live here", [&] { return about(f); });
    begins(view, room);
  }
  if (view.pos) {
    expect(*f.seq == *view.pos + 1, "I3 an entry is missing, twice or out of order",
           [&] { return about(f) + " after " + std::to_string(*view.pos); });
  } else {
    expect(*f.seq > view.after_at_least && *f.seq <= view.after_at_most + 1,
           "I3 a room that became live begins at the wrong place", [&] {
             return about(f) + " expected after " + std::to_string(view.after_at_least) + " … " +
                    std::to_string(view.after_at_most);
           });
  }
  view.pos = *f.seq;
  view.may_be_removed = false;
  if (f.type == "member.left" &&
      std::find(f.users.begin(), f.users.end(), user_.user.value) != f.users.end()) {
    // Of the membership that is served it is the end; in the history of one who came back it is an entry like others.
    view.must_be_removed = *f.seq > view.joined;
    view.may_be_removed = !view.must_be_removed;
  }
}

/// From here on the room is served; the snapshot that it started from was taken before.
void witness::begins(room_view& view, const stored_room* room) const {
  view.live = true;
  view.perhaps = false;
  view.joined = 0;
  for (std::int64_t seq = room->info.last_seq.value; seq > 0; --seq) {
    const auto* joined = std::get_if<member_joined_body>(&room->at(room_seq{seq}).e.body);
    if (joined == nullptr) continue;
    if (std::find(joined->users.begin(), joined->users.end(), user_.user) != joined->users.end()) {
      view.joined = seq;
      return;
    }
  }
}

void witness::start_seen(const seen_frame& f) {
  expect(automatic_ && !start_is_done_, "SPEC 5 a sync.start that nobody expects",
         [&] { return about(f); });
  for (const auto& [room, after] : f.start) {
    const auto* stored = room_of(room);
    expect(stored != nullptr &&
               (stored->members.contains(user_.user) || stored->left.contains(user_.user)),
           "SPEC 2.7 sync.start names a foreign room", [&] { return about(f); });
    expect(after <= stored->info.last_seq.value, "SPEC 1 sync.start is beyond the log",
           [&] { return about(f); });
    if (const auto it = acknowledged.find(room); it != acknowledged.end()) {
      expect(after >= it->second, "SPEC 1 a cursor went back", [&] { return about(f); });
    }
    auto& view = rooms_[room];
    expect(!view.must_be_removed && (!view.live || view.pos == after),
           "SPEC 5 sync.start names another place than the room is live at",
           [&] { return about(f); });
    informed_.erase(room);
    begins(view, stored);
    view.pos = after;
    left_by_choice_.erase(room);
    expect(started_.insert(room).second, "SPEC 5 sync.start names a room twice",
           [&] { return about(f); });
    ++started_count_;
  }
}

void witness::outcome_seen(const seen_frame& f) {
  auto& view = rooms_[f.room];
  // Whose outcome is it?
  std::optional<std::int64_t> asked;
  bool is_own = false;
  bool was_null = false;
  const sync_request* request = nullptr;
  if (started_.erase(f.room) == 1) {
    is_own = true;
    asked = view.pos;
  } else if (!syncs_.empty() && (!automatic_ || start_is_done_)) {
    auto& front = syncs_.front();
    // A live reader may be overtaken by retention while a sync waits that will be refused.
    const bool overtaken = f.outcome == "gap" && f.truncated && view.live && !view.by_sync;
    if (overtaken && front.open.contains(f.room)) front.overtaken.insert(f.room);
    if (const auto it = front.open.find(f.room); it != front.open.end() && !overtaken) {
      is_own = true;
      request = &front;
      asked = it->second;
      was_null = !it->second;
      front.open.erase(it);
    }
  }
  // One of the «rest» may be overtaken by retention before its first entry has told where it is live from.
  const bool of_the_rest =
      !is_own && !view.live && (view.perhaps || (!syncs_.empty() && syncs_.front().rest));
  if (!is_own) {
    expect(f.outcome == "gap" && f.truncated && (view.live || of_the_rest),
           "SPEC 5 a sync.complete that nobody asked for, or a second one", [&] { return about(f); });
  }
  const auto* room = room_of(f.room);
  if (f.outcome == "gone") {
    expect(!f.seq, "SPEC 5 a room that is gone has a position", [&] { return about(f); });
    expect(room == nullptr || !is_member(*room) || ever_left(*room) || max_subscriptions_ < 100 ||
               (request != nullptr && !request->last_seqs.contains(f.room)),
           "SPEC 5 gone, but it is a member's room", [&] { return about(f); });
    expect(!view.added_in_sync || max_subscriptions_ < 100,
           "SPEC 5 gone, but room.added has said that it was entered since",
           [&] { return about(f); });
    view.added_in_sync = false;
    if (!view.must_be_removed) view.live = false;
    left_by_choice_.insert(f.room);
    if (!syncs_.empty()) syncs_.front().unsubscribed.insert(f.room);
    return;
  }
  expect(room != nullptr && f.seq, "SPEC 2.7 an outcome of a foreign room", [&] { return about(f); });
  expect(*f.seq <= room->info.last_seq.value, "I1 an outcome is beyond the log",
         [&] { return about(f); });
  left_by_choice_.erase(f.room);
  informed_.erase(f.room);
  if (f.outcome == "recovered") {
    const auto pos = view.live ? view.pos : asked;
    expect(pos && *pos == *f.seq, "SPEC 2.9 recovered, but not all was sent",
           [&] { return about(f) + " after " + std::to_string(pos.value_or(-1)); });
    view.pos = pos;
  } else if (f.outcome == "live") {
    expect(was_null, "SPEC 5 live, but a position was given", [&] { return about(f); });
    expect(!view.live || view.pos == f.seq, "SPEC 5 live, but at another place",
           [&] { return about(f); });
    const auto known = request->last_seqs.find(f.room);
    // Subscribed by hand while its sync was checked, it goes on from there.
    expect(view.live || known == request->last_seqs.end() || *f.seq >= known->second,
           "SPEC 5 live begins in the past", [&] { return about(f); });
    view.pos = *f.seq;
  } else if (f.outcome == "gap") {
    expect(f.from_seq && f.to_seq && *f.to_seq >= *f.from_seq && *f.to_seq == *f.seq,
           "SPEC 5 a gap does not say what is missing", [&] { return about(f); });
    const auto pos = view.live ? view.pos : asked;
    // If it was subscribed by hand while its sync was checked, it goes on from there.
    const bool by_hand = view.live && asked && *f.from_seq == *asked + 1 && view.pos == *f.seq;
    if (of_the_rest && !view.perhaps) {
      const auto known = syncs_.front().last_seqs.find(f.room);
      view.after_at_least = known == syncs_.front().last_seqs.end() ? 0 : known->second;
      view.after_at_most = room->info.last_seq.value;
    }
    const bool begins_right =
        of_the_rest ? *f.from_seq > view.after_at_least && *f.from_seq <= view.after_at_most + 1
                    : by_hand || (pos && *f.from_seq == *pos + 1);
    expect(begins_right, "SPEC 5 a gap does not say what is missing",
           [&] { return about(f) + " after " + std::to_string(pos.value_or(-1)); });
    view.pos = *f.seq;
    // The end of the membership may lie in what retention has removed.
    for (auto seq = *f.from_seq; seq <= *f.to_seq && !view.may_be_removed; ++seq) {
      const auto* left = std::get_if<member_left_body>(&room->at(room_seq{seq}).e.body);
      view.may_be_removed = left != nullptr && std::find(left->users.begin(), left->users.end(),
                                                         user_.user) != left->users.end();
    }
  } else if (f.outcome == "reset") {
    expect(request != nullptr && asked && (!request->epoch_agrees || *asked > 0),
           "SPEC 5 a reset without a reason", [&] { return about(f); });
    expect(!view.live || view.pos == *f.seq, "SPEC 5 a reset of a room that is live",
           [&] { return about(f); });
    view.pos = *f.seq;
  } else {
    throw violation{"SPEC 5 an unknown outcome: " + about(f)};
  }
  if (!view.live) begins(view, room);
  view.by_sync = false;
}

void witness::done_seen(const seen_frame& f) {
  if (automatic_ && !start_is_done_) {
    expect(started_.empty(), "SPEC 2.9 sync.done before all rooms have an outcome",
           [&] { return about(f); });
    expect(static_cast<std::size_t>(f.rooms) == started_count_, "SPEC 5 sync.done counts otherwise",
           [&] { return about(f); });
    start_is_done_ = true;
    return;
  }
  expect(!syncs_.empty() && syncs_.front().request_id == f.request_id,
         "SPEC 5 a sync.done that nobody expects", [&] { return about(f); });
  const auto request = std::move(syncs_.front());
  syncs_.pop_front();
  // One that was subscribed by hand while its sync was checked is live before its outcome.
  expect(std::all_of(request.open.begin(), request.open.end(),
                     [&](const auto& o) { return request.overtaken.contains(o.first); }),
         "SPEC 2.9 sync.done before all rooms have an outcome", [&] { return about(f); });
  if (!request.rest) {
    expect(static_cast<std::size_t>(f.rooms) == request.listed, "SPEC 5 sync.done counts otherwise",
           [&] { return about(f); });
  } else {
    expect(static_cast<std::size_t>(f.rooms) >= request.listed, "SPEC 5 sync.done counts otherwise",
           [&] { return about(f); });
    goes_live_ = true;
    auto perhaps_live = request.last_seqs;
    perhaps_live.merge(last_seqs_of_user());
    perhaps_live.merge(rooms_left_since(request.asked_at));
    for (const auto& [room, ignored] : perhaps_live) {
      auto& view = rooms_[room];
      const auto known = request.last_seqs.find(room);
      if (view.live) informed_.erase(room);  // an entry of it has come: it is one of the rest
      if (view.live || view.must_be_removed || request.unsubscribed.contains(room)) continue;
      // Live from a place that is not said; or, if it was entered (again) meanwhile, room.added says it.
      if (!view.perhaps) view.after_at_least = known == request.last_seqs.end() ? 0 : known->second;
      view.after_at_most = room_of(room)->info.last_seq.value;
      view.perhaps = true;
      left_by_choice_.erase(room);
      informed_.erase(room);
    }
  }
  replied(f);
}

void witness::added_seen(const seen_frame& f) {
  const auto* room = room_of(f.room);
  expect(room != nullptr && f.seq, "SPEC 2.7 a foreign room is added", [&] { return about(f); });
  expect(*f.seq <= room->info.last_seq.value, "I1 a room is added before its commit",
         [&] { return about(f); });
  if (*f.seq > 0) {
    const auto* joined = std::get_if<member_joined_body>(&room->at(room_seq{*f.seq}).e.body);
    expect(joined != nullptr && std::find(joined->users.begin(), joined->users.end(), user_.user) !=
                                    joined->users.end(),
           "SPEC 5 room.added names an entry that is not one's own joining",
           [&] { return about(f); });
  }
  auto& view = rooms_[f.room];
  expect(!view.must_be_removed, "SPEC 1 room.added before room.removed", [&] { return about(f); });
  expect(!view.live || view.pos == f.seq, "SPEC 5 a room that is live is added",
         [&] { return about(f); });
  informed_[f.room] = true;
  left_by_choice_.erase(f.room);
  view.added_in_sync = !syncs_.empty() && syncs_.front().open.contains(f.room);
  if (goes_live_) {
    begins(view, room);
    view.joined = *f.seq;
    view.pos = *f.seq;
  } else if (!syncs_.empty() && syncs_.front().rest) {
    view.perhaps = true;
    view.after_at_least = view.after_at_most = *f.seq;  // the end of the sync may say more
  }
}

void witness::removed_seen(const seen_frame& f) {
  const auto* room = room_of(f.room);
  expect(room != nullptr, "SPEC 2.7 a foreign room is removed", [&] { return about(f); });
  expect(room->deleted || ever_left(*room), "SPEC 5 room.removed, but the membership never ended",
         [&] { return about(f); });
  auto& view = rooms_[f.room];
  const bool unsubscribing = std::any_of(unsubscribing_.begin(), unsubscribing_.end(),
                                         [&](const auto& u) { return u.second == f.room; });
  expect(!view.live || view.must_be_removed || view.may_be_removed || room->deleted || unsubscribing,
         "SPEC 1 room.removed before one's own member.left", [&] { return about(f); });
  view = room_view{};
  informed_[f.room] = false;
}

void witness::replied(const seen_frame& f) {
  expect(!f.request_id.empty(), "SPEC 2.5 a reply to nothing", [&] { return about(f); });
  const auto it = owed_.find(f.request_id);
  expect(it != owed_.end(), "SPEC 2.5 a second reply", [&] { return about(f); });
  if (--it->second == 0) owed_.erase(it);
  if (f.type == "error") {
    // A sync that was refused changes nothing.
    for (auto s = syncs_.begin(); s != syncs_.end(); ++s) {
      if (s->request_id != f.request_id) continue;
      expect(s->open.size() == s->listed, "SPEC 5 a refused sync has stated outcomes",
             [&] { return about(f); });
      syncs_.erase(s);
      break;
    }
    unsubscribing_.erase(f.request_id);
    return;
  }
  if (f.type == "subscribed") {
    const auto* room = room_of(f.room);
    expect(room != nullptr, "SPEC 2.7 a foreign room is subscribed", [&] { return about(f); });
    expect(*f.seq <= room->info.last_seq.value, "I1 subscribed beyond the log",
           [&] { return about(f); });
    auto& view = rooms_[f.room];
    informed_.erase(f.room);
    if (view.live && !view.must_be_removed) {
      expect(!view.pos || *view.pos == *f.seq, "SPEC 5 subscribed at another place than it is live",
             [&] { return about(f) + " after " + std::to_string(*view.pos); });
    } else {
      begins(view, room);
      view.pos = *f.seq;
      // Of a room whose sync's turn has not come it says where that stands: the outcome is still owed.
      if (!syncs_.empty()) {
        const auto& open = syncs_.front().open;
        const auto named = open.find(f.room);
        view.by_sync = named != open.end() && named->second == *f.seq;
      }
    }
    left_by_choice_.erase(f.room);
  } else if (const auto u = unsubscribing_.find(f.request_id); u != unsubscribing_.end()) {
    auto& view = rooms_[u->second];
    view = room_view{};
    left_by_choice_.insert(u->second);
    if (!syncs_.empty() && (!automatic_ || start_is_done_))
      syncs_.front().unsubscribed.insert(u->second);
    unsubscribing_.erase(u);
  }
}

bool witness::live(const std::string& room) const {
  const auto it = rooms_.find(room);
  return it != rooms_.end() && it->second.live;
}

void witness::at_rest() const {
  if (!greeted_) throw violation{"a connection was never greeted: " + user_.user.value};
  for (const auto& [id, replies] : owed_)
    throw violation{"SPEC 2.5 no reply to request " + id + " of " + user_.user.value};
  expect(syncs_.empty() && started_.empty() && (!automatic_ || start_is_done_),
         "SPEC 2.9 a sync did not end");
  for (const auto& [no, room] : store_.committed()->rooms) {
    if (room->tenant != user_.tenant) continue;
    const auto name = room->info.id.id.to_string();
    const auto it = rooms_.find(name);
    const bool is_live = it != rooms_.end() && (it->second.live || it->second.perhaps);
    const auto describe = [&] {
      return user_.user.value + " in room " + std::to_string(no.value) + " of last seq " +
             std::to_string(room->info.last_seq.value) + ", at " +
             (it == rooms_.end() || !it->second.pos ? std::string{"?"}
                                                    : std::to_string(*it->second.pos));
    };
    if (!is_member(*room)) {
      expect((!is_live || it->second.perhaps) && (it == rooms_.end() || !it->second.must_be_removed),
             "SPEC 5 a room stays live for one who is no member", describe);
      if (const auto known = informed_.find(name);
          known != informed_.end() && !room->deleted && !forgiven_.contains(name)) {
        expect(!known->second, "SPEC 5 room.removed never came", describe);
      }
      continue;
    }
    if (is_live && it->second.perhaps && incomplete_) continue;
    if (is_live) {
      const auto& view = it->second;
      const bool all = view.pos ? *view.pos == room->info.last_seq.value
                                : view.after_at_most >= room->info.last_seq.value;
      expect(all, "SPEC 2.6 a member's connection was not sent everything (lost wake-up)", describe);
    } else if (goes_live_ && !left_by_choice_.contains(name) && !incomplete_ &&
               !forgiven_.contains(name)) {
      throw violation{"SPEC 5 a member's room is not live: " + describe()};
    }
    if (const auto known = informed_.find(name);
        known != informed_.end() && !forgiven_.contains(name)) {
      expect(known->second, "SPEC 5 room.added never came", describe);
    }
  }
}

}  // namespace parley::sim
