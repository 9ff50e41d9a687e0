#pragma once
/// The client's side of RFC 6455, written apart from the code under test.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace parley::net::testing {

enum opcode : unsigned {
  continuation = 0,
  text = 1,
  binary = 2,
  close_op = 8,
  ping = 9,
  pong = 10
};

/// A masked frame.
inline std::string masked_frame(unsigned op, std::string_view payload, bool is_final = true,
                                std::uint32_t mask = 0x37fa213d) {
  std::string out;
  const auto put = [&out](std::uint64_t value, int bytes) {
    for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<char>(value >> (8 * i)));
  };
  put((is_final ? 0x80U : 0U) | op, 1);
  if (payload.size() < 126) {
    put(0x80U | payload.size(), 1);
  } else if (payload.size() < 65536) {
    put(0x80U | 126U, 1);
    put(payload.size(), 2);
  } else {
    put(0x80U | 127U, 1);
    put(payload.size(), 8);
  }
  put(mask, 4);
  for (std::size_t i = 0; i < payload.size(); ++i) {
    out.push_back(static_cast<char>(payload[i] ^ static_cast<char>(mask >> (8 * (3 - i % 4)))));
  }
  return out;
}
inline std::string masked_close(unsigned code, std::string_view reason = {}) {
  std::string payload{static_cast<char>(code >> 8U), static_cast<char>(code)};
  return masked_frame(close_op, payload.append(reason));
}

struct server_frame {
  unsigned op = 0;
  std::string payload;
  /// Of a close frame; 0: none.
  [[nodiscard]] unsigned close_code() const {
    if (payload.size() < 2) return 0;
    return static_cast<unsigned char>(payload[0]) * 256U + static_cast<unsigned char>(payload[1]);
  }
};

/// Takes one frame off the front of `from`; nothing as long as it is not complete. Throws at what no server may send.
inline std::optional<server_frame> take_frame(std::string& from) {
  const auto byte = [&from](std::size_t i) { return static_cast<unsigned char>(from[i]); };
  if (from.size() < 2) return std::nullopt;
  if ((byte(0) & 0xf0U) != 0x80U) throw std::runtime_error{"not final, or RSV bits"};
  if ((byte(1) & 0x80U) != 0) throw std::runtime_error{"masked"};
  std::size_t header = 2;
  std::uint64_t length = byte(1);
  if (length >= 126) {
    const std::size_t more = length == 126 ? 2 : 8;
    if (from.size() < 2 + more) return std::nullopt;
    length = 0;
    for (std::size_t i = 0; i < more; ++i) length = length << 8U | byte(2 + i);
    header += more;
  }
  if (from.size() < header + length) return std::nullopt;
  server_frame out{byte(0) & 0x0fU, from.substr(header, length)};
  from.erase(0, header + length);
  return out;
}

}  // namespace parley::net::testing
