#include "tests/sim/node.hpp"

namespace parley::sim {

node::node(dice& chance, sim_clock& now, model_store& store, const node_options& options)
    : dice_(chance),
      clock_(now),
      store_(store),
      options_(options) {}

void node::check() const {
  if (!options_.check_inside) return;
  for (const auto& g : gateways_) g->check();
}

void node::forget_killed() {
  killed_rooms_.clear();
  killed_sessions_.clear();
}

}  // namespace parley::sim
