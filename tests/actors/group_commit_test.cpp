#include "actors/group_commit.hpp"

#include "tests/actors/words.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace parley::actors {

using namespace words;

namespace {

using store::failure_scope;
using store::write_error;

write_error failure(failure_scope scope) {
  return {scope, unavailable("scripted", std::chrono::milliseconds{1})};
}

/// Says yes to everything, unless told otherwise; remembers what was executed and committed.
class scripted_writer final : public store::writer {
 public:
  std::vector<std::string> executed;  ///< of the transaction under way
  std::vector<std::vector<std::string>> commits;
  std::size_t begins = 0;
  std::size_t rollbacks = 0;
  std::optional<write_error> begin_fails;
  std::optional<write_error> commit_fails;
  std::optional<write_error> probe_fails;
  std::optional<write_error> maintain_fails;
  std::optional<write_error> open_fails;
  std::map<std::string, write_error> item_fails;  ///< by what is executed
  bool room_exists = true;
  bool cursors_move = true;
  std::int64_t member_count = 51;  ///< too many for receipts
  store::created_room next_created;
  store::job_news job_news;

  store::write_result<void> begin() override {
    ++begins;
    if (begin_fails) return *begin_fails;
    return {};
  }
  store::write_result<log_id> append(const store::append_row& row) override {
    return step("append " + std::to_string(row.room.value) + ":" + std::to_string(row.e.seq.value),
                log_id{1});
  }
  store::write_result<store::created_room> create_room(const store::new_room&) override {
    return step("create", next_created);
  }
  store::write_result<room_seq> delete_room(tenant_no, room_no room, utc_time) override {
    return step("delete " + std::to_string(room.value), room_seq{9});
  }
  store::write_result<tenant_no> create_tenant(const store::new_tenant&) override {
    return step("tenant", tenant_no{4});
  }
  store::write_result<store::cursor_state> move_cursor(const store::cursor_move& move) override {
    return step("cursor " + move.user.value,
                store::cursor_state{room_no{5}, move.seq, room_seq{2}, cursors_move, member_count});
  }
  store::write_result<void> store_last_seen(tenant_no, const user_id& user, utc_time) override {
    if (auto done = step("seen " + user.value, 0); !done) return done.error();
    return {};
  }
  store::write_result<store::tenant_row> change_tenant(const store::tenant_change& change) override {
    store::tenant_row row;
    row.no = tenant_no{4};
    row.id = change.tenant;
    return step("change " + change.tenant.value, std::move(row));
  }
  store::write_result<void> store_key_used(tenant_no, const key_id& key, utc_time) override {
    if (auto done = step("used " + key.value, 0); !done) return done.error();
    return {};
  }
  store::write_result<std::optional<store::opened_room>> open_room(tenant_no, room_id room,
                                                                   utc_time) override {
    if (open_fails) return *open_fails;
    if (!room_exists) return std::optional<store::opened_room>{};
    auto out = an_open_room(room_type::group, {});
    out.no = room_no{room.id.bytes[15]};
    return std::optional{std::move(out)};
  }
  store::write_result<commit_no> commit() override {
    if (commit_fails) return *commit_fails;
    commits.push_back(std::exchange(executed, {}));
    return commit_no{static_cast<std::int64_t>(commits.size())};
  }
  void rollback() override {
    ++rollbacks;
    executed.clear();
  }
  store::write_result<void> maintain(mono_time, utc_time) override {
    if (maintain_fails) return *maintain_fails;
    return {};
  }
  store::job_news take_job_news() override { return std::exchange(job_news, {}); }
  store::write_result<void> probe() override {
    if (probe_fails) return *probe_fails;
    return {};
  }
  store::write_result<void> close_clean() override { return {}; }
  [[nodiscard]] store::writer_status status() const override { return {}; }

 private:
  template <class T>
  store::write_result<T> step(std::string what, T value) {
    if (const auto it = item_fails.find(what); it != item_fails.end()) return it->second;
    executed.push_back(std::move(what));
    return value;
  }
};

/// Remembers, in order and in words, who was told what.
class log_of_words final : public storage_ports {
 public:
  std::vector<std::string> told;
  std::map<instance_no, opened_ptr> openings;
  std::vector<publish_ptr> publishes;
  std::vector<lost_ptr> losses;
  std::vector<cursors_stored_ptr> cursors;
  std::vector<created_ptr> creations;
  std::vector<cursors_shown_ptr> shown;
  std::vector<tenant_changed_ptr> changes;
  std::vector<room_command_ptr> commands;

  void to_room(instance_no i, opened_ptr m) override {
    told.push_back("opened " + name(i));
    openings[i] = std::move(m);
  }
  void to_room(instance_no i, const committed& m) override {
    told.push_back("committed " + name(i) + " up to " + std::to_string(m.up_to.value) + " in " +
                   std::to_string(m.commit.value));
  }
  void to_room(instance_no i, lost_ptr m) override {
    told.push_back("lost " + name(i));
    losses.push_back(std::move(m));
  }
  void to_room(instance_no i, const deleted& m) override {
    told.push_back("deleted " + name(i) + " at " + std::to_string(m.last_seq.value));
  }
  void to_room(instance_no i, const room_rewritten& m) override {
    told.push_back("starts " + name(i) + " at " + std::to_string(m.first_seq.value));
  }
  void to_session(instance_no i, cursors_stored_ptr m) override {
    told.push_back("cursors to session " + name(i));
    cursors.push_back(std::move(m));
  }
  void to_gateway(gateway_no g, cursors_stored_ptr m) override {
    told.push_back("cursors to gateway " + std::to_string(g.value));
    cursors.push_back(std::move(m));
  }
  void to_gateway(gateway_no, created_ptr m) override {
    told.push_back(std::holds_alternative<error>(m->outcome) ? "not created" : "created");
    creations.push_back(std::move(m));
  }
  void to_gateway(gateway_no, tenant_created_ptr m) override {
    told.push_back(std::holds_alternative<error>(m->outcome) ? "no tenant" : "tenant");
  }
  void to_gateway(gateway_no, notification_created_ptr) override {
    told.emplace_back("notification");
  }
  void to_gateway(gateway_no, session_done_ptr) override { told.emplace_back("acknowledged"); }
  void to_outbox(tenant_changed_ptr) override {}
  void to_outbox(const outbox_applied& m) override {
    told.emplace_back(m.failure ? "outbox refused" : "outbox applied");
  }
  void to_outbox(outbox_news) override {}
  void show(notification_shown_ptr) override { told.emplace_back("notification shown"); }
  void to_gateway(gateway_no, tenant_changed_ptr m) override {
    told.push_back(std::holds_alternative<error>(m->outcome) ? "not changed" : "changed");
    changes.push_back(std::move(m));
  }
  void to_directory(tenant_changed_ptr) override { told.push_back("directory"); }
  void to_directory(room_command_ptr m) override {
    told.push_back("command");
    commands.push_back(std::move(m));
  }
  void show(user_revoked_ptr m) override { told.push_back("revoked " + m->user.user.value); }
  void show(const room_rewritten& m) override {
    told.push_back("rewritten " + std::to_string(m.no.value));
  }
  void publish(publish_ptr m) override {
    told.push_back("publish");
    publishes.push_back(std::move(m));
  }
  void show(cursors_shown_ptr m) override {
    told.push_back("show " + std::to_string(m->items.size()));
    shown.push_back(std::move(m));
  }
  void writable(bool yes) override { told.push_back(yes ? "writable" : "not writable"); }
  void fatal(const error&) override { told.push_back("fatal"); }

 private:
  static std::string name(instance_no i) { return std::to_string(i.value); }
};

using words_told = std::vector<std::string>;

/// Storage in a test: rooms 1, 2, … are opened by instances of the same number.
struct storage {
  scripted_writer writer;
  log_of_words out;
  group_commit it{writer, out};

  generation open(std::uint8_t room, std::uint64_t instance) {
    it.on(std::make_shared<const open_room>(open_room{key_of(room), instance_no{instance}}));
    it.run();
    const auto gen = out.openings.at(instance_no{instance})->gen;
    out.told.clear();
    return gen;
  }
  void append(std::uint8_t room, std::uint64_t instance, generation gen, std::uint64_t no,
              tenant_no tenant = acme, std::size_t content_bytes = 0) {
    actors::append m{instance_no{instance}, gen, entry_no{no}, {tenant, room_no{room}, {}, {}}};
    if (content_bytes > 0)
      std::get<message_body>(m.row.e.body).content = std::string(content_bytes, 'x');
    m.row.e.seq = room_seq{static_cast<std::int64_t>(no)};
    it.on(std::make_shared<const actors::append>(m));
  }
  /// Entries no … no + n − 1 as one.
  void append_together(std::uint8_t room, std::uint64_t instance, generation gen, std::uint64_t no,
                       std::uint64_t n) {
    actors::append m{
        instance_no{instance}, gen, entry_no{no + n - 1}, {acme, room_no{room}, {}, {}}, {}};
    m.row.e.seq = room_seq{static_cast<std::int64_t>(no)};
    for (std::uint64_t at = 1; at < n; ++at) {
      m.also.push_back(m.row);
      m.also.back().e.seq = room_seq{static_cast<std::int64_t>(no + at)};
    }
    it.on(std::make_shared<const actors::append>(m));
  }
  void erase(std::uint8_t room, std::uint64_t instance, generation gen) {
    it.on(std::make_shared<const delete_room>(
        delete_room{instance_no{instance}, gen, acme, room_no{room}, noon}));
  }
  void create() {
    it.on(std::make_shared<const create_room>(
        create_room{{gateway_no{0}, call_no{1}}, store::new_room{}}));
  }
  template <class What>
  void change(What what, tenant_no tenant = acme) {
    it.on(std::make_shared<const change_tenant>(change_tenant{
        {gateway_no{1}, call_no{7}}, {tenant_id{"acme"}, std::move(what), noon}, tenant}));
  }
  void move(std::optional<instance_no> session, std::size_t rooms = 1, tenant_no tenant = acme) {
    auto moves = std::make_shared<move_cursors>();
    moves->user = {tenant, ann};
    moves->to = {gateway_no{2}, call_no{1}};
    for (std::size_t n = 0; n < rooms; ++n)
      moves->rooms.emplace_back(room_id_of(static_cast<std::uint8_t>(n)), room_seq{3});
    it.on(std::make_shared<const store_cursors>(store_cursors{session, moves}));
  }
  words_told run() {
    it.run();
    return std::exchange(out.told, {});
  }
};

}  // namespace

TEST_SUITE("SPEC 2.1 accepted means durable: group commit") {
  TEST_CASE(
      "what queued up is one commit, and each room hears once, with the last of its entries") {
    storage s;
    const auto one = s.open(1, 1);
    const auto two = s.open(2, 2);
    s.append(1, 1, one, 1);
    s.append(2, 2, two, 1);
    s.append(1, 1, one, 2);
    CHECK(s.run() == words_told{"committed 1 up to 2 in 1", "committed 2 up to 1 in 1"});
    CHECK(s.writer.commits == std::vector<words_told>{{"append 1:1", "append 2:1", "append 1:2"}});
    CHECK(!s.it.has_work());
  }
  TEST_CASE("nothing to do is no commit") {
    storage s;
    CHECK(s.run().empty());
    CHECK(s.writer.begins == 0);
  }
  TEST_CASE("a commit takes no more rows than its bound; the rest is the next one") {
    storage s;
    const auto gen = s.open(1, 1);
    for (std::uint64_t n = 1; n <= limits::commit_max_rows + 1; ++n) s.append(1, 1, gen, n);
    CHECK(s.run() ==
          words_told{"committed 1 up to " + std::to_string(limits::commit_max_rows) + " in 1"});
    CHECK(s.it.has_work());
    CHECK(s.run().size() == 1);
    CHECK(s.writer.commits[1].size() == 1);
  }
  TEST_CASE(
      "a refused entry loses its room's generation alone; what came before it is committed first") {
    storage s;
    const auto one = s.open(1, 1);
    const auto two = s.open(2, 2);
    s.writer.item_fails["append 1:2"] = failure(failure_scope::item);
    s.append(1, 1, one, 1);
    s.append(1, 1, one, 2);
    s.append(1, 1, one, 3);
    s.append(2, 2, two, 1);
    CHECK(s.run() == words_told{"committed 1 up to 1 in 1", "committed 2 up to 1 in 1", "lost 1"});
    CHECK(s.writer.commits == std::vector<words_told>{{"append 1:1", "append 2:1"}});
    CHECK(s.out.losses[0]->gen == one);
    CHECK(s.it.counters().stale_appends == 1);
    // What still arrives of that generation is never stored.
    s.append(1, 1, one, 4);
    CHECK(s.run().empty());
  }
  TEST_CASE("what belongs together is in one commit, also across its bound, and heard of once") {
    storage s;
    const auto gen = s.open(1, 1);
    for (std::uint64_t n = 1; n < limits::commit_max_rows; ++n) s.append(1, 1, gen, n);
    s.append_together(1, 1, gen, limits::commit_max_rows, 3);
    s.append(1, 1, gen, limits::commit_max_rows + 3);
    CHECK(s.run() ==
          words_told{"committed 1 up to " + std::to_string(limits::commit_max_rows + 2) + " in 1"});
    CHECK(s.writer.commits[0].size() == limits::commit_max_rows + 2);
    CHECK(s.it.counters().rows == limits::commit_max_rows + 2);
    CHECK(s.run().size() == 1);
  }
  TEST_CASE("of what belongs together nothing is stored if any of it is refused") {
    for (const int refused : {1, 2, 3}) {
      CAPTURE(refused);
      storage s;
      const auto one = s.open(1, 1);
      const auto two = s.open(2, 2);
      s.writer.item_fails["append 1:" + std::to_string(refused)] = failure(failure_scope::item);
      s.append_together(1, 1, one, 1, 3);
      s.append(2, 2, two, 1);
      // The first is refused alone; a later one takes its commit with it, and the rest is the next.
      CHECK(s.run() == (refused == 1 ? words_told{"committed 2 up to 1 in 1", "lost 1"}
                                     : words_told{"lost 1"}));
      CHECK(s.writer.rollbacks == (refused == 1 ? 0 : 1));
      s.run();
      CHECK(s.writer.commits == std::vector<words_told>{{"append 2:1"}});
      CHECK(is_error(s.out.losses.at(0)->why, error_code::unavailable));
    }
  }
  TEST_CASE("a failed batch is rolled back and every room in it hears so once; the others go on") {
    storage s;
    const auto one = s.open(1, 1);
    const auto two = s.open(2, 2);
    s.append(1, 1, one, 1);
    s.append(1, 1, one, 2);
    s.writer.commit_fails = failure(failure_scope::batch);
    CHECK(s.run() == words_told{"lost 1"});
    s.writer.commit_fails.reset();
    s.writer.executed.clear();
    s.append(1, 1, one, 3);
    s.append(2, 2, two, 1);
    CHECK(s.run() == words_told{"committed 2 up to 1 in 1"});
    CHECK(s.writer.commits == std::vector<words_told>{{"append 2:1"}});
  }
  TEST_CASE(
      "a failure in the middle of a batch rolls back what was executed and leaves the rest for the "
      "next") {
    storage s;
    const auto one = s.open(1, 1);
    const auto two = s.open(2, 2);
    s.writer.item_fails["append 1:1"] = failure(failure_scope::batch);
    s.append(1, 1, one, 1);
    s.append(2, 2, two, 1);
    CHECK(s.run() == words_told{"lost 1"});
    CHECK(s.writer.rollbacks == 1);
    CHECK(s.it.has_work());
    CHECK(s.run() == words_told{"committed 2 up to 1 in 1"});
  }
  TEST_CASE("a transaction that can't begin loses nothing: it is tried again") {
    storage s;
    const auto one = s.open(1, 1);
    s.append(1, 1, one, 1);
    s.writer.begin_fails = failure(failure_scope::batch);
    CHECK(s.run().empty());
    CHECK(s.it.has_work());
    s.writer.begin_fails.reset();
    CHECK(s.run() == words_told{"committed 1 up to 1 in 1"});
  }
  TEST_CASE("after a fatal failure nobody is told anything, and nothing is done any more") {
    storage s;
    const auto one = s.open(1, 1);
    s.append(1, 1, one, 1);
    s.writer.commit_fails = failure(failure_scope::fatal);
    CHECK(s.run() == words_told{"fatal"});
    CHECK(s.it.ended());
    CHECK(s.writer.rollbacks == 0);
    s.append(1, 1, one, 2);
    s.it.on(std::make_shared<const open_room>(open_room{key_of(2), instance_no{2}}));
    CHECK(s.run().empty());
    s.it.maintain({}, {});
    CHECK(s.out.told.empty());
  }
  TEST_CASE("a fatal failure while executing, opening, maintaining or probing ends it too") {
    for (const int where : {0, 1, 2, 3}) {
      CAPTURE(where);
      storage s;
      const auto one = s.open(1, 1);
      const auto fatal = failure(failure_scope::fatal);
      if (where == 0) {
        s.writer.item_fails["append 1:1"] = fatal;
        s.append(1, 1, one, 1);
        s.it.run();
      } else if (where == 1) {
        s.writer.open_fails = fatal;
        s.it.on(std::make_shared<const open_room>(open_room{key_of(2), instance_no{2}}));
        s.it.run();
      } else if (where == 2) {
        s.writer.maintain_fails = fatal;
        s.it.maintain({}, {});
      } else {
        s.writer.maintain_fails = failure(failure_scope::full);
        s.it.maintain({}, {});
        s.out.told.clear();
        s.writer.probe_fails = fatal;
        s.it.maintain({}, {});
      }
      CHECK(s.out.told == words_told{"fatal"});
      CHECK(s.it.ended());
    }
  }
}

TEST_SUITE("DESIGN I10 a full disk") {
  TEST_CASE(
      "everyone who waits hears at once, later ones too, without touching the disk, until a probe "
      "succeeds") {
    storage s;
    const auto one = s.open(1, 1);
    const auto two = s.open(2, 2);
    s.append(1, 1, one, 1);
    s.append(2, 2, two, 1);
    s.create();
    s.move(instance_no{8});
    s.writer.commit_fails = failure(failure_scope::full);
    CHECK(s.run() ==
          words_told{"not writable", "not created", "cursors to session 8", "lost 1", "lost 2"});
    s.writer.commit_fails.reset();

    const auto begun = s.writer.begins;
    s.append(1, 1, one, 2);  // of the lost generation
    s.move(std::nullopt);
    CHECK(s.run() == words_told{"cursors to gateway 2"});
    CHECK(is_error(std::get<error>(s.out.cursors.back()->rooms[0].outcome), error_code::unavailable));
    CHECK(s.writer.begins == begun);

    s.writer.probe_fails = failure(failure_scope::full);
    s.it.maintain({}, {});
    CHECK(s.out.told.empty());
    s.writer.probe_fails.reset();
    s.it.maintain({}, {});
    CHECK(s.out.told == words_told{"writable"});
    const auto again = s.open(1, 1);
    s.append(1, 1, again, 1);
    CHECK(s.run().size() == 1);
  }
  TEST_CASE("rooms are opened for reading on: while the disk is full an opening is answered") {
    storage s;
    s.writer.maintain_fails = failure(failure_scope::full);
    s.it.maintain({}, {});
    const auto gen = s.open(1, 1);
    s.append(1, 1, gen, 1);
    CHECK(s.run() == words_told{"lost 1"});
  }
}

TEST_SUITE("DESIGN I13 generations") {
  TEST_CASE("each opening is a new generation, and appends of an older one are never stored") {
    storage s;
    const auto old = s.open(1, 1);
    s.append(1, 1, old, 1);  // still waits when the room is opened again
    s.it.on(std::make_shared<const open_room>(open_room{key_of(1), instance_no{2}}));
    CHECK(s.run() == words_told{"opened 2"});
    const auto fresh = s.out.openings.at(instance_no{2})->gen;
    CHECK(fresh > old);
    CHECK(s.writer.commits == std::vector<words_told>{{}});
    s.append(1, 2, fresh, 1);
    CHECK(s.run() == words_told{"committed 2 up to 1 in 2"});
  }
  TEST_CASE("a late opening by one that died does not close its successor's generation") {
    storage s;
    const auto successors = s.open(1, 3);
    s.it.on(std::make_shared<const open_room>(open_room{key_of(1), instance_no{2}}));
    CHECK(s.run().empty());
    s.append(1, 3, successors, 1);
    CHECK(s.run() == words_told{"committed 3 up to 1 in 1"});
  }
  TEST_CASE("a room that is absent or unreadable gets no generation") {
    storage s;
    s.writer.room_exists = false;
    s.open(1, 1);
    CHECK(!s.out.openings.at(instance_no{1})->room);
    CHECK(!s.out.openings.at(instance_no{1})->failure);
    s.writer.open_fails = failure(failure_scope::batch);
    s.open(1, 2);
    CHECK(s.out.openings.at(instance_no{2})->failure);
  }
  TEST_CASE("a retired room's generation appends no more; another's is left alone") {
    storage s;
    const auto one = s.open(1, 1);
    s.it.on(close_room{instance_no{1}, generation{one.value + 7}, room_no{1}});
    s.append(1, 1, one, 1);
    CHECK(s.run().size() == 1);
    s.it.on(close_room{instance_no{1}, one, room_no{1}});
    s.append(1, 1, one, 2);
    CHECK(s.run().empty());
  }
  TEST_CASE("a deletion is told after the commits before it, and ends the generation") {
    storage s;
    const auto one = s.open(1, 1);
    s.append(1, 1, one, 1);
    s.erase(1, 1, one);
    CHECK(s.run() == words_told{"committed 1 up to 1 in 1", "deleted 1 at 9"});
    s.append(1, 1, one, 2);
    s.erase(1, 1, one);
    CHECK(s.run().empty());
  }
  TEST_CASE("a deletion that fails, alone or with its batch, loses the generation") {
    for (const auto scope : {failure_scope::item, failure_scope::batch}) {
      storage s;
      const auto one = s.open(1, 1);
      s.erase(1, 1, one);
      s.writer.item_fails["delete 1"] = failure(scope);
      CHECK(s.run() == words_told{"lost 1"});
    }
  }
}

TEST_SUITE("SPEC 4 creations") {
  TEST_CASE("a new room is published with its members before its creator hears of it") {
    storage s;
    s.writer.next_created.no = room_no{5};
    s.writer.next_created.info.id = room_id_of(5);
    s.writer.next_created.members = {member(ann, member_role::owner), member(bob)};
    s.create();
    CHECK(s.run() == words_told{"publish", "created"});
    const auto& p = *s.out.publishes[0];
    CHECK(p.frames.empty());
    CHECK(p.last_seq() == room_seq{0});
    REQUIRE(p.members.size() == 2);
    CHECK(p.members[1].user == bob);
    CHECK(p.members[1].seq == room_seq{0});
    CHECK(p.members[1].room_json->find("\"role\":\"member\"") != std::string::npos);
  }
  TEST_CASE("a dm that was there, or a repeated call, is answered and published to nobody") {
    storage s;
    s.writer.next_created.created = false;
    s.create();
    CHECK(s.run() == words_told{"created"});
    s.writer.next_created.created = true;
    s.writer.next_created.replayed = true;
    s.create();
    CHECK(s.run() == words_told{"created"});
  }
  TEST_CASE("a refused creation is answered alone; one in a failed batch with its batch") {
    storage s;
    const auto one = s.open(1, 1);
    s.writer.item_fails["create"] = failure(failure_scope::item);
    s.create();
    s.append(1, 1, one, 1);
    CHECK(s.run() == words_told{"not created", "committed 1 up to 1 in 1"});
    s.writer.item_fails.clear();
    s.writer.commit_fails = failure(failure_scope::batch);
    s.create();
    s.it.on(std::make_shared<const create_tenant>(create_tenant{{gateway_no{0}, call_no{2}}, {}}));
    CHECK(s.run() == words_told{"not created", "no tenant"});
  }
}

TEST_SUITE("DESIGN I14 cursors") {
  TEST_CASE("cursors are answered after their commit, behind the sends of the same commit") {
    storage s;
    const auto one = s.open(1, 1);
    s.move(instance_no{8}, 2);
    s.append(1, 1, one, 1);
    CHECK(s.run() == words_told{"committed 1 up to 1 in 1", "cursors to session 8"});
    CHECK(s.writer.commits == std::vector<words_told>{{"append 1:1", "cursor ann", "cursor ann"}});
    CHECK(s.out.cursors[0]->rooms.size() == 2);
  }
  TEST_CASE("of an offline user they are answered to the gateway that asked") {
    storage s;
    s.move(std::nullopt);
    CHECK(s.run() == words_told{"cursors to gateway 2"});
  }
  TEST_CASE("a refused cursor is one outcome among the others") {
    storage s;
    s.writer.item_fails["cursor ann"] = {failure_scope::item, not_found("room")};
    s.move(instance_no{8}, 2);
    CHECK(s.run() == words_told{"cursors to session 8"});
    REQUIRE(s.out.cursors[0]->rooms.size() == 2);
    CHECK(is_error(std::get<error>(s.out.cursors[0]->rooms[0].outcome), error_code::not_found));
  }
  TEST_CASE("cursors of a failed batch are answered, every one of them") {
    storage s;
    s.writer.item_fails["cursor ann"] = failure(failure_scope::batch);
    s.move(instance_no{8}, 3);
    CHECK(s.run() == words_told{"cursors to session 8"});
    CHECK(s.out.cursors[0]->rooms.size() == 3);
  }
}

TEST_SUITE("I14 receipts are shown after their commit") {
  TEST_CASE("what a commit moved is shown once to all, before its own answers, with the room") {
    storage s;
    s.writer.member_count = 50;
    s.move(instance_no{8}, 2);
    s.move(std::nullopt, 1);
    CHECK(s.out.told.empty());
    CHECK(s.run() == words_told{"show 3", "cursors to session 8", "cursors to gateway 2"});
    const auto& first = s.out.shown.at(0)->items.at(0);
    CHECK(first.room == key_of(0));
    CHECK(first.user == ann);
    CHECK(!first.read);
    CHECK(first.seq == room_seq{3});
  }
  TEST_CASE("of a read the read position is shown") {
    storage s;
    s.writer.member_count = 2;
    auto moves = std::make_shared<move_cursors>();
    moves->user = {acme, ann};
    moves->read = true;
    moves->rooms = {{room_id_of(1), room_seq{3}}};
    s.it.on(std::make_shared<const store_cursors>(store_cursors{std::nullopt, moves}));
    s.run();
    CHECK(s.out.shown.at(0)->items.at(0).read);
    CHECK(s.out.shown.at(0)->items.at(0).seq == room_seq{2});
  }
  TEST_CASE("in a room of more than receipt_max_members nothing is shown") {
    storage s;
    s.writer.member_count = 51;
    s.move(instance_no{8});
    CHECK(s.run() == words_told{"cursors to session 8"});
  }
  TEST_CASE("a cursor that stood there already is not shown") {
    storage s;
    s.writer.member_count = 2;
    s.writer.cursors_move = false;
    s.move(instance_no{8});
    CHECK(s.run() == words_told{"cursors to session 8"});
  }
  TEST_CASE("of a failed commit, and of a refused cursor, nothing is shown") {
    storage s;
    s.writer.member_count = 2;
    s.writer.commit_fails = failure(failure_scope::batch);
    s.move(instance_no{8});
    CHECK(s.run() == words_told{"cursors to session 8"});
    s.writer.commit_fails.reset();
    s.writer.item_fails.emplace("cursor ann", failure(failure_scope::item));
    s.move(instance_no{8});
    CHECK(s.run() == words_told{"cursors to session 8"});
  }
}

TEST_SUITE("SPEC 5 when somebody was last seen") {
  const auto leaves = [](storage& s) {
    s.it.on(std::make_shared<const store_last_seen>(store_last_seen{{acme, ann}, noon}));
  };
  TEST_CASE("it is stored with whatever else is committed, and nobody is told") {
    storage s;
    leaves(s);
    CHECK(s.it.has_work());
    s.move(instance_no{8});
    CHECK(s.run() == words_told{"cursors to session 8"});
    CHECK(s.writer.commits == std::vector<words_told>{{"cursor ann", "seen ann"}});
    CHECK(!s.it.has_work());
  }
  TEST_CASE("a full disk forgets it") {
    storage s;
    s.writer.commit_fails = failure(failure_scope::full);
    leaves(s);
    s.run();
    leaves(s);
    CHECK(s.run().empty());
    CHECK(!s.it.has_work());
  }
}

TEST_SUITE("SPEC 4 changes of a tenant") {
  using tenant_changes = store::tenant_change;
  TEST_CASE("the tenant's owner hears of it after the commit, and who asked") {
    storage s;
    const auto gen = s.open(1, 1);
    s.append(1, 1, gen, 1);
    s.change(tenant_changes::update{.name = "Acme"});
    s.append(1, 1, gen, 2);
    CHECK(s.run() == words_told{"committed 1 up to 2 in 1", "directory", "changed"});
    CHECK(s.writer.commits == std::vector<words_told>{{"append 1:1", "change acme", "append 1:2"}});
    REQUIRE(s.out.changes.size() == 1);
    CHECK(s.out.changes[0]->call == call_no{7});
    CHECK(std::get<store::tenant_row>(s.out.changes[0]->outcome).id == tenant_id{"acme"});
  }
  TEST_CASE("a revocation and an erasure are told to each gateway, and not to the tenant's owner") {
    storage s;
    s.change(tenant_changes::revoke_user{ann, noon});
    CHECK(s.run() == words_told{"revoked ann", "changed"});
    s.change(tenant_changes::erase_user{"job_1", bob});
    CHECK(s.run() == words_told{"revoked bob", "changed"});
  }
  TEST_CASE("a deletion is answered when it is ordered, not when all is cleared") {
    storage s;
    s.change(tenant_changes::remove{"job_1"});
    CHECK(s.run() == words_told{"directory", "changed"});
  }
  TEST_CASE("one that is refused is answered alone; one in a failed batch with its batch") {
    storage s;
    const auto gen = s.open(1, 1);
    s.writer.item_fails["change acme"] = {failure_scope::item, not_found("tenant")};
    s.change(tenant_changes::update{});
    s.append(1, 1, gen, 1);
    CHECK(s.run() == words_told{"not changed", "committed 1 up to 1 in 1"});
    CHECK(is_error(std::get<error>(s.out.changes[0]->outcome), error_code::not_found));
    s.writer.item_fails.clear();
    for (const auto scope : {failure_scope::batch, failure_scope::full}) {
      s.writer.commit_fails = failure(scope);
      s.change(tenant_changes::update{});
      const auto told = s.run();
      CHECK(told.back() == "not changed");
      CHECK(is_error(std::get<error>(s.out.changes.back()->outcome), error_code::unavailable));
    }
  }
  TEST_CASE("that a key was used is stored with whatever else is committed, and nobody is told") {
    storage s;
    s.it.on(std::make_shared<const key_used>(key_used{acme, key_id{"key_1"}, noon}));
    CHECK(s.it.has_work());
    CHECK(s.it.queued() == 1);
    s.move(instance_no{8});
    CHECK(s.run() == words_told{"cursors to session 8"});
    CHECK(s.writer.commits == std::vector<words_told>{{"cursor ann", "used key_1"}});
    CHECK(!s.it.has_work());
  }
}

TEST_SUITE("SPEC 6 retention") {
  TEST_CASE("a room that is open hears where its log starts, and each gateway does") {
    storage s;
    s.open(1, 7);
    s.writer.job_news.rewritten = {{key_of(1), room_no{1}, commit_no{4}, room_seq{9}},
                                   {key_of(2), room_no{2}, commit_no{4}, room_seq{3}},
                                   {key_of(1), room_no{1}, commit_no{5}, {}}};
    s.it.maintain({}, {});
    // The last is an erasure: what the room has looked up before it must not be stored after it.
    CHECK(s.out.told ==
          words_told{"starts 7 at 9", "rewritten 1", "rewritten 2", "rewritten 1", "lost 7"});
  }
  TEST_CASE("a room's own is stored for who asked; the tenant's owner has nothing to hear") {
    storage s;
    s.change(store::tenant_change::set_retention{room_id_of(1), std::chrono::hours{2}});
    s.run();
    REQUIRE(s.out.changes.size() == 1);
    CHECK(std::get<store::tenant_row>(s.out.changes[0]->outcome).no == tenant_no{4});
    CHECK(s.writer.commits == std::vector<words_told>{{"change acme"}});
  }
}

TEST_SUITE("SPEC 4 jobs") {
  TEST_CASE(
      "what a job has rewritten is told to all, and whom a room is to let go to the directory") {
    storage s;
    s.writer.job_news.rewritten.push_back({key_of(1), room_no{1}, commit_no{4}});
    s.writer.job_news.departures.push_back({key_of(2), ann});
    s.writer.job_news.more = true;
    CHECK(!s.it.jobs_go_on());
    s.it.maintain({}, {});
    CHECK(s.out.told == words_told{"rewritten 1", "command"});
    REQUIRE(s.out.commands.size() == 1);
    CHECK(s.out.commands[0]->room == key_of(2));
    CHECK(s.out.commands[0]->who.is_backend());
    const auto& what = std::get<remove_member_command>(s.out.commands[0]->what);
    CHECK(what.user == ann);
    CHECK(what.erased);
    CHECK(s.it.jobs_go_on());
    s.it.maintain({}, {});
    CHECK(!s.it.jobs_go_on());
    CHECK(s.out.told.size() == 2);
  }
}

TEST_SUITE("DESIGN 3.3 tenants take turns") {
  TEST_CASE("one with ten thousand messages in the queue does not delay another's") {
    storage s;
    const auto one = s.open(1, 1);
    const auto two = s.open(2, 2);
    for (std::uint64_t n = 1; n <= 10'000; ++n) s.append(1, 1, one, n);
    s.append(2, 2, two, 1, globex);
    s.run();
    const auto& first = s.writer.commits.at(0);
    const auto at = std::find(first.begin(), first.end(), "append 2:1");
    REQUIRE(at != first.end());
    // Behind one turn of the other.
    CHECK(at - first.begin() <= static_cast<std::ptrdiff_t>(limits::commit_turn_bytes / 256));
    CHECK(first.size() == limits::commit_max_rows);
  }
  TEST_CASE("in the middle of a backlog it is no different: the next commit has it") {
    storage s;
    const auto one = s.open(1, 1);
    const auto two = s.open(2, 2);
    for (std::uint64_t n = 1; n <= 10'000; ++n) s.append(1, 1, one, n);
    s.run();
    s.append(2, 2, two, 1, globex);
    s.run();
    const auto& second = s.writer.commits.at(1);
    CHECK(std::find(second.begin(), second.end(), "append 2:1") != second.end());
    while (s.it.has_work()) s.run();
    std::size_t rows = 0;
    std::uint64_t next = 1;
    for (const auto& commit : s.writer.commits) {
      rows += commit.size();
      for (const auto& what : commit) {
        if (what != "append 2:1") CHECK(what == "append 1:" + std::to_string(next++));
      }
    }
    CHECK(rows == 10'001);
    CHECK(s.it.counters().lost_generations == 0);
  }
  TEST_CASE("big messages are weighed: many small ones of another go between them") {
    storage s;
    const auto one = s.open(1, 1);
    const auto two = s.open(2, 2);
    for (std::uint64_t n = 1; n <= 100; ++n) s.append(1, 1, one, n, acme, 16 * 1024);
    for (std::uint64_t n = 1; n <= 100; ++n) s.append(2, 2, two, n, globex);
    s.run();
    const auto& done = s.writer.commits.at(0);
    const auto last_small = std::find(done.begin(), done.end(), "append 2:100");
    REQUIRE(last_small != done.end());
    const auto big_before = std::count_if(done.begin(), last_small, [](const std::string& what) {
      return what.starts_with("append 1:");
    });
    CHECK(big_before <= 2);
  }
  TEST_CASE("a commit of big messages ends at its bytes") {
    storage s;
    const auto one = s.open(1, 1);
    for (std::uint64_t n = 1; n <= 1000; ++n) s.append(1, 1, one, n, acme, 16 * 1024);
    s.run();
    CHECK(s.writer.commits.at(0).size() == limits::commit_max_bytes / (16 * 1024 + 256) + 1);
    CHECK(s.it.has_work());
  }
  TEST_CASE("what one tenant asks is done in its order: a room's deletion, a new room, a change") {
    storage s;
    const auto one = s.open(1, 1);
    s.append(1, 1, one, 1);
    s.erase(1, 1, one);
    store::new_room fresh;
    fresh.tenant = acme;
    s.it.on(std::make_shared<const create_room>(
        create_room{{gateway_no{0}, call_no{1}}, std::move(fresh)}));
    s.change(store::tenant_change::update{});
    s.run();
    CHECK(s.writer.commits ==
          std::vector<words_told>{{"append 1:1", "delete 1", "create", "change acme"}});
  }
  TEST_CASE("a full commit of messages has room for cursors and for what nobody waits for") {
    storage s;
    const auto one = s.open(1, 1);
    for (std::uint64_t n = 1; n <= 2 * limits::commit_max_rows; ++n) s.append(1, 1, one, n);
    s.move(instance_no{8});
    s.it.on(std::make_shared<const key_used>(key_used{acme, key_id{"key_1"}, noon}));
    s.run();
    const auto& first = s.writer.commits.at(0);
    CHECK(first.size() <= limits::commit_max_rows);
    CHECK(first.size() > limits::commit_max_rows * 3 / 4);
    CHECK(std::find(first.begin(), first.end(), "cursor ann") != first.end());
    CHECK(first.back() == "used key_1");
  }
  TEST_CASE("cursors take turns, too") {
    storage s;
    for (std::size_t n = 0; n < 1000; ++n) s.move(std::nullopt, 5);
    s.move(instance_no{8}, 1, globex);
    s.run();
    const auto& told = s.out.cursors;
    const auto at = std::find_if(told.begin(), told.end(),
                                 [](const auto& m) { return m->moves->user.tenant == globex; });
    REQUIRE(at != told.end());
    CHECK(at - told.begin() < 200);
  }
}

}  // namespace parley::actors
