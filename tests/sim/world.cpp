#include "tests/sim/world.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace parley::sim {

using namespace actors;
using std::chrono::milliseconds;

namespace {
constexpr std::array<const char*, 6> names{"ann", "bob", "cyd", "dan", "eve", "fay"};

}  // namespace

weather weather_of(std::uint64_t seed) {
  dice chance{seed ^ 0x77656174686572ULL};
  weather w;
  w.node.gateways = seed % 2 == 0 ? 1 : 3;
  w.node.directory.room_idle = milliseconds{chance.between(50, 2000)};
  w.node.session.presence_grace = milliseconds{50};
  w.node.session.presence_interval = milliseconds{20};
  w.node.session.retry_interval = milliseconds{20};
  w.node.session.typing_interval = milliseconds{10};
  w.node.session.typing_timeout = milliseconds{30};
  w.node.subscriptions.epoch = epoch_id{"epoch-1"};
  w.node.subscriptions.sync_max_events =
      static_cast<std::uint32_t>(chance.permille(700) ? 1000 : chance.between(1, 12));
  w.node.subscriptions.ring_bytes = chance.permille(600) ? 1 << 20 : chance.below(5000);
  w.tenants = chance.permille(300) ? 2 : 1;
  w.users = chance.between(2, 5);
  w.rooms = chance.between(1, 4);
  w.members_change = 60;
  if (chance.permille(250)) w.bounds.members_in_memory = chance.below(3);
  if (chance.permille(250)) w.bounds.keys_in_memory = chance.below(4);
  if (chance.permille(100)) w.node.admission_rows = chance.between(2, 8);
  if (chance.permille(100))
    w.node.subscriptions.max_subscriptions = static_cast<std::uint32_t>(chance.between(1, 3));
  switch (seed / 2 % 4) {
    case 0:
      w.name = "quiet";
      break;
    case 1:
      w.name = "failures";
      w.faults.item = 15;
      w.faults.batch = 60;
      w.faults.begin = 20;
      w.faults.fatal = 4;
      w.faults.open = 40;
      w.faults.read = 80;
      w.node.read_refused = 50;
      w.disk_fills_up = 1;
      w.crash = 1;
      w.room_dies = 2;
      w.session_dies = 1;
      break;
    case 2:
      w.name = "slow readers";
      w.slow_reader = 600;
      w.slow_line_bytes = chance.between(1500, 6000);
      w.retention = 3;
      w.members_change = 120;
      break;
    default:
      w.name = "churn";
      w.slow_reader = 200;
      w.members_change = 350;
      w.faults.batch = 10;
      w.room_dies = 1;
      w.node.directory.room_idle = milliseconds{chance.between(5, 60)};
      break;
  }
  return w;
}

world::world(std::uint64_t seed, const weather& w)
    : weather_(w),
      dice_(seed),
      random_(dice_),
      store_(dice_, w.bounds),
      ids_(clock_, random_) {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing changes the environment.
  tracing_ = std::getenv("PARLEY_TRACE") != nullptr;
  for (std::size_t t = 1; t <= weather_.tenants; ++t) {
    for (std::size_t u = 0; u < weather_.users; ++u) {
      for (std::size_t n = dice_.between(1, 3); n > 0; --n) {
        auto d = std::make_unique<device>();
        d->user = {tenant_no{static_cast<std::int64_t>(t)}, user_id{names[u]}};
        d->automatic = dice_.permille(500);
        devices_.push_back(std::move(d));
      }
    }
  }
  start_node();
}
world::~world() = default;

void world::trace(const std::string& what) const {
  if (tracing_)
    std::fprintf(stderr, "%6llu %s\n", static_cast<unsigned long long>(steps_), what.c_str());
}

void world::start_node() {
  trace("a node starts");
  store_.faults = weather_.faults;
  node_ = weather_.real_actors
              ? make_caf_node(dice_, clock_, random_, store_, weather_.node)
              : make_bus_node(dice_, clock_, random_, store_, expected_, weather_.node);
  if (tracing_) {
    node_->on_shown = [this](const line& l, const seen_frame& f) {
      trace("  " + l.user.user.value + "/" + std::to_string(l.user.tenant.value) + " g" +
            std::to_string(l.gateway) + " c" + std::to_string(l.ref.value) + " < " +
            f.text.substr(0, 200));
    };
  }
}

void world::end_node() {
  trace("the node is gone");
  node_.reset();
  store_.crash();
  ledger_.node_lost();
  for (auto& d : devices_) {
    if (d->line) d->line->open = false;
    d->line = nullptr;
  }
}

// ---- steps ----------------------------------------------------------------------------------------------------------------

void world::run() {
  for (std::size_t phase = 0; phase < weather_.phases; ++phase) {
    pace_ = static_cast<unsigned>(dice_.between(15, 120));
    actions_left_ = weather_.actions;
    while (actions_left_ > 0) step();
    settle();
    at_rest();
  }
  empty_out();
}

void world::step() {
  ++steps_;
  clock_.advance(milliseconds{dice_.below(3)});
  fail_something();
  const auto roll = dice_.below(1000);
  if (roll < pace_) {
    --actions_left_;
    act();
  } else if (roll < pace_ + 80) {
    if (node_->storage_has_work()) {
      trace("storage runs");
      node_->run_storage();
    }
  } else if (roll < pace_ + 200) {
    auto& g = node_->at(dice_.below(node_->gateways()));
    if (g.run(dice_.between(1, 20))) node_->check();
  } else if (roll < pace_ + 330) {
    auto& d = *dice_.one_of(devices_);
    if (d.line && (!d.slow || dice_.permille(80))) read(d, dice_.between(1, 30));
  } else if (roll < pace_ + 345) {
    node_->at(dice_.below(node_->gateways())).tick();
  } else if (roll < pace_ + 355) {
    node_->tick_directory();
  } else if (roll < pace_ + 365) {
    node_->maintain_storage();
  } else if (roll < pace_ + 375) {
    if (node_->wake_sessions()) trace("sessions wake");
  } else if (node_->deliver_one()) {
    if (tracing_) trace(std::string{"delivered: "} + node_->last_label());
  }
  if (node_->fatal()) {
    end_node();
    start_node();
  }
}

void world::fail_something() {
  if (dice_.permille(weather_.crash) && dice_.permille(500)) {
    end_node();
    start_node();
  }
  if (dice_.permille(weather_.disk_fills_up)) {
    trace("the disk is full");
    store_.faults.full = true;
  } else if (store_.faults.full && dice_.permille(10)) {
    trace("the disk has space");
    store_.faults.full = false;
  }
  if (dice_.permille(weather_.room_dies)) {
    if (node_->kill_a_room()) trace("a room dies");
  }
  if (dice_.permille(weather_.session_dies)) {
    if (node_->kill_a_session()) trace("a session dies");
  }
  if (dice_.permille(weather_.retention) && !store_.committed()->rooms.empty()) {
    auto it = store_.committed()->rooms.begin();
    std::advance(it, dice_.below(store_.committed()->rooms.size()));
    const auto& room = *it->second;
    if (!room.deleted && room.info.last_seq.value > room.info.first_seq.value) {
      const auto to = room.info.first_seq.value +
                      static_cast<std::int64_t>(dice_.below(static_cast<std::size_t>(
                          room.info.last_seq.value - room.info.first_seq.value + 1)));
      trace("retention in room " + std::to_string(room.no.value) + " to " + std::to_string(to));
      store_.retain(room.no, room_seq{to});
    }
  }
}

/// Lets everything come to its end: no more failures, all messages arrive, everybody reads.
void world::settle() {
  trace("all comes to rest");
  store_.faults = {};
  node_->hurry(true);
  for (int quiet = 0; quiet < 4;) {
    bool busy = false;
    while (node_->deliver_one()) {
      ++steps_;
      if (tracing_) trace(std::string{"delivered: "} + node_->last_label());
      busy = true;
    }
    if (node_->storage_has_work()) {
      node_->run_storage();
      busy = true;
    }
    busy |= node_->wake_sessions();
    for (std::size_t g = 0; g < node_->gateways(); ++g) busy |= node_->at(g).run(64);
    for (auto& d : devices_) {
      if (d->line && !d->line->unread.empty()) {
        read(*d, SIZE_MAX);
        busy = true;
      }
    }
    node_->check();
    if (node_->fatal()) throw violation{"a failure without a cause"};
    if (busy) {
      quiet = 0;
      continue;
    }
    quiet = node_->sessions_wait() ? 0 : quiet + 1;
    clock_.advance(milliseconds{100});
    for (std::size_t g = 0; g < node_->gateways(); ++g) node_->at(g).tick();
    node_->maintain_storage();
    if (!node_->killed_rooms().empty()) node_->tick_directory();
  }
  for (std::size_t g = 0; g < node_->gateways(); ++g) {
    node_->at(g).expire_calls(
        [this](const room_command& m) { return node_->killed_rooms().contains(m.room); },
        [this](const user_key& u) { return node_->killed_sessions().contains(u); });
  }
  for (auto& d : devices_) {
    if (!d->line) continue;
    for (const auto& room : node_->killed_rooms()) d->line->eyes.forgive(room);
  }
  node_->forget_killed();
  for (auto& d : devices_) {
    if (d->line && !d->line->open) d->line = nullptr;
    if (d->line && !d->line->unread.empty()) read(*d, SIZE_MAX);
  }
}

void world::at_rest() {
  ledger_.check(*store_.committed());
  if (weather_.faults.item == 0 && weather_.faults.batch == 0) {
    for (const auto& [no, room] : store_.committed()->rooms) {
      const auto owners =
          std::count_if(room->members.begin(), room->members.end(),
                        [](const auto& m) { return m.second.role == member_role::owner; });
      expect(owners <= 1, "SPEC 3 a room has two owners");
    }
  }
  std::size_t lines = 0;
  for (const auto& d : devices_) {
    if (!d->line) continue;
    ++lines;
    d->line->eyes.at_rest();
  }
  std::size_t connections = 0;
  for (std::size_t g = 0; g < node_->gateways(); ++g) {
    connections += node_->at(g).connections();
    expect(node_->at(g).open_calls() == 0, "SPEC 2.5 a call is still open");
    expect(node_->at(g).readers().connections() == node_->at(g).connections(),
           "a gateway forgot a connection");
  }
  expect(connections == lines, "a connection is open on one side only");
  expect(node_->budget()->rows() == 0 && node_->budget()->bytes() == 0,
         "DESIGN 3.1 an admission credit was not given back");
  store_.faults = weather_.faults;
  node_->hurry(false);
}

/// All go home; nothing may stay behind.
void world::empty_out() {
  trace("all go home");
  ending_ = true;
  for (auto& d : devices_) {
    if (d->line) node_->at(d->line->gateway).close(d->line, close_code::normal);
    d->line = nullptr;
  }
  settle();
  at_rest();
  for (std::size_t g = 0; g < node_->gateways(); ++g) {
    const auto& readers = node_->at(g).readers();
    expect(readers.connections() == 0 && readers.size() == 0 && readers.rooms() == 0 &&
               readers.ring_bytes() == 0,
           "a gateway keeps subscriptions of connections that are gone");
  }
  expect(node_->sessions() == 0, "a session stays without connections");
  for (int turn = 0; turn < 3; ++turn) {
    clock_.advance(weather_.node.directory.room_idle * 2);
    node_->tick_directory();
    settle();
  }
  expect(node_->rooms() == 0, "a room that nobody uses does not retire");
}

}  // namespace parley::sim
