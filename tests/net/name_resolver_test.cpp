#include "net/name_resolver.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <future>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace parley::net;
using namespace std::chrono_literals;

namespace {

std::future<name_answer> ask(name_resolver& resolver, const std::string& name) {
  auto promise = std::make_shared<std::promise<name_answer>>();
  auto future = promise->get_future();
  resolver.resolve(name, [promise](name_answer answer) { promise->set_value(std::move(answer)); });
  return future;
}

name_answer wait_for(std::future<name_answer>& answer) {
  REQUIRE(answer.wait_for(10s) == std::future_status::ready);
  return answer.get();
}

/// A DNS of which each answer is waited for until the test lets it come, but for names that begin with `quick`.
class held_dns {
 public:
  explicit held_dns(resolver_options options) : options_(std::move(options)) {
    options_.look_up = [inner = inner_](const std::string& name) { return inner->look_up(name); };
  }
  ~held_dns() { let_all_go(); }
  held_dns(const held_dns&) = delete;
  held_dns& operator=(const held_dns&) = delete;

  [[nodiscard]] const resolver_options& options() const { return options_; }
  void let_all_go() { answer_after(0ms, name_outcome::found); }
  /// Those that come from now on take so long; those that are held go now.
  void answer_after(std::chrono::milliseconds takes, name_outcome outcome) {
    const std::lock_guard lock{inner_->mutex};
    inner_->is_open = true;
    inner_->takes = takes;
    inner_->outcome = outcome;
    inner_->changed.notify_all();
  }
  void hold() {
    const std::lock_guard lock{inner_->mutex};
    inner_->is_open = false;
  }
  /// Waits for it: so many are held.
  [[nodiscard]] bool holds(std::size_t count) {
    std::unique_lock lock{inner_->mutex};
    return inner_->changed.wait_for(lock, 10s, [&] { return inner_->held == count; });
  }
  [[nodiscard]] std::size_t threads() {
    const std::lock_guard lock{inner_->mutex};
    return inner_->threads.size();
  }

 private:
  struct state {
    name_answer look_up(const std::string& name) {
      std::unique_lock lock{mutex};
      threads.insert(std::this_thread::get_id());
      const name_answer found{name_outcome::found, {boost::asio::ip::make_address("192.0.2.1")}};
      if (name.starts_with("quick")) return found;
      if (is_open) {
        changed.wait_for(lock, takes, [] { return false; });
      } else {
        ++held;
        changed.notify_all();
        changed.wait_for(lock, 20s, [&] { return is_open; });
        --held;
        changed.notify_all();
      }
      return outcome == name_outcome::found ? found : name_answer{outcome, {}};
    }
    std::mutex mutex;
    std::condition_variable changed;
    bool is_open = false;
    std::chrono::milliseconds takes{};
    name_outcome outcome = name_outcome::found;
    std::size_t held = 0;
    std::set<std::thread::id> threads;
  };
  std::shared_ptr<state> inner_ = std::make_shared<state>();
  resolver_options options_;
};

struct asked {
  std::string name;
  lookup_begun begun;
  std::future<name_answer> answer;
};
asked ask_for(name_resolver& resolver, const std::string& name) {
  auto promise = std::make_shared<std::promise<name_answer>>();
  auto future = promise->get_future();
  auto begun = resolver.resolve(
      name, [promise](name_answer answer) { promise->set_value(std::move(answer)); });
  return {name, std::move(begun), std::move(future)};
}
std::vector<asked> ask_for(name_resolver& resolver, const std::string& prefix, int count) {
  std::vector<asked> out;
  for (int i = 0; i < count; ++i) out.push_back(ask_for(resolver, prefix + std::to_string(i)));
  return out;
}
auto begun_of(const std::vector<asked>& all) {
  return std::ranges::count_if(all, [](const asked& a) { return a.begun->load(); });
}
void check_all_found(std::vector<asked>& all) {
  for (auto& a : all) {
    CAPTURE(a.name);
    CHECK(wait_for(a.answer).outcome == name_outcome::found);
    CHECK(a.begun->load());
  }
}

}  // namespace

TEST_SUITE("SPEC 6 names of webhooks are resolved beside the thread that sends them") {
  TEST_CASE("the system's resolver knows this machine's names, and tells what is no name") {
    const auto resolver = make_system_resolver();
    auto local = ask(*resolver, "localhost");
    const auto found = wait_for(local);
    REQUIRE(found.outcome == name_outcome::found);
    REQUIRE_FALSE(found.addresses.empty());
    CHECK(std::ranges::all_of(found.addresses, [](const auto& a) { return a.is_loopback(); }));

    // Never asked of a server: it is no name (a label of 64 bytes).
    auto bad = ask(*resolver, std::string(64, 'a') + ".example");
    const auto unknown = wait_for(bad);
    CHECK(unknown.outcome != name_outcome::found);
    CHECK(unknown.addresses.empty());
  }

  TEST_CASE("addresses come out as they are, those of one link with their scope") {
    const auto resolver = make_system_resolver();
    for (const auto* text : {"127.0.0.1", "::1", "fe80::1%1", "93.184.216.34"}) {
      CAPTURE(text);
      auto asked = ask(*resolver, text);
      const auto found = wait_for(asked);
      REQUIRE(found.outcome == name_outcome::found);
      REQUIRE(found.addresses.size() == 1);
      CHECK(found.addresses.front() == boost::asio::ip::make_address(text));
    }
  }

  TEST_CASE("many names at once are all answered, each with its own") {
    const auto resolver = make_system_resolver();
    std::vector<std::future<name_answer>> answers;
    for (int i = 0; i < 100; ++i) answers.push_back(ask(*resolver, "127.0.0." + std::to_string(i)));
    for (int i = 0; i < 100; ++i) {
      const auto answer = wait_for(answers[static_cast<std::size_t>(i)]);
      REQUIRE(answer.addresses.size() == 1);
      CHECK(answer.addresses.front().to_string() == "127.0.0." + std::to_string(i));
    }
  }

  TEST_CASE("by itself it has 32 threads, and makes them when they are needed") {
    held_dns dns{{}};
    const auto resolver = make_system_resolver(dns.options());
    for (int i = 0; i < 20; ++i) {
      auto quick = ask_for(*resolver, "quick");
      CHECK(wait_for(quick.answer).outcome == name_outcome::found);
    }
    CHECK(dns.threads() == 1);

    auto held = ask_for(*resolver, "held-", 32);
    REQUIRE(dns.holds(32));
    CHECK(begun_of(held) == 32);
    CHECK(dns.threads() == 32);
    auto later = ask_for(*resolver, "quick");
    CHECK_FALSE(later.begun->load());
    dns.let_all_go();
    CHECK(wait_for(later.answer).outcome == name_outcome::found);
    check_all_found(held);
    CHECK(dns.threads() == 32);
  }

  TEST_CASE("names that were slow hold half of the threads, and keep no other name waiting") {
    held_dns dns{{.threads_max = 8, .slow_after = 500ms}};
    const auto resolver = make_system_resolver(dns.options());
    dns.answer_after(510ms, name_outcome::found);
    auto first = ask_for(*resolver, "slow-", 8);  // for the first time: nobody knows
    check_all_found(first);
    CHECK(dns.threads() == 8);
    dns.hold();

    auto second = ask_for(*resolver, "slow-", 8);
    REQUIRE(dns.holds(4));
    for (int i = 0; i < 20; ++i) {
      auto quick = ask_for(*resolver, "quick-" + std::to_string(i));
      CHECK(wait_for(quick.answer).outcome == name_outcome::found);
    }
    CHECK(begun_of(second) == 4);
    auto others = ask_for(*resolver, "other-", 4);
    REQUIRE(dns.holds(8));  // the other half is for all others
    CHECK(begun_of(second) == 4);
    CHECK(begun_of(others) == 4);
    dns.let_all_go();
    check_all_found(second);
    check_all_found(others);

    // Held for a moment they may have been slow; who is quick again is one of all others.
    auto third = ask_for(*resolver, "slow-", 8);
    check_all_found(third);
    dns.hold();
    auto fourth = ask_for(*resolver, "slow-", 8);
    CHECK(dns.holds(8));
    dns.let_all_go();
    check_all_found(fourth);
  }

  TEST_CASE("a failure counts as slow after a quarter of the time, an answer does not") {
    for (const auto outcome : {name_outcome::failed, name_outcome::unknown}) {
      CAPTURE(static_cast<int>(outcome));
      held_dns dns{{.threads_max = 2, .slow_after = 2000ms}};
      const auto resolver = make_system_resolver(dns.options());
      dns.answer_after(510ms, outcome);
      auto first = ask_for(*resolver, "name-", 2);
      for (auto& a : first) CHECK(wait_for(a.answer).outcome == outcome);
      dns.hold();
      auto second = ask_for(*resolver, "name-", 2);
      if (outcome == name_outcome::failed) {
        REQUIRE(dns.holds(1));
        auto quick = ask_for(*resolver, "quick");
        CHECK(wait_for(quick.answer).outcome == name_outcome::found);
        CHECK(begun_of(second) == 1);
      } else {
        CHECK(dns.holds(2));
      }
      dns.let_all_go();
      check_all_found(second);
    }
  }

  TEST_CASE("names without a thread are bounded, slow ones at half; beyond they are not asked") {
    held_dns dns{{.threads_max = 2, .waiting_max = 4, .slow_after = 500ms}};
    const auto resolver = make_system_resolver(dns.options());
    dns.answer_after(510ms, name_outcome::found);
    auto slow = ask_for(*resolver, "slow-", 4);
    check_all_found(slow);
    dns.hold();

    auto again = ask_for(*resolver, "slow-", 1);
    REQUIRE(dns.holds(1));
    for (int i = 1; i < 4; ++i) again.push_back(ask_for(*resolver, "slow-" + std::to_string(i)));
    CHECK(wait_for(again.back().answer).outcome == name_outcome::busy);
    CHECK_FALSE(again.back().begun->load());
    again.pop_back();

    auto others = ask_for(*resolver, "other-", 1);
    REQUIRE(dns.holds(2));
    for (int i = 1; i < 4; ++i) others.push_back(ask_for(*resolver, "other-" + std::to_string(i)));
    CHECK(wait_for(others.back().answer).outcome == name_outcome::busy);
    CHECK_FALSE(others.back().begun->load());
    others.pop_back();

    CHECK(begun_of(again) == 1);
    CHECK(begun_of(others) == 1);
    dns.let_all_go();
    check_all_found(again);
    check_all_found(others);
  }

  TEST_CASE("going away it waits for no lookup; what had not begun never does") {
    held_dns dns{{.threads_max = 2}};
    std::vector<asked> held;
    {
      const auto resolver = make_system_resolver(dns.options());
      held = ask_for(*resolver, "held-", 4);
      REQUIRE(dns.holds(2));
    }
    CHECK(begun_of(held) == 2);
    dns.let_all_go();
    CHECK(dns.holds(0));
    for (auto& a : held)
      REQUIRE(a.answer.wait_for(10s) == std::future_status::ready);  // broken promises
    CHECK(begun_of(held) == 2);
  }

  TEST_CASE("it may go while names are looked up") {
    std::vector<std::future<name_answer>> answers;
    {
      const auto resolver = make_system_resolver();
      for (int i = 0; i < 200; ++i) answers.push_back(ask(*resolver, "localhost"));
    }
    // Each is answered, or its callback is gone (a broken promise): none is left waiting for ever.
    for (auto& a : answers) REQUIRE(a.wait_for(10s) == std::future_status::ready);
  }
}
