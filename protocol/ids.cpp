#include "protocol/ids.hpp"

#include "protocol/limits.hpp"
#include "protocol/utf8.hpp"

namespace parley {

bool is_valid_user_id(std::string_view text) {
  return !text.empty() && text.size() <= limits::user_id_max_bytes && text.front() != ' ' &&
         text.back() != ' ' && !has_control_character(text) && is_valid_utf8(text);
}

std::string_view to_text(room_type t) {
  switch (t) {
    case room_type::dm:
      return "dm";
    case room_type::group:
      return "group";
    case room_type::channel:
      return "channel";
  }
  return {};
}

std::string_view to_text(member_role r) {
  switch (r) {
    case member_role::member:
      return "member";
    case member_role::admin:
      return "admin";
    case member_role::owner:
      return "owner";
  }
  return {};
}

std::string_view to_text(posting_policy p) {
  switch (p) {
    case posting_policy::all:
      return "all";
    case posting_policy::admins:
      return "admins";
  }
  return {};
}

std::optional<room_type> parse_room_type(std::string_view text) {
  if (text == "dm") return room_type::dm;
  if (text == "group") return room_type::group;
  if (text == "channel") return room_type::channel;
  return std::nullopt;
}

std::optional<member_role> parse_member_role(std::string_view text) {
  if (text == "member") return member_role::member;
  if (text == "admin") return member_role::admin;
  if (text == "owner") return member_role::owner;
  return std::nullopt;
}

std::optional<posting_policy> parse_posting(std::string_view text) {
  if (text == "all") return posting_policy::all;
  if (text == "admins") return posting_policy::admins;
  return std::nullopt;
}

}  // namespace parley
