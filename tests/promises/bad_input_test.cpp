// What is not understood or not allowed: each gets the right answer, and the connection (where it lives on) and the node
// serve as before.

#include "tests/promises/stage.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

using namespace parley::tests;
using namespace std::chrono_literals;

namespace {

std::string nested(int depth) {
  return std::string(static_cast<std::size_t>(depth), '[') +
         std::string(static_cast<std::size_t>(depth), ']');
}

std::string with(std::string text, const std::string& room) {
  for (auto at = text.find("ROOM"); at != std::string::npos; at = text.find("ROOM", at)) {
    text.replace(at, 4, room);
  }
  return text;
}

/// A text that gets an `error`, after which the connection lives on. ROOM stands for a room of the caller's.
struct refused_text {
  std::string why;
  std::string text;
  const char* code;
  const char* field;  ///< nullptr: none
  bool is_send = false;
};

const std::string big_number = "1" + std::string(400, '0');

std::vector<refused_text> refused_texts() {
  const char* invalid = "VALIDATION_ERROR";
  const char* unknown = "NOT_FOUND";
  const auto in_send = [](const std::string& fields) {
    return R"({"type":"send_message","room_id":"ROOM",)" + fields + "}";
  };
  return {
      {"not JSON", "hello", invalid, nullptr},
      {"nothing", "", invalid, nullptr},
      {"white space", " \n\t ", invalid, nullptr},
      {"half an object", R"({"type":"ping")", invalid, nullptr},
      {"an array", R"([{"type":"ping"}])", invalid, nullptr},
      {"a string", R"("ping")", invalid, nullptr},
      {"a number", "17", invalid, nullptr},
      {"null", "null", invalid, nullptr},
      {"two objects", R"({"type":"ping"}{"type":"ping"})", invalid, nullptr},
      {"something behind it", R"({"type":"ping"} x)", invalid, nullptr},
      {"a trailing comma", R"({"type":"ping",})", invalid, nullptr},
      {"single quotes", "{'type':'ping'}", invalid, nullptr},
      {"a comment", R"({"type":"ping"/* */})", invalid, nullptr},
      {"NaN", in_send(R"("content":"x","meta":NaN)"), invalid, "meta", true},
      {"no type", R"({"room_id":"ROOM"})", invalid, "type"},
      {"an empty object", "{}", invalid, "type"},
      {"an unknown type", R"({"type":"dance"})", invalid, "type"},
      {"the type of an answer", R"({"type":"message.accepted"})", invalid, "type"},
      {"type a number", R"({"type":7})", invalid, "type"},
      {"type null", R"({"type":null})", invalid, "type"},
      {"type inside data only", R"({"data":{"type":"ping"}})", invalid, "type"},
      {"data a list", R"({"type":"ping","data":[]})", invalid, "data"},
      {"a field in both with different values",
       R"({"type":"subscribe","room_id":"ROOM","data":{"room_id":"other"}})", invalid, "room_id"},
      {"no room", R"({"type":"send_message","content":"x"})", invalid, "room_id", true},
      {"room a number", R"({"type":"send_message","room_id":1,"content":"x"})", invalid, "room_id",
       true},
      {"room null", R"({"type":"subscribe","room_id":null})", invalid, "room_id"},
      {"no content", R"({"type":"send_message","room_id":"ROOM"})", invalid, "content", true},
      {"content a number", in_send(R"("content":1)"), invalid, "content", true},
      {"content an object", in_send(R"("content":{})"), invalid, "content", true},
      {"content null", in_send(R"("content":null)"), invalid, "content", true},
      {"empty content", in_send(R"("content":"")"), invalid, "content", true},
      {"empty content, meta null", in_send(R"("content":"","meta":null)"), invalid, "content", true},
      {"content one byte too long", in_send(R"("content":")" + std::string(16385, 'x') + R"(")"),
       invalid, "content", true},
      {"content one byte too long in two-byte letters",
       in_send("\"content\":\"" +
               [] {
                 std::string text;
                 for (int i = 0; i < 8192; ++i) text += "\u00fc";
                 return text;
               }() +
               "x\""),
       invalid, "content", true},
      {"meta one byte too long",
       in_send(R"("content":"x","meta":")" + std::string(4095, 'm') + R"(")"), invalid, "meta", true},
      {"meta with a number beyond a double", in_send(R"("content":"x","meta":)" + big_number),
       invalid, "meta", true},
      {"half a surrogate pair", in_send(R"("content":"\ud83d")"), invalid, "content", true},
      {"half a surrogate pair in meta", in_send(R"("content":"x","meta":{"a":["\udc00"]})"),
       invalid, "meta", true},
      {"a bare control character", in_send("\"content\":\"a\nb\""), invalid, "content", true},
      {"an unknown escape", in_send(R"("content":"\q")"), invalid, "content", true},
      {"client_msg_id a number", in_send(R"("content":"x","client_msg_id":1)"), invalid,
       "client_msg_id", true},
      {"client_msg_id empty", in_send(R"("content":"x","client_msg_id":"")"), invalid,
       "client_msg_id", true},
      {"client_msg_id too long",
       in_send(R"("content":"x","client_msg_id":")" + std::string(129, 'k') + R"(")"), invalid,
       "client_msg_id", true},
      {"reply_to a number", in_send(R"("content":"x","reply_to":1)"), invalid, "reply_to", true},
      {"reply_to nothing", in_send(R"("content":"x","reply_to":"none")"), invalid, "reply_to", true},
      {"reply_to an unknown message",
       in_send(R"("content":"x","reply_to":"01890000-0000-7000-8000-000000000000")"), invalid,
       "reply_to", true},
      {"request_id an object", R"({"type":"ping","request_id":{}})", invalid, "request_id"},
      {"request_id a fraction", R"({"type":"ping","request_id":1.5})", invalid, "request_id"},
      {"request_id true", R"({"type":"ping","request_id":true})", invalid, "request_id"},
      {"request_id too long", R"({"type":"ping","request_id":")" + std::string(129, 'r') + R"("})",
       invalid, "request_id"},
      {"duplicate keys", R"({"type":"ping","type":"ping"})", invalid, nullptr},
      {"duplicate keys in another spelling", R"({"type":"ping","ty\u0070e":"ping"})", invalid,
       nullptr},
      {"duplicate keys deep in meta", in_send(R"("content":"x","meta":{"a":{"b":1,"b":1}})"),
       invalid, "meta", true},
      {"depth 33", in_send(R"("content":"x","meta":)" + nested(32)), invalid, "meta", true},
      {"depth 1,000", in_send(R"("content":"x","meta":)" + nested(999)), invalid, "meta", true},
      {"depth 50,000", nested(50'000), invalid, nullptr},
      {"an unclosed depth of 100,000", std::string(100'000, '['), invalid, nullptr},
      {"an unknown room",
       R"({"type":"send_message","room_id":"01890000-0000-7000-8000-000000000000","content":"x"})",
       unknown, nullptr, true},
      {"a room id that is none", R"({"type":"send_message","room_id":"lobby","content":"x"})",
       unknown, nullptr, true},
      {"a room id in capitals",
       R"({"type":"subscribe","room_id":"01890000-0000-7000-8000-00000000000A"})", unknown, nullptr},
      {"ack without seq", R"({"type":"ack","room_id":"ROOM"})", invalid, "seq"},
      {"ack of a fraction", R"({"type":"ack","room_id":"ROOM","seq":1.0})", invalid, "seq"},
      {"ack below zero", R"({"type":"ack","room_id":"ROOM","seq":-1})", invalid, "seq"},
      {"ack of a text", R"({"type":"ack","room_id":"ROOM","seq":"1"})", invalid, "seq"},
      {"ack beyond 2^53", R"({"type":"ack","room_id":"ROOM","seq":9007199254740993})", invalid,
       "seq"},
      {"ack beyond the end", R"({"type":"ack","room_id":"ROOM","seq":1000})", invalid, "seq"},
      {"ack of no rooms", R"({"type":"ack","rooms":{}})", invalid, "rooms"},
      {"sync without rooms", R"({"type":"sync"})", invalid, "rooms"},
      {"sync of a list", R"({"type":"sync","rooms":[]})", invalid, "rooms"},
      {"sync below zero", R"({"type":"sync","rooms":{"ROOM":-1}})", invalid, "rooms"},
      {"sync with a position and no epoch", R"({"type":"sync","rooms":{"ROOM":1}})", invalid,
       "epoch"},
      {"sync with an unknown rest", R"({"type":"sync","rooms":{},"rest":"dead"})", invalid, "rest"},
      {"auth when authenticated", R"({"type":"auth","token":"x"})", "CONFLICT", nullptr},
  };
}

/// One that ends the connection with this code.
struct fatal_frame {
  std::string why;
  std::function<void(ws_client&)> act;
  int code;
};

std::vector<fatal_frame> fatal_frames() {
  const std::string too_big = R"({"type":"ping","x":")" + std::string(128 * 1024, 'x') + R"("})";
  return {
      {"a binary frame",
       [](ws_client& c) { c.send_frame(ws_opcode::binary, R"({"type":"ping"})"); }, 1003},
      {"invalid UTF-8",
       [](ws_client& c) { c.send_frame(ws_opcode::text, "{\"type\":\"pi\xff\"}"); }, 1007},
      {"overlong UTF-8", [](ws_client& c) { c.send_frame(ws_opcode::text, "\"\xc0\xaf\""); }, 1007},
      {"UTF-8 that ends within a letter",
       [](ws_client& c) { c.send_frame(ws_opcode::text, "\"\xe2\x82"); }, 1007},
      {"a message over ws_max_frame", [too_big](ws_client& c) { c.send_text(too_big); }, 1009},
      {"fragments that are too much together",
       [too_big](ws_client& c) {
         const auto half = too_big.size() / 2;
         c.send_frame(ws_opcode::text, too_big.substr(0, half), {.final = false});
         c.send_frame(ws_opcode::continuation, too_big.substr(half));
       },
       1009},
      {"a length of 2^40",
       [](ws_client& c) { c.send_raw(std::string("\x81\xff\0\0\x01\0\0\0\0\0mask", 14)); }, 1009},
      {"an unmasked frame",
       [](ws_client& c) { c.send_frame(ws_opcode::text, R"({"type":"ping"})", {.masked = false}); },
       1002},
      {"a reserved bit",
       [](ws_client& c) { c.send_frame(ws_opcode::text, "{}", {.reserved_bits = 4}); }, 1002},
      {"an unknown opcode", [](ws_client& c) { c.send_frame(static_cast<ws_opcode>(3), "x"); }, 1002},
      {"an unknown control opcode",
       [](ws_client& c) { c.send_frame(static_cast<ws_opcode>(11), "x"); }, 1002},
      {"a ping of 126 bytes",
       [](ws_client& c) { c.send_frame(ws_opcode::ping, std::string(126, 'p')); }, 1002},
      {"a fragmented ping",
       [](ws_client& c) { c.send_frame(ws_opcode::ping, "p", {.final = false}); }, 1002},
      {"a continuation of nothing",
       [](ws_client& c) { c.send_frame(ws_opcode::continuation, "x"); }, 1002},
      {"a new message within a message",
       [](ws_client& c) {
         c.send_frame(ws_opcode::text, "{", {.final = false});
         c.send_frame(ws_opcode::text, "}");
       },
       1002},
      {"a close frame of one byte", [](ws_client& c) { c.send_frame(ws_opcode::close, "\x03"); },
       1002},
      {"a close code that nobody may send", [](ws_client& c) { c.send_close(1005); }, 1002},
  };
}

/// A request and its answer.
struct refused_request {
  std::string why;
  std::string method;
  std::string target;
  header_list headers;
  std::string body;
  int status;
  const char* code;
  const char* field = nullptr;
};

std::string without_ids(std::string text, const std::string& request_id, const std::string& room) {
  for (const auto& id : {request_id, room}) {
    for (auto at = text.find(id); !id.empty() && at != std::string::npos; at = text.find(id)) {
      text.replace(at, id.size(), "*");
    }
  }
  return text;
}

/// Status, headers and body, but for the request id, the date and the room that was asked for.
std::string fingerprint(const rest_reply& reply, const std::string& room) {
  const auto id = reply.header("x-request-id").value_or("");
  std::string text = std::to_string(reply.status) + "\n";
  for (const auto& [name, value] : reply.headers) {
    if (name != "date" && name != "x-request-id") text += name + ": " + value + "\n";
  }
  return without_ids(text + reply.body, id, room);
}

}  // namespace

TEST_SUITE("SPEC 2.5 always an answer") {
  TEST_CASE("a text that is not understood gets an error, and the connection lives on") {
    const stage s;
    const auto room = s.room("group", {"alice", "bob"});
    auto alice = s.online("alice");
    int number = 0;
    for (const auto& row : refused_texts()) {
      CAPTURE(row.why);
      alice.send_text(with(row.text, room));
      const auto reply = alice.receive_json();
      CAPTURE(reply.dump());
      CHECK(reply["type"] == "error");
      CHECK(reply["code"] == row.code);
      CHECK(reply["retryable"] == false);
      CHECK(reply["message"].is_string());
      if (row.field != nullptr) CHECK(reply["field"] == row.field);
      if (row.is_send) CHECK(reply["stored"] == "no");
      const auto pong = alice.call({{"type", "ping"}, {"n", ++number}});
      CHECK(pong["type"] == "pong");
    }
    CHECK(send(alice, room, "still here")["seq"] == 1);
  }

  TEST_CASE("what is exactly at a bound is accepted") {
    const stage s;
    const auto room = s.room("group", {"alice", "bob"});
    auto alice = s.online("alice");
    CHECK(send(alice, room, std::string(16384, 'x'))["type"] == "message.accepted");
    CHECK(send(alice, room, "x", std::string(128, 'k'))["type"] == "message.accepted");
    auto frame = send_frame(room, "");
    frame["meta"] = 0;  // empty content needs meta, whatever it is
    CHECK(alice.call(frame)["type"] == "message.accepted");
    frame["meta"] = std::string(4094, 'm');  // 4,096 bytes with its quotes
    CHECK(alice.call(frame)["type"] == "message.accepted");
    frame = send_frame(room, "deep");
    frame["meta"] = json::parse(nested(31));  // depth 32 with the frame's own
    CHECK(alice.call(frame)["type"] == "message.accepted");
    std::string exact = R"({"type":"ping","request_id":"exact","x":""})";
    exact.insert(exact.size() - 2, std::string(128 * 1024 - exact.size(), 'x'));
    alice.send_text(exact);
    CHECK(alice.receive_type("pong")["request_id"] == "exact");
    auto backend = s.backend();
    CHECK(log_of(backend, room).size() == 5);
  }

  TEST_CASE("a request_id comes back as it was, a string or an integer, in results and errors") {
    const stage s;
    const auto room = s.room("group", {"alice", "bob"});
    auto alice = s.online("alice");
    for (const std::string id : {R"("a")", R"("")", "7", "-7", "0", "9007199254740993",
                                 "123456789012345678901234567890", R"("\u00e4\"\\")"}) {
      CAPTURE(id);
      for (const std::string request :
           {R"({"type":"ping","request_id":ID})", R"({"type":"dance","request_id":ID})",
            R"({"type":"subscribe","room_id":"ROOM","request_id":ID})",
            R"({"type":"unsubscribe","room_id":"ROOM","request_id":ID})",
            R"({"type":"send_message","room_id":"ROOM","content":"x","request_id":ID})",
            R"({"type":"send_message","room_id":"ROOM","request_id":ID})",
            R"({"type":"ack","room_id":"ROOM","seq":0,"request_id":ID})",
            R"({"type":"sync","rooms":{},"rest":"live","data":{"request_id":ID}})"}) {
        auto text = with(request, room);
        text.replace(text.find("ID}"), 2, id);
        CAPTURE(text);
        alice.send_text(text);
        std::string reply;
        do {
          reply = alice.next_text(10s).value_or("nothing came");
        } while (reply.find("\"request_id\":") == std::string::npos && reply != "nothing came");
        const auto at = reply.find("\"request_id\":" + id);
        // A string may come back in another spelling of the same.
        CHECK((at != std::string::npos || json::parse(reply)["request_id"] == json::parse(id)));
      }
    }
  }

  TEST_CASE("every send of a burst gets one reply, good or bad") {
    const stage s;
    const auto room = s.room("group", {"alice", "bob"});
    auto alice = s.online("alice");
    constexpr int count = 300;
    std::string burst;
    for (int i = 0; i < count; ++i) {
      auto frame = send_frame(i % 3 == 2 ? "nowhere" : room, i % 3 == 1 ? "" : "x");
      frame["request_id"] = i;
      burst += client_frame_bytes(ws_opcode::text, frame.dump(), {}, 0x11223344);
    }
    alice.send_raw(burst);
    std::vector<int> replies(count, 0);
    for (int n = 0; n < count; ++n) {
      const auto reply = alice.receive_until([](const json& m) { return m.contains("request_id"); });
      const auto i = reply["request_id"].get<int>();
      ++replies.at(static_cast<std::size_t>(i));
      if (i % 3 == 0) CHECK(reply["type"] == "message.accepted");
      if (i % 3 == 1) CHECK(reply["code"] == "VALIDATION_ERROR");
      if (i % 3 == 2) CHECK(reply["code"] == "NOT_FOUND");
    }
    CHECK(std::count(replies.begin(), replies.end(), 1) == count);
  }
}

TEST_SUITE("SPEC 5 close codes") {
  TEST_CASE("what breaks the protocol closes that connection with its code, and no other") {
    const stage s;
    const auto room = s.room("group", {"alice", "bob"});
    auto bob = s.online("bob");
    for (const auto& row : fatal_frames()) {
      CAPTURE(row.why);
      auto alice = s.online("alice");
      row.act(alice);
      const auto seen = alice.await_close();
      CHECK(seen.code == row.code);
      CHECK(bob.call({{"type", "ping"}})["type"] == "pong");
    }
    auto alice = s.online("alice");
    REQUIRE(send(alice, room, "after all that")["seq"] == 1);
    CHECK(await_entry(bob, room, 1)["content"] == "after all that");
  }

  TEST_CASE("half a frame for ever is closed; others live on meanwhile") {
    stage s{{.config = {{"request_timeout", "300ms"}}}};
    const auto room = s.room("group", {"alice", "bob"});
    auto bob = s.online("bob");
    const auto whole = client_frame_bytes(ws_opcode::text, R"({"type":"ping"})", {}, 0x01020304);
    struct half {
      std::string why;
      std::string bytes;
    };
    std::vector<half> halves{
        {"one byte", whole.substr(0, 1)},
        {"a head", whole.substr(0, 6)},
        {"all but the last byte", whole.substr(0, whole.size() - 1)},
        {"a first fragment", client_frame_bytes(ws_opcode::text, "{", {.final = false}, 7)}};
    std::vector<ws_client> stuck;
    for (const auto& h : halves) {
      stuck.push_back(s.online("u-" + std::to_string(stuck.size())));
      stuck.back().send_raw(h.bytes);
    }
    for (std::size_t i = 0; i < stuck.size(); ++i) {
      CAPTURE(halves[i].why);
      CHECK(bob.call({{"type", "ping"}})["type"] == "pong");
      CHECK(stuck[i].await_close(5s).code == 1002);
    }
    CHECK(send(bob, room, "undisturbed")["type"] == "message.accepted");
    CHECK(s.node.rest().get("/readyz").status == 200);
  }

  TEST_CASE("a ping is answered, a close is answered, and fragments may have pings between them") {
    const stage s;
    auto alice = s.online("alice");
    alice.send_frame(ws_opcode::text, R"({"type":)", {.final = false});
    alice.send_frame(ws_opcode::ping, "between");
    alice.send_frame(ws_opcode::continuation, R"("ping"})");
    CHECK(alice.receive_type("pong").contains("server_time"));
    CHECK(alice.pongs_seen() == 1);
    alice.send_close(1000, "bye");
    CHECK(alice.await_close().code == 1000);
  }

  TEST_CASE("the newest connection of a user over the limit is refused with 1008") {
    const stage s{{.config = {{"max_connections_per_user", "2"}}}};
    auto one = s.online("alice");
    auto two = s.online("alice");
    auto three = s.connect("alice");
    CHECK(three.await_close().code == 1008);
    CHECK(one.call({{"type", "ping"}})["type"] == "pong");
    CHECK(two.call({{"type", "ping"}})["type"] == "pong");
    two.send_close();
    two.await_close();
    auto four = s.online("alice");
    CHECK(four.call({{"type", "ping"}})["type"] == "pong");
  }
}

TEST_SUITE("SPEC 4 errors") {
  TEST_CASE("each bad request has its status and code, and the connection serves the next one") {
    const stage s;
    const auto room = s.room("group", {"alice", "bob"});
    const auto messages = "/v1/rooms/" + room + "/messages";
    const std::string key = s.tenant.api_key;
    const header_list backend{{"X-API-Key", key}};
    const header_list alice{{"X-API-Key", key}, {"X-User-Id", "alice"}};
    const header_list master{{"X-Master-Key", s.node.master_key()}};
    const auto plus = [](header_list headers, const char* name, const std::string& value) {
      headers.emplace_back(name, value);
      return headers;
    };
    const std::string good = R"({"content":"x"})";
    const std::vector<refused_request> rows{
        {"no credential", "GET", "/v1/rooms", {}, "", 401, "AUTHENTICATION_ERROR"},
        {"a wrong key",
         "GET",
         "/v1/rooms",
         {{"X-API-Key", key + "x"}},
         "",
         401,
         "AUTHENTICATION_ERROR"},
        {"an empty key", "GET", "/v1/rooms", {{"X-API-Key", ""}}, "", 401, "AUTHENTICATION_ERROR"},
        {"basic auth",
         "GET",
         "/v1/rooms",
         {{"Authorization", "Basic eDp5"}},
         "",
         401,
         "AUTHENTICATION_ERROR"},
        {"both credentials", "GET", "/v1/rooms", plus(backend, "Authorization", "Bearer " + key),
         "", 401, "AUTHENTICATION_ERROR"},
        {"both keys", "GET", "/v1/rooms", plus(backend, "X-Master-Key", s.node.master_key()), "",
         401, "AUTHENTICATION_ERROR"},
        {"the key in the query",
         "GET",
         "/v1/rooms?api_key=" + key,
         {},
         "",
         401,
         "AUTHENTICATION_ERROR"},
        {"the key in the query and in the header", "GET", "/v1/rooms?api_key=" + key, backend, "",
         401, "AUTHENTICATION_ERROR"},
        {"user ids that differ", "GET", "/v1/rooms?user_id=bob", alice, "", 401,
         "AUTHENTICATION_ERROR"},
        {"a user id out of form", "GET", "/v1/rooms?user_id=%20a", backend, "", 400,
         "VALIDATION_ERROR", "user_id"},
        {"a user id of 129 bytes", "GET", "/v1/rooms",
         plus(backend, "X-User-Id", std::string(129, 'u')), "", 400, "VALIDATION_ERROR", "user_id"},
        {"a tenant's key for /admin", "GET", "/v1/admin/tenants", backend, "", 401,
         "AUTHENTICATION_ERROR"},
        {"the master key for /rooms", "GET", "/v1/rooms", master, "", 401, "AUTHENTICATION_ERROR"},
        {"another's name as sender", "POST", messages, alice,
         R"({"content":"x","sender_id":"bob"})", 403, "AUTHORIZATION_ERROR", "sender_id"},
        {"no sender from the backend", "POST", messages, backend, good, 400, "VALIDATION_ERROR",
         "sender_id"},
        {"an unknown path", "GET", "/v1/roomz", backend, "", 404, "NOT_FOUND"},
        {"an unknown path without credential", "GET", "/v1/roomz", {}, "", 404, "NOT_FOUND"},
        {"a path that goes on", "GET", "/v1/rooms/" + room + "/messages/x/y", backend, "", 404,
         "NOT_FOUND"},
        {"an unknown room", "GET", "/v1/rooms/01890000-0000-7000-8000-000000000000", backend, "",
         404, "NOT_FOUND"},
        {"a room id that is none", "GET", "/v1/rooms/lobby", backend, "", 404, "NOT_FOUND"},
        {"not a member",
         "GET",
         "/v1/rooms/" + room,
         {{"X-API-Key", key}, {"X-User-Id", "eve"}},
         "",
         404,
         "NOT_FOUND"},
        {"another method", "PUT", "/v1/rooms", backend, "", 405, "METHOD_NOT_ALLOWED"},
        {"another method of a message path", "DELETE", messages, backend, "", 405,
         "METHOD_NOT_ALLOWED"},
        {"text as a body", "POST", messages, plus(alice, "Content-Type", "text/plain"), good, 415,
         "UNSUPPORTED_MEDIA_TYPE"},
        {"a form as a body", "POST", messages,
         plus(alice, "Content-Type", "application/x-www-form-urlencoded"), "content=x", 415,
         "UNSUPPORTED_MEDIA_TYPE"},
        {"plain GET /ws", "GET", "/v1/ws", alice, "", 426, "UPGRADE_REQUIRED"},
        {"no JSON", "POST", messages, alice, "hello", 400, "VALIDATION_ERROR"},
        {"an empty body", "POST", messages, alice, "", 400, "VALIDATION_ERROR"},
        {"a list as a body", "POST", messages, alice, "[]", 400, "VALIDATION_ERROR"},
        {"duplicate keys", "POST", messages, alice, R"({"content":"x","content":"x"})", 400,
         "VALIDATION_ERROR"},
        {"duplicate keys in meta", "POST", messages, alice,
         R"({"content":"x","meta":{"a":1,"a":2}})", 400, "VALIDATION_ERROR"},
        {"depth 1,000", "POST", messages, alice, R"({"content":"x","meta":)" + nested(999) + "}",
         400, "VALIDATION_ERROR"},
        {"invalid UTF-8", "POST", messages, alice, "{\"content\":\"\xff\"}", 400,
         "VALIDATION_ERROR"},
        {"empty content", "POST", messages, alice, R"({"content":""})", 400, "VALIDATION_ERROR",
         "content"},
        {"content one byte too long", "POST", messages, alice,
         R"({"content":")" + std::string(16385, 'x') + R"("})", 400, "VALIDATION_ERROR", "content"},
        {"content of a wrong type", "POST", messages, alice, R"({"content":7})", 400,
         "VALIDATION_ERROR", "content"},
        {"no content", "POST", messages, alice, R"({"meta":7})", 400, "VALIDATION_ERROR", "content"},
        {"a reply to nothing", "POST", messages, alice,
         R"({"content":"x","reply_to":"01890000-0000-7000-8000-000000000000"})", 400,
         "VALIDATION_ERROR", "reply_to"},
        {"a key and another one", "POST", messages, plus(alice, "Idempotency-Key", "a"),
         R"({"content":"x","client_msg_id":"b"})", 400, "VALIDATION_ERROR"},
        {"a dm with oneself", "POST", "/v1/rooms", backend,
         R"({"type":"dm","members":["alice","alice"]})", 400, "VALIDATION_ERROR", "members"},
        {"a dm of three", "POST", "/v1/rooms", backend, R"({"type":"dm","members":["a","b","c"]})",
         400, "VALIDATION_ERROR", "members"},
        {"an unknown room type", "POST", "/v1/rooms", backend, R"({"type":"hall","members":["a"]})",
         400, "VALIDATION_ERROR", "type"},
        {"no members", "POST", "/v1/rooms", backend, R"({"type":"group"})", 400, "VALIDATION_ERROR",
         "members"},
        {"a member that is no user id", "POST", "/v1/rooms", backend,
         R"({"type":"group","members":[" a"]})", 400, "VALIDATION_ERROR", "members"},
        {"a name one byte too long", "POST", "/v1/rooms", backend,
         R"({"type":"group","members":["a"],"name":")" + std::string(257, 'n') + R"("})", 400,
         "VALIDATION_ERROR", "name"},
        {"two positions", "GET", messages + "?after_seq=1&before_seq=2", alice, "", 400,
         "VALIDATION_ERROR"},
        {"a limit of zero", "GET", messages + "?limit=0", alice, "", 400, "VALIDATION_ERROR",
         "limit"},
        {"a limit that is no number", "GET", messages + "?limit=ten", alice, "", 400,
         "VALIDATION_ERROR", "limit"},
        {"a position below zero", "GET", messages + "?after_seq=-1", alice, "", 400,
         "VALIDATION_ERROR", "after_seq"},
        {"a damaged cursor", "GET", "/v1/rooms?cursor=%21%21", backend, "", 400, "VALIDATION_ERROR",
         "cursor"},
        {"an ack beyond the end", "POST", "/v1/acks", alice,
         R"({"room_id":")" + room + R"(","seq":99})", 400, "VALIDATION_ERROR", "seq"},
        {"an ack without a user", "POST", "/v1/acks", backend,
         R"({"room_id":")" + room + R"(","seq":0})", 400, "VALIDATION_ERROR", "user_id"},
        {"a tenant config key that nobody knows", "POST", "/v1/admin/tenants", master,
         R"({"name":"x","config":{"colour":"red"}})", 400, "VALIDATION_ERROR"},
        {"joining a group",
         "POST",
         "/v1/rooms/" + room + "/join",
         {{"X-API-Key", key}, {"X-User-Id", "eve"}},
         "",
         404,
         "NOT_FOUND"},
    };
    rest_client client{s.node.address()};  // one connection for all
    for (const auto& row : rows) {
      CAPTURE(row.why);
      const auto reply = client.request(row.method, row.target, row.headers, row.body);
      CAPTURE(reply.body.substr(0, 300));
      CHECK(reply.status == row.status);
      CHECK(reply.error_code() == row.code);
      const auto body = reply.json();
      CHECK(body["success"] == false);
      CHECK(body["error"]["request_id"] == reply.header("x-request-id").value_or("none"));
      CHECK(body["error"]["retryable"] == false);
      if (row.field != nullptr) CHECK(body["error"]["field"] == row.field);
      if (row.status == 405) CHECK(reply.header("allow"));
      CHECK(client.get("/readyz").status == 200);
    }
    auto again = s.user("alice");
    CHECK(again.post(messages, {{"content", "still here"}}).json()["seq"] == 1);
  }

  TEST_CASE("405 names the methods that there are; 426 names the protocol") {
    const stage s;
    auto client = s.backend();
    const auto wrong = client.put("/v1/rooms");
    const auto allow = wrong.header("allow").value_or("");
    for (const char* method : {"GET", "POST"}) CHECK(allow.find(method) != std::string::npos);
    CHECK(allow.find("PUT") == std::string::npos);
    const auto plain = client.get("/v1/ws");
    CHECK(plain.header("upgrade") == std::optional<std::string>{"websocket"});
  }

  TEST_CASE("a body one byte over max_body is 413, one exactly at it is read") {
    const stage s;
    const auto room = s.room("group", {"alice", "bob"});
    auto alice = s.user("alice");
    const auto body_of = [](std::size_t size) {
      std::string body = R"({"content":"x","ignored":""})";
      body.insert(body.size() - 2, std::string(size - body.size(), 'y'));
      return body;
    };
    const auto target = "/v1/rooms/" + room + "/messages";
    constexpr std::size_t max_body = 1024 * 1024;
    CHECK(alice.request("POST", target, {}, body_of(max_body)).status == 201);
    const auto refused = alice.request("POST", target, {}, body_of(max_body + 1));
    CHECK(refused.status == 413);
    CHECK(refused.error_code() == "PAYLOAD_TOO_LARGE");
    CHECK(s.node.rest().get("/readyz").status == 200);
    // Announced only: it need not come before it is refused.
    auto raw = s.node.rest();
    CHECK(raw.raw("POST " + target +
                  " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-API-Key: " +
                  s.tenant.api_key + "\r\nContent-Length: 99999999999\r\n\r\n")
              .status == 413);
  }

  TEST_CASE("what is not HTTP is 400 and a close, and costs nobody else anything") {
    const stage s;
    const std::vector<std::pair<std::string, std::string>> garbage{
        {"noise", std::string("\x01\x02\x03\x04\r\n\r\n", 8)},
        {"a TLS hello", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11)},
        {"SSH", "SSH-2.0-OpenSSH_9.2\r\n\r\n"},
        {"words", "hello there\r\n\r\n"},
        {"HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
        {"no Host", "GET /livez HTTP/1.1\r\n\r\n"},
        {"two Hosts", "GET /livez HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"},
        {"two lengths",
         "POST /v1/rooms HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"},
        {"a list as length", "POST /v1/rooms HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx"},
        {"length and chunked",
         "POST /v1/rooms HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: "
         "chunked\r\n\r\n0\r\n\r\n"},
        {"another coding",
         "POST /v1/rooms HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"},
        {"a bad chunk",
         "POST /v1/rooms HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n"},
        {"a folded header", "GET /livez HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n"},
        {"a space before the colon", "GET /livez HTTP/1.1\r\nHost : a\r\n\r\n"},
        {"a bare LF", "GET /livez HTTP/1.1\nHost: a\n\n"},
        {"NUL in a header", std::string("GET /livez HTTP/1.1\r\nHost: a\r\nX-A: b\0c\r\n\r\n", 40)},
    };
    auto other = s.backend();
    for (const auto& [why, bytes] : garbage) {
      CAPTURE(why);
      tcp_stream stream{s.node.address()};
      stream.write(bytes);
      std::string buffered;
      const auto reply = read_reply(stream, buffered, false, 5s);
      CHECK(reply.status == 400);
      CHECK(reply.error_code() == "VALIDATION_ERROR");
      std::string left = buffered;
      CHECK_NOTHROW(left += stream.read_some(5s));  // nothing follows but its end
      CHECK(left.empty());
      CHECK(other.get("/v1/rooms").status == 200);
    }
  }

  TEST_CASE("headers that are too long are 413") {
    const stage s;
    auto raw = s.node.rest();
    CHECK(raw.raw("GET /livez HTTP/1.1\r\nHost: a\r\nX-Long: " + std::string(17 * 1024, 'x') +
                  "\r\n\r\n")
              .status == 413);
    CHECK(s.node.rest().get("/livez").status == 200);
  }

  TEST_CASE("an X-Request-Id in bounds comes back, another one is replaced") {
    const stage s;
    auto client = s.backend();
    CHECK(client.get("/v1/rooms", {{"X-Request-Id", "My.Request_1-a"}}).header("x-request-id") ==
          std::optional<std::string>{"My.Request_1-a"});
    const std::string long_id(65, 'x');
    for (const std::string& bad : {std::string{"a b"}, long_id, std::string{"a/b"}}) {
      const auto id = client.get("/v1/rooms", {{"X-Request-Id", bad}}).header("x-request-id");
      REQUIRE(id);
      CHECK(*id != bad);
    }
  }
}

TEST_SUITE("SPEC 3 who may open a connection") {
  TEST_CASE("an upgrade without a good credential is 401, from a foreign origin 403") {
    const stage s;
    const std::string key = s.tenant.api_key;
    const auto status_of = [&](ws_options options) {
      try {
        ws_client client{s.node.address(), options};
        return 101;
      } catch (const upgrade_refused& e) {
        return e.reply.status;
      }
    };
    const header_list alice{{"X-API-Key", key}, {"X-User-Id", "alice"}};
    const auto plus = [&](const char* name, const std::string& value) {
      auto headers = alice;
      headers.emplace_back(name, value);
      return headers;
    };
    CHECK(status_of({.headers = alice}) == 101);
    CHECK(status_of({.headers = {{"X-API-Key", key + "x"}, {"X-User-Id", "alice"}}}) == 401);
    CHECK(status_of({.headers = {{"X-API-Key", key}}}) == 401);  // nobody in particular
    CHECK(status_of({.headers = {{"X-API-Key", key}}, .query = "user_id=alice"}) == 101);
    CHECK(status_of({.headers = alice, .query = "user_id=bob"}) == 401);
    CHECK(status_of({.query = "api_key=" + key + "&user_id=alice"}) == 401);
    CHECK(status_of({.query = "token=wst_unknown"}) == 401);
    CHECK(status_of({.headers = plus("Authorization", "Bearer " + key)}) == 401);
    CHECK(status_of({.headers = {{"X-Master-Key", s.node.master_key()}}}) == 401);
    CHECK(status_of({.headers = plus("Origin", "https://evil.example")}) == 403);
    CHECK(status_of({.headers = plus("Origin", "null")}) == 403);
    CHECK(status_of({.headers = plus("Origin", "http://" + s.node.address())}) == 101);
    CHECK(status_of({.headers = alice, .query = "sync=sometimes"}) == 400);
  }

  TEST_CASE("another origin is let in by configuration") {
    const stage s{{.config = {{"ws_allowed_origins", "https://chat.example"}}}};
    ws_options options;
    options.headers = {
        {"X-API-Key", s.tenant.api_key}, {"X-User-Id", "alice"}, {"Origin", "https://chat.example"}};
    CHECK_NOTHROW(ws_client(s.node.address(), options));
    options.headers.back().second = "https://chat.example.evil";
    CHECK_THROWS_AS(ws_client(s.node.address(), options), upgrade_refused);
  }

  TEST_CASE("any frame before auth is refused with 4501; no frame at all with 4502 after 5 s") {
    const stage s;
    ws_client silent{s.node.address(), {}};
    ws_client hasty{s.node.address(), {}};
    hasty.send_json({{"type", "ping"}, {"request_id", 1}});
    const auto reply = hasty.receive_json();
    CHECK(reply["type"] == "error");
    CHECK(reply["code"] == "AUTHENTICATION_ERROR");
    CHECK(reply["request_id"] == 1);
    CHECK(hasty.await_close().code == 4501);
    ws_client wrong{s.node.address(), {}};
    wrong.send_json({{"type", "auth"}, {"token", "wst_unknown"}});
    CHECK(wrong.await_close().code == 4501);
    CHECK(silent.await_close(8s).code == 4502);
    CHECK(silent.received().empty());
  }
}

TEST_SUITE("SPEC 2.7 isolation") {
  TEST_CASE(
      "a foreign room, one's own of which one is no member, and an unknown one answer alike") {
    stage s;
    const auto other = s.node.create_tenant("other");
    auto other_backend = s.node.backend(other);
    const auto foreign = make_room(other_backend, "group", {"alice", "bob"});
    const auto foreign_channel = make_room(other_backend, "channel", {"alice", "bob"});
    post(other_backend, foreign, "alice", "secret");
    const auto not_mine = s.room("group", {"bob", "carol"});
    const std::string unknown = "01890000-0000-7000-8000-000000000000";
    const std::string malformed = "no-room-at-all";

    struct call {
      std::string method;
      std::string target;
      std::string body;
    };
    const std::vector<call> calls{
        {"GET", "/v1/rooms/ROOM", ""},
        {"PATCH", "/v1/rooms/ROOM", R"({"name":"x"})"},
        {"DELETE", "/v1/rooms/ROOM", ""},
        {"PATCH", "/v1/rooms/ROOM/members/bob", R"({"role":"admin"})"},
        {"PATCH", "/v1/rooms/ROOM/messages/01890000-0000-7000-8000-000000000001",
         R"({"content":"x"})"},
        {"PATCH", "/v1/rooms/ROOM/messages/01890000-0000-7000-8000-000000000001",
         R"({"content":"x","client_msg_id":"k"})"},
        {"DELETE", "/v1/rooms/ROOM/messages/01890000-0000-7000-8000-000000000001", ""},
        {"GET", "/v1/rooms/ROOM/members", ""},
        {"POST", "/v1/rooms/ROOM/members", R"({"user_ids":["eve"]})"},
        {"DELETE", "/v1/rooms/ROOM/members/bob", ""},
        {"POST", "/v1/rooms/ROOM/join", ""},
        {"POST", "/v1/rooms/ROOM/leave", ""},
        {"GET", "/v1/rooms/ROOM/messages", ""},
        {"GET", "/v1/rooms/ROOM/messages?after_seq=0", ""},
        {"GET", "/v1/rooms/ROOM/events", ""},
        {"POST", "/v1/rooms/ROOM/messages", R"({"content":"x"})"},
        {"POST", "/v1/rooms/ROOM/messages", R"({"content":"x","client_msg_id":"k"})"},
        {"POST", "/v1/acks", R"({"room_id":"ROOM","seq":0})"},
        {"POST", "/v1/reads", R"({"room_id":"ROOM","seq":1})"},
    };
    for (const auto& c : calls) {
      CAPTURE(c.method);
      CAPTURE(c.target);
      const auto answer = [&](rest_client& client, const std::string& room) {
        return fingerprint(client.request(c.method, with(c.target, room), {}, with(c.body, room)),
                           room);
      };
      auto alice = s.user("alice");
      const auto expected = answer(alice, unknown);
      CHECK(expected.starts_with("404"));
      for (const auto& room : {foreign, foreign_channel, not_mine, malformed}) {
        CAPTURE(room);
        CHECK(answer(alice, room) == expected);
      }
      if (c.target.ends_with("/messages") && !c.body.empty()) continue;  // names a sender
      auto backend = s.backend();
      const auto for_backend = answer(backend, unknown);
      for (const auto& room : {foreign, foreign_channel, malformed}) {
        CAPTURE(room);
        CHECK(answer(backend, room) == for_backend);
      }
    }

    auto socket = s.online("alice");
    const std::vector<std::string> frames{
        R"({"type":"send_message","room_id":"ROOM","content":"x","client_msg_id":"k","request_id":1})",
        R"({"type":"edit_message","room_id":"ROOM","message_id":"01890000-0000-7000-8000-000000000001","content":"x","request_id":1})",
        R"({"type":"delete_message","room_id":"ROOM","message_id":"01890000-0000-7000-8000-000000000001","client_msg_id":"k","request_id":1})",
        R"({"type":"subscribe","room_id":"ROOM","request_id":1})",
        R"({"type":"unsubscribe","room_id":"ROOM","request_id":1})",
        R"({"type":"ack","room_id":"ROOM","seq":1,"request_id":1})",
        R"({"type":"read","rooms":{"ROOM":0},"request_id":1})",
        R"({"type":"sync","rooms":{"ROOM":0},"request_id":1})",
        R"({"type":"sync","rooms":{"ROOM":null},"request_id":1})",
    };
    for (const auto& text : frames) {
      CAPTURE(text);
      const auto answers = [&](const std::string& room) {
        socket.send_text(with(text, room));
        std::string all;
        for (std::string reply; reply.find("\"request_id\":1") == std::string::npos;) {
          reply = socket.next_text(10s).value_or("\"request_id\":1 did not come");
          all += without_ids(reply, "", room) + "\n";
        }
        return all;
      };
      const auto expected = answers(unknown);
      for (const auto& room : {foreign, foreign_channel, not_mine}) {
        CAPTURE(room);
        CHECK(answers(room) == expected);
      }
    }
    CHECK(log_of(other_backend, foreign).size() == 1);
  }

  TEST_CASE("the same names in two tenants are two people") {
    stage s;
    const auto other = s.node.create_tenant("other");
    auto other_backend = s.node.backend(other);
    const auto here = s.room("dm", {"alice", "bob"});
    const auto there = make_room(other_backend, "dm", {"alice", "bob"});
    CHECK(here != there);
    auto alice_here = s.online("alice");
    auto alice_there = s.node.connect(other, "alice");
    alice_there.receive_type("sync.done");
    REQUIRE(send(alice_there, there, "over there", "k")["seq"] == 1);
    const auto mine = send(alice_here, here, "over here", "k");
    CHECK(mine["seq"] == 1);
    CHECK_FALSE(mine.contains("duplicate"));
    await_entry(alice_here, here, 1);
    CHECK(entries_of(alice_here, there).empty());
    auto backend = s.backend();
    CHECK(backend.get("/v1/rooms").json()["rooms"].size() == 1);
  }
}
