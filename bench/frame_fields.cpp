#include "bench/frame_fields.hpp"

#include <charconv>
#include <cstring>

namespace parley::bench {
namespace {

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

/// Reads forward through JSON text. Every step answers false at the end of the text.
class cursor {
 public:
  explicit cursor(std::string_view text) : at_{text.data()}, end_{text.data() + text.size()} {}

  [[nodiscard]] bool is_at_end() const { return at_ == end_; }
  [[nodiscard]] const char* position() const { return at_; }
  void skip_space() {
    while (at_ != end_ && is_space(*at_)) ++at_;
  }
  [[nodiscard]] bool take(char wanted) {
    skip_space();
    if (at_ == end_ || *at_ != wanted) return false;
    ++at_;
    return true;
  }
  [[nodiscard]] bool is_next(char c) {
    skip_space();
    return at_ != end_ && *at_ == c;
  }

  /// A string's text between its quotes, as written.
  [[nodiscard]] bool take_string(std::string_view& out) {
    if (!take('"')) return false;
    const char* const start = at_;
    for (;;) {
      const void* const found = std::memchr(at_, '"', static_cast<std::size_t>(end_ - at_));
      if (found == nullptr) return false;
      const char* const quote = static_cast<const char*>(found);
      const char* before = quote;
      while (before != start && before[-1] == '\\') --before;
      at_ = quote + 1;
      if ((quote - before) % 2 == 0) {  // an even run of backslashes: they escape each other
        out = {start, static_cast<std::size_t>(quote - start)};
        return true;
      }
    }
  }

  /// Any value, as written; strings with their quotes.
  [[nodiscard]] bool take_value(std::string_view& out) {
    skip_space();
    if (at_ == end_) return false;
    const char* const start = at_;
    std::string_view text;
    if (*at_ == '"') {
      if (!take_string(text)) return false;
    } else if (*at_ == '{' || *at_ == '[') {
      if (!skip_nested()) return false;
    } else {
      while (at_ != end_ && *at_ != ',' && *at_ != '}' && *at_ != ']' && !is_space(*at_)) ++at_;
    }
    out = {start, static_cast<std::size_t>(at_ - start)};
    return !out.empty();
  }

 private:
  [[nodiscard]] bool skip_nested() {
    int depth = 0;
    std::string_view text;
    while (at_ != end_) {
      switch (*at_) {
        case '"':
          if (!take_string(text)) return false;
          continue;
        case '{':
        case '[':
          ++depth;
          break;
        case '}':
        case ']':
          --depth;
          break;
        default:
          break;
      }
      ++at_;
      if (depth == 0) return true;
    }
    return false;
  }

  const char* at_;
  const char* end_;
};

std::string_view* string_field(std::string_view key, frame_fields& f) {
  switch (key.size()) {
    case 4:
      return key == "type" ? &f.type : key == "code" ? &f.code : nullptr;
    case 5:
      return key == "epoch" ? &f.epoch : nullptr;
    case 6:
      return key == "stored"   ? &f.stored
             : key == "status" ? &f.status
             : key == "action" ? &f.action
                               : nullptr;
    case 7:
      return key == "room_id"   ? &f.room_id
             : key == "content" ? &f.content
             : key == "outcome" ? &f.outcome
             : key == "message" ? &f.message
             : key == "user_id" ? &f.user_id
                                : nullptr;
    case 9:
      return key == "sender_id" ? &f.sender_id : nullptr;
    case 10:
      return key == "message_id" ? &f.message_id : key == "created_at" ? &f.created_at : nullptr;
    case 13:
      return key == "client_msg_id" ? &f.client_msg_id : nullptr;
    case 14:
      return key == "server_version" ? &f.server_version : nullptr;
    default:
      return nullptr;
  }
}

void read_other(std::string_view key, std::string_view raw, frame_fields& f) {
  switch (key.size()) {
    case 3:
      if (key == "seq") f.seq = read_number(raw);
      break;
    case 4:
      if (key == "room") f.room = raw;
      break;
    case 5:
      if (key == "rooms") f.rooms = raw;
      break;
    case 6:
      if (key == "to_seq") f.to_seq = read_number(raw);
      if (key == "limits") f.limits = raw;
      break;
    case 8:
      if (key == "from_seq") f.from_seq = read_number(raw);
      break;
    case 9:
      if (key == "duplicate") f.is_duplicate = raw == "true";
      break;
    case 14:
      if (key == "retry_after_ms") f.retry_after_ms = read_number(raw);
      break;
    case 18:
      if (key == "reconnect_after_ms") f.reconnect_after_ms = read_number(raw);
      break;
    default:
      break;
  }
}

}  // namespace

std::optional<std::uint64_t> read_number(std::string_view raw) {
  std::uint64_t value = 0;
  const char* const end = raw.data() + raw.size();
  const auto [stop, failed] = std::from_chars(raw.data(), end, value);
  if (raw.empty() || failed != std::errc{} || stop != end) return std::nullopt;
  return value;
}

bool read_fields(std::string_view json, frame_fields& fields) {
  fields = {};
  cursor at{json};
  if (!at.take('{')) return false;
  if (!at.is_next('}')) {
    do {
      std::string_view key;
      if (!at.take_string(key) || !at.take(':')) return false;
      if (at.is_next('"')) {
        std::string_view text;
        if (!at.take_string(text)) return false;
        if (std::string_view* const field = string_field(key, fields)) *field = text;
      } else {
        std::string_view raw;
        if (!at.take_value(raw)) return false;
        read_other(key, raw, fields);
      }
    } while (at.take(','));
  }
  if (!at.take('}')) return false;
  at.skip_space();
  return at.is_at_end();
}

std::optional<object_member> next_member(std::string_view& rest) {
  cursor at{rest};
  if (!at.take('{') && !at.take(',')) return std::nullopt;
  object_member member;
  if (!at.take_string(member.key) || !at.take(':') || !at.take_value(member.value)) {
    return std::nullopt;
  }
  rest.remove_prefix(static_cast<std::size_t>(at.position() - rest.data()));
  return member;
}

}  // namespace parley::bench
