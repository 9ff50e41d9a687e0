#include "actors/member_lists.hpp"

#include "protocol/assert.hpp"
#include "protocol/server_frame.hpp"

#include <algorithm>
#include <utility>

namespace parley::actors {
namespace {

constexpr std::size_t reading_max = 2;
/// A list of so many is begun each `pace_of_them`; of fewer, the sooner.
constexpr std::int64_t many_members = 100'000;
constexpr std::chrono::milliseconds pace_of_them{10'000};
/// Later than that, too many will have acked since.
constexpr std::chrono::seconds good_for{60};

std::size_t size_of(const store::acked_member& m) {
  // What fits into the string itself takes nothing beside it.
  const auto text = m.user.value.capacity();
  return sizeof(m) + (text > std::string{}.capacity() ? text + 1 : 0);
}

}  // namespace

const std::vector<store::acked_member>* member_lists::find(tenant_no tenant, room_no room,
                                                           utc_time due, mono_time now) {
  auto& l = lists_[room];
  l.tenant = tenant;
  if (l.complete && l.begun >= due && now - l.begun_at < good_for) {
    l.used = ++stamp_;
    return &l.members;
  }
  if (!l.wanted) {
    l.wanted = true;
    ++wanted_;
  }
  return nullptr;
}

std::optional<member_lists::slice_read> member_lists::next(mono_time now, utc_time utc) {
  if (wanted_ == 0) return std::nullopt;
  for (auto& [room, l] : lists_) {
    if (!l.wanted || l.slice_under_way) continue;
    if (!l.reading) {
      if (reading_ >= reading_max || now < l.next_begin) continue;
      drop(l);
      l.reading = true;
      ++reading_;
      l.begun = utc;
      l.begun_at = now;
      l.after = {};
    }
    l.slice_under_way = true;
    return slice_read{l.tenant, {room, l.after, slice_}};
  }
  return std::nullopt;
}

bool member_lists::on_slice(room_no room, const store::acked_members& slice, mono_time now) {
  auto& l = lists_.at(room);
  PARLEY_ASSERT(l.slice_under_way);
  l.slice_under_way = false;
  for (const auto& m : slice.members) {
    l.members.push_back(m);
    l.bytes += size_of(l.members.back());
    bytes_ += size_of(l.members.back());
  }
  l.used = ++stamp_;
  make_room_beside(room);
  if (slice.next) {
    l.after = *slice.next;
    return false;
  }
  l.reading = false;
  --reading_;
  l.wanted = false;
  --wanted_;
  l.complete = true;
  const auto members = static_cast<std::int64_t>(l.members.size());
  l.next_begin = l.begun_at + pace_of_them * members / many_members;
  tick(now);
  return true;
}

void member_lists::failed(room_no room) { lists_.at(room).slice_under_way = false; }

void member_lists::tick(mono_time now) {
  for (auto it = lists_.begin(); it != lists_.end();) {
    auto& l = it->second;
    if (l.wanted || now - l.begun_at < good_for || now < l.next_begin) {
      ++it;
      continue;
    }
    drop(l);
    it = lists_.erase(it);
  }
}

void member_lists::drop(list& l) {
  bytes_ -= l.bytes;
  l.bytes = 0;
  l.members = {};
  l.complete = false;
}

void member_lists::make_room_beside(room_no newest) {
  while (bytes_ > max_bytes_) {
    list* oldest = nullptr;
    for (auto& [room, l] : lists_) {
      if (room == newest || !l.complete || (oldest != nullptr && oldest->used < l.used)) continue;
      oldest = &l;
    }
    if (oldest == nullptr) return;
    drop(*oldest);
  }
}

std::string recipients_of(const std::vector<store::acked_member>& members, room_seq message,
                          const user_id& sender) {
  std::string out;
  for (const auto& m : members) {
    if (m.joined_seq >= message || m.last_ack >= message || m.user == sender) continue;
    if (!out.empty()) out += ',';
    append_json_string(out, m.user.view());
  }
  return out;
}

}  // namespace parley::actors
