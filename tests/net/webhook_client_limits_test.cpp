#include "net/webhook_client.hpp"
#include "tests/net/webhook_sender.hpp"

#include <fcntl.h>

#include <chrono>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

using namespace parley;
using namespace parley::net;
using namespace parley::net::testing;
using namespace std::chrono_literals;
using actors::webhook_answer;
using boost::asio::ip::tcp;

TEST_SUITE("SPEC 6 an answer takes neither more memory nor more time than it may") {
  TEST_CASE("of a huge answer the status counts; it is not read to its end") {
    const std::string block(64 * 1024, 'x');
    struct row {
      std::string head;
      std::string piece;
      std::string before_each;
    };
    for (const auto& r : std::vector<row>{
             {"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", block, ""},
             {"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n", block, ""},
             {"HTTP/1.1 200 OK\r\n\r\n", block, ""},
             {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", block + "\r\n", "10000\r\n"},
             {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "x\r\n", "1\r\n"},
             {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", "x", ""},
             {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "X-Y: z\r\n", ""},
         }) {
      CAPTURE(r.head);
      std::promise<std::size_t> written;
      const webhook_receiver receiver{[&](webhook_peer& peer) {
        if (!peer.read_request()) return;
        std::size_t sent = 0;
        if (peer.write(r.head)) {
          while (sent < 1'000'000'000 && peer.write(r.before_each + r.piece))
            sent += r.piece.size();
        }
        written.set_value(sent);
      }};
      sender s;
      CHECK(s.status(receiver.url()) == 200);
      auto sent = written.get_future();
      REQUIRE(sent.wait_for(20s) == std::future_status::ready);
      CHECK(sent.get() < 64'000'000);  // the buffers of both kernels
      CHECK(s.client.counters().connections_reused == 0);
      CHECK(eventually([&] { return s.client.counters().open == 0; }));
    }
  }

  TEST_CASE("an answer of just under 64 KiB is read to its end, and its connection kept") {
    const std::string head = "HTTP/1.1 200 OK\r\nContent-Length: 65000\r\n\r\n";
    const webhook_receiver receiver{always(head + std::string(65000, 'x'))};
    sender s;
    for (int i = 0; i < 3; ++i) CHECK(s.status(receiver.url()) == 200);
    CHECK(receiver.accepted() == 1);
  }

  TEST_CASE("a head without an end is cut off at 16 KiB, and is no answer") {
    for (const std::string piece :
         {"X-Filler: 0123456789\r\n", "x", "HTTP/1.1 100 Continue\r\n\r\n"}) {
      CAPTURE(piece);
      std::promise<std::size_t> written;
      const webhook_receiver receiver{[&](webhook_peer& peer) {
        if (!peer.read_request()) return;
        std::size_t sent = 0;
        if (!piece.starts_with("HTTP"))
          peer.write(piece == "x" ? "HTTP/1.1 200 O" : "HTTP/1.1 200 OK\r\n");
        std::string many;
        while (many.size() < 1024) many += piece;
        while (sent < 1'000'000'000 && peer.write(many)) sent += many.size();
        written.set_value(sent);
      }};
      sender s;
      CHECK(s.failure(receiver.url()) == webhook_failure::invalid_answer);
      auto sent = written.get_future();
      REQUIRE(sent.wait_for(20s) == std::future_status::ready);
      CHECK(sent.get() < 64'000'000);
    }
    // Within the bound it is one.
    const webhook_receiver receiver{always(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: " + std::string(16'000, 'x') + "\r\n\r\n")};
    sender s;
    CHECK(s.status(receiver.url()) == 200);
    CHECK(s.status(receiver.url()) == 200);
    CHECK(receiver.accepted() == 1);
  }

  TEST_CASE("an answer that does not come, or trickles in, is given up at its deadline") {
    struct row {
      std::string first;
      std::string piece;  ///< again and again; empty: silence
      int status;
    };
    for (const auto& r : std::vector<row>{
             {"", "", 0},
             {"HTTP/1.1 200 OK\r\nX: ", "x", 0},
             {"", "HTTP/1.1 102 Processing\r\n\r\n", 0},
             // The head is there: what it says stands.
             {"HTTP/1.1 202 Accepted\r\nContent-Length: 60000\r\n\r\n", "x", 202},
             {"HTTP/1.1 202 Accepted\r\nContent-Length: 60000\r\n\r\n", "", 202},
             {"HTTP/1.1 202 Accepted\r\n\r\n", "x", 202},
         }) {
      CAPTURE(r.first);
      CAPTURE(r.piece);
      auto options = inside();
      options.answer_timeout = 250ms;
      std::promise<void> closed;
      const webhook_receiver receiver{[&](webhook_peer& peer) {
        if (!peer.read_request()) return;
        peer.write(r.first);
        if (!r.piece.empty()) {
          while (peer.write(r.piece) && !peer.is_closed_within(5ms)) {}
        } else {
          CHECK(peer.wait_for_close());
        }
        closed.set_value();
      }};
      sender s{options};
      const auto since = std::chrono::steady_clock::now();
      const auto answer = s.post(receiver.url());
      const auto took = std::chrono::steady_clock::now() - since;
      CHECK(answer.status == r.status);
      if (r.status == 0) CHECK(answer.failure == webhook_failure::answer_timeout);
      CHECK(took >= 240ms);
      CHECK(took < 8s);  // not the other deadlines
      CHECK(closed.get_future().wait_for(10s) == std::future_status::ready);
      CHECK(eventually([&] { return s.client.counters().open == 0; }));
    }
  }

  TEST_CASE("a receiver that does not read is given up, too") {
    auto options = inside();
    options.answer_timeout = 250ms;
    std::promise<void> end;
    auto ended = end.get_future().share();
    const webhook_receiver receiver{[&](webhook_peer&) { ended.wait_for(10s); }};
    sender s{options};
    CHECK(s.post(receiver.url(), std::string(50'000'000, 'x')).failure ==
          webhook_failure::answer_timeout);
    end.set_value();
  }

  TEST_CASE("an answer that comes before the request was read counts") {
    const webhook_receiver receiver{[](webhook_peer& peer) {
      peer.write("HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
      while (peer.read_request()) {}
    }};
    sender s;
    CHECK(s.post(receiver.url(), std::string(100'000, 'x')).status == 413);
  }

  TEST_CASE("who refuses, and who does not even accept, is told apart") {
    const bound_socket closed;  // bound, so that nobody else listens there
    sender s;
    CHECK(s.failure("http://127.0.0.1:" + std::to_string(closed.port()) + "/") ==
          webhook_failure::connection_refused);

    // A backlog that is full: the kernel answers no further connection.
    const bound_socket full;
    full.listen(0);
    std::vector<std::unique_ptr<bound_socket>> waiting;
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_port = htons(full.port());
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < 4; ++i) {
      waiting.push_back(std::make_unique<bound_socket>());
      ::fcntl(waiting.back()->fd(), F_SETFL, O_NONBLOCK);
      static_cast<void>(
          ::connect(waiting.back()->fd(), reinterpret_cast<sockaddr*>(&where), sizeof where));
    }
    auto options = inside();
    options.connect_timeout = 300ms;
    sender impatient{options};
    const auto since = std::chrono::steady_clock::now();
    CHECK(impatient.failure("http://127.0.0.1:" + std::to_string(full.port()) + "/") ==
          webhook_failure::connection_timeout);
    CHECK(std::chrono::steady_clock::now() - since >= 290ms);

    // The next address of the name still gets its share of the time.
    const bound_socket full_elsewhere{0, "127.0.0.2"};
    (void)full_elsewhere;
    webhook_client_seams seams;
    seams.resolver = std::make_unique<scripted_resolver>(
        std::make_shared<scripted_resolver::state>(), [](const std::string&, int) {
          return found({boost::asio::ip::make_address("127.0.0.2"),
                        boost::asio::ip::make_address("127.0.0.3")});
        });
    const webhook_receiver receiver{always(std::string{ok_answer})};
    const auto full_port = full.port();
    const auto good_port = receiver.port();
    seams.route = [=](const tcp::endpoint& to) {
      return tcp::endpoint{loopback, to.address().to_string() == "127.0.0.2" ? full_port : good_port};
    };
    sender patient{options, std::move(seams)};
    CHECK(patient.status("http://two-addresses/") == 200);
  }
}

TEST_SUITE("SPEC 6 a node that stops waits for no receiver") {
  TEST_CASE(
      "stop() gives up what is under way in every stage; nothing is called back, nothing is kept") {
    const webhook_receiver silent{[](webhook_peer& peer) {
      while (peer.read_request()) {}
    }};
    const webhook_receiver good{always(std::string{ok_answer})};
    auto names = std::make_shared<scripted_resolver::state>();
    webhook_client_seams seams;
    seams.resolver = std::make_unique<scripted_resolver>(names, nullptr);
    sender s{inside(), std::move(seams)};
    CHECK(s.status(good.url()) == 200);  // leaves a kept connection

    auto token = std::make_shared<int>(0);
    std::atomic<int> called{0};
    const auto begin = [&](const std::string& url) {
      s.client.post({.url = url, .headers = {}, .body = std::string(1000, 'x')},
                    [token, &called](const webhook_answer&) { ++called; });
    };
    for (int i = 0; i < 20; ++i) {
      begin(silent.url());
      begin("https://127.0.0.1:" + std::to_string(silent.port()) + "/");
      begin("http://never-resolved/");
    }
    CHECK(eventually([&] { return silent.accepted() == 40 && s.client.counters().requests == 61; }));
    for (int i = 0; i < 20; ++i) begin(silent.url());  // perhaps not yet looked at

    const auto since = std::chrono::steady_clock::now();
    s.client.stop();
    CHECK(std::chrono::steady_clock::now() - since < 5s);
    CHECK(called == 0);
    for (const auto& late : names->unanswered) late(found({loopback}));  // to nobody
    begin(good.url());
    s.client.stop();  // a second time: nothing
    CHECK(called == 0);
    CHECK(token.use_count() == 1);
    CHECK(s.client.counters().idle == 0);
    CHECK(good.accepted() == 1);
  }

  TEST_CASE("a callback may ask for the next request, as long as it likes") {
    const webhook_receiver receiver{always(std::string{ok_answer})};
    sender s;
    std::promise<void> done;
    int left = 200;
    std::function<void(webhook_answer)> next = [&](const webhook_answer& answer) {
      if (!answer.ok() || --left == 0) return done.set_value();
      s.client.post({.url = receiver.url(), .headers = {}, .body = "{}"}, next);
    };
    s.client.post({.url = receiver.url(), .headers = {}, .body = "{}"}, next);
    REQUIRE(done.get_future().wait_for(20s) == std::future_status::ready);
    s.client.stop();
    CHECK(left == 0);
    CHECK(receiver.accepted() == 1);
  }

  TEST_CASE("requests of many threads are all answered, each with its own answer") {
    const webhook_receiver receiver{[](webhook_peer& peer) {
      while (auto request = peer.read_request()) {
        if (!peer.write("HTTP/1.1 " + request->body + " x\r\nContent-Length: 0\r\n\r\n")) return;
      }
    }};
    sender s;
    std::vector<std::thread> threads;
    std::atomic<int> wrong{0};
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 200; ++i) {
          const int status = 200 + (t * 200 + i) % 400;
          if (status == 204 || status == 304) continue;
          auto begun = s.begin(receiver.url(), std::to_string(status));
          if (begun.wait_for(20s) != std::future_status::ready || begun.get().status != status)
            ++wrong;
        }
      });
    }
    for (auto& t : threads) t.join();
    CHECK(wrong == 0);
    CHECK(receiver.accepted() <= 4);
  }
}
