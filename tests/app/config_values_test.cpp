#include "app/config_values.hpp"

#include <doctest/doctest.h>

#include <array>
#include <string>
#include <string_view>

using namespace parley::app;
using std::chrono::milliseconds;

TEST_SUITE("SPEC 7 values of configuration") {
  TEST_CASE("durations are read in Go's forms") {
    struct row {
      std::string_view text;
      std::int64_t ms;
      std::string_view why;
    };
    for (const auto& r : std::array<row, 15>{{{"300ms", 300, "a unit"},
                                              {"30s", 30'000, "seconds"},
                                              {"1m30s", 90'000, "compound"},
                                              {"1.5h", 5'400'000, "fraction"},
                                              {"2h45m", 9'900'000, "compound"},
                                              {"0", 0, "zero needs no unit"},
                                              {"0s", 0, "zero with one"},
                                              {".5s", 500, "no digit before the point"},
                                              {"1.s", 1'000, "no digit behind it"},
                                              {"1000us", 1, "whole milliseconds"},
                                              {"1000000ns", 1, "whole milliseconds"},
                                              {"1000\xc2\xb5s", 1, "the micro sign"},
                                              {"1000\xce\xbcs", 1, "the Greek letter"},
                                              {"0.1s", 100, "no binary fraction"},
                                              {"720h", 2'592'000'000, "days are hours"}}}) {
      CAPTURE(r.text);
      CAPTURE(r.why);
      const auto value = parse_duration(r.text);
      REQUIRE(value);
      CHECK(value->count() == r.ms);
    }
  }

  TEST_CASE("what is no duration, finer than a millisecond or absurd is refused") {
    for (const std::string_view text : {"",        "30",
                                        "s",       "-1s",
                                        "+1s",     "1.5",
                                        "30 s",    "30sec",
                                        "1d",      "5min",
                                        "1ns",     "1.0005s",
                                        "1h-1m",   ".s",
                                        "1e3s",    "99999999999999999999h",
                                        "200000h", "18446744073709551616s",
                                        " 1s",     "1s ",
                                        "1S"}) {
      CAPTURE(text);
      CHECK_FALSE(parse_duration(text));
    }
  }

  TEST_CASE("a duration is shown in a form that reads back as itself") {
    for (const std::int64_t ms :
         {0, 1, 250, 999, 1000, 1500, 30'000, 90'000, 3'600'000, 5'400'000, 86'400'000}) {
      const auto shown = show_duration(milliseconds{ms});
      CAPTURE(shown);
      CHECK(parse_duration(shown) == milliseconds{ms});
    }
    CHECK(show_duration(milliseconds{90'000}) == "1m30s");
    CHECK(show_duration(milliseconds{86'400'000}) == "24h");
    CHECK(show_duration(milliseconds{500}) == "500ms");
  }

  TEST_CASE("sizes have binary and decimal units") {
    CHECK(parse_size("65536") == 65536U);
    CHECK(parse_size("64KiB") == 65536U);
    CHECK(parse_size("64 KiB") == 65536U);
    CHECK(parse_size("64kB") == 64000U);
    CHECK(parse_size("64KB") == 64000U);
    CHECK(parse_size("1MiB") == 1048576U);
    CHECK(parse_size("2GiB") == 2147483648U);
    CHECK(parse_size("0") == 0U);
    CHECK(parse_size("7B") == 7U);
    for (const std::string_view text :
         {"", "KiB", "64K", "64k", "64M", "1.5MiB", "-1", "64kib", "0x10", "17179869184GiB"}) {
      CAPTURE(text);
      CHECK_FALSE(parse_size(text));
    }
    CHECK(show_size(65536) == "64KiB");
    CHECK(show_size(1048576) == "1MiB");
    CHECK(show_size(1500) == "1500");
    CHECK(show_size(0) == "0");
  }

  TEST_CASE("counts are decimal digits and nothing else") {
    CHECK(parse_count("0") == 0U);
    CHECK(parse_count("18446744073709551615") == 18446744073709551615U);
    for (const std::string_view text :
         {"", "-1", "+1", " 1", "1 ", "1.0", "1e3", "0x1", "18446744073709551616"}) {
      CAPTURE(text);
      CHECK_FALSE(parse_count(text));
    }
  }

  TEST_CASE("a list drops the spaces round its items and the empty ones") {
    CHECK(split_list(" a, b ,,c,") == std::vector<std::string>{"a", "b", "c"});
    CHECK(split_list("").empty());
    CHECK(split_list(" , ").empty());
  }

  TEST_CASE("addresses are host:port, [v6]:port or :port") {
    CHECK(parse_host_port(":8080")->host.empty());
    CHECK(parse_host_port(":8080")->port == 8080);
    CHECK(parse_host_port("127.0.0.1:0")->host == "127.0.0.1");
    CHECK(parse_host_port("chat.example.com:443")->host == "chat.example.com");
    CHECK(parse_host_port("[::1]:80")->host == "::1");
    for (const std::string_view text :
         {"", "8080", ":", "::1", ":65536", ":-1", "[::1]", "[]:80", "[abc]:80", "::1:80", "a b:80",
          "http://a:80", "/run/x:1", ":80a"}) {
      CAPTURE(text);
      CHECK_FALSE(parse_host_port(text));
    }
  }

  TEST_CASE("origins are what a browser sends") {
    for (const std::string_view text : {"*", "https://chat.example.com", "http://localhost:3000",
                                        "http://[::1]:80", "capacitor://localhost"}) {
      CAPTURE(text);
      CHECK(is_origin(text));
    }
    for (const std::string_view text :
         {"", "chat.example.com", "localhost:3000", "https://a/", "https://a/b", "HTTPS://a",
          "https://A", "https://", "://a", "null", "https://*.a b"}) {
      CAPTURE(text);
      CHECK_FALSE(is_origin(text));
    }
  }

  TEST_CASE("a database is a path or a file: URI, and its parameters are set aside") {
    struct row {
      std::string_view text;
      std::string_view path;
      std::size_t ignored;
    };
    for (const auto& r : std::array<row, 10>{
             {{"parley.db", "parley.db", 0},
              {"/var/lib/a.db", "/var/lib/a.db", 0},
              {"file:chatapi.db?_journal_mode=WAL&_busy_timeout=5000", "chatapi.db", 2},
              {"chatapi.db?_loc=auto", "chatapi.db", 1},
              {"file:/abs/a.db", "/abs/a.db", 0},
              {"file:///abs/a.db", "/abs/a.db", 0},
              {"file://localhost/abs/a.db?mode=rwc", "/abs/a.db", 1},
              {"file:a%20b.db", "a b.db", 0},
              {"a%20b.db", "a%20b.db", 0},
              {"file:a.db#part", "a.db", 0}}}) {
      CAPTURE(r.text);
      const auto parsed = parse_database(r.text);
      REQUIRE(std::holds_alternative<database_name>(parsed));
      CHECK(std::get<database_name>(parsed).path == r.path);
      CHECK(std::get<database_name>(parsed).ignored_parameters.size() == r.ignored);
    }
  }

  TEST_CASE("a database that cannot keep what is written is refused") {
    for (const std::string_view text :
         {":memory:", "file::memory:", "file::memory:?cache=shared", "file:a?mode=memory",
          "a.db?mode=ro", "file:a.db?cache=shared&mode=ro", "file:a.db?immutable=1", "",
          "file:", "file:?x=1", "file://host/a.db", "file:a%zz", "file:a%00", "dir/"}) {
      CAPTURE(text);
      CHECK(std::holds_alternative<std::string>(parse_database(text)));
    }
  }

  TEST_CASE("the nearest word is named when it is near enough to be meant") {
    constexpr std::array<std::string_view, 4> words{"max_content", "max_meta", "log_level",
                                                    "listen_addr"};
    CHECK(nearest("max_contnt", words) == "max_content");
    CHECK(nearest("maxcontent", words) == "max_content");
    CHECK(nearest("log_lvel", words) == "log_level");
    CHECK(nearest("lgo_level", words) == "log_level");
    CHECK(nearest("LOG_LEVEL", words) == "log_level");
    CHECK_FALSE(nearest("webhook_url", words));
    CHECK_FALSE(nearest("x", words));
    CHECK_FALSE(nearest("", words));
  }

  TEST_CASE("a value in a message stays on its line, whatever it is") {
    CHECK(in_quotes("abc") == "\"abc\"");
    CHECK(in_quotes("a\"b\\c") == R"("a\"b\\c")");
    CHECK(in_quotes("a\nb\x1b[31m\x7f") == R"("a\x0ab\x1b[31m\x7f")");
    CHECK(in_quotes("gr\xc3\xbc\xc3\x9f"
                    "e") ==
          "\"gr\xc3\xbc\xc3\x9f"
          "e\"");
    CHECK(in_quotes("\xff") == R"("\xff")");
    CHECK(in_quotes(std::string(1000, 'x')).size() < 250);
  }
}
