/// The endpoint of `parley-bench webhook`: what it is told is counted, and what a node does wrong is found.

#include "bench/rest_client.hpp"
#include "bench/target_url.hpp"
#include "bench/webhook_receiver.hpp"

#include <doctest/doctest.h>

#include <string>
#include <thread>
#include <vector>

using namespace parley::bench;

namespace {

constexpr std::int64_t noon = 1'795'694'400'000'000'000;  // 2026-11-26T12:00:00Z

std::string created(const std::string& room, int seq) {
  return R"({"type":"message.created","timestamp":"2026-11-26T12:00:00.000Z","tenant_id":"t","data":{"room_id":")" +
         room + R"(","message":{"type":"message","room_id":")" + room + R"(","seq":)" +
         std::to_string(seq) +
         R"(,"message_id":"m","content":"a \"}{\" b","created_at":"2026-11-26T12:00:00.000Z"}}})";
}

}  // namespace

TEST_SUITE("bench: what a webhook told") {
  TEST_CASE("each message counts once, and a repeat is a node's right") {
    event_ledger ledger;
    for (const int seq : {1, 2, 1, 2, 3}) ledger.take(created("a", seq), noon + 5'000'000);
    ledger.take(created("b", 1), noon);
    ledger.take(R"({"type":"room.created","data":{}})", noon);
    CHECK(ledger.messages() == 4);
    CHECK(ledger.repeats() == 2);
    CHECK(ledger.others() == 1);
    CHECK(ledger.faults().is_empty());
    CHECK(ledger.lags().count() == 4);
    CHECK(ledger.lags().max_ns() == 5'000'000);
    ledger.begin_lags();
    CHECK(ledger.lags().count() == 0);
    CHECK(ledger.messages() == 4);
  }

  TEST_CASE("a message that was left out is a hole") {
    for (const auto& seqs : std::vector<std::vector<int>>{{2}, {1, 3}, {1, 2, 4, 3}}) {
      event_ledger ledger;
      for (const int seq : seqs) ledger.take(created("a", seq), noon);
      CHECK(ledger.faults().count_of(fault::hole) == 1);
    }
  }

  TEST_CASE("what is no event is told") {
    for (const char* const body :
         {"", "{}", "[]", R"({"type":"message.created"})",
          R"({"type":"message.created","data":{"room_id":"a","message":{"content":"x"}}})"}) {
      CAPTURE(body);
      event_ledger ledger;
      ledger.take(body, noon);
      CHECK(ledger.faults().count_of(fault::protocol) == 1);
      CHECK(ledger.messages() == 0);
    }
  }

  TEST_CASE("times are read as RFC 3339 has them") {
    CHECK(unix_ns_of("2026-11-26T12:00:00.000Z") == noon);
    CHECK(unix_ns_of("2026-11-26T12:00:01.250Z") == noon + 1'250'000'000);
    CHECK(unix_ns_of("1970-01-01T00:00:00.001Z") == 1'000'000);
    for (const char* const text : {"", "2026-11-26T12:00:00Z", "2026-13-26T12:00:00.000Z",
                                   "2026-02-30T12:00:00.000Z", "2026-11-26T12:00:0x.000Z"}) {
      CHECK_FALSE(unix_ns_of(text));
    }
  }
}

TEST_SUITE("bench: the webhook endpoint") {
  TEST_CASE("it refuses until it is opened, then takes requests on kept connections") {
    webhook_receiver receiver;
    const auto url = read_target_url(receiver.url().substr(0, receiver.url().rfind('/')), false);
    REQUIRE(url.url);
    CHECK_THROWS(rest_client{*url.url}.request("POST", "/events", "", created("a", 1)));
    receiver.open();
    rest_client client{*url.url};
    for (int seq = 1; seq <= 20; ++seq) {
      CHECK(client.request("POST", "/events", "", created("a", seq)).status == 204);
    }
    rest_client other{*url.url};
    CHECK(other.request("POST", "/events", "", created("b", 1)).status == 204);
    const auto now = receiver.now();
    CHECK(now.messages == 21);
    CHECK(now.connections == 2);
    CHECK(now.last_ns > 0);
    CHECK(receiver.lags().count() == 21);
    CHECK(receiver.faults().is_empty());
  }

  TEST_CASE("what is no request closes the connection, and is told") {
    webhook_receiver receiver;
    receiver.open();
    const auto url = read_target_url(receiver.url().substr(0, receiver.url().rfind('/')), false);
    REQUIRE(url.url);
    CHECK_THROWS(rest_client{*url.url}.request("GET", "/events", "", ""));
    CHECK(receiver.faults().count_of(fault::protocol) >= 1);
    CHECK(receiver.now().messages == 0);
  }
}
