// The outbox over many random histories: endpoints that answer well, slowly, badly or not at all, rooms, members who come
// back, disks that fill up, readers that refuse or answer late, and nodes that are thrown away at any point.

#include "actors/outbox.hpp"
#include "tests/actors/outbox_world.hpp"
#include "tests/sim/chance.hpp"
#include "tests/support/process.hpp"
#include "tests/support/seeds.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace parley::actors {

using namespace words;
using namespace outbox_world;

namespace {

using sim::dice;

class history final : public outbox_ports {
 public:
  explicit history(std::uint64_t seed) : dice_(seed), random_(dice_) {
    options_.herd_window = std::chrono::milliseconds{dice_.below(3) * 500};
    options_.offline_after = 2s;
    options_.offline_max_members = 3;
    options_.retry_interval = 1s;
    options_.retry_max_interval = 20s;
    options_.max_attempts = 1000;
    options_.concurrency = dice_.between(1, 12);
    options_.concurrency_per_endpoint = dice_.between(1, 6);
    bounds_.endpoint_posts = dice_.between(2, 40);
    bounds_.endpoint_lanes = dice_.between(2, 20);
    bounds_.lane_posts = dice_.between(1, 6);
    bounds_.page_bytes = dice_.between(100, 3000);
    bounds_.endpoint_bytes = dice_.between(4, 8) * 1000;
    bounds_.bytes = dice_.between(5, 20) * 1000;
    bounds_.page_reads = dice_.between(1, 3);
    bounds_.unconfirmed = dice_.between(3, 30);
    bounds_.batch_outcomes = dice_.between(1, 10);
    bounds_.scan_entries = dice_.between(1, 12);
    bounds_.list_slice = 2;
    bounds_.list_bytes = 600;
    endpoints_ = dice_.between(1, 4);
    for (std::size_t n = 1; n <= endpoints_; ++n) {
      const tenant_no tenant{static_cast<std::int64_t>(n)};
      store_.add_tenant(tenant, {first_secret});
      kinds_[tenant] = static_cast<kind>(dice_.below(4));
      const auto mask = dice_.permille(800) ? mask_of(event_type::message_created) : event_mask{0};
      store_.set_endpoint(tenant, mask, url_of(tenant));
      for (std::int64_t r = 0; r < 4; ++r) {
        auto& room = store_.rooms[room_of(tenant, r)];
        const auto members = dice_.between(1, 5);
        for (std::size_t m = 0; m < members; ++m)
          room.members.push_back({user_no_of(m), room_seq{0}, room_seq{0}});
      }
    }
    start();
  }

  void live(std::size_t steps) {
    for (std::size_t n = 0; n < steps; ++n) {
      act();
      check();
    }
  }
  /// Nothing fails any more: whatever is wanted comes, within the rest of a breaker and the longest pause, and without the
  /// outbox's look, each minute, for what it has heard nothing of.
  void come_to_rest() {
    calm_ = true;
    for (auto& [tenant, k] : kinds_) k = kind::healthy;
    for (int n = 0; n < 450 && !(is_done() && n > 60); ++n) {
      clock_.at += 100ms;
      if (box_->wants_ticks()) box_->tick();
      while (read_one() || hear_one() || commit_one() || (!requests_.empty() && answer_one())) {}
      check();
    }
    for (const auto& [tenant, e] : store_.endpoints)
      sim::expect(store_.waiting(tenant) == 0, "SPEC 6 a row is never sent");
    for (const auto& event : wanted_)
      sim::expect(delivered_.count(event) != 0, "SPEC 6 an event is lost", [&] { return event; });
    sim::expect(box_->loaded_bytes() == 0, "bounds: something is still in memory");
    sim::expect(box_->unconfirmed() == 0, "bounds: something is still unconfirmed");
  }
  [[nodiscard]] std::size_t delivered() const { return delivered_.size(); }

 private:
  enum class kind : std::uint8_t { healthy, slow, dead, flapping };
  struct request {
    std::uint64_t attempt;
    tenant_no tenant;
    std::string event;
    room_no room;
    std::string kind;  ///< of the event
  };
  struct heard {
    call_no call;
    read_result result;
  };

  static room_no room_of(tenant_no tenant, std::int64_t n) {
    return room_no{tenant.value * 100 + n};
  }
  void start() {
    box_ = std::make_unique<outbox>(*this, clock_, random_, options_, sealing_key,
                                    box_ ? box_->last_no() : 0, bounds_);
    box_->start();
  }
  /// The node is killed: what is not committed is gone, and nobody hears any answer.
  void crash() {
    reads_.clear();
    results_.clear();
    const auto survive = applies_.empty() ? 0 : dice_.below(applies_.size() + 1);
    for (std::size_t n = 0; n < survive; ++n) store_.apply(applies_[n]->batch);
    applies_.clear();
    applied_.clear();
    for (const auto& r : requests_) {
      if (dice_.permille(300) && is_good(r.tenant)) deliver(r);
    }
    requests_.clear();
    done_.clear();
    told_ = false;
    start();
  }
  void act() {
    const auto chance = dice_.below(100);
    if (chance < 4) return say();
    if (chance < 27) return void(read_one());
    if (chance < 48) return void(hear_one());
    if (chance < 62) return void(commit_one());
    if (chance < 66) return void(hear_commit());
    if (chance < 80) return void(answer_one());
    if (chance < 83) return ack();
    if (chance < 84) return fill_disk();
    if (chance < 85) return change_endpoint();
    if (dice_.permille(30)) return crash();
    clock_.at +=
        std::chrono::milliseconds{dice_.below(10) == 0 ? dice_.below(8000) : dice_.below(120)};
    if (box_->wants_ticks()) box_->tick();
  }
  void say() {
    const tenant_no tenant{static_cast<std::int64_t>(dice_.below(endpoints_)) + 1};
    const auto burst = dice_.permille(50) ? 10U : 1U;
    for (unsigned n = 0; n < burst; ++n) {
      const auto room = room_of(tenant, static_cast<std::int64_t>(dice_.below(4)));
      store_.log.push_back({tenant, room, std::string(dice_.below(200), 'x'), clock_.at});
      const auto id = store_.end().value;
      const auto e = store_.endpoints.find(tenant);
      if (e != store_.endpoints.end() &&
          (e->second.events & mask_of(event_type::message_created)) != 0)
        wanted_.insert(said(id));
      // The first member never comes back.
      const bool big = store_.rooms[room].members.size() > 3;
      if (e != store_.endpoints.end()) wanted_.insert(missed(id, big ? 0 : 1));
    }
    tell();
  }
  void tell() {
    const bool told = std::exchange(told_, false);
    if (!told && store_.news.empty()) return;
    outbox_news news{{store_.news.begin(), store_.news.end()}, true};
    store_.news.clear();
    box_->on(news);
  }
  /// A member comes back and has everything.
  void ack() {
    auto it = store_.rooms.begin();
    std::advance(it, static_cast<std::ptrdiff_t>(dice_.below(store_.rooms.size())));
    auto& members = it->second.members;
    if (members.size() > 1)
      members[dice_.between(1, members.size() - 1)].last_ack = room_seq{store_.end().value};
  }
  void fill_disk() { disk_full_until_ = clock_.at + std::chrono::milliseconds{dice_.below(3000)}; }
  /// Something that changes nothing of what is wanted: all is read again.
  void change_endpoint() {
    store::tenant_row row;
    row.no = tenant_no{static_cast<std::int64_t>(dice_.below(endpoints_)) + 1};
    row.id = id_of(row.no);
    box_->on(tenant_changed{call_no{}, row});
  }
  bool read_one() {
    if (reads_.empty()) return false;
    const auto at = calm_ ? 0 : dice_.below(reads_.size());  // several readers
    auto [call, query] = std::move(reads_[at]);
    reads_.erase(reads_.begin() + static_cast<std::ptrdiff_t>(at));
    const bool fails = !calm_ && dice_.permille(50);
    results_.push_back(
        {call, fails ? read_result{error{error_code::unavailable, "no"}} : store_.run(query)});
    return true;
  }
  bool hear_one() {
    if (results_.empty()) return false;
    const auto at = calm_ ? 0 : dice_.below(results_.size());
    const auto result = std::move(results_[at]);
    results_.erase(results_.begin() + static_cast<std::ptrdiff_t>(at));
    box_->on(result.call, result.result);
    return true;
  }
  bool commit_one() {
    if (!applies_.empty()) {
      const auto m = std::move(applies_.front());
      applies_.erase(applies_.begin());
      auto failure = !calm_ && clock_.at < disk_full_until_
                         ? std::optional{error{error_code::unavailable, "the disk is full"}}
                         : store_.apply(m->batch);
      applied_.push_back({m->call, std::move(failure)});
      if (calm_ || dice_.permille(600)) hear_commit();
      return true;
    }
    return hear_commit();
  }
  bool hear_commit() {
    if (applied_.empty()) return false;
    const auto m = std::move(applied_.front());
    applied_.erase(applied_.begin());
    box_->on(m);
    tell();
    return true;
  }
  bool is_good(tenant_no tenant) {
    switch (kinds_.at(tenant)) {
      case kind::healthy:
        return true;
      case kind::slow:
        return true;
      case kind::dead:
        return false;
      case kind::flapping:
        break;
    }
    return dice_.permille(500);
  }
  bool answer_one() {
    if (requests_.empty()) return false;
    const auto at = dice_.below(requests_.size());
    const auto r = requests_[at];
    if (!calm_ && kinds_.at(r.tenant) == kind::slow && dice_.permille(700)) return false;
    requests_.erase(requests_.begin() + static_cast<std::ptrdiff_t>(at));
    webhook_answer answer{200};
    if (is_good(r.tenant)) {
      deliver(r);
    } else if (dice_.permille(500)) {
      answer = {503, dice_.permille(300) ? std::optional{3s} : std::nullopt};
    } else {
      answer = {0, std::nullopt, "connection refused"};
    }
    if (answer.ok()) done_.insert(r.event);
    box_->on_answer(r.attempt, answer);
    return true;
  }
  /// The endpoint has it: the first time in the order of its room.
  void deliver(const request& r) {
    if (!delivered_.insert(r.event).second) return;
    auto& last = last_of_[{r.room, r.kind}];
    const auto id = log_of(r.event);
    sim::expect(id >= last, "SPEC 6 a room's events are out of order", [&] { return r.event; });
    last = id;
  }
  static std::int64_t log_of(const std::string& event) { return std::stoll(event.substr(6)); }

  void check() const {
    sim::expect(
        box_->loaded_bytes() <= bounds_.bytes + bounds_.page_reads * 1000,
        "bounds: too much in memory");  // a row, of at most 1 kB, always fits where there is none
    sim::expect(box_->unconfirmed() <= bounds_.unconfirmed + options_.concurrency,
                "bounds: too many outcomes");
    sim::expect(store_.page_items_max <= bounds_.endpoint_posts, "bounds: too large a page");
    if (requests_.empty()) return;
    sim::expect(requests_.size() <= options_.concurrency, "bounds: too many requests");
    std::map<tenant_no, std::size_t> of;
    std::set<room_no> lanes;
    for (const auto& r : requests_) {
      sim::expect(++of[r.tenant] <= options_.concurrency_per_endpoint,
                  "bounds: too many requests of an endpoint");
      sim::expect(lanes.insert(r.room).second, "SPEC 6 two requests of a room at once");
    }
  }
  [[nodiscard]] bool is_done() const {
    if (!requests_.empty() || !reads_.empty() || !applies_.empty()) return false;
    for (const auto& [tenant, e] : store_.endpoints) {
      if (store_.waiting(tenant) != 0) return false;
    }
    return store_.events == store_.end() && store_.offline == store_.end() &&
           box_->loaded_bytes() == 0 && box_->unconfirmed() == 0;
  }

  bool read(call_no call, tenant_no, read_query q) override {
    if (!calm_ && dice_.permille(40)) return false;
    reads_.emplace_back(call, std::move(q));
    return true;
  }
  void apply(apply_outbox_ptr m) override { applies_.push_back(std::move(m)); }
  void post(std::uint64_t attempt, webhook_post what) override {
    std::string event;
    for (const auto& [key, value] : what.headers) {
      if (key == "webhook-id") event = value;
    }
    sim::expect(done_.count(event) == 0, "SPEC 6 a good answer was forgotten without a crash",
                [&] { return event; });
    const auto& m = store_.log[static_cast<std::size_t>(log_of(event) - 1)];
    sim::expect(what.url == url_of(m.tenant), "SPEC 2.7 an event is sent to another tenant");
    if (event == missed(log_of(event)))
      sim::expect(what.body.find("user0") != std::string::npos, "SPEC 6 a recipient is not named");
    requests_.push_back({attempt, m.tenant, event, m.room, event.substr(0, 5)});
  }
  void answer(gateway_no, webhook_called_ptr) override {}
  void wishes(tenant_no, bool) override {}
  void wait_for_log() override { told_ = true; }
  void observe_attempt(std::chrono::nanoseconds) override {}
  void observe_delay(std::chrono::nanoseconds) override {}

  dice dice_;
  sim::sim_random random_;
  still_clock clock_;
  outbox_options options_;
  outbox_bounds bounds_;
  model_store store_;
  std::unique_ptr<outbox> box_;
  std::size_t endpoints_ = 0;
  std::map<tenant_no, kind> kinds_;
  std::vector<std::pair<call_no, read_query>> reads_;
  std::vector<heard> results_;
  std::vector<apply_outbox_ptr> applies_;
  std::vector<outbox_applied> applied_;
  std::vector<request> requests_;
  std::set<std::string> wanted_;
  std::set<std::string> delivered_;
  std::set<std::string> done_;  ///< that this outbox was told of
  std::map<std::pair<room_no, std::string>, std::int64_t> last_of_;
  utc_time disk_full_until_{};
  bool told_ = false;
  bool calm_ = false;
};

tests::finished histories_with(const std::string& defect) {
  return tests::run({.command = {std::filesystem::read_symlink("/proc/self/exe").string(),
                                 "--test-case=whatever happens*"},
                     .env = {{"PARLEY_BREAK", defect}}},
                    std::chrono::seconds{120});
}

}  // namespace

TEST_SUITE("SPEC 6 webhooks: at least once, in order, within bounds") {
  TEST_CASE("whatever happens, every event comes, each room's in order, and nothing grows") {
    std::size_t delivered = 0;
    tests::for_each_seed(300, [&](std::uint64_t seed) {
      history h{seed};
      try {
        h.live(600);
        h.come_to_rest();
      } catch (const sim::violation& broken) {
        FAIL(std::string{broken.what()});
      }
      delivered += h.delivered();
    });
    MESSAGE(delivered << " events delivered");
    CHECK(delivered > 300);
  }
}

TEST_SUITE("DESIGN 10 planted defects are caught") {
  TEST_CASE("outbox_position_first: the position is moved before its rows are stored") {
    const auto broken = histories_with("outbox_position_first");
    CHECK(broken.status != 0);
    CHECK_MESSAGE(broken.out.find("SPEC 6 an event is lost") != std::string::npos, broken.out);
  }
  TEST_CASE("outbox_settle_early: an event is done when its request is sent") {
    const auto broken = histories_with("outbox_settle_early");
    CHECK(broken.status != 0);
    CHECK_MESSAGE(broken.out.find("SPEC 6 an event is lost") != std::string::npos, broken.out);
  }
}

}  // namespace parley::actors
