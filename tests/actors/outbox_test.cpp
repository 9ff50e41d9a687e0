#include "actors/outbox.hpp"

#include "protocol/standard_webhooks.hpp"
#include "tests/actors/outbox_world.hpp"

#include <doctest/doctest.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

namespace parley::actors {

using namespace words;
using namespace outbox_world;

namespace {

constexpr room_no lobby{1};
constexpr room_no attic{2};
constexpr auto messages = mask_of(event_type::message_created);

/// One tenant with one endpoint, running.
struct one_endpoint : world {
  explicit one_endpoint(event_mask mask = messages, const outbox_options& o = with_no_herd()) {
    options = o;
    add_endpoint(acme, mask);
    start();
  }
  static outbox_options with_no_herd() {
    outbox_options o;
    o.herd_window = 0ms;
    return o;
  }
  /// A good answer or two: then several requests may be under way.
  void warm_up() {
    for (int n = 0; n < 5; ++n) {
      say(acme, room_no{100 + n}, "warm");
      pass(50ms);
      deliver_all();
    }
    pass(50ms);
  }
};

}  // namespace

TEST_SUITE("SPEC 6 webhooks: from the log to an endpoint") {
  TEST_CASE("a node without endpoints asks once, and then does nothing at all") {
    world w;
    w.start();
    CHECK(w.asked == 1);
    CHECK_FALSE(w.box->wants_ticks());
    w.say(acme, lobby);
    w.box->on(outbox_news{{}, true});
    w.box->tick();
    w.run();
    CHECK(w.asked == 1);
    CHECK(w.applied == 0);
    CHECK_FALSE(w.is_told_of_log);
  }

  TEST_CASE(
      "a message is a request, signed with the tenant's secrets, and done when it is answered "
      "200") {
    world w;
    w.store.add_tenant(acme, {first_secret, second_secret});
    w.store.set_endpoint(acme, messages, "https://hooks.example/in");
    w.start();
    w.say(acme, lobby, R"({"text":"hello"})");
    w.run();
    REQUIRE(w.requests.size() == 1);
    const auto& r = w.requests.front();
    CHECK(r.what.url == "https://hooks.example/in");
    CHECK(r.what.body == R"({"text":"hello"})");
    CHECK(r.header("content-type") == "application/json");
    CHECK(r.event() == said(1));
    const auto seconds = to_unix_ms(w.clock.at) / 1000;
    CHECK(r.header("webhook-timestamp") == std::to_string(seconds));
    const std::vector<std::string> secrets{first_secret, second_secret};
    const auto signature = webhook_signature(secrets, {said(1), seconds}, r.what.body);
    CHECK(r.header("webhook-signature") == signature.value());
    CHECK(w.store.waiting(acme) == 1);
    w.clock.at += 30ms;
    w.answer_first(204);
    CHECK(w.store.waiting(acme) == 0);
    CHECK(w.box->counters().delivered == 1);
    CHECK(w.delays == 1);
  }

  TEST_CASE("what is in the log is found, whether the outbox was told of it or looked late") {
    one_endpoint w;
    w.say(acme, lobby);
    w.run();
    w.store.log.push_back(
        {acme, lobby, "untold", w.clock.at});  // committed while it was not asked to tell
    w.is_told_of_log = true;
    w.say(acme, lobby);
    w.pass(50ms);
    CHECK(w.deliver_all() == events{said(1), said(2), said(3)});
  }

  TEST_CASE(
      "rows are stored with the position, and a position that was moved by others is read anew") {
    one_endpoint w;
    w.say(acme, lobby);
    while (w.applies.empty()) REQUIRE(w.step());
    const auto batch = w.applies.front()->batch;
    REQUIRE(batch.position);
    CHECK(batch.position->to == log_id{1});
    CHECK(batch.rows.size() == 1);
    w.store.events = log_id{1};  // as if another had been there
    w.run();
    CHECK(w.store.waiting(acme) == 0);
    w.say(acme, lobby);
    w.pass(1s);
    CHECK(w.under_way() == events{said(2)});
  }

  TEST_CASE("a scan without rows moves the position in memory, and on the disk only now and then") {
    one_endpoint w(mask_of(event_type::room_updated));
    const auto before = w.applied;
    for (int n = 0; n < 10; ++n) {
      w.say(acme, lobby);
      w.pass(50ms);
    }
    CHECK(w.applied == before);
    w.pass(1s);
    CHECK(w.applied == before + 1);
    CHECK(w.store.events == log_id{10});
    CHECK(w.box->counters().lag == 0);
  }

  TEST_CASE("a log that grows all the time is looked at each 10 ms, one that was silent at once") {
    one_endpoint w;
    w.pass(1s);
    w.say(acme, lobby);
    w.run();
    CHECK(w.under_way() == events{said(1)});
    CHECK_FALSE(w.box->scan_at());
    const auto began = w.clock.mono();
    w.clock.at += 3ms;
    w.store.log.push_back({acme, attic, "at once", w.clock.at});
    w.tell_news();
    w.run();
    CHECK(w.store.waiting(acme) == 1);
    CHECK(w.box->scan_at() == began + 10ms);
    w.clock.at += 7ms;
    w.box->tick();
    w.run();
    CHECK(w.store.waiting(acme) == 2);
  }

  TEST_CASE("a disk that is full: nothing is lost, nothing comes twice, and it is tried again") {
    one_endpoint w;
    w.disk_full = true;
    w.say(acme, lobby);
    w.pass(5s);
    CHECK(w.requests.empty());
    CHECK(w.applied <= 12);
    w.disk_full = false;
    w.pass(1s);
    CHECK(w.under_way() == events{said(1)});
    w.disk_full = true;
    w.answer_first(200);
    w.pass(5s);
    CHECK(w.requests.empty());  // the row is still there, and known to be done
    CHECK(w.box->unconfirmed() == 1);
    w.disk_full = false;
    w.pass(61s);
    CHECK(w.store.waiting(acme) == 0);
    CHECK(w.box->unconfirmed() == 0);
    CHECK(w.requests.empty());
  }

  TEST_CASE("readers that refuse or fail are asked again") {
    for (const bool refuses : {true, false}) {
      CAPTURE(refuses);
      world w;
      w.add_endpoint(acme);
      (refuses ? w.refuses_reads : w.fails_reads) = true;
      w.start();
      w.pass(1s);
      CHECK(w.asked <= 8);
      w.refuses_reads = w.fails_reads = false;
      w.pass(1s);
      w.say(acme, lobby);
      (refuses ? w.refuses_reads : w.fails_reads) = true;
      w.pass(1s);
      CHECK(w.requests.empty());
      w.refuses_reads = w.fails_reads = false;
      w.pass(1s);
      CHECK(w.under_way() == events{said(1)});
    }
  }

  TEST_CASE("a new outbox goes on where the old one was, with the same webhook-id") {
    one_endpoint w;
    w.say(acme, lobby);
    w.say(acme, lobby);
    w.pass(50ms);
    REQUIRE(w.under_way() == events{said(1)});
    const auto lost = w.requests.front().attempt;
    w.requests.clear();
    w.reads.clear();
    w.applies.clear();
    w.start();
    CHECK(w.under_way() == events{said(1)});
    w.box->on_answer(lost, {200});
    CHECK(w.box->counters().late_answers == 1);
    CHECK(w.deliver_all() == events{said(1), said(2)});
  }

  TEST_CASE(
      "what is not about a log entry waits until the log was looked at as far as it was then") {
    one_endpoint w(messages | mask_of(event_type::room_deleted));
    w.say(acme, lobby);
    w.run();
    w.deliver_all();
    store::outbox_row gone;
    gone.tenant = acme;
    gone.lane = lane_of(lobby);
    gone.type = event_type::room_deleted;
    gone.data = "{}";
    w.is_told_of_log = false;
    w.store.log.push_back({globex, attic, "of no interest", w.clock.at});
    w.store.insert(gone, w.store.end());
    w.store.news.insert(acme);
    w.tell_news();
    w.pass(300ms);
    REQUIRE(w.requests.size() == 1);
    CHECK(w.requests.front().event() == "evt_7_r2_0");
  }
}

TEST_SUITE("SPEC 6 webhooks: order, and who waits for whom") {
  TEST_CASE("one request of a room at a time, in the order of its log") {
    one_endpoint w;
    w.warm_up();
    for (int n = 0; n < 4; ++n) w.say(acme, lobby);
    w.say(acme, attic);
    w.pass(50ms);
    CHECK(w.under_way() == events{said(6), said(10)});
    w.answer_first(200);
    CHECK(w.under_way() == events{said(10), said(7)});
    CHECK(w.deliver_all() == events{said(10), said(7), said(8), said(9)});
  }

  TEST_CASE("a room that fails waits by itself: what is behind it waits, other rooms go on") {
    one_endpoint w;
    w.random.draw = 5000;
    w.warm_up();
    w.say(acme, lobby);
    w.say(acme, lobby);
    w.pass(50ms);
    w.answer_first(500);
    for (int n = 0; n < 20; ++n) {
      w.say(acme, attic);
      w.pass(200ms);
      CHECK(w.deliver_all() == events{said(8 + n)});
    }
    CHECK(w.store.waiting(acme) == 2);
    w.pass(1100ms);
    CHECK(w.deliver_all() == events{said(6), said(7)});
  }

  TEST_CASE("a room with much to tell takes its turn like the others") {
    one_endpoint w(messages, [] {
      auto o = one_endpoint::with_no_herd();
      o.concurrency_per_endpoint = 1;
      return o;
    }());
    for (int n = 0; n < 100; ++n) w.say(acme, lobby);
    for (int n = 0; n < 3; ++n) w.say(acme, attic);
    w.pass(50ms);
    const auto all = w.deliver_all();
    CHECK(all.size() == 103);
    const auto last_of_attic = std::find(all.begin(), all.end(), said(103)) - all.begin();
    CHECK(last_of_attic < 8);
    w.pass(50ms);
    CHECK(w.store.waiting(acme) == 0);
  }

  TEST_CASE(
      "of an endpoint that nobody knows one request is under way, then twice as many with each "
      "good answer") {
    one_endpoint w;
    for (int n = 0; n < 60; ++n) w.say(acme, room_no{n + 1});
    w.pass(50ms);
    std::vector<std::size_t> seen;
    for (int n = 0; n < 5; ++n) {
      seen.push_back(w.requests.size());
      w.answer_first(200);
    }
    CHECK(seen == std::vector<std::size_t>{1, 2, 4, 8, 16});
    CHECK(w.requests.size() == 16);
    w.answer_first(500);
    CHECK(w.requests.size() == 15);
    for (int n = 0; n < 7; ++n) w.answer_first(200);
    CHECK(w.requests.size() >= 8);
  }

  TEST_CASE("endpoints that hang leave the others room") {
    world w;
    w.options.concurrency = 8;
    w.options.concurrency_per_endpoint = 8;
    for (std::int64_t t = 1; t <= 3; ++t) w.add_endpoint(tenant_no{t});
    w.start();
    for (std::int64_t t = 1; t <= 2; ++t) {
      for (int n = 0; n < 40; ++n) w.say(tenant_no{t}, room_no{100 * t + n});
    }
    w.pass(50ms);
    for (int n = 0; n < 30; ++n) w.answer_first(200);  // both are known to be good; then they hang
    CHECK(w.requests.size() == 6);                     // a quarter is for those who have little
    w.say(tenant_no{3}, room_no{300});
    w.say(tenant_no{3}, room_no{301});
    w.pass(50ms);
    REQUIRE(w.requests.size() == 7);
    CHECK(w.requests.back().what.url == url_of(tenant_no{3}));
    w.answer(6, {200});
    CHECK(w.requests.back().what.url == url_of(tenant_no{3}));
  }

  TEST_CASE("what is in memory stays in its bounds, and all of it is delivered") {
    world w;
    w.bounds.endpoint_posts = 20;
    w.bounds.endpoint_lanes = 12;
    w.bounds.lane_posts = 4;
    w.bounds.page_bytes = 2000;
    w.bounds.endpoint_bytes = 8000;
    w.bounds.bytes = 20'000;
    for (std::int64_t t = 1; t <= 4; ++t) w.add_endpoint(tenant_no{t});
    w.start();
    for (int n = 0; n < 400; ++n)
      w.say(tenant_no{1 + n % 4}, room_no{(n % 4 + 1) * 1000 + n % 50}, std::string(100, 'x'));
    std::set<std::string> delivered;
    for (int n = 0; n < 2000 && delivered.size() < 400; ++n) {
      if (w.requests.empty()) {
        w.pass(50ms);
        continue;
      }
      delivered.insert(w.requests.front().event());
      w.answer_first(200);
      CHECK(w.box->loaded_bytes() <= 20'000);
      CHECK(w.store.page_items_max <= 20);
    }
    CHECK(delivered.size() == 400);
  }

  TEST_CASE("while too many outcomes are not on the disk nothing is sent") {
    world w;
    w.bounds.unconfirmed = 5;
    w.add_endpoint(acme);
    w.start();
    for (int n = 0; n < 60; ++n) w.say(acme, room_no{n + 1});
    w.pass(50ms);
    w.disk_full = true;
    int answered = 0;
    for (; !w.requests.empty(); ++answered) w.answer_first(200);
    CHECK(answered >= 5);
    CHECK(answered < 5 + 16);  // with what was under way then
    w.pass(2s);
    CHECK(w.requests.empty());
    w.disk_full = false;
    w.pass(1s);
    CHECK(w.deliver_all().size() == static_cast<std::size_t>(60 - answered));
  }

  TEST_CASE("a body that was made long ago is made anew before it is sent") {
    one_endpoint w;
    w.say(acme, lobby, "one");
    w.say(acme, lobby, "two");
    w.pass(50ms);
    w.store.log[1].text = "two, edited";
    w.pass(15s);
    w.answer_first(200);
    w.pass(50ms);
    REQUIRE(w.requests.size() == 1);
    CHECK(w.requests.front().what.body == "two, edited");
  }

  TEST_CASE(
      "a request that is never answered counts as failed in the end, and its answer as late") {
    one_endpoint w;
    w.say(acme, lobby);
    w.pass(50ms);
    const auto first = w.requests.front().attempt;
    w.requests.clear();
    w.pass(6min, 1s);
    CHECK(w.under_way() == events{said(1)});
    CHECK(w.store.errors.at(said(1)) == "no answer in time");
    w.box->on_answer(first, {200});
    CHECK(w.box->counters().late_answers == 1);
    CHECK(w.box->counters().in_flight == 1);
  }
}

TEST_SUITE("SPEC 6 webhooks: retries") {
  TEST_CASE(
      "pauses double up to the most, with full jitter; what an endpoint asks for comes first") {
    struct row {
      std::uint32_t attempts;  ///< before this one
      std::uint64_t draw;
      webhook_answer answer;
      std::chrono::milliseconds pause;
      const char* why;
    };
    const webhook_answer failed{500};
    const std::array<row, 12> rows{{
        {0, 5000, failed, 5s, "the first: retry_interval at most"},
        {0, 5001, failed, 100ms, "full jitter begins at 0, and is never less than a moment"},
        {0, 1234, failed, 1234ms, "anything between"},
        {1, 10'000, failed, 10s, "the second: twice that"},
        {2, 20'000, failed, 20s, "and again"},
        {8, 1'280'000, failed, 1280s, "and again"},
        {8, 1'280'001, failed, 100ms, "and no more"},
        {2, 20'000, {0, std::nullopt, "connection refused"}, 20s, "no answer is a failure, too"},
        {0, 77, {503, 90s}, 90s, "Retry-After"},
        {0, 77, {429, 2h}, 1h, "Retry-After: an hour at most"},
        {0, 77, {429, 0ms}, 100ms, "Retry-After: not at once"},
        {0, 77, {503}, 100ms, "without one: as all failures"},
    }};
    for (const auto& r : rows) {
      CAPTURE(r.why);
      one_endpoint w;
      w.say(acme, lobby);
      while (w.store.waiting(acme) == 0) REQUIRE(w.step());
      w.store.queues[acme].begin()->second.begin()->second.attempts = r.attempts;
      w.run();
      w.random.draw = r.draw;
      w.answer(0, r.answer);
      const auto& left = w.store.first_row(acme);
      CHECK(left.attempts == r.attempts + 1);
      CHECK(left.next_at - w.clock.at == r.pause);
      CHECK(w.store.errors.at(said(1)) ==
            (r.answer.status != 0 ? "HTTP " + std::to_string(r.answer.status) : "connection refused"));
      w.pass(r.pause - 10ms, 1s);
      CHECK(w.requests.empty());
      w.pass(100ms);
      CHECK(w.under_way() == events{said(1)});
    }
  }

  TEST_CASE("retry_max_interval bounds the pause") {
    auto o = one_endpoint::with_no_herd();
    o.retry_max_interval = 7s;
    one_endpoint w(messages, o);
    w.say(acme, lobby);
    w.run();
    w.random.draw = 5000;
    w.answer_first(500);
    w.pass(5100ms);
    w.random.draw = 7000;
    w.answer_first(500);
    CHECK(w.store.first_row(acme).next_at - w.clock.at == 7s);
    w.pass(7100ms);
    w.random.draw = 7001;
    w.answer_first(500);
    CHECK(w.store.first_row(acme).next_at - w.clock.at == 100ms);
  }

  TEST_CASE("after retry_max_attempts it is a dead letter, and the room goes on") {
    auto o = one_endpoint::with_no_herd();
    o.max_attempts = 3;
    one_endpoint w(messages, o);
    w.say(acme, lobby);
    w.say(acme, lobby);
    for (int n = 0; n < 3; ++n) {
      w.pass(1s);
      CHECK(w.under_way() == events{said(1)});
      w.answer_first(500);
    }
    CHECK(w.store.dead == events{said(1)});
    CHECK(w.box->counters().given_up == 1);
    CHECK(w.box->counters().failures == 3);
    w.pass(50ms);
    CHECK(w.deliver_all() == events{said(2)});
  }

  TEST_CASE("410 disables the endpoint: what waits stays, and is sent when its URL is set again") {
    one_endpoint w;
    w.say(acme, lobby);
    w.say(acme, lobby);
    w.run();
    w.answer_first(410);
    CHECK(w.store.endpoints[acme].disabled);
    CHECK(w.store.endpoints[acme].why == "the endpoint answered 410");
    CHECK(w.box->counters().disabled == 1);
    CHECK(w.store.waiting(acme) == 2);
    CHECK(w.store.first_row(acme).attempts == 0);
    w.say(acme, lobby);
    w.pass(2min, 1s);
    CHECK(w.requests.empty());
    w.store.set_endpoint(acme, messages, url_of(acme));
    w.change(acme);
    w.pass(50ms);
    CHECK(w.box->counters().disabled == 0);
    CHECK(w.deliver_all() == events{said(1), said(2)});  // not the one that came while it was disabled
  }

  TEST_CASE("a 410 that cannot be stored yet holds at once") {
    one_endpoint w;
    w.say(acme, lobby);
    w.say(acme, attic);
    w.run();
    w.disk_full = true;
    w.answer_first(410);
    w.pass(3s);
    CHECK(w.requests.empty());
    CHECK_FALSE(w.store.endpoints[acme].disabled);
    w.disk_full = false;
    w.pass(1s);
    CHECK(w.store.endpoints[acme].disabled);
  }

  TEST_CASE("a 410 that was not stored before the URL has changed disables nothing") {
    one_endpoint w;
    w.say(acme, lobby);
    w.run();
    w.disk_full = true;
    w.answer_first(410);
    w.pass(1s);
    w.store.set_endpoint(acme, messages, "https://new.example/");
    w.change(acme);
    w.disk_full = false;
    w.pass(1s);
    CHECK_FALSE(w.store.endpoints[acme].disabled);
    REQUIRE(w.requests.size() == 1);
    CHECK(w.requests.front().what.url == "https://new.example/");
  }

  TEST_CASE("the answer of a URL that is not the endpoint's any more says nothing about it") {
    one_endpoint w;
    w.say(acme, lobby);
    w.run();
    w.store.set_endpoint(acme, messages, "https://new.example/");
    w.change(acme);
    w.answer_first(410);
    CHECK_FALSE(w.store.endpoints[acme].disabled);
    w.pass(6s);
    REQUIRE(w.requests.size() == 1);
    CHECK(w.requests.front().what.url == "https://new.example/");
  }

  TEST_CASE(
      "after five failures in a row an endpoint rests for 30 s, then one request shows how it is") {
    one_endpoint w;
    w.random.draw = 0;
    for (int n = 0; n < 40; ++n) w.say(acme, room_no{n + 1});
    w.pass(50ms);
    int sent = 0;
    while (!w.requests.empty()) {
      w.answer_first(503);
      ++sent;
    }
    CHECK(sent == 5);
    CHECK(w.box->counters().resting == 1);
    w.pass(29'900ms);
    CHECK(w.requests.empty());
    CHECK(w.box->loaded_bytes() == 0);
    w.pass(200ms);
    CHECK(w.requests.size() == 1);  // the probe
    w.pass(10s);
    CHECK(w.requests.size() == 1);
    w.answer_first(503);
    CHECK(w.requests.empty());
    w.pass(29'900ms);
    CHECK(w.requests.empty());
    w.pass(200ms);
    CHECK(w.requests.size() == 1);
    w.answer_first(200);
    CHECK(w.box->counters().resting == 0);
    CHECK(w.requests.size() == 2);
    std::size_t delivered = 1;
    for (int n = 0; n < 10; ++n) {
      delivered += w.deliver_all().size();
      w.pass(1s);
    }
    CHECK(delivered == 40);
  }

  TEST_CASE("a good answer ends a row of failures") {
    one_endpoint w;
    w.random.draw = 0;
    for (int n = 0; n < 12; ++n) {
      w.say(acme, room_no{n + 1});
      w.pass(50ms);
      REQUIRE(w.requests.size() == 1);
      w.answer_first(n % 5 == 4 ? 200 : 500);
      w.store.queues[acme].clear();  // its retry is of no interest here
    }
    CHECK(w.box->counters().resting == 0);
  }
}

TEST_SUITE("SPEC 6 webhooks: who is sent anything") {
  TEST_CASE("without a secret nothing is sent, and with one what has waited is") {
    world w;
    w.store.add_tenant(acme, {});
    w.store.set_endpoint(acme, messages, url_of(acme));
    w.start();
    w.say(acme, lobby);
    w.pass(2min, 1s);
    CHECK(w.requests.empty());
    CHECK(w.store.waiting(acme) == 1);
    w.store.add_tenant(acme, {second_secret});
    w.change(acme);
    w.pass(50ms);
    CHECK(w.under_way() == events{said(1)});
  }

  TEST_CASE("a secret that was sealed with another key, or is none, is not used") {
    world w;
    w.store.add_tenant(acme, {"whsec_short", first_secret});
    w.store.tenants[acme].credentials[1].sealed[0] ^= 1;
    w.store.set_endpoint(acme, messages, url_of(acme));
    w.start();
    w.say(acme, lobby);
    w.pass(1s);
    CHECK(w.requests.empty());
  }

  TEST_CASE("nothing is sent for a tenant that is disabled or deleted, until it is not") {
    for (const bool deleted : {false, true}) {
      one_endpoint w;
      w.say(acme, lobby);
      w.say(acme, lobby);
      w.run();
      (deleted ? w.store.tenants[acme].deleted : w.store.tenants[acme].disabled) = true;
      w.change(acme);
      CHECK(w.deliver_all() == events{said(1)});
      w.pass(2min, 1s);
      CHECK(w.requests.empty());
      w.store.tenants[acme].disabled = w.store.tenants[acme].deleted = false;
      w.change(acme);
      w.pass(50ms);
      CHECK(w.under_way() == events{said(2)});
    }
  }

  TEST_CASE(
      "without its webhook_url a tenant has no endpoint: nothing is sent, and the answer under way "
      "means nothing") {
    one_endpoint w;
    w.say(acme, lobby);
    w.say(acme, lobby);
    w.run();
    w.store.remove_endpoint(acme);
    w.change(acme);
    CHECK(w.box->counters().endpoints == 0);
    w.answer_first(200);
    w.say(acme, lobby);
    w.pass(2s);
    CHECK(w.requests.empty());
    CHECK_FALSE(w.box->wants_ticks());
  }

  TEST_CASE("an endpoint that is made later hears of what comes after it") {
    world w;
    w.start();
    w.say(acme, lobby);
    w.add_endpoint(acme);
    w.change(acme);
    w.say(acme, lobby);
    w.pass(50ms);
    CHECK(w.under_way() == events{said(2)});
    w.add_endpoint(globex);
    w.change(globex);
    w.say(globex, attic);
    w.pass(50ms);
    CHECK(w.under_way() == events{said(2), said(3)});
  }

  TEST_CASE(
      "a change that comes while the endpoints are listed is not undone by what the list says") {
    world w;
    w.add_endpoint(acme);
    w.box = std::make_unique<outbox>(w, w.clock, w.random, w.options, sealing_key, 0, w.bounds);
    w.box->start();
    REQUIRE(w.reads.size() == 1);
    const auto listed = w.store.run(w.reads.front().second);
    const auto call = w.reads.front().first;
    w.reads.clear();
    w.store.remove_endpoint(acme);
    w.change(acme);
    w.box->on(call, listed);
    w.run();
    CHECK(w.box->counters().endpoints == 0);
  }

  TEST_CASE("all endpoints are known after the start, however many") {
    world w;
    for (std::int64_t t = 1; t <= 1203; ++t) {
      auto& e = w.store.endpoints[tenant_no{t}];
      e.tenant = tenant_no{t};
      e.id = id_of(tenant_no{t});
      e.disabled = t % 3 == 0;
    }
    w.start();
    CHECK(w.box->counters().endpoints == 1203);
    CHECK(w.box->counters().disabled == 401);
    const auto before = w.asked;
    w.pass(500ms);
    CHECK(w.asked - before <= 12);  // nothing waits for them: they are not looked at one by one
  }

  TEST_CASE("what is obsolete is settled without a request") {
    one_endpoint w(0);
    w.store.rooms[lobby].members = {{ann, room_seq{0}, room_seq{0}}, {bob, room_seq{0}, room_seq{0}}};
    w.say(acme, lobby);
    w.clock.at += 11s;
    while (w.store.waiting(acme) == 0) {
      if (!w.step()) w.tick();
    }
    w.store.rooms[lobby].members[0].last_ack = room_seq{1};
    w.run();
    w.pass(50ms);
    CHECK(w.deliver_all() == events{missed(1, 2)});
    CHECK(w.box->counters().obsolete == 1);
    w.pass(50ms);
    CHECK(w.store.waiting(acme) == 0);
  }
}

TEST_SUITE("SPEC 6 message.offline") {
  TEST_CASE("it is told offline_after the commit, to each who has not acked") {
    one_endpoint w(0);
    w.store.rooms[lobby].members = {{ann, room_seq{0}, room_seq{0}},
                                    {bob, room_seq{0}, room_seq{5}},
                                    {cyd, room_seq{0}, room_seq{0}}};
    w.say(acme, lobby);
    w.pass(9900ms);
    CHECK(w.store.waiting(acme) == 0);
    w.pass(1500ms);
    CHECK(w.deliver_all() == events{missed(1, 1), missed(1, 3)});
  }

  TEST_CASE(
      "nobody is told to be away while those who come back after a start may still be on their "
      "way") {
    auto o = one_endpoint::with_no_herd();
    o.herd_window = 30s;
    one_endpoint w(0, o);
    w.store.rooms[lobby].members = {{ann, room_seq{0}, room_seq{0}}};
    w.say(acme, lobby);
    w.pass(29'900ms);
    CHECK(w.store.waiting(acme) == 0);
    w.pass(1s);
    CHECK(w.deliver_all() == events{missed(1, 1)});
  }

  TEST_CASE("once all of the log was looked at nobody looks again until it grows") {
    one_endpoint w(0);
    w.say(acme, lobby);
    w.pass(15s);
    const auto before = w.asked;
    w.pass(20s);
    CHECK(w.asked == before);
  }

  TEST_CASE("of a big room one request names all who miss the message") {
    one_endpoint w(0);
    w.bounds.list_slice = 2;
    w.options.offline_max_members = 3;
    w.start();
    auto& room = w.store.rooms[lobby];
    room.sender = ann;
    room.members = {{ann, room_seq{0}, room_seq{0}},
                    {bob, room_seq{0}, room_seq{0}},
                    {cyd, room_seq{0}, room_seq{1}},  // acked
                    {dan, room_seq{1}, room_seq{0}},  // joined with the message, not before
                    {user_id{"e\"ve"}, room_seq{0}, room_seq{0}}};
    w.say(acme, lobby);
    w.pass(12s);
    REQUIRE(w.requests.size() == 1);
    CHECK(w.requests.front().event() == missed(1));
    CHECK(w.requests.front().what.body == R"({"to":["bob","e\"ve"]})");
  }

  TEST_CASE(
      "a list is made once for all messages that were due before it, and nobody left is no "
      "request") {
    one_endpoint w(0);
    w.options.offline_max_members = 3;
    w.start();
    auto& room = w.store.rooms[lobby];
    for (std::size_t n = 0; n < 5; ++n)
      room.members.push_back({user_no_of(n), room_seq{0}, room_seq{0}});
    for (int n = 0; n < 30; ++n) w.say(acme, lobby);
    w.pass(11s);
    const auto before = w.asked;
    CHECK(w.deliver_all().size() == 30);
    CHECK(w.asked - before <= 6);  // pages, not lists
    w.say(acme, lobby);
    for (auto& m : room.members) m.last_ack = room_seq{31};
    w.pass(12s);
    CHECK(w.requests.empty());
    CHECK(w.store.waiting(acme) == 0);
    CHECK(w.box->counters().obsolete == 1);
  }

  TEST_CASE("a room whose list can't be read waits, other rooms do not") {
    one_endpoint w(messages);
    w.options.offline_max_members = 1;
    w.start();
    w.store.rooms[lobby].members = {{ann, room_seq{0}, room_seq{0}}, {bob, room_seq{0}, room_seq{0}}};
    w.say(acme, lobby);
    w.pass(50ms);
    w.deliver_all();
    w.pass(9s);
    for (int n = 0; n < 60; ++n) {  // every list fails
      w.clock.at += 50ms;
      w.box->tick();
      while (!w.reads.empty() || !w.applies.empty()) {
        const bool list =
            !w.reads.empty() && std::holds_alternative<acked_members_query>(w.reads.front().second);
        w.fails_reads = list;
        w.step();
      }
    }
    w.fails_reads = false;
    w.say(acme, attic);
    w.clock.at += 50ms;
    w.box->tick();
    for (int n = 0; n < 20 && w.requests.empty(); ++n) {
      w.fails_reads =
          !w.reads.empty() && std::holds_alternative<acked_members_query>(w.reads.front().second);
      w.step();
    }
    w.fails_reads = false;
    CHECK(w.under_way() == events{said(2)});
    w.pass(1s);
    CHECK(w.under_way() == events{said(2), missed(1)});
  }
}

TEST_SUITE("SPEC 6 presence by webhook") {
  constexpr auto presence = mask_of(event_type::user_online) | mask_of(event_type::user_offline);

  TEST_CASE("coming and going are events of their user, in order") {
    one_endpoint w(presence);
    CHECK(w.wants_presence.at(acme));
    w.box->on(user_presence{{acme, ann}, true, noon});
    w.run();
    CHECK(w.requests.empty());
    w.pass(150ms);
    REQUIRE(w.requests.size() == 1);
    CHECK(w.requests.front().what.body == R"({"user_id":"ann","status":"online"})");
    w.box->on(user_presence{{acme, ann}, false, noon + 200ms});
    w.pass(200ms);
    CHECK(w.requests.size() == 1);
    w.answer_first(200);
    REQUIRE(w.requests.size() == 1);
    CHECK(w.requests.front().what.body == R"({"user_id":"ann","status":"offline","last_seen":")" +
                                              to_rfc3339(noon + 200ms) + R"("})");
    const auto lane = w.store.queues[acme].begin()->first;
    CHECK(lane.value < 0);
    CHECK(lane.value >= -(std::int64_t{1} << 62U));
  }

  TEST_CASE("who comes and goes within a moment does neither") {
    one_endpoint w(presence);
    w.box->on(user_presence{{acme, ann}, true, noon});
    w.box->on(user_presence{{acme, bob}, false, noon});
    w.box->on(user_presence{{acme, ann}, false, noon});
    w.box->on(user_presence{{acme, bob}, true, noon});
    w.box->on(user_presence{{acme, cyd}, true, noon});
    w.pass(200ms);
    REQUIRE(w.requests.size() == 1);
    CHECK(w.requests.front().what.body.find("cyd") != std::string::npos);
    CHECK(w.store.waiting(acme) == 1);
  }

  TEST_CASE("only those who asked hear of it, and only of what they asked for") {
    one_endpoint w(mask_of(event_type::user_offline));
    w.add_endpoint(globex);
    w.change(globex);
    CHECK(w.wants_presence.at(acme));
    CHECK_FALSE(w.wants_presence.at(globex));
    for (const auto tenant : {acme, globex, tenant_no{3}}) {
      w.box->on(user_presence{{tenant, ann}, true, noon});
      w.box->on(user_presence{{tenant, bob}, false, noon});
    }
    w.pass(200ms);
    REQUIRE(w.requests.size() == 1);
    CHECK(w.requests.front().what.body.find(R"("bob","status":"offline")") != std::string::npos);
    w.store.remove_endpoint(acme);
    w.change(acme);
    CHECK_FALSE(w.wants_presence.at(acme));
  }

  TEST_CASE(
      "more than can wait are dropped and counted; what a full disk refuses is stored later") {
    one_endpoint w(presence);
    w.bounds.presence = 10;
    w.start();
    w.disk_full = true;
    for (std::size_t n = 0; n < 15; ++n)
      w.box->on(user_presence{{acme, user_no_of(n)}, true, noon});
    w.pass(3s);
    CHECK(w.store.waiting(acme) == 0);
    w.disk_full = false;
    w.pass(1s);
    CHECK(w.store.waiting(acme) == 10);
    CHECK(w.box->counters().presence_dropped == 5);
  }
}

TEST_SUITE("SPEC 7 webhook test and replay") {
  webhook_call a_test(std::uint64_t call = 7) {
    return {{gateway_no{2}, call_no{call}}, acme, id_of(acme)};
  }

  TEST_CASE(
      "a test is one event now, whatever waits or rests, and the report says what came of it") {
    one_endpoint w;
    for (int n = 0; n < 5; ++n) w.say(acme, room_no{n + 1});
    w.pass(50ms);
    w.deliver_all(500);
    CHECK(w.box->counters().resting == 1);
    w.box->on(a_test());
    w.run();
    REQUIRE(w.requests.size() == 1);
    const auto body = w.requests.front().what.body;
    CHECK(body.find(R"("type":"webhook.test")") != std::string::npos);
    CHECK(body.find(R"("message")") != std::string::npos);
    const auto event = w.requests.front().event();
    CHECK(event.size() == 36);
    w.clock.at += 120ms;
    w.answer_first(200);
    REQUIRE(w.answers.size() == 1);
    CHECK(w.answers[0].call == call_no{7});
    const auto& report = std::get<webhook_report>(w.answers[0].outcome);
    CHECK(report.url == url_of(acme));
    CHECK(report.event_id == event);
    CHECK(report.status == 200);
    CHECK(report.failure.empty());
    CHECK(report.took == 120ms);
    CHECK(w.box->counters().resting == 1);
  }

  TEST_CASE("a test that fails says how") {
    one_endpoint w;
    w.box->on(a_test());
    w.run();
    w.answer(0, {0, std::nullopt, "connection refused"});
    w.box->on(a_test());
    w.run();
    w.answer_first(404);
    REQUIRE(w.answers.size() == 2);
    CHECK(std::get<webhook_report>(w.answers[0].outcome).failure == "connection refused");
    CHECK(std::get<webhook_report>(w.answers[1].outcome).failure == "HTTP 404");
    CHECK(std::get<webhook_report>(w.answers[1].outcome).status == 404);
  }

  TEST_CASE("a test that can't be made is refused") {
    struct row {
      const char* why;
      error_code code;
      const char* field;
    };
    const std::array<row, 5> rows{{{"no endpoint", error_code::conflict, "webhook_url"},
                                   {"no secret", error_code::conflict, "webhook_secret"},
                                   {"disabled", error_code::conflict, "disabled"},
                                   {"unknown", error_code::not_found, ""},
                                   {"busy", error_code::unavailable, ""}}};
    for (const auto& r : rows) {
      CAPTURE(r.why);
      const std::string why = r.why;
      one_endpoint w;
      if (why == "no endpoint") w.store.remove_endpoint(acme);
      if (why == "no secret") w.store.add_tenant(acme, {});
      if (why == "disabled") w.store.tenants[acme].disabled = true;
      if (why == "unknown") w.store.tenants.clear();
      w.refuses_reads = why == "busy";
      w.box->on(a_test());
      w.run();
      CHECK(w.requests.empty());
      REQUIRE(w.answers.size() == 1);
      const auto& e = std::get<error>(w.answers[0].outcome);
      CHECK(e.code == r.code);
      CHECK(e.field == r.field);
    }
  }

  TEST_CASE("a test has a deadline, and not too many are under way") {
    world w;
    w.bounds.calls = 2;
    w.add_endpoint(acme);
    w.start();
    for (std::uint64_t n = 1; n <= 3; ++n) w.box->on(a_test(n));
    w.run();
    REQUIRE(w.answers.size() == 1);
    CHECK(w.answers[0].call == call_no{3});
    CHECK(std::get<error>(w.answers[0].outcome).code == error_code::unavailable);
    CHECK(w.requests.size() == 2);
    w.pass(11s);
    CHECK(w.answers.size() == 1);
    w.pass(2s);
    REQUIRE(w.answers.size() == 3);
    const auto& report = std::get<webhook_report>(w.answers[1].outcome);
    CHECK(report.url == url_of(acme));
    CHECK(report.event_id == w.requests[0].event());
    CHECK(report.status == 0);
    CHECK(report.failure == "answer timeout");
    CHECK(report.took >= 12s);
    CHECK(report.took <= 13s);
    w.answer_first(200);
    CHECK(w.answers.size() == 3);
    CHECK(w.box->counters().late_answers == 1);
  }

  TEST_CASE("a test whose endpoint could not be read in time is refused") {
    one_endpoint w;
    w.box->on(a_test());
    w.clock.at += 13s;
    w.box->tick();
    REQUIRE(w.answers.size() == 1);
    CHECK(std::get<error>(w.answers[0].outcome).code == error_code::unavailable);
    w.run();
    CHECK(w.requests.empty());
    CHECK(w.answers.size() == 1);
  }

  TEST_CASE("a replay goes through the log slice by slice, not faster than it is sent, and ends") {
    one_endpoint w;
    w.bounds.scan_entries = 10;
    w.bounds.replay_queued = 15;
    w.start();
    for (int n = 0; n < 40; ++n) w.say(acme, room_no{n % 4 + 1});
    w.pass(100ms);
    w.deliver_all();
    w.pass(100ms);
    REQUIRE(w.store.waiting(acme) == 0);
    auto& e = w.store.endpoints[acme];
    e.replay_from = log_id{5};
    e.replay_to = log_id{38};
    w.change(acme);
    w.pass(3s);
    CHECK(w.store.waiting(acme) == 20);  // 10 are ≤ 15, 20 are not
    std::multiset<std::string> delivered;
    for (int n = 0; n < 20; ++n) {
      for (const auto& event : w.deliver_all()) delivered.insert(event);
      w.pass(1s);
    }
    CHECK(delivered.size() == 33);
    CHECK(delivered.count(said(6)) == 1);
    CHECK(delivered.count(said(38)) == 1);
    CHECK_FALSE(e.replay_to.is_set());
    const auto before = w.asked;
    w.pass(5s);
    CHECK(w.asked == before);
  }

  TEST_CASE("a replay survives a disk that is full, and goes on after a restart") {
    one_endpoint w;
    w.bounds.scan_entries = 10;
    w.start();
    for (int n = 0; n < 40; ++n) w.say(acme, room_no{n + 1});
    w.pass(100ms);
    w.deliver_all();
    w.pass(100ms);
    w.store.endpoints[acme].replay_to = log_id{40};
    w.disk_full = true;
    w.change(acme);
    w.pass(3s);
    CHECK(w.store.waiting(acme) == 0);
    w.disk_full = false;
    while (w.store.waiting(acme) == 0) {
      if (!w.step()) w.tick();
    }
    w.requests.clear();
    w.reads.clear();
    w.applies.clear();
    w.start();
    w.pass(1s);
    CHECK(w.deliver_all().size() == 40);
  }
}

}  // namespace parley::actors
