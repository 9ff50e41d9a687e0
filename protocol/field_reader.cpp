#include "protocol/field_reader.hpp"

#include <algorithm>
#include <unordered_set>
#include <utility>

namespace parley {

namespace {

/// Without a copy in the usual spelling.
template <class Id>
std::optional<Id> parse_id(const json_slice& string) {
  return string.plain ? Id::parse(inside_quotes(string)) : Id::parse(decoded(string));
}

}  // namespace

std::optional<error> field_reader::failure() const { return wrong_ ? wrong_ : unknown_; }

void field_reader::refuse(std::string_view field, std::string_view what) {
  if (wrong_) return;
  std::string message{field};
  message += ' ';
  message += what;
  wrong_ = invalid(field, message);
}

void field_reader::refuse(error why) {
  std::optional<error>& place = why.code == error_code::not_found ? unknown_ : wrong_;
  if (!place) place = std::move(why);
}

std::string field_reader::content(const json_slice& content, const json_slice& meta) {
  if (!require_string(content, "content")) return {};
  std::string out = decoded(content);
  check_size("content", out.size(), "max_content", bounds_.max_content);
  if (out.empty() && meta.is_void()) refuse("content", "may be empty only with meta");
  return out;
}

json_text field_reader::meta(const json_slice& value, std::string_view field) {
  if (value.is_void()) return {};
  json_text out{minified(value)};
  check_size(field, out.value.size(), "max_meta", bounds_.max_meta);
  return out;
}

std::string field_reader::client_msg_id(const json_slice& value) {
  if (value.is_void()) return {};
  std::string out = value.is(json_kind::string) ? decoded(value) : std::string{};
  if (out.empty() || out.size() > limits::client_msg_id_max_bytes) {
    refuse("client_msg_id",
           "must be a string of 1 to " + std::to_string(limits::client_msg_id_max_bytes) + " bytes");
  }
  return out;
}

std::optional<message_id> field_reader::reply_to(const json_slice& value) {
  if (value.is_void()) return std::nullopt;
  if (!require_string(value, "reply_to")) return std::nullopt;
  const auto id = parse_id<message_id>(value);
  if (!id) refuse(invalid_reply_to());
  return id;
}

room_id field_reader::room(const json_slice& value) {
  if (!require_string(value, "room_id")) return {};
  const auto id = parse_id<room_id>(value);
  if (!id) refuse(not_found("room"));
  return id.value_or(room_id{});
}

message_id field_reader::message(const json_slice& value) {
  if (!require_string(value, "message_id")) return {};
  const auto id = parse_id<message_id>(value);
  if (!id) refuse(not_found("message"));
  return id.value_or(message_id{});
}

room_seq field_reader::seq(const json_slice& value, std::string_view field) {
  const auto count = as_count(value);
  if (!count) refuse(field, "must be an integer from 0 to 2^53");
  return room_seq{count.value_or(0)};
}

std::optional<std::string> field_reader::name(const json_slice& value, std::string_view field) {
  if (value.is_void()) return std::nullopt;
  auto out = text(value, field);
  if (out) check_size(field, out->size(), "max_name", bounds_.max_name);
  return out;
}

std::optional<user_id> field_reader::user(const json_slice& value, std::string_view field) {
  if (value.is_void()) return std::nullopt;
  auto id = text(value, field);
  if (!id) return std::nullopt;
  if (!is_valid_user_id(*id)) {
    refuse(field, "must be a user id");
    return std::nullopt;
  }
  return user_id{std::move(*id)};
}

std::vector<user_id> field_reader::users(const json_slice& value, std::string_view field,
                                         std::size_t max_ids) {
  std::vector<user_id> out;
  if (!value.is(json_kind::array)) {
    refuse(field, "must be an array of user ids");
    return out;
  }
  json_scanner elements{2};  // a deeper element is no string
  elements.open(value.text);
  elements.enter_array();
  std::unordered_set<user_id> seen;
  std::size_t given = 0;
  while (elements.next_element()) {
    const json_slice element = elements.value();
    if (++given > max_ids) {
      refuse(field, "must name at most " + std::to_string(max_ids) + " users");
      break;
    }
    std::string id;
    if (element.is(json_kind::string)) append_decoded(id, element);
    if (!is_valid_user_id(id)) {
      refuse(field, "must hold user ids only");
      break;
    }
    if (seen.emplace(id).second) out.emplace_back(std::move(id));
  }
  return out;
}

std::string field_reader::word(const json_slice& value, std::string_view field) {
  std::string out;
  if (value.is(json_kind::string)) append_decoded(out, value);
  if (out.empty()) refuse(field, "must be a string that is not empty");
  return out;
}

std::optional<std::string> field_reader::text(const json_slice& value, std::string_view field) {
  if (!require_string(value, field)) return std::nullopt;
  return decoded(value);
}

bool field_reader::require_string(const json_slice& value, std::string_view field) {
  if (value.is(json_kind::string)) return true;
  refuse(field, value.is(json_kind::none) ? "is required" : "must be a string");
  return false;
}

void field_reader::check_size(std::string_view field, std::size_t bytes, std::string_view key,
                              std::size_t bound) {
  if (bytes <= bound) return;
  refuse(beyond(key, invalid(field, std::string{field} + " must be at most " +
                                        std::to_string(bound) + " bytes")));
}

error malformed(json_fault fault, std::string_view field) {
  auto why = invalid(field, to_text(fault));
  return fault == json_fault::too_deep ? beyond("max_json_depth", std::move(why)) : why;
}

}  // namespace parley
