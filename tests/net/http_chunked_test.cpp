#include "net/http_chunked.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <string_view>
#include <vector>

using namespace parley::net;
using namespace std::string_view_literals;
using status = chunked_decoder::status;

namespace {

struct outcome {
  status result = status::more;
  std::string body;
  std::string rest;  ///< what follows the body
};

/// Gives the decoder `raw` in pieces that end at `cuts`.
outcome decode(std::string_view raw, std::size_t max_body, const std::vector<std::size_t>& cuts) {
  chunked_decoder decoder{max_body};
  outcome out;
  std::size_t at = 0;
  for (std::size_t i = 0; i <= cuts.size() && out.result == status::more; ++i) {
    const auto end = i < cuts.size() ? cuts[i] : raw.size();
    auto piece = raw.substr(at, end - at);
    out.result = decoder.consume(piece, out.body);
    at = end - piece.size();
    if (out.result == status::more) CHECK(piece.empty());
  }
  out.rest = raw.substr(at);
  return out;
}

/// The outcome is the same however the stream is cut: whole, at each place, byte by byte.
outcome decode_all_ways(std::string_view raw, std::size_t max_body = 1000) {
  const auto whole = decode(raw, max_body, {});
  std::vector<std::size_t> every;
  for (std::size_t cut = 0; cut <= raw.size(); ++cut) {
    const auto cut_once = decode(raw, max_body, {cut});
    CHECK(cut_once.result == whole.result);
    CHECK(cut_once.body == whole.body);
    every.push_back(cut);
  }
  const auto bytewise = decode(raw, max_body, every);
  CHECK(bytewise.result == whole.result);
  CHECK(bytewise.body == whole.body);
  if (whole.result == status::done) CHECK(bytewise.rest == whole.rest);
  return whole;
}

}  // namespace

TEST_SUITE("SPEC 4 HTTP manners: chunked bodies") {
  TEST_CASE("good bodies are joined, and end where they end") {
    struct row {
      std::string_view raw;
      std::string_view body;
      std::string_view rest;
    };
    for (const auto& r : {
             row{"0\r\n\r\n", "", ""},
             row{"5\r\nhello\r\n0\r\n\r\n", "hello", ""},
             row{"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET /", "hello world", "GET /"},
             row{"00005\r\nhello\r\n000\r\n\r\n", "hello", ""},
             row{"a\r\n0123456789\r\n0\r\n\r\n", "0123456789", ""},
             row{"A\r\n0123456789\r\n0\r\n\r\n", "0123456789", ""},
             row{"4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n", ""},
             row{"2;a\r\nhi\r\n0;b=c;d=\"e;\\\"f\"\r\n\r\n", "hi", ""},
             row{"2 ; a = b\r\nhi\r\n0\r\n\r\n", "hi", ""},
             row{"2\r\nhi\r\n0\r\nX: y\r\nZ:\r\n\r\nrest", "hi", "rest"},
             row{"0\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello", "", "hello"},
         }) {
      CAPTURE(r.raw);
      const auto out = decode_all_ways(r.raw);
      CHECK(out.result == status::done);
      CHECK(out.body == r.body);
      CHECK(out.rest == r.rest);
    }
  }
  TEST_CASE("bad framing is refused") {
    for (const auto raw : {
             "x\r\n"sv,
             "\r\n"sv,
             ";a\r\n"sv,
             " 5\r\n"sv,
             "-5\r\n"sv,
             "+5\r\n"sv,
             "0x5\r\n"sv,
             "5 \r\n"sv,
             "5\t\r\n"sv,
             "5\n"sv,
             "5\r5"sv,
             "5\r\nhellox"sv,
             "5\r\nhello\n"sv,
             "5\r\nhello0\r\n\r\n"sv,
             "5\r\nhello\rx"sv,
             "5\r\nhello\r\n\r\n"sv,
             "5\0\r\n"sv,
             "5;\x01\r\n"sv,
             "5;\r\n"sv,
             "5;a=\r\n"sv,
             "5;a=\"b\r\n"sv,
             "5;=b\r\n"sv,
             "5 a\r\n"sv,
             "5;a b\r\n"sv,
             "10000000000000000\r\n"sv,
             "00000000000000005\r\n"sv,
             "fffffffffffffffff\r\n"sv,
             "5g\r\n"sv,
             "0\r\nX\r\n"sv,
             "0\r\nX: y\r\n z\r\n"sv,
             "0\r\n X: y\r\n"sv,
             "0\r\n: y\r\n"sv,
             "0\r\nX : y\r\n"sv,
             "0\r\nX: y\n"sv,
             "0\r\nX: \0\r\n"sv,
             "0\r\n\n"sv,
             "0\r\n\rx"sv,
             "5.\r\n"sv,
             "5,5\r\n"sv,
         }) {
      CAPTURE(raw);
      CHECK(decode_all_ways(raw).result == status::bad);
    }
  }
  TEST_CASE("an unfinished body waits") {
    for (const auto raw :
         {""sv, "5"sv, "5\r"sv, "5\r\n"sv, "5\r\nhel"sv, "5\r\nhello"sv, "5\r\nhello\r"sv,
          "5\r\nhello\r\n"sv, "0"sv, "0\r\n"sv, "0\r\nX: y\r\n"sv, "0\r\n\r"sv}) {
      CAPTURE(raw);
      CHECK(decode_all_ways(raw).result == status::more);
    }
  }
  TEST_CASE("the bound is known from the chunk's size, before its bytes") {
    CHECK(decode_all_ways("a\r\n0123456789\r\n0\r\n\r\n", 10).result == status::done);
    CHECK(decode_all_ways("b\r\n", 10).result == status::too_large);
    CHECK(decode_all_ways("5\r\nhello\r\n6\r\n", 10).result == status::too_large);
    CHECK(decode_all_ways("ffffffffffffffff\r\n", 10).result == status::too_large);
    CHECK(decode_all_ways("1\r\n", 0).result == status::too_large);
    CHECK(decode_all_ways("0\r\n\r\n", 0).result == status::done);
  }
  TEST_CASE("framing is bounded") {
    std::string out;
    const auto feed = [&out](const std::string& raw) {
      chunked_decoder decoder{1U << 30U};
      std::string_view in = raw;
      return decoder.consume(in, out);
    };
    CHECK(feed("5;" + std::string(chunk_line_max_bytes, 'a')) == status::bad);
    CHECK(feed("0\r\nX: " + std::string(chunk_line_max_bytes, 'a')) == status::bad);
    std::string many;
    for (int i = 0; i < 20; ++i) many += "1;" + std::string(500, 'a') + "\r\nx\r\n";
    CHECK(feed(many) == status::bad);
    many = "0\r\n";
    for (int i = 0; i < 20; ++i) many += "X: " + std::string(500, 'a') + "\r\n";
    CHECK(feed(many) == status::bad);
    many.clear();
    for (int i = 0; i < 100000; ++i) many += "1\r\nx\r\n";  // small chunks alone are no offence
    out.clear();
    CHECK(feed(many) == status::more);
    CHECK(out.size() == 100000);
  }
  TEST_CASE("random bodies in random chunks, randomly cut, come out whole") {
    for (unsigned seed = 0; seed < 200; ++seed) {
      CAPTURE(seed);
      std::mt19937 random{seed};
      const auto up_to = [&random](std::size_t most) { return random() % (most + 1); };
      std::string body(up_to(500), '\0');
      for (auto& c : body) c = static_cast<char>(random());
      std::string raw;
      for (std::size_t at = 0; at < body.size();) {
        const auto n = std::min(body.size() - at, 1 + up_to(60));
        char size[32];
        std::snprintf(size, sizeof size, random() % 2 == 0 ? "%zx\r\n" : "%04zX;e=1\r\n", n);
        raw += size + body.substr(at, n) + "\r\n";
        at += n;
      }
      raw += "0\r\n\r\nnext";
      std::vector<std::size_t> cuts;
      for (std::size_t at = up_to(20); at < raw.size(); at += up_to(20)) cuts.push_back(at);
      const auto out = decode(raw, 500, cuts);
      CHECK(out.result == status::done);
      CHECK(out.body == body);
      CHECK(out.rest == "next");
    }
  }
}
