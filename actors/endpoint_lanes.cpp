#include "actors/endpoint_lanes.hpp"

#include "protocol/assert.hpp"

#include <algorithm>
#include <utility>

namespace parley::actors {
namespace {

// A lane asks for more when so few are left, and not while the disk has yet to hear of so many: a page would bring those.
constexpr std::size_t few_posts = 4;
constexpr std::size_t many_unconfirmed = 8;

void keep_earlier(std::optional<utc_time>& earliest, const std::optional<utc_time>& t) {
  if (t && (!earliest || *t < *earliest)) earliest = t;
}

}  // namespace

std::size_t endpoint_lanes::size_of(const outbox_post& post) {
  return sizeof(outbox_post) + post.head.size() + post.tail.size() + post.event_id.size();
}

void endpoint_lanes::take(outbox_posts page, mono_time now, std::size_t per_lane, bool cut) {
  for (auto at = page.items.begin(); at != page.items.end();) {
    const auto no = at->lane;
    const auto end =
        std::find_if(at, page.items.end(), [&](const auto& post) { return post.lane != no; });
    auto& l = lanes_[no];
    if (!l.closed) {
      l.more = static_cast<std::size_t>(end - at) >= per_lane || (cut && end == page.items.end());
      for (; at != end; ++at) {
        const key k{at->place, at->no};
        if (l.taken && k <= *l.taken) continue;
        if (l.posts.empty()) l.loaded_at = now;
        l.taken = k;
        ++posts_;
        bytes_ += size_of(*at);
        l.posts.push_back(std::move(*at));
      }
      make_ready(no, l);
    }
    at = end;
  }
}

void endpoint_lanes::make_ready(store::lane_no no, lane& l, bool at_front) {
  if (l.ready || l.in_flight || l.parked || l.closed || l.posts.empty()) return;
  l.ready = true;
  if (at_front) {
    ready_.push_front(no);
  } else {
    ready_.push_back(no);
  }
}

std::optional<store::lane_no> endpoint_lanes::next() {
  while (!ready_.empty()) {
    const auto no = ready_.front();
    ready_.pop_front();
    const auto it = lanes_.find(no);
    if (it == lanes_.end() || !it->second.ready) continue;
    it->second.ready = false;
    if (!it->second.posts.empty() && !it->second.in_flight) return no;
  }
  return std::nullopt;
}

const outbox_post& endpoint_lanes::first(store::lane_no lane) const {
  return lanes_.at(lane).posts.front();
}

void endpoint_lanes::sent(store::lane_no lane) {
  auto& l = lanes_.at(lane);
  PARLEY_ASSERT(!l.in_flight && !l.posts.empty());
  l.in_flight = true;
}

void endpoint_lanes::unpark(store::lane_no lane) {
  const auto it = lanes_.find(lane);
  if (it == lanes_.end() || !it->second.parked) return;
  it->second.parked = false;
  make_ready(lane, it->second);
}

void endpoint_lanes::settled(store::lane_no lane) {
  auto& l = lanes_.at(lane);
  PARLEY_ASSERT(!l.in_flight && !l.posts.empty());
  --posts_;
  bytes_ -= size_of(l.posts.front());
  l.posts.pop_front();
  ++l.unconfirmed;
  make_ready(lane, l);
  look_for_hunger(l);
}

void endpoint_lanes::drop_loaded(lane& l) {
  const std::size_t stays = l.in_flight ? 1 : 0;
  while (l.posts.size() > stays) {
    --posts_;
    bytes_ -= size_of(l.posts.back());
    l.posts.pop_back();
  }
  l.ready = false;
  l.parked = false;
  l.closed = true;
}

void endpoint_lanes::close(store::lane_no lane, std::optional<utc_time> again_at) {
  auto& l = lanes_.at(lane);
  drop_loaded(l);
  l.again_at = again_at;
}

void endpoint_lanes::close_all() {
  for (auto& [no, l] : lanes_) drop_loaded(l);
  ready_.clear();
}

bool endpoint_lanes::close_loaded_before(mono_time t) {
  bool any = false;
  for (auto& [no, l] : lanes_) {
    if (l.closed || l.posts.size() <= (l.in_flight ? 1U : 0U) || l.loaded_at >= t) continue;
    drop_loaded(l);
    any = true;
  }
  return any;
}

std::optional<utc_time> endpoint_lanes::confirmed(store::lane_no lane) {
  const auto it = lanes_.find(lane);
  if (it == lanes_.end()) return std::nullopt;
  auto& l = it->second;
  PARLEY_ASSERT(l.unconfirmed > 0);
  --l.unconfirmed;
  if (!l.closed) {
    look_for_hunger(l);
    return std::nullopt;
  }
  if (l.unconfirmed > 0 || l.in_flight) return std::nullopt;
  return l.again_at.value_or(utc_time{});
}

std::optional<utc_time> endpoint_lanes::forget() {
  std::optional<utc_time> again_at;
  for (auto it = lanes_.begin(); it != lanes_.end();) {
    const auto& l = it->second;
    if (!l.posts.empty() || l.unconfirmed > 0 || l.in_flight) {
      ++it;
      continue;
    }
    if (l.closed) keep_earlier(again_at, l.again_at);
    it = lanes_.erase(it);
  }
  return again_at;
}

void endpoint_lanes::look_for_hunger(const lane& l) {
  if (l.more && l.posts.size() <= few_posts && l.unconfirmed <= many_unconfirmed) hungry_ = true;
}

}  // namespace parley::actors
