#pragma once
/// Questions that REST handlers have asked the actors and wait for, by correlation id, each with its deadline. An answer
/// that comes after its deadline is dropped and counted (I4).
/// Owner      one gateway, on its I/O thread; not thread-safe.
/// Bound      one entry a request in work (http_server bounds those).

#include "actors/messages.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <variant>

namespace parley::net {

/// monostate: the deadline came first.
using call_answer =
    std::variant<std::monostate, actors::room_outcome, actors::created_ptr, actors::tenant_created_ptr,
                 actors::cursors_stored_ptr, std::shared_ptr<const actors::read_result>,
                 actors::authenticated_ptr, actors::tenant_changed_ptr, actors::disconnected,
                 actors::notification_created_ptr, actors::webhook_called_ptr>;

class call_table {
 public:
  explicit call_table(boost::asio::io_context& io) : io_(io) {}
  call_table(const call_table&) = delete;
  call_table& operator=(const call_table&) = delete;

  /// Call numbers of this table have this bit, so that they differ from those of subscriptions.
  static constexpr std::uint64_t call_bit = std::uint64_t{1} << 63U;

  /// A fresh number; the caller asks with it and then waits.
  actors::call_no begin();
  boost::asio::awaitable<call_answer> wait(actors::call_no call, std::chrono::milliseconds timeout);
  /// False: nobody waits (any more).
  bool complete(actors::call_no call, call_answer answer);
  [[nodiscard]] std::size_t size() const { return pending_.size(); }
  [[nodiscard]] std::uint64_t late() const { return late_; }

 private:
  struct pending {
    boost::asio::steady_timer timer;
    call_answer answer{};
  };
  boost::asio::io_context& io_;
  std::unordered_map<actors::call_no, std::unique_ptr<pending>> pending_;
  std::uint64_t last_ = call_bit;
  std::uint64_t late_ = 0;
};

}  // namespace parley::net
