#include "tests/support/ws_client.hpp"

#include "protocol/utf8.hpp"

#include <array>
#include <utility>

namespace parley::tests {
namespace {

using clock = std::chrono::steady_clock;

constexpr std::size_t message_max_bytes = 64 * 1024 * 1024;

// RFC 6455 §1.3 has this pair as its example; the server cannot tell that it is always the same.
constexpr std::string_view fixed_key = "dGhlIHNhbXBsZSBub25jZQ==";
constexpr std::string_view fixed_accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

std::uint64_t big_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (const char c : bytes) value = (value << 8U) | static_cast<unsigned char>(c);
  return value;
}

void append_big_endian(std::string& out, std::uint64_t value, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) {
    out += static_cast<char>((value >> (8U * static_cast<unsigned>(i))) & 0xffU);
  }
}

std::string how(const close_seen& c) {
  return "the connection ended with " + std::to_string(c.code) + " " + c.reason;
}

}  // namespace

upgrade_refused::upgrade_refused(rest_reply r)
    : std::runtime_error("the upgrade was answered with " + std::to_string(r.status) + " " + r.body),
      reply(std::move(r)) {}

connection_closed::connection_closed(close_seen c)
    : std::runtime_error(how(c)),
      seen(std::move(c)) {}

std::string client_frame_bytes(ws_opcode opcode, std::string_view payload,
                               const ws_client::frame_options& options, std::uint32_t mask) {
  std::string bytes;
  bytes += static_cast<char>((options.final ? 0x80U : 0U) |
                             (static_cast<unsigned>(options.reserved_bits) << 4U) |
                             static_cast<unsigned>(opcode));
  const unsigned mask_bit = options.masked ? 0x80U : 0U;
  if (payload.size() < 126) {
    bytes += static_cast<char>(mask_bit | payload.size());
  } else if (payload.size() <= 0xffff) {
    bytes += static_cast<char>(mask_bit | 126U);
    append_big_endian(bytes, payload.size(), 2);
  } else {
    bytes += static_cast<char>(mask_bit | 127U);
    append_big_endian(bytes, payload.size(), 8);
  }
  if (!options.masked) return bytes.append(payload);
  append_big_endian(bytes, mask, 4);
  const auto key = bytes.substr(bytes.size() - 4);
  for (std::size_t i = 0; i < payload.size(); ++i) {
    bytes += static_cast<char>(payload[i] ^ key[i % 4]);
  }
  return bytes;
}

ws_client::ws_client(std::string_view address, const ws_options& options)
    : stream_(address, {options.within, options.source, options.receive_buffer_bytes}),
      answer_pings_(options.answer_pings) {
  upgrade(address, options);
}

void ws_client::upgrade(std::string_view address, const ws_options& options) {
  std::string request = "GET " + options.path;
  if (!options.query.empty()) request += "?" + options.query;
  request += " HTTP/1.1\r\nHost: " + std::string{address} +
             "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Key: " +
             std::string{fixed_key} + "\r\n";
  if (!options.protocols.empty())
    request += "Sec-WebSocket-Protocol: " + options.protocols + "\r\n";
  for (const auto& [name, value] : options.headers) request += name + ": " + value + "\r\n";
  request += "\r\n";
  stream_.write(request, options.within);
  upgrade_ = read_reply(stream_, buffered_, false, options.within);
  if (upgrade_.status != 101) throw upgrade_refused{upgrade_};
  if (upgrade_.header("sec-websocket-accept") != fixed_accept) {
    throw bad_answer{"a wrong Sec-WebSocket-Accept"};
  }
}

void ws_client::send_text(std::string_view text) { send_frame(ws_opcode::text, text); }

void ws_client::send_json(const nlohmann::json& value) { send_text(value.dump()); }

void ws_client::send_frame(ws_opcode opcode, std::string_view payload) {
  send_frame(opcode, payload, frame_options{});
}

void ws_client::send_frame(ws_opcode opcode, std::string_view payload, frame_options options) {
  mask_ = mask_ * 1664525U + 1013904223U;  // another one each time, the same in each run
  send_raw(client_frame_bytes(opcode, payload, options, mask_));
}

void ws_client::send_raw(std::string_view bytes) {
  if (closed_) throw connection_closed{*closed_};
  stream_.write(bytes);
}

void ws_client::send_close(int code, std::string_view reason) {
  std::string payload;
  append_big_endian(payload, static_cast<std::uint64_t>(code), 2);
  send_frame(ws_opcode::close, payload.append(reason));
}

std::chrono::milliseconds ws_client::left_until(clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - clock::now());
  return std::max(left, std::chrono::milliseconds{0});
}

/// A whole frame from what has been read, if there is one.
std::optional<ws_client::frame> ws_client::cut_frame() {
  if (buffered_.size() < 2) return std::nullopt;
  const auto first = static_cast<unsigned char>(buffered_[0]);
  const auto second = static_cast<unsigned char>(buffered_[1]);
  const auto opcode = static_cast<ws_opcode>(first & 0x0fU);
  if ((first & 0x70U) != 0) throw bad_answer{"a server frame with reserved bits"};
  if ((second & 0x80U) != 0) throw bad_answer{"a masked server frame"};
  if ((first & 0x80U) == 0) throw bad_answer{"a fragmented server frame"};
  std::uint64_t length = second & 0x7fU;
  std::size_t head = 2;
  if (length >= 126) {
    head = length == 126 ? 4 : 10;
    if (buffered_.size() < head) return std::nullopt;
    const bool long_form = length == 127;
    length = big_endian(std::string_view{buffered_}.substr(2, head - 2));
    if (length < (long_form ? 0x10000U : 126U)) throw bad_answer{"a length that is not minimal"};
  }
  const bool control = static_cast<unsigned>(opcode) >= 8;
  if (control && length > 125) throw bad_answer{"a long control frame"};
  if (length > message_max_bytes) throw bad_answer{"a server frame of " + std::to_string(length)};
  if (buffered_.size() < head + length) return std::nullopt;
  frame f{opcode, buffered_.substr(head, length)};
  buffered_.erase(0, head + length);
  return f;
}

std::optional<ws_client::frame> ws_client::next_frame(clock::time_point deadline) {
  while (true) {
    if (auto f = cut_frame()) return f;
    try {
      auto piece = stream_.read_some(left_until(deadline));
      if (piece.empty()) ended({});
      buffered_ += piece;
    } catch (const deadline_passed&) {
      return std::nullopt;
    } catch (const connection_lost&) {
      ended({});
    }
  }
}

void ws_client::ended(close_seen how_) {
  closed_ = std::move(how_);
  stream_.close();
  throw connection_closed{*closed_};
}

std::optional<std::string> ws_client::next_text(std::chrono::milliseconds within) {
  if (closed_) throw connection_closed{*closed_};
  const auto deadline = clock::now() + within;
  while (auto f = next_frame(deadline)) {
    switch (f->opcode) {
      case ws_opcode::text:
        if (!is_valid_utf8(f->payload)) throw bad_answer{"a text frame that is not UTF-8"};
        return std::move(f->payload);
      case ws_opcode::ping:
        ++pings_;
        if (answer_pings_) send_frame(ws_opcode::pong, f->payload);
        break;
      case ws_opcode::pong:
        ++pongs_;
        break;
      case ws_opcode::close: {
        close_seen seen{1005, ""};
        if (f->payload.size() == 1) throw bad_answer{"a close frame of one byte"};
        if (f->payload.size() >= 2) {
          seen.code = static_cast<int>(big_endian(std::string_view{f->payload}.substr(0, 2)));
          seen.reason = f->payload.substr(2);
        }
        try {  // the peer may be gone already
          send_frame(ws_opcode::close, f->payload.substr(0, 2));
        } catch (const std::exception&) {}
        ended(std::move(seen));
        break;
      }
      default:
        throw bad_answer{"a frame with an opcode that no server sends"};
    }
  }
  return std::nullopt;
}

nlohmann::json ws_client::receive_json(std::chrono::milliseconds within) {
  auto text = next_text(within);
  if (!text) {
    const auto last = received_.empty() ? "nothing" : received_.back().dump().substr(0, 300);
    throw deadline_passed{"no message came in time; the last one was " + last};
  }
  auto message = nlohmann::json::parse(*text, nullptr, false);
  if (message.is_discarded() || !message.is_object()) {
    throw bad_answer{"a message that is no JSON object: " + text->substr(0, 300)};
  }
  received_.push_back(message);
  return message;
}

nlohmann::json ws_client::receive_type(std::string_view type, std::chrono::milliseconds within) {
  return receive_until([&](const nlohmann::json& m) { return m.value("type", "") == type; }, within);
}

nlohmann::json ws_client::call(nlohmann::json request, std::chrono::milliseconds within) {
  const auto id = "call-" + std::to_string(++calls_);
  request["request_id"] = id;
  send_json(request);
  return receive_until(
      [&](const nlohmann::json& m) { return m.contains("request_id") && m["request_id"] == id; },
      within);
}

void ws_client::drain(std::chrono::milliseconds quiet) {
  while (auto text = next_text(quiet)) {
    received_.push_back(nlohmann::json::parse(*text));
  }
}

close_seen ws_client::await_close(std::chrono::milliseconds within) {
  const auto deadline = clock::now() + within;
  try {
    while (next_text(left_until(deadline))) {}
  } catch (const connection_closed& e) {
    return e.seen;
  }
  throw deadline_passed{"the connection was not closed in time"};
}

}  // namespace parley::tests
