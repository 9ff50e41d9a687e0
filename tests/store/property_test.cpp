// Random histories against a simple model: batches with retries, failing items, rollbacks, clean ends and crashes. After
// each batch every reading function must answer as the model does.

#include "tests/store/fault_vfs.hpp"
#include "tests/store/store_fixture.hpp"
#include "tests/support/seeds.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

using namespace parley;
using namespace parley::store;
using namespace parley::store::test;

namespace {

// ------------------------------------------------------------------------------------------------------- the model

struct model_member {
  member_role role = member_role::member;
  std::int64_t joined_seq = 0;
  utc_time joined_at{};
  std::int64_t ack = 0;
  std::int64_t read = 0;
};
struct model_room {
  room_no no;
  room_info info;
  std::map<std::string, model_member> members;
  std::vector<entry> log;   ///< as it reads now; of edits the own text is not used
  std::int64_t newest = 0;  ///< place of the newest entry in the order of all
  std::map<std::pair<std::string, std::string>, used_key> keys;
  bool live = true;

  [[nodiscard]] std::int64_t last() const { return static_cast<std::int64_t>(log.size()); }
  entry& at(room_seq seq) { return log[static_cast<std::size_t>(seq.value - 1)]; }
  [[nodiscard]] const entry& at(room_seq seq) const {
    return log[static_cast<std::size_t>(seq.value - 1)];
  }
  /// The entry as a reader must see it.
  [[nodiscard]] entry read(const entry& e) const {
    entry out = e;
    if (auto* edit = std::get_if<message_edited_body>(&out.body)) {
      const auto& m = std::get<message_body>(at(edit->message_seq).body);
      edit->content = m.content;
      edit->meta = m.meta;
    }
    return out;
  }
};
struct model {
  std::vector<model_room> rooms;
  std::vector<std::string> users;  ///< in the order in which they were first named
  std::int64_t entries = 0;

  void named(const std::string& user) {
    if (std::find(users.begin(), users.end(), user) == users.end()) users.push_back(user);
  }
};

bool same(const entry& a, const entry& b) {
  if (a.seq != b.seq || a.kind() != b.kind() || a.message != b.message || a.actor != b.actor ||
      a.created_at != b.created_at) {
    return false;
  }
  return std::visit(
      [&](const auto& x) {
        using body = std::decay_t<decltype(x)>;
        const auto& y = std::get<body>(b.body);
        if constexpr (std::is_same_v<body, message_body>) {
          return x.sender == y.sender && x.content == y.content && x.meta == y.meta &&
                 x.reply_to == y.reply_to && x.client_msg_id == y.client_msg_id &&
                 x.edited_at == y.edited_at && x.deleted_at == y.deleted_at;
        } else if constexpr (std::is_same_v<body, message_edited_body>) {
          return x.message_seq == y.message_seq && x.content == y.content && x.meta == y.meta &&
                 x.edited_at == y.edited_at;
        } else if constexpr (std::is_same_v<body, message_deleted_body>) {
          return x.message_seq == y.message_seq && x.deleted_at == y.deleted_at;
        } else if constexpr (std::is_same_v<body, member_joined_body>) {
          return x.users == y.users && x.role == y.role;
        } else if constexpr (std::is_same_v<body, member_left_body>) {
          return x.users == y.users && x.reason == y.reason;
        } else if constexpr (std::is_same_v<body, member_updated_body>) {
          return x.user == y.user && x.role == y.role;
        } else {
          return x.name == y.name && x.metadata == y.metadata && x.posting == y.posting;
        }
      },
      a.body);
}

bool same(const std::vector<entry>& a, const std::vector<entry>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const entry& x, const entry& y) { return same(x, y); });
}

bool same(const room_info& a, const room_info& b) {
  return a.id == b.id && a.type == b.type && a.name == b.name && a.metadata == b.metadata &&
         a.posting == b.posting && a.first_seq == b.first_seq && a.last_seq == b.last_seq &&
         a.member_count == b.member_count && a.created_by == b.created_by &&
         a.created_at == b.created_at && a.updated_at == b.updated_at &&
         a.dm_members == b.dm_members;
}

// ----------------------------------------------------------------------------------------------------- the history

class random_history : public has_disk, public store_fixture {
 public:
  explicit random_history(std::uint64_t seed) : store_fixture(seed) {
    options.vfs = disk.name();
    options.checkpoint_pages = 20;
    options.wal_limit_pages = 80;
    open();
    tenant = make_tenant();
    other_tenant = make_tenant("tenant_2");
  }

  void run(int batches) {
    for (int i = 0; i < batches; ++i) {
      batch();
      time.advance(std::chrono::milliseconds{random.below(700)});
      REQUIRE(writes().maintain(time.mono(), time.now()));
      compare();
      if (random.chance(6)) reopen();
    }
    check_clean();
  }

 private:
  std::string a_user() { return "user-" + std::to_string(random.below(7)); }
  std::string a_text() {
    return std::string(random.below(200), static_cast<char>('a' + random.below(26)));
  }
  json_text some_json() {
    return json_text{random.chance(50) ? "" : "{\"n\":" + std::to_string(random.below(9)) + "}"};
  }
  model_room* a_room_of_ours() {
    if (now.rooms.empty()) return nullptr;
    return &now.rooms[random.below(now.rooms.size())];
  }

  void batch() {
    const model before = now;
    REQUIRE(writes().begin());
    spoiled = false;
    const std::size_t items = 1 + random.below(12);
    for (std::size_t i = 0; i < items && !spoiled; ++i) item();
    if (spoiled || random.chance(10)) {
      // Rolled back: by us, or because the batch can't be saved.
      if (spoiled && random.chance(50)) {
        CHECK_FALSE(writes().commit());
      } else {
        writes().rollback();
      }
      now = before;
      return;
    }
    REQUIRE(writes().commit());
  }

  void item() {
    model_room* room = a_room_of_ours();
    if (room == nullptr || random.chance(4)) return create();
    if (!room->live) return refused_in_a_deleted_room(*room);
    switch (random.below(20)) {
      case 0:
        return wrong_seq(*room);
      case 1:
        return change_room(*room);
      case 2:
        return join(*room);
      case 3:
        return leave(*room);
      case 4:
        return change_role(*room);
      case 5:
      case 6:
        return edit(*room);
      case 7:
        return remove(*room);
      case 8:
        return random.chance(20) ? delete_room(*room) : send(*room);
      case 9:
      case 10:
      case 11:
        return move_cursor(*room);
      case 12:
        return used_key_again(*room);
      case 13:
        return random.chance(25) ? spoil(*room) : send(*room);
      default:
        return send(*room);
    }
  }

  void create() {
    const bool dm = random.chance(30);
    std::set<std::string> members;
    const std::size_t wanted = dm ? 2 : 1 + random.below(4);
    while (members.size() < wanted) members.insert(a_user());
    new_room r = a_room(tenant, {},
                        dm                  ? room_type::dm
                        : random.chance(50) ? room_type::group
                                            : room_type::channel);
    for (const auto& m : members) {
      r.members.emplace_back(user_id{m},
                             random.chance(20) ? member_role::owner : member_role::member);
    }
    if (random.chance(50)) r.created_by = r.members.front().first;
    if (random.chance(50)) r.name = a_text();
    r.metadata = some_json();
    auto made = writes().create_room(r);
    REQUIRE(made);
    for (const auto& m : r.members) now.named(m.first.value);
    if (dm) {
      const std::pair pair{user_id{*members.begin()}, user_id{*members.rbegin()}};
      const auto known = std::find_if(now.rooms.begin(), now.rooms.end(), [&](const model_room& x) {
        return x.live && x.info.dm_members == pair;
      });
      CHECK(made->created == (known == now.rooms.end()));
      if (known != now.rooms.end()) {
        CHECK(made->no == known->no);
        return;
      }
    }
    CHECK(made->created);
    model_room m;
    m.no = made->no;
    m.info.id = r.id;
    m.info.type = r.type;
    m.info.name = r.name;
    m.info.metadata = r.metadata;
    m.info.posting = r.posting;
    m.info.created_by = r.created_by;
    m.info.created_at = m.info.updated_at = time.now();
    m.info.member_count = static_cast<std::int64_t>(members.size());
    if (dm) m.info.dm_members = std::pair{user_id{*members.begin()}, user_id{*members.rbegin()}};
    for (const auto& [user, role] : r.members) m.members[user.value] = {role, 0, time.now(), 0, 0};
    now.rooms.push_back(std::move(m));
  }

  append_row next(const model_room& room, entry_body body) {
    append_row r = row(tenant, room.no, room.last() + 1, std::move(body));
    if (random.chance(80)) r.e.actor = user_id{a_user()};
    return r;
  }
  /// Appends what must be accepted.
  void accept(model_room& room, const append_row& r) {
    auto done = writes().append(r);
    REQUIRE(done);
    // In the order in which the store interns them, which is the order of the lists of members.
    std::visit(
        [&](const auto& b) {
          using body = std::decay_t<decltype(b)>;
          if constexpr (std::is_same_v<body, message_body>) now.named(b.sender.value);
          if constexpr (std::is_same_v<body, member_joined_body> ||
                        std::is_same_v<body, member_left_body>) {
            for (const auto& u : b.users) now.named(u.value);
          }
          if constexpr (std::is_same_v<body, member_updated_body>) now.named(b.user.value);
        },
        r.e.body);
    if (r.e.actor) now.named(r.e.actor->value);
    room.log.push_back(r.e);
    room.newest = ++now.entries;
    room.info.last_seq = r.e.seq;
    if (r.key) {
      now.named(r.key->sender.value);
      room.keys[{r.key->sender.value, key_text}] = {*r.key, r.e.seq, r.e.message, r.e.created_at};
    }
  }

  void send(model_room& room) {
    message_body b;
    b.sender = user_id{a_user()};
    b.content = a_text();
    b.meta = some_json();
    if (random.chance(20)) b.client_msg_id = "c" + std::to_string(random.below(1000));
    if (random.chance(20)) b.reply_to = message_id{ids.next()};
    append_row r = next(room, b);
    if (random.chance(50)) {
      key_text = "key-" + std::to_string(random.below(100000));
      if (room.keys.contains({b.sender.value, key_text})) return;
      r.key = key_of(b.sender.value.c_str(), key_text.c_str());
    }
    accept(room, r);
  }

  void used_key_again(model_room& room) {
    if (room.keys.empty()) return;
    auto it = room.keys.begin();
    std::advance(it, random.below(room.keys.size()));
    message_body b;
    b.sender = it->second.key.sender;
    append_row r = next(room, b);
    if (r.e.actor) return;  // a name that it brings would stay, and the model does not want to know
    r.key = it->second.key;
    auto done = writes().append(r);
    REQUIRE_FALSE(done);
    CHECK(done.error().scope == failure_scope::item);
  }

  void wrong_seq(model_room& room) {
    append_row r =
        message(tenant, room.no, room.last() + (random.chance(50) ? 0 : 2), "user-0", "x");
    auto done = writes().append(r);
    REQUIRE_FALSE(done);
    CHECK(done.error().scope == failure_scope::item);
  }

  void refused_in_a_deleted_room(model_room& room) {
    auto done = writes().append(message(tenant, room.no, room.last() + 1, "user-0", "x"));
    REQUIRE_FALSE(done);
    CHECK(done.error().why.code == error_code::not_found);
  }

  /// A membership that is not true: the whole batch goes.
  void spoil(model_room& room) {
    append_row lie = next(room, member_left_body{{user_id{"user-0"}}, leave_reason::left});
    if (!room.members.empty()) {
      lie.e.body = member_joined_body{{user_id{room.members.begin()->first}}, member_role::member};
    }
    auto done = writes().append(lie);
    REQUIRE_FALSE(done);
    CHECK(done.error().scope == failure_scope::batch);
    spoiled = true;
  }

  void change_room(model_room& room) {
    room_updated_body b;
    if (random.chance(50))
      b.name = random.chance(30) ? std::optional<std::string>{} : std::optional{a_text()};
    if (random.chance(50)) b.metadata = some_json();
    if (random.chance(50))
      b.posting = random.chance(50) ? posting_policy::all : posting_policy::admins;
    accept(room, next(room, b));
    if (b.name) room.info.name = *b.name;
    if (b.metadata) room.info.metadata = *b.metadata;
    if (b.posting) room.info.posting = *b.posting;
    if (b.name || b.metadata || b.posting) room.info.updated_at = time.now();
  }

  void join(model_room& room) {
    if (room.info.type == room_type::dm) return;
    member_joined_body b;
    b.role = random.chance(30) ? member_role::admin : member_role::member;
    for (std::size_t i = 0; i < 3; ++i) {
      const user_id u{a_user()};
      if (!room.members.contains(u.value) &&
          std::find(b.users.begin(), b.users.end(), u) == b.users.end()) {
        b.users.push_back(u);
      }
    }
    if (b.users.empty()) return;
    accept(room, next(room, b));
    for (const auto& u : b.users)
      room.members[u.value] = {b.role, room.last(), time.now(), room.last(), room.last()};
    room.info.member_count += static_cast<std::int64_t>(b.users.size());
  }
  void leave(model_room& room) {
    if (room.members.empty() || room.info.type == room_type::dm) return;
    member_left_body b{{user_id{room.members.begin()->first}}, leave_reason::removed};
    accept(room, next(room, b));
    room.members.erase(room.members.begin());
    --room.info.member_count;
  }
  void change_role(model_room& room) {
    if (room.members.empty()) return;
    auto it = room.members.begin();
    std::advance(it, random.below(room.members.size()));
    const auto role = static_cast<member_role>(1 + random.below(3));
    accept(room, next(room, member_updated_body{user_id{it->first}, role}));
    it->second.role = role;
  }

  entry* a_message(model_room& room) {
    if (room.log.empty()) return nullptr;
    entry& e = room.log[random.below(room.log.size())];
    return e.kind() == entry_kind::message ? &e : nullptr;
  }
  void edit(model_room& room) {
    const entry* target = a_message(room);
    if (target == nullptr) return;
    const room_seq at = target->seq;
    append_row r = next(room, message_edited_body{at, a_text(), some_json(), time.now()});
    r.e.message = target->message;
    if (std::get<message_body>(target->body).deleted_at) return refuse_about_deleted(r);
    accept(room, r);
    auto& m = std::get<message_body>(room.at(at).body);
    m.content = std::get<message_edited_body>(r.e.body).content;
    m.meta = std::get<message_edited_body>(r.e.body).meta;
    m.edited_at = time.now();
  }
  void remove(model_room& room) {
    const entry* target = a_message(room);
    if (target == nullptr) return;
    const room_seq at = target->seq;
    append_row r = next(room, message_deleted_body{at, time.now()});
    r.e.message = target->message;
    if (std::get<message_body>(target->body).deleted_at) return refuse_about_deleted(r);
    accept(room, r);
    auto& m = std::get<message_body>(room.at(at).body);
    m.content.clear();
    m.meta = {};
    m.deleted_at = time.now();
  }
  void refuse_about_deleted(const append_row& r) {
    auto done = writes().append(r);
    REQUIRE_FALSE(done);
    CHECK(done.error().scope == failure_scope::item);
    CHECK(done.error().why.code == error_code::conflict);
  }

  void delete_room(model_room& room) {
    auto last = writes().delete_room(tenant, room.no, time.now());
    REQUIRE(last);
    CHECK(last->value == room.last());
    room.live = false;
  }

  void move_cursor(model_room& room) {
    const std::string user = a_user();
    const auto to =
        static_cast<std::int64_t>(random.below(static_cast<std::size_t>(room.last()) + 2));
    const bool read = random.chance(50);
    auto moved = writes().move_cursor({tenant, user_id{user}, room.info.id, room_seq{to}, read});
    const auto member = room.members.find(user);
    if (member == room.members.end() || to > room.last()) {
      REQUIRE_FALSE(moved);
      CHECK(moved.error().scope == failure_scope::item);
      CHECK(moved.error().why.code ==
            (member == room.members.end() ? error_code::not_found : error_code::validation));
      return;
    }
    REQUIRE(moved);
    model_member& m = member->second;
    const auto before = std::pair{m.ack, m.read};
    m.ack = std::max(m.ack, to);
    if (read) m.read = std::max(m.read, to);
    CHECK(moved->last_ack.value == m.ack);
    CHECK(moved->last_read.value == m.read);
    CHECK(moved->moved == (before != std::pair{m.ack, m.read}));
  }

  void reopen() {
    if (random.chance(50)) {
      close();
    } else {
      crash();
      disk.power_loss(fault_vfs::loss::some, random.below(1000000));
    }
    open();
    CHECK_FALSE(db->report().history_may_be_lost);
    compare();
  }

  // --------------------------------------------------------------------------------------------------- comparison

  void compare() {
    compare_rooms();
    for (int u = 0; u < 7; ++u) compare_user("user-" + std::to_string(u));
    compare_tenant();
  }

  std::vector<const model_room*> rooms_in_order(const std::string& user) {
    std::vector<const model_room*> out;
    for (const auto& r : now.rooms) {
      if (r.live && r.members.contains(user)) out.push_back(&r);
    }
    std::sort(out.begin(), out.end(), [](const model_room* a, const model_room* b) {
      return a->newest != b->newest ? a->newest > b->newest : a->no > b->no;
    });
    return out;
  }

  void compare_user(const std::string& user) {
    const auto expected = rooms_in_order(user);
    const auto got = reads->positions(tenant, user_id{user});
    REQUIRE(got);
    CHECK(got->snapshot == writes().status().last_commit);
    REQUIRE(got->rooms.size() == expected.size());
    std::vector<room_id> asked;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const model_member& m = expected[i]->members.at(user);
      const room_position& p = got->rooms[i];
      CHECK(p.no == expected[i]->no);
      CHECK(p.room == expected[i]->info.id);
      CHECK(p.last_seq.value == expected[i]->last());
      CHECK(p.last_ack.value == m.ack);
      CHECK(p.last_read.value == m.read);
      CHECK(p.role == m.role);
    }
    for (const auto& r : now.rooms) asked.push_back(r.info.id);
    const auto checked = reads->check(tenant, user_id{user}, asked);
    REQUIRE(checked);
    const auto foreign = reads->check(other_tenant, user_id{user}, asked);
    REQUIRE(foreign);
    for (std::size_t i = 0; i < asked.size(); ++i) {
      const model_room& r = now.rooms[i];
      CHECK(checked->rooms[i].has_value() == (r.live && r.members.contains(user)));
      if (checked->rooms[i]) CHECK(checked->rooms[i]->no == r.no);
      CHECK_FALSE(foreign->rooms[i]);
    }
    // The list, in pages of a random size.
    std::vector<const model_room*> listed;
    std::string cursor;
    const std::size_t limit = 1 + random.below(5);
    do {
      const auto page = reads->rooms_of(tenant, user_id{user}, limit, cursor, 0);
      REQUIRE(page);
      for (const auto& item : page->rooms) {
        REQUIRE(listed.size() < expected.size());
        const model_room& r = *expected[listed.size()];
        listed.push_back(&r);
        const model_member& m = r.members.at(user);
        CHECK(item.room.no == r.no);
        CHECK(same(item.room.info, r.info));
        REQUIRE(item.room.self);
        CHECK(item.room.self->role == m.role);
        CHECK(item.room.self->joined_seq.value == m.joined_seq);
        CHECK(item.room.self->joined_at == m.joined_at);
        CHECK(item.last_ack.value == m.ack);
        CHECK(item.last_read.value == m.read);
        CHECK(item.unread_count == unread(r, user, m.read));
        CHECK(item.last_message.has_value() == (newest_message(r) != nullptr));
        if (item.last_message) CHECK(same(*item.last_message, *newest_message(r)));
      }
      cursor = page->next_cursor;
    } while (!cursor.empty());
    CHECK(listed == expected);
  }

  static std::int64_t unread(const model_room& r, const std::string& user, std::int64_t read) {
    return std::count_if(r.log.begin(), r.log.end(), [&](const entry& e) {
      const auto* m = std::get_if<message_body>(&e.body);
      return m != nullptr && e.seq.value > read && m->sender.value != user && !m->deleted_at;
    });
  }
  static const entry* newest_message(const model_room& r) {
    const auto found = std::find_if(r.log.rbegin(), r.log.rend(),
                                    [](const entry& e) { return e.kind() == entry_kind::message; });
    return found == r.log.rend() ? nullptr : &*found;
  }

  void compare_rooms() {
    for (const model_room& r : now.rooms) {
      const auto page = reads->page(r.no, room_seq{0}, room_seq{INT64_MAX}, 100000, SIZE_MAX);
      REQUIRE(page);
      CHECK(page->room_exists == r.live);
      CHECK(*reads->room_exists(tenant, r.info.id) == r.live);
      CHECK_FALSE(*reads->room_exists(other_tenant, r.info.id));
      if (!r.live) {
        CHECK(page->entries.empty());
        continue;
      }
      std::vector<entry> expected;
      for (const entry& e : r.log) expected.push_back(r.read(e));
      CHECK(same(page->entries, expected));
      compare_slice(r, expected);
      compare_history(r, expected);
      compare_members(r);
      compare_lookups(r);
      const auto view = reads->room(tenant, r.info.id, std::nullopt);
      REQUIRE(view);
      REQUIRE(*view);
      CHECK(same((*view)->info, r.info));
      const auto opened = writes().open_room(tenant, r.info.id, utc_time{});
      REQUIRE(opened);
      REQUIRE(*opened);
      CHECK(same((*opened)->info, r.info));
      CHECK((*opened)->members.size() == r.members.size());
      CHECK((*opened)->keys.size() == r.keys.size());
    }
  }

  void compare_slice(const model_room& r, const std::vector<entry>& all) {
    const auto after = static_cast<std::int64_t>(random.below(all.size() + 1));
    const auto to = after + static_cast<std::int64_t>(random.below(all.size() + 2));
    const std::size_t limit = 1 + random.below(6);
    std::vector<entry> expected;
    bool complete = true;
    for (const entry& e : all) {
      if (e.seq.value <= after || e.seq.value > to) continue;
      if (expected.size() == limit) {
        complete = false;
        break;
      }
      expected.push_back(e);
    }
    const auto got = reads->page(r.no, room_seq{after}, room_seq{to}, limit, SIZE_MAX);
    REQUIRE(got);
    CHECK(same(got->entries, expected));
    CHECK(got->complete == complete);
  }

  void compare_history(const model_room& r, const std::vector<entry>& all) {
    const bool messages_only = random.chance(50);
    std::vector<entry> of_kind;
    for (const entry& e : all) {
      if (!messages_only || e.kind() == entry_kind::message) of_kind.push_back(e);
    }
    const page_position from{static_cast<page_position::anchor>(random.below(5)),
                             room_seq{static_cast<std::int64_t>(random.below(all.size() + 3))}};
    const std::size_t limit = 1 + random.below(7);
    const auto got = reads->history(r.no, from, limit, messages_only, 0);
    REQUIRE(got);
    CHECK(got->first_seq == r.info.first_seq);
    CHECK(got->last_seq.value == r.last());

    // Between which indexes of `of_kind` the page must lie.
    const auto size = of_kind.size();
    const auto first_at_least = [&](std::int64_t seq) {
      return static_cast<std::size_t>(std::count_if(
          of_kind.begin(), of_kind.end(), [&](const entry& e) { return e.seq.value < seq; }));
    };
    std::size_t begin = 0;
    std::size_t end = 0;
    switch (from.from) {
      case page_position::anchor::newest:
        end = size;
        begin = end - std::min(end, limit);
        break;
      case page_position::anchor::oldest:
        end = std::min(size, limit);
        break;
      case page_position::anchor::after:
        begin = first_at_least(from.seq.value + 1);
        end = std::min(size, begin + limit);
        break;
      case page_position::anchor::before:
        end = first_at_least(from.seq.value);
        begin = end - std::min(end, limit);
        break;
      case page_position::anchor::around: {
        const std::size_t middle = first_at_least(from.seq.value);
        begin = middle - std::min(middle, limit / 2);
        end = std::min(size, begin + limit);
        begin = end - std::min(end, limit);
        break;
      }
    }
    const std::vector<entry> expected(of_kind.begin() + static_cast<std::ptrdiff_t>(begin),
                                      of_kind.begin() + static_cast<std::ptrdiff_t>(end));
    CHECK(same(got->entries, expected));
    CHECK(got->has_more_before == (begin > 0));
    CHECK(got->has_more_after == (end < size));
  }

  void compare_members(const model_room& r) {
    std::vector<std::string> expected;
    for (const auto& user : now.users) {
      if (r.members.contains(user)) expected.push_back(user);
    }
    std::vector<std::string> got;
    std::string cursor;
    const std::size_t limit = 1 + random.below(4);
    do {
      const auto page = reads->members(r.no, limit, cursor, 0);
      REQUIRE(page);
      CHECK(page->member_count == static_cast<std::int64_t>(expected.size()));
      for (const auto& item : page->members) {
        got.push_back(item.member.user.value);
        const model_member& m = r.members.at(got.back());
        CHECK(item.member.role == m.role);
        CHECK(item.member.joined_seq.value == m.joined_seq);
        CHECK(item.last_ack.value == m.ack);
        CHECK(item.last_read.value == m.read);
      }
      cursor = page->next_cursor;
    } while (!cursor.empty());
    CHECK(got == expected);
  }

  void compare_lookups(const model_room& r) {
    const std::string user = a_user();
    const auto found = reads->look_up(r.no, user_id{user}, std::nullopt, utc_time{});
    REQUIRE(found);
    CHECK(found->member.has_value() == r.members.contains(user));
    if (!r.keys.empty()) {
      auto it = r.keys.begin();
      std::advance(it, random.below(r.keys.size()));
      const auto key = reads->look_up(r.no, it->second.key.sender, it->second.key.key, utc_time{});
      REQUIRE(key);
      REQUIRE(key->key);
      CHECK(key->key->seq == it->second.seq);
      CHECK(key->key->message == it->second.message);
      CHECK(key->key->created_at == it->second.created_at);
    }
    if (r.log.empty()) return;
    const entry& e = r.log[random.below(r.log.size())];
    const bool is_one = e.kind() == entry_kind::message;
    if (e.message == message_id{}) return;
    const auto m = reads->message(r.no, e.message);
    REQUIRE(m);
    REQUIRE(*m);
    CHECK((**m).kind() == entry_kind::message);
    if (is_one) CHECK(same(**m, e));
    CHECK(*reads->is_message(r.no, e.message));
  }

  void compare_tenant() {
    std::vector<room_no> expected;
    for (auto it = now.rooms.rbegin(); it != now.rooms.rend(); ++it) {
      if (it->live) expected.push_back(it->no);
    }
    std::sort(expected.begin(), expected.end(), std::greater<>{});
    std::vector<room_no> got;
    std::string cursor;
    const std::size_t limit = 1 + random.below(5);
    do {
      const auto page = reads->rooms_of_tenant(tenant, limit, cursor, 0);
      REQUIRE(page);
      for (const auto& item : page->rooms) got.push_back(item.room.no);
      cursor = page->next_cursor;
    } while (!cursor.empty());
    CHECK(got == expected);
    CHECK(reads->rooms_of_tenant(other_tenant, 10, "", 0)->rooms.empty());
  }

  tenant_no tenant;
  tenant_no other_tenant;
  model now;
  bool spoiled = false;
  std::string key_text;
};

}  // namespace

TEST_SUITE("SPEC 2.2 one order") {
  TEST_CASE(
      "whatever is written, refused, rolled back or interrupted: readers see what the model says") {
    parley::tests::for_each_seed(30, [](std::uint64_t seed) { random_history{seed}.run(40); });
  }
}
