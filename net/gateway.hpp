#pragma once
/// One I/O thread with all that runs on it: listener, sockets, subscriptions, and the gateway actor that takes the
/// actors' messages. CAF stays in gateway_actor.cpp.
/// Threads    construct, start and stop from the thread that runs the node; the rest is safe from any.

#include "actors/node_actors.hpp"
#include "net/gateway_options.hpp"

#include <boost/asio/ip/tcp.hpp>
#include <boost/system/error_code.hpp>

#include <chrono>
#include <functional>
#include <memory>

namespace parley::net {

class gateway_loop;

class gateway {
 public:
  /// Registers the gateway's actor with `actors` as the next number; all gateways exist before one listens.
  gateway(actors::node_actors& actors, const gateway_options& options, node_shared& shared);
  ~gateway();
  gateway(const gateway&) = delete;
  gateway& operator=(const gateway&) = delete;

  /// Before start(): the operator's own listener, on this gateway.
  boost::system::error_code listen_admin(const boost::asio::ip::tcp::endpoint& where);
  [[nodiscard]] boost::asio::ip::tcp::endpoint admin_endpoint() const;
  /// Binds and starts the thread.
  boost::system::error_code start(const boost::asio::ip::tcp::endpoint& where);
  [[nodiscard]] boost::asio::ip::tcp::endpoint local_endpoint() const;
  /// Runs `f` on the I/O thread and waits for it; false: the thread has ended or did not answer within `deadline`.
  bool run_on_loop(const std::function<void(gateway_loop&)>& f, std::chrono::milliseconds deadline);
  /// Ends the thread: what is open is dropped.
  void stop();

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace parley::net
