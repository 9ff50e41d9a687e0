#include "actors/read_pool.hpp"

#include "tests/actors/words.hpp"

#include <doctest/doctest.h>

#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace parley::actors {

using namespace words;

namespace {

/// What happens, in order; any thread.
class diary {
 public:
  void write(std::string line) {
    const std::lock_guard lock(mutex_);
    lines_.push_back(std::move(line));
    changed_.notify_all();
  }
  std::vector<std::string> wait_for(std::size_t lines) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return lines_.size() >= lines; });
    return lines_;
  }
  std::size_t lines() {
    const std::lock_guard lock(mutex_);
    return lines_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> lines_;
};

/// Holds readers until it is opened.
class gate {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_; });
    --waiting_;
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void wait_for(std::size_t readers) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_ >= readers; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t waiting_ = 0;
  bool open_ = false;
};

/// Answers room_exists() only: after the gate, with a throw for a room named 255.
class gated_reader final : public store::reader {
 public:
  explicit gated_reader(gate& g) : gate_(g) {}
  result<bool> room_exists(tenant_no, room_id room) override {
    gate_.pass();
    if (room.id.bytes[15] == 255) throw std::runtime_error("out of luck");
    return true;
  }
  result<store::positions> positions(tenant_no, const user_id&) override { return no(); }
  result<store::checked_rooms> check(tenant_no, const user_id&, const std::vector<room_id>&) override {
    return no();
  }
  result<store::log_page> page(room_no, room_seq, room_seq, std::size_t, std::size_t) override {
    return no();
  }
  result<std::optional<store::room_view>> room(tenant_no, room_id,
                                               const std::optional<user_id>&) override {
    return no();
  }
  result<store::room_list> rooms_of(tenant_no, const user_id&, std::size_t, std::string_view,
                                    std::size_t) override {
    return no();
  }
  result<store::room_list> rooms_of_tenant(tenant_no, std::size_t, std::string_view,
                                           std::size_t) override {
    return no();
  }
  result<store::member_list> members(room_no, std::size_t, std::string_view, std::size_t) override {
    return no();
  }
  result<store::history_page> history(room_no, store::page_position, std::size_t, bool,
                                      std::size_t) override {
    return no();
  }
  result<store::audience> audience(tenant_no, const user_id&, std::int64_t, std::size_t) override {
    return no();
  }
  result<std::optional<user_id>> in_too_many_rooms(tenant_no, room_id, const std::vector<user_id>&,
                                                   const std::optional<user_id>&, bool,
                                                   std::uint32_t) override {
    return no();
  }
  result<store::presence_list> presence(tenant_no, const std::optional<user_id>&,
                                        const std::vector<user_id>&) override {
    return no();
  }
  result<store::sender_lookup> look_up(room_no, const user_id&, const std::optional<hash128>&,
                                       utc_time) override {
    return no();
  }
  result<std::vector<store::member_row>> owners(room_no) override { return no(); }
  result<bool> is_message(room_no, message_id) override { return no(); }
  result<std::optional<entry>> message(room_no, message_id) override { return no(); }
  result<std::optional<store::tenant_row>> tenant_by_api_key(const sha256_digest&) override {
    return no();
  }
  result<std::optional<store::tenant_row>> tenant(const tenant_id&) override { return no(); }
  result<store::tenant_list> tenants(std::size_t, std::string_view) override { return no(); }
  result<store::tenant_usage_list> tenant_usage(std::size_t, std::string_view, std::int64_t) override {
    return no();
  }
  result<std::optional<store::tenant_row>> tenant_by_key(const key_id&) override { return no(); }
  result<std::optional<utc_time>> revoked_before(tenant_no, const user_id&) override {
    return no();
  }
  result<std::optional<store::job_row>> job(std::string_view) override { return no(); }
  result<store::job_list> jobs(std::size_t, std::string_view) override { return no(); }
  result<std::optional<store::user_export_page>> export_user(tenant_no, const user_id&,
                                                             std::string_view, std::size_t,
                                                             std::size_t) override {
    return no();
  }

 private:
  static error no() { return unavailable("not here", std::chrono::milliseconds{1}); }
  gate& gate_;
};

struct pool_in_a_test {
  gate readers_wait;
  diary happened;
  read_pool it;

  explicit pool_in_a_test(std::size_t threads, const read_pool_options& options = {})
      : it(readers(threads), options) {}
  std::vector<std::unique_ptr<store::reader>> readers(std::size_t n) {
    std::vector<std::unique_ptr<store::reader>> out;
    for (; n > 0; --n) out.push_back(std::make_unique<gated_reader>(readers_wait));
    return out;
  }
  bool asks(tenant_no tenant, const std::string& what, std::uint8_t room = 1) {
    return it.submit(tenant, exists_query{key_of(room, tenant)}, [this, what](const read_result& r) {
      happened.write(what + (std::holds_alternative<error>(r) ? " failed" : ""));
    });
  }
  /// So that what is asked next has to queue.
  void keep_readers_busy(std::size_t threads) {
    for (std::size_t n = 0; n < threads; ++n) asks(tenant_no{99}, "busy");
    readers_wait.wait_for(threads);
  }
};

}  // namespace

TEST_SUITE("SPEC 2.8 readers are bounded and fair") {
  TEST_CASE("tenants take turns: one who asks much delays itself first") {
    pool_in_a_test pool{1};
    pool.keep_readers_busy(1);
    for (const char* q : {"a1", "a2", "a3", "a4"}) pool.asks(acme, q);
    for (const char* q : {"g1", "g2"}) pool.asks(globex, q);
    pool.readers_wait.open();
    CHECK(pool.happened.wait_for(7) ==
          std::vector<std::string>{"busy", "a1", "g1", "a2", "g2", "a3", "a4"});
    CHECK(pool.it.served() == 7);
    CHECK(pool.it.queued() == 0);
  }
  TEST_CASE("a tenant's queue has a bound; beyond it only that tenant is refused, at once") {
    pool_in_a_test pool{1, {.queue_max_per_tenant = 2, .queue_max = 100}};
    pool.keep_readers_busy(1);
    CHECK(pool.asks(acme, "1"));
    CHECK(pool.asks(acme, "2"));
    CHECK(!pool.asks(acme, "3"));
    CHECK(pool.asks(globex, "4"));
    CHECK(pool.it.refused() == 1);
    pool.readers_wait.open();
    const auto all = pool.happened.wait_for(4);
    CHECK(std::find(all.begin(), all.end(), "3") == all.end());
  }
  TEST_CASE("all queues together have a bound") {
    pool_in_a_test pool{1, {.queue_max_per_tenant = 2, .queue_max = 3}};
    pool.keep_readers_busy(1);
    CHECK(pool.asks(acme, "1"));
    CHECK(pool.asks(acme, "2"));
    CHECK(pool.asks(globex, "3"));
    CHECK(!pool.asks(globex, "4"));
    CHECK(pool.it.queued() == 3);
    pool.readers_wait.open();
    pool.happened.wait_for(4);
  }
  TEST_CASE("all readers work at once") {
    pool_in_a_test pool{3};
    pool.keep_readers_busy(3);  // returns only when three are inside
    pool.readers_wait.open();
    CHECK(pool.happened.wait_for(3).size() == 3);
  }
  TEST_CASE("an exception fails its query and the reader lives on") {
    pool_in_a_test pool{1};
    pool.readers_wait.open();
    pool.asks(acme, "bad", 255);
    pool.asks(acme, "good");
    CHECK(pool.happened.wait_for(2) == std::vector<std::string>{"bad failed", "good"});
  }
  TEST_CASE("without threads the owner runs the queries, and a refusal is as with them") {
    pool_in_a_test pool{1, {.threads = 0, .queue_max = 2}};
    pool.readers_wait.open();
    CHECK(!pool.it.run_one());
    CHECK(pool.asks(acme, "a 1"));
    CHECK(pool.asks(acme, "a 2"));
    CHECK(!pool.asks(globex, "g"));
    CHECK(pool.happened.lines() == 0);
    CHECK(pool.it.run_one());
    CHECK(pool.happened.wait_for(1) == std::vector<std::string>{"a 1"});
    CHECK(pool.asks(globex, "g"));
    CHECK(pool.it.run_one());
    CHECK(pool.it.run_one());
    CHECK(!pool.it.run_one());
    CHECK(pool.it.waited().count() == 3);
    CHECK(pool.it.ran().count() == 3);
    CHECK(pool.happened.wait_for(3) == std::vector<std::string>{"a 1", "a 2", "g"});
  }
  TEST_CASE("the end drops what waits and joins") {
    diary kept;
    {
      pool_in_a_test pool{1};
      pool.keep_readers_busy(1);
      pool.it.submit(acme, exists_query{key_of(1)},
                     [&](const read_result&) { kept.write("too late"); });
      // The reader is let go only when the pool is already ending, or before: either way nothing hangs.
      pool.readers_wait.open();
    }
    CHECK(kept.lines() <= 1);
  }
}

}  // namespace parley::actors
