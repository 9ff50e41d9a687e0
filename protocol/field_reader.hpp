#pragma once
/// The rules of the fields that WebSocket frames and REST bodies share (SPEC 4 «Bounds»): slices in, values out.
/// The first thing wrong is kept and a default goes on in its place, so that callers read straight down.

#include "protocol/client_frame.hpp"
#include "protocol/entry.hpp"
#include "protocol/errors.hpp"
#include "protocol/ids.hpp"
#include "protocol/json_scan.hpp"
#include "protocol/limits.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace parley {

/// Not thread-safe; one per frame or body.
class field_reader {
 public:
  explicit field_reader(const node_limits& bounds) : bounds_(bounds) {}

  /// What is wrong, if anything. A room or message that can't exist is told last: what else is wrong is refused before
  /// anyone looks for the room, so both must answer alike (SPEC 2.7).
  [[nodiscard]] std::optional<error> failure() const;
  /// Notes `field` as wrong: the message is `<field> <what>`.
  void refuse(std::string_view field, std::string_view what);
  void refuse(error why);

  /// Optional unless said otherwise: null counts as not given.
  std::string content(const json_slice& content,
                      const json_slice& meta);  ///< required; empty only with meta
  json_text meta(const json_slice& value,
                 std::string_view field);  ///< ≤ max_meta, minified; null: empty
  std::string client_msg_id(const json_slice& value);
  std::optional<message_id> reply_to(const json_slice& value);
  room_id room(const json_slice& value);                                             ///< required
  message_id message(const json_slice& value);                                       ///< required
  room_seq seq(const json_slice& value, std::string_view field);                     ///< required
  std::optional<std::string> name(const json_slice& value, std::string_view field);  ///< ≤ max_name
  std::optional<user_id> user(const json_slice& value, std::string_view field);
  std::vector<user_id> users(const json_slice& value, std::string_view field,
                             std::size_t max_ids);  ///< required; twice counts once
  /// A required string of at least one byte.
  std::string word(const json_slice& value, std::string_view field);
  /// A required string as it is; nullopt: refused.
  std::optional<std::string> text(const json_slice& value, std::string_view field);

  /// Has something been refused? Cheaper than failure().
  [[nodiscard]] bool has_failed() const { return wrong_ || unknown_; }

 private:
  bool require_string(const json_slice& value, std::string_view field);
  /// Refuses what is longer than the bound of that configuration key.
  void check_size(std::string_view field, std::size_t bytes, std::string_view key, std::size_t bound);

  const node_limits& bounds_;
  std::optional<error> wrong_;
  std::optional<error> unknown_;  ///< NOT_FOUND
};

/// `{"type":…}` says «not JSON», «nested too deeply» and the like in one way.
[[nodiscard]] error malformed(json_fault fault, std::string_view field = {});

}  // namespace parley
