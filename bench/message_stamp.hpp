#pragma once
/// What the load writes into a message so that any receiver, in any thread, knows whose it is and when it was due:
/// `client_msg_id` = "<sender>-<number>-<due>", hexadecimal; due in nanoseconds of the steady clock.
/// `content` = the same text, then filler up to the wanted size.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace parley::bench {

struct message_stamp {
  std::uint32_t sender = 0;
  std::uint32_t number = 0;  // of this sender, from 0
  std::int64_t due_ns = 0;
  friend bool operator==(const message_stamp&, const message_stamp&) = default;
};

void append_stamp(std::string& out, const message_stamp& stamp);
/// nullopt: not one of ours.
[[nodiscard]] std::optional<message_stamp> read_stamp(std::string_view text);

/// Writes and recognises contents of one size.
class content_pattern {
 public:
  explicit content_pattern(std::size_t content_bytes);
  void append(std::string& out, std::string_view stamp_text) const;
  [[nodiscard]] bool matches(std::string_view content, std::string_view stamp_text) const;
  [[nodiscard]] std::size_t content_bytes() const { return filler_.size(); }

 private:
  std::string filler_;  // whole size; the stamp covers its beginning
};

}  // namespace parley::bench
