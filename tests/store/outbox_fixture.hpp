#pragma once
/// A store with endpoints, and the words of whoever reads the log for them and sends what waits.

#include "store/outbox.hpp"
#include "tests/store/store_fixture.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace parley::store::test {

using namespace std::chrono_literals;

inline const char* const all_events =
    R"({"webhook_url":"https://a.example/hook","webhook_events":["message.created",)"
    R"("message.edited","message.deleted","room.created","room.updated","room.deleted",)"
    R"("member.joined","member.left","user.online","user.offline","notification.failed"]})";
inline const char* const only_offline = R"({"webhook_url":"https://a.example/hook"})";

struct outbox_fixture : store_fixture {
  void begin(const char* config = all_events) {
    open();
    tenant = make_tenant();
    configure(config);
  }
  outbox_reader& out() {
    REQUIRE(reads->outbox() != nullptr);
    return *reads->outbox();
  }
  outbox_writer& box() {
    REQUIRE(writes().outbox() != nullptr);
    return *writes().outbox();
  }
  write_result<tenant_row> change(decltype(tenant_change::what) what, const char* of = "tenant_1") {
    REQUIRE(writes().begin());
    auto done = writes().change_tenant({tenant_id{of}, std::move(what), time.now()});
    REQUIRE(writes().commit());
    return done;
  }
  void configure(const char* config, const char* of = "tenant_1") {
    tenant_change::update u;
    u.config = config;
    REQUIRE(change(u, of));
  }
  std::optional<endpoint_row> endpoint(tenant_no of) {
    const auto e = out().endpoint(of);
    REQUIRE(e);
    return *e;
  }
  endpoint_row endpoint() {
    const auto e = endpoint(tenant);
    REQUIRE(e);
    return *e;
  }
  log_positions positions() {
    const auto p = out().positions();
    REQUIRE(p);
    return *p;
  }
  write_result<void> try_apply(const outbox_batch& batch) {
    REQUIRE(writes().begin());
    auto done = box().apply(batch);
    REQUIRE(writes().commit());
    return done;
  }
  void apply(const outbox_batch& batch) { REQUIRE(try_apply(batch)); }
  static outbox_batch moved(log_reader reader, log_id from, log_id to,
                            std::vector<outbox_row> rows = {}) {
    outbox_batch b;
    b.position = {reader, from, to};
    b.rows = std::move(rows);
    return b;
  }
  static outbox_batch only(std::vector<outbox_row> rows) {
    outbox_batch b;
    b.rows = std::move(rows);
    return b;
  }
  static outbox_batch settled(std::vector<outbox_outcome> outcomes) {
    outbox_batch b;
    b.outcomes = std::move(outcomes);
    return b;
  }
  void disable() { disable(endpoint().url); }
  void disable(const std::string& url) {
    outbox_batch b;
    b.disabled = {tenant, url, "it answered 410", time.now()};
    apply(b);
  }

  /// The log for the events, to its end: how many rows it made.
  std::size_t read_log(std::size_t at_once = 1000) {
    std::size_t rows = 0;
    for (;;) {
      const auto from = positions().events;
      auto seen = out().scan_events(from, at_once);
      REQUIRE(seen);
      rows += seen->rows.size();
      if (seen->to != from) {
        apply(moved(log_reader::events, from, seen->to, std::move(seen->rows)));
      }
      if (!seen->more) return rows;
    }
  }
  /// The same for message.offline, of what was committed ten seconds ago.
  std::size_t read_offline(std::int64_t max_members = 200, std::size_t at_once = 1000) {
    std::size_t rows = 0;
    for (;;) {
      const auto from = positions().offline;
      auto seen = out().scan_offline(from, time.now() - 10s, max_members, at_once);
      REQUIRE(seen);
      rows += seen->rows.size();
      if (seen->to != from) {
        apply(moved(log_reader::offline, from, seen->to, std::move(seen->rows)));
      }
      if (!seen->more) return rows;
    }
  }
  outbox_page page(tenant_no of, std::size_t per_lane = 100) {
    outbox_page all;
    all.after = before_all_lanes;
    while (!all.end) {
      auto part = out().outbox(of, all.after, time.now(), 3, per_lane, 1 << 20);
      REQUIRE(part);
      all.after = part->after;
      all.end = part->end;
      if (part->next_at && (!all.next_at || *part->next_at < *all.next_at))
        all.next_at = part->next_at;
      for (auto& i : part->items) all.items.push_back(std::move(i));
    }
    return all;
  }
  std::vector<outbox_item> waiting() { return page(tenant).items; }
  /// Each item in a few words: its kind, its entry's seq or what it is about, its recipient.
  static std::string words(const outbox_item& i) {
    std::string text{to_text(i.type)};
    if (i.event.logged) {
      text += ' ' + std::to_string(i.event.logged->seq.value);
    } else if (i.event.message) {
      text += ' ' + std::to_string(i.event.message->seq.value);
    }
    if (i.event.recipient) text += " to " + i.event.recipient->value;
    if (i.list_room) text += " to many";
    if (i.obsolete) text += " (obsolete)";
    return text;
  }
  std::vector<std::string> told() {
    std::vector<std::string> out;
    for (const auto& i : waiting()) out.push_back(words(i));
    return out;
  }
  outbox_outcome outcome(const outbox_item& i, outbox_outcome::kind what, std::uint32_t attempts = 1) {
    return {.tenant = tenant,
            .no = i.no,
            .what = what,
            .attempts = attempts,
            .at = time.now(),
            .next_at = time.now() + 5s,
            .error = what == outbox_outcome::kind::delivered ? "" : "it answered 500"};
  }
  void settle(const outbox_item& i, outbox_outcome::kind what, std::uint32_t attempts = 1) {
    apply(settled({outcome(i, what, attempts)}));
  }
  void deliver_all() {
    for (;;) {
      outbox_batch batch;
      for (const auto& i : waiting())
        batch.outcomes.push_back(outcome(i, outbox_outcome::kind::delivered));
      if (batch.outcomes.empty()) return;
      apply(batch);
    }
  }
  std::vector<dead_letter> letters(tenant_no of) {
    const auto all = out().dead_letters(of, 1000, {});
    REQUIRE(all);
    return all->letters;
  }
  std::vector<dead_letter> letters() { return letters(tenant); }
  void ack(const user_id& user, const room_id& room, std::int64_t seq) {
    REQUIRE(writes().begin());
    REQUIRE(writes().move_cursor({tenant, user, room, room_seq{seq}, false}));
    REQUIRE(writes().commit());
  }
  /// What goes on between commits, for so long.
  void maintain(int pieces = 200, std::chrono::milliseconds each = 50ms) {
    for (int n = 0; n < pieces; ++n) {
      time.advance(each);
      REQUIRE(writes().maintain(time.mono(), time.now()));
    }
  }
  void say(const created_room& room, int first, int last, const char* from = "ann") {
    std::vector<append_row> rows;
    for (int seq = first; seq <= last; ++seq)
      rows.push_back(message(tenant, room.no, seq, from, "message " + std::to_string(seq)));
    commit(rows);
  }
  /// Rows of a table, behind the store's back.
  std::int64_t count(const std::string& from) {
    connection raw{{.file = options.file.string(), .vfs = options.vfs, .read_only = true}};
    return raw.integer_or_throw(("SELECT count(*) FROM " + from).c_str());
  }

  tenant_no tenant;
};

using told_words = std::vector<std::string>;

}  // namespace parley::store::test
