#include "bench/client_codec.hpp"

#include <doctest/doctest.h>

#include <array>
#include <random>
#include <string>

using namespace parley::bench;

namespace {

std::string bytes(std::initializer_list<int> values) {
  std::string out;
  for (const int value : values) out += static_cast<char>(value);
  return out;
}

/// What a server would read from the frame: opcode and unmasked payload.
struct unmasked {
  int first_byte = 0;
  bool is_masked = false;
  std::string payload;
  std::size_t size = 0;
};
unmasked unmask(const std::string& frame) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(frame.at(i)); };
  unmasked result;
  result.first_byte = byte(0);
  result.is_masked = (byte(1) & 0x80) != 0;
  std::size_t length = byte(1) & 0x7f;
  std::size_t at = 2;
  const std::size_t more = length == 126 ? 2 : length == 127 ? 8 : 0;
  if (more != 0) length = 0;
  for (std::size_t i = 0; i < more; ++i) length = length << 8 | byte(at++);
  for (std::size_t i = 0; i < length; ++i) {
    result.payload += static_cast<char>(frame.at(at + 4 + i) ^ frame.at(at + i % 4));
  }
  result.size = at + 4 + length;
  return result;
}

std::string server_text(const std::string& payload) {
  std::string out = "\x81";
  if (payload.size() < 126) {
    out += static_cast<char>(payload.size());
  } else if (payload.size() < 65536) {
    out +=
        bytes({126, static_cast<int>(payload.size() >> 8), static_cast<int>(payload.size() & 255)});
  } else {
    out += bytes({127, 0, 0, 0, 0});
    for (int shift = 24; shift >= 0; shift -= 8) {
      out += static_cast<char>(payload.size() >> shift & 255);
    }
  }
  return out + payload;
}

}  // namespace

TEST_SUITE("bench: RFC 6455 as a client") {
  TEST_CASE("what a client sends is final, masked, and comes back by its mask") {
    for (const std::size_t size : {0, 1, 3, 4, 7, 8, 9, 125, 126, 127, 65535, 65536, 70000}) {
      CAPTURE(size);
      std::string payload(size, 'x');
      for (std::size_t i = 0; i < size; ++i) payload[i] = static_cast<char>(i * 7);
      std::string out = "before";
      append_frame(out, opcode::text, payload, 0xdeadbeef);
      const auto read = unmask(out.substr(6));
      CHECK(read.first_byte == 0x81);
      CHECK(read.is_masked);
      CHECK(read.payload == payload);
      CHECK(read.size + 6 == out.size());
      if (size > 8) CHECK(out.find(payload) == std::string::npos);
    }
  }

  TEST_CASE("a close frame carries its code") {
    std::string out;
    append_close(out, 1000, 0x01020304);
    const auto read = unmask(out);
    CHECK(read.first_byte == 0x88);
    CHECK(read.payload == bytes({0x03, 0xe8}));
  }

  TEST_CASE("frames are cut wherever the bytes are torn") {
    const std::array<std::string, 4> payloads{"", "hello", std::string(300, 'y'),
                                              std::string(70000, 'z')};
    for (const auto& payload : payloads) {
      CAPTURE(payload.size());
      const std::string whole = server_text(payload);
      for (std::size_t have = 0; have < whole.size(); have += have < 12 ? 1 : 997) {
        const auto part = cut_frame(std::string_view{whole}.substr(0, have));
        REQUIRE(part.outcome == cut::more);
        if (part.wanted != 0) CHECK(part.wanted == whole.size());
      }
      const std::string with_more = whole + "next";
      const auto result = cut_frame(with_more);
      REQUIRE(result.outcome == cut::frame);
      CHECK(result.frame.op == opcode::text);
      CHECK(result.frame.is_final);
      CHECK(result.frame.payload == payload);
      CHECK(result.used == whole.size());
    }
  }

  TEST_CASE("what RFC 6455 forbids a server is broken") {
    struct row {
      std::string frame;
      const char* why;
    };
    const row rows[] = {
        {bytes({0xc1, 0}), "RSV1 without an extension"},
        {bytes({0x91, 0}), "RSV3"},
        {bytes({0x81, 0x80, 0, 0, 0, 0}), "masked"},
        {bytes({0x83, 0}), "reserved opcode 3"},
        {bytes({0x8b, 0}), "reserved opcode 11"},
        {bytes({0x09, 0}), "a fragmented ping"},
        {bytes({0x89, 126, 0, 126}), "a ping over 125 bytes"},
        {bytes({0x81, 126, 0, 125}), "16 bits for what 7 can say"},
        {bytes({0x81, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff}), "64 bits for what 16 can say"},
        {bytes({0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0}), "a length of 2^63"},
        {bytes({0x81, 127, 0, 0, 0, 0, 2, 0, 0, 0}), "32 MiB"},
    };
    for (const auto& row : rows) {
      CAPTURE(row.why);
      const auto result = cut_frame(row.frame);
      CHECK(result.outcome == cut::broken);
      CHECK(result.why != nullptr);
    }
  }

  TEST_CASE("arbitrary bytes never make it read past their end") {
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
      std::mt19937_64 random{seed};
      std::string noise(random() % 64, '\0');
      for (char& c : noise) c = static_cast<char>(random());
      const auto result = cut_frame(noise);
      if (result.outcome == cut::frame) CHECK(result.used <= noise.size());
    }
  }

  TEST_CASE("a close notice has code and reason, or 1005") {
    CHECK(read_close("").code == 1005);
    CHECK(read_close("x").code == 1005);
    CHECK(read_close(bytes({0x03, 0xe8}) + "bye").code == 1000);
    CHECK(read_close(bytes({0x0f, 0xa8}) + "slow").code == 4008);
    CHECK(read_close(bytes({0x0f, 0xa8}) + "slow").reason == "slow");
  }

  TEST_CASE("the handshake is that of RFC 6455 1.3") {
    CHECK(accept_of("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    CHECK(handshake_key(1, 2).size() == 24);
    CHECK(handshake_key(1, 2) != handshake_key(1, 3));
  }
}

TEST_SUITE("bench: heads of HTTP answers") {
  TEST_CASE("a head is read when its empty line has come") {
    const std::string head = "HTTP/1.1 101 Switching\r\nUPGRADE: websocket\r\nX:  a: b \r\n\r\n";
    CHECK_FALSE(read_response_head(head.substr(0, head.size() - 1)));
    const auto read = read_response_head(head + "\x81");
    REQUIRE(read);
    CHECK(read->status == 101);
    CHECK(read->head_bytes == head.size());
    CHECK(read->header("upgrade") == "websocket");
    CHECK(read->header("x") == "a: b");
    CHECK_FALSE(read->header("y"));
  }

  TEST_CASE("what is not HTTP/1.1 has status 0") {
    CHECK(read_response_head("SSH-2.0-OpenSSH\r\n\r\n")->status == 0);
    CHECK(read_response_head("HTTP/1.1 \r\n\r\n")->status == 0);
  }
}
