#include "protocol/wire_frame.hpp"

#include "protocol/ws_codec.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace parley;

TEST_SUITE("SPEC 5 server frames on the wire") {
  TEST_CASE(
      "a text frame has the shortest length form, no mask, and its payload behind the header") {
    struct row {
      std::size_t length;
      std::string header;
    };
    const row rows[] = {
        {0, std::string("\x81\x00", 2)},
        {1, "\x81\x01"},
        {125, "\x81\x7d"},
        {126, std::string("\x81\x7e\x00\x7e", 4)},
        {65535, "\x81\x7e\xff\xff"},
        {65536, std::string("\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10)},
    };
    for (const row& r : rows) {
      INFO(r.length);
      const std::string json(r.length, 'x');
      const frame_ptr frame = make_text_frame(json);
      CHECK(frame->bytes == r.header + json);
      CHECK(frame->header_bytes == r.header.size());
      CHECK(frame->payload() == json);
    }
  }

  TEST_CASE("pings and pongs carry their payload") {
    CHECK(make_ping_frame("")->bytes == std::string("\x89\x00", 2));
    CHECK(make_ping_frame("now")->bytes == "\x89\x03now");
    CHECK(make_pong_frame("now")->bytes == "\x8a\x03now");
    CHECK(make_pong_frame(std::string(125, 'p'))->payload() == std::string(125, 'p'));
  }

  TEST_CASE("a close frame carries code and reason; without a code it is empty") {
    CHECK(make_close_frame(close_code::normal, "")->bytes == "\x88\x02\x03\xe8");
    CHECK(make_close_frame(close_code::flooding, "RATE_LIMIT_EXCEEDED")->payload() ==
          "\x0f\xbdRATE_LIMIT_EXCEEDED");
    CHECK(make_close_frame(close_code::none, "x")->bytes == std::string("\x88\x00", 2));
    CHECK(make_close_frame(close_code::no_status, "x")->bytes == std::string("\x88\x00", 2));
  }

  TEST_CASE("a reason that is too long is cut between characters") {
    const auto reason_of = [](const std::string& reason) {
      return std::string{make_close_frame(close_code::normal, reason)->payload().substr(2)};
    };
    CHECK(reason_of(std::string(200, 'r')) == std::string(123, 'r'));
    CHECK(reason_of(std::string(122, 'r') + "é") == std::string(122, 'r'));
    CHECK(reason_of(std::string(121, 'r') + "é") == std::string(121, 'r') + "é");
  }
}
