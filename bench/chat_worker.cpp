#include "bench/chat_worker.hpp"

#include "bench/return_policy.hpp"
#include "bench/steady_time.hpp"

#include <simdjson.h>
#include <sys/prctl.h>

#include <algorithm>
#include <exception>
#include <utility>

namespace parley::bench {
namespace {

constexpr std::int64_t turn_max_ns = 20 * ns_per_ms;  // how late a change of the schedule may be seen
constexpr std::int64_t goodbye_max_ns = 3 * ns_per_s;
constexpr std::int64_t settled_check_ns = 2 * ns_per_ms;
constexpr std::size_t returns_per_turn = 256;  // between them, what came is read

/// Frames of the node with room_id and seq that are not log entries (SPEC 1: «now and for ever»).
bool is_answer_about_a_seq(std::string_view type) {
  return type == "message.accepted" || type == "ack.received" || type == "read.received" ||
         type == "sync.complete" || type == "subscribed" || type == "room.added";
}

/// «Too much at once» is a node's right; anything else said to a load within the rules is not.
bool is_overload(std::string_view code) {
  return code == "RATE_LIMIT_EXCEEDED" || code == "UNAVAILABLE";
}

std::string excerpt(std::string_view text) { return std::string{text.substr(0, 200)}; }

}  // namespace

chat_worker::chat_worker(const fleet_plan& plan, std::uint32_t first, std::uint32_t count,
                         session_options options, room_heads& heads, run_schedule& schedule)
    : plan_{plan},
      first_{first},
      options_{std::move(options)},
      schedule_{schedule},
      checker_{heads, first, count},
      loop_{options_.target, count, options_.seed + first, *this},
      content_{options_.content_bytes},
      sessions_(count),
      parser_{std::make_unique<simdjson::dom::parser>()} {
  for (std::uint32_t room = 0; room < plan.rooms.size(); ++room) {
    for (const std::uint32_t member : plan.rooms[room]) {
      if (member < first || member - first >= count) continue;
      reading r;
      r.room_key = fingerprint(plan.room_ids[room]);
      r.room = room;
      r.reader = member;
      sessions_[member - first].readings.push_back(r);
      checker_.add_reader(room);
    }
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    std::ranges::sort(sessions_[i].readings, {}, &reading::room_key);
    if (first + i < options_.away_from) {
      to_connect_.push_back(i);
    } else {
      sessions_[i].is_away = true;
    }
  }
  if (options_.allows_gaps) checker_.allow_gaps();
  if (!options_.has_whole_log) return;
  is_loading_ = true;
  for (const auto& s : sessions_) {
    for (const auto& r : s.readings) checker_.begin_load(r);
  }
}

chat_worker::~chat_worker() = default;

std::string chat_worker::name(std::uint32_t client) const {
  return "connection " + std::to_string(first_ + client);
}

void chat_worker::run() {
  prctl(PR_SET_TIMERSLACK, 1000);  // ns; the usual 50 µs would show in the latency of paced sends
  try {
    turns();
    for (const auto& s : sessions_) {
      for (const auto& r : s.readings) checker_.finish(r);
    }
    checker_.finish();
    publish();
    say_goodbye();
  } catch (const std::exception& error) {
    failure_ = error.what();
    progress_.has_failed = true;
  }
}

void chat_worker::turns() {
  while (!schedule_.is_closing.load(std::memory_order_relaxed)) {
    const std::int64_t now = now_ns();
    connect_due(now);
    acknowledge_due(now);
    std::int64_t until = now + turn_max_ns;
    if (!retries_.empty()) until = std::min(until, retries_.top().at_ns);
    if (!to_connect_.empty()) until = std::min(until, std::max(next_connect_ns_, now + ns_per_ms));
    until = std::min(until, on_turn(now));
    loop_.turn(until);
    if (is_loading_ && now >= next_settled_check_ns_) {
      next_settled_check_ns_ = now + settled_check_ns;
      // `now` is from before on_turn(): a last send that it made is open, and counts as under way.
      progress_.is_settled = now >= schedule_.measure_to.load() && checker_.is_complete();
    }
    publish();
  }
}

void chat_worker::publish() {
  const auto put = [](auto& to, auto value) { to.store(value, std::memory_order_relaxed); };
  put(progress_.opened, opened_);
  put(progress_.ready, ready_);
  put(progress_.frames, frames_);
  put(progress_.deliveries, deliveries_);
  put(progress_.accepted, accepted_);
  put(progress_.errors, errors_);
  put(progress_.lost, lost_);
  put(progress_.returned, returned_);
  put(progress_.told_later, connect_retries_);
  put(progress_.faults, checker_.faults().total());
}

void chat_worker::say_goodbye() {
  is_closing_ = true;
  for (std::uint32_t i = 0; i < count(); ++i) loop_.close(i, 1000);
  const std::int64_t deadline = now_ns() + goodbye_max_ns;
  while (loop_.connected() != 0 && now_ns() < deadline) loop_.turn(now_ns() + 10 * ns_per_ms);
  for (std::uint32_t i = 0; i < count(); ++i) loop_.abandon(i);
}

// Opening connections.

void chat_worker::open(std::uint32_t client, std::int64_t due_ns) {
  session& s = sessions_[client];
  s.connect_ns = due_ns;
  s.told_ms.reset();
  s.completes = 0;
  loop_.connect(
      client, options_.has_manual_sync ? "/ws?sync=manual" : "/ws?sync=auto",
      "X-API-Key: " + options_.api_key + "\r\nX-User-Id: " + plan_.user_of(first_ + client) + "\r\n",
      (first_ + client) % options_.sources, s.receive_buffer_bytes);
}

void chat_worker::connect_due(std::int64_t now) {
  std::size_t returns = 0;
  while (!retries_.empty() && retries_.top().at_ns <= now && returns++ < returns_per_turn &&
         loop_.opening() < options_.opening_max) {
    const retry r = retries_.top();
    retries_.pop();
    if (!loop_.is_idle(r.client)) continue;  // cut once more while it tried: two tries were due
    open(r.client, sessions_[r.client].is_away ? r.at_ns : now);
  }
  const std::int64_t step = options_.connects_per_s > 0 ? ns_of(1 / options_.connects_per_s) : 0;
  next_connect_ns_ = std::max(next_connect_ns_, now - turn_max_ns);  // no bursts after a pause
  while (!to_connect_.empty() && loop_.opening() < options_.opening_max && next_connect_ns_ <= now) {
    const std::uint32_t client = to_connect_.front();
    to_connect_.pop_front();
    next_connect_ns_ += step;
    open(client, now_ns());
  }
}

/// Takes the client out of the counts and forgets what was of its connection alone.
void chat_worker::leave(std::uint32_t client) {
  session& s = sessions_[client];
  if (s.is_ready) --ready_;
  s.is_ready = false;
  s.is_away = true;
}

void chat_worker::cut(std::uint32_t client) {
  if (loop_.is_open(client)) --opened_;
  loop_.reset(client);
  leave(client);
}

void chat_worker::come_back(std::uint32_t client, std::int64_t at_ns) {
  retries_.push({at_ns, client});
}

/// Each client in turn, evenly over the period; those of them that are there and have moved.
void chat_worker::acknowledge_due(std::int64_t now) {
  if (options_.ack_every_ns == 0 || !is_loading_ || is_closing_) return;
  if (acks_from_ns_ == 0) acks_from_ns_ = now;
  const auto due = static_cast<std::uint64_t>(static_cast<double>(now - acks_from_ns_) /
                                              static_cast<double>(options_.ack_every_ns) *
                                              static_cast<double>(count()));
  acks_due_ = std::max(acks_due_, due > count() ? due - count() : 0);  // at most one round at once
  for (; acks_due_ < due; ++acks_due_) {
    const auto client = static_cast<std::uint32_t>(acks_due_ % count());
    if (!is_ready(client)) continue;
    scratch_ = R"({"type":"ack","rooms":{)";
    for (const auto& r : sessions_[client].readings) {
      if (r.position <= r.acked) continue;
      scratch_ += scratch_.back() == '{' ? "\"" : ",\"";
      scratch_.append(plan_.room_ids[r.room]).append("\":").append(std::to_string(r.position));
    }
    if (scratch_.back() == '{') continue;
    scratch_ += "}}";
    loop_.send_text(client, scratch_);
  }
}

void chat_worker::on_wake(std::int64_t now) {
  // The coordinator sets load_from before anybody sends, so no entry of the load is read before this is seen.
  if (is_loading_ || schedule_.load_from.load() == never) return;
  is_loading_ = true;
  next_settled_check_ns_ = now;
  for (const auto& s : sessions_) {
    for (const auto& r : s.readings) {
      if (s.is_lost) {
        checker_.lost(r);
      } else {
        checker_.begin_load(r);
      }
    }
  }
}

void chat_worker::on_open(std::uint32_t /*client*/, std::int64_t /*now*/) { ++opened_; }

void chat_worker::on_closed(std::uint32_t client, const close_notice& notice) {
  if (is_closing_) return;
  session& s = sessions_[client];
  --opened_;
  if (will_return(client, notice)) {
    ++close_codes_[notice.code];
    leave(client);
    return;
  }
  ++lost_;
  if (s.is_ready) --ready_;
  s.is_ready = false;
  s.is_lost = true;
  checker_.faults().add(
      fault::connection,
      name(client) + ": closed with " + std::to_string(notice.code) + " " + excerpt(notice.reason));
  for (const auto& r : s.readings) checker_.lost(r);
}

void chat_worker::on_refused(std::uint32_t client, const response_head& answer,
                             std::string_view text) {
  constexpr std::uint64_t retries_max = 1'000'000;
  if (is_closing_) return;
  session& s = sessions_[client];
  const bool is_told_later = answer.status == 429 || answer.status == 503;
  if (is_told_later) ++connect_retries_;
  if (s.is_away || (is_told_later && connect_retries_ < retries_max)) {
    const auto wait = read_number(answer.header("retry-after").value_or("1")).value_or(1);
    const std::int64_t pause =
        is_told_later ? static_cast<std::int64_t>(std::clamp<std::uint64_t>(wait, 1, 10)) * ns_per_s
                      : return_policy::pause_ns(++s.tries);
    if (s.is_away && refusals_.size() < 100) {
      ++refusals_[answer.status != 0 ? std::to_string(answer.status) : excerpt(text)];
    }
    retries_.push({now_ns() + pause, client});
    return;
  }
  ++lost_;
  s.is_lost = true;
  for (const auto& r : s.readings) {
    if (is_loading_) checker_.lost(r);
  }
  checker_.faults().add(fault::connection, name(client) + ": not opened: status " +
                                               std::to_string(answer.status) + " " + excerpt(text));
}

void chat_worker::on_broken(std::uint32_t client, std::string_view why) {
  checker_.faults().add(fault::protocol, name(client) + ": " + std::string{why});
}

// Frames.

bool chat_worker::is_whole_json(std::string_view text) {
  return parser_->parse(text.data(), text.size(), true).error() == simdjson::SUCCESS;
}

reading* chat_worker::find_reading(std::uint32_t client) {
  const std::uint64_t key = fingerprint(fields_.room_id);
  auto& readings = sessions_[client].readings;
  if (readings.size() == 1) return readings.front().room_key == key ? &readings.front() : nullptr;
  const auto found = std::ranges::lower_bound(readings, key, {}, &reading::room_key);
  return found != readings.end() && found->room_key == key ? &*found : nullptr;
}

void chat_worker::on_text(std::uint32_t client, std::string_view text, std::int64_t now) {
  // The scan looks at fields only; whether all of it is JSON is tried on the first thousand frames and on samples.
  constexpr std::uint64_t samples = 128;
  ++frames_;
  const bool is_tried = frames_ < 1000 || frames_ % samples == 0;
  if (!read_fields(text, fields_) || (is_tried && !is_whole_json(text))) {
    checker_.faults().add(fault::protocol, name(client) + ": not a JSON object: " + excerpt(text));
    return;
  }
  if (fields_.type != "hello") sessions_[client].last_frame_ns = now;
  if (fields_.type == "message") {
    take_entry(client, now);
  } else if (fields_.type == "message.accepted") {
    take_accepted(client, now);
  } else {
    take_other(client, text, now);
  }
}

void chat_worker::take_other(std::uint32_t client, std::string_view text, std::int64_t now) {
  const std::string_view type = fields_.type;
  if (type == "error") {
    take_error(client, now);
  } else if (type == "hello") {
    take_hello(client, now);
  } else if (type == "sync.start") {
    take_sync_start(client);
  } else if (type == "sync.complete") {
    take_sync_complete(client);
  } else if (type == "sync.done") {
    take_sync_done(client, now);
  } else if (type == "ack.received") {
    take_acked(client);
  } else if (type == "server.shutdown") {
    sessions_[client].told_ms = fields_.reconnect_after_ms;
  } else if (type.empty()) {
    checker_.faults().add(fault::protocol, name(client) + ": no type: " + excerpt(text));
  } else if (!fields_.room_id.empty() && fields_.seq && !is_answer_about_a_seq(type)) {
    take_entry(client, now);
  } else {
    on_event(client, fields_, now);
  }
}

void chat_worker::foreign_room(std::uint32_t client) {
  checker_.faults().add(fault::foreign_room, name(client) + ": " + std::string{fields_.type} +
                                                 " of room " + std::string{fields_.room_id});
}

void chat_worker::take_entry(std::uint32_t client, std::int64_t now) {
  reading* const r = find_reading(client);
  if (r == nullptr) return foreign_room(client);
  if (!fields_.seq) {
    checker_.faults().add(fault::protocol, name(client) + ": a message without a seq");
    return;
  }
  entry_facts facts;
  facts.identity = fingerprint(fields_.created_at, fingerprint(fields_.message_id));
  facts.whole = fingerprint(fields_.sender_id, fingerprint(fields_.type, facts.identity));
  const bool is_message = fields_.type == "message";
  if (is_message) {
    facts.stamp = read_stamp(fields_.client_msg_id);
    // A stamp begins with its sender's number, and the user's id ends with it.
    const std::string_view prefix = plan_.user_prefix;
    const std::string_view number = fields_.client_msg_id.substr(0, fields_.client_msg_id.find('-'));
    if (!facts.stamp || !fields_.sender_id.starts_with(prefix) ||
        fields_.sender_id.substr(prefix.size()) != number ||
        !content_.matches(fields_.content, fields_.client_msg_id)) {
      checker_.faults().add(fault::wrong_message,
                            name(client) + ": seq " + std::to_string(*fields_.seq) + " from " +
                                excerpt(fields_.sender_id) + ", client_msg_id " +
                                excerpt(fields_.client_msg_id) + ", is not as it was sent");
    }
  }
  const delivery what = checker_.entry(*r, *fields_.seq, facts);
  if (!what.is_counted || !is_message) return;
  ++deliveries_;
  if (facts.stamp) on_delivery(client, what, *facts.stamp, now);
}

void chat_worker::take_accepted(std::uint32_t client, std::int64_t now) {
  const reading* const r = find_reading(client);
  if (r == nullptr) return foreign_room(client);
  const auto stamp = read_stamp(fields_.client_msg_id);
  if (!stamp || stamp->sender != first_ + client || !fields_.seq) {
    checker_.faults().add(
        fault::wrong_answer,
        name(client) + ": accepted " + excerpt(fields_.client_msg_id) + ", which it did not send");
    return;
  }
  const std::uint64_t identity = fingerprint(fields_.created_at, fingerprint(fields_.message_id));
  const auto send = checker_.accepted(*stamp, r->room, *fields_.seq, identity);
  if (!send) return;
  if (fields_.is_duplicate && !send->is_resent) {
    checker_.faults().add(fault::wrong_answer, name(client) + ": its first send of message " +
                                                   std::to_string(stamp->number) +
                                                   " is called a duplicate");
  }
  if (fields_.is_duplicate) ++duplicates_;
  ++accepted_;
  on_accepted(client, *send, now);
}

void chat_worker::take_error(std::uint32_t client, std::int64_t now) {
  if (fields_.client_msg_id.empty() && on_event(client, fields_, now)) return;
  ++errors_;
  const auto code = error_codes_.find(fields_.code);
  if (code == error_codes_.end()) {
    if (error_codes_.size() < 100) error_codes_.emplace(fields_.code, 1);
  } else {
    ++code->second;
  }
  if (!is_overload(fields_.code)) {
    checker_.faults().add(fault::refused, name(client) + ": " + excerpt(fields_.code) + ": " +
                                              excerpt(fields_.message));
  }
  const auto stamp = read_stamp(fields_.client_msg_id);
  const bool is_ours = stamp && stamp->sender == first_ + client;
  const auto send =
      is_ours ? checker_.refused(*stamp, fields_.stored != "no") : std::optional<open_send>{};
  if (!send) {
    checker_.faults().add(fault::wrong_answer,
                          name(client) + ": an error that answers no send: " + excerpt(fields_.code) +
                              " " + excerpt(fields_.client_msg_id));
    return;
  }
  if (fields_.stored != "no" && fields_.stored != "unknown") {
    checker_.faults().add(fault::wrong_answer,
                          name(client) + ": an error to a send does not say whether it is stored");
  }
  const auto wait_ms = std::min<std::uint64_t>(fields_.retry_after_ms.value_or(100), 60'000);
  on_refusal(client, *send, static_cast<std::int64_t>(wait_ms) * ns_per_ms, now);
}

// The sync that starts a connection.

void chat_worker::take_hello(std::uint32_t client, std::int64_t now) {
  session& s = sessions_[client];
  (s.is_away ? return_hello_times_ : hello_times_).record(now - s.connect_ns);
  s.tries = 0;
  if (s.is_away) on_return(client, now);
  s.last_frame_ns = now;
  if (limits_.empty()) {
    server_version_ = std::string{fields_.server_version};
    limits_ = std::string{fields_.limits};
    epoch_ = std::string{fields_.epoch};
    std::string_view rest = fields_.limits;
    while (const auto member = next_member(rest)) {
      if (member->key == "frames_per_s") frames_per_s_ = read_number(member->value).value_or(0);
    }
  } else if (fields_.epoch != epoch_) {
    checker_.faults().add(fault::sync, name(client) + ": the epoch was " + epoch_ + ", now it is " +
                                           excerpt(fields_.epoch));
  }
  if (options_.has_manual_sync) sync_from_positions(client, fields_.epoch);
}

void chat_worker::sync_from_positions(std::uint32_t client, std::string_view epoch) {
  std::string frame = R"({"type":"sync","request_id":"sync","epoch":")";
  frame.append(epoch).append(R"(","rest":"live","rooms":{)");
  for (auto& r : sessions_[client].readings) {
    checker_.resumed(r, r.position);
    frame += frame.back() == '{' ? "\"" : ",\"";
    frame.append(plan_.room_ids[r.room]).append("\":").append(std::to_string(r.position));
  }
  frame += "}}";
  loop_.send_text(client, frame);
}

void chat_worker::take_acked(std::uint32_t client) {
  reading* const r = find_reading(client);
  // Those of other members, in small rooms, tell nothing about this reader.
  if (r == nullptr || !fields_.seq || fields_.user_id != plan_.user_of(first_ + client)) return;
  checker_.acked(*r, *fields_.seq);
}

void chat_worker::take_sync_start(std::uint32_t client) {
  std::string_view rest = fields_.rooms;
  while (const auto member = next_member(rest)) {
    fields_.room_id = member->key;
    reading* const r = find_reading(client);
    const auto after = read_number(member->value);
    if (r == nullptr) {
      foreign_room(client);
    } else if (!after) {
      checker_.faults().add(fault::sync, name(client) + ": sync.start without a position for " +
                                             std::string{member->key});
    } else {
      checker_.resumed(*r, *after);
    }
  }
}

void chat_worker::take_sync_complete(std::uint32_t client) {
  reading* const r = find_reading(client);
  if (r == nullptr) return foreign_room(client);
  ++sessions_[client].completes;
  if (fields_.outcome == "gap") {
    checker_.skipped(*r, fields_.from_seq.value_or(0), fields_.to_seq.value_or(0));
  }
  checker_.synced(*r, fields_.outcome, fields_.seq);
}

void chat_worker::take_sync_done(std::uint32_t client, std::int64_t now) {
  session& s = sessions_[client];
  const auto started = static_cast<std::size_t>(
      std::ranges::count_if(s.readings, [](const reading& r) { return r.is_started; }));
  if (s.is_ready || started != s.readings.size() || s.completes != s.readings.size() ||
      read_number(fields_.rooms) != s.readings.size()) {
    checker_.faults().add(fault::sync, name(client) + ": sync.done for " + excerpt(fields_.rooms) +
                                           " rooms, " + std::to_string(started) + " of " +
                                           std::to_string(s.readings.size()) + " were started, " +
                                           std::to_string(s.completes) + " completed");
    if (s.is_ready) return;
  }
  s.is_ready = true;
  s.ready_ns = now;
  ++ready_;
  progress_.last_ready_ns = now;
  if (!s.is_away) {
    ready_times_.record(now - s.connect_ns);
    return on_ready(client, now);
  }
  return_ready_times_.record(now - s.connect_ns);
  ++returned_;
  on_ready(client, now);
  s.is_away = false;
  for (const open_send& send : checker_.resend(first_ + client)) {
    ++resent_;
    write_message(client, send.room, {first_ + client, send.number, send.due_ns});
  }
}

// Sending.

void chat_worker::write_message(std::uint32_t client, std::uint32_t room, const message_stamp& stamp) {
  stamp_scratch_.clear();
  append_stamp(stamp_scratch_, stamp);
  scratch_ = R"({"type":"send_message","room_id":")";
  scratch_.append(plan_.room_ids[room]).append(R"(","client_msg_id":")");
  scratch_.append(stamp_scratch_).append(R"(","content":")");
  content_.append(scratch_, stamp_scratch_);
  scratch_ += "\"}";
  loop_.send_text(client, scratch_);
}

void chat_worker::send_message(std::uint32_t client, const reading& room, const message_stamp& stamp) {
  checker_.sent(stamp.sender, stamp.number, room.room, stamp.due_ns);
  write_message(client, room.room, stamp);
}

}  // namespace parley::bench
