#pragma once
/// Words for the setup of tests of the deciding classes: people, rooms, times.

#include "actors/messages.hpp"
#include "protocol/seams.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace parley::actors::words {

inline const user_id ann{"ann"};
inline const user_id bob{"bob"};
inline const user_id cyd{"cyd"};
inline const user_id dan{"dan"};
inline const user_id eve{"eve"};

inline constexpr tenant_no acme{1};
inline constexpr tenant_no globex{2};
inline constexpr utc_time noon = from_unix_ms(1764072000000);

class still_clock final : public clock {
 public:
  [[nodiscard]] utc_time now() const override { return at; }
  [[nodiscard]] mono_time mono() const override { return mono_time{at.time_since_epoch()}; }
  utc_time at = noon;
};

class counting_random final : public random_source {
 public:
  void fill(std::span<std::uint8_t> out) override {
    for (auto& byte : out) byte = static_cast<std::uint8_t>(++count_ * 37);
  }

 private:
  std::uint32_t count_ = 0;
};

inline uuid numbered(std::uint8_t n) {
  uuid id;
  id.bytes[0] = 1;
  id.bytes[15] = n;
  return id;
}
inline room_id room_id_of(std::uint8_t n) { return room_id{numbered(n)}; }
inline room_key key_of(std::uint8_t n, tenant_no tenant = acme) { return {tenant, room_id_of(n)}; }

inline user_id user_no_of(std::size_t n) { return user_id{"user" + std::to_string(n)}; }

inline store::member_row member(const user_id& user, member_role role = member_role::member,
                                std::int64_t joined_seq = 0) {
  return {user, role, room_seq{joined_seq}, noon};
}

/// A room as storage opens it.
inline store::opened_room an_open_room(room_type type, std::vector<store::member_row> members,
                                       std::int64_t last_seq = 0) {
  store::opened_room out;
  out.no = room_no{5};
  out.info.id = room_id_of(1);
  out.info.type = type;
  out.info.last_seq = room_seq{last_seq};
  out.info.member_count = static_cast<std::int64_t>(members.size());
  out.info.created_at = noon;
  out.members = std::move(members);
  return out;
}

inline caller by(const user_id& user) { return {user}; }
inline caller by_backend() { return {}; }

inline send_command message_from(const user_id& sender, std::string content = "hello") {
  send_command out;
  out.sender = sender;
  out.body = hash128_of(content);
  out.content = std::move(content);
  return out;
}
inline send_command keyed_message_from(const user_id& sender, const std::string& key,
                                       std::string content = "hello") {
  auto out = message_from(sender, std::move(content));
  out.client_msg_id = key;
  out.key = hash128_of(key);
  return out;
}

/// A message of the log, as a reader finds it.
inline entry a_message(std::int64_t seq, const user_id& sender, std::string content = "first",
                       json_text meta = {}) {
  message_body body{.sender = sender, .content = std::move(content), .meta = std::move(meta)};
  return {room_seq{seq}, message_id{numbered(static_cast<std::uint8_t>(seq))}, sender, noon,
          std::move(body)};
}
inline edit_message_command edit_of(const entry& message, std::string content,
                                    std::optional<json_text> meta = {}) {
  edit_message_command out;
  out.message = message.message;
  out.body = hash128_of(content);
  out.content = std::move(content);
  out.meta = std::move(meta);
  return out;
}
inline delete_message_command delete_of(const entry& message) { return {message.message, {}, {}}; }
template <class Command>
Command keyed(Command c, const std::string& key) {
  c.key = hash128_of(key);
  return c;
}

inline bool is_error(const room_outcome& o, error_code code) {
  const auto* e = std::get_if<error>(&o);
  return e != nullptr && e->code == code;
}

}  // namespace parley::actors::words
