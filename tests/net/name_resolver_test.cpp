#include "net/name_resolver.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <memory>
#include <string>
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
