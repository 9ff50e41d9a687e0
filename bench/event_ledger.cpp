#include "bench/event_ledger.hpp"

#include "bench/frame_fields.hpp"

#include <charconv>
#include <chrono>
#include <string>

namespace parley::bench {
namespace {

std::string_view unquoted(std::string_view raw) {
  return raw.size() >= 2 && raw.front() == '"' ? raw.substr(1, raw.size() - 2) : std::string_view{};
}

/// The raw value of a member of a raw object; empty: it has none of that name.
std::string_view member(std::string_view object, std::string_view name) {
  while (const auto next = next_member(object)) {
    if (next->key == name) return next->value;
  }
  return {};
}

template <class Number>
bool take_digits(std::string_view text, std::size_t from, std::size_t count, Number& value) {
  if (text.size() < from + count) return false;
  const char* const end = text.data() + from + count;
  return std::from_chars(text.data() + from, end, value).ptr == end;
}

}  // namespace

void event_ledger::take(std::string_view body, std::int64_t unix_ns) {
  const std::string_view type = unquoted(member(body, "type"));
  if (type != "message.created") {
    ++others_;
    if (type.empty()) faults_.add(fault::protocol, "an event without a type");
    return;
  }
  const std::string_view data = member(body, "data");
  const std::string_view room = unquoted(member(data, "room_id"));
  frame_fields message;
  if (room.empty() || !read_fields(member(data, "message"), message) || !message.seq) {
    faults_.add(fault::protocol, "a message.created without room, message or seq");
    return;
  }
  auto found = last_seqs_.find(room);
  if (found == last_seqs_.end()) found = last_seqs_.emplace(std::string{room}, 0).first;
  std::uint64_t& last = found->second;
  if (*message.seq <= last) {
    ++repeats_;
    return;
  }
  if (*message.seq != last + 1) {
    faults_.add(fault::hole, "a webhook told of seq " + std::to_string(*message.seq) + " after " +
                                 std::to_string(last));
  }
  last = *message.seq;
  ++messages_;
  if (const auto created = unix_ns_of(message.created_at)) lags_.record(unix_ns - *created);
}

std::optional<std::int64_t> unix_ns_of(std::string_view text) {
  using namespace std::chrono;
  int y = 0;
  unsigned mo = 0;
  unsigned d = 0;
  std::int64_t h = 0;
  std::int64_t mi = 0;
  std::int64_t s = 0;
  std::int64_t ms = 0;
  if (text.size() != std::string_view{"2026-11-26T09:42:36.123Z"}.size() || text.back() != 'Z' ||
      !take_digits(text, 0, 4, y) || !take_digits(text, 5, 2, mo) || !take_digits(text, 8, 2, d) ||
      !take_digits(text, 11, 2, h) || !take_digits(text, 14, 2, mi) ||
      !take_digits(text, 17, 2, s) || !take_digits(text, 20, 3, ms)) {
    return std::nullopt;
  }
  const year_month_day date{year{y}, month{mo}, day{d}};
  if (!date.ok()) return std::nullopt;
  const auto at = sys_days{date} + hours{h} + minutes{mi} + seconds{s} + milliseconds{ms};
  return duration_cast<nanoseconds>(at.time_since_epoch()).count();
}

}  // namespace parley::bench
