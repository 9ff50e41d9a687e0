#include "actors/actor_base.hpp"

#include "protocol/log.hpp"

namespace parley::actors {

actor_base::actor_base(caf::actor_config& config, node_gauges& gauges,
                       std::atomic<std::int64_t>* live)
    : caf::event_based_actor(config),
      gauges_(gauges),
      live_(live) {
  if (live_ != nullptr) live_->fetch_add(1, std::memory_order_relaxed);
  set_exception_handler([this](std::exception_ptr&) -> caf::error {
    gauges_.exceptions.fetch_add(1, std::memory_order_relaxed);
    log(log_level::error, "an exception ended an actor", {{"actor", name()}});
    on_failure();
    return caf::exit_reason::unhandled_exception;
  });
  set_default_handler([this](caf::scheduled_actor*, caf::message_view&) -> caf::result<caf::message> {
    gauges_.unmatched.fetch_add(1, std::memory_order_relaxed);
    log(log_level::error, "an actor got a message that it does not know", {{"actor", name()}});
    return caf::sec::unexpected_message;
  });
  set_error_handler([](caf::scheduled_actor*, caf::error&) {});
  set_down_handler([](caf::scheduled_actor*, caf::down_msg&) {});
}

actor_base::~actor_base() {
  if (live_ != nullptr) live_->fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace parley::actors
