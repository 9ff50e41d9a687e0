#include "net/webhook_client.hpp"

#include "tests/net/webhook_sender.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

using namespace parley;
using namespace parley::net;
using namespace parley::net::testing;
using namespace std::chrono_literals;
using actors::webhook_answer;

TEST_SUITE("SPEC 6 how a webhook's request leaves the node") {
  TEST_CASE(
      "the request is a plain POST with what was given, and nothing of the node's own but its "
      "name") {
    request_log log;
    const webhook_receiver receiver{[&](webhook_peer& peer) {
      while (auto request = peer.read_request()) {
        log.add(*request);
        peer.write(ok_answer);
      }
    }};
    auto options = inside();
    options.user_agent = "Parley/0.1.0";
    sender s{options};
    auto begun = s.begin(receiver.url("/in?room=1"), R"({"type":"message.created"})",
                         {{"content-type", "application/json"}, {"webhook-id", "msg_7"}});
    CHECK(sender::end(begun).ok());
    auto empty = s.begin(receiver.url(""), "", {});
    CHECK(sender::end(empty).ok());

    const auto seen = log.all();
    REQUIRE(seen.size() == 2);
    const auto host = "127.0.0.1:" + std::to_string(receiver.port());
    CHECK(seen[0].head ==
          "POST /in?room=1 HTTP/1.1\r\nHost: " + host +
              "\r\nUser-Agent: Parley/0.1.0\r\nAccept: */*\r\ncontent-type: "
              "application/json\r\nwebhook-id: msg_7\r\nContent-Length: 26\r\n\r\n");
    CHECK(seen[0].body == R"({"type":"message.created"})");
    CHECK(seen[1].head ==
          "POST / HTTP/1.1\r\nHost: " + host +
              "\r\nUser-Agent: Parley/0.1.0\r\nAccept: */*\r\nContent-Length: 0\r\n\r\n");
    CHECK(seen[1].body.empty());
  }

  TEST_CASE("a body of any size and any bytes arrives as it is") {
    request_log log;
    const webhook_receiver receiver{[&](webhook_peer& peer) {
      while (auto request = peer.read_request()) {
        log.add(*request);
        peer.write(ok_answer);
      }
    }};
    sender s;
    std::string bytes;
    for (std::size_t i = 0; i < 3'000'000; ++i) bytes += static_cast<char>(i * 7 + i / 256);
    CHECK(s.post(receiver.url(), bytes).ok());
    CHECK(s.post(receiver.url(), std::string{"\0\r\n\r\n", 5}).ok());
    const auto seen = log.all();
    REQUIRE(seen.size() == 2);
    CHECK((seen[0].body == bytes));
    CHECK((seen[1].body == std::string{"\0\r\n\r\n", 5}));
  }

  TEST_CASE("a header that would become two is not sent, nor anything else of that request") {
    const webhook_receiver receiver{always(std::string{ok_answer})};
    sender s;
    for (const auto& header :
         std::vector<std::pair<std::string, std::string>>{{"webhook-id", "a\r\nX: y"},
                                                          {"webhook-id", "a\nX: y"},
                                                          {"webhook-id", std::string{"a\0b", 3}},
                                                          {"webhook-id", "a\x7f"},
                                                          {"webhook id", "a"},
                                                          {"webhook-id:", "a"},
                                                          {"", "a"},
                                                          {"webhook-id\r\nX", "a"}}) {
      CAPTURE(header.first);
      auto begun = s.begin(receiver.url(), "{}", {header});
      CHECK(sender::end(begun).failure == webhook_failure::invalid_request);
    }
    CHECK(receiver.accepted() == 0);
    auto begun = s.begin(receiver.url(), "{}", {{"x-text", "a\tb \xc3\xa4"}});
    CHECK(sender::end(begun).ok());
  }

  TEST_CASE("every status is told as it came; only 2xx is success") {
    for (const int status : {200, 201, 202, 204, 299, 300, 301, 302, 304, 307, 308, 400,
                             401, 404, 410, 413, 429, 500, 502, 503, 504, 599, 999}) {
      CAPTURE(status);
      const auto has_body = status != 204 && status != 304;
      const webhook_receiver receiver{always("HTTP/1.1 " + std::to_string(status) + " Whatever\r\n" +
                                             (has_body ? "Content-Length: 3\r\n\r\nabc" : "\r\n"))};
      sender s;
      const auto answer = s.post(receiver.url());
      CHECK(answer.status == status);
      CHECK(answer.ok() == (status / 100 == 2));
      CHECK_FALSE(answer.retry_after);
      // Whatever it is, the connection goes on.
      CHECK(s.status(receiver.url()) == status);
      CHECK(receiver.accepted() == 1);
    }
  }

  TEST_CASE("a redirect is an answer, and is not followed") {
    const webhook_receiver elsewhere{always(std::string{ok_answer})};
    for (const int status : {301, 302, 303, 307, 308}) {
      CAPTURE(status);
      const webhook_receiver receiver{always("HTTP/1.1 " + std::to_string(status) +
                                             " Moved\r\nLocation: " + elsewhere.url() +
                                             "\r\nContent-Length: 0\r\n\r\n")};
      sender s;
      CHECK(s.status(receiver.url()) == status);
      CHECK(s.status(receiver.url()) == status);
    }
    CHECK(elsewhere.accepted() == 0);
  }

  TEST_CASE("a proxy in the environment is not asked") {
    const webhook_receiver proxy{always(std::string{ok_answer})};
    const webhook_receiver receiver{always("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")};
    for (const auto* name :
         {"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"})
      ::setenv(name, proxy.url("").c_str(),
               1);  // NOLINT(concurrency-mt-unsafe): before the client's thread
    {
      sender s;
      CHECK(s.status(receiver.url()) == 201);
    }
    for (const auto* name :
         {"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"})
      ::unsetenv(name);  // NOLINT(concurrency-mt-unsafe): the client's thread has ended
    CHECK(proxy.accepted() == 0);
  }
}

TEST_SUITE("SPEC 6 429 and 503 honour Retry-After") {
  TEST_CASE("seconds and dates are told, of these two alone") {
    // The clock stands at 2023-11-14T22:13:20Z.
    struct row {
      int status;
      std::string value;
      std::optional<std::chrono::milliseconds> wait;
    };
    for (const auto& r : std::vector<row>{
             {429, "Retry-After: 7\r\n", 7s},
             {503, "Retry-After: 120\r\n", 120s},
             {503, "retry-after:0\r\n", 0s},
             {429, "Retry-After: Tue, 14 Nov 2023 22:14:20 GMT\r\n", 60s},
             {503, "Retry-After: Tuesday, 14-Nov-23 22:14:20 GMT\r\n", 60s},
             {503, "Retry-After: Tue Nov 14 22:14:20 2023\r\n", 60s},
             {503, "Retry-After: Tue, 14 Nov 2023 22:00:00 GMT\r\n", 0s},
             {503, "Retry-After: 2\r\nRetry-After: 9\r\n", 2s},
             {503, "Retry-After: 7200\r\n", 7200s},
             {503, "Retry-After: soon\r\n", std::nullopt},
             {503, "Retry-After: -1\r\n", std::nullopt},
             {503, "Retry-After:\r\n", std::nullopt},
             {503, "", std::nullopt},
             {200, "Retry-After: 7\r\n", std::nullopt},
             {500, "Retry-After: 7\r\n", std::nullopt},
             {302, "Retry-After: 7\r\n", std::nullopt},
         }) {
      CAPTURE(r.value);
      CAPTURE(r.status);
      const webhook_receiver receiver{always("HTTP/1.1 " + std::to_string(r.status) + " x\r\n" +
                                             r.value + "Content-Length: 0\r\n\r\n")};
      sender s;
      const auto answer = s.post(receiver.url());
      CHECK(answer.status == r.status);
      REQUIRE(answer.retry_after.has_value() == r.wait.has_value());
      if (r.wait) CHECK(answer.retry_after->count() == r.wait->count());
    }
  }

  TEST_CASE("what stands behind a chunked body is no header") {
    const webhook_receiver receiver{
        always("HTTP/1.1 503 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nRetry-After: 9\r\n\r\n")};
    sender s;
    const auto answer = s.post(receiver.url());
    CHECK(answer.status == 503);
    CHECK_FALSE(answer.retry_after);
  }
}

TEST_SUITE("SPEC 6 connections of webhooks are kept") {
  TEST_CASE("one connection carries many requests") {
    const webhook_receiver receiver{always(std::string{ok_answer})};
    sender s;
    for (int i = 0; i < 50; ++i) CHECK(s.status(receiver.url("/" + std::to_string(i))) == 200);
    CHECK(receiver.accepted() == 1);
    const auto& c = s.client.counters();
    CHECK(c.requests == 50);
    CHECK(c.answered == 50);
    CHECK(c.failed == 0);
    CHECK(c.connections_opened == 1);
    CHECK(c.connections_reused == 49);
    CHECK(c.stale_retries == 0);
    CHECK(c.lookups == 0);
    CHECK(c.open == 1);
    CHECK(c.idle == 1);
  }

  TEST_CASE("how an answer ends decides whether its connection is used again") {
    struct row {
      std::string answer;
      int status;
      bool is_kept;
    };
    const std::string head = "HTTP/1.1 200 OK\r\n";
    for (const auto& r : std::vector<row>{
             {head + "Content-Length: 0\r\n\r\n", 200, true},
             {head + "content-length: 5\r\n\r\nhello", 200, true},
             {head + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, true},
             {head + "Transfer-Encoding: "
                     "chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\nX-Trailer: 1\r\n\r\n",
              200, true},
             {"HTTP/1.1 204 No Content\r\n\r\n", 204, true},
             {"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", 200, true},
             {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", 200, true},
             {"HTTP/1.1 100 Continue\r\n\r\n" + head + "Content-Length: 0\r\n\r\n", 200, true},
             {"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" +
                  head + "Content-Length: 0\r\n\r\n",
              200, true},
             {head + "Connection: close\r\nContent-Length: 2\r\n\r\nok", 200, false},
             {head + "\r\nuntil the end", 200, false},
             {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, false},
             {"HTTP/1.0 200 OK\r\n\r\nuntil the end", 200, false},
             {"HTTP/1.0 202 OK\r\n\r\n", 202, false},
             {head + "Transfer-Encoding: gzip\r\n\r\nuntil the end", 200, false},
             {head + "Content-Length: 2\r\n\r\nok and more", 200, false},
             {head + "Content-Length: 0\r\n\r\n" + head + "Content-Length: 0\r\n\r\n", 200, false},
             // Cut short behind its head: the status stands.
             {"HTTP/1.1 500 Oh\r\nContent-Length: 100\r\n\r\nshort", 500, false},
             {"HTTP/1.1 201 Made\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", 201, false},
             {"HTTP/1.1 201 Made\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 201, false},
         }) {
      CAPTURE(r.answer);
      const webhook_receiver receiver{[&](webhook_peer& peer) {
        while (peer.read_request()) {
          peer.write(r.answer);
          if (!r.is_kept) return;
        }
      }};
      sender s;
      CHECK(s.status(receiver.url()) == r.status);
      CHECK(s.status(receiver.url()) == r.status);
      CHECK(receiver.accepted() == (r.is_kept ? 1 : 2));
      CHECK(s.client.counters().connections_reused == (r.is_kept ? 1 : 0));
      CHECK(s.client.counters().stale_retries == 0);
    }
  }

  TEST_CASE("an answer that comes byte by byte is the same answer") {
    const std::string bytes =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Busy\r\nRetry-After: 3\r\nTransfer-Encoding: "
        "chunked\r\n\r\n"
        "5\r\nhello\r\n0\r\n\r\n";
    const webhook_receiver receiver{[&](webhook_peer& peer) {
      while (peer.read_request()) {
        for (const char c : bytes) {
          if (!peer.write({&c, 1})) return;
        }
      }
    }};
    sender s;
    for (int i = 0; i < 3; ++i) {
      const auto answer = s.post(receiver.url());
      CHECK(answer.status == 503);
      CHECK(answer.retry_after == 3s);
    }
    CHECK(receiver.accepted() == 1);
  }

  TEST_CASE("what is no answer is invalid") {
    for (const std::string bytes :
         {"garbage\r\n\r\n", "HTTP/2 200 OK\r\n\r\n", "HTTP/1.1 2x0 OK\r\n\r\n",
          "HTTP/1.1 99 OK\r\n\r\n", "HTTP/1.1 099 OK\r\n\r\n", "HTTP/1.1 000 OK\r\n\r\n",
          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
          "\x16\x03\x03\x02\x0a\x01\x02\x03\x04\x05", "SSH-2.0-OpenSSH_9\r\n",
          "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
          "HTTP/1.1 200 OK\r\n: x\r\n\r\n",
          "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"}) {
      CAPTURE(bytes);
      const webhook_receiver receiver{[&](webhook_peer& peer) {
        if (!peer.read_request()) return;
        peer.write(bytes);
        peer.end_of_sending();
        CHECK(peer.wait_for_close());
      }};
      sender s;
      CHECK(s.failure(receiver.url()) == webhook_failure::invalid_answer);
    }
  }

  TEST_CASE(
      "a connection that ends before a whole head is closed; on a new one nothing is sent again") {
    for (const std::string bytes :
         {"", "H", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
          "HTTP/1.1 100 Continue\r\n\r\n"}) {
      CAPTURE(bytes);
      const webhook_receiver receiver{once(bytes)};
      sender s;
      CHECK(s.failure(receiver.url()) == webhook_failure::connection_closed);
      CHECK(receiver.accepted() == 1);
      CHECK(s.client.counters().stale_retries == 0);
      CHECK(s.client.counters().failed == 1);
    }
  }

  TEST_CASE(
      "a kept connection that turns out to be closed costs one more attempt, on a new one, and no "
      "more") {
    // Each connection answers its first request, and hangs up over its second, with so many bytes of an answer.
    struct row {
      std::string bytes;
      bool answers_first;  ///< on later connections, too
      bool is_again;
      int status;
    };
    for (const auto& r :
         std::vector<row>{{"", true, true, 200}, {"", false, true, 0}, {"HTTP", true, false, 0}}) {
      CAPTURE(r.bytes);
      CAPTURE(r.answers_first);
      request_log log;
      std::atomic<int> connections{0};
      const webhook_receiver receiver{[&](webhook_peer& peer) {
        const bool is_first = connections++ == 0;
        for (int nth = 0; auto request = peer.read_request(); ++nth) {
          log.add(*request);
          if (nth > 0 || (!is_first && !r.answers_first)) {
            peer.write(r.bytes);
            return;
          }
          peer.write(ok_answer);
        }
      }};
      sender s;
      CHECK(s.status(receiver.url()) == 200);
      auto begun = s.begin(receiver.url(), "again", {{"webhook-id", "msg_2"}});
      const auto answer = sender::end(begun);
      CHECK(answer.status == r.status);
      if (r.status == 0) CHECK(answer.failure == webhook_failure::connection_closed);
      CHECK(receiver.accepted() == (r.is_again ? 2 : 1));
      CHECK(s.client.counters().stale_retries == (r.is_again ? 1 : 0));
      const auto seen = log.all();
      REQUIRE(seen.size() == (r.is_again ? 3 : 2));
      for (std::size_t i = 1; i < seen.size(); ++i) {
        CHECK(seen[i].field("webhook-id") == "msg_2");
        CHECK(seen[i].body == "again");
      }
      CHECK(seen.back().head == seen[1].head);
    }
  }

  TEST_CASE(
      "a kept connection that was closed meanwhile, or on which something came, is not used") {
    for (const bool says_something : {false, true}) {
      CAPTURE(says_something);
      std::promise<void> ended;
      std::atomic<int> connections{0};
      std::promise<void> go_on;
      const webhook_receiver receiver{[&](webhook_peer& peer) {
        const bool is_first = connections++ == 0;
        while (peer.read_request()) {
          peer.write(ok_answer);
          if (!is_first) continue;
          go_on.get_future().wait_for(10s);
          if (says_something) {
            peer.write("HTTP/1.1 408 Request Timeout\r\n\r\n");
          } else {
            peer.end_of_sending();
          }
          ended.set_value();
          CHECK(peer.wait_for_close());
          return;
        }
      }};
      sender s;
      CHECK(s.status(receiver.url()) == 200);
      go_on.set_value();
      REQUIRE(ended.get_future().wait_for(10s) == std::future_status::ready);
      CHECK(s.status(receiver.url()) == 200);
      CHECK(receiver.accepted() == 2);
      CHECK(s.client.counters().stale_retries == 0);
      CHECK(s.client.counters().connections_reused == 0);
    }
  }

  TEST_CASE(
      "64 requests at once take 64 connections, which the next 64 use again, and of which 8 are "
      "kept") {
    constexpr int many = 64;
    std::mutex mutex;
    std::condition_variable all_here;
    int here = 0;
    const auto start_with = [&](int count) {
      const std::lock_guard lock{mutex};
      here = count;
    };
    const webhook_receiver receiver{[&](webhook_peer& peer) {
      while (peer.read_request()) {
        std::unique_lock lock{mutex};
        ++here;
        all_here.notify_all();
        if (!all_here.wait_for(lock, 10s, [&] { return here >= many; })) return;
        lock.unlock();
        peer.write(ok_answer);
      }
    }};
    auto options = inside();
    options.idle.spare_timeout = 400ms;
    sender s{options};
    for (int round = 1; round <= 3; ++round) {
      start_with(0);
      std::vector<std::future<webhook_answer>> begun;
      for (int i = 0; i < many; ++i) begun.push_back(s.begin(receiver.url()));
      for (auto& b : begun) CHECK(sender::end(b).status == 200);
    }
    CHECK(s.client.counters().connections_opened == many);
    CHECK(s.client.counters().connections_reused == 2 * many);
    CHECK(receiver.accepted() == many);
    CHECK(eventually([&] { return s.client.counters().open == 8; }));
    CHECK(eventually([&] { return s.client.counters().idle == 8; }));
    // Those 8 serve the next 8.
    start_with(many);
    std::vector<std::future<webhook_answer>> begun;
    for (int i = 0; i < 8; ++i) begun.push_back(s.begin(receiver.url()));
    for (auto& b : begun) CHECK(sender::end(b).status == 200);
    CHECK(receiver.accepted() == many);
  }

  TEST_CASE("of all connections without a request only so many are kept, the last used") {
    auto options = inside();
    options.idle.max = 3;
    std::vector<std::unique_ptr<webhook_receiver>> receivers;
    for (int i = 0; i < 5; ++i)
      receivers.push_back(std::make_unique<webhook_receiver>(always(std::string{ok_answer})));
    sender s{options};
    for (const auto& r : receivers) CHECK(s.status(r->url()) == 200);
    CHECK(eventually([&] { return s.client.counters().open == 3; }));
    CHECK(s.client.counters().idle == 3);
    for (auto at = receivers.rbegin(); at != receivers.rend(); ++at)
      CHECK(s.status((*at)->url()) == 200);
    CHECK(receivers[4]->accepted() == 1);
    CHECK(receivers[2]->accepted() == 1);
    CHECK(receivers[1]->accepted() == 2);
    CHECK(receivers[0]->accepted() == 2);
  }

  TEST_CASE("a connection without a request is closed after a while, and not before") {
    auto options = inside();
    options.idle.timeout = 200ms;
    std::promise<std::chrono::steady_clock::duration> closed;
    const webhook_receiver receiver{[&](webhook_peer& peer) {
      peer.read_request();
      peer.write(ok_answer);
      const auto since = std::chrono::steady_clock::now();
      CHECK(peer.wait_for_close());
      closed.set_value(std::chrono::steady_clock::now() - since);
    }};
    sender s{options};
    CHECK(s.status(receiver.url()) == 200);
    auto ended = closed.get_future();
    REQUIRE(ended.wait_for(10s) == std::future_status::ready);
    CHECK(ended.get() >= 190ms);
    CHECK(eventually([&] { return s.client.counters().open == 0; }));
    CHECK(eventually([&] { return s.client.counters().idle == 0; }));
  }

  TEST_CASE("a connection is not kept for ever, however busy it is") {
    const webhook_receiver receiver{always(std::string{ok_answer})};
    auto options = inside();
    options.idle.max_age = 150ms;
    sender s{options};
    const auto since = std::chrono::steady_clock::now();
    CHECK(eventually([&] {
      CHECK(s.status(receiver.url()) == 200);
      return receiver.accepted() == 3;
    }));
    CHECK(std::chrono::steady_clock::now() - since >= 2 * options.idle.max_age);
    CHECK(s.client.counters().connections_reused > 0);
    CHECK(s.client.counters().stale_retries == 0);
  }

  TEST_CASE("connections of one host are not those of another name, port or scheme") {
    const webhook_receiver receiver{always(std::string{ok_answer})};
    auto asked = std::make_shared<scripted_resolver::state>();
    webhook_client_seams seams;
    seams.resolver = std::make_unique<scripted_resolver>(
        asked, [](const std::string&, int) { return found({loopback}); });
    sender s{inside(), std::move(seams)};
    const auto port = std::to_string(receiver.port());
    CHECK(s.status("http://one:" + port + "/") == 200);
    CHECK(s.status("http://two:" + port + "/") == 200);
    CHECK(s.status("http://ONE.:" + port + "/other") == 200);
    CHECK(receiver.accepted() == 2);
    CHECK(asked->asked == std::vector<std::string>{"one", "two"});
  }
}
