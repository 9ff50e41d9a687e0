// caf_node_actor.cpp: the real shells (actors/*_actor.cpp) on CAF's scheduler for tests, which runs nothing by itself.
// Chance picks which actor, which gateway or which query goes on; time is the simulation's, and CAF's clock follows it.

#include "actors/actor_system.hpp"
#include "tests/sim/gateway.hpp"
#include "tests/sim/node.hpp"

#include <caf/actor_companion.hpp>
#include <caf/scheduler/test_coordinator.hpp>

#include <deque>
#include <utility>

namespace parley::sim {

using namespace actors;

namespace {

/// Every question is answered from what is committed when it is asked.
class latest_reader final : public store::reader {
 public:
  latest_reader(model_store& store, dice& chance) : store_(store), dice_(chance) {}

  result<store::positions> positions(tenant_no tenant, const user_id& user) override {
    return ask(&model_reader::positions, tenant, user);
  }
  result<store::checked_rooms> check(tenant_no tenant, const user_id& user,
                                     const std::vector<room_id>& rooms) override {
    return ask(&model_reader::check, tenant, user, rooms);
  }
  result<store::log_page> page(room_no room, room_seq after, room_seq to, std::size_t max_entries,
                               std::size_t max_bytes) override {
    return ask(&model_reader::page, room, after, to, max_entries, max_bytes);
  }
  result<std::optional<store::room_view>> room(tenant_no tenant, room_id room,
                                               const std::optional<user_id>& self) override {
    return ask(&model_reader::room, tenant, room, self);
  }
  result<bool> room_exists(tenant_no tenant, room_id room) override {
    return ask(&model_reader::room_exists, tenant, room);
  }
  result<store::room_list> rooms_of(tenant_no tenant, const user_id& user, std::size_t limit,
                                    std::string_view cursor, std::size_t offset) override {
    return ask(&model_reader::rooms_of, tenant, user, limit, cursor, offset);
  }
  result<store::room_list> rooms_of_tenant(tenant_no tenant, std::size_t limit,
                                           std::string_view cursor, std::size_t offset) override {
    return ask(&model_reader::rooms_of_tenant, tenant, limit, cursor, offset);
  }
  result<store::member_list> members(room_no room, std::size_t limit, std::string_view cursor,
                                     std::size_t offset) override {
    return ask(&model_reader::members, room, limit, cursor, offset);
  }
  result<store::history_page> history(room_no room, store::page_position from, std::size_t limit,
                                      bool messages_only, std::size_t offset) override {
    return ask(&model_reader::history, room, from, limit, messages_only, offset);
  }
  result<store::audience> audience(tenant_no tenant, const user_id& user, std::int64_t max_members,
                                   std::size_t max_rooms) override {
    return ask(&model_reader::audience, tenant, user, max_members, max_rooms);
  }
  result<std::optional<user_id>> in_too_many_rooms(tenant_no tenant, room_id room,
                                                   const std::vector<user_id>& users,
                                                   const std::optional<user_id>& caller, bool joins,
                                                   std::uint32_t max) override {
    return ask(&model_reader::in_too_many_rooms, tenant, room, users, caller, joins, max);
  }
  result<store::presence_list> presence(tenant_no tenant, const std::optional<user_id>& self,
                                        const std::vector<user_id>& users) override {
    return ask(&model_reader::presence, tenant, self, users);
  }
  result<store::sender_lookup> look_up(room_no room, const user_id& user,
                                       const std::optional<hash128>& key,
                                       utc_time keys_since) override {
    return ask(&model_reader::look_up, room, user, key, keys_since);
  }
  result<std::vector<store::member_row>> owners(room_no room) override {
    return ask(&model_reader::owners, room);
  }
  result<bool> is_message(room_no room, message_id message) override {
    return ask(&model_reader::is_message, room, message);
  }
  result<std::optional<entry>> message(room_no room, message_id message) override {
    return ask(&model_reader::message, room, message);
  }
  result<std::optional<store::tenant_row>> tenant_by_api_key(const sha256_digest& digest) override {
    return ask(&model_reader::tenant_by_api_key, digest);
  }
  result<std::optional<store::tenant_row>> tenant(const tenant_id& id) override {
    return ask(&model_reader::tenant, id);
  }
  result<store::tenant_list> tenants(std::size_t limit, std::string_view cursor) override {
    return ask(&model_reader::tenants, limit, cursor);
  }
  result<store::tenant_usage_list> tenant_usage(std::size_t limit, std::string_view cursor,
                                                std::int64_t count_max) override {
    return ask(&model_reader::tenant_usage, limit, cursor, count_max);
  }
  result<std::optional<store::tenant_row>> tenant_by_key(const key_id& key) override {
    return ask(&model_reader::tenant_by_key, key);
  }
  result<std::optional<utc_time>> revoked_before(tenant_no tenant, const user_id& user) override {
    return ask(&model_reader::revoked_before, tenant, user);
  }
  result<std::optional<store::job_row>> job(std::string_view id) override {
    return ask(&model_reader::job, id);
  }
  result<store::job_list> jobs(std::size_t limit, std::string_view cursor) override {
    return ask(&model_reader::jobs, limit, cursor);
  }
  result<std::optional<store::user_export_page>> export_user(tenant_no tenant, const user_id& user,
                                                             std::string_view cursor,
                                                             std::size_t max_rows,
                                                             std::size_t max_bytes) override {
    return ask(&model_reader::export_user, tenant, user, cursor, max_rows, max_bytes);
  }

 private:
  template <class R, class... Parameters, class... Arguments>
  R ask(R (model_reader::*question)(Parameters...), Arguments&&... arguments) {
    if (dice_.permille(store_.faults.read))
      return unavailable("the model's disk cannot be read", std::chrono::milliseconds{100});
    model_reader snapshot{store_.committed()};
    return (snapshot.*question)(std::forward<Arguments>(arguments)...);
  }
  model_store& store_;
  dice& dice_;
};

class model_database final : public store::database {
 public:
  model_database(model_store& store, dice& chance) : store_(store), dice_(chance) {}
  [[nodiscard]] store::writer& writer() override { return store_; }
  [[nodiscard]] result<std::unique_ptr<store::reader>> new_reader() override {
    return std::unique_ptr<store::reader>{std::make_unique<latest_reader>(store_, dice_)};
  }
  [[nodiscard]] epoch_id epoch() const override { return epoch_id{"epoch-1"}; }
  [[nodiscard]] const store::start_report& report() const override { return report_; }

 private:
  model_store& store_;
  dice& dice_;
  store::start_report report_;
};

class caf_node final : public node {
 public:
  caf_node(dice& chance, sim_clock& now, random_source& random, model_store& store,
           const node_options& options)
      : node(chance, now, store, options),
        database_(store, chance) {
    node_actors_options a;
    a.directory = options.directory;
    a.session = options.session;
    a.scheduler_threads = 0;
    a.readers.threads = 0;
    a.admission_rows = options.admission_rows;
    a.maintain_interval = std::chrono::seconds{1};  // seldom enough that nothing happens in between
    a.fatal = [this](const error&) { fatal_ = true; };
    actors_ = std::make_unique<node_actors>(database_, a, clock_, random);
    caf_time_ = clock_.mono();
    auto& c = context();
    for (std::size_t g = 0; g < options.gateways; ++g) {
      const gateway_no no{static_cast<std::uint32_t>(g)};
      gateways_.push_back(std::make_unique<gateway>(*this, no, options.subscriptions));
      inboxes_.push_back(std::make_unique<inbox>());
      auto companion = c.system->spawn<caf::actor_companion, caf::hidden>();
      static_cast<caf::actor_companion*>(caf::actor_cast<caf::abstract_actor*>(companion))
          ->on_enqueue([in = inboxes_.back().get()](caf::mailbox_element_ptr element) {
            in->push_back(std::move(element));
          });
      c.gateways.push_back(companion);
      companions_.push_back(std::move(companion));
    }
  }

  ~caf_node() override {
    // The process is gone: nobody hears what its actors say at their end, and the store forgets what was not committed.
    for (const auto& companion : companions_) {
      static_cast<caf::actor_companion*>(caf::actor_cast<caf::abstract_actor*>(companion))
          ->on_enqueue([](const caf::mailbox_element_ptr&) {});
    }
    for (auto& in : inboxes_) in->clear();
    gateways_.clear();
    caf::anon_send(context().directory, stop_signal{});
    scheduler().run();
    store_.crash();
    store_.faults = {};
    caf::anon_send(context().storage, stop_signal{});
    scheduler().run();
    context().gateways.clear();
    companions_.clear();
    actors_->stop(std::chrono::seconds{1});
  }

  [[nodiscard]] std::shared_ptr<admission> budget() const override { return actors_->budget(); }
  [[nodiscard]] std::size_t rooms() const override {
    return static_cast<std::size_t>(actors_->gauges().live_rooms.load());
  }
  [[nodiscard]] std::size_t sessions() const override {
    return static_cast<std::size_t>(actors_->gauges().live_sessions.load());
  }

  bool deliver_one() override {
    follow_the_clock();
    auto& jobs = scheduler().jobs;
    std::vector<std::size_t> full;
    for (std::size_t g = 0; g < inboxes_.size(); ++g) {
      if (!inboxes_[g]->empty()) full.push_back(g);
    }
    const bool asked = context().readers->queued() > 0;
    const auto choices = jobs.size() + full.size() + (asked ? 1 : 0);
    if (choices == 0) return false;
    auto pick = dice_.below(choices);
    if (pick < jobs.size()) {
      std::swap(jobs[pick], jobs.front());
      label_ = "an actor";
      scheduler().run_once();
      expect(actors_->gauges().exceptions.load() == 0, "an actor ended by an exception");
      expect(actors_->gauges().unmatched.load() == 0, "an actor got a message it does not know");
    } else if (pick -= jobs.size(); pick < full.size()) {
      label_ = "to a gateway";
      auto& in = *inboxes_[full[pick]];
      const auto element = std::move(in.front());
      in.pop_front();
      deliver(at(full[pick]), element->content());
      if (options_.check_inside) at(full[pick]).check();
    } else {
      label_ = "a query";
      context().readers->run_one();
    }
    return true;
  }
  [[nodiscard]] const char* last_label() const override { return label_; }
  void hurry(bool) override {}
  // Storage runs by itself, when its mailbox is empty: as in production.
  [[nodiscard]] bool storage_has_work() const override { return false; }
  void run_storage() override {}
  void maintain_storage() override {}
  void tick_directory() override {
    clock_.advance(std::chrono::milliseconds{2001});
    follow_the_clock();
  }
  bool wake_sessions() override { return follow_the_clock(); }
  [[nodiscard]] bool sessions_wait() const override {
    // The ticks of directory and storage are always there.
    return scheduler().clock().schedule().size() > 2;
  }
  bool kill_a_room() override { return false; }
  bool kill_a_session() override { return false; }

  void to_directory(gateway_no from, const room_command_ptr& m) override {
    tell_directory(from, m);
  }
  void to_directory(gateway_no from, const attach_ptr& m) override { tell_directory(from, m); }
  void to_directory(gateway_no from, const detach_ptr& m) override { tell_directory(from, m); }
  void to_directory(gateway_no from, const move_cursors_ptr& m) override {
    tell_directory(from, m);
  }
  void to_directory(gateway_no from, const set_presence_ptr& m) override {
    tell_directory(from, m);
  }
  void to_directory(gateway_no from, const type_in_room_ptr& m) override {
    tell_directory(from, m);
  }
  void to_storage(gateway_no from, const create_room_ptr& m) override {
    caf::send_as(companions_[from.value], context().storage, m);
  }
  bool read(gateway_no from, call_no call, tenant_no tenant, read_query q) override {
    if (dice_.permille(options_.read_refused)) return false;
    return context().read(caf::actor_cast<caf::actor_addr>(companions_[from.value]), call, tenant,
                          std::move(q));
  }

 private:
  using inbox = std::deque<caf::mailbox_element_ptr>;

  [[nodiscard]] actor_context& context() const { return actors_->context(); }
  [[nodiscard]] caf::scheduler::test_coordinator& scheduler() const {
    return dynamic_cast<caf::scheduler::test_coordinator&>(context().system->scheduler());
  }
  template <class M>
  void tell_directory(gateway_no from, const M& m) {
    caf::send_as(companions_[from.value], context().directory, m);
  }
  /// True: something was due.
  bool follow_the_clock() {
    const auto passed = clock_.mono() - std::exchange(caf_time_, clock_.mono());
    return passed.count() > 0 &&
           scheduler().clock().advance_time(
               std::chrono::duration_cast<caf::actor_clock::duration_type>(passed)) > 0;
  }
  static void deliver(gateway& to, caf::type_erased_tuple& content) {
    caf::message_handler handlers{
        [&](const publish_ptr& m) { to.on(m); },
        [&](const replies_ptr& m) { to.on(m); },
        [&](const read_answer_message& m) { to.on(m.call, *m.result); },
        [&](const attached& m) { to.on(m); },
        [&](const cursors_stored_ptr& m) { to.on(m); },
        [&](const receipt_ptr& m) { to.on(m); },
        [&](const cursors_shown_ptr& m) { to.on(m); },
        [&](const presence_shown_ptr& m) { to.on(m); },
        [&](const typing_shown_ptr& m) { to.on(m); },
        [&](const session_done_ptr& m) { to.on(m); },
        [&](const close_connection& m) { to.on(m); },
        [&](const created_ptr& m) { to.on(m); },
        [&](const session_lost& m) { to.on(m); },
    };
    expect(static_cast<bool>(handlers(content)), "a gateway got a message that it does not know");
  }

  model_database database_;
  std::unique_ptr<node_actors> actors_;
  mono_time caf_time_{};
  std::vector<caf::actor> companions_;
  std::vector<std::unique_ptr<inbox>> inboxes_;
  const char* label_ = "";
};

}  // namespace

std::unique_ptr<node> make_caf_node(dice& chance, sim_clock& now, random_source& random,
                                    model_store& store, const node_options& options) {
  return std::make_unique<caf_node>(chance, now, random, store, options);
}

}  // namespace parley::sim
