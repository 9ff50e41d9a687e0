#include "bench/client_codec.hpp"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include <array>
#include <charconv>
#include <cstring>

namespace parley::bench {
namespace {

constexpr std::uint64_t control_max_bytes = 125;

std::uint64_t big_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (const char c : bytes) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

std::string base64(const unsigned char* bytes, std::size_t count) {
  std::string out((count + 2) / 3 * 4 + 1, '\0');  // EVP_EncodeBlock ends with a zero byte
  std::array<unsigned char, 32> encoded{};
  const int length = EVP_EncodeBlock(encoded.data(), bytes, static_cast<int>(count));
  out.assign(encoded.begin(), encoded.begin() + length);
  return out;
}

void append_masked(std::string& out, std::string_view payload, std::uint32_t mask) {
  const std::size_t start = out.size();
  out.append(payload);
  char* const to = out.data() + start;
  const std::uint64_t wide = std::uint64_t{mask} << 32 | mask;
  std::size_t i = 0;
  for (; i + sizeof wide <= payload.size(); i += sizeof wide) {
    std::uint64_t word = 0;
    std::memcpy(&word, to + i, sizeof word);
    word ^= wide;
    std::memcpy(to + i, &word, sizeof word);
  }
  std::array<char, sizeof mask> key{};
  std::memcpy(key.data(), &mask, sizeof mask);
  for (; i < payload.size(); ++i) to[i] = static_cast<char>(to[i] ^ key[i % key.size()]);
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

}  // namespace

void append_frame(std::string& out, opcode op, std::string_view payload, std::uint32_t mask) {
  constexpr unsigned char is_final = 0x80;
  constexpr unsigned char is_masked = 0x80;
  std::array<char, 14> head{};
  std::size_t size = 0;
  const auto put = [&](std::uint64_t byte) { head[size++] = static_cast<char>(byte); };
  put(is_final | static_cast<unsigned char>(op));
  if (payload.size() < 126) {
    put(is_masked | payload.size());
  } else if (payload.size() <= 0xffff) {
    put(is_masked | 126);
    put(payload.size() >> 8);
    put(payload.size() & 0xff);
  } else {
    put(is_masked | 127);
    for (int shift = 56; shift >= 0; shift -= 8) put(payload.size() >> shift & 0xff);
  }
  std::memcpy(head.data() + size, &mask, sizeof mask);
  size += sizeof mask;
  out.append(head.data(), size);
  append_masked(out, payload, mask);
}

void append_close(std::string& out, std::uint16_t code, std::uint32_t mask) {
  const std::array<char, 2> payload{static_cast<char>(code >> 8), static_cast<char>(code & 0xff)};
  append_frame(out, opcode::close, {payload.data(), payload.size()}, mask);
}

cut_result cut_frame(std::string_view bytes) {
  const auto broken = [](const char* why) {
    cut_result result;
    result.outcome = cut::broken;
    result.why = why;
    return result;
  };
  if (bytes.size() < 2) return {};
  const auto first = static_cast<unsigned char>(bytes[0]);
  const auto second = static_cast<unsigned char>(bytes[1]);
  if ((first & 0x70) != 0) return broken("a reserved bit is set");
  if ((second & 0x80) != 0) return broken("a server's frame is masked");
  const auto op = static_cast<opcode>(first & 0x0f);
  const bool is_final = (first & 0x80) != 0;
  switch (op) {
    case opcode::continuation:
    case opcode::text:
    case opcode::binary:
      break;
    case opcode::close:
    case opcode::ping:
    case opcode::pong:
      if (!is_final) return broken("a control frame is fragmented");
      if ((second & 0x7f) > control_max_bytes) return broken("a control frame over 125 bytes");
      break;
    default:
      return broken("an unknown opcode");
  }
  std::uint64_t length = second & 0x7f;
  std::size_t head = 2;
  if (length == 126) {
    head = 4;
    if (bytes.size() < head) return {};
    length = big_endian(bytes.substr(2, 2));
    if (length < 126) return broken("a length is not in its shortest form");
  } else if (length == 127) {
    head = 10;
    if (bytes.size() < head) return {};
    length = big_endian(bytes.substr(2, 8));
    if (length <= 0xffff) return broken("a length is not in its shortest form");
  }
  if (length > frame_max_bytes) return broken("a frame over 16 MiB");
  cut_result result;
  result.wanted = head + length;
  if (bytes.size() < result.wanted) return result;
  result.outcome = cut::frame;
  result.frame = {op, is_final, bytes.substr(head, length)};
  result.used = result.wanted;
  return result;
}

close_notice read_close(std::string_view payload) {
  close_notice notice;
  if (payload.size() >= 2) {
    notice.code = static_cast<std::uint16_t>(big_endian(payload.substr(0, 2)));
    notice.reason = std::string{payload.substr(2)};
  }
  return notice;
}

std::string handshake_key(std::uint64_t high, std::uint64_t low) {
  std::array<unsigned char, 16> bytes{};
  std::memcpy(bytes.data(), &high, sizeof high);
  std::memcpy(bytes.data() + sizeof high, &low, sizeof low);
  return base64(bytes.data(), bytes.size());
}

std::string accept_of(std::string_view key) {
  std::string text{key};
  text += "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";  // RFC 6455 1.3
  std::array<unsigned char, SHA_DIGEST_LENGTH> digest{};
  std::string input = text;
  SHA1(reinterpret_cast<const unsigned char*>(input.data()), input.size(), digest.data());
  return base64(digest.data(), digest.size());
}

std::optional<std::string_view> response_head::header(std::string_view name) const {
  std::string_view rest = text;
  rest.remove_prefix(std::min(rest.find("\r\n") + 2, rest.size()));
  while (!rest.empty()) {
    const auto end = std::min(rest.find("\r\n"), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 2, rest.size()));
    if (line.size() > name.size() && line[name.size()] == ':' && line.starts_with(name)) {
      return trimmed(line.substr(name.size() + 1));
    }
  }
  return std::nullopt;
}

std::optional<response_head> read_response_head(std::string_view bytes) {
  const auto end = bytes.find("\r\n\r\n");
  if (end == std::string_view::npos) return std::nullopt;
  response_head head;
  head.head_bytes = end + 4;
  head.text = std::string{bytes.substr(0, end + 2)};
  // Names in lower case, once, so that look-ups are plain comparisons.
  bool in_name = false;
  for (std::size_t i = 0; i < head.text.size(); ++i) {
    if (head.text[i] == '\n') {
      in_name = true;
    } else if (head.text[i] == ':') {
      in_name = false;
    } else if (in_name) {
      head.text[i] = lower(head.text[i]);
    }
  }
  constexpr std::string_view version = "HTTP/1.1 ";
  if (bytes.starts_with(version)) {
    const char* const digits = bytes.data() + version.size();
    std::from_chars(digits, digits + std::min<std::size_t>(3, end - version.size()), head.status);
  }
  return head;
}

}  // namespace parley::bench
