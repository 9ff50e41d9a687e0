/// Any bytes as a client's stream: cut in two ways, the decoder must say the same, and hold no more than it may.

#include "protocol/assert.hpp"
#include "protocol/client_frame.hpp"
#include "protocol/utf8.hpp"
#include "protocol/ws_codec.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

using namespace parley;

namespace {

constexpr std::size_t max_message_bytes = 1000;
constexpr std::size_t header_max_bytes = 14;
constexpr std::size_t control_max_bytes = 125;

class recorder final : public ws_sink {
 public:
  explicit recorder(bool pauses) : pauses_(pauses) {}
  bool on_text(std::string_view text) override {
    PARLEY_ASSERT(text.size() <= max_message_bytes);
    PARLEY_ASSERT(is_valid_utf8(text));
    note('t', text);
    return !pauses_;
  }
  void on_ping(std::string_view payload) override { note('p', payload); }
  void on_pong(std::string_view payload) override { note('q', payload); }
  void on_close(close_code code, std::string_view reason) override {
    heard += std::to_string(static_cast<int>(code));
    note('c', reason);
  }
  std::string heard;

 private:
  void note(char kind, std::string_view text) {
    PARLEY_ASSERT(kind == 't' || text.size() <= control_max_bytes);
    heard += kind;
    heard += std::to_string(text.size());
    heard += text;
  }
  bool pauses_;
};

close_code feed(ws_decoder& decoder, ws_sink& sink, std::string_view bytes) {
  std::vector<char> buffer(bytes.begin(), bytes.end());
  buffer.resize(bytes.size() + client_frame_parser::padding_bytes);
  return decoder.consume(std::span{buffer}.first(bytes.size()), sink);
}

std::string in_one_piece(std::string_view stream) {
  ws_decoder decoder{max_message_bytes};
  recorder sink{false};
  const close_code code = feed(decoder, sink, stream);
  return sink.heard + "|" + std::to_string(static_cast<int>(code));
}

/// In pieces of `step` bytes; with pauses after each message when `pauses`.
std::string in_pieces(std::string_view stream, std::size_t step, bool pauses) {
  ws_decoder decoder{max_message_bytes};
  recorder sink{pauses};
  close_code code = close_code::none;
  for (std::size_t at = 0; at < stream.size() && code == close_code::none; at += step) {
    code = feed(decoder, sink, stream.substr(at, step));
    std::size_t before = 0;
    while (pauses && code == close_code::none && before != sink.heard.size()) {
      before = sink.heard.size();
      code = decoder.consume({}, sink);
    }
    PARLEY_ASSERT(decoder.held_bytes() <= max_message_bytes + client_frame_parser::padding_bytes +
                                              header_max_bytes + control_max_bytes);
  }
  return sink.heard + "|" + std::to_string(static_cast<int>(code));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t step = 1 + data[0] % 40;
  const std::string stream(data + 1, data + size);
  const std::string whole = in_one_piece(stream);
  PARLEY_ASSERT(in_pieces(stream, 1, false) == whole);
  PARLEY_ASSERT(in_pieces(stream, step, false) == whole);
  PARLEY_ASSERT(in_pieces(stream, step, true) == whole);
  return 0;
}
