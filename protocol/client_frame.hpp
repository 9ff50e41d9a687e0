#pragma once
/// What a client may say on a WebSocket (SPEC 5): JSON text → command. Both envelopes: flat `{"type":…, …}` and
/// ChatAPI's nested `{"type":…, "data":{…}}`. Pure; one parser per thread, it keeps its buffers.

#include "protocol/entry.hpp"
#include "protocol/ids.hpp"
#include "protocol/limits.hpp"
#include "protocol/result.hpp"

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace parley {

struct send_message_frame {
  room_id room;
  std::string content;
  json_text meta;             ///< minified; empty: null or not given
  std::string client_msg_id;  ///< empty: none
  std::optional<message_id> reply_to;
};
struct edit_message_frame {
  room_id room;
  message_id message;
  std::string content;
  std::optional<json_text> meta;  ///< nullopt: not given, it stays
  std::string client_msg_id;
};
struct delete_message_frame {
  room_id room;
  message_id message;
  std::string client_msg_id;
};
struct cursor_frame {  ///< `ack` and `read`; one room or several
  bool read = false;
  std::vector<std::pair<room_id, room_seq>> rooms;
};
struct typing_frame {
  room_id room;
  bool start = true;
};
struct sync_frame {
  std::optional<std::string> epoch;
  struct position {
    std::string text;               ///< as the client wrote it, for its outcome (`gone` echoes it)
    std::optional<room_id> room;    ///< nullopt: no such room can exist
    std::optional<room_seq> after;  ///< nullopt: null, from now on
  };
  std::vector<position> rooms;
  bool rest_live = false;
};
struct subscribe_frame {
  room_id room;
};
struct unsubscribe_frame {
  room_id room;
};
struct notification_ack_frame {
  std::string notification_id;
};
struct presence_set_frame {
  bool away = false;
};
struct auth_frame {
  std::string token;
  bool refresh = false;
};
struct ping_frame {};

using client_command =
    std::variant<send_message_frame, edit_message_frame, delete_message_frame, cursor_frame,
                 typing_frame, sync_frame, subscribe_frame, unsubscribe_frame,
                 notification_ack_frame, presence_set_frame, auth_frame, ping_frame>;

/// What must be echoed in the one reply to a frame (SPEC 2.5).
struct reply_refs {
  std::string request_id;     ///< its JSON text, unchanged (`"a"` or `7`); empty: none
  std::string client_msg_id;  ///< empty: none
  std::string room_id;        ///< as sent, ≤ 128 bytes; empty: none
};

struct client_frame {
  reply_refs refs;
  client_command command;
};
/// A frame that was not understood: the connection lives on and answers with `why`. `why.stored` is `no` for sends.
struct rejected_frame {
  reply_refs refs;
  error why;
};

/// Not thread-safe.
class client_frame_parser {
 public:
  explicit client_frame_parser(const node_limits& bounds);
  ~client_frame_parser();
  client_frame_parser(client_frame_parser&&) noexcept;
  client_frame_parser& operator=(client_frame_parser&&) noexcept;

  /// Bytes that must be readable after the payload (validate_utf8 and the scanner read in blocks).
  static constexpr std::size_t padding_bytes = 64;

  /// Parses one text message; `text` is valid UTF-8 (the codec checks) and followed by `padding_bytes` readable bytes.
  /// Checked here: one JSON object and nothing after it, depth ≤ max_json_depth, no duplicate keys in any object
  /// (also nested, in escaped spellings), no lone surrogates, types and sizes of the known fields (SPEC 4 «Bounds»),
  /// `request_id` a string or integer ≤ 128 bytes, content empty only with meta. Unknown fields are ignored, unknown
  /// types are VALIDATION_ERROR with field `type`. A room or message id that no room can have is NOT_FOUND, in the
  /// same words as an unknown one.
  std::variant<client_frame, rejected_frame> parse(std::string_view text);

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace parley
