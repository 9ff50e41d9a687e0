#pragma once
/// The one set of handlers that every actor of ours has: an exception that leaves a handler is counted, told to the
/// directory and ends the actor; an unmatched message is counted; nothing is silent. (CAF's defaults: docs/architecture.md.)

#include "actors/messages_caf.hpp"
#include "actors/node_actors.hpp"

#include <atomic>
#include <cstdint>

namespace parley::actors {

class actor_base : public caf::event_based_actor {
 public:
  /// `live`: counted up while the actor lives; nullptr: not counted.
  actor_base(caf::actor_config& config, node_gauges& gauges, std::atomic<std::int64_t>* live);
  ~actor_base() override;

 protected:
  /// An exception left a handler; the actor is about to end.
  virtual void on_failure() {}

 private:
  node_gauges& gauges_;
  std::atomic<std::int64_t>* live_;
};

}  // namespace parley::actors
