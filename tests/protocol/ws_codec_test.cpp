#include "protocol/ws_codec.hpp"

#include "tests/protocol/ws_wire.hpp"
#include "tests/support/seeds.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

using namespace parley;
using namespace parley::tests;

namespace {

/// What a client may do or do wrong, and what must come of it.
struct scene {
  const char* why;
  std::string stream;
  outcome expected;
};

std::string longer(std::size_t bytes) {
  std::string out;
  while (out.size() < bytes) out += "0123456789abcdefghijklmnopqrstuvwxyz"[out.size() % 36];
  return out;
}

std::vector<scene> scenes() {
  const std::string t125 = longer(125);
  const std::string t126 = longer(126);
  const std::string t300 = longer(300);
  return {
      // Messages.
      {"a text", wire(op::text, "hello"), {{"text hello"}}},
      {"an empty text", wire(op::text, ""), {{"text "}}},
      {"several texts in one read",
       wire(op::text, "a") + wire(op::text, "b") + wire(op::text, "c"),
       {{"text a", "text b", "text c"}}},
      {"the longest one-byte length", wire(op::text, t125), {{"text " + t125}}},
      {"the shortest two-byte length", wire(op::text, t126), {{"text " + t126}}},
      {"a text longer than several unmasking steps", wire(op::text, t300), {{"text " + t300}}},
      {"a mask of zeros", wire({.payload = "hello", .mask = 0}), {{"text hello"}}},
      // Fragments.
      {"a text in two fragments",
       wire(op::text, "hel", false) + wire(op::continuation, "lo"),
       {{"text hello"}}},
      {"a text in many fragments, some empty",
       wire(op::text, "", false) + wire(op::continuation, "a", false) +
           wire(op::continuation, "", false) + wire(op::continuation, "b", false) +
           wire(op::continuation, ""),
       {{"text ab"}}},
      {"only empty fragments", wire(op::text, "", false) + wire(op::continuation, ""), {{"text "}}},
      {"control frames between fragments are heard at once",
       wire(op::text, "hel", false) + wire(op::ping, "1") + wire(op::pong, "2") +
           wire(op::continuation, "lo"),
       {{"ping 1", "pong 2", "text hello"}}},
      {"a message after a fragmented one",
       wire(op::text, "a", false) + wire(op::continuation, "b") + wire(op::text, "c"),
       {{"text ab", "text c"}}},
      {"a fragmented message without its end", wire(op::text, "a", false), {{}, 0, true}},
      {"a character split between fragments",
       wire(op::text, "\xe2", false) + wire(op::continuation, "\x82", false) +
           wire(op::continuation, "\xac"),
       {{"text \xe2\x82\xac"}}},
      // Control frames.
      {"an empty ping", wire(op::ping, ""), {{"ping "}}},
      {"the longest ping", wire(op::ping, t125), {{"ping " + t125}}},
      {"a ping's payload need not be UTF-8", wire(op::ping, "\xff"), {{"ping \xff"}}},
      {"an unasked pong", wire(op::pong, "x"), {{"pong x"}}},
      {"a ping of 126 bytes", wire(op::ping, t126), {{}, 1002}},
      {"a fragmented ping", wire(op::ping, "x", false), {{}, 1002}},
      {"a fragmented close", wire(op::close, closing(1000), false), {{}, 1002}},
      // Closing.
      {"a close without a code", wire(op::close, ""), {{"close 1005 "}}},
      {"a close with a code", wire(op::close, closing(1000)), {{"close 1000 "}}},
      {"a close with a reason", wire(op::close, closing(1001, "bye €")), {{"close 1001 bye €"}}},
      {"the longest reason",
       wire(op::close, closing(1000, longer(123))),
       {{"close 1000 " + longer(123)}}},
      {"nothing counts after a close",
       wire(op::close, closing(1000)) + wire(op::text, "late") + "\xff\xff",
       {{"close 1000 "}}},
      {"a close between fragments",
       wire(op::text, "a", false) + wire(op::close, closing(4000)),
       {{"close 4000 "}}},
      {"half a close code", wire(op::close, "\x03"), {{}, 1002}},
      {"a close reason that is not UTF-8",
       wire(op::close, closing(1000, "\xce\xba\xed\xa0\x80")),
       {{}, 1007}},
      {"a close reason that breaks off", wire(op::close, closing(1000, "\xe2\x82")), {{}, 1007}},
      // What is not WebSocket.
      {"an unmasked text", wire({.payload = "x", .masked = false}), {{}, 1002}},
      {"an unmasked ping", wire({.opcode = op::ping, .masked = false}), {{}, 1002}},
      {"RSV1 (compression was not agreed)", wire({.payload = "x", .rsv = 4}), {{}, 1002}},
      {"RSV2", wire({.payload = "x", .rsv = 2}), {{}, 1002}},
      {"RSV3 on a ping", wire({.opcode = op::ping, .rsv = 1}), {{}, 1002}},
      {"a reserved opcode", wire(0x3, "x"), {{}, 1002}},
      {"the last reserved opcode", wire(0x7, "x"), {{}, 1002}},
      {"a reserved control opcode", wire(0xb, "x"), {{}, 1002}},
      {"the last reserved control opcode", wire(0xf, "x"), {{}, 1002}},
      {"a continuation of nothing", wire(op::continuation, "x"), {{}, 1002}},
      {"a continuation after the end",
       wire(op::text, "a", false) + wire(op::continuation, "b") + wire(op::continuation, "c"),
       {{"text ab"}, 1002}},
      {"a text within a message", wire(op::text, "a", false) + wire(op::text, "b"), {{}, 1002}},
      {"a binary within a message", wire(op::text, "a", false) + wire(op::binary, "b"), {{}, 1002}},
      {"a binary", wire(op::binary, "x"), {{}, 1003}},
      {"the first fragment of a binary", wire(op::binary, "x", false), {{}, 1003}},
      {"what came before a fault is heard", wire(op::text, "ok") + wire(0x3, "x"), {{"text ok"}, 1002}},
      {"two bytes for a length of 125",
       wire({.payload = t125, .form = length_form::two_bytes}),
       {{}, 1002}},
      {"two bytes for a length of 0", wire({.form = length_form::two_bytes}), {{}, 1002}},
      {"eight bytes for a length of 126",
       wire({.payload = t126, .form = length_form::eight_bytes}),
       {{}, 1002}},
      {"the top bit of the length", "\x81\xff\x80" + std::string(11, '\0'), {{}, 1002}},
      {"an HTTP request", "GET / HTTP/1.1\r\n\r\n", {{}, 1002}},
      // UTF-8.
      {"not UTF-8", wire(op::text, "abc\xff"), {{}, 1007}},
      {"a character that breaks off", wire(op::text, "abc\xe2\x82"), {{}, 1007}},
      {"a character that breaks off in the last fragment",
       wire(op::text, "abc\xe2", false) + wire(op::continuation, "\x82"),
       {{}, 1007}},
      {"a surrogate", wire(op::text, "\xed\xa0\x80"), {{}, 1007}},
      {"an overlong slash", wire(op::text, "\xc0\xaf"), {{}, 1007}},
      {"beyond U+10FFFF in two fragments",
       wire(op::text, "\xf4", false) + wire(op::continuation, "\x90\x80\x80"),
       {{}, 1007}},
      {"a bad first fragment is not waited out", wire(op::text, "\xff", false), {{}, 1007}},
  };
}

std::vector<std::size_t> every_byte(std::size_t size) {
  std::vector<std::size_t> cuts(size == 0 ? 0 : size - 1);
  std::iota(cuts.begin(), cuts.end(), std::size_t{1});
  return cuts;
}

std::vector<std::size_t> random_cuts(std::size_t size, std::mt19937_64& dice) {
  std::vector<std::size_t> cuts;
  const std::size_t count = dice() % 8;
  for (std::size_t i = 0; i < count; ++i) cuts.push_back(dice() % (size + 1));
  std::sort(cuts.begin(), cuts.end());
  return cuts;
}

/// How many of the stream's first bytes are needed to get the verdict.
std::size_t bytes_until_fault(const std::string& stream) {
  ws_decoder decoder{128 * 1024};
  transcript sink;
  for (std::size_t i = 0; i < stream.size(); ++i) {
    if (feed(decoder, sink, stream.substr(i, 1)) != close_code::none) return i + 1;
  }
  return 0;
}

}  // namespace

TEST_SUITE("SPEC 5 RFC 6455") {
  TEST_CASE("each stream has its outcome when it comes in one piece") {
    for (const scene& s : scenes()) {
      INFO(s.why);
      CHECK(decode(s.stream) == s.expected);
    }
  }

  TEST_CASE("the outcome is the same cut at any place") {
    for (const scene& s : scenes()) {
      INFO(s.why);
      for (std::size_t cut = 0; cut <= s.stream.size(); ++cut) {
        REQUIRE(decode(s.stream, {cut}) == s.expected);
      }
    }
  }

  TEST_CASE("the outcome is the same byte by byte") {
    for (const scene& s : scenes()) {
      INFO(s.why);
      CHECK(decode(s.stream, every_byte(s.stream.size())) == s.expected);
    }
  }

  TEST_CASE("the outcome of several streams in a row is the same cut at random places") {
    const auto all = scenes();
    for_each_seed(2000, [&](std::uint64_t seed) {
      std::mt19937_64 dice{seed};
      std::string stream;
      outcome expected;
      for (int i = 0; i < 6 && expected.code == 0 && !expected.in_message; ++i) {
        const scene& s = all[dice() % all.size()];
        stream += s.stream;
        expected.heard.insert(expected.heard.end(), s.expected.heard.begin(), s.expected.heard.end());
        expected.code = s.expected.code;
        expected.in_message = s.expected.in_message;
        if (!s.expected.heard.empty() && s.expected.heard.back().starts_with("close")) break;
      }
      REQUIRE(decode(stream, random_cuts(stream.size(), dice)) == expected);
    });
  }

  TEST_CASE("all length forms arrive whole, however they are cut") {
    for (const std::size_t length : {125, 126, 127, 4096, 65535, 65536, 70000}) {
      INFO(length);
      const std::string payload = longer(length);
      const std::string stream = wire(op::text, payload) + wire(op::ping, "p");
      const outcome expected{{"text " + payload, "ping p"}};
      CHECK(decode(stream) == expected);
      CHECK(decode(stream, every_byte(stream.size())) == expected);
      for (const std::size_t cut : {1, 2, 3, 4, 9, 10, 13, 14, 15, 21, 22, 23, 130}) {
        CHECK(decode(stream, {cut}) == expected);
      }
      CHECK(decode(stream, {stream.size() / 2, stream.size() - 7}) == expected);
    }
  }

  TEST_CASE("every mask is undone, at every length and phase") {
    for_each_seed(300, [](std::uint64_t seed) {
      std::mt19937_64 dice{seed};
      const std::string payload = longer(dice() % 70);
      const std::string stream =
          wire({.payload = payload, .mask = static_cast<std::uint32_t>(dice())});
      REQUIRE(decode(stream, random_cuts(stream.size(), dice)) == outcome{{"text " + payload}});
    });
  }

  TEST_CASE("exactly the close codes that may be on the wire are taken") {
    for (unsigned code = 0; code < 6000; ++code) {
      const bool valid = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
                         (code >= 3000 && code <= 4999);
      const outcome expected =
          valid ? outcome{{"close " + std::to_string(code) + " "}} : outcome{{}, 1002};
      INFO(code);
      REQUIRE(decode(wire(op::close, closing(code))) == expected);
    }
  }
}

TEST_SUITE("SPEC 5 faults are found as early as they can be") {
  TEST_CASE("a header's fault is found at the byte that has it") {
    CHECK(bytes_until_fault(wire(0x3, "x")) == 1);
    CHECK(bytes_until_fault(wire(op::binary, "x")) == 1);
    CHECK(bytes_until_fault(wire(op::continuation, "x")) == 1);
    CHECK(bytes_until_fault(wire(op::ping, "x", false)) == 1);
    CHECK(bytes_until_fault(wire({.payload = "x", .masked = false})) == 2);
    CHECK(bytes_until_fault(wire(op::ping, longer(126))) == 2);
    CHECK(bytes_until_fault(wire({.payload = longer(10), .form = length_form::two_bytes})) == 4);
  }

  TEST_CASE("invalid UTF-8 is found at its byte, in the middle of a frame that is not complete") {
    constexpr std::size_t header = 6;
    CHECK(bytes_until_fault(wire(op::text, "abc\xff" + longer(50))) == header + 4);
    CHECK(bytes_until_fault(wire(op::text, "\xed\xa0" + longer(50))) == header + 2);
    CHECK(bytes_until_fault(wire(op::text, "\xf4\x90" + longer(50), false)) == header + 2);
  }

  TEST_CASE("a message beyond the bound is refused at its header, whatever comes") {
    const std::string head = wire(op::text, longer(200'000)).substr(0, 14);
    CHECK(decode(head.substr(0, 9), {}, 100'000).code == 0);
    CHECK(decode(head.substr(0, 10), {}, 100'000) == outcome{{}, 1009});
  }
}

TEST_SUITE("SPEC 4 bounds of a message") {
  TEST_CASE("a message of exactly the bound arrives, one byte more is 1009") {
    for (const std::size_t bound : {10, 125, 126, 1000, 65535, 65536}) {
      INFO(bound);
      CHECK(decode(wire(op::text, longer(bound)), {}, bound) == outcome{{"text " + longer(bound)}});
      CHECK(decode(wire(op::text, longer(bound + 1)), {}, bound) == outcome{{}, 1009});
    }
  }

  TEST_CASE("fragments count together") {
    const std::string half = longer(50);
    const auto two = [&](const std::string& second) {
      return wire(op::text, half, false) + wire(op::continuation, second);
    };
    CHECK(decode(two(half), {}, 100) == outcome{{"text " + half + half}});
    CHECK(decode(two(half + "x"), {}, 100) == outcome{{}, 1009});
    CHECK(decode(two("") + two(half), {}, 100) == outcome{{"text " + half, "text " + half + half}});
  }

  TEST_CASE("control frames do not count") {
    const std::string stream = wire(op::text, longer(99), false) + wire(op::ping, longer(125)) +
                               wire(op::continuation, "x");
    CHECK(decode(stream, {}, 100).code == 0);
  }

  TEST_CASE("an idle decoder holds nothing, before and after a partial message") {
    CHECK(sizeof(ws_decoder) <= 16);
    ws_decoder decoder{1000};
    transcript sink;
    CHECK(decoder.held_bytes() == 0);
    CHECK_FALSE(decoder.in_message());
    const std::string stream = wire(op::text, longer(500));
    feed(decoder, sink, stream.substr(0, 300));
    CHECK(decoder.held_bytes() > 0);
    CHECK(decoder.in_message());
    feed(decoder, sink, stream.substr(300));
    CHECK(decoder.held_bytes() == 0);
    CHECK_FALSE(decoder.in_message());
    CHECK(sink.lines.size() == 1);
  }

  TEST_CASE("a header alone is a message that has begun") {
    ws_decoder decoder{1000};
    transcript sink;
    feed(decoder, sink, wire(op::text, "x").substr(0, 1));
    CHECK(decoder.in_message());
    CHECK(decoder.held_bytes() == 1);
  }

  TEST_CASE("a message that is only announced costs what has come, not what was announced") {
    ws_decoder decoder{128 * 1024};
    transcript sink;
    feed(decoder, sink, wire(op::text, longer(100'000)).substr(0, 20));
    CHECK(decoder.held_bytes() <= 2048);
  }

  TEST_CASE("whatever comes, held bytes stay within the message bound, a header and the padding") {
    constexpr std::size_t bound = 5000;
    constexpr std::size_t header = 14;
    constexpr std::size_t control = 125;
    for_each_seed(200, [](std::uint64_t seed) {
      std::mt19937_64 dice{seed};
      ws_decoder decoder{bound};
      transcript sink;
      bool started = false;
      for (int i = 0; i < 40; ++i) {
        std::string frame = dice() % 3 == 0 ? wire(op::ping, longer(dice() % 126))
                                            : wire(started ? op::continuation : op::text,
                                                   longer(dice() % 900), false);
        if ((static_cast<unsigned char>(frame[0]) & 0xfU) != op::ping) started = true;
        while (!frame.empty()) {
          const std::size_t size = std::min<std::size_t>(1 + dice() % 400, frame.size());
          if (feed(decoder, sink, frame.substr(0, size)) != close_code::none) {
            REQUIRE(decoder.held_bytes() == 0);
            return;
          }
          frame.erase(0, size);
          REQUIRE(decoder.held_bytes() <=
                  bound + client_frame_parser::padding_bytes + header + control);
        }
      }
    });
  }

  TEST_CASE("after a fault or a close nothing is held and nothing is taken") {
    for (const std::string& end : {wire(op::binary, "x"), wire(op::close, closing(1000))}) {
      ws_decoder decoder{1000};
      transcript sink;
      feed(decoder, sink, wire(op::text, "a", false) + end + wire(op::text, "b"));
      CHECK(decoder.held_bytes() == 0);
      CHECK_FALSE(decoder.in_message());
      const auto before = sink.lines;
      CHECK(feed(decoder, sink, wire(op::text, "c")) == close_code::none);
      CHECK(sink.lines == before);
    }
  }
}

TEST_SUITE("SPEC 5 a paused reader") {
  TEST_CASE("a sink that says stop hears one message a call, in order, and nothing is lost") {
    ws_decoder decoder{1000};
    transcript sink;
    sink.pause_after_each = true;
    feed(decoder, sink,
         wire(op::text, "a") + wire(op::ping, "p") + wire(op::text, "b") +
             wire(op::text, "c").substr(0, 3));
    CHECK(sink.lines == std::vector<std::string>{"text a"});
    CHECK(decoder.held_bytes() > 0);
    CHECK_FALSE(decoder.in_message());  // it is the node that waits, not the client
    CHECK(decoder.consume({}, sink) == close_code::none);
    CHECK(sink.lines == std::vector<std::string>{"text a", "ping p", "text b"});
    CHECK(decoder.consume({}, sink) == close_code::none);
    CHECK(decoder.in_message());  // now it is half a header of the client's
    feed(decoder, sink, wire(op::text, "c").substr(3));
    CHECK(sink.lines.back() == "text c");
    CHECK(decoder.held_bytes() == 0);
  }

  TEST_CASE("bytes that come during a pause stand behind those that wait") {
    ws_decoder decoder{1000};
    transcript sink;
    sink.pause_after_each = true;
    feed(decoder, sink, wire(op::text, "a") + wire(op::text, "b"));
    feed(decoder, sink, wire(op::text, "c"));
    decoder.consume({}, sink);
    decoder.consume({}, sink);
    CHECK(sink.lines == std::vector<std::string>{"text a", "text b", "text c"});
    CHECK(decoder.held_bytes() == 0);
  }

  TEST_CASE("a fragmented message pauses too") {
    ws_decoder decoder{1000};
    transcript sink;
    sink.pause_after_each = true;
    feed(decoder, sink,
         wire(op::text, "a", false) + wire(op::continuation, "b") + wire(op::text, "c"));
    CHECK(sink.lines == std::vector<std::string>{"text ab"});
    decoder.consume({}, sink);
    CHECK(sink.lines == std::vector<std::string>{"text ab", "text c"});
  }

  TEST_CASE("a fault behind a pause is told when the reader gets there") {
    ws_decoder decoder{1000};
    transcript sink;
    sink.pause_after_each = true;
    CHECK(feed(decoder, sink, wire(op::text, "a") + wire(op::binary, "x")) == close_code::none);
    CHECK(decoder.consume({}, sink) == close_code::unsupported_data);
  }

  TEST_CASE("with pauses at every message the outcome is the same, however the stream was cut") {
    const auto all = scenes();
    for_each_seed(1000, [&](std::uint64_t seed) {
      std::mt19937_64 dice{seed};
      std::string stream;
      for (int i = 0; i < 8; ++i) stream += all[dice() % 20].stream;  // those that go on
      const outcome expected = decode(stream);
      ws_decoder decoder{128 * 1024};
      transcript sink;
      sink.pause_after_each = true;
      close_code code = close_code::none;
      std::size_t begin = 0;
      auto cuts = random_cuts(stream.size(), dice);
      cuts.push_back(stream.size());
      for (const std::size_t end : cuts) {
        if (code != close_code::none) break;
        code = feed(decoder, sink, stream.substr(begin, end - begin));
        begin = end;
        for (std::size_t heard = 0;
             dice() % 2 == 0 && code == close_code::none && heard != sink.lines.size();) {
          heard = sink.lines.size();
          code = decoder.consume({}, sink);
        }
      }
      for (std::size_t i = 0; i < expected.heard.size() + 1 && code == close_code::none; ++i) {
        code = decoder.consume({}, sink);
      }
      REQUIRE(outcome{sink.lines, static_cast<int>(code), decoder.in_message()} == expected);
    });
  }
}

TEST_SUITE("SPEC 5 the opening handshake") {
  TEST_CASE("the accept key is RFC 6455's") {
    CHECK(ws_accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    CHECK(ws_accept_key("x3JJHMbDL1EzLkh9GBhXDw==") == "HSmrc0sMlYUkAGmm5OPpG2HaGWk=");
  }

  TEST_CASE("a key is the base64 of 16 bytes") {
    CHECK(is_valid_ws_key("dGhlIHNhbXBsZSBub25jZQ=="));
    CHECK(is_valid_ws_key("++++++++++++++++//////=="));
    CHECK_FALSE(is_valid_ws_key(""));
    CHECK_FALSE(is_valid_ws_key("dGhlIHNhbXBsZSBub25jZQ="));
    CHECK_FALSE(is_valid_ws_key("dGhlIHNhbXBsZSBub25jZQ"));
    CHECK_FALSE(is_valid_ws_key("dGhlIHNhbXBsZSBub25jZQ===="));
    CHECK_FALSE(is_valid_ws_key("dGhlIHNhbXBsZSBub25jZQA="));
    CHECK_FALSE(is_valid_ws_key("dGhlIHNhbXBsZS-ub25jZQ=="));
    CHECK_FALSE(is_valid_ws_key(" GhlIHNhbXBsZSBub25jZQ=="));
  }
}
