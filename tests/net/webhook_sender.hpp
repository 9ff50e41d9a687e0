#pragma once
/// A webhook_client under test, and what goes with it: a resolver that answers as the test says, receivers' scripts, what
/// receivers saw.

#include "net/webhook_client.hpp"
#include "tests/net/loopback.hpp"
#include "tests/net/webhook_receiver.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace parley::net::testing {

inline constexpr std::string_view ok_answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
inline const auto public_address = boost::asio::ip::make_address("93.184.216.34");
inline const auto loopback = boost::asio::ip::make_address("127.0.0.1");

/// Answers as the test says; counts what it is asked.
class scripted_resolver final : public name_resolver {
 public:
  using script = std::function<name_answer(const std::string& name, int nth)>;
  struct state {
    std::mutex mutex;
    std::vector<std::string> asked;
    std::vector<std::function<void(name_answer)>> unanswered;
    bool is_begun = true;  ///< of every lookup
  };
  explicit scripted_resolver(std::shared_ptr<state> s, script answer)
      : state_(std::move(s)),
        answer_(std::move(answer)) {}
  lookup_begun resolve(std::string name, std::function<void(name_answer)> done) override {
    const auto begun = std::make_shared<std::atomic<bool>>(state_->is_begun);
    int nth = 0;
    {
      const std::lock_guard lock{state_->mutex};
      nth = static_cast<int>(std::ranges::count(state_->asked, name));
      state_->asked.push_back(name);
      if (!answer_) {  // never
        state_->unanswered.push_back(std::move(done));
        return begun;
      }
    }
    done(answer_(name, nth));
    return begun;
  }

 private:
  std::shared_ptr<state> state_;
  script answer_;
};

inline name_answer found(std::vector<boost::asio::ip::address> addresses) {
  return {name_outcome::found, std::move(addresses)};
}

/// For receivers at 127.0.0.1.
inline webhook_client_options inside() {
  webhook_client_options o;
  o.allow_private = true;
  return o;
}

/// A client, and what comes of its requests.
class sender {
 public:
  explicit sender(webhook_client_options options = inside(), webhook_client_seams seams = {})
      : client(options, now, std::move(seams)) {}

  std::future<actors::webhook_answer> begin(
      const std::string& url, std::string body = "{}",
      std::vector<std::pair<std::string, std::string>> headers = {{"webhook-id", "msg_1"}}) {
    auto promise = std::make_shared<std::promise<actors::webhook_answer>>();
    auto future = promise->get_future();
    client.post({.url = url, .headers = std::move(headers), .body = std::move(body)},
                [promise](actors::webhook_answer answer) { promise->set_value(std::move(answer)); });
    return future;
  }
  static actors::webhook_answer end(std::future<actors::webhook_answer>& begun) {
    REQUIRE(begun.wait_for(std::chrono::seconds{20}) == std::future_status::ready);
    auto answer = begun.get();
    if (answer.status == 0) {
      CHECK(std::ranges::count(webhook_failure::all, answer.failure) == 1);
    } else {
      CHECK(answer.failure.empty());
    }
    return answer;
  }
  actors::webhook_answer post(const std::string& url, std::string body = "{}") {
    auto begun = begin(url, std::move(body));
    return end(begun);
  }
  int status(const std::string& url) { return post(url).status; }
  std::string failure(const std::string& url) {
    const auto answer = post(url);
    CHECK(answer.status == 0);
    return answer.failure;
  }

  manual_clock now;
  webhook_client client;
};

/// Waits for something that another thread does.
inline bool eventually(const std::function<bool()>& holds) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{10};
  while (!holds()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

/// Serves requests one after the other, each with the same bytes.
inline webhook_receiver::serve_function always(std::string answer) {
  return [answer](webhook_peer& peer) {
    while (peer.read_request()) {
      if (!peer.write(answer)) return;
    }
  };
}
/// One request, these bytes, and the end.
inline webhook_receiver::serve_function once(std::string answer) {
  return [answer](webhook_peer& peer) {
    if (peer.read_request()) peer.write(answer);
  };
}

/// What receivers saw, from their threads.
class request_log {
 public:
  void add(received_request r) {
    const std::lock_guard lock{mutex_};
    requests_.push_back(std::move(r));
  }
  std::vector<received_request> all() const {
    const std::lock_guard lock{mutex_};
    return requests_;
  }
  std::size_t size() const { return all().size(); }

 private:
  mutable std::mutex mutex_;
  std::vector<received_request> requests_;
};

}  // namespace parley::net::testing
