#include "app/log.hpp"

#include "tests/support/process.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <limits>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

using namespace parley;
using namespace parley::app;
using nlohmann::json;

namespace {

const utc_time noon = from_unix_ms(1'764'072'624'123);  // 2025-11-25T12:10:24.123Z

std::string line(std::string_view message, std::initializer_list<log_field> fields) {
  return json_line(noon, log_level::info, message, {fields.begin(), fields.size()});
}

/// Where a test's lines go; what was there before comes back at the end.
class captured_log : public log_sink {
 public:
  captured_log() { set_log_sink(this); }
  ~captured_log() override {
    set_log_sink(nullptr);
    set_log_threshold(log_level::info);
  }
  void write(log_level level, std::string_view message,
             std::span<const log_field> fields) noexcept override {
    const std::lock_guard lock{mutex_};
    lines.push_back(json_line(noon, level, message, fields));
  }
  std::vector<std::string> lines;

 private:
  std::mutex mutex_;
};

}  // namespace

TEST_SUITE("SPEC 7 logs") {
  TEST_CASE("a line is one JSON object: time, level, message, fields") {
    CHECK(line("listening",
               {{"address", "127.0.0.1:8080"}, {"pid", 7}, {"dev", false}, {"ratio", 0.5}}) ==
          R"({"ts":"2025-11-25T12:10:24.123Z","level":"info","msg":"listening","address":"127.0.0.1:8080","pid":7,"dev":false,"ratio":0.5})");
  }

  TEST_CASE("whatever a field holds, it stays one line of valid JSON and reads back") {
    std::string all;
    for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
    const std::string texts[] = {all,
                                 "line\nbreak\r\n\x1b[2J\x7f",
                                 "\xc2\x9b"
                                 "31m C1",
                                 "\xe2\x80\xa8 separators \xe2\x80\xa9",
                                 "\"quoted\\\"",
                                 "gr\xc3\xbc\xc3\x9f"
                                 "e \xf0\x9f\x98\x80",
                                 "\xff\xfe",
                                 "\xed\xa0\x80 surrogate",
                                 "\xf0\x9f",
                                 std::string(100'000, 'x'),
                                 std::string("nul\0byte", 8)};
    for (const auto& text : texts) {
      const auto written = line(text, {{"text", text}});
      CAPTURE(written.substr(0, 300));
      for (const char c : written) {
        CHECK_UNARY(static_cast<unsigned char>(c) >= 0x20);
        CHECK_UNARY(c != '\x7f');
      }
      CHECK(written.find("\xc2\x9b") == std::string::npos);
      CHECK(written.find("\xe2\x80\xa8") == std::string::npos);
      CHECK(written.size() < 60'000);
      const auto value = json::parse(written, nullptr, false);
      REQUIRE(value.is_object());
      CHECK(value["text"] == value["msg"]);
    }
    CHECK(json::parse(line("m", {{"t",
                                  "gr\xc3\xbc\xc3\x9f"
                                  "e\n"}}))["t"] ==
          "gr\xc3\xbc\xc3\x9f"
          "e\n");
  }

  TEST_CASE("a field can not take the place of the line's own") {
    const auto value = json::parse(line("m", {{"msg", "x"}, {"level", "error"}, {"ts", 1}}));
    CHECK(value["msg"] == "m");
    CHECK(value["msg_"] == "x");
    CHECK(value["level"] == "info");
    CHECK(value["ts"] == "2025-11-25T12:10:24.123Z");
  }

  TEST_CASE("numbers are exact at their ends, and what is no number is null") {
    const auto value = json::parse(line("m", {{"min", std::numeric_limits<std::int64_t>::min()},
                                              {"max", std::numeric_limits<std::uint64_t>::max()},
                                              {"nan", std::numeric_limits<double>::quiet_NaN()},
                                              {"took_ms", std::chrono::seconds{2}}}));
    CHECK(value["min"] == std::numeric_limits<std::int64_t>::min());
    CHECK(value["max"] == std::numeric_limits<std::uint64_t>::max());
    CHECK(value["nan"].is_null());
    CHECK(value["took_ms"] == 2000);
  }

  TEST_CASE("the text form is one line for people, safe for a terminal") {
    const std::vector<log_field> fields{
        {"address", "127.0.0.1:8080"}, {"why", "no space\n\x1b[2J"}, {"n", 3}};
    CHECK(text_line(noon, log_level::warn, "it\x1b", fields) ==
          R"(12:10:24.123 warn   it\u001b  address=127.0.0.1:8080  why="no space\n\u001b[2J"  n=3)");
  }

  TEST_CASE("lines below the threshold are dropped, notices never") {
    captured_log log_lines;
    set_log_threshold(log_level::error);
    CHECK_FALSE(is_logged(log_level::warn));
    log(log_level::warn, "no");
    log(log_level::error, "yes");
    log(log_level::notice, "always");
    REQUIRE(log_lines.lines.size() == 2);
    set_log_threshold(log_level::debug);
    log(log_level::debug, "now");
    CHECK(log_lines.lines.size() == 3);
  }

  TEST_CASE("without a sink lines go nowhere, and nothing happens") {
    set_log_sink(nullptr);
    CHECK_FALSE(is_logged(log_level::error));
    log(log_level::error, "nobody listens", {{"a", 1}});
  }

  TEST_CASE("many threads may log at once") {
    captured_log log_lines;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([t] {
        for (int i = 0; i < 200; ++i) log(log_level::info, "line", {{"thread", t}, {"i", i}});
      });
    }
    for (auto& thread : threads) thread.join();
    CHECK(log_lines.lines.size() == 800);
  }

  TEST_CASE("levels have the names of the configuration; notice is no threshold") {
    CHECK(parse_log_level("WARN") == log_level::warn);
    CHECK(parse_log_level("debug") == log_level::debug);
    CHECK_FALSE(parse_log_level("notice"));
    CHECK_FALSE(parse_log_level("warning"));
    CHECK_FALSE(parse_log_level(""));
    CHECK(to_text(log_level::notice) == "notice");
  }
}
