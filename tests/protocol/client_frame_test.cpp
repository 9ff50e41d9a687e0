#include "protocol/client_frame.hpp"

#include "protocol/utf8.hpp"
#include "tests/protocol/random_json.hpp"
#include "tests/support/seeds.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <random>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

using namespace parley;
using parley::tests::for_each_seed;
using parley::tests::random_json;

namespace {

using answer = std::variant<client_frame, rejected_frame>;

const std::string room = "01890a5d-ac96-774b-bcce-b302099a8057";
const std::string message = "01890a5d-ac96-7abc-8def-0123456789ab";

node_limits small_limits() {
  node_limits bounds;
  bounds.max_content = 10;
  bounds.max_meta = 20;
  return bounds;
}

/// Parses a copy with exactly the readable bytes behind it that are promised.
answer parse(std::string_view text, const node_limits& bounds = {}) {
  client_frame_parser parser{bounds};
  std::vector<char> padded(text.begin(), text.end());
  padded.resize(text.size() + client_frame_parser::padding_bytes);
  return parser.parse({padded.data(), text.size()});
}

client_frame understood(std::string_view text, const node_limits& bounds = {}) {
  answer a = parse(text, bounds);
  if (const auto* r = std::get_if<rejected_frame>(&a)) {
    FAIL(text << " is refused: " << r->why.field << ": " << r->why.message);
  }
  return std::get<client_frame>(std::move(a));
}

rejected_frame refused(std::string_view text, const node_limits& bounds = {}) {
  answer a = parse(text, bounds);
  INFO(text);
  REQUIRE(std::holds_alternative<rejected_frame>(a));
  return std::get<rejected_frame>(std::move(a));
}

template <class Command>
Command command(std::string_view text, const node_limits& bounds = {}) {
  client_frame f = understood(text, bounds);
  INFO(text);
  REQUIRE(std::holds_alternative<Command>(f.command));
  return std::get<Command>(std::move(f.command));
}

/// `$room` and `$message` stand for ids.
std::string with_ids(std::string text) {
  for (const auto& [word, id] : {std::pair{"$room", room}, std::pair{"$message", message}}) {
    for (auto at = text.find(word); at != std::string::npos; at = text.find(word)) {
      text.replace(at, std::string_view{word}.size(), id);
    }
  }
  return text;
}

/// The same frame in ChatAPI's envelope; `type` is the first field.
std::string nested(const std::string& flat) {
  const auto comma = flat.find(',');
  if (comma == std::string::npos) return flat.substr(0, flat.size() - 1) + R"(,"data":{}})";
  return flat.substr(0, comma) + R"(,"data":{)" + flat.substr(comma + 1) + "}";
}

std::string send(const std::string& fields) {
  return with_ids(R"({"type":"send_message","room_id":"$room",)" + fields + "}");
}

}  // namespace

TEST_SUITE("SPEC 5 client frames") {
  TEST_CASE("send_message is understood with all its fields") {
    const auto f = understood(with_ids(
        R"({"type":"send_message","request_id":"r1","room_id":"$room","content":"hi \u00e9\n",)"
        R"("meta":{ "a" : [1, 2.50] },"client_msg_id":"c1","reply_to":"$message"})"));
    CHECK(f.refs.request_id == "\"r1\"");
    CHECK(f.refs.client_msg_id == "c1");
    CHECK(f.refs.room_id == room);
    const auto& sent = std::get<send_message_frame>(f.command);
    CHECK(sent.room == room_id::parse(room));
    CHECK(sent.content == "hi é\n");
    CHECK(sent.meta.value == R"({"a":[1,2.50]})");
    CHECK(sent.client_msg_id == "c1");
    CHECK(sent.reply_to == message_id::parse(message));
  }

  TEST_CASE("send_message needs only room and content; null counts as not given") {
    for (const char* rest :
         {"", R"(,"meta":null,"client_msg_id":null,"reply_to":null,"request_id":null)"}) {
      const auto f = understood(send(std::string{R"("content":"hi")"} + rest));
      CHECK(f.refs.request_id.empty());
      const auto& sent = std::get<send_message_frame>(f.command);
      CHECK(sent.content == "hi");
      CHECK(sent.meta.empty());
      CHECK(sent.client_msg_id.empty());
      CHECK_FALSE(sent.reply_to);
    }
  }

  TEST_CASE("the other frames are understood") {
    const auto edit = command<edit_message_frame>(with_ids(
        R"({"type":"edit_message","room_id":"$room","message_id":"$message","content":"new","client_msg_id":"e1"})"));
    CHECK(edit.room == room_id::parse(room));
    CHECK(edit.message == message_id::parse(message));
    CHECK(edit.content == "new");
    CHECK_FALSE(edit.meta);  // it stays
    CHECK(edit.client_msg_id == "e1");

    const auto cleared = command<edit_message_frame>(with_ids(
        R"({"type":"edit_message","room_id":"$room","message_id":"$message","content":"new","meta":null})"));
    REQUIRE(cleared.meta);
    CHECK(cleared.meta->empty());  // set to null

    const auto gone = command<delete_message_frame>(
        with_ids(R"({"type":"delete_message","room_id":"$room","message_id":"$message"})"));
    CHECK(gone.message == message_id::parse(message));

    const auto ack = command<cursor_frame>(with_ids(R"({"type":"ack","room_id":"$room","seq":7})"));
    CHECK_FALSE(ack.read);
    REQUIRE(ack.rooms.size() == 1);
    CHECK(ack.rooms[0] == std::pair{*room_id::parse(room), room_seq{7}});

    const auto read =
        command<cursor_frame>(with_ids(R"({"type":"read","rooms":{"$room":3,"$message":9}})"));
    CHECK(read.read);
    REQUIRE(read.rooms.size() == 2);
    CHECK(read.rooms[0] == std::pair{*room_id::parse(room), room_seq{3}});
    CHECK(read.rooms[1] == std::pair{*room_id::parse(message), room_seq{9}});
    // So many that all answers fit a connection's outbound bound.
    const auto of_rooms = [](std::size_t count) {
      std::string text = R"({"type":"ack","rooms":{)";
      for (std::size_t n = 0; n < count; ++n) {
        const auto digits = std::to_string(1000 + n);
        text += (n == 0 ? "\"" : ",\"") + ("01890a5d-ac96-774b-bcce-b3020000" + digits) + "\":1";
      }
      return text + "}}";
    };
    CHECK(command<cursor_frame>(of_rooms(limits::cursor_rooms_max)).rooms.size() ==
          limits::cursor_rooms_max);
    CHECK(refused(of_rooms(limits::cursor_rooms_max + 1)).why.field == "rooms");

    CHECK(command<typing_frame>(with_ids(R"({"type":"typing.start","room_id":"$room"})")).start);
    CHECK_FALSE(command<typing_frame>(with_ids(R"({"type":"typing.stop","room_id":"$room"})")).start);
    CHECK(command<subscribe_frame>(with_ids(R"({"type":"subscribe","room_id":"$room"})")).room ==
          room_id::parse(room));
    CHECK(command<unsubscribe_frame>(with_ids(R"({"type":"unsubscribe","room_id":"$room"})")).room ==
          room_id::parse(room));
    CHECK(command<notification_ack_frame>(R"({"type":"notification.ack","notification_id":"n1"})")
              .notification_id == "n1");
    CHECK(command<presence_set_frame>(R"({"type":"presence.set","status":"away"})").away);
    CHECK_FALSE(command<presence_set_frame>(R"({"type":"presence.set","status":"online"})").away);
    const auto auth = command<auth_frame>(R"({"type":"auth","token":"t.o.k"})");
    CHECK(auth.token == "t.o.k");
    CHECK_FALSE(auth.refresh);
    CHECK(command<auth_frame>(R"({"type":"auth.refresh","token":"t"})").refresh);
    command<ping_frame>(R"({"type":"ping"})");
  }

  TEST_CASE(
      "sync is understood: positions in order, null for from now on, ids that are none kept as "
      "text") {
    const auto f = command<sync_frame>(with_ids(
        R"({"type":"sync","epoch":"e1","rooms":{"$room":12,"$message":null,"lobby\u0021":0},"rest":"live"})"));
    CHECK(f.epoch == "e1");
    CHECK(f.rest_live);
    REQUIRE(f.rooms.size() == 3);
    CHECK(f.rooms[0].text == room);
    CHECK(f.rooms[0].room == room_id::parse(room));
    CHECK(f.rooms[0].after == room_seq{12});
    CHECK_FALSE(f.rooms[1].after);
    CHECK(f.rooms[2].text == "lobby!");
    CHECK_FALSE(f.rooms[2].room);
    CHECK(f.rooms[2].after == room_seq{0});
  }

  TEST_CASE("sync with rest may name no room; without it rooms must be there") {
    CHECK(command<sync_frame>(R"({"type":"sync","rest":"live"})").rooms.empty());
    CHECK(command<sync_frame>(R"({"type":"sync","rooms":{},"rest":"live"})").rest_live);
    CHECK(command<sync_frame>(R"({"type":"sync","rooms":{}})").rooms.empty());
    CHECK(refused(R"({"type":"sync"})").why.field == "rooms");
  }

  TEST_CASE("sync needs an epoch with any position after 0") {
    CHECK(command<sync_frame>(with_ids(R"({"type":"sync","rooms":{"$room":0,"$message":null}})"))
              .rooms.size() == 2);
    const auto r = refused(with_ids(R"({"type":"sync","rooms":{"$room":0,"$message":1}})"));
    CHECK(r.why.code == error_code::validation);
    CHECK(r.why.field == "epoch");
  }

  TEST_CASE("ChatAPI's nested envelope says the same as the flat one") {
    const std::vector<std::string> flat{
        R"({"type":"send_message","request_id":"r","room_id":"$room","content":"hi","meta":{"a":1},"client_msg_id":"c"})",
        R"({"type":"ack","request_id":9,"room_id":"$room","seq":7})",
        R"({"type":"typing.start","room_id":"$room"})",
        R"({"type":"sync","epoch":"e","rooms":{"$room":1}})",
        R"({"type":"auth","token":"t"})",
    };
    for (const auto& text : flat) {
      INFO(text);
      const client_frame a = understood(with_ids(text));
      const client_frame b = understood(nested(with_ids(text)));
      CHECK(a.refs.request_id == b.refs.request_id);
      CHECK(a.refs.client_msg_id == b.refs.client_msg_id);
      CHECK(a.refs.room_id == b.refs.room_id);
      CHECK(a.command.index() == b.command.index());
    }
    const auto sent = command<send_message_frame>(nested(with_ids(flat[0])));
    CHECK(sent.room == room_id::parse(room));
    CHECK(sent.content == "hi");
    CHECK(sent.meta.value == R"({"a":1})");
    CHECK(sent.client_msg_id == "c");
  }

  TEST_CASE(
      "fields may stand in either envelope, before or behind data, and in both with the same "
      "value") {
    const auto f = understood(with_ids(
        R"({"data":{"content":"hi","seq":1,"meta":{"b":1.0,"a":"x"}},"request_id":7,"room_id":"$room",)"
        R"("meta":{"a":"\u0078", "b":1},"type":"send_message"})"));
    CHECK(f.refs.request_id == "7");
    CHECK(std::get<send_message_frame>(f.command).content == "hi");
  }

  TEST_CASE("a field in both envelopes with different values is refused") {
    CHECK(refused(
              with_ids(R"({"type":"typing.stop","room_id":"$room","data":{"room_id":"$message"}})"))
              .why.field == "room_id");
    CHECK(refused(
              with_ids(
                  R"({"type":"send_message","room_id":"$room","content":"a","data":{"content":"b"}})"))
              .why.field == "content");
    CHECK(refused(R"({"type":"ping","data":{"type":"pong"}})").why.field == "type");
    const auto r = refused(R"({"type":"ping","request_id":1,"data":{"request_id":2}})");
    CHECK(r.why.field == "request_id");
    CHECK(r.refs.request_id.empty());  // which one?
  }

  TEST_CASE("data that is not an object is refused, and type must stand outside it") {
    for (const char* data : {"null", "[]", "\"x\"", "1", "true"}) {
      const auto r = refused(R"({"type":"ping","data":)" + std::string{data} + "}");
      CHECK(r.why.code == error_code::validation);
      CHECK(r.why.field == "data");
    }
    CHECK(refused(R"({"data":{"type":"ping"}})").why.field == "type");
  }

  TEST_CASE("unknown fields are ignored, in both envelopes, whatever they hold") {
    understood(R"({"x":{"type":[1,{"data":2}]},"type":"ping","data":{"y":[],"data":3},"DATA":1})");
  }

  TEST_CASE("an unknown type is refused by name") {
    for (const char* type :
         {"\"shout\"", "\"\"", "\"PING\"", "\"ping \"", "null", "1", "[]", "\"message\""}) {
      const auto r = refused(R"({"type":)" + std::string{type} + R"(,"request_id":5})");
      CHECK(r.why.code == error_code::validation);
      CHECK(r.why.field == "type");
      CHECK(r.why.stored == stored_state::not_a_send);
      CHECK(r.refs.request_id == "5");
    }
    CHECK(refused("{}").why.field == "type");
    CHECK(understood(R"({"\u0074ype":"p\u0069ng"})").command.index() ==
          client_command{ping_frame{}}.index());
  }

  TEST_CASE("fields are read in any order") {
    std::vector<std::string> fields{R"("type":"send_message")", R"("room_id":"$room")",
                                    R"("content":"hi")", R"("request_id":1)", R"("meta":[1])"};
    std::sort(fields.begin(), fields.end());
    do {
      std::string text = "{";
      for (const auto& field : fields) text += (text.size() > 1 ? "," : "") + field;
      const auto f = understood(with_ids(text + "}"));
      REQUIRE(f.refs.request_id == "1");
      REQUIRE(std::get<send_message_frame>(f.command).meta.value == "[1]");
    } while (std::next_permutation(fields.begin(), fields.end()));
  }

  TEST_CASE("one parser reads frame after frame without remembering") {
    client_frame_parser parser{node_limits{}};
    const auto ask = [](client_frame_parser& with, std::string text) {
      text = with_ids(text);
      const std::size_t size = text.size();
      text.resize(size + client_frame_parser::padding_bytes);
      return with.parse({text.data(), size});
    };
    const auto good =
        R"({"type":"send_message","room_id":"$room","content":"hi","request_id":1,"data":{"meta":1}})";
    CHECK(std::holds_alternative<client_frame>(ask(parser, good)));
    CHECK(std::holds_alternative<rejected_frame>(ask(parser, R"({"type":"send_message")")));
    const auto r = std::get<rejected_frame>(ask(parser, R"({"type":"send_message","content":"hi"})"));
    CHECK(r.why.field == "room_id");
    CHECK(r.refs.request_id.empty());
    client_frame_parser moved = std::move(parser);
    CHECK(std::holds_alternative<client_frame>(ask(moved, good)));
  }
}

TEST_SUITE("SPEC 4 bounds of a frame's fields") {
  TEST_CASE("each wrong field is refused by its name") {
    struct row {
      const char* text;
      const char* field;
    };
    const row rows[] = {
        {R"({"type":"send_message","content":"hi"})", "room_id"},
        {R"({"type":"send_message","room_id":null,"content":"hi"})", "room_id"},
        {R"({"type":"send_message","room_id":7,"content":"hi"})", "room_id"},
        {R"({"type":"send_message","room_id":["$room"],"content":"hi"})", "room_id"},
        {R"({"type":"send_message","room_id":"$room"})", "content"},
        {R"({"type":"send_message","room_id":"$room","content":null})", "content"},
        {R"({"type":"send_message","room_id":"$room","content":null,"meta":1})", "content"},
        {R"({"type":"send_message","room_id":"$room","content":5})", "content"},
        {R"({"type":"send_message","room_id":"$room","content":{"text":"hi"}})", "content"},
        {R"({"type":"send_message","room_id":"$room","content":""})", "content"},
        {R"({"type":"send_message","room_id":"$room","content":"","meta":null})", "content"},
        {R"({"type":"send_message","room_id":"$room","content":"hi","client_msg_id":""})",
         "client_msg_id"},
        {R"({"type":"send_message","room_id":"$room","content":"hi","client_msg_id":1})",
         "client_msg_id"},
        {R"({"type":"send_message","room_id":"$room","content":"hi","reply_to":1})", "reply_to"},
        {R"({"type":"send_message","room_id":"$room","content":"hi","reply_to":"yesterday"})",
         "reply_to"},
        {R"({"type":"send_message","room_id":"$room","content":"hi","request_id":1.5})",
         "request_id"},
        {R"({"type":"send_message","room_id":"$room","content":"hi","request_id":1e3})",
         "request_id"},
        {R"({"type":"send_message","room_id":"$room","content":"hi","request_id":{}})",
         "request_id"},
        {R"({"type":"send_message","room_id":"$room","content":"hi","request_id":true})",
         "request_id"},
        {R"({"type":"edit_message","room_id":"$room","content":"hi"})", "message_id"},
        {R"({"type":"edit_message","room_id":"$room","message_id":1,"content":"hi"})",
         "message_id"},
        {R"({"type":"edit_message","room_id":"$room","message_id":"$message"})", "content"},
        {R"({"type":"edit_message","room_id":"$room","message_id":"$message","content":""})",
         "content"},
        {R"({"type":"delete_message","room_id":"$room"})", "message_id"},
        {R"({"type":"ack","room_id":"$room"})", "seq"},
        {R"({"type":"ack","seq":1})", "room_id"},
        {R"({"type":"ack","room_id":"$room","seq":-1})", "seq"},
        {R"({"type":"ack","room_id":"$room","seq":-0})", "seq"},
        {R"({"type":"ack","room_id":"$room","seq":1.0})", "seq"},
        {R"({"type":"ack","room_id":"$room","seq":1e2})", "seq"},
        {R"({"type":"ack","room_id":"$room","seq":"1"})", "seq"},
        {R"({"type":"ack","room_id":"$room","seq":9007199254740993})", "seq"},
        {R"({"type":"ack","rooms":{}})", "rooms"},
        {R"({"type":"ack","rooms":[]})", "rooms"},
        {R"({"type":"ack","rooms":{"$room":null}})", "rooms"},
        {R"({"type":"ack","rooms":{"$room":1},"room_id":"$room"})", "rooms"},
        {R"({"type":"ack","rooms":{"$room":1},"seq":1})", "rooms"},
        {R"({"type":"typing.start"})", "room_id"},
        {R"({"type":"subscribe","room_id":1})", "room_id"},
        {R"({"type":"sync","rooms":[]})", "rooms"},
        {R"({"type":"sync","rooms":{"$room":"1"}})", "rooms"},
        {R"({"type":"sync","rooms":{"$room":-1}})", "rooms"},
        {R"({"type":"sync","rooms":{"$room":1.5}})", "rooms"},
        {R"({"type":"sync","rooms":{},"rest":"all"})", "rest"},
        {R"({"type":"sync","rooms":{},"rest":true})", "rest"},
        {R"({"type":"sync","rooms":{"$room":1},"epoch":5})", "epoch"},
        {R"({"type":"notification.ack"})", "notification_id"},
        {R"({"type":"notification.ack","notification_id":""})", "notification_id"},
        {R"({"type":"presence.set"})", "status"},
        {R"({"type":"presence.set","status":"busy"})", "status"},
        {R"({"type":"presence.set","status":1})", "status"},
        {R"({"type":"auth"})", "token"},
        {R"({"type":"auth.refresh","token":""})", "token"},
    };
    for (const row& r : rows) {
      INFO(r.text);
      const auto flat = refused(with_ids(r.text));
      CHECK(flat.why.code == error_code::validation);
      CHECK(flat.why.field == r.field);
      CHECK_FALSE(flat.why.message.empty());
      const auto in_data = refused(nested(with_ids(r.text)));
      CHECK(in_data.why.field == r.field);
      CHECK(in_data.why.message == flat.why.message);
    }
  }

  TEST_CASE("content counts decoded bytes: at the bound it passes, one more is refused") {
    const node_limits bounds = small_limits();
    for (const char* content : {"0123456789", "01234567é",
                                "\\u0030\\u0031\\u0032\\u0033\\u0034\\u0035\\u0036\\u0037\\u00e9",
                                "\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n", "01\\ud83d\\ude00😀"}) {
      INFO(content);
      CHECK(command<send_message_frame>(send(R"("content":")" + std::string{content} + "\""), bounds)
                .content.size() == 10);
      const auto r = refused(send(R"("content":")" + std::string{content} + "!\""), bounds);
      CHECK(r.why.code == error_code::validation);
      CHECK(r.why.field == "content");
    }
  }

  TEST_CASE("content may be empty with meta, and any meta but null counts") {
    for (const char* meta : {"{}", "[]", "\"\"", "0", "false"}) {
      CHECK(command<send_message_frame>(send(R"("content":"","meta":)" + std::string{meta}))
                .content.empty());
    }
  }

  TEST_CASE("content keeps what JSON allows: NUL, controls, any character") {
    CHECK(command<send_message_frame>(send(R"("content":"a\u0000b\u001f\u007f\ud83d\ude00")")).content ==
          std::string("a\0b\x1f\x7f😀", 9));
  }

  TEST_CASE("meta counts minified bytes: at the bound it passes, one more is refused") {
    const node_limits bounds = small_limits();
    const std::string at_bound = R"({ "a" : "234567890123" })";  // 20 without white space
    CHECK(command<send_message_frame>(send(R"("content":"x","meta":)" + at_bound), bounds).meta.value ==
          R"({"a":"234567890123"})");
    const auto r = refused(send(R"("content":"x","meta":{"a":"2345678901234"})"), bounds);
    CHECK(r.why.field == "meta");
    CHECK(r.why.code == error_code::validation);
  }

  TEST_CASE("meta is any value, kept byte for byte but for white space") {
    for (const char* meta : {R"("text, as ChatAPI has it")", R"({"a":1.50,"b":1E+2,"c":-0})",
                             "123456789012345678901234567890", R"(["\u0041","\/"," "])", "true",
                             R"({"k":{"k":{"k":[[[]]]}}})"}) {
      CHECK(command<send_message_frame>(send(R"("content":"x","meta":)" + std::string{meta})).meta.value ==
            meta);
    }
  }

  TEST_CASE("client_msg_id and request_id have 1 and 0 to 128 decoded bytes") {
    const std::string longest(128, 'k');
    CHECK(command<send_message_frame>(send(R"("content":"x","client_msg_id":")" + longest + "\""))
              .client_msg_id == longest);
    const auto r = refused(send(R"("content":"x","client_msg_id":")" + longest + "k\""));
    CHECK(r.why.field == "client_msg_id");
    CHECK(r.refs.client_msg_id.empty());

    const auto request = [](const std::string& id) {
      return R"({"type":"ping","request_id":)" + id + "}";
    };
    std::string escaped = "\"";
    for (int i = 0; i < 128; ++i) escaped += "\\u0041";
    for (const std::string& id :
         {std::string{"\"\""}, "\"" + longest + "\"", escaped + "\"", std::string{"0"},
          std::string{"-7"}, std::string{"123456789012345678901234567890"},
          std::string{"\"\\u00e9 \\\" \\/\""}, std::string(128, '9')}) {
      CHECK(understood(request(id)).refs.request_id == id);  // unchanged
    }
    for (const std::string& id :
         {"\"" + longest + "k\"", escaped + "B\"", std::string(129, '9'), std::string{"1.0"}}) {
      const auto wrong = refused(request(id));
      CHECK(wrong.why.field == "request_id");
      CHECK(wrong.refs.request_id.empty());
    }
  }

  TEST_CASE("a seq may be anything from 0 to 2^53") {
    for (const std::int64_t seq : {std::int64_t{0}, std::int64_t{1}, std::int64_t{9007199254740992}}) {
      const auto f = command<cursor_frame>(
          with_ids(R"({"type":"ack","room_id":"$room","seq":)" + std::to_string(seq) + "}"));
      CHECK(f.rooms[0].second == room_seq{seq});
    }
  }

  TEST_CASE(
      "ids that no room and no message can have are not found, in the words for unknown ones") {
    for (const std::string id :
         {"lobby", "", "01890A5D-AC96-774B-BCCE-B302099A8057", "01890a5dac96774bbcceb302099a8057"}) {
      const auto r = refused(R"({"type":"send_message","content":"hi","room_id":")" + id + "\"}");
      CHECK(r.why.code == error_code::not_found);
      CHECK(r.why.message == not_found("room").message);
      CHECK(r.why.field.empty());
      CHECK(r.why.stored == stored_state::no);
      CHECK(r.refs.room_id == id);
      CHECK(refused(R"({"type":"subscribe","room_id":")" + id + "\"}").why.code ==
            error_code::not_found);
      CHECK(refused(R"({"type":"ack","rooms":{")" + id + "\":1}}").why.code == error_code::not_found);
      const auto m = refused(
          with_ids(R"({"type":"delete_message","room_id":"$room","message_id":")") + id + "\"}");
      CHECK(m.why.code == error_code::not_found);
      CHECK(m.why.message == not_found("message").message);
    }
  }

  TEST_CASE(
      "what else is wrong is told before an id is: so a bad id answers as an unknown one would") {
    const auto r = refused(R"({"type":"send_message","room_id":"lobby","content":5})");
    CHECK(r.why.code == error_code::validation);
    CHECK(r.why.field == "content");
  }
}

TEST_SUITE("SPEC 5 frames that are not understood") {
  TEST_CASE("whatever is not one JSON object is refused") {
    for (const char* text : {"", " ", "null", "[]", "\"ping\"", "{", "{}x", "{} {}",
                             R"({"type":"ping"},)", R"({"type":"ping",})", R"({'type':'ping'})",
                             R"({"type":"ping" "x":1})", "\xef\xbb\xbf{}", "hello"}) {
      INFO(text);
      const auto r = refused(text);
      CHECK(r.why.code == error_code::validation);
    }
  }

  TEST_CASE("duplicate keys are refused anywhere, also differently spelled") {
    for (const char* text :
         {R"({"type":"ping","type":"ping"})", R"({"type":"ping","t\u0079pe":"ping"})",
          R"({"type":"ping","x":1,"x":1})", R"({"type":"ping","data":{"x":1,"\u0078":2}})",
          R"({"type":"ping","x":[{"y":{"z":1,"z":1}}]})", R"({"type":"ping","data":{},"data":{}})"}) {
      INFO(text);
      const auto r = refused(text);
      CHECK(r.why.code == error_code::validation);
      CHECK(r.why.message == "an object has the same key twice");
    }
    CHECK(refused(send(R"("content":"x","meta":{"a":1,"a":1})")).why.field == "meta");
    CHECK(refused(with_ids(R"({"type":"ack","rooms":{"$room":1,"$room":2}})")).why.field ==
          "rooms");
  }

  TEST_CASE("depth is bounded, counting the outer object; a very deep frame is an ordinary error") {
    const auto deep = [](std::size_t brackets) {
      return send(R"("content":"x","request_id":1,"meta":)" + std::string(brackets, '[') +
                  std::string(brackets, ']'));
    };
    node_limits bounds;
    understood(deep(bounds.max_json_depth - 1), bounds);
    for (const std::size_t brackets :
         {bounds.max_json_depth, std::size_t{1000}, std::size_t{60'000}}) {
      const auto r = refused(deep(brackets), bounds);
      CHECK(r.why.code == error_code::validation);
      CHECK(r.why.field == "meta");
      CHECK(r.why.message == "nested too deeply");
      CHECK(r.refs.request_id == "1");
    }
  }

  TEST_CASE("half a surrogate pair is refused and never echoed") {
    const auto r =
        refused(send(R"("content":"\ud800","request_id":"\udc00","client_msg_id":"\ud800x")"));
    CHECK(r.why.code == error_code::validation);
    CHECK(r.why.field == "content");
    CHECK(r.refs.request_id.empty());
    CHECK(r.refs.client_msg_id.empty());
    CHECK(r.refs.room_id == room);
  }

  TEST_CASE("numbers beyond a double are refused, in meta too") {
    CHECK(refused(send(R"("content":"x","meta":1e999)")).why.field == "meta");
  }
}

TEST_SUITE("SPEC 2.5 always an answer") {
  TEST_CASE("what must be echoed is found even when another field is wrong, wherever it stands") {
    const std::vector<std::string> wrong{
        R"("content":5)",
        R"("content":"x","meta":{"a":1,"a":2})",
        R"("content":"\ud800")",
        R"("content":"x","data":7)",
        R"("content":"x","seq":1e999)",
        R"("content":"x","deep":)" + std::string(40, '[') + std::string(40, ']')};
    const std::string echoed = R"("request_id":"r","client_msg_id":"c","room_id":"$room")";
    for (const auto& fields : wrong) {
      for (const bool is_last : {false, true}) {
        const auto r =
            refused(with_ids(R"({"type":"send_message",)" +
                             (is_last ? fields + "," + echoed : echoed + "," + fields) + "}"));
        INFO(fields);
        CHECK(r.refs.request_id == "\"r\"");
        CHECK(r.refs.client_msg_id == "c");
        CHECK(r.refs.room_id == room);
        CHECK(r.why.stored == stored_state::no);
      }
    }
  }

  TEST_CASE("of a frame that is no JSON, what stands before the fault is echoed") {
    const auto r = refused(
        R"({"type":"send_message","request_id":"r","data":{"client_msg_id":"c","content":"x)");
    CHECK(r.refs.request_id == "\"r\"");
    CHECK(r.refs.client_msg_id == "c");
    CHECK(r.why.stored == stored_state::no);
  }

  TEST_CASE(
      "an error to a send, an edit or a delete says that nothing was stored; others say nothing") {
    for (const char* type : {"send_message", "edit_message", "delete_message"}) {
      CHECK(refused(R"({"type":")" + std::string{type} + "\"}").why.stored == stored_state::no);
    }
    for (const char* type : {"ack", "typing.start", "sync", "subscribe", "auth", "presence.set"}) {
      CHECK(refused(R"({"type":")" + std::string{type} + "\"}").why.stored ==
            stored_state::not_a_send);
    }
  }

  TEST_CASE("a room id is echoed as sent, up to 128 bytes") {
    const std::string longest(128, 'r');
    CHECK(refused(R"({"type":"subscribe","room_id":")" + longest + "\"}").refs.room_id == longest);
    CHECK(refused(R"({"type":"subscribe","room_id":")" + longest + "r\"}").refs.room_id.empty());
  }

  TEST_CASE("no error text repeats what the client sent") {
    const auto r = refused(send(R"("content":"top secret","meta":1,"client_msg_id":7)"));
    CHECK(r.why.message.find("secret") == std::string::npos);
  }
}

TEST_SUITE("SPEC 5 client frames, over seeds") {
  TEST_CASE(
      "what nlohmann/json writes is read back equal, flat and nested, in any order of fields") {
    for_each_seed(3000, [](std::uint64_t seed) {
      std::mt19937_64 dice{seed};
      random_json random{dice};
      const std::string content_text = random.string();
      const auto content = nlohmann::json::parse(content_text).get<std::string>();
      const std::string meta = random.value(4);
      std::vector<std::string> fields{
          random.spell("room_id") + ":\"" + room + "\"",
          random.spell("content") + random.space() + ":" + content_text,
          random.spell("meta") + ":" + random.space() + meta,
          random.spell("request_id") + ":" + std::to_string(dice() % 1000),
          random.spell("unknown") + ":" + random.value(4),
      };
      std::shuffle(fields.begin(), fields.end(), dice);
      const std::size_t outside = dice() % (fields.size() + 1);
      std::string text = "{" + random.space() + "\"type\":" + random.spell("send_message");
      for (std::size_t i = 0; i < outside; ++i) text += random.space() + "," + fields[i];
      if (outside < fields.size()) {
        text += ",\"data\":{" + random.space();
        for (std::size_t i = outside; i < fields.size(); ++i)
          text += (i > outside ? "," : "") + fields[i] + random.space();
        text += "}";
      }
      text += "}" + random.space();
      INFO(text);
      const answer a = parse(text);
      const bool is_empty = content.empty() && meta == "null";
      REQUIRE(std::holds_alternative<client_frame>(a) == !is_empty);
      if (is_empty) return;
      const auto& sent = std::get<send_message_frame>(std::get<client_frame>(a).command);
      REQUIRE(sent.content == content);
      const auto given = nlohmann::json::parse(meta);
      REQUIRE(nlohmann::json::parse(sent.meta.empty() ? "null" : sent.meta.value) == given);
    });
  }

  TEST_CASE("a damaged frame never breaks the parser, and is refused when it is no JSON") {
    for_each_seed(10'000, [](std::uint64_t seed) {
      std::mt19937_64 dice{seed};
      random_json random{dice};
      std::string text = send(R"("content":)" + random.string() + R"(,"meta":)" + random.value(4) +
                              R"(,"request_id":"r")");
      const std::size_t damages = 1 + dice() % 3;
      for (std::size_t i = 0; i < damages; ++i) text = random.damaged(text);
      INFO(text);
      const answer a = parse(text);
      if (!is_valid_utf8(text)) return;  // the codec refuses it before
      if (!nlohmann::json::accept(text)) REQUIRE(std::holds_alternative<rejected_frame>(a));
    });
  }
}
