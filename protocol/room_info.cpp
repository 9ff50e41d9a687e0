#include "protocol/room_info.hpp"

#include <string_view>

namespace parley {

namespace {

void append_escaped(std::string& out, std::string_view id) {
  for (const char c : id) {
    if (c == '%') {
      out += "%25";
    } else if (c == ':') {
      out += "%3A";
    } else {
      out += c;
    }
  }
}

void append_length_prefixed(std::string& out, std::string_view id) {
  out += std::to_string(id.size());
  out += ':';
  out += id;
}

}  // namespace

std::optional<std::string> unique_key(const room_info& r) {
  if (!r.dm_members) return std::nullopt;
  std::string out = "dm:";
  append_escaped(out, r.dm_members->first.view());
  out += ':';
  append_escaped(out, r.dm_members->second.view());
  return out;
}

std::string dm_key(const user_id& a, const user_id& b) {
  const bool in_order = a <= b;
  std::string out;
  append_length_prefixed(out, (in_order ? a : b).view());
  append_length_prefixed(out, (in_order ? b : a).view());
  return out;
}

}  // namespace parley
