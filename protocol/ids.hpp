#pragma once
/// The names of things: one strong type each (SPEC 1). Numbers (`…_no`) exist inside only; texts and UUIDs are the API's.

#include "protocol/strong.hpp"
#include "protocol/uuid.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace parley {

using tenant_no = strong_int<struct tenant_no_tag>;  ///< row of a tenant; never reused
using user_no = strong_int<struct user_no_tag>;      ///< row of a user; never reused
using room_no =
    strong_int<struct room_no_tag>;  ///< row of a room; never reused; reached only through (tenant, room_id)
using log_id =
    strong_int<struct log_id_tag>;  ///< place of an entry in the node-wide log (`messages.id`)
using room_seq = strong_int<struct room_seq_tag>;  ///< 1, 2, 3, … per room; 0: before the first entry
using commit_no =
    strong_int<struct commit_no_tag>;  ///< number of a group commit; a reader's snapshot has seen all up to its own

using tenant_id = strong_string<struct tenant_id_tag>;  ///< `tenant_` + 16 hex digits
using user_id = strong_string<struct user_id_tag>;  ///< chosen by the tenant; form: is_valid_user_id
using key_id = strong_string<struct key_id_tag>;    ///< names a credential; not secret
using epoch_id =
    strong_string<struct epoch_id_tag>;  ///< per database; changes when history may differ (SPEC 1)

/// A room's id: a UUIDv7 made by the node, or an imported UUID.
struct room_id {
  uuid id;
  auto operator<=>(const room_id&) const = default;
  static std::optional<room_id> parse(std::string_view text) {
    if (auto u = uuid::parse(text)) return room_id{*u};
    return std::nullopt;
  }
};
/// A message's id: a UUIDv7, time-ordered (SPEC 8), or an imported UUID.
struct message_id {
  uuid id;
  auto operator<=>(const message_id&) const = default;
  static std::optional<message_id> parse(std::string_view text) {
    if (auto u = uuid::parse(text)) return message_id{*u};
    return std::nullopt;
  }
};

/// A room as a caller can name it: always through its tenant (I8).
struct room_key {
  tenant_no tenant;
  room_id room;
  auto operator<=>(const room_key&) const = default;
};
/// A user as a caller can name it.
struct user_key {
  tenant_no tenant;
  user_id user;
  auto operator<=>(const user_key&) const = default;
};

/// SPEC 1: 1–128 bytes of UTF-8, no control characters (C0, DEL, C1), no space (U+0020) at either end.
[[nodiscard]] bool is_valid_user_id(std::string_view text);

enum class room_type : std::uint8_t { dm = 1, group = 2, channel = 3 };
enum class member_role : std::uint8_t { member = 1, admin = 2, owner = 3 };
enum class posting_policy : std::uint8_t { all = 1, admins = 2 };

[[nodiscard]] std::string_view to_text(room_type t);
[[nodiscard]] std::string_view to_text(member_role r);
[[nodiscard]] std::string_view to_text(posting_policy p);
[[nodiscard]] std::optional<room_type> parse_room_type(std::string_view text);
[[nodiscard]] std::optional<member_role> parse_member_role(std::string_view text);
[[nodiscard]] std::optional<posting_policy> parse_posting(std::string_view text);

}  // namespace parley

template <>
struct std::hash<parley::room_id> {
  std::size_t operator()(const parley::room_id& r) const noexcept {
    return std::hash<parley::uuid>{}(r.id);
  }
};
template <>
struct std::hash<parley::message_id> {
  std::size_t operator()(const parley::message_id& m) const noexcept {
    return std::hash<parley::uuid>{}(m.id);
  }
};
template <>
struct std::hash<parley::room_key> {
  std::size_t operator()(const parley::room_key& k) const noexcept {
    return parley::hash_combine(std::hash<parley::tenant_no>{}(k.tenant),
                                std::hash<parley::room_id>{}(k.room));
  }
};
template <>
struct std::hash<parley::user_key> {
  std::size_t operator()(const parley::user_key& k) const noexcept {
    return parley::hash_combine(std::hash<parley::tenant_no>{}(k.tenant),
                                std::hash<parley::user_id>{}(k.user));
  }
};
