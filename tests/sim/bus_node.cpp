// bus_node.cpp: shells that only put their messages on the fake bus. The real ones are actors/*_actor.cpp.

#include "actors/group_commit.hpp"
#include "actors/room.hpp"
#include "tests/sim/bus.hpp"
#include "tests/sim/node.hpp"

#include <algorithm>
#include <map>
#include <utility>

namespace parley::sim {

using namespace actors;

namespace {
constexpr address the_directory{party::directory};
constexpr address the_storage{party::storage};
address of(gateway_no g) { return {party::gateway, g.value}; }
address room_address(instance_no i) { return {party::room, i.value}; }
address session_address(instance_no i) { return {party::session, i.value}; }
}  // namespace

class bus_node final : public node {
 public:
  bus_node(dice& chance, sim_clock& now, random_source& random, model_store& store,
           expected_frames& expected, const node_options& options);
  ~bus_node() override;

  [[nodiscard]] std::shared_ptr<admission> budget() const override { return budget_; }
  [[nodiscard]] std::size_t rooms() const override {
    return std::max(rooms_.size(), directory_->rooms());
  }
  [[nodiscard]] std::size_t sessions() const override {
    return std::max(sessions_.size(), directory_->sessions());
  }
  bool deliver_one() override { return messages.deliver_one(); }
  [[nodiscard]] const char* last_label() const override { return messages.last_label(); }
  void hurry(bool yes) override { messages.hurry(yes); }
  [[nodiscard]] bool storage_has_work() const override;
  void run_storage() override;
  void maintain_storage() override;
  void tick_directory() override;
  bool wake_sessions() override;
  [[nodiscard]] bool sessions_wait() const override;
  bool kill_a_room() override;
  bool kill_a_session() override;

  void to_directory(gateway_no from, const room_command_ptr& m) override;
  void to_directory(gateway_no from, const attach_ptr& m) override;
  void to_directory(gateway_no from, const detach_ptr& m) override;
  void to_directory(gateway_no from, const move_cursors_ptr& m) override;
  void to_directory(gateway_no from, const set_presence_ptr& m) override;
  void to_directory(gateway_no from, const type_in_room_ptr& m) override;
  void to_storage(gateway_no from, const create_room_ptr& m) override;
  bool read(gateway_no from, call_no call, tenant_no tenant, read_query q) override;

 private:
  class directory_shell;
  class storage_shell;
  class room_shell;
  class session_shell;
  friend class directory_shell;
  friend class storage_shell;
  friend class room_shell;
  friend class session_shell;

  template <class M>
  void storage_take(const M& m);
  template <class F>
  void with_room(instance_no room, F&& step);
  void publish(const publish_ptr& m);
  void to_gateway(address from, gateway_no gateway, const char* label,
                  std::function<void(sim::gateway&)> deliver);
  void to_room(address from, instance_no room, const char* label,
               std::function<void(actors::room&)> deliver);
  void to_session(address from, instance_no session, const char* label,
                  std::function<void(actors::session&)> deliver);
  void check_committed(const room_key& room, room_seq seq, const message_id& message) const;

  bool read(address asker, call_no call, read_query q,
            std::function<void(call_no, const read_result&)> answer);

  bus messages;
  random_source& random_;
  expected_frames& expected_;
  std::shared_ptr<admission> budget_;
  std::unique_ptr<storage_shell> storage_;
  std::unique_ptr<directory_shell> directory_ports_;
  std::unique_ptr<actors::directory> directory_;
  std::map<instance_no, std::unique_ptr<room_shell>> rooms_;
  std::map<instance_no, std::unique_ptr<session_shell>> sessions_;
  std::map<room_key, std::uint64_t> log_numbers_;  ///< of rooms' publishes, for the bus
};

// ---- shells -----------------------------------------------------------------------------------------------------------

class bus_node::room_shell final : public room_ports {
 public:
  room_shell(bus_node& n, instance_no i, const room_key& key)
      : node_(n),
        key_(key),
        instance_(i),
        ids_(n.clock_, n.random_),
        room_(key, i, *this, n.clock_, ids_, {}) {}

  room& decisions() { return room_; }
  [[nodiscard]] const room_key& key() const { return key_; }
  [[nodiscard]] bool owns() const { return owns_; }

  void open(open_room_ptr m) override {
    node_.messages.send(room_address(instance_), the_storage, "open",
                        [n = &node_, m] { n->storage_take(m); });
  }
  void append(append_ptr m) override {
    node_.messages.send(room_address(instance_), the_storage, "append",
                        [n = &node_, m] { n->storage_take(m); });
  }
  void delete_room(delete_room_ptr m) override {
    node_.messages.send(room_address(instance_), the_storage, "delete",
                        [n = &node_, m] { n->storage_take(m); });
  }
  void close(close_room m) override {
    node_.messages.send(room_address(instance_), the_storage, "close",
                        [n = &node_, m] { n->storage_take(m); });
  }
  void answer(gateway_no g, replies_ptr m) override {
    for (const auto& item : m->items) {
      if (const auto* sent = std::get_if<send_result>(&item.outcome)) {
        node_.check_committed(key_, sent->accepted.seq, sent->accepted.message);
      } else if (const auto* joined = std::get_if<room_result>(&item.outcome)) {
        node_.check_committed(key_, joined->info.last_seq, {});
      } else if (const auto* added = std::get_if<members_result>(&item.outcome)) {
        for (const auto& row : added->added) node_.check_committed(key_, row.joined_seq, {});
      }
    }
    node_.to_gateway(room_address(instance_), g, "replies", [m](gateway& to) { to.on(m); });
  }
  void publish(publish_ptr m) override {
    const auto& stored = *node_.store_.committed()->find(key_);
    for (std::size_t at = 0; at < m->frames.size(); ++at) {
      const room_seq seq{m->first_seq.value + static_cast<std::int64_t>(at)};
      expect(seq <= stored.info.last_seq, "I1 an entry is published before its commit");
      expect(m->frames[at]->payload() == node_.expected_.at(stored, seq, m->commit),
             "I1 an entry is published that is stored otherwise");
    }
    for (const auto& w : m->rewrites) {
      expect(w.frame->payload() == node_.expected_.at(stored, w.message->seq, m->commit),
             "SPEC 1 a message is rewritten otherwise than it is stored");
    }
    node_.publish(m);
  }
  bool look_up(call_no call, lookup_query q) override {
    return node_.read(room_address(instance_), call, std::move(q),
                      [n = &node_, i = instance_](call_no c, const read_result& r) {
                        n->with_room(i, [&](room& to) { to.on(c, r); });
                      });
  }
  void retired(room_retired m) override {
    if (m.retired) owns_ = false;
    node_.messages.send(room_address(instance_), the_directory, "retired",
                        [n = &node_, m] { n->directory_->on(m, n->clock_.mono()); });
  }
  void wake_in(std::chrono::milliseconds) override {
    node_.messages.send(
        room_address(instance_), room_address(instance_), "room tick",
        [n = &node_, i = instance_] { n->with_room(i, [&](room& to) { to.on(room_tick{}); }); });
  }
  void absent(room_absent m) override {
    owns_ = false;
    node_.messages.send(room_address(instance_), the_directory, "absent",
                        [n = &node_, m] { n->directory_->on(m, n->clock_.mono()); });
  }

 private:
  bus_node& node_;
  const room_key key_;
  const instance_no instance_;
  uuid7_generator ids_;
  room room_;
  bool owns_ = true;
};

class bus_node::session_shell final : public session_ports {
 public:
  session_shell(bus_node& n, instance_no i, const user_key& user, bool successor)
      : node_(n),
        instance_(i),
        session_(user, i, *this, n.clock_, n.options_.session, successor) {}

  session& decisions() { return session_; }
  std::optional<mono_time> wake;

  void to_gateway(gateway_no g, const attached& m) override {
    node_.to_gateway(session_address(instance_), g, "attached", [m](gateway& to) { to.on(m); });
  }
  void to_gateway(gateway_no g, cursors_stored_ptr m) override {
    node_.to_gateway(session_address(instance_), g, "cursors stored", [m](gateway& to) { to.on(m); });
  }
  void to_gateway(gateway_no g, receipt_ptr m) override {
    node_.to_gateway(session_address(instance_), g, "receipt", [m](gateway& to) { to.on(m); });
  }
  void to_gateway(gateway_no g, session_done_ptr m) override {
    node_.to_gateway(session_address(instance_), g, "session done", [m](gateway& to) { to.on(m); });
  }
  void to_gateway(gateway_no g, const close_connection& m) override {
    node_.to_gateway(session_address(instance_), g, "close", [m](gateway& to) { to.on(m); });
  }
  void to_gateways(presence_shown_ptr m) override { to_all("presence", m); }
  void to_gateways(typing_shown_ptr m) override { to_all("typing", m); }
  bool read(call_no call, read_query q) override {
    return node_.read(session_address(instance_), call, std::move(q),
                      [n = &node_, i = instance_](call_no c, const read_result& r) {
                        const auto it = n->sessions_.find(i);
                        if (it != n->sessions_.end()) it->second->decisions().on(c, r);
                      });
  }
  void list_as(presence_status) override {}
  void wake_at(mono_time when) override { wake = when; }
  void to_storage(store_last_seen_ptr m) override {
    node_.messages.send(session_address(instance_), the_storage, "store last_seen",
                        [n = &node_, m] { n->storage_take(m); });
  }
  void to_storage(store_cursors_ptr m) override {
    node_.messages.send(session_address(instance_), the_storage, "store cursors",
                        [n = &node_, m] { n->storage_take(m); });
  }
  void to_directory(const session_idle& m) override {
    node_.messages.send(session_address(instance_), the_directory, "session idle",
                        [n = &node_, m] { n->directory_->on(m); });
  }

 private:
  template <class M>
  void to_all(const char* label, const M& m) {
    for (std::size_t g = 0; g < node_.gateways_.size(); ++g) {
      node_.to_gateway(session_address(instance_), gateway_no{static_cast<std::uint32_t>(g)}, label,
                       [m](gateway& to) { to.on(m); });
    }
  }
  bus_node& node_;
  const instance_no instance_;
  session session_;
};

class bus_node::storage_shell final : public storage_ports {
 public:
  explicit storage_shell(bus_node& n) : node_(n), commit_(n.store_, *this) {}

  group_commit& decisions() { return commit_; }

  void to_room(instance_no i, opened_ptr m) override {
    node_.to_room(the_storage, i, "opened", [m](room& to) { to.on(*m); });
  }
  void to_room(instance_no i, const committed& m) override {
    node_.to_room(the_storage, i, "committed", [m](room& to) { to.on(m); });
  }
  void to_room(instance_no i, lost_ptr m) override {
    node_.to_room(the_storage, i, "lost", [m](room& to) { to.on(*m); });
  }
  void to_room(instance_no i, const deleted& m) override {
    node_.to_room(the_storage, i, "deleted", [m](room& to) { to.on(m); });
  }
  void to_session(instance_no i, cursors_stored_ptr m) override {
    node_.to_session(the_storage, i, "cursors stored", [m](session& to) { to.on(m); });
  }
  void to_gateway(gateway_no g, cursors_stored_ptr m) override {
    node_.to_gateway(the_storage, g, "cursors stored", [m](gateway& to) { to.on(m); });
  }
  void to_gateway(gateway_no g, created_ptr m) override {
    node_.to_gateway(the_storage, g, "created", [m](gateway& to) { to.on(m); });
  }
  void to_gateway(gateway_no, tenant_created_ptr) override {}
  void to_gateway(gateway_no, tenant_changed_ptr) override {}
  void to_directory(tenant_changed_ptr) override {}
  void to_gateway(gateway_no, notification_created_ptr) override {}
  void to_gateway(gateway_no, session_done_ptr) override {}
  void to_outbox(tenant_changed_ptr) override {}
  void to_outbox(const outbox_applied&) override {}
  void to_outbox(outbox_news) override {}
  void show(notification_shown_ptr) override {}
  void to_directory(room_command_ptr) override {}
  void show(user_revoked_ptr) override {}
  void show(const room_rewritten&) override {}
  void to_room(instance_no, const room_rewritten&) override {}
  void publish(publish_ptr m) override { node_.publish(m); }
  void show(cursors_shown_ptr m) override {
    for (std::size_t g = 0; g < node_.gateways_.size(); ++g) {
      node_.to_gateway(the_storage, gateway_no{static_cast<std::uint32_t>(g)}, "cursors shown",
                       [m](gateway& to) { to.on(m); });
    }
  }
  void writable(bool) override {}
  void fatal(const error&) override { node_.fatal_ = true; }

 private:
  bus_node& node_;
  group_commit commit_;
};

class bus_node::directory_shell final : public directory_ports {
 public:
  explicit directory_shell(bus_node& n) : node_(n) {}

  void spawn_room(instance_no i, const room_key& key) override {
    for (const auto& [other, shell] : node_.rooms_) {
      expect(shell->key() != key || !shell->owns(), "I13 two rooms of one key are alive");
    }
    auto& shell = node_.rooms_[i];
    shell = std::make_unique<room_shell>(node_, i, key);
    shell->decisions().start();
  }
  void to_room(instance_no i, const room_command_ptr& m) override {
    node_.to_room(the_directory, i, "command", [m](room& to) { to.on(m); });
  }
  void to_room(instance_no i, const retire& m) override {
    node_.to_room(the_directory, i, "retire", [m](room& to) { to.on(m); });
  }
  void drop_room(instance_no i) override {
    // The last handle: the actor ends when it has handled what it was sent before.
    node_.messages.send(the_directory, room_address(i), "drop",
                        [n = &node_, i] { n->rooms_.erase(i); });
  }
  void spawn_session(instance_no i, const user_key& user, bool successor) override {
    auto& shell = node_.sessions_[i];
    shell = std::make_unique<session_shell>(node_, i, user, successor);
    shell->decisions().start();
  }
  void to_session(instance_no i, const attach_ptr& m) override {
    node_.to_session(the_directory, i, "attach", [m](session& to) { to.on(*m); });
  }
  void to_session(instance_no i, const detach_ptr& m) override {
    node_.to_session(the_directory, i, "detach", [m](session& to) { to.on(*m); });
  }
  void to_session(instance_no i, const move_cursors_ptr& m) override {
    node_.to_session(the_directory, i, "move cursors", [m](session& to) { to.on(m); });
  }
  void to_session(instance_no i, const set_presence_ptr& m) override {
    node_.to_session(the_directory, i, "presence", [m](session& to) { to.on(*m); });
  }
  void to_session(instance_no i, const type_in_room_ptr& m) override {
    node_.to_session(the_directory, i, "typing", [m](session& to) { to.on(*m); });
  }
  void stop_session(instance_no i) override {
    node_.messages.send(the_directory, session_address(i), "stop",
                        [n = &node_, i] { n->sessions_.erase(i); });
  }
  void spawn_tenant(instance_no, tenant_no) override {}
  void to_tenant(instance_no, const tenant_loaded_ptr&) override {}
  void to_storage(store_cursors_ptr m) override {
    node_.messages.send(the_directory, the_storage, "store cursors",
                        [n = &node_, m] { n->storage_take(m); });
  }
  void answer(gateway_no g, replies_ptr m) override {
    node_.to_gateway(the_directory, g, "replies", [m](gateway& to) { to.on(m); });
  }
  void answer(gateway_no, authenticated_ptr) override {}
  void answer(gateway_no g, session_done_ptr m) override {
    node_.to_gateway(the_directory, g, "session done", [m](gateway& to) { to.on(m); });
  }
  void forget_presence(const user_key&) override {}
  void session_lost_to_all(const session_lost& m) override {
    for (std::size_t g = 0; g < node_.gateways_.size(); ++g) {
      node_.to_gateway(the_directory, gateway_no{static_cast<std::uint32_t>(g)}, "session lost",
                       [m](gateway& to) { to.on(m); });
    }
  }
  bool read(call_no call, tenant_no, read_query q) override {
    return node_.read(the_directory, call, std::move(q),
                      [n = &node_](call_no c, const read_result& r) {
                        n->directory_->on(c, r, n->clock_.mono());
                      });
  }

 private:
  bus_node& node_;
};

// ---- the node -----------------------------------------------------------------------------------------------------------

bus_node::bus_node(dice& chance, sim_clock& now, random_source& random, model_store& store,
                   expected_frames& expected, const node_options& options)
    : node(chance, now, store, options),
      messages(chance),
      random_(random),
      expected_(expected),
      budget_(std::make_shared<admission>(options.admission_rows, std::size_t{1} << 30U)),
      storage_(std::make_unique<storage_shell>(*this)),
      directory_ports_(std::make_unique<directory_shell>(*this)),
      directory_(std::make_unique<actors::directory>(*directory_ports_, options.directory)) {
  for (std::size_t g = 0; g < options.gateways; ++g) {
    gateways_.push_back(std::make_unique<gateway>(*this, gateway_no{static_cast<std::uint32_t>(g)},
                                                  options.subscriptions));
  }
}

bus_node::~bus_node() = default;

bool bus_node::storage_has_work() const { return storage_->decisions().has_work(); }
void bus_node::run_storage() { storage_->decisions().run(); }
void bus_node::maintain_storage() { storage_->decisions().maintain(clock_.mono(), clock_.now()); }
void bus_node::tick_directory() { directory_->tick(clock_.mono()); }

bool bus_node::wake_sessions() {
  bool any = false;
  for (const auto& [i, shell] : sessions_) {
    if (!shell->wake || *shell->wake > clock_.mono()) continue;
    shell->wake.reset();
    shell->decisions().wake();
    any = true;
  }
  return any;
}

bool bus_node::sessions_wait() const {
  return std::any_of(sessions_.begin(), sessions_.end(),
                     [](const auto& s) { return s.second->wake.has_value(); });
}

template <class M>
void bus_node::storage_take(const M& m) {
  storage_->decisions().on(m);
}

template <class F>
void bus_node::with_room(instance_no i, F&& step) {
  const auto it = rooms_.find(i);
  if (it == rooms_.end()) return;
  step(it->second->decisions());
  if (it->second->decisions().ended()) rooms_.erase(it);  // as its shell: quit()
}

void bus_node::to_gateway(address from, gateway_no g, const char* label,
                          std::function<void(gateway&)> deliver) {
  messages.send(from, of(g), label, [this, g, deliver = std::move(deliver)] {
    auto& to = *gateways_[g.value];
    deliver(to);
    if (options_.check_inside) to.check();
  });
}
void bus_node::to_room(address from, instance_no i, const char* label,
                       std::function<void(room&)> deliver) {
  messages.send(from, room_address(i), label,
                [this, i, deliver = std::move(deliver)] { with_room(i, deliver); });
}
void bus_node::to_session(address from, instance_no i, const char* label,
                          std::function<void(session&)> deliver) {
  messages.send(from, session_address(i), label, [this, i, deliver = std::move(deliver)] {
    if (const auto it = sessions_.find(i); it != sessions_.end()) deliver(it->second->decisions());
  });
}

void bus_node::publish(const publish_ptr& m) {
  const auto number = log_numbers_.try_emplace(m->room, log_numbers_.size() + 1).first->second;
  for (std::size_t g = 0; g < gateways_.size(); ++g) {
    to_gateway({party::room_log, number}, gateway_no{static_cast<std::uint32_t>(g)}, "publish",
               [m](gateway& to) { to.on(m); });
  }
}

bool bus_node::read(gateway_no from, call_no call, tenant_no, read_query q) {
  return read(of(from), call, std::move(q),
              [this, from](call_no c, const read_result& r) { at(from.value).on(c, r); });
}

bool bus_node::read(address asker, call_no call, read_query q,
                    std::function<void(call_no, const read_result&)> answer) {
  if (dice_.permille(options_.read_refused)) return false;
  const address reader{party::reader, dice_.below(2)};
  messages.send(asker, reader, "read",
                [this, asker, reader, call, q = std::move(q), answer = std::move(answer)] {
                  auto result = std::make_shared<read_result>();
                  if (dice_.permille(store_.faults.read)) {
                    *result = unavailable("the model's disk cannot be read",
                                          std::chrono::milliseconds{100});
                  } else {
                    model_reader snapshot{store_.committed()};
                    *result = run_query(snapshot, q);
                  }
                  messages.send(reader, asker, "read answer", [this, asker, call, result, answer] {
                    answer(call, *result);
                    if (asker.who == party::gateway && options_.check_inside)
                      gateways_[asker.no]->check();
                  });
                });
  return true;
}

void bus_node::check_committed(const room_key& room, room_seq seq, const message_id& message) const {
  const auto* stored = store_.committed()->find(room);
  expect(stored != nullptr && seq <= stored->info.last_seq, "I1 accepted before its commit");
  if (message != message_id{}) {
    expect(stored->at(seq).e.message == message,
           "I1 accepted, but another message is stored there");
  }
}

void bus_node::to_directory(gateway_no from, const room_command_ptr& m) {
  messages.send(of(from), the_directory, "command", [this, m] { directory_->on(m, clock_.mono()); });
}
void bus_node::to_directory(gateway_no from, const attach_ptr& m) {
  messages.send(of(from), the_directory, "attach", [this, m] { directory_->on(m); });
}
void bus_node::to_directory(gateway_no from, const detach_ptr& m) {
  messages.send(of(from), the_directory, "detach", [this, m] { directory_->on(m); });
}
void bus_node::to_directory(gateway_no from, const move_cursors_ptr& m) {
  messages.send(of(from), the_directory, "move cursors", [this, m] { directory_->on(m); });
}
void bus_node::to_directory(gateway_no from, const set_presence_ptr& m) {
  messages.send(of(from), the_directory, "presence", [this, m] { directory_->on(m); });
}
void bus_node::to_directory(gateway_no from, const type_in_room_ptr& m) {
  messages.send(of(from), the_directory, "typing", [this, m] { directory_->on(m); });
}
void bus_node::to_storage(gateway_no from, const create_room_ptr& m) {
  messages.send(of(from), the_storage, "create room", [this, m] { storage_take(m); });
}

bool bus_node::kill_a_room() {
  std::vector<instance_no> alive;
  for (const auto& [i, shell] : rooms_) {
    if (shell->owns()) alive.push_back(i);
  }
  if (alive.empty()) return false;
  const auto i = dice_.one_of(alive);
  const auto key = rooms_.at(i)->key();
  rooms_.erase(i);
  killed_rooms_.insert(key);
  messages.send(room_address(i), the_directory, "room down",
                [this, key, i] { directory_->room_down(key, i, clock_.mono()); });
  return true;
}

bool bus_node::kill_a_session() {
  if (sessions_.empty()) return false;
  auto it = sessions_.begin();
  std::advance(it, dice_.below(sessions_.size()));
  const auto i = it->first;
  const auto user = it->second->decisions().user();
  sessions_.erase(it);
  killed_sessions_.insert(user);
  messages.send(session_address(i), the_directory, "session down",
                [this, user, i] { directory_->session_down(user, i); });
  return true;
}

std::unique_ptr<node> make_bus_node(dice& chance, sim_clock& now, random_source& random,
                                    model_store& store, expected_frames& expected,
                                    const node_options& options) {
  return std::make_unique<bus_node>(chance, now, random, store, expected, options);
}

}  // namespace parley::sim
