#include "store/room_rows.hpp"

#include <charconv>

namespace parley::store {
namespace {

std::optional<user_id> take_length_prefixed(std::string_view& text) {
  std::size_t length = 0;
  const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), length);
  const auto digits = static_cast<std::size_t>(end - text.data());
  if (wrong != std::errc{} || digits >= text.size() || text[digits] != ':') return std::nullopt;
  text.remove_prefix(digits + 1);
  if (length > text.size()) return std::nullopt;
  user_id id{text.substr(0, length)};
  text.remove_prefix(length);
  return id;
}

}  // namespace

db_result<room_row> decode_room(const statement::rows& row, user_names& names) {
  room_row out;
  out.no = row.number<room_no>(0);
  room_info& info = out.info;
  info.id = room_id{row.id(1)};
  info.type = static_cast<room_type>(row.integer(2));
  if (info.type == room_type::dm) {
    info.dm_members = split_dm_key(row.text(3));
    if (!info.dm_members) return damaged("room " + std::to_string(out.no.value) + " has no pair");
  }
  if (!row.is_null(4)) info.name = row.text(4);
  info.metadata = json_text{row.text(5)};
  info.posting = static_cast<posting_policy>(row.integer(6));
  info.first_seq = row.number<room_seq>(7);
  info.member_count = row.integer(8);
  if (!row.is_null(9)) {
    auto creator = names.name(row.number<user_no>(9));
    if (!creator) return creator.error();
    info.created_by = **creator;
  }
  info.created_at = row.time(10);
  info.updated_at = row.time(11);
  info.last_seq = row.is_null(12) ? room_seq{info.first_seq.value - 1} : row.number<room_seq>(12);
  return out;
}

std::optional<std::pair<user_id, user_id>> split_dm_key(std::string_view key) {
  auto first = take_length_prefixed(key);
  if (!first) return std::nullopt;
  auto second = take_length_prefixed(key);
  if (!second || !key.empty()) return std::nullopt;
  return std::pair{std::move(*first), std::move(*second)};
}

}  // namespace parley::store
