#include "protocol/ws_codec.hpp"

#include "protocol/assert.hpp"
#include "protocol/client_frame.hpp"
#include "protocol/utf8.hpp"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

namespace parley {

namespace {

constexpr std::size_t padding = client_frame_parser::padding_bytes;
constexpr std::size_t control_max_bytes = 125;   // RFC 6455 §5.5
constexpr std::size_t header_max_bytes = 14;     // 2, 8 of length, 4 of mask
constexpr std::size_t first_block_bytes = 1024;  // a block for a partial message starts with this

enum class opcode : std::uint8_t {
  continuation = 0x0,
  text = 0x1,
  binary = 0x2,
  close = 0x8,
  ping = 0x9,
  pong = 0xa,
};
constexpr bool is_control(opcode op) { return (static_cast<unsigned>(op) & 0x8U) != 0; }

using mask_key = std::array<char, 4>;

struct frame_header {
  opcode op = opcode::continuation;
  bool final = true;
  mask_key mask{};
  std::uint64_t length = 0;
};

/// XORs `bytes` with the mask, whose phase is `offset` bytes into the payload.
void unmask(char* bytes, std::size_t count, const mask_key& mask, std::uint64_t offset) {
  std::array<char, 8> twice{};
  for (std::size_t i = 0; i < twice.size(); ++i) twice[i] = mask[(offset + i) % 4];
  std::uint64_t wide_mask = 0;
  std::memcpy(&wide_mask, twice.data(), 8);
  std::size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    std::uint64_t eight = 0;
    std::memcpy(&eight, bytes + i, 8);
    eight ^= wide_mask;
    std::memcpy(bytes + i, &eight, 8);
  }
  for (; i < count; ++i) bytes[i] = static_cast<char>(bytes[i] ^ twice[i % 8]);
}

/// The payload of a close frame may carry these (RFC 6455 §7.4 and the IANA registry).
constexpr bool is_valid_on_the_wire(unsigned code) {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
         (code >= 3000 && code <= 4999);
}

/// Bytes on the heap with an exact capacity: std::string may take twice what is asked.
class block {
 public:
  [[nodiscard]] char* data() { return bytes_.get(); }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::size_t capacity() const { return capacity_; }

  /// Grows by doubling, but never beyond `most` bytes and the padding.
  void append(std::string_view more, std::size_t most) {
    if (more.empty()) return;
    const std::size_t needed = size_ + more.size();
    PARLEY_ASSERT(needed <= most);
    if (needed + padding > capacity_) {
      const std::size_t doubled = std::max({needed, 2 * size_, first_block_bytes});
      grow(std::min(doubled, most) + padding);
    }
    std::copy(more.begin(), more.end(), bytes_.get() + size_);
    size_ = needed;
  }
  /// The bytes, with readable padding behind them.
  [[nodiscard]] std::span<char> padded() {
    if (capacity_ < size_ + padding) grow(size_ + padding);
    std::fill_n(bytes_.get() + size_, padding, '\0');
    return {bytes_.get(), size_};
  }

 private:
  void grow(std::size_t capacity) {
    auto bigger = std::make_unique_for_overwrite<char[]>(capacity);
    std::copy_n(bytes_.get(), size_, bigger.get());
    bytes_ = std::move(bigger);
    capacity_ = capacity;
  }

  std::unique_ptr<char[]> bytes_;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

block joined(std::span<const char> a, std::span<const char> b) {
  block out;
  out.append({a.data(), a.size()}, a.size() + b.size());
  out.append({b.data(), b.size()}, a.size() + b.size());
  return out;
}

}  // namespace

/// What is kept between reads. Freed as soon as nothing is.
struct ws_decoder::partial {
  // The frame that has begun.
  std::array<char, header_max_bytes> header_bytes{};
  std::uint8_t header_size = 0;  ///< of an incomplete header; 0: none
  bool in_payload = false;       ///< `frame` is known, and bytes of its payload are missing
  frame_header frame{};
  std::uint64_t received = 0;  ///< of the frame's payload
  // The text message that has begun, without the frame's part if that is complete in the buffer.
  bool in_message = false;
  block message;
  utf8_checker utf8;
  /// The payload of a control frame, which may stand between a message's fragments.
  std::array<char, control_max_bytes + padding> control{};
  // What the sink did not want yet.
  block unread;
  std::size_t unread_begin = 0;

  [[nodiscard]] bool is_frame_begun() const { return header_size > 0 || in_payload; }
  [[nodiscard]] bool is_needed() const {
    return is_frame_begun() || in_message || unread.size() > 0;
  }
};

/// One call of consume().
class ws_decoder::reader {
 public:
  reader(ws_decoder& decoder, ws_sink& sink) : self_(decoder), sink_(sink) {}

  /// Reads until the bytes end, a fault, a close frame or a pause. Returns how many bytes were used.
  std::size_t read(std::span<char> bytes) {
    at_ = bytes.data();
    end_ = at_ + bytes.size();
    while (at_ != end_ && !is_over() && !paused_) {
      if (self_.partial_ && self_.partial_->in_payload) {
        continue_payload(*self_.partial_);
      } else if (const auto frame = read_header()) {
        begin_payload(*frame);
      }
    }
    return static_cast<std::size_t>(at_ - bytes.data());
  }
  [[nodiscard]] close_code fault() const { return fault_; }
  [[nodiscard]] bool is_over() const { return fault_ != close_code::none || self_.finished_; }
  partial& keep() {
    if (!self_.partial_) self_.partial_ = std::make_unique<partial>();
    return *self_.partial_;
  }

 private:
  struct header_result {
    std::size_t size = 0;  ///< 0: more bytes are needed, or a fault
    frame_header frame;
  };

  [[nodiscard]] bool in_message() const { return self_.partial_ && self_.partial_->in_message; }
  header_result fail(close_code code) {
    fault_ = code;
    return {};
  }

  header_result parse_header(std::string_view bytes);
  std::optional<frame_header> read_header();
  void begin_payload(const frame_header& frame);
  void continue_payload(partial& kept);
  void add_to_message(partial& kept, std::string_view part);
  void end_of_data_frame(partial& kept, bool final);
  void on_control(opcode op, std::string_view payload);
  void on_close(std::string_view payload);

  ws_decoder& self_;
  ws_sink& sink_;
  char* at_ = nullptr;
  char* end_ = nullptr;
  close_code fault_ = close_code::none;
  bool paused_ = false;
};

/// Judges the bytes of a header in their order, each as soon as it is there: the verdict is the same however the stream
/// was cut.
ws_decoder::reader::header_result ws_decoder::reader::parse_header(std::string_view bytes) {
  const auto byte = [bytes](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  frame_header frame;
  frame.final = (byte(0) & 0x80U) != 0;
  frame.op = static_cast<opcode>(byte(0) & 0x0fU);
  if ((byte(0) & 0x70U) != 0) return fail(close_code::protocol_error);  // no extension was agreed
  switch (frame.op) {
    case opcode::continuation:
      if (!in_message()) return fail(close_code::protocol_error);
      break;
    case opcode::text:
    case opcode::binary:
      if (in_message()) return fail(close_code::protocol_error);
      if (frame.op == opcode::binary) return fail(close_code::unsupported_data);
      break;
    case opcode::close:
    case opcode::ping:
    case opcode::pong:
      if (!frame.final) return fail(close_code::protocol_error);
      break;
    default:
      return fail(close_code::protocol_error);
  }

  if (bytes.size() < 2) return {};
  if ((byte(1) & 0x80U) == 0) return fail(close_code::protocol_error);  // a client always masks
  frame.length = byte(1) & 0x7fU;
  if (is_control(frame.op) && frame.length > control_max_bytes) {
    return fail(close_code::protocol_error);
  }
  std::size_t size = 2;
  if (frame.length >= 126) {
    const std::size_t length_bytes = frame.length == 126 ? 2 : 8;
    const std::uint64_t shortest = frame.length == 126 ? 126 : 0x10000;
    if (bytes.size() < size + length_bytes) return {};
    frame.length = 0;
    for (std::size_t i = 0; i < length_bytes; ++i) {
      frame.length = (frame.length << 8U) | byte(size + i);
    }
    const bool has_top_bit = (frame.length >> 63U) != 0;
    if (frame.length < shortest || has_top_bit) return fail(close_code::protocol_error);
    size += length_bytes;
  }
  if (!is_control(frame.op)) {
    const std::size_t before = in_message() ? self_.partial_->message.size() : 0;
    if (before + frame.length > self_.max_message_bytes_) return fail(close_code::message_too_big);
  }

  if (bytes.size() < size + frame.mask.size()) return {};
  std::copy_n(bytes.data() + size, frame.mask.size(), frame.mask.data());
  return {size + frame.mask.size(), frame};
}

std::optional<frame_header> ws_decoder::reader::read_header() {
  const auto here = static_cast<std::size_t>(end_ - at_);
  const std::size_t before = self_.partial_ ? self_.partial_->header_size : 0;
  if (before == 0) {
    const header_result header = parse_header({at_, here});
    if (header.size > 0) {
      at_ += header.size;
      return header.frame;
    }
  }
  if (is_over()) return std::nullopt;

  partial& kept = keep();
  const std::size_t taken = std::min(here, kept.header_bytes.size() - before);
  std::copy_n(at_, taken, kept.header_bytes.data() + before);
  const header_result header = parse_header({kept.header_bytes.data(), before + taken});
  if (header.size == 0) {
    at_ += taken;
    kept.header_size = static_cast<std::uint8_t>(before + taken);
    return std::nullopt;
  }
  at_ += header.size - before;
  kept.header_size = 0;
  return header.frame;
}

void ws_decoder::reader::begin_payload(const frame_header& frame) {
  const bool is_whole = frame.length <= static_cast<std::uint64_t>(end_ - at_);
  if (!is_whole) {
    partial& kept = keep();
    kept.frame = frame;
    kept.in_payload = true;
    kept.received = 0;
    if (!is_control(frame.op)) kept.in_message = true;
    return;
  }
  const auto length = static_cast<std::size_t>(frame.length);
  const std::string_view payload{at_, length};
  unmask(at_, length, frame.mask, 0);
  at_ += length;
  if (is_control(frame.op)) {
    on_control(frame.op, payload);
  } else if (frame.final && !in_message()) {  // the usual case: nothing is copied
    if (is_valid_utf8(payload)) {
      paused_ = !sink_.on_text(payload);
    } else {
      fail(close_code::invalid_utf8);
    }
  } else {
    partial& kept = keep();
    kept.in_message = true;
    add_to_message(kept, payload);
    end_of_data_frame(kept, frame.final);
  }
}

void ws_decoder::reader::continue_payload(partial& kept) {
  const frame_header& frame = kept.frame;
  const auto taken = static_cast<std::size_t>(
      std::min(frame.length - kept.received, static_cast<std::uint64_t>(end_ - at_)));
  const std::string_view part{at_, taken};
  unmask(at_, taken, frame.mask, kept.received);
  at_ += taken;
  const bool is_last = kept.received + taken == frame.length;
  if (is_control(frame.op)) {
    std::copy(part.begin(), part.end(), kept.control.data() + kept.received);
  } else {
    add_to_message(kept, part);
  }
  kept.received += taken;
  if (!is_last || is_over()) return;

  kept.in_payload = false;
  if (is_control(frame.op)) {
    on_control(frame.op, {kept.control.data(), static_cast<std::size_t>(frame.length)});
  } else {
    end_of_data_frame(kept, frame.final);
  }
}

void ws_decoder::reader::add_to_message(partial& kept, std::string_view part) {
  if (!kept.utf8.feed(part)) {
    fail(close_code::invalid_utf8);
    return;
  }
  kept.message.append(part, self_.max_message_bytes_);
}

void ws_decoder::reader::end_of_data_frame(partial& kept, bool final) {
  if (!final || is_over()) return;
  if (!kept.utf8.complete()) {
    fail(close_code::invalid_utf8);
    return;
  }
  block message = std::exchange(kept.message, {});
  kept.utf8 = {};
  kept.in_message = false;
  const std::span<const char> text = message.padded();
  paused_ = !sink_.on_text({text.data(), text.size()});
}

void ws_decoder::reader::on_control(opcode op, std::string_view payload) {
  if (op == opcode::ping) {
    sink_.on_ping(payload);
  } else if (op == opcode::pong) {
    sink_.on_pong(payload);
  } else {
    on_close(payload);
  }
}

void ws_decoder::reader::on_close(std::string_view payload) {
  if (payload.empty()) {
    self_.finished_ = true;
    sink_.on_close(close_code::no_status, {});
    return;
  }
  const unsigned code = payload.size() < 2 ? 0
                                           : static_cast<unsigned char>(payload[0]) * 256U +
                                                 static_cast<unsigned char>(payload[1]);
  if (!is_valid_on_the_wire(code)) {
    fail(close_code::protocol_error);
    return;
  }
  const std::string_view reason = payload.substr(2);
  if (!is_valid_utf8(reason)) {
    fail(close_code::invalid_utf8);
    return;
  }
  self_.finished_ = true;
  sink_.on_close(static_cast<close_code>(code), reason);
}

ws_decoder::ws_decoder(std::size_t max_message_bytes)
    : max_message_bytes_(static_cast<std::uint32_t>(
          std::min<std::size_t>(max_message_bytes, std::numeric_limits<std::uint32_t>::max()))) {}
ws_decoder::~ws_decoder() = default;
ws_decoder::ws_decoder(ws_decoder&&) noexcept = default;
ws_decoder& ws_decoder::operator=(ws_decoder&&) noexcept = default;

close_code ws_decoder::consume(std::span<char> bytes, ws_sink& sink) {
  if (finished_) return close_code::none;
  reader now{*this, sink};
  if (partial_ && partial_->unread.size() > 0) {
    // After a pause: the kept bytes first. They stay where they are, however often the sink pauses again.
    block unread = std::exchange(partial_->unread, {});
    std::size_t begin = std::exchange(partial_->unread_begin, 0);
    if (!bytes.empty()) {
      unread = joined(unread.padded().subspan(begin), bytes);
      begin = 0;
    }
    const std::span<char> all = unread.padded();
    begin += now.read(all.subspan(begin));
    if (begin < all.size() && !now.is_over()) {
      partial& kept = now.keep();
      kept.unread = std::move(unread);
      kept.unread_begin = begin;
    }
  } else {
    const std::size_t used = now.read(bytes);
    if (used < bytes.size() && !now.is_over()) {
      now.keep().unread = joined(bytes.subspan(used), {});
    }
  }
  if (now.is_over()) {
    finished_ = true;
    partial_.reset();
  } else if (partial_ && !partial_->is_needed()) {
    partial_.reset();
  }
  return now.fault();
}

bool ws_decoder::in_message() const {
  return partial_ && (partial_->is_frame_begun() || partial_->in_message);
}

std::size_t ws_decoder::held_bytes() const {
  if (!partial_) return 0;
  const bool holds_control = partial_->in_payload && is_control(partial_->frame.op);
  return partial_->message.capacity() + partial_->unread.capacity() + partial_->header_size +
         (holds_control ? static_cast<std::size_t>(partial_->received) : 0);
}

std::string ws_accept_key(std::string_view client_key) {
  std::string text{client_key};
  text += "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";  // RFC 6455 §1.3
  std::array<unsigned char, SHA_DIGEST_LENGTH> digest{};
  unsigned int digest_bytes = 0;
  const int done =
      EVP_Digest(text.data(), text.size(), digest.data(), &digest_bytes, EVP_sha1(), nullptr);
  PARLEY_ASSERT(done == 1 && digest_bytes == digest.size());
  std::array<unsigned char, 4 * ((SHA_DIGEST_LENGTH + 2) / 3) + 1> base64{};  // and a final zero
  const int length = EVP_EncodeBlock(base64.data(), digest.data(), static_cast<int>(digest.size()));
  return {base64.begin(), base64.begin() + length};
}

bool is_valid_ws_key(std::string_view client_key) {
  constexpr std::size_t digits = 22;  // 128 bits, 6 each; then two `=`
  const auto is_base64 = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
  };
  return client_key.size() == digits + 2 && client_key.ends_with("==") &&
         std::all_of(client_key.begin(), client_key.begin() + digits, is_base64);
}

}  // namespace parley
