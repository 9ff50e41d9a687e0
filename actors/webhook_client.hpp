#pragma once
/// How a webhook's request leaves the node: an interface, so that the outbox is tested without a network. The node's own is
/// net/webhook_client.

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace parley::actors {

struct webhook_post {
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers;  ///< beside Host, Content-Length and the like
  std::string body;
};
struct webhook_answer {
  int status = 0;  ///< of HTTP; 0: there was none, `failure` says why
  std::optional<std::chrono::milliseconds> retry_after{};  ///< of a 429 or 503 that says so; not cut
  std::string failure{};  ///< in a few words, from the node's own list: nothing that the other side wrote
  [[nodiscard]] bool ok() const { return status >= 200 && status < 300; }
};

class webhook_client {
 public:
  webhook_client() = default;
  webhook_client(const webhook_client&) = delete;
  webhook_client& operator=(const webhook_client&) = delete;
  virtual ~webhook_client() = default;
  /// `done` is called exactly once, on a thread of the client's, within its deadlines; after stop() perhaps never. Any
  /// thread. Never blocks. How many may be under way at once is the caller's to bound.
  virtual void post(webhook_post request, std::function<void(webhook_answer)> done) = 0;
  /// Gives up what is under way and ends the threads.
  virtual void stop() = 0;
};

}  // namespace parley::actors
