#include "net/http_server.hpp"

#include "net/http_codec.hpp"
#include "tests/net/loopback.hpp"

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <malloc.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <deque>
#include <map>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"  // g++ 12, coroutine frames
#endif

namespace asio = boost::asio;
using asio::ip::tcp;
using namespace parley;
using namespace parley::net;
using namespace parley::net::testing;
using namespace std::chrono_literals;

namespace {

struct answer {
  int status = 0;
  std::map<std::string, std::string> headers;  ///< names in lower case
  std::string body;
  [[nodiscard]] std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? "" : found->second;
  }
};

/// Takes one answer off the front of `from`; nothing as long as it is not complete.
std::optional<answer> take_answer(std::string& from, bool has_body = true) {
  const auto end = from.find("\r\n\r\n");
  if (end == std::string::npos) return std::nullopt;
  answer out;
  REQUIRE(from.starts_with("HTTP/1.1 "));
  out.status = std::stoi(from.substr(9, 3));
  for (auto at = from.find("\r\n") + 2; at < end + 2;) {
    const auto line_end = from.find("\r\n", at);
    const auto colon = from.find(": ", at);
    REQUIRE(colon < line_end);
    auto name = from.substr(at, colon - at);
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
    CHECK_MESSAGE(!out.headers.contains(name), name);
    out.headers[name] = from.substr(colon + 2, line_end - colon - 2);
    at = line_end + 2;
  }
  std::size_t length = 0;
  if (has_body && out.headers.contains("content-length"))
    length = std::stoul(out.headers["content-length"]);
  if (from.size() < end + 4 + length) return std::nullopt;
  out.body = from.substr(end + 4, length);
  from.erase(0, end + 4 + length);
  return out;
}

/// A server whose handler tells what it got, or does what the test says for that path.
struct fixture {
  explicit fixture(http_options o = {}) : options(std::move(o)) { start(); }

  void start() {
    server.emplace(io, options, now, random, [this](http_request r) { return handle(std::move(r)); });
    REQUIRE_FALSE(server->listen(tcp::endpoint{asio::ip::address_v4::loopback(), 0}));
  }
  asio::awaitable<http_response> handle(http_request request) {
    seen.push_back(request);
    if (request.path == "/throw") throw std::runtime_error{"a secret"};
    if (request.path == "/wait") {
      waiting.emplace_back(
          std::make_unique<asio::steady_timer>(io, asio::steady_timer::time_point::max()));
      auto& timer = *waiting.back();
      boost::system::error_code ec;
      co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    }
    http_response out;
    if (answers.contains(request.path)) {
      out = answers[request.path];
    } else {
      out.content_type = "text/plain";
      out.body = request.method + " " + request.path + " " + request.body;
    }
    co_return out;
  }
  loopback_client client() { return {io, server->local_endpoint()}; }

  /// Sends `raw` on a new connection and returns the one answer and whether the server then hung up.
  std::pair<answer, bool> ask(std::string_view raw) {
    auto c = client();
    c.send(raw);
    return {next(c), is_closed(c)};
  }
  answer next(loopback_client& c, bool has_body = true) {
    std::optional<answer> out;
    REQUIRE_MESSAGE(c.read_until([&] {
      out = take_answer(c.received, has_body);
      return out.has_value() || c.is_ended;
    }),
                    c.received);
    REQUIRE(out);
    return *out;
  }
  /// The server closes it within its next turns (the client answers the FIN by itself).
  bool is_closed(loopback_client& c) {
    settle(io);
    c.read_now();
    CHECK_FALSE(c.was_reset);
    return c.is_ended;
  }
  void finish_waiting() {
    for (auto& t : waiting) t->cancel();
    waiting.clear();
  }

  asio::io_context io{1};
  manual_clock now;
  seeded_random random;
  http_options options;
  std::deque<http_request> seen;
  std::map<std::string, http_response> answers;
  std::vector<std::unique_ptr<asio::steady_timer>> waiting;
  std::optional<http_server> server;
};

std::string get(std::string_view path, std::string_view fields = {}) {
  return "GET " + std::string{path} + " HTTP/1.1\r\nHost: a\r\n" + std::string{fields} + "\r\n";
}

void check_envelope(const answer& a, std::string_view code) {
  CAPTURE(a.body);
  CHECK(a.header("content-type") == "application/json");
  CHECK(a.body.starts_with("{\"success\":false,\"error\":{"));
  CHECK(a.body.find("\"code\":\"" + std::string{code} + "\"") != std::string::npos);
  CHECK(a.body.find("\"request_id\":\"" + a.header("x-request-id") + "\"") != std::string::npos);
}

}  // namespace

TEST_SUITE("SPEC 4 HTTP manners: requests and answers") {
  TEST_CASE("a request reaches the handler with everything it says") {
    fixture f;
    const auto [a, closed] = f.ask(
        "POST /rooms/a%2Fb?x=1&y=a+b HTTP/1.1\r\nHost: chat.example\r\nX-Request-Id: "
        "my.id_1-2\r\nX-A: 1\r\nx-a:  2 "
        "\r\nContent-Length: 5\r\n\r\nhello");
    CHECK(a.status == 200);
    CHECK(a.body == "POST /rooms/a%2Fb hello");
    CHECK(a.header("content-type") == "text/plain");
    CHECK(a.header("content-length") == "23");
    CHECK(a.header("x-request-id") == "my.id_1-2");
    CHECK(a.header("date") == "Tue, 14 Nov 2023 22:13:20 GMT");
    CHECK(a.header("connection").empty());
    CHECK_FALSE(closed);
    REQUIRE(f.seen.size() == 1);
    const auto& r = f.seen[0];
    CHECK(r.segments == std::vector<std::string>{"rooms", "a/b"});
    CHECK(r.query_raw == "x=1&y=a+b");
    CHECK(r.query_value("x") == "1");
    CHECK(r.query_value("y") == "a b");
    CHECK_FALSE(r.query_value("z"));
    CHECK(r.header("host") == "chat.example");
    CHECK(r.header("x-a") == "1");
    CHECK(r.header_count("x-a") == 2);
    CHECK(r.headers[3].second == "2");
    CHECK(r.header("none").empty());
    CHECK(r.request_id == "my.id_1-2");
    CHECK(r.peer == asio::ip::address_v4::loopback());
    CHECK(r.keep_alive);
    CHECK_FALSE(r.upgrade_websocket);
    CHECK_FALSE(r.upgrade_problem);
    CHECK(f.server->counters().requests == 1);
    CHECK(f.server->counters().accepted == 1);
  }

  TEST_CASE("a request id out of bounds is replaced") {
    fixture f;
    for (const std::string id : {"", " ", "a b", "a/b", "\xc3\xa9", "a\"b"}) {
      CAPTURE(id);
      const auto [a, closed] = f.ask(get("/", "X-Request-Id: " + id + "\r\n"));
      CHECK(a.status == 200);
      CHECK(a.header("x-request-id") != id);
      CHECK(is_valid_request_id(a.header("x-request-id")));
    }
    CHECK(f.ask(get("/", "X-Request-Id: " + std::string(64, 'a') + "\r\n"))
              .first.header("x-request-id") == std::string(64, 'a'));
    CHECK(f.ask(get("/", "X-Request-Id: " + std::string(65, 'a') + "\r\n"))
              .first.header("x-request-id")
              .size() == 16);
    CHECK(f.ask(get("/")).first.header("x-request-id") !=
          f.ask(get("/")).first.header("x-request-id"));
  }

  TEST_CASE("any split of a request gives the same answer") {
    fixture f;
    const std::string raw = "\r\nPOST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    for (std::size_t cut = 1; cut < raw.size(); ++cut) {
      CAPTURE(cut);
      auto c = f.client();
      c.send(raw.substr(0, cut));
      settle(f.io);
      c.send(raw.substr(cut));
      CHECK(f.next(c).body == "POST /a abc");
    }
    auto c = f.client();
    for (const char b : raw) {
      c.send({&b, 1});
      settle(f.io);
    }
    CHECK(f.next(c).body == "POST /a abc");
  }

  TEST_CASE("keep-alive, Connection: close and HTTP/1.0") {
    fixture f;
    SUBCASE("one connection serves many") {
      auto c = f.client();
      for (int i = 0; i < 100; ++i) {
        c.send(get("/" + std::to_string(i)));
        CHECK(f.next(c).body == "GET /" + std::to_string(i) + " ");
      }
      CHECK(f.server->counters().accepted == 1);
      CHECK(f.server->counters().open == 1);
      c.close();
      CHECK(until(f.io, [&] { return f.server->counters().open == 0; }));
    }
    SUBCASE("close is obeyed and said") {
      const auto [a, closed] = f.ask(get("/", "Connection: close\r\n"));
      CHECK(a.header("connection") == "close");
      CHECK(closed);
      CHECK_FALSE(f.seen[0].keep_alive);
    }
    SUBCASE("a handler may close") {
      f.answers["/bye"] = {.status = 200, .body = "bye", .close = true};
      const auto [a, closed] = f.ask(get("/bye"));
      CHECK(a.header("connection") == "close");
      CHECK(closed);
    }
    SUBCASE("close wins over keep-alive, in HTTP/1.0 too; Proxy-Connection says nothing") {
      for (const std::string& raw :
           {get("/", "Connection: keep-alive, close\r\n"),
            get("/", "Connection: keep-alive\r\nConnection: Close\r\n"),
            std::string{"GET / HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n"},
            std::string{"GET / HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n"}}) {
        CAPTURE(raw);
        const auto [a, closed] = f.ask(raw);
        CHECK(a.header("connection") == "close");
        CHECK(closed);
      }
      CHECK_FALSE(f.ask(get("/", "Proxy-Connection: close\r\n")).second);
    }
    SUBCASE("HTTP/1.0 closes") {
      const auto [a, closed] = f.ask("GET / HTTP/1.0\r\n\r\n");
      CHECK(a.status == 200);
      CHECK(a.header("connection") == "close");
      CHECK(closed);
    }
    SUBCASE("unless it asks for keep-alive") {
      auto c = f.client();
      for (int i = 0; i < 2; ++i) {
        c.send("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
        CHECK(f.next(c).header("connection") == "keep-alive");
      }
      CHECK_FALSE(f.is_closed(c));
    }
  }

  TEST_CASE("pipelined requests are answered one by one, in order") {
    fixture f;
    auto c = f.client();
    std::string all;
    for (int i = 0; i < 500; ++i) {
      const auto n = std::to_string(i);
      all +=
          i % 3 == 0
              ? "POST /" + n +
                    " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
          : i % 3 == 1 ? "POST /" + n + " HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
                       : get("/" + n);
    }
    c.send(all);
    for (int i = 0; i < 500; ++i) {
      const auto n = std::to_string(i);
      CHECK(f.next(c).body == (i % 3 == 2 ? "GET /" + n + " " : "POST /" + n + " hi"));
    }
  }
  TEST_CASE("a pipelined request waits for the answer before it") {
    fixture f;
    auto c = f.client();
    c.send(get("/wait") + get("/after"));
    REQUIRE(until(f.io, [&] { return f.seen.size() == 1; }));
    settle(f.io);
    CHECK(f.seen.size() == 1);
    CHECK(f.server->open_requests() == 1);
    f.finish_waiting();
    CHECK(f.next(c).body == "GET /wait ");
    CHECK(f.next(c).body == "GET /after ");
    settle(f.io);
    CHECK(f.server->open_requests() == 0);
  }

  TEST_CASE("HEAD has the length and no body; 204 and 304 have neither") {
    fixture f;
    f.answers["/none"] = {.status = 204};
    f.answers["/same"] = {.status = 304};
    f.answers["/empty"] = {.status = 200};
    auto c = f.client();
    c.send("HEAD /abc HTTP/1.1\r\nHost: a\r\n\r\n");
    const auto head = f.next(c, false);
    CHECK(head.status == 200);
    CHECK(head.header("content-length") == "10");
    c.send(get("/none"));
    const auto none = f.next(c);
    CHECK(none.status == 204);
    CHECK_FALSE(none.headers.contains("content-length"));
    CHECK_FALSE(none.headers.contains("content-type"));
    c.send(get("/same"));
    CHECK_FALSE(f.next(c).headers.contains("content-length"));
    c.send(get("/empty"));
    const auto empty = f.next(c);
    CHECK(empty.header("content-length") == "0");
    CHECK_FALSE(empty.headers.contains("content-type"));
    c.send(get("/abc"));
    CHECK(f.next(c).body == "GET /abc ");
  }

  TEST_CASE("a handler's headers can't break the framing") {
    fixture f;
    f.answers["/"] = {.status = 200,
                      .body = "x",
                      .headers = {{"X-A", "a\r\nSet-Cookie: b"},
                                  {"X B", "c"},
                                  {"Content-Length", "100"},
                                  {"transfer-encoding", "chunked"},
                                  {"Connection", "upgrade"},
                                  {"", "d"},
                                  {"X-E", "e"}}};
    const auto [a, closed] = f.ask(get("/"));
    CHECK(a.header("x-a") == "a  Set-Cookie: b");
    CHECK_FALSE(a.headers.contains("set-cookie"));
    CHECK(a.header("content-length") == "1");
    CHECK_FALSE(a.headers.contains("transfer-encoding"));
    CHECK_FALSE(a.headers.contains("connection"));
    CHECK(a.header("x-e") == "e");
    CHECK(a.headers.size() == 6);
  }

  TEST_CASE("an exception is 500 without a word of it, and the connection stays") {
    fixture f;
    auto c = f.client();
    c.send(get("/throw"));
    const auto a = f.next(c);
    CHECK(a.status == 500);
    check_envelope(a, "INTERNAL_ERROR");
    CHECK(a.body.find("secret") == std::string::npos);
    c.send(get("/a"));
    CHECK(f.next(c).status == 200);
    CHECK(f.server->counters().handler_errors == 1);
  }

  TEST_CASE("a large answer reaches a slow reader whole") {
    fixture f;
    std::string big(20'000'000, 'x');
    for (std::size_t i = 0; i < big.size(); i += 1000)
      big[i] = static_cast<char>('a' + i / 1000 % 26);
    f.answers["/big"] = {.status = 200, .body = big};
    auto c = f.client();
    c.send(get("/big") + get("/small"));
    settle(f.io);
    CHECK(f.server->open_requests() == 1);
    CHECK(f.next(c).body == big);
    CHECK(f.next(c).body == "GET /small ");
  }

  TEST_CASE("the error envelope has its headers") {
    const auto header = [](const http_response& r, std::string_view name) {
      for (const auto& [n, v] : r.headers) {
        if (n == name) return v;
      }
      return std::string{};
    };
    CHECK(error_response({.code = error_code::not_found, .message = "x"}, "i").status == 404);
    CHECK(
        header(error_response({.code = error_code::not_found, .message = "x"}, "i"), "Retry-After")
            .empty());
    CHECK(header(error_response(unavailable("x", 1500ms), "i"), "Retry-After") == "2");
    CHECK(header(error_response(
                     {.code = error_code::rate_limit, .message = "x", .retry_after = 0ms}, "i"),
                 "Retry-After") == "1");
    CHECK(header(error_response({.code = error_code::rate_limit, .message = "x"}, "i"),
                 "Retry-After") == "1");
    CHECK(header(error_response({.code = error_code::authentication, .message = "x"}, "i"),
                 "WWW-Authenticate") == "Bearer");
    const auto upgrade = error_response({.code = error_code::upgrade_required, .message = "x"}, "i");
    CHECK(upgrade.status == 426);
    CHECK(header(upgrade, "Sec-WebSocket-Version") == "13");
    CHECK(make_response_head(upgrade, {.request_id = "i"}).find("\r\nConnection: Upgrade\r\n") !=
          std::string::npos);
  }
}

TEST_SUITE("SPEC 4 HTTP manners: bodies") {
  TEST_CASE("chunked bodies, and what follows them") {
    fixture f;
    auto c = f.client();
    c.send(
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n "
        "world\r\n0\r\nT: u\r\n\r\n" +
        get("/b"));
    CHECK(f.next(c).body == "POST /a hello world");
    CHECK(f.next(c).body == "GET /b ");
    CHECK(f.seen[0].header("t").empty());
  }
  TEST_CASE("a bad chunk is 400 and the end") {
    fixture f;
    for (const auto* chunk :
         {"x\r\n", "5\r\nhello!\r\n", "-1\r\n", "0\r\n a: b\r\n\r\n", "5 \r\nhello\r\n"}) {
      CAPTURE(chunk);
      const auto [a, closed] = f.ask(
          "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + std::string{chunk});
      CHECK(a.status == 400);
      check_envelope(a, "VALIDATION_ERROR");
      CHECK(a.header("connection") == "close");
      CHECK(closed);
    }
    CHECK(f.seen.empty());
  }
  TEST_CASE("beyond max_body: 413, and the client reads it although it goes on sending") {
    fixture f{{.max_body = 1000}};
    SUBCASE("announced") {
      auto c = f.client();
      c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n" + std::string(1001, 'x'));
      const auto a = f.next(c);
      CHECK(a.status == 413);
      check_envelope(a, "PAYLOAD_TOO_LARGE");
      CHECK(f.is_closed(c));
    }
    SUBCASE("chunked") {
      const auto [a, closed] =
          f.ask("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3E9\r\n");
      CHECK(a.status == 413);
      CHECK(closed);
    }
    SUBCASE("many megabytes before it reads a byte") {
      auto c = f.client();
      c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n");
      const std::string piece(100000, 'x');
      for (int i = 0; i < 200; ++i) c.send(piece);
      CHECK(f.next(c).status == 413);
      CHECK(f.is_closed(c));
    }
    SUBCASE("exactly max_body is no offence") {
      CHECK(f.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n" +
                  std::string(1000, 'x'))
                .first.status == 200);
      CHECK(f.ask("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n" +
                  std::string(1000, 'x') + "\r\n0\r\n\r\n")
                .first.status == 200);
    }
    SUBCASE("a path may have its own bound") {
      f.server.reset();
      f.options.max_body_of = [](const http_request& r) { return r.path == "/batch" ? 5000U : 10U; };
      f.start();
      CHECK(f.ask("POST /batch HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n" +
                  std::string(5000, 'x'))
                .first.status == 200);
      CHECK(f.ask("POST /other HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n").first.status ==
            413);
      CHECK(f.ask("POST /batch HTTP/1.1\r\nHost: a\r\nContent-Length: 5001\r\n\r\n").first.status ==
            413);
      const std::string chunks =
          " HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1388\r\n" +
          std::string(5000, 'x') + "\r\n";
      CHECK(f.ask("POST /batch" + chunks + "0\r\n\r\n").first.status == 200);
      CHECK(f.ask("POST /batch" + chunks + "1\r\n").first.status == 413);
      CHECK(f.ask("POST /other" + chunks).first.status == 413);
      // A request of the other kind on the same connection has its own bound again.
      auto c = f.client();
      c.send("POST /batch HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world" +
             std::string{"POST /other HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n"});
      CHECK(f.next(c).status == 200);
      CHECK(f.next(c).status == 413);
      CHECK(f.seen.size() == 3);
    }
  }
  TEST_CASE("a body of many megabytes in pieces") {
    fixture f{{.max_body = 8'000'000}};
    std::string body(8'000'000, '\0');
    for (std::size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>(i * 7 + i / 251);
    auto c = f.client();
    c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n");
    c.send(body);
    CHECK(f.next(c).status == 200);
    CHECK(f.seen[0].body == body);
    CHECK(f.seen[0].body.capacity() == body.size());
  }
  TEST_CASE("all bodies share one budget, and give it back") {
    fixture f{{.body_total_bytes = 1000}};
    const std::string first =
        "POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 600\r\n\r\n" + std::string(600, 'x');
    auto a = f.client();
    a.send(first);
    REQUIRE(until(f.io, [&] { return f.seen.size() == 1; }));
    auto b = f.client();
    b.send(first);
    const auto refused = f.next(b);
    CHECK(refused.status == 503);
    check_envelope(refused, "UNAVAILABLE");
    CHECK(refused.header("retry-after") == "1");
    f.finish_waiting();
    CHECK(f.next(a).status == 200);
    auto c = f.client();
    c.send(first);
    REQUIRE(until(f.io, [&] { return f.seen.size() == 2; }));
    f.finish_waiting();
    CHECK(f.next(c).status == 200);
    CHECK(f.server->counters().refused_full == 1);
  }
  TEST_CASE("Expect: 100-continue is answered before the body comes") {
    fixture f{{.max_body = 100}};
    const std::string head =
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: ";
    SUBCASE("when it is welcome") {
      auto c = f.client();
      c.send(head + "2\r\n\r\n");
      const std::string expected = "HTTP/1.1 100 Continue\r\n\r\n";
      REQUIRE(c.read_until([&] { return c.received.size() >= expected.size(); }));
      CHECK(c.received == expected);
      c.received.clear();
      c.send("hi");
      CHECK(f.next(c).body == "POST / hi");
    }
    SUBCASE("not when it is too large") {
      auto c = f.client();
      c.send(head + "101\r\n\r\n");
      CHECK(f.next(c).status == 413);
    }
    SUBCASE("not when the body is there already, nor with HTTP/1.0") {
      auto c = f.client();
      c.send(head + "2\r\n\r\nhi");
      CHECK(f.next(c).body == "POST / hi");
      auto old = f.client();
      old.send("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
      settle(f.io);
      old.read_now();
      CHECK(old.received.empty());
      old.send("hi");
      CHECK(f.next(old).body == "POST / hi");
    }
  }
}

TEST_SUITE("SPEC 4 HTTP manners: refusals") {
  TEST_CASE("what the strict check refuses is 400, the envelope, and the end") {
    fixture f;
    for (const auto* raw : {
             "GET / HTTP/1.1\r\n\r\n",
             "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
             "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
             "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: "
             "chunked\r\n\r\n0\r\n\r\n",
             "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\nGET "
             "/smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
             "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
             "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
             "GET / HTTP/1.1\nHost: a\n\n",
             "GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
             "GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
             "GET / HTTP/1.1\r\nHost: a\r\nConnection: @\r\n\r\n",  // Beast's own
             "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
             "GET /% HTTP/1.1\r\nHost: a\r\n\r\n",
             "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n",
             "GET /?a=%zz HTTP/1.1\r\nHost: a\r\n\r\n",
             "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
             "\x16\x03\x01\x02\xff\x01\xff\x01\xfc\x03\x03",  // TLS on a plain port
             "\r\n\r\n\r\n\r\n\r\n\r\n\r\n",
             "{\"type\":\"ping\"}",
             "hello\r\n",
         }) {
      CAPTURE(raw);
      const auto [a, closed] = f.ask(raw);
      CHECK(a.status == 400);
      check_envelope(a, "VALIDATION_ERROR");
      CHECK(a.header("connection") == "close");
      CHECK(closed);
    }
    CHECK(f.seen.empty());
    CHECK(f.server->counters().refused_strict == 20);
  }
  TEST_CASE("a refused HEAD has no body either") {
    fixture f{{.max_header = 1000, .max_body = 100}};
    const std::string head = "HEAD / HTTP/1.1\r\nHost: a\r\n";
    for (const auto& raw :
         {std::string{"HEAD /% HTTP/1.1\r\nHost: a\r\n\r\n"}, std::string{"HEAD / HTTP/1.1\r\n\r\n"},
          head + "X : y\r\n\r\n", head + "Content-Length: 101\r\n\r\n",
          head + "Transfer-Encoding: chunked\r\n\r\nx\r\n", head + "X: " + std::string(1000, 'x')}) {
      CAPTURE(raw);
      auto c = f.client();
      c.send(raw);
      const auto a = f.next(c, false);
      CHECK(a.status >= 400);
      CHECK(a.header("content-length") != "0");
      CHECK(f.is_closed(c));
      CHECK(c.received.empty());
    }
    CHECK(f.seen.empty());
  }
  TEST_CASE("a good request before a bad one is answered first") {
    fixture f;
    auto c = f.client();
    c.send(get("/a") + "GET / HTTP/1.1\r\nHost : a\r\n\r\n" + get("/b"));
    CHECK(f.next(c).body == "GET /a ");
    CHECK(f.next(c).status == 400);
    CHECK(f.is_closed(c));
    CHECK(f.seen.size() == 1);
  }
  TEST_CASE("beyond max_header: 413") {
    fixture f{{.max_header = 1000}};
    const auto head_of = [](std::size_t bytes) {
      const auto bare = get("/", "X: \r\n").size();
      return get("/", "X: " + std::string(bytes - bare, 'x') + "\r\n");
    };
    CHECK(f.ask(head_of(1000)).first.status == 200);
    const auto [a, closed] = f.ask(head_of(1001));
    CHECK(a.status == 413);
    check_envelope(a, "PAYLOAD_TOO_LARGE");
    CHECK(closed);
    CHECK(f.ask("GET /" + std::string(100000, 'x')).first.status == 413);
    CHECK(f.ask(get("/a") + head_of(1001)).first.status == 200);
    std::string many;
    for (int i = 0; i < 200; ++i) many += "a:\r\n";
    CHECK(f.ask(get("/", many)).first.status == 413);
  }
  TEST_CASE("a stream that ends within a request is 400; one that never began one is closed") {
    fixture f;
    for (const std::string raw :
         {"GET / HTTP/1.1\r\nHost: a\r\n", "G",
          "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab",
          "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"}) {
      CAPTURE(raw);
      auto c = f.client();
      c.send(raw);
      c.end_of_sending();
      CHECK(f.next(c).status == 400);
      CHECK(c.read_to_end());
    }
    for (const std::string raw : {"", "\r\n", "\r\n\r\n"}) {
      auto c = f.client();
      c.send(raw);
      c.end_of_sending();
      CHECK(c.read_to_end());
      CHECK(c.received.empty());
    }
    CHECK(until(f.io, [&] { return f.server->counters().open == 0; }));
  }
  TEST_CASE("a client that is gone costs nothing") {
    fixture f;
    f.answers["/big"] = {.status = 200, .body = std::string(10'000'000, 'x')};
    for (const auto& raw :
         {std::string{}, std::string{"GET"}, get("/big"), get("/wait"), get("/big") + get("/big")}) {
      auto c = f.client();
      c.send(raw);
      settle(f.io);
      c.reset();
    }
    settle(f.io);
    f.finish_waiting();
    CHECK(until(f.io, [&] { return f.server->counters().open == 0; }));
    CHECK(f.server->open_requests() == 0);
  }
}

TEST_SUITE("SPEC 4 HTTP manners: deadlines") {
  TEST_CASE("a trickling head or body is cut off at request_timeout, without a word") {
    fixture f{{.request_timeout = 10s, .idle_timeout = 60s}};
    for (const std::string raw :
         {"GET / HT", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n",
          "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "\r\n"}) {
      CAPTURE(raw);
      auto c = f.client();
      c.send(raw);
      settle(f.io);
      for (int second = 0; second < 9; ++second) {
        f.now.advance(1s);
        c.send(raw.starts_with("GET")             ? "T"
               : raw.ends_with("chunked\r\n\r\n") ? "1\r\nx\r\n"
               : raw == "\r\n"                    ? "\r"
                                                  : "x");
        settle(f.io);
        if (raw == "\r\n") break;
        f.server->tick();
        c.read_now();
        CHECK_FALSE(c.is_ended);
      }
      f.now.advance(10s);
      f.server->tick();
      CHECK(c.read_to_end());
      CHECK_FALSE(c.was_reset);
      CHECK(c.received.empty());
    }
    CHECK(f.server->counters().timeouts == 4);
    CHECK(f.server->counters().open == 0);
  }
  TEST_CASE("an idle connection is closed at idle_timeout; a request starts it anew") {
    fixture f{{.request_timeout = 10s, .idle_timeout = 60s}};
    auto c = f.client();
    settle(f.io);
    f.now.advance(59s);
    f.server->tick();
    c.send(get("/"));
    CHECK(f.next(c).status == 200);
    settle(f.io);
    f.now.advance(59s);
    f.server->tick();
    CHECK_FALSE(f.is_closed(c));
    f.now.advance(1s);
    f.server->tick();
    CHECK(f.is_closed(c));
    CHECK(f.server->counters().timeouts == 0);
  }
  TEST_CASE("a handler has its own deadlines") {
    fixture f;
    auto c = f.client();
    c.send(get("/wait"));
    REQUIRE(until(f.io, [&] { return f.seen.size() == 1; }));
    f.now.advance(1h);
    f.server->tick();
    settle(f.io);
    f.finish_waiting();
    CHECK(f.next(c).status == 200);
  }
  TEST_CASE("an answer that is not read is given up at write_timeout, a slowly read one is not") {
    fixture f{{.write_timeout = 10s}};
    f.answers["/big"] = {.status = 200, .body = std::string(50'000'000, 'x')};
    auto slow = f.client();
    auto dead = f.client();
    slow.send(get("/big"));
    dead.send(get("/big"));
    settle(f.io);
    CHECK(f.server->open_requests() == 2);
    for (int i = 0; i < 5; ++i) {
      f.now.advance(6s);
      slow.read_now(8'000'000);
      settle(f.io);
      f.server->tick();
    }
    settle(f.io);
    CHECK(f.server->open_requests() == 1);
    CHECK(f.server->counters().timeouts == 1);
    CHECK(f.next(slow).body.size() == 50'000'000);
  }
  TEST_CASE("who does not read the last answer does not keep the connection") {
    fixture f;
    auto c = f.client();
    c.send("nonsense\r\n");
    settle(f.io);
    CHECK(f.server->counters().open == 1);  // lingers
    f.now.advance(2s);
    f.server->tick();
    settle(f.io);
    CHECK(f.server->counters().open == 0);
    CHECK(f.next(c).status == 400);
  }
  TEST_CASE("the server ticks by itself") {
    asio::io_context io{1};
    seeded_random random;
    http_options options{.request_timeout = 50ms, .idle_timeout = 40ms};
    http_server server{
        io, options, system_clock_source(), random,
        [](http_request) -> asio::awaitable<http_response> { co_return http_response{}; }};
    REQUIRE_FALSE(server.listen(tcp::endpoint{asio::ip::address_v4::loopback(), 0}));
    loopback_client a{io, server.local_endpoint()};
    loopback_client b{io, server.local_endpoint()};
    b.send("GET");
    CHECK(a.read_to_end());
    CHECK(b.read_to_end());
  }
}

TEST_SUITE("SPEC 5: the upgrade") {
  const std::string handshake_fields =
      "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: "
      "dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

  TEST_CASE("101 is written, then the socket and what followed are handed over") {
    fixture f;
    std::optional<tcp::socket> socket;
    std::string early;
    f.answers["/ws"].upgraded = [&](tcp::socket s, std::string e) {
      socket = std::move(s);
      early = std::move(e);
    };
    f.answers["/ws"].headers = {{"Sec-WebSocket-Protocol", "parley.v1"}};
    auto c = f.client();
    SUBCASE("alone") {
      c.send(get("/ws", handshake_fields));
      REQUIRE(until(f.io, [&] { return socket.has_value(); }));
      CHECK(early.empty());
    }
    SUBCASE("with early bytes") {
      c.send(get("/ws", handshake_fields) + "early");
      REQUIRE(until(f.io, [&] { return socket.has_value(); }));
      CHECK(early == "early");
    }
    SUBCASE("after other requests") {
      c.send(get("/a") + get("/ws", handshake_fields) + "early");
      REQUIRE(until(f.io, [&] { return socket.has_value(); }));
      CHECK(f.next(c).status == 200);
      CHECK(early == "early");
    }
    const auto a = f.next(c);
    CHECK(a.status == 101);
    CHECK(a.header("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    CHECK(a.header("upgrade") == "websocket");
    CHECK(a.header("connection") == "Upgrade");
    CHECK(a.header("sec-websocket-protocol") == "parley.v1");
    CHECK_FALSE(a.headers.contains("content-length"));
    CHECK(is_valid_request_id(a.header("x-request-id")));
    settle(f.io);
    CHECK(f.server->counters().open == 0);
    tcp::no_delay no_delay;
    socket->get_option(no_delay);
    CHECK(no_delay.value());
    asio::write(*socket, asio::buffer("hi", 2));
    CHECK(c.read_until([&] { return c.received == "hi"; }));
  }

  TEST_CASE("a handshake out of form reaches the handler with its problem") {
    fixture f;
    struct row {
      std::string method;
      std::string version;
      std::string fields;
      bool good = false;
    };
    const std::string key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const std::string v13 = "Sec-WebSocket-Version: 13\r\n";
    const std::string up = "Upgrade: websocket\r\n";
    const std::string con = "Connection: Upgrade\r\n";
    for (const auto& r : {
             row{"GET", "1.1", up + con + key + v13, true},
             row{"GET", "1.1",
                 "upgrade: WebSocket\r\nconnection: keep-alive, UPGRADE\r\n" + key + v13, true},
             row{"GET", "1.1",
                 "Upgrade: h2c, websocket\r\nConnection: keep-alive\r\nConnection: upgrade\r\n" +
                     key + v13,
                 true},
             row{"GET", "1.1", up + con + key + v13 + "Content-Length: 0\r\n", true},
             row{"POST", "1.1", up + con + key + v13},
             row{"GET", "1.0", up + con + key + v13},
             row{"GET", "1.1", up + key + v13},
             row{"GET", "1.1", up + "Connection: keep-alive\r\n" + key + v13},
             row{"GET", "1.1", up + con + key},
             row{"GET", "1.1", up + con + key + "Sec-WebSocket-Version: 12\r\n"},
             row{"GET", "1.1", up + con + key + "Sec-WebSocket-Version: 8, 13\r\n"},
             row{"GET", "1.1", up + con + key + v13 + v13},
             row{"GET", "1.1", up + con + v13},
             row{"GET", "1.1", up + con + key + key + v13},
             row{"GET", "1.1", up + con + v13 + "Sec-WebSocket-Key: abc\r\n"},
             row{"GET", "1.1", up + con + v13 + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=\r\n"},
             row{"GET", "1.1", up + con + v13 + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQAAAA==\r\n"},
             row{"GET", "1.1", up + con + key + v13 + "Content-Length: 1\r\n"},
         }) {
      CAPTURE(r.method + " " + r.version + " " + r.fields);
      f.seen.clear();
      f.ask(r.method + " /x HTTP/" + r.version + "\r\nHost: a\r\n" + r.fields + "\r\n" +
            (r.fields.ends_with(": 1\r\n") ? "x" : ""));
      REQUIRE(f.seen.size() == 1);
      CHECK(f.seen[0].upgrade_websocket == r.good);
      CHECK(f.seen[0].upgrade_problem.has_value() == !r.good);
    }
    for (const auto& fields : {std::string{}, std::string{"Upgrade: h2c\r\nConnection: Upgrade\r\n"},
                               con + key + v13, std::string{"Upgrade: xwebsocket\r\n"}}) {
      f.seen.clear();
      f.ask(get("/x", fields));
      REQUIRE(f.seen.size() == 1);
      CHECK_FALSE(f.seen[0].upgrade_websocket);
      CHECK_FALSE(f.seen[0].upgrade_problem);
    }
  }
  TEST_CASE("a handler that upgrades what asked for nothing is a bug: 500") {
    fixture f;
    f.answers["/ws"].upgraded = [](tcp::socket, std::string) { FAIL("handed over"); };
    CHECK(f.ask(get("/ws")).first.status == 500);
  }
}

TEST_SUITE("SPEC 7: accepting and draining") {
  TEST_CASE("a draining server answers what is in work, closes what is idle and takes no more") {
    fixture f;
    auto idle = f.client();
    auto busy = f.client();
    auto late = f.client();
    busy.send(get("/wait") + get("/never"));
    REQUIRE(until(f.io, [&] { return f.seen.size() == 1 && f.server->counters().open == 3; }));
    settle(f.io);
    const auto where = f.server->local_endpoint();
    late.send(get("/late"));   // in the socket, not yet read
    auto queued = f.client();  // connected, not yet accepted
    queued.send(get("/queued"));
    f.server->stop_accepting();
    CHECK(f.next(late).header("connection") == "close");
    CHECK(f.next(queued).header("connection") == "close");
    CHECK(f.is_closed(idle));
    CHECK(f.server->open_requests() == 1);
    f.finish_waiting();
    const auto a = f.next(busy);
    CHECK(a.body == "GET /wait ");
    CHECK(a.header("connection") == "close");
    CHECK(f.is_closed(busy));
    CHECK(std::ranges::none_of(f.seen, [](const http_request& r) { return r.path == "/never"; }));
    f.now.advance(2s);  // they do not hang up by themselves
    f.server->tick();
    CHECK(until(f.io, [&] { return f.server->counters().open == 0; }));
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    CHECK(::connect(fd, where.data(), static_cast<socklen_t>(where.size())) != 0);
    ::close(fd);
  }
  TEST_CASE("a server may go while a handler is suspended and connections are open") {
    fixture f;
    auto busy = f.client();
    auto idle = f.client();
    auto half = f.client();
    busy.send(get("/wait"));
    half.send("GET / HT");
    REQUIRE(until(f.io, [&] { return f.seen.size() == 1 && f.server->counters().open == 3; }));
    f.server.reset();
    f.finish_waiting();
    settle(f.io);
    CHECK(busy.read_to_end());
    CHECK(idle.read_to_end());
    CHECK(half.read_to_end());
    CHECK(busy.received.empty());
  }
  TEST_CASE("the loop may go before the handlers have come back") {
    fixture f;
    auto busy = f.client();
    busy.send(get("/wait"));
    REQUIRE(until(f.io, [&] { return f.seen.size() == 1; }));
    f.server.reset();
    f.waiting.clear();
  }
  TEST_CASE("beyond max_connections: 503, counted with the upgraded ones") {
    std::size_t upgraded = 0;
    fixture f{{.max_connections = 3, .upgraded_open = [&upgraded] { return upgraded; }}};
    auto a = f.client();
    auto b = f.client();
    a.send(get("/"));
    b.send(get("/"));
    CHECK(f.next(a).status == 200);
    CHECK(f.next(b).status == 200);
    upgraded = 1;
    auto c = f.client();
    const auto refused = f.next(c);
    CHECK(refused.status == 503);
    check_envelope(refused, "UNAVAILABLE");
    CHECK(c.read_to_end());
    upgraded = 0;
    auto d = f.client();
    d.send(get("/"));
    CHECK(f.next(d).status == 200);
  }
  TEST_CASE("several servers share a port") {
    fixture f;
    fixture g;
    REQUIRE_FALSE(g.server->listen(f.server->local_endpoint()));
    std::deque<loopback_client> clients;
    for (int i = 0; i < 64; ++i)
      clients.emplace_back(f.io, f.server->local_endpoint()).send(get("/"));
    for (auto& c : clients) {
      REQUIRE(c.read_until([&] {
        g.io.poll();
        return !c.received.empty();
      }));
    }
    CHECK(f.server->counters().accepted + g.server->counters().accepted == 64);
    CHECK(f.server->counters().accepted > 0);
    CHECK(g.server->counters().accepted > 0);
  }
  TEST_CASE("a listening socket made elsewhere, also of the Unix domain") {
    fixture f;
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;  // and no name: the kernel finds an abstract one
    REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address.sun_family) == 0);
    REQUIRE(::listen(fd, 8) == 0);
    socklen_t size = sizeof address;
    REQUIRE(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    REQUIRE_FALSE(f.server->listen(fd));
    const int peer = ::socket(AF_UNIX, SOCK_STREAM, 0);
    REQUIRE(::connect(peer, reinterpret_cast<sockaddr*>(&address), size) == 0);
    loopback_client c{f.io, peer};
    c.send(get("/a"));
    CHECK(f.next(c).body == "GET /a ");
    CHECK(f.seen[0].peer.is_unspecified());
  }
  TEST_CASE("a taken port is an error, not a throw") {
    fixture f;
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    tcp::endpoint any{asio::ip::address_v4::loopback(), 0};
    REQUIRE(::bind(fd, any.data(), static_cast<socklen_t>(any.size())) == 0);
    REQUIRE(::listen(fd, 1) == 0);
    socklen_t size = static_cast<socklen_t>(any.capacity());
    REQUIRE(::getsockname(fd, any.data(), &size) == 0);
    CHECK(f.server->listen(any) == boost::system::errc::address_in_use);
    ::close(fd);
  }
  TEST_CASE("without descriptors newcomers are closed at once, and later ones are served") {
    fixture f;
    settle(f.io);
    std::vector<int> held;
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    const rlimit small{.rlim_cur = 128, .rlim_max = limit.rlim_max};
    std::deque<loopback_client> clients;
    for (int i = 0; i < 20; ++i) clients.emplace_back(f.io, f.server->local_endpoint());
    ::setrlimit(RLIMIT_NOFILE, &small);
    for (int fd; (fd = ::dup(0)) >= 0;) held.push_back(fd);
    const auto accepted = f.server->counters().accepted;
    bool all_ended = true;
    for (auto& c : clients) all_ended = all_ended && c.read_to_end();
    for (const int fd : held) ::close(fd);
    ::setrlimit(RLIMIT_NOFILE, &limit);
    CHECK(all_ended);
    CHECK(f.server->counters().accepted == accepted);
    CHECK(f.server->counters().accept_errors == 20);
    CHECK(f.ask(get("/")).first.status == 200);
  }
  TEST_CASE("a thousand connections") {
    fixture f;
    std::deque<loopback_client> clients;
    for (int i = 0; i < 1000; ++i)
      clients.emplace_back(f.io, f.server->local_endpoint()).send(get("/" + std::to_string(i)));
    for (int i = 0; i < 1000; ++i)
      CHECK(f.next(clients[static_cast<std::size_t>(i)]).body == "GET /" + std::to_string(i) + " ");
    CHECK(f.server->counters().open == 1000);
    clients.clear();
    CHECK(until(f.io, [&] { return f.server->counters().open == 0; }));
  }
}

TEST_SUITE("SPEC 4 HTTP manners: anything at all") {
  TEST_CASE(
      "random damage to good requests, randomly cut, is answered or closed, never a crash or a "
      "hang") {
    fixture f;
    const std::vector<std::string> good{
        get("/a?b=c"), "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"};
    for (unsigned seed = 0; seed < 300; ++seed) {
      CAPTURE(seed);
      std::mt19937 random{seed};
      std::string raw;
      for (int i = 0; i < 4; ++i) raw += good[random() % good.size()];
      for (auto n = random() % 4; n > 0; --n) {
        const auto at = random() % raw.size();
        switch (random() % 4) {
          case 0:
            raw[at] = static_cast<char>(random());
            break;
          case 1:
            raw.erase(at, random() % 5);
            break;
          case 2:
            raw.insert(at, std::string(1 + random() % 3, static_cast<char>(random())));
            break;
          default:
            raw.insert(at, "\r\n");
            break;
        }
      }
      auto c = f.client();
      for (std::size_t at = 0; at < raw.size();) {
        const auto n = 1 + random() % 40;
        c.send(std::string_view{raw}.substr(at, n));
        if (random() % 2 == 0) settle(f.io);
        at += n;
      }
      c.end_of_sending();
      CHECK(c.read_to_end());
      CHECK_FALSE(c.was_reset);
      for (auto rest = c.received;
           !rest.empty();) {  // nothing but whole answers (of HEAD: without body)
        const auto end = rest.find("\r\n\r\n");
        REQUIRE(end != std::string::npos);
        const auto next = rest.find("HTTP/1.1 ", end);
        rest.erase(0, next == std::string::npos ? rest.size() : next);
      }
    }
    CHECK(until(f.io, [&] { return f.server->counters().open == 0; }));
    CHECK(f.server->open_requests() == 0);
  }
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_CASE("http_server: a connection between requests costs less than a kilobyte of heap") {
  fixture f;
  std::deque<loopback_client> clients;
  const auto connect = [&] {
    clients.emplace_back(f.io, f.server->local_endpoint()).send(get("/"));
    CHECK(f.next(clients.back()).status == 200);
    f.seen.clear();
  };
  for (int i = 0; i < 100; ++i) connect();
  settle(f.io);
  const auto before = mallinfo2().uordblks;
  for (int i = 0; i < 1000; ++i) connect();
  settle(f.io);
  std::size_t clients_own = 0;
  for (const auto& c : clients) clients_own += sizeof c + c.received.capacity();
  const auto bytes = (mallinfo2().uordblks - before) / 1000 - clients_own / clients.size();
  MESSAGE(bytes << " bytes of heap a connection between requests");
  CHECK(bytes < 1000);
}
#endif
