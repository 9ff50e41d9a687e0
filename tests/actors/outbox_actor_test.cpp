// The outbox in its actor, over a real store.

#include "actors/new_tenant.hpp"
#include "actors/node_actors.hpp"
#include "actors/webhook_client.hpp"
#include "protocol/seams.hpp"
#include "tests/store/store_fixture.hpp"
#include "tests/support/await.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace parley::actors {
namespace {

constexpr secret_key key{7, 7, 7};

/// Answers 200 at once; but the first request ends in an exception.
class clumsy_client final : public webhook_client {
 public:
  void post(webhook_post request, std::function<void(webhook_answer)> done) override {
    {
      const std::lock_guard lock(mutex_);
      for (const auto& [name, value] : request.headers) {
        if (name == "webhook-id") events_.push_back(value);
      }
      if (events_.size() == 1) throw std::runtime_error("out of luck");
    }
    done({200});
  }
  void stop() override {}
  std::vector<std::string> events() {
    const std::lock_guard lock(mutex_);
    return events_;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> events_;
};

}  // namespace

TEST_SUITE("SPEC 6 webhooks: the actor") {
  TEST_CASE_FIXTURE(store::test::store_fixture,
                    "an exception ends neither the node nor the outbox: it begins anew, with the "
                    "same webhook-id") {
    open();
    const auto fresh = actors::make_tenant(
        "Acme", R"({"webhook_url":"https://hooks.example/","webhook_events":["message.created"]})",
        key, time.now(), random);
    REQUIRE(writes().begin());
    const auto tenant = writes().create_tenant(fresh.row);
    REQUIRE(tenant);
    REQUIRE(writes().commit());
    const auto room = make_room(*tenant, {user_id{"ann"}, user_id{"bob"}});
    commit({message(*tenant, room.no, 1, "ann", "hello"),
            message(*tenant, room.no, 2, "ann", "again")});

    const auto client = std::make_shared<clumsy_client>();
    bool fatal = false;
    node_actors_options options;
    options.sealing_key = key;
    options.webhooks = client;
    options.outbox.herd_window = std::chrono::hours{1};
    options.fatal = [&](const error&) { fatal = true; };
    node_actors node{*db, options, system_clock_source(), system_random()};
    CHECK(tests::await(std::chrono::seconds{30}, [&] {
      return node.gauges().webhook_delivered.load() == 2 && node.gauges().events_waiting.load() == 0;
    }));
    CHECK(node.gauges().exceptions.load() == 1);
    CHECK(node.gauges().webhooks_in_flight.load() == 0);
    const auto events = client->events();
    REQUIRE(events.size() == 3);
    CHECK(events[0] == events[1]);
    CHECK(events[1] != events[2]);
    reads.reset();
    CHECK(node.stop(std::chrono::seconds{10}));
    CHECK_FALSE(fatal);
  }
}

}  // namespace parley::actors
