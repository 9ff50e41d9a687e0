#include "actors/presence_events.hpp"

#include "protocol/hash.hpp"
#include "protocol/server_frame.hpp"

#include <chrono>
#include <cstring>
#include <string>
#include <utility>

namespace parley::actors {
namespace {

constexpr std::chrono::milliseconds gather{100};

/// Below 0, and the same after a restart: rows of a user that are on the disk already come first.
store::lane_no lane_of(const user_id& user) {
  const auto hash = hash128_of(user.view());
  std::uint64_t bits = 0;
  std::memcpy(&bits, hash.bytes.data(), sizeof bits);
  return store::lane_no{-1 - static_cast<std::int64_t>(bits & ((std::uint64_t{1} << 62U) - 1))};
}

store::outbox_row row_of(const user_presence& m) {
  store::outbox_row row;
  row.tenant = m.user.tenant;
  row.lane = lane_of(m.user.user);
  row.type = m.online ? event_type::user_online : event_type::user_offline;
  row.at = m.at;
  row.data = R"({"user_id":)";
  append_json_string(row.data, m.user.user.view());
  row.data += m.online ? R"(,"status":"online"})" : R"(,"status":"offline","last_seen":")";
  if (!m.online) row.data += to_rfc3339(m.at) + "\"}";
  return row;
}

}  // namespace

void presence_events::on(const user_presence& m, mono_time now) {
  if (const auto it = waiting_.find(m.user); it != waiting_.end()) {
    if (it->second.online == m.online) {
      it->second.at = m.at;
    } else {
      waiting_.erase(it);
    }
    return;
  }
  if (size() >= max_) {
    ++dropped_;
    return;
  }
  if (waiting_.empty()) since_ = now;
  waiting_.emplace(m.user, m);
}

std::optional<std::vector<store::outbox_row>> presence_events::take(mono_time now,
                                                                    std::size_t max_rows) {
  if (!taken_.empty()) {
    if (!std::exchange(again_, false)) return std::nullopt;
    return taken_;
  }
  if (waiting_.empty() || now - since_ < gather) return std::nullopt;
  while (!waiting_.empty() && taken_.size() < max_rows) {
    taken_.push_back(row_of(waiting_.begin()->second));
    waiting_.erase(waiting_.begin());
  }
  return taken_;
}

}  // namespace parley::actors
