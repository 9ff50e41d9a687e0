// One reader of ten stops reading while 8 kB messages flow. PARLEY_SLOW_READER_SECONDS: for how long, at 400 messages a
// second; without it as fast as it goes until each of the others has read 30 MB.

#include "tests/promises/stage.hpp"
#include "tests/support/await.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using namespace parley::tests;
using namespace std::chrono_literals;

namespace {

using clock = std::chrono::steady_clock;

constexpr int others = 9;
constexpr std::size_t content_bytes = 8 * 1024;

/// `"seq":17` → 17; parsing 8 kB of JSON ten times would make the test the bottleneck.
std::int64_t number_after(std::string_view text, std::string_view name) {
  const auto at = text.find(name);
  if (at == std::string_view::npos) return -1;
  std::int64_t value = -1;
  std::from_chars(text.data() + at + name.size(), text.data() + text.size(), value);
  return value;
}

std::int64_t now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(clock::now().time_since_epoch()).count();
}

/// Reads the messages of one room on a thread of its own, and notes how long each took since it was sent.
class reader {
 public:
  reader(ws_client client, std::int64_t last)
      : client_(std::move(client)),
        thread_([this, last] {
          try {
            while (seen_ < last) {
              const auto text = client_.next_text(30s);
              if (!text) throw deadline_passed{"nothing came"};
              if (!text->starts_with(R"({"type":"message",)")) continue;
              if (number_after(*text, R"("seq":)") != seen_ + 1) {
                ++out_of_order_;
              }
              ++seen_;
              took_us_.push_back(now_us() - number_after(*text, "sent at "));
            }
          } catch (const std::exception& e) {
            trouble_ = e.what();
          }
        }) {}
  reader(const reader&) = delete;
  reader& operator=(const reader&) = delete;
  ~reader() = default;

  [[nodiscard]] std::int64_t seen() const { return seen_; }
  void join() { thread_.join(); }
  [[nodiscard]] int out_of_order() const { return out_of_order_; }
  [[nodiscard]] const std::string& trouble() const { return trouble_; }
  [[nodiscard]] const std::vector<std::int64_t>& took_us() const { return took_us_; }

 private:
  ws_client client_;
  std::atomic<std::int64_t> seen_{0};
  int out_of_order_ = 0;
  std::string trouble_;
  std::vector<std::int64_t> took_us_;
  std::jthread thread_;  // last: it uses the others
};

std::string in_ms(std::int64_t us) {
  std::ostringstream out;
  out << static_cast<double>(us) / 1000.0 << " ms";
  return out.str();
}

struct figures {
  std::int64_t p50 = 0;
  std::int64_t p99 = 0;
  std::int64_t longest = 0;
};
figures figures_of(std::vector<std::int64_t> us) {
  if (us.empty()) return {};
  std::sort(us.begin(), us.end());
  return {us[us.size() / 2], us[us.size() * 99 / 100], us.back()};
}

struct flood {
  std::int64_t messages = 0;
  std::chrono::microseconds pause{0};  ///< between two messages; 0: as fast as they are accepted
};

/// Sends with a window of messages in flight, or paced.
void send_all(ws_client& sender, const std::string& room, const flood& f) {
  constexpr std::int64_t window = 32;
  const std::string filling(content_bytes, 'x');
  std::int64_t accepted = 0;
  const auto begin = clock::now();
  for (std::int64_t i = 0; i < f.messages; ++i) {
    if (f.pause.count() > 0)
      std::this_thread::sleep_until(begin + i * f.pause);  // the load, not a wait
    auto content = "sent at " + std::to_string(now_us()) + " ";
    content += filling.substr(content.size());
    sender.send_text(R"({"type":"send_message","room_id":")" + room + R"(","content":")" + content +
                     R"("})");
    while (i - accepted >= window) {
      const auto text = sender.next_text(30s);
      REQUIRE(text);
      if (text->starts_with(R"({"type":"message.accepted")")) ++accepted;
      REQUIRE_FALSE(text->starts_with(R"({"type":"error")"));
    }
  }
  while (accepted < f.messages) {
    const auto text = sender.next_text(30s);
    REQUIRE(text);
    if (text->starts_with(R"({"type":"message.accepted")")) ++accepted;
  }
}

struct flood_result {
  figures latency;
  std::int64_t rss_growth_kib = 0;
};

/// One room of ten and a sender outside the ten's reading; with or without the tenth reading.
flood_result flood_room(const stage& s, const flood& f, bool with_slow_one) {
  std::vector<std::string> members{"sender", "slow"};
  for (int i = 0; i < others; ++i) members.push_back("reader-" + std::to_string(i));
  const auto room = s.room("group", members);

  ws_options options;
  options.headers = {{"X-API-Key", s.tenant.api_key}, {"X-User-Id", "slow"}};
  options.receive_buffer_bytes = 16 * 1024;  // so that the node sees at once that nobody reads
  options.query = "sync=manual";
  ws_client slow{s.node.address(), options};
  slow.receive_type("hello");
  if (with_slow_one) {
    REQUIRE(slow.call({{"type", "subscribe"}, {"room_id", room}})["seq"] == 0);
  }
  // In manual mode the sender sees the answers only.
  auto sender = s.connect("sender", "sync=manual");
  sender.receive_type("hello");
  std::vector<std::unique_ptr<reader>> readers;
  for (int i = 0; i < others; ++i) {
    auto client = s.connect("reader-" + std::to_string(i), "sync=manual");
    client.receive_type("hello");
    REQUIRE(client.call({{"type", "subscribe"}, {"room_id", room}})["seq"] == 0);
    readers.push_back(std::make_unique<reader>(std::move(client), f.messages));
  }
  flood_result result;
  const auto rss_before = resident_kib(s.node.pid());
  send_all(sender, room, f);
  std::vector<std::int64_t> all;
  for (auto& r : readers) {
    r->join();
    CHECK(r->trouble().empty());
    CHECK(r->seen() == f.messages);
    CHECK(r->out_of_order() == 0);
    all.insert(all.end(), r->took_us().begin(), r->took_us().end());
  }
  result.rss_growth_kib = resident_kib(s.node.pid()) - rss_before;
  result.latency = figures_of(std::move(all));
  if (with_slow_one) {
    // Now it reads: everything, in order, and then it is live.
    for (std::int64_t seq = 1; seq <= f.messages; ++seq) {
      const auto text = slow.next_text(30s);
      REQUIRE(text);
      REQUIRE(text->starts_with(R"({"type":"message",)"));
      REQUIRE(number_after(*text, R"("seq":)") == seq);
    }
    REQUIRE(slow.call({{"type", "ping"}})["type"] == "pong");
    auto backend = s.backend();
    post(backend, room, "sender", "live again");
    await_entry(slow, room, f.messages + 1);
  }
  return result;
}

}  // namespace

TEST_SUITE("SPEC 2.6 slow readers cost nothing") {
  TEST_CASE(
      "one of ten stops reading: the others get all, memory stays bounded, then it gets all in "
      "order") {
    const auto seconds = from_environment("PARLEY_SLOW_READER_SECONDS", 0);
    constexpr std::int64_t per_second = 400;
    const flood f =
        seconds == 0 ? flood{4'000, 0us} : flood{per_second * seconds, 1'000'000us / per_second};
    const std::int64_t backlog_kib = f.messages * static_cast<std::int64_t>(content_bytes) / 1024;
    for (const int threads : {1, 3}) {
      CAPTURE(threads);
      const stage s{with_io_threads(threads)};
      flood_room(s, {1'000, f.pause}, false);  // caches and pools are as large as they get
      const auto without = flood_room(s, f, false);
      const auto with = flood_room(s, f, true);
      MESSAGE(f.messages << " messages of 8 kB to 9 readers, " << threads
                         << " I/O threads: without the slow one p50 " << in_ms(without.latency.p50)
                         << ", p99 " << in_ms(without.latency.p99) << ", longest "
                         << in_ms(without.latency.longest) << "; with it p50 "
                         << in_ms(with.latency.p50) << ", p99 " << in_ms(with.latency.p99)
                         << ", longest " << in_ms(with.latency.longest) << "; the node grew by "
                         << with.rss_growth_kib << " KiB, the backlog was " << backlog_kib << " KiB");
#ifndef __SANITIZE_ADDRESS__  // which keeps what was freed
      CHECK(with.rss_growth_kib < std::min<std::int64_t>(8 * 1024, backlog_kib / 2));
#endif
    }
  }

  TEST_CASE("one that takes nothing for ws_stall_timeout is closed with 4008 and resumes later") {
    const stage s{{.config = {{"ws_stall_timeout", "500ms"}}}};
    const auto room = s.room("group", {"slow", "sender"});
    ws_options options;
    options.headers = {{"X-API-Key", s.tenant.api_key}, {"X-User-Id", "slow"}};
    options.receive_buffer_bytes = 16 * 1024;
    ws_client slow{s.node.address(), options};
    slow.receive_type("sync.done");
    auto sender = s.connect("sender", "sync=manual");
    sender.receive_type("hello");
    constexpr std::int64_t count = 400;
    send_all(sender, room, {count});
    // The node closes it; what the kernel had taken comes first.
    std::string epoch;
    std::int64_t last = 0;
    REQUIRE(
        await(10s, [&] { return s.node.rest().get("/health").json()["active_connections"] == 1; }));
    try {
      while (const auto text = slow.next_text(10s)) {
        if (text->starts_with(R"({"type":"message",)")) {
          REQUIRE(number_after(*text, R"("seq":)") == last + 1);
          ++last;
        }
      }
    } catch (const connection_closed& e) {
      // 1006: the close frame was behind more than the kernel took.
      CHECK((e.seen.code == 4008 || e.seen.code == 1006));
    }
    CHECK(last < count);
    for (const auto& frame : slow.received()) {
      if (frame["type"] == "hello") epoch = frame["epoch"];
    }
    auto again = s.connect("slow", "sync=manual");
    again.receive_type("hello");
    again.send_json({{"type", "sync"}, {"epoch", epoch}, {"rooms", {{room, last}}}});
    await_entry(again, room, count);
    CHECK(seqs_of(entries_of(again, room)) == seqs(last + 1, count));
  }
}
