/// Any valid UTF-8 as a WebSocket message and as a REST body: never a crash, never a read too far, and the promises
/// that hold for every input.

#include "protocol/assert.hpp"
#include "protocol/client_frame.hpp"
#include "protocol/json_canonical.hpp"
#include "protocol/rest_body.hpp"
#include "protocol/server_frame.hpp"
#include "protocol/utf8.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

using namespace parley;

namespace {

struct check_bounds {
  const node_limits& bounds;

  void meta(const json_text& value) const {
    PARLEY_ASSERT(value.value.size() <= bounds.max_meta);
    const std::string canonical = canonical_json(value);
    PARLEY_ASSERT(canonical_json(json_text{canonical}) == canonical);
  }
  void operator()(const send_message_frame& f) const {
    PARLEY_ASSERT(is_valid_utf8(f.content));
    PARLEY_ASSERT(f.content.size() <= bounds.max_content);
    PARLEY_ASSERT(!f.content.empty() || !f.meta.empty());
    PARLEY_ASSERT(f.client_msg_id.size() <= limits::client_msg_id_max_bytes);
    meta(f.meta);
  }
  void operator()(const edit_message_frame& f) const {
    PARLEY_ASSERT(is_valid_utf8(f.content));
    PARLEY_ASSERT(f.content.size() <= bounds.max_content);
    if (f.meta) meta(*f.meta);
  }
  void operator()(const cursor_frame& f) const { PARLEY_ASSERT(!f.rooms.empty()); }
  void operator()(const sync_frame& f) const {
    for (const auto& p : f.rooms) PARLEY_ASSERT(!p.after || p.after->value >= 0);
  }
  template <class Other>
  void operator()(const Other&) const {}
};

void parse_frame(client_frame_parser& parser, const node_limits& bounds, std::string_view text) {
  std::vector<char> padded(text.begin(), text.end());
  padded.resize(text.size() + client_frame_parser::padding_bytes);
  const auto answer = parser.parse({padded.data(), text.size()});
  std::string out;
  if (const auto* understood = std::get_if<client_frame>(&answer)) {
    std::visit(check_bounds{bounds}, understood->command);
    append_ok(out, understood->refs);
  } else {
    const auto& rejected = std::get<rejected_frame>(answer);
    PARLEY_ASSERT(!rejected.why.message.empty());
    append_error_frame(out, rejected.refs, rejected.why);
  }
  // What we answer is itself a frame that the parser reads: well-formed, of an unknown type.
  PARLEY_ASSERT(is_valid_utf8(out));
  out.resize(out.size() + client_frame_parser::padding_bytes);
  const auto again = parser.parse({out.data(), out.size() - client_frame_parser::padding_bytes});
  PARLEY_ASSERT(std::get<rejected_frame>(again).why.field == "type");
}

void parse_bodies(rest_body_parser& parser, std::string_view text) {
  const std::vector<char> tight(text.begin(), text.end());
  const std::string_view body{tight.data(), tight.size()};
  static_cast<void>(parser.create_room(body));
  static_cast<void>(parser.send(body));
  static_cast<void>(parser.add_members(body));
  static_cast<void>(parser.cursor(body));
  static_cast<void>(parser.create_tenant(body));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const node_limits bounds;
  static client_frame_parser frames{bounds};
  static rest_body_parser bodies{bounds};
  const std::string text(data, data + size);
  parse_bodies(bodies, text);
  if (is_valid_utf8(text)) parse_frame(frames, bounds, text);
  return 0;
}
