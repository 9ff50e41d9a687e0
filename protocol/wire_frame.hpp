#pragma once
/// One server frame, encoded once, shared by all who receive it. Immutable; may cross threads.

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace parley {

/// The bytes of one unmasked, final RFC 6455 frame: header, then payload.
struct wire_frame {
  std::string bytes;
  std::size_t header_bytes = 0;
  [[nodiscard]] std::string_view payload() const {
    return std::string_view{bytes}.substr(header_bytes);
  }
};
using frame_ptr = std::shared_ptr<const wire_frame>;

/// A text frame round `json` (opcode 1, FIN, no mask).
[[nodiscard]] frame_ptr make_text_frame(std::string_view json);
/// Control frames (opcode 8, 9, 10); payload ≤ 125 bytes.
[[nodiscard]] frame_ptr make_ping_frame(std::string_view payload);
[[nodiscard]] frame_ptr make_pong_frame(std::string_view payload);

}  // namespace parley
