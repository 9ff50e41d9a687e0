#include "bench/checker.hpp"

#include <algorithm>
#include <cstring>

namespace parley::bench {
namespace {

constexpr std::uint64_t odd_1 = 0x9e3779b97f4a7c15;
constexpr std::uint64_t odd_2 = 0xd6e8feb86659fd93;

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  // Two rounds of multiply and fold; enough that different ids collide only by chance.
  std::uint64_t x = (a ^ b) * odd_1;
  x ^= x >> 32;
  x *= odd_2;
  return x ^ x >> 29;
}

std::string text_of(std::uint64_t number) { return std::to_string(number); }

}  // namespace

std::uint64_t fingerprint(std::string_view text, std::uint64_t seed) {
  std::uint64_t hash = seed ^ text.size() * odd_2;
  while (text.size() >= sizeof hash) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data(), sizeof word);
    hash = mix(hash, word);
    text.remove_prefix(sizeof word);
  }
  std::uint64_t word = 0;
  if (!text.empty()) std::memcpy(&word, text.data(), text.size());
  hash = mix(hash, word + 1);
  return hash == 0 ? 1 : hash;
}

checker::checker(room_heads& heads, std::uint32_t first_sender, std::uint32_t senders)
    : heads_{heads},
      first_sender_{first_sender},
      ledgers_(senders),
      rooms_(heads.count()) {}

void checker::add_reader(std::uint32_t room) {
  if (rooms_[room].readers++ == 0) heads_.add_thread(room);
}

std::string checker::place(const reading& r) const {
  return "connection " + text_of(r.reader) + ", room " + heads_.name(r.room);
}

// The sync that starts a connection.

void checker::started(reading& r, std::uint64_t after_seq) {
  if (r.is_started && after_seq != r.position) {
    faults_.add(fault::sync, place(r) + ": starts after " + text_of(after_seq) + ", stood at " +
                                 text_of(r.position));
  }
  r.is_started = true;
  r.position = after_seq;
  r.here = after_seq;
}

void checker::resumed(reading& r, std::uint64_t after_seq) {
  if (!r.is_started) return started(r, after_seq);
  if (after_seq > r.position) {
    faults_.add(fault::sync, place(r) + ": resumes after " + text_of(after_seq) + ", stood at " +
                                 text_of(r.position));
    after_seq = r.position;  // what it leaves out shows as a hole
  } else if (after_seq < r.acked) {
    faults_.add(fault::sync, place(r) + ": resumes after " + text_of(after_seq) +
                                 ", but had acknowledged " + text_of(r.acked));
  }
  r.here = after_seq;
}

void checker::acked(reading& r, std::uint64_t seq) {
  if (seq > r.position) {
    faults_.add(fault::wrong_answer, place(r) + ": its cursor is called " + text_of(seq) +
                                         ", but it has not come beyond " + text_of(r.position));
  } else if (seq < r.acked) {
    faults_.add(fault::wrong_answer, place(r) + ": its cursor moved back from " + text_of(r.acked) +
                                         " to " + text_of(seq));
  } else {
    r.acked = seq;
  }
}

/// A stated gap: nobody will bring them, so the reader does not wait for them.
void checker::excuse(const reading& r, std::uint64_t from_seq, std::uint64_t to_seq) {
  room_log& room = rooms_[r.room];
  room.has_gaps = true;
  for (std::uint64_t seq = from_seq; seq <= to_seq && !room.is_given_up; ++seq) {
    if (log_entry* const e = entry_at(r.room, seq)) ++e->received;
  }
  release(r.room);
}

void checker::skipped(reading& r, std::uint64_t from_seq, std::uint64_t to_seq) {
  if (from_seq != r.here + 1 || to_seq < from_seq) {
    faults_.add(fault::sync, place(r) + ": a gap from " + text_of(from_seq) + " to " +
                                 text_of(to_seq) + " after " + text_of(r.here));
  }
  if (rooms_[r.room].is_loading && to_seq > r.position) {
    const std::uint64_t skipped = to_seq - r.position;
    ++gaps_;
    entries_in_gaps_ += skipped;
    if (!allows_gaps_) {
      faults_.add(fault::gap, place(r) + ": was told of a gap, " + text_of(skipped) +
                                  " entries up to " + text_of(to_seq));
    }
    excuse(r, r.position + 1, to_seq);
  }
  r.here = to_seq;
  r.position = std::max(r.position, to_seq);
}

void checker::synced(const reading& r, std::string_view outcome, std::optional<std::uint64_t> seq) {
  if (outcome != "recovered" && outcome != "live" && outcome != "gap") {
    faults_.add(fault::sync, place(r) + ": outcome " + std::string{outcome});
  } else if (!r.is_started) {
    faults_.add(fault::sync, place(r) + ": sync.complete without a known start");
  } else if (outcome == "recovered" && seq != r.here) {
    faults_.add(fault::sync, place(r) + ": recovered to " + (seq ? text_of(*seq) : "null") +
                                 ", but entries came up to " + text_of(r.here));
  } else if (outcome == "recovered" && r.here < r.position) {
    faults_.add(fault::sync, place(r) + ": " + std::string{outcome} + " at " + text_of(r.here) +
                                 ", but an earlier connection had come to " + text_of(r.position));
  }
}

void checker::begin_load(const reading& r) {
  room_log& room = rooms_[r.room];
  if (!room.is_loading) {
    room.is_loading = true;
    room.base = r.position + 1;
    room.chain = fingerprint("from", room.base);
    heads_.raise(r.room, r.position);
  } else if (r.position + 1 != room.base) {
    faults_.add(fault::sync, place(r) + ": synced to " + text_of(r.position) +
                                 ", another reader to " + text_of(room.base - 1));
  }
}

// Readers.

checker::log_entry* checker::entry_at(std::uint32_t index, std::uint64_t seq) {
  room_log& room = rooms_[index];
  if (!room.is_loading || room.is_given_up || seq < room.base) return nullptr;
  const std::uint64_t offset = seq - room.base;
  if (offset >= room.entries.size()) {
    if (offset >= room_log_max_entries) {
      faults_.add(fault::missing, "room " + heads_.name(index) + ": a reader stands before " +
                                      text_of(room.base) + " while others are at " + text_of(seq));
      room.is_given_up = true;
      room.entries.clear();
      return nullptr;
    }
    room.entries.resize(offset + 1);
  }
  return &room.entries[offset];
}

bool checker::fills_hole(const reading& r, std::uint64_t seq) {
  const auto holes = holes_.find({r.reader, r.room});
  return holes != holes_.end() && holes->second.erase(seq) != 0;
}

/// Moves the position.
checker::arrival checker::in_order(reading& r, std::uint64_t seq) {
  if (seq == r.here + 1 && r.is_started) [[likely]] {
    r.here = seq;
    if (seq > r.position) [[likely]] {
      r.position = seq;
      return arrival::fresh;
    }
    ++repeated_after_resume_;
    return fills_hole(r, seq) ? arrival::fresh : arrival::again;
  }
  if (!r.is_started) {
    faults_.add(fault::sync, place(r) + ": seq " + text_of(seq) + " before any start was told");
    r.is_started = true;
    r.position = r.here = seq;
    return arrival::fresh;
  }
  if (seq > r.here) {
    faults_.add(fault::hole, place(r) + ": after seq " + text_of(r.here) + " came " + text_of(seq));
    auto& holes = holes_[{r.reader, r.room}];
    for (std::uint64_t left = r.position + 1; left < seq && holes.size() < 1000; ++left) {
      holes.insert(left);
    }
    r.here = seq;
    if (seq <= r.position) return fills_hole(r, seq) ? arrival::fresh : arrival::again;
    r.position = seq;
    return arrival::fresh;
  }
  if (fills_hole(r, seq)) {
    faults_.add(fault::out_of_order,
                place(r) + ": seq " + text_of(seq) + " came after " + text_of(r.here));
    return arrival::fresh;
  }
  faults_.add(fault::repeat, place(r) + ": seq " + text_of(seq) + " came again");
  return arrival::wrong;
}

/// Whose send is this? Only the thread of its sender can tell.
void checker::match_send(log_entry& e, std::uint32_t room, std::uint64_t seq,
                         const message_stamp& stamp) {
  if (!is_local(stamp.sender)) return;
  send_ledger& ledger = ledgers_[stamp.sender - first_sender_];
  open_send* const send = ledger.find(stamp.number);
  if (send == nullptr) {
    if (ledger.settle_doubt(stamp.number)) return;
    faults_.add(fault::stored_twice,
                "room " + heads_.name(room) + ", seq " + text_of(seq) + ": message " +
                    text_of(stamp.number) + " of connection " + text_of(stamp.sender) +
                    " was answered before, with another seq or as not stored, or never sent");
  } else if (send->seen_seq != 0 && send->seen_seq != seq) {
    faults_.add(fault::stored_twice, "room " + heads_.name(room) + ": message " +
                                         text_of(stamp.number) + " of connection " +
                                         text_of(stamp.sender) + " has seq " +
                                         text_of(send->seen_seq) + " and " + text_of(seq));
  } else {
    send->seen_seq = seq;
    e.awaits_answer = true;
    if (send->room != room || send->due_ns != stamp.due_ns) {
      faults_.add(fault::wrong_message, "room " + heads_.name(room) + ", seq " + text_of(seq) +
                                            ": was sent to another room, or at another time");
    }
  }
}

void checker::first_seen(log_entry& e, std::uint32_t room, std::uint64_t seq,
                         const entry_facts& facts) {
  e.identity = facts.identity;
  if (facts.stamp) {
    e.has_stamp = true;
    e.stamp = *facts.stamp;
    match_send(e, room, seq, *facts.stamp);
  }
  heads_.raise(room, seq);
}

delivery checker::entry(reading& r, std::uint64_t seq, const entry_facts& facts) {
  const arrival how = in_order(r, seq);
  if (how == arrival::wrong) return {};
  log_entry* const e = entry_at(r.room, seq);
  if (e == nullptr) return {how == arrival::fresh, false};
  if (e->identity == 0) first_seen(*e, r.room, seq, facts);
  if (e->whole == 0) e->whole = facts.whole;
  const bool has_same_stamp =
      facts.stamp.has_value() == e->has_stamp && (!e->has_stamp || *facts.stamp == e->stamp);
  if (e->identity != facts.identity || e->whole != facts.whole || !has_same_stamp) {
    faults_.add(fault::two_histories,
                place(r) + ": seq " + text_of(seq) +
                    " is another entry than its answer or another reader says");
  }
  if (how == arrival::again) return {};
  delivery result{true, false};
  if (++e->received == rooms_[r.room].readers) {
    result.is_last = heads_.passed(r.room, seq);
    release(r.room);
  }
  return result;
}

/// Forgets what is complete, from the front.
void checker::release(std::uint32_t index) {
  room_log& room = rooms_[index];
  while (!room.entries.empty()) {
    const log_entry& e = room.entries.front();
    const bool is_known = e.identity != 0 || room.has_gaps;  // in a gap of all: nobody brings it
    if (!is_known || e.received < room.readers || e.awaits_answer) return;
    room.chain = mix(room.chain, e.whole);
    room.entries.pop_front();
    ++room.base;
  }
}

// Senders.

void checker::sent(std::uint32_t sender, std::uint32_t number, std::uint32_t room,
                   std::int64_t due_ns) {
  ledgers_[sender - first_sender_].open(number, room, due_ns);
  ++open_sends_;
}

std::optional<open_send> checker::accepted(const message_stamp& stamp, std::uint32_t room,
                                           std::uint64_t seq, std::uint64_t identity) {
  open_send* const send =
      is_local(stamp.sender) ? ledgers_[stamp.sender - first_sender_].find(stamp.number) : nullptr;
  const auto what = [&] {
    return "message " + text_of(stamp.number) + " of connection " + text_of(stamp.sender) +
           ", room " + heads_.name(room) + ", seq " + text_of(seq);
  };
  if (send == nullptr) {
    faults_.add(fault::wrong_answer, what() + ": accepted, but no send waits for an answer");
    return std::nullopt;
  }
  if (send->room != room || send->due_ns != stamp.due_ns) {
    faults_.add(fault::wrong_answer, what() + ": the answer names another send");
  }
  if (log_entry* const e = entry_at(room, seq)) {
    if (e->identity == 0) {
      e->identity = identity;
      e->has_stamp = true;
      e->stamp = stamp;
      heads_.raise(room, seq);
    } else if (e->identity != identity || !e->has_stamp || e->stamp != stamp) {
      faults_.add(fault::two_histories, what() + ": readers have another entry there");
    }
    e->awaits_answer = false;
    release(room);
  } else if (rooms_[room].is_loading && !rooms_[room].is_given_up) {
    faults_.add(fault::two_histories, what() + ": accepted, but all have another entry there");
  }
  if (send->seen_seq != 0 && send->seen_seq != seq) {
    faults_.add(fault::two_histories,
                what() + ": accepted, but readers saw it at " + text_of(send->seen_seq));
    if (log_entry* const seen = entry_at(room, send->seen_seq)) {
      seen->awaits_answer = false;
      release(room);
    }
  }
  const open_send closed = *send;
  ledgers_[stamp.sender - first_sender_].close(*send);
  --open_sends_;
  return closed;
}

std::optional<open_send> checker::refused(const message_stamp& stamp, bool may_be_stored) {
  if (!is_local(stamp.sender)) return std::nullopt;
  send_ledger& ledger = ledgers_[stamp.sender - first_sender_];
  open_send* const send = ledger.find(stamp.number);
  if (send == nullptr) return std::nullopt;
  const open_send closed = *send;
  ledger.close(*send);
  --open_sends_;
  if (closed.seen_seq != 0) {
    if (!may_be_stored) {
      faults_.add(fault::wrong_answer, "room " + heads_.name(closed.room) + ", seq " +
                                           text_of(closed.seen_seq) +
                                           ": refused as not stored, but readers have it");
    }
    if (log_entry* const e = entry_at(closed.room, closed.seen_seq)) e->awaits_answer = false;
    release(closed.room);
  } else if (may_be_stored) {
    ledger.doubt(stamp.number);
  }
  return closed;
}

std::size_t checker::open_sends_of(std::uint32_t sender) const {
  return ledgers_[sender - first_sender_].open_count();
}

std::vector<open_send> checker::resend(std::uint32_t sender) {
  return ledgers_[sender - first_sender_].resend();
}

// The end.

void checker::lost(const reading& r) {
  room_log& room = rooms_[r.room];
  room.is_given_up = true;
  room.entries.clear();
}

bool checker::is_complete() const {
  if (open_sends_ != 0) return false;
  for (std::uint32_t i = 0; i < rooms_.size(); ++i) {
    const room_log& room = rooms_[i];
    if (room.readers != 0 && room.is_loading && !room.is_given_up && room.base != heads_.head(i) + 1) {
      return false;
    }
  }
  return true;
}

void checker::finish(const reading& r) {
  const room_log& room = rooms_[r.room];
  if (!room.is_loading || room.is_given_up) return;
  const std::uint64_t head = heads_.head(r.room);
  if (r.position < head) {
    faults_.add(fault::missing, place(r) + ": stands at seq " + text_of(r.position) +
                                    ", the room is at " + text_of(head));
  }
  const auto holes = holes_.find({r.reader, r.room});
  if (holes != holes_.end() && !holes->second.empty()) {
    faults_.add(fault::missing, place(r) + ": never got seq " + text_of(*holes->second.begin()) +
                                    " and " + text_of(holes->second.size() - 1) + " more");
  }
}

void checker::finish() {
  for (std::uint32_t i = 0; i < ledgers_.size(); ++i) {
    const send_ledger& ledger = ledgers_[i];
    if (ledger.open_count() == 0) continue;
    faults_.add(fault::unanswered, "connection " + text_of(first_sender_ + i) + ": " +
                                       text_of(ledger.open_count()) +
                                       " sends without a reply, the first is message " +
                                       text_of(ledger.oldest().number));
  }
}

void checker::compare_histories(std::span<const checker* const> checkers, fault_log& faults) {
  if (checkers.size() < 2) return;
  for (std::uint32_t i = 0; i < checkers.front()->rooms_.size(); ++i) {
    const room_log* first = nullptr;
    for (const checker* const each : checkers) {
      const room_log& room = each->rooms_[i];
      if (room.readers == 0 || !room.is_loading || room.is_given_up) continue;
      if (first == nullptr) {
        first = &room;
      } else if (room.base != first->base) {
        faults.add(fault::missing, "room " + each->heads_.name(i) + ": complete up to seq " +
                                       text_of(first->base - 1) + " in one thread, " +
                                       text_of(room.base - 1) + " in another");
      } else if (room.chain != first->chain && !room.has_gaps && !first->has_gaps) {
        faults.add(fault::two_histories,
                   "room " + each->heads_.name(i) + ": two threads saw different logs");
      }
    }
  }
}

}  // namespace parley::bench
