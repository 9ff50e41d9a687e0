#include "net/ephemerals.hpp"

#include "protocol/server_frame.hpp"

#include <algorithm>
#include <utility>

namespace parley::net {

namespace {

constexpr std::uint32_t ticks_per_flush = 2;
constexpr std::uint32_t ticks_per_second = 10;

}  // namespace

ephemerals::ephemerals(const subscriptions& readers, ephemeral_ports& ports,
                       const ephemerals_options& options)
    : readers_(readers),
      ports_(ports),
      options_(options),
      presence_left_(static_cast<std::int64_t>(options.presence_frames_per_s / ticks_per_second)) {}

template <class Append>
frame_ptr ephemerals::frame(Append&& append) {
  scratch_.clear();
  append(scratch_);
  return make_text_frame(scratch_);
}

bool ephemerals::send(connection_ref c, const frame_ptr& f) {
  if (!ports_.keeps_up(c)) {
    ++counters_.dropped_behind;
    return false;
  }
  ports_.send_ephemeral(c, f);
  ++counters_.sent;
  return true;
}

void ephemerals::add_audience(const room_key& room, const user_id& user) {
  const auto before = audience_.size();
  readers_.live_in(room, audience_);
  audience_.erase(
      std::remove_if(audience_.begin() + static_cast<std::ptrdiff_t>(before), audience_.end(),
                     [&](const auto& reader) { return reader.user->user == user; }),
      audience_.end());
}

std::size_t ephemerals::send_to_audience(const frame_ptr& f) {
  for (const auto& reader : audience_) send(reader.connection, f);
  return audience_.size();
}

void ephemerals::on(const actors::typing_shown_ptr& m) {
  audience_.clear();
  add_audience(m->room, m->user);
  if (audience_.empty()) return;
  send_to_audience(
      frame([&](std::string& out) { append_typing(out, m->room.room, m->user.view(), m->start); }));
}

void ephemerals::on(const actors::presence_shown_ptr& m) {
  if (const auto it = presence_.find(m->user); it != presence_.end()) {
    // The latest wins, in its place; dms do not wait.
    it->second = m;
    show(*m, audience_of::dms);
    return;
  }
  if (presence_left_ > 0 && presence_.empty()) {
    show(*m, audience_of::all);
    return;
  }
  show(*m, audience_of::dms);
  if (m->rooms.size() == m->dms) return;
  if (presence_.size() >= options_.presence_waiting_max) {
    ++counters_.dropped_budget;
    return;
  }
  presence_.emplace(m->user, m);
  presence_in_order_.push_back(m->user);
}

void ephemerals::show(const actors::presence_shown& m, audience_of whom) {
  audience_.clear();
  for (std::size_t at = 0; at < m.dms; ++at)
    add_audience({m.user.tenant, m.rooms[at]}, m.user.user);
  const auto in_dms = audience_.size();
  for (std::size_t at = m.dms; whom != audience_of::dms && at < m.rooms.size(); ++at) {
    // The sum over rooms counts a connection once a room: looking costs, too.
    if (audience_.size() >= options_.presence_frames_per_s) {
      ++counters_.dropped_budget;
      break;
    }
    add_audience({m.user.tenant, m.rooms[at]}, m.user.user);
  }
  const auto by_connection = [](const auto& x, const auto& y) { return x.connection < y.connection; };
  const auto same = [](const auto& x, const auto& y) { return x.connection == y.connection; };
  if (whom == audience_of::groups_alone) {
    // Who has read it in a dm is not told again.
    std::vector<subscriptions::live_reader> told(
        audience_.begin(), audience_.begin() + static_cast<std::ptrdiff_t>(in_dms));
    std::sort(told.begin(), told.end(), by_connection);
    std::erase_if(audience_, [&](const auto& reader) {
      return std::binary_search(told.begin(), told.end(), reader, by_connection);
    });
  }
  if (audience_.empty()) return;
  // Each connection once, in however many rooms they meet.
  std::sort(audience_.begin(), audience_.end(), by_connection);
  audience_.erase(std::unique(audience_.begin(), audience_.end(), same), audience_.end());
  const auto frames = send_to_audience(frame([&](std::string& out) {
    append_presence_update(out, m.user.user.view(), actors::to_text(m.status), m.last_seen);
  }));
  presence_left_ -= static_cast<std::int64_t>(frames);
}

/// A slice of what waits: log entries go between two of them.
void ephemerals::flush_presence() {
  const auto slice = static_cast<std::int64_t>(options_.presence_frames_per_s / ticks_per_second);
  presence_left_ =
      std::min(slice, presence_left_ + slice);  // a big audience is paid for by later ones
  while (!presence_in_order_.empty() && presence_left_ > 0) {
    const auto user = std::move(presence_in_order_.front());
    presence_in_order_.pop_front();
    const auto waiting = presence_.extract(user);
    show(*waiting.mapped(), audience_of::groups_alone);
  }
}

void ephemerals::on(const actors::cursors_shown_ptr& m) {
  for (const auto& item : m->items) {
    receipt_key key{item.room, item.user};
    auto it = receipts_.find(key);
    if (it == receipts_.end()) {
      if (receipts_.size() >= options_.receipts_max) {
        ++counters_.dropped_full;
        continue;
      }
      receipts_in_order_.push_back(key);
      it = receipts_.emplace(std::move(key), receipt{}).first;
    }
    auto& seq = item.read ? it->second.read : it->second.ack;
    seq = std::max(seq, item.seq);
  }
}

void ephemerals::flush_receipts() {
  auto left = options_.receipt_frames_per_flush;
  while (!receipts_in_order_.empty() && left > 0) {
    const auto key = std::move(receipts_in_order_.front());
    receipts_in_order_.pop_front();
    const auto it = receipts_.find(key);
    const auto waiting = it->second;
    receipts_.erase(it);
    audience_.clear();
    add_audience(key.room, key.user);
    if (audience_.empty()) continue;
    const auto say = [&](bool read, room_seq seq) {
      const auto frames = send_to_audience(frame([&](std::string& out) {
        append_cursor_received(out, {}, read, key.room.room, seq, key.user.view());
      }));
      left -= std::min(left, frames);
    };
    // Reading acks: a read swallows the acks up to it (SPEC 5).
    if (waiting.ack > waiting.read) say(false, waiting.ack);
    if (waiting.read.value > 0) say(true, waiting.read);
  }
}

void ephemerals::tick() {
  ++ticks_;
  if (ticks_ % ticks_per_flush == 0) flush_receipts();
  flush_presence();
}

}  // namespace parley::net
