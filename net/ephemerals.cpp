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
      presence_left_(options.presence_frames_per_s) {}

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
  audience_.clear();
  bool groups_left_out = false;
  for (std::size_t at = 0; at < m->rooms.size(); ++at) {
    // The sum over rooms counts a connection once a room: looking costs, too.
    if (at >= m->dms && audience_.size() >= presence_left_) {
      groups_left_out = true;
      break;
    }
    add_audience({m->user.tenant, m->rooms[at]}, m->user.user);
  }
  if (groups_left_out) ++counters_.dropped_budget;
  if (audience_.empty()) return;
  // Each connection once, in however many rooms they meet.
  std::sort(audience_.begin(), audience_.end(),
            [](const auto& a, const auto& b) { return a.connection < b.connection; });
  audience_.erase(
      std::unique(audience_.begin(), audience_.end(),
                  [](const auto& a, const auto& b) { return a.connection == b.connection; }),
      audience_.end());
  const auto frames = send_to_audience(frame([&](std::string& out) {
    append_presence_update(out, m->user.user.view(), actors::to_text(m->status), m->last_seen);
  }));
  presence_left_ -= std::min(presence_left_, frames);
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
  if (ticks_ % ticks_per_second == 0) presence_left_ = options_.presence_frames_per_s;
}

}  // namespace parley::net
