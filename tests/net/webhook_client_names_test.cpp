#include "net/webhook_client.hpp"
#include "tests/net/webhook_sender.hpp"
#include "tests/support/temp_dir.hpp"

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

using namespace parley;
using namespace parley::net;
using namespace parley::net::testing;
using namespace std::chrono_literals;
using actors::webhook_answer;
using boost::asio::ip::tcp;

TEST_SUITE("SPEC 6 private, loopback, link-local and metadata addresses are refused") {
  TEST_CASE("a name that leads to an inner address, in whole or in part, is connected to nowhere") {
    const webhook_receiver receiver{always(std::string{ok_answer})};
    using addresses = std::vector<const char*>;
    for (const auto& list : std::vector<addresses>{
             {"127.0.0.1"},
             {"10.0.0.1"},
             {"169.254.169.254"},
             {"100.100.100.200"},
             {"0.0.0.0"},
             {"::1"},
             {"::ffff:127.0.0.1"},
             {"::ffff:169.254.169.254"},
             {"fd00:ec2::254"},
             {"fe80::1"},
             {"64:ff9b::7f00:1"},
             {"2002:7f00:1::1"},
             {"93.184.216.34", "127.0.0.1"},
             {"127.0.0.1", "93.184.216.34"},
             {"93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "10.0.0.1"},
             {"93.184.216.34", "93.184.216.35", "93.184.216.36", "93.184.216.37", "93.184.216.38",
              "93.184.216.39", "93.184.216.40", "93.184.216.41", "192.168.0.1"},
         }) {
      CAPTURE(list.front());
      CAPTURE(list.size());
      std::atomic<int> connects{0};
      webhook_client_seams seams;
      seams.resolver = std::make_unique<scripted_resolver>(
          std::make_shared<scripted_resolver::state>(), [&](const std::string&, int) {
            std::vector<boost::asio::ip::address> out;
            for (const auto* a : list) out.push_back(boost::asio::ip::make_address(a));
            return found(std::move(out));
          });
      seams.route = [&](const tcp::endpoint&) {
        ++connects;
        return tcp::endpoint{loopback, receiver.port()};
      };
      sender s{webhook_client_options{}, std::move(seams)};
      CHECK(s.failure("https://hooks.example.com/") == webhook_failure::address_not_allowed);
      CHECK(connects == 0);
      CHECK(s.client.counters().refused_addresses == 1);
      CHECK(s.client.counters().connections_opened == 0);
    }
    CHECK(receiver.accepted() == 0);
  }

  TEST_CASE(
      "an inner address as the host is refused without a look-up; what is no webhook's URL is "
      "invalid") {
    auto asked = std::make_shared<scripted_resolver::state>();
    webhook_client_seams seams;
    seams.resolver = std::make_unique<scripted_resolver>(
        asked, [](const std::string&, int) { return found({public_address}); });
    sender s{webhook_client_options{}, std::move(seams)};
    for (const auto* url : {"https://127.0.0.1/", "https://[::1]/",
                            "https://[::ffff:10.0.0.1]:8443/", "https://169.254.169.254/"}) {
      CAPTURE(url);
      CHECK(s.failure(url) == webhook_failure::address_not_allowed);
    }
    CHECK(s.client.counters().refused_addresses == 4);
    for (const auto* url :
         {"", "hooks.example.com", "http://hooks.example.com/", "https://localhost/",
          "https://2130706433/", "https://hooks.example.com:22/", "https://a@hooks.example.com/"}) {
      CAPTURE(url);
      CHECK(s.failure(url) == webhook_failure::invalid_url);
    }
    CHECK(asked->asked.empty());
    CHECK(s.client.counters().connections_opened == 0);
  }

  TEST_CASE(
      "a name that changes between check and use changes nothing: nobody asks twice, and only what "
      "was checked is used") {
    const tests::certificate_authority authority;
    const auto shown = authority.issue({.names = {"hooks.example.com"}});
    // Each connection carries one request; the name leads outside at first, then inside.
    const webhook_receiver receiver{
        once("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"), &shown};
    const tests::temp_dir dir;
    webhook_client_options options;
    options.ca_file = dir.write("ca.pem", authority.pem());
    auto asked = std::make_shared<scripted_resolver::state>();
    std::mutex mutex;
    std::vector<tcp::endpoint> used;
    webhook_client_seams seams;
    seams.resolver = std::make_unique<scripted_resolver>(asked, [](const std::string&, int nth) {
      return found({nth == 0 ? public_address : loopback});
    });
    seams.route = [&](const tcp::endpoint& to) {
      const std::lock_guard lock{mutex};
      used.push_back(to);
      return tcp::endpoint{loopback, receiver.port()};
    };
    sender s{options, std::move(seams)};
    CHECK(s.status("https://hooks.example.com/") == 200);
    CHECK(asked->asked == std::vector<std::string>{"hooks.example.com."});
    CHECK(used == std::vector<tcp::endpoint>{{public_address, 443}});
    // A new connection asks anew, and what it hears is checked anew.
    CHECK(s.failure("https://hooks.example.com/") == webhook_failure::address_not_allowed);
    CHECK(asked->asked.size() == 2);
    CHECK(used.size() == 1);
    CHECK(receiver.accepted() == 1);
  }

  TEST_CASE("the second attempt after a stale connection is checked as well") {
    const tests::certificate_authority authority;
    const auto shown = authority.issue({.names = {"hooks.example.com"}});
    const webhook_receiver receiver{[](webhook_peer& peer) {
                                      if (peer.read_request()) peer.write(ok_answer);
                                      peer.read_request();  // … and hang up
                                    },
                                    &shown};
    const tests::temp_dir dir;
    webhook_client_options options;
    options.ca_file = dir.write("ca.pem", authority.pem());
    webhook_client_seams seams;
    seams.resolver = std::make_unique<scripted_resolver>(
        std::make_shared<scripted_resolver::state>(),
        [](const std::string&, int nth) { return found({nth == 0 ? public_address : loopback}); });
    seams.route = [&](const tcp::endpoint&) { return tcp::endpoint{loopback, receiver.port()}; };
    sender s{options, std::move(seams)};
    CHECK(s.status("https://hooks.example.com/") == 200);
    CHECK(s.failure("https://hooks.example.com/") == webhook_failure::address_not_allowed);
    CHECK(s.client.counters().stale_retries == 1);
    CHECK(receiver.accepted() == 1);
  }

  TEST_CASE("with webhook_allow_private they are used") {
    const webhook_receiver receiver{always(std::string{ok_answer})};
    sender s;
    CHECK(s.status("http://localhost:" + std::to_string(receiver.port()) + "/") ==
          200);  // the system's resolver
    CHECK(s.status(receiver.url()) == 200);
    CHECK(s.client.counters().refused_addresses == 0);
  }
}

TEST_SUITE("SPEC 6 names of webhooks") {
  TEST_CASE("what becomes of a look-up is told in words of the node's own") {
    auto state = std::make_shared<scripted_resolver::state>();
    webhook_client_seams seams;
    seams.resolver = std::make_unique<scripted_resolver>(state, [](const std::string& name, int) {
      if (name == "gone.example.com.") return name_answer{name_outcome::unknown, {}};
      if (name == "waits.example.com.") return name_answer{name_outcome::busy, {}};
      return name_answer{name_outcome::failed, {}};
    });
    sender s{webhook_client_options{}, std::move(seams)};
    CHECK(s.failure("https://gone.example.com/") == webhook_failure::name_not_found);
    CHECK(s.failure("https://broken.example.com/") == webhook_failure::name_lookup_failed);
    CHECK(s.failure("https://waits.example.com/") == webhook_failure::name_lookup_queue_full);
  }

  TEST_CASE("a look-up that had not begun by its deadline is told from one that took too long") {
    for (const bool is_begun : {false, true}) {
      CAPTURE(is_begun);
      auto state = std::make_shared<scripted_resolver::state>();
      state->is_begun = is_begun;
      webhook_client_seams seams;
      seams.resolver = std::make_unique<scripted_resolver>(state, nullptr);  // never
      auto options = inside();
      options.resolve_timeout = 50ms;
      sender s{options, std::move(seams)};
      CHECK(s.failure("http://slow/") == (is_begun ? webhook_failure::name_lookup_timeout
                                                   : webhook_failure::name_lookup_queue_full));
    }
  }

  TEST_CASE("a name is resolved as a full one, but with webhook_allow_private as it is written") {
    for (const bool allow_private : {false, true}) {
      for (const auto* url : {"https://Hooks.example.com/", "https://hooks.example.com./"}) {
        CAPTURE(allow_private);
        CAPTURE(url);
        auto state = std::make_shared<scripted_resolver::state>();
        webhook_client_seams seams;
        seams.resolver = std::make_unique<scripted_resolver>(state, [](const std::string&, int) {
          return name_answer{name_outcome::unknown, {}};
        });
        webhook_client_options options;
        options.allow_private = allow_private;
        sender s{options, std::move(seams)};
        CHECK(s.failure(url) == webhook_failure::name_not_found);
        const std::string full = allow_private ? "hooks.example.com" : "hooks.example.com.";
        CHECK(state->asked == std::vector<std::string>{full});
      }
    }
  }

  TEST_CASE(
      "a name that is not answered holds nobody else up, is asked for once, and is given up") {
    auto state = std::make_shared<scripted_resolver::state>();
    webhook_client_seams seams;
    seams.resolver = std::make_unique<scripted_resolver>(state, nullptr);  // never
    auto options = inside();
    options.resolve_timeout = 300ms;
    sender s{options, std::move(seams)};
    const webhook_receiver receiver{always(std::string{ok_answer})};
    std::vector<std::future<webhook_answer>> slow;
    for (int i = 0; i < 64; ++i) slow.push_back(s.begin("http://slow/"));
    CHECK(s.status(receiver.url()) == 200);
    for (auto& a : slow) CHECK(sender::end(a).failure == webhook_failure::name_lookup_timeout);
    CHECK(state->asked.size() == 1);
    // A late answer serves who still waits, and nobody else.
    auto waiting = s.begin("http://slow/in");
    CHECK(eventually([&] { return s.client.counters().requests == 66; }));
    REQUIRE(state->unanswered.size() == 1);
    state->unanswered.front()(name_answer{name_outcome::unknown, {}});
    CHECK(sender::end(waiting).failure == webhook_failure::name_not_found);
    // Then it is asked for anew.
    auto again = s.begin("http://slow/in");
    CHECK(sender::end(again).failure == webhook_failure::name_lookup_timeout);
    CHECK(state->asked.size() == 2);
  }

  TEST_CASE("all addresses of a name are tried in their order, until one answers") {
    const webhook_receiver receiver{always(std::string{ok_answer})};
    const bound_socket closed;
    std::mutex mutex;
    std::vector<std::string> tried;
    webhook_client_seams seams;
    seams.resolver = std::make_unique<scripted_resolver>(
        std::make_shared<scripted_resolver::state>(), [](const std::string& name, int) {
          using boost::asio::ip::make_address;
          if (name == "none") return found({make_address("127.0.0.2"), make_address("127.0.0.3")});
          return found({make_address("::1"), make_address("127.0.0.2"), make_address("127.0.0.1"),
                        make_address("127.0.0.3")});
        });
    const auto closed_port = closed.port();
    const auto good_port = receiver.port();
    seams.route = [&, closed_port, good_port](const tcp::endpoint& to) {
      const std::lock_guard lock{mutex};
      tried.push_back(to.address().to_string());
      return tcp::endpoint{loopback, to.address() == loopback ? good_port : closed_port};
    };
    sender s{inside(), std::move(seams)};
    CHECK(s.status("http://some/") == 200);
    CHECK(tried == std::vector<std::string>{"::1", "127.0.0.2", "127.0.0.1"});
    CHECK(s.failure("http://none/") == webhook_failure::connection_refused);
  }
}
