#include "net/webhook_client.hpp"
#include "tests/net/webhook_sender.hpp"
#include "tests/support/temp_dir.hpp"

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

using namespace parley;
using namespace parley::net;
using namespace parley::net::testing;
using namespace std::chrono_literals;
using boost::asio::ip::tcp;

TEST_SUITE("SPEC 6 webhooks over TLS") {
  /// A receiver at hooks.example.com, as far as the client can tell.
  struct tls_fixture {
    explicit tls_fixture(const tests::certificate& shown, webhook_receiver::serve_function serve,
                         int version_max = 0)
        : receiver(
              [this, serve](webhook_peer& peer) {
                {
                  const std::lock_guard lock{mutex};
                  names.push_back(peer.server_name);
                }
                serve(peer);
              },
              &shown, version_max) {}
    sender& with(const std::string& ca_pem, webhook_client_options options = {}) {
      if (!ca_pem.empty()) options.ca_file = dir.write("ca.pem", ca_pem);
      webhook_client_seams seams;
      seams.resolver = std::make_unique<scripted_resolver>(
          std::make_shared<scripted_resolver::state>(),
          [](const std::string&, int) { return found({public_address}); });
      seams.route = [this](const tcp::endpoint&) {
        return tcp::endpoint{loopback, receiver.port()};
      };
      s.emplace(options, std::move(seams));
      return *s;
    }
    tests::temp_dir dir;
    std::mutex mutex;
    std::vector<std::string> names;
    webhook_receiver receiver;
    std::optional<sender> s;
  };

  TEST_CASE(
      "a certificate of a trusted authority for this host is taken, the host is named, the "
      "connection kept") {
    const tests::certificate_authority authority;
    const auto shown = authority.issue({.names = {"hooks.example.com"}});
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
      CAPTURE(version);
      request_log log;
      tls_fixture f{shown,
                    [&](webhook_peer& peer) {
                      while (auto request = peer.read_request()) {
                        log.add(*request);
                        peer.write(ok_answer);
                      }
                    },
                    version};
      auto& s = f.with(authority.pem());
      for (int i = 0; i < 5; ++i)
        CHECK(s.post("https://Hooks.Example.com/in", std::string(20'000, 'x')).ok());
      CHECK(f.receiver.accepted() == 1);
      CHECK(f.names == std::vector<std::string>{"hooks.example.com"});
      const auto seen = log.all();
      REQUIRE(seen.size() == 5);
      CHECK(seen[0].field("Host") == "hooks.example.com");
      CHECK((seen[4].body == std::string(20'000, 'x')));
    }
  }

  TEST_CASE("a wildcard covers one label, and an address has a certificate of its own") {
    const tests::certificate_authority authority;
    {
      const auto shown = authority.issue({.names = {"*.example.com", "h*.example.org"}});
      tls_fixture f{shown, always(std::string{ok_answer})};
      auto& s = f.with(authority.pem());
      CHECK(s.status("https://hooks.example.com/") == 200);
      CHECK(s.failure("https://a.hooks.example.com/") == webhook_failure::certificate_not_trusted);
      CHECK(s.failure("https://hooks.example.org/") == webhook_failure::certificate_not_trusted);
    }
    {
      const auto shown =
          authority.issue({.names = {"hooks.example.com"}, .addresses = {"93.184.216.34"}});
      tls_fixture f{shown, always(std::string{ok_answer})};
      auto& s = f.with(authority.pem());
      CHECK(s.status("https://93.184.216.34/") == 200);
      CHECK(f.names == std::vector<std::string>{""});
      CHECK(s.failure("https://93.184.216.35/") == webhook_failure::certificate_not_trusted);
    }
  }

  TEST_CASE("no other certificate is taken, and nothing is sent to who shows it") {
    const tests::certificate_authority authority;
    const tests::certificate_authority stranger{"another authority"};
    struct row {
      const char* what;
      tests::certificate shown;
      bool trusts;
    };
    for (const auto& r : std::vector<row>{
             {"another host", authority.issue({.names = {"other.example.com"}}), true},
             {"no host", authority.issue({}), true},
             {"the host's address alone", authority.issue({.addresses = {"93.184.216.34"}}), true},
             {"expired",
              authority.issue({.names = {"hooks.example.com"}, .valid_from = -48h, .valid_to = -24h}),
              true},
             {"not yet valid",
              authority.issue({.names = {"hooks.example.com"}, .valid_from = 24h, .valid_to = 48h}),
              true},
             {"self-signed", tests::self_signed({.names = {"hooks.example.com"}}), true},
             {"another authority's", stranger.issue({.names = {"hooks.example.com"}}), true},
             {"an authority that only the system could know",
              authority.issue({.names = {"hooks.example.com"}}), false},
         }) {
      CAPTURE(r.what);
      std::atomic<int> served{0};
      tls_fixture f{r.shown, [&](webhook_peer& peer) {
                      if (peer.read_request()) ++served;
                    }};
      auto& s = f.with(r.trusts ? authority.pem() : "");
      CHECK(s.failure("https://hooks.example.com/") == webhook_failure::certificate_not_trusted);
      CHECK(s.client.counters().connections_opened == 1);
      CHECK(s.client.counters().stale_retries == 0);
      CHECK(served == 0);
    }
  }

  TEST_CASE("what speaks no TLS, or too old a one, fails; what says nothing is given up") {
    const tests::certificate_authority authority;
    const auto shown = authority.issue({.names = {"hooks.example.com"}});
    {
      tls_fixture f{shown, always(std::string{ok_answer}), TLS1_1_VERSION};
      CHECK(f.with(authority.pem()).failure("https://hooks.example.com/") ==
            webhook_failure::tls_handshake_failed);
    }
    for (const std::string answer :
         {"", "HTTP/1.1 400 Bad Request\r\n\r\n", "220 mail.example.com ESMTP\r\n"}) {
      CAPTURE(answer);
      const webhook_receiver receiver{[&](webhook_peer& peer) { peer.write(answer); }};
      sender s;
      CHECK(s.failure("https://127.0.0.1:" + std::to_string(receiver.port()) + "/") ==
            webhook_failure::tls_handshake_failed);
    }
    auto options = inside();
    options.tls_timeout = 250ms;
    const webhook_receiver silent{[](webhook_peer& peer) {
      while (peer.read_request()) {}
    }};
    sender s{options};
    CHECK(s.failure("https://127.0.0.1:" + std::to_string(silent.port()) + "/") ==
          webhook_failure::tls_handshake_timeout);
    CHECK(eventually([&] { return s.client.counters().open == 0; }));
  }

  TEST_CASE("deadlines and stale connections are the same over TLS") {
    const tests::certificate_authority authority;
    const auto shown = authority.issue({.names = {"hooks.example.com"}});
    {
      webhook_client_options options;
      options.answer_timeout = 250ms;
      tls_fixture f{shown, [](webhook_peer& peer) {
                      while (peer.read_request()) {}
                    }};
      CHECK(f.with(authority.pem(), options).failure("https://hooks.example.com/") ==
            webhook_failure::answer_timeout);
    }
    {
      tls_fixture f{shown, [](webhook_peer& peer) {
                      if (peer.read_request()) peer.write(ok_answer);
                      peer.read_request();
                    }};
      auto& s = f.with(authority.pem());
      for (int i = 0; i < 4; ++i) CHECK(s.status("https://hooks.example.com/") == 200);
      CHECK(s.client.counters().stale_retries == 3);
      CHECK(f.receiver.accepted() == 4);
    }
    {
      // Without a length the end of the connection is the answer's end, with or without a word of TLS.
      tls_fixture f{shown, once("HTTP/1.0 200 OK\r\n\r\nuntil the end")};
      auto& s = f.with(authority.pem());
      for (int i = 0; i < 2; ++i) CHECK(s.status("https://hooks.example.com/") == 200);
    }
  }

  TEST_CASE("a file of certificates that can't be read is said at the start") {
    webhook_client_options options;
    options.ca_file = "/nonexistent/ca.pem";
    const manual_clock now;
    CHECK_THROWS_AS(webhook_client(options, now), std::runtime_error);
    const tests::temp_dir dir;
    options.ca_file = dir.write("ca.pem", "no certificate");
    CHECK_THROWS_AS(webhook_client(options, now), std::runtime_error);
  }
}
