#include "net/http_strict.hpp"

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

using namespace parley::net;
using namespace std::string_view_literals;

namespace {

constexpr auto good = head_verdict::ok;
constexpr auto bad = head_verdict::bad_request;
constexpr auto big = head_verdict::too_large;
constexpr auto version = head_verdict::version_not_supported;

struct row {
  std::string_view head;
  head_verdict expected;
  std::string_view why = {};  ///< the reason, word for word; empty: not looked at
};

std::string shown(std::string_view raw) {
  std::string out;
  for (const char c : raw) {
    const auto b = static_cast<unsigned char>(c);
    if (c == '\r') {
      out += "\\r";
    } else if (c == '\n') {
      out += "\\n";
    } else if (b < 0x20 || b >= 0x7f) {
      out += "\\x" + std::string(1, "0123456789abcdef"[b >> 4U]) + "0123456789abcdef"[b & 15U];
    } else {
      out += c;
    }
  }
  return out;
}

void check_rows(const std::vector<row>& rows) {
  for (const auto& r : rows) {
    CAPTURE(shown(r.head));
    const auto result = check_request_head(r.head);
    CAPTURE(result.why);
    CHECK(result.verdict == r.expected);
    CHECK(result.why.empty() == (result.verdict == good));
    if (!r.why.empty()) CHECK(result.why == r.why);
  }
}

/// Rows of header fields below a request line and a Host.
void check_fields(const std::vector<row>& rows) {
  for (const auto& r : rows) {
    const std::string head = "GET / HTTP/1.1\r\nHost: a\r\n" + std::string{r.head} + "\r\n";
    check_rows({{head, r.expected, r.why}});
  }
}

}  // namespace

TEST_SUITE("SPEC 4 HTTP manners: an ambiguous head is refused") {
  TEST_CASE("the request line has one form") {
    check_rows({
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", good},
        {"GET /a/b?c=d HTTP/1.1\r\nHost: a\r\n\r\n", good},
        {"get / HTTP/1.1\r\nHost: a\r\n\r\n",
         good},  // methods are case-sensitive: another one, the router's business
        {"M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n", good},
        {"!#$%&'*+-.^_`|~9Az / HTTP/1.1\r\nHost: a\r\n\r\n", good},
        {"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", bad, "malformed method"},
        {"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", bad, "malformed method"},
        {"G\xc3\xa9T / HTTP/1.1\r\nHost: a\r\n\r\n", bad, "malformed method"},
        {"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", bad},
        {" GET / HTTP/1.1\r\nHost: a\r\n\r\n", bad, "malformed method"},
        {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", bad},
        {"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", bad},
        {"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", bad},
        {"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", bad},
        {"GET / HTTP/1.1\t\r\nHost: a\r\n\r\n", bad},
        {"GET\r\nHost: a\r\n\r\n", bad, "malformed request line"},
        {"GET /\r\nHost: a\r\n\r\n", bad, "malformed request line"},  // HTTP/0.9
        {"GET HTTP/1.1\r\nHost: a\r\n\r\n", bad, "malformed request line"},
        {"/ HTTP/1.1\r\nHost: a\r\n\r\n", bad},
        {"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", bad},  // the server takes empty lines off before
        {"\r\n\r\n", bad},
        {"", bad},
        {"\r\n", bad},
        {"GET / HTTP/1.1\r\nHost: a\r\n", bad, "a head without its empty line"},
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\nX: y\r\n\r\n", bad, "bytes after the empty line"},
    });
  }

  TEST_CASE("HTTP/1.1 and HTTP/1.0, nothing else") {
    check_rows({
        {"GET / HTTP/1.0\r\nHost: a\r\n\r\n", good},
        {"GET / HTTP/0.9\r\nHost: a\r\n\r\n", version},
        {"GET / HTTP/1.2\r\nHost: a\r\n\r\n", version},
        {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", version},
        {"PRI * HTTP/2.0\r\n\r\n", version},
        {"GET / HTTP/9.9\r\nHost: a\r\n\r\n", version, "HTTP version not supported"},
        {"GET / http/1.1\r\nHost: a\r\n\r\n", bad, "malformed HTTP version"},
        {"GET / HTTP/1.10\r\nHost: a\r\n\r\n", bad},
        {"GET / HTTP/11.1\r\nHost: a\r\n\r\n", bad},
        {"GET / HTTP/1\r\nHost: a\r\n\r\n", bad},
        {"GET / HTTP/1,1\r\nHost: a\r\n\r\n", bad},
        {"GET / HTTP 1.1\r\nHost: a\r\n\r\n", bad},
        {"GET / HTTPS/1.1\r\nHost: a\r\n\r\n", bad},
        {"GET / HTTP/-1.1\r\nHost: a\r\n\r\n", bad},
    });
    CHECK(check_request_head("GET / HTTP/1.1\r\nHost: a\r\n\r\n").http11);
    CHECK_FALSE(check_request_head("GET / HTTP/1.0\r\nHost: a\r\n\r\n").http11);
  }

  TEST_CASE("the target is visible ASCII in origin form, `*`, or an absolute form") {
    check_rows({
        {"GET //a//b HTTP/1.1\r\nHost: a\r\n\r\n", good},
        {"GET /%2F%00 HTTP/1.1\r\nHost: a\r\n\r\n", good},  // decoding is split_target's
        {"GET /{a}|b\"<>\\^` HTTP/1.1\r\nHost: a\r\n\r\n", good},
        {"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", bad, "forbidden byte in the request target"},
        {"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", bad, "forbidden byte in the request target"},
        {"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", bad},
        {"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", bad},
        {"GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n", bad},
        {"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"sv, bad, "NUL in the head"},
        {"GET a HTTP/1.1\r\nHost: a\r\n\r\n", bad, "malformed request target"},
        {"GET a/b HTTP/1.1\r\nHost: a\r\n\r\n", bad},
        {"GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", bad},
        {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", good},
        {"GET * HTTP/1.1\r\nHost: a\r\n\r\n", bad},
        {"options * HTTP/1.1\r\nHost: a\r\n\r\n", bad},
        {"OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n", bad},
        {"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", bad, "CONNECT is not served"},
        {"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", bad},
        {"GET a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", bad},
    });
  }

  TEST_CASE("an absolute form agrees with Host") {
    check_rows({
        {"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", good},
        {"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", good},
        {"GET http://a?b=c HTTP/1.1\r\nHost: a\r\n\r\n", good},
        {"GET HTTP://A/ HTTP/1.1\r\nHost: a\r\n\r\n", good},
        {"GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n", good},
        {"GET http://a/ HTTP/1.1\r\nHost: a:80\r\n\r\n", good},
        {"GET http://a:/ HTTP/1.1\r\nHost: a\r\n\r\n", good},
        {"GET https://a/ HTTP/1.1\r\nHost: a:443\r\n\r\n", good},
        {"GET http://a:8080/ HTTP/1.1\r\nHost: a:8080\r\n\r\n", good},
        {"GET http://[::1]:8080/ HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", good},
        {"GET http://a/ HTTP/1.0\r\n\r\n", good},
        {"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", bad, "the request target and Host differ"},
        {"GET http://a/ HTTP/1.1\r\nHost: a.b\r\n\r\n", bad},
        {"GET http://a/ HTTP/1.1\r\nHost: a:8080\r\n\r\n", bad},
        {"GET http://a:8080/ HTTP/1.1\r\nHost: a\r\n\r\n", bad},
        {"GET https://a/ HTTP/1.1\r\nHost: a:80\r\n\r\n", bad},
        {"GET http://a/ HTTP/1.1\r\n\r\n", bad, "no Host field"},
        {"GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", bad},
        {"GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n", bad},
        {"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", bad},
        {"GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n", bad},
        {"GET http://a:x/ HTTP/1.1\r\nHost: a\r\n\r\n", bad},
        {"GET http:a/ HTTP/1.1\r\nHost: a\r\n\r\n", bad},
        {"GET ws://a/ HTTP/1.1\r\nHost: a\r\n\r\n", bad},
        {"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", bad},
        {"GET file:///etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", bad},
        {"GET ://a/ HTTP/1.1\r\nHost: a\r\n\r\n", bad},
        {"GET http://a#b HTTP/1.1\r\nHost: a\r\n\r\n", bad},
    });
  }

  TEST_CASE("exactly one Host") {
    check_rows({
        {"GET / HTTP/1.1\r\n\r\n", bad, "no Host field"},
        {"GET / HTTP/1.1\r\nAccept: *\r\n\r\n", bad, "no Host field"},
        {"GET / HTTP/1.0\r\n\r\n", good},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", bad, "two Host fields"},
        {"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nhOST: b\r\n\r\n", bad, "two Host fields"},
        {"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", bad, "two Host fields"},
        {"GET / HTTP/1.1\r\nHOST: a\r\n\r\n", good},
        {"GET / HTTP/1.1\r\nHost:a\r\n\r\n", good},
        {"GET / HTTP/1.1\r\nHost: \t a \t \r\n\r\n", good},
        {"GET / HTTP/1.0\r\nHost: a b\r\n\r\n", bad, "malformed Host"},
    });
  }

  TEST_CASE("Host is uri-host and port") {
    for (const auto host : {"a",
                            "a.b.c",
                            "a.b.c.",
                            "xn--bcher-kva.example",
                            "a_b",
                            "127.0.0.1",
                            "127.0.0.1:80",
                            "a:0",
                            "a:65535",
                            "a:",
                            "a:00080",
                            "[::1]",
                            "[::1]:8080",
                            "[::]",
                            "[::ffff:1.2.3.4]",
                            "[2001:db8::1]",
                            "[1:2:3:4:5:6:7:8]",
                            "[v1.a:b]",
                            "a%20b",
                            "999.1.1.1",
                            "a;b",
                            "0"}) {
      CAPTURE(host);
      CHECK(is_valid_host(host));
      check_rows({{"GET / HTTP/1.1\r\nHost: " + std::string{host} + "\r\n\r\n", good}});
    }
    for (const auto host : {"",
                            ":",
                            ":80",
                            "a b",
                            "a,b",
                            "a, b",
                            "u@a",
                            "a/b",
                            "a?b",
                            "a#b",
                            "a\\b",
                            "a:b",
                            "a:80:80",
                            "a:65536",
                            "a:-1",
                            "a:+1",
                            "a:99999999999999999999",
                            "a:8 0",
                            "::1",
                            "[::1",
                            "::1]",
                            "[]",
                            "[:::]",
                            "[1:2:3]",
                            "[::1]a",
                            "[::1]:x",
                            "[::1%25eth0]",
                            "[::1%eth0]",
                            "[127.0.0.1]",
                            "[g::1]",
                            "[v.a]",
                            "[v1]",
                            "[v1.]",
                            "[vx.a]",
                            "a%2",
                            "a%",
                            "a%zz",
                            "\"a\"",
                            "<a>",
                            "\xc3\xa9",
                            "a|b",
                            "http://a"}) {
      CAPTURE(host);
      CHECK_FALSE(is_valid_host(host));
      check_rows(
          {{"GET / HTTP/1.1\r\nHost: " + std::string{host} + "\r\n\r\n", bad, "malformed Host"}});
    }
    CHECK(is_valid_host(std::string(255, 'a')));
    CHECK_FALSE(is_valid_host(std::string(256, 'a')));
  }

  TEST_CASE("a header line is token, colon, value") {
    check_fields({
        {"X: y\r\n", good},
        {"X:\r\n", good},
        {"X:   \r\n", good},
        {"X:y\r\n", good},
        {"X: a\tb\r\n", good},
        {"X: \xc3\xa9\x80\xff\r\n", good},  // obs-text
        {"!#$%&'*+-.^_`|~09AZaz: y\r\n", good},
        {"X: a:b:c\r\n", good},
        {"X : y\r\n", bad, "white space before the colon"},
        {"X\t: y\r\n", bad, "white space before the colon"},
        {"X Y: z\r\n", bad, "a header name that is no token"},
        {"X\r\n", bad, "a header line without a colon"},
        {": y\r\n", bad, "a header line without a name"},
        {"X(: y\r\n", bad},
        {"X/: y\r\n", bad},
        {"X;: y\r\n", bad},
        {"\"X\": y\r\n", bad},
        {"X\xc3\xa9: y\r\n", bad},
        {"X\x7f: y\r\n", bad},
        {"X\0: y\r\n"sv, bad},
        {"X: a\0b\r\n"sv, bad, "NUL in the head"},
        {"X: a\x01 b\r\n", bad, "control byte in a header value"},
        {"X: a\x0b b\r\n", bad},
        {"X: a\x1f b\r\n", bad},
        {"X: a\x7f b\r\n", bad},
        {"X: a\x08\r\n", bad},
    });
  }

  TEST_CASE("lines end with CR LF and are not folded") {
    check_rows({
        {"GET / HTTP/1.1\nHost: a\n\n", bad, "bare LF"},
        {"GET / HTTP/1.1\r\nHost: a\n\r\n", bad, "bare LF"},
        {"GET / HTTP/1.1\nHost: a\r\n\r\n", bad, "bare LF"},
        {"GET / HTTP/1.1\r\nHost: a\r\n\n", bad, "bare LF"},
        {"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", bad, "bare CR"},
        {"GET / HTTP/1.1\rHost: a\r\n\r\n", bad, "bare CR"},
        {"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", bad, "bare CR"},
        {"GET / HTTP/1.1\r\nHost: a\r\nX: y\rContent-Length: 5\r\n\r\n", bad, "bare CR"},
        {"GET / HTTP/1.1\r\nHost: a\r\nX: y\nContent-Length: 5\r\n\r\n", bad, "bare LF"},
        {"GET / HTTP/1.1\r\n Host: a\r\n\r\n", bad, "white space before the first header field"},
        {"GET / HTTP/1.1\r\n\tHost: a\r\n\r\n", bad, "white space before the first header field"},
        {"GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n", bad},
    });
    check_fields({
        {"X: y\r\n z\r\n", bad, "obsolete line folding"},
        {"X: y\r\n\tz\r\n", bad, "obsolete line folding"},
        {"X: y\r\n \r\n", bad, "obsolete line folding"},
        {" X: y\r\n", bad},
        {"Transfer-Encoding:\r\n chunked\r\n", bad},
        {"Content-Length: 3\r\n , 3\r\n", bad},
    });
  }

  TEST_CASE("one length, in digits") {
    check_fields({
        {"Content-Length: 0\r\n", good},
        {"content-LENGTH: 3\r\n", good},
        {"Content-Length:\t3 \r\n", good},
        {"Content-Length: 0003\r\n", good},
        {"Content-Length: 18446744073709551615\r\n", good},
        {"Content-Length: 18446744073709551616\r\n", big},
        {"Content-Length: 99999999999999999999999999\r\n", big},
        {"Content-Length: 3\r\nContent-Length: 3\r\n", bad, "two Content-Length fields"},
        {"Content-Length: 3\r\nContent-Length: 4\r\n", bad, "two Content-Length fields"},
        {"Content-Length: 3, 3\r\n", bad, "malformed Content-Length"},
        {"Content-Length: 3,3\r\n", bad},
        {"Content-Length: +3\r\n", bad},
        {"Content-Length: -3\r\n", bad},
        {"Content-Length: -0\r\n", bad},
        {"Content-Length: 0x3\r\n", bad},
        {"Content-Length: 3.0\r\n", bad},
        {"Content-Length: 3e1\r\n", bad},
        {"Content-Length: 1 2\r\n", bad},
        {"Content-Length: three\r\n", bad},
        {"Content-Length:\r\n", bad},
        {"Content-Length: ,\r\n", bad},
        {"Content-Length: \"3\"\r\n", bad},
        {"Content-Length: 3\x0b\r\n", bad},
        {"Content-Length : 3\r\n", bad, "white space before the colon"},
        {"Content_Length: x\r\n", good},  // another field
    });
    const auto checked =
        check_request_head("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 42\r\n\r\n");
    CHECK(checked.content_length == 42);
    CHECK_FALSE(checked.chunked);
    CHECK_FALSE(check_request_head("GET / HTTP/1.1\r\nHost: a\r\n\r\n").content_length);
  }

  TEST_CASE("one coding, chunked") {
    check_fields({
        {"Transfer-Encoding: chunked\r\n", good},
        {"transfer-encoding:CHUNKED\r\n", good},
        {"Transfer-Encoding: \tchunked \r\n", good},
        {"Transfer-Encoding: gzip\r\n", bad, "a transfer coding other than chunked"},
        {"Transfer-Encoding: identity\r\n", bad},
        {"Transfer-Encoding: gzip, chunked\r\n", bad},
        {"Transfer-Encoding: chunked, gzip\r\n", bad},
        {"Transfer-Encoding: chunked, chunked\r\n", bad},
        {"Transfer-Encoding: chunked,\r\n", bad},
        {"Transfer-Encoding: , chunked\r\n", bad},
        {"Transfer-Encoding: xchunked\r\n", bad},
        {"Transfer-Encoding: chunkedx\r\n", bad},
        {"Transfer-Encoding: chunked;q=1\r\n", bad},
        {"Transfer-Encoding: \"chunked\"\r\n", bad},
        {"Transfer-Encoding: chu nked\r\n", bad},
        {"Transfer-Encoding: chunked\x0b\r\n", bad},
        {"Transfer-Encoding: \x0b"
         "chunked\r\n",
         bad},
        {"Transfer-Encoding:\r\n", bad},
        {"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", bad,
         "two Transfer-Encoding fields"},
        {"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", bad},
        {"Transfer-Encoding : chunked\r\n", bad},
        {"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", bad,
         "Content-Length with Transfer-Encoding"},
        {"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", bad,
         "Content-Length with Transfer-Encoding"},
        {"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", bad},
        {"Transfer_Encoding: gzip\r\n", good},  // another field
        {"TE: trailers\r\n", good},
    });
    check_rows({
        {"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", bad,
         "a transfer coding with HTTP/1.0"},
        {"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", bad},
    });
    CHECK(check_request_head("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").chunked);
  }

  TEST_CASE("fields are counted") {
    const auto head_with = [](std::size_t fields) {
      std::string head = "GET / HTTP/1.1\r\nHost: a\r\n";
      for (std::size_t i = 1; i < fields; ++i) head += "a:\r\n";
      return head + "\r\n";
    };
    CHECK(check_request_head(head_with(head_max_fields)).verdict == good);
    CHECK(check_request_head(head_with(head_max_fields + 1)).verdict == big);
  }
}

TEST_SUITE("SPEC 4 HTTP manners: what cannot become a head is refused at once") {
  TEST_CASE("garbage is known by its first bytes") {
    for (const auto start :
         {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"sv,  // a TLS ClientHello
          "\0"sv, "\xff\xff"sv, "{\"a\":1}"sv, "\n"sv, " "sv, "\x80"sv, "GET\n"sv,
          "GET / HTTP/1.1\n"sv, "GET /\0"sv, "GET /\x80"sv, "G\tT"sv, "GET / HTTP/1.1\rX"sv,
          "hello\r\n"sv, "GET /\r\n"sv, "GET / HTTP/3.0\r\n"sv, "GET / HTTP/1.1\r\nHost: a\nX"sv,
          "SSH-2.0-OpenSSH_9.2 \x7f"sv}) {
      CAPTURE(shown(start));
      CHECK(check_partial_head(start).verdict != good);
    }
  }
  TEST_CASE("no beginning of a good head is refused, however it arrives") {
    for (const auto head :
         {"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"sv, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"sv,
          "POST http://a:80/b?c HTTP/1.0\r\nHost: a\r\nContent-Length: 3\r\n\r\n"sv}) {
      for (std::size_t n = 0; n < head.size(); ++n) {
        CAPTURE(shown(head.substr(0, n)));
        CHECK(check_partial_head(head.substr(0, n)).verdict == good);
        for (std::size_t before = 0; before < n; ++before) {
          CHECK(check_partial_head(head.substr(0, n), before).verdict == good);
        }
      }
    }
  }
  TEST_CASE("a bad byte is found on whichever side of a cut it is") {
    for (const auto start : {"GET / HTTP/1.1\rHost"sv, "GET / HTTP/1.1\r\nHost: a\n"sv,
                             "GET / HTTP/1.1\r\nA\rB"sv, "GET / HTTP/1.1\r\nA\0"sv, "GET x\r\n"sv}) {
      for (std::size_t cut = 0; cut <= start.size(); ++cut) {
        CAPTURE(shown(start.substr(0, cut)));
        const bool is_found = check_partial_head(start.substr(0, cut)).verdict != good ||
                              check_partial_head(start, cut).verdict != good;
        CHECK(is_found);
      }
    }
  }
}

TEST_CASE("trim_ows and is_token") {
  CHECK(trim_ows("").empty());
  CHECK(trim_ows(" \t").empty());
  CHECK(trim_ows(" a b\t") == "a b");
  CHECK(trim_ows("\x0b") == "\x0b");
  CHECK(is_token("a"));
  CHECK_FALSE(is_token(""));
  CHECK_FALSE(is_token("a b"));
}
