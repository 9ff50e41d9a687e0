#include "app/config.hpp"

#include "app/config_keys.hpp"
#include "app/config_print.hpp"
#include "app/dotenv.hpp"
#include "tests/support/temp_dir.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

using namespace parley;
using namespace parley::app;
using namespace std::chrono_literals;
using parley::tests::temp_dir;

namespace {

loaded_config from_file(std::string_view toml) {
  const temp_dir dir;
  config_inputs inputs;
  inputs.file = dir.write("parley.toml", toml);
  auto loaded = load_config(inputs);
  for (auto* list :
       {&loaded.problems, &loaded.warnings}) {  // the directory's name is different in each run
    for (auto& text : *list) {
      const auto prefix = dir.path().string() + "/";
      for (auto at = text.find(prefix); at != std::string::npos; at = text.find(prefix)) {
        text.erase(at, prefix.size());
      }
    }
  }
  return loaded;
}

loaded_config from_environment(std::vector<std::pair<std::string, std::string>> variables) {
  config_inputs inputs;
  inputs.environment = std::move(variables);
  return load_config(inputs);
}

loaded_config from_sets(std::vector<std::string> sets) {
  config_inputs inputs;
  inputs.sets = std::move(sets);
  return load_config(inputs);
}

using texts = std::vector<std::string>;

}  // namespace

TEST_SUITE("SPEC 7 configuration: layers") {
  TEST_CASE("without any layer the defaults of the contract hold") {
    const auto loaded = load_config({});
    CHECK(loaded.problems.empty());
    CHECK(loaded.warnings.empty());
    const auto& c = loaded.values;
    CHECK(c.listen_addr == ":8080");
    CHECK(c.durability == store::durability::full);
    CHECK(c.limits.max_content == 16 * 1024);
    CHECK(c.limits.max_meta == 4 * 1024);
    CHECK(c.limits.max_body == 1024 * 1024);
    CHECK(c.limits.max_header == 16 * 1024);
    CHECK(c.limits.ws_max_frame == 128 * 1024);
    CHECK(c.limits.max_connections_per_user == 5);
    CHECK(c.limits.idempotency_ttl == 24h);
    CHECK(c.user_send_rate == 10);
    CHECK(c.user_send_burst == 20);
    CHECK(c.default_rate_limit == 100);
    CHECK(c.default_message_rate == 0);
    CHECK(c.ws_connect_rate == 5000);
    CHECK(c.ws_frame_rate == 20);
    CHECK(c.ws_frame_burst == 60);
    CHECK(c.ws_max_unauthenticated == 1000);
    CHECK(c.presence_grace == 5s);
    CHECK(c.herd_window == 30s);
    CHECK(c.ws_ticket_ttl == 60s);
    CHECK(c.drain_delay == 1s);
    CHECK(c.shutdown_drain_timeout == 10s);
    CHECK(c.master_api_key.empty());
  }

  TEST_CASE("file < environment < command line") {
    const temp_dir dir;
    config_inputs inputs;
    inputs.file = dir.write("parley.toml", "max_name = 1\nmax_meta = 10\nmax_content = 100\n");
    inputs.environment = {{"PARLEY_MAX_META", "20"}, {"PARLEY_MAX_CONTENT", "200"}};
    inputs.sets = {"max_content=300"};
    const auto loaded = load_config(inputs);
    CHECK(loaded.problems.empty());
    CHECK(loaded.values.limits.max_name == 1);
    CHECK(loaded.values.limits.max_meta == 20);
    CHECK(loaded.values.limits.max_content == 300);
    CHECK(loaded.was_given("max_meta"));
    CHECK_FALSE(loaded.was_given("max_body"));
  }

  TEST_CASE(".env is below the real environment, also below an empty variable of it") {
    config_inputs inputs;
    inputs.dotenv =
        "PARLEY_MAX_META=1KiB\nDEFAULT_RATE_LIMIT=7\nWORKER_INTERVAL=1m\nLOG_LEVEL=debug\n";
    inputs.environment = {
        {"PARLEY_MAX_META", "2KiB"}, {"PARLEY_DEFAULT_RATE_LIMIT", "8"}, {"LOG_LEVEL", ""}};
    const auto loaded = load_config(inputs);
    CHECK(loaded.problems.empty());
    CHECK(loaded.values.limits.max_meta == 2048);
    CHECK(loaded.values.default_rate_limit == 8);
    CHECK(loaded.values.worker_interval == 1min);
    CHECK(loaded.values.log_level == log_level::info);
  }

  TEST_CASE("of several --set for one key the last counts, and flags stand above them") {
    config_inputs inputs;
    inputs.sets = {"listen_addr=:1", "listen_addr=:2", "log_level=warn"};
    inputs.flags = {{"--log-level", "log_level", "error"}};
    const auto loaded = load_config(inputs);
    CHECK(loaded.problems.empty());
    CHECK(loaded.values.listen_addr == ":2");
    CHECK(loaded.values.log_level == log_level::error);
  }

  TEST_CASE("a file may hold strings, numbers and lists of strings") {
    const auto loaded = from_file(
        "max_content = \"8KiB\"\nmax_meta = 1024\nio_threads = \"3\"\nreader_threads = 4\n"
        "ws_allowed_origins = [\"https://a\", \"https://b\"]\nuser_send_rate = "
        "\"5/s\"\nauth_failure_rate = \"3/min\"\n");
    CHECK(loaded.problems == texts{});
    CHECK(loaded.values.limits.max_content == 8192);
    CHECK(loaded.values.limits.max_meta == 1024);
    CHECK(loaded.values.io_threads == 3);
    CHECK(loaded.values.reader_threads == 4);
    CHECK(loaded.values.ws_allowed_origins == texts{"https://a", "https://b"});
    CHECK(loaded.values.user_send_rate == 5);
    CHECK(loaded.values.auth_failure_rate == 3);
  }

  TEST_CASE("an empty file is a file") { CHECK(from_file("").problems.empty()); }

  TEST_CASE("a relative database lies in data_dir, an absolute one where it says") {
    config c;
    c.data_dir = "/var/lib/parley";
    c.database = "a/b.db";
    CHECK(c.database_file() == "/var/lib/parley/a/b.db");
    c.database = "/srv/c.db";
    CHECK(c.database_file() == "/srv/c.db");
    c.data_dir = "x";
    c.database = "d.db";
    CHECK(c.database_file().is_absolute());
  }

  TEST_CASE("--dev listens on loopback, whatever says all addresses") {
    config_inputs inputs;
    inputs.dev = true;
    CHECK(load_config(inputs).values.listen_addr == "127.0.0.1:8080");
    inputs.environment = {{"LISTEN_ADDR", ":9000"}};
    CHECK(load_config(inputs).values.listen_addr == "127.0.0.1:9000");
    inputs.sets = {"listen_addr=0.0.0.0:9000"};
    const auto loaded = load_config(inputs);
    REQUIRE(loaded.problems.size() == 1);
    CHECK(loaded.problems[0] ==
          "listen_addr: \"0.0.0.0:9000\" is not allowed with --dev, which listens on loopback "
          "only: :8080, 127.0.0.1:8080");
    inputs.sets = {"listen_addr=[::1]:0"};
    CHECK(load_config(inputs).problems.empty());
  }

  TEST_CASE("--dev does not wait at the end and writes lines for people, unless told otherwise") {
    config_inputs inputs;
    inputs.dev = true;
    CHECK(load_config(inputs).values.drain_delay == 0ms);
    CHECK(load_config(inputs).values.herd_window == 0ms);
    CHECK(load_config(inputs).values.log_format == log_format::text);
    inputs.sets = {"drain_delay=2s"};
    CHECK(load_config(inputs).values.drain_delay == 2s);
  }
}

TEST_SUITE("SPEC 7 configuration: wrong ones are named") {
  TEST_CASE(
      "each wrong value is named with its place, what is allowed, and the word that was perhaps "
      "meant") {
    struct row {
      std::string set;
      std::string problem;
    };
    for (const auto& r : std::vector<row>{
             {"max_content=64K",
              "max_content: \"64K\" (--set) is not allowed: a size from 1 to 1MiB, such as 64KiB"},
             {"max_content=0",
              "max_content: \"0\" (--set) is not allowed: a size from 1 to 1MiB, such as 64KiB"},
             {"http_body_total=1KiB",
              "http_body_total: \"1KiB\" (--set) is not allowed: a size from 1MiB to 1024GiB, or 0 "
              "for none, such as 64KiB"},
             {"drain_delay=30",
              "drain_delay: \"30\" (--set) is not allowed: a duration from 0s to 1h, such as "
              "500ms, 30s, 1m30s or 1.5h"},
             {"idempotency_ttl=1h",
              "idempotency_ttl: \"1h\" (--set) is not allowed: a duration from 24h to 720h, such "
              "as 500ms, 30s, 1m30s or 1.5h"},
             {"durability=ful",
              "durability: \"ful\" (--set) is not allowed: full or normal; did you mean full?"},
             {"log_level=warning",
              "log_level: \"warning\" (--set) is not allowed: debug, info, warn or error"},
             {"log_level=inof",
              "log_level: \"inof\" (--set) is not allowed: debug, info, warn or error; did you "
              "mean info?"},
             {"io_threads=-1", "io_threads: \"-1\" (--set) is not allowed: a number from 0 to 64"},
             {"user_send_rate=10/min",
              "user_send_rate: \"10/min\" (--set) is not allowed: a number from 1 to 1000000, or 0 "
              "for none; /s may follow"},
             {"listen_addr=8080",
              "listen_addr: \"8080\" (--set) is not allowed: host:port, [v6 address]:port or "
              ":port"},
             {"ws_allowed_origins=https://a,b",
              "ws_allowed_origins: \"https://a,b\" (--set) is not allowed: \"b\" is no origin "
              "(scheme://host[:port], lower case, no path); "
              "origins such as https://chat.example.com, separated by commas, or *"},
             {"database=:memory:",
              "database: \":memory:\" (--set) is not allowed: a database in memory keeps nothing; "
              "the path of a file, or a file: URI"},
             {"database=a.db?mode=ro&_auth_pass=hunter2",
              "database: \"a.db\" with parameters (--set) is not allowed: the node must write to "
              "it; the path of a file, or a file: URI"},
             {"data_dir=", "data_dir: \"\" (--set) is not allowed: the path of a directory"},
             {"max_contnt=5",
              "max_contnt=\"5\" (--set): there is no such key; did you mean max_content?"},
             {"webhook_url=x",
              "webhook_url=\"x\" (--set): there is no such key; `parley config print --defaults` "
              "lists all"},
             {"max_content", "--set \"max_content\": expected key=value"},
             {"=5", "--set \"=5\": expected key=value"}}) {
      CAPTURE(r.set);
      CHECK(from_sets({r.set}).problems == texts{r.problem});
    }
  }

  TEST_CASE("a file's problems name its lines, all at once") {
    const auto loaded = from_file("max_content = \"lots\"\nfoo_bar = 3\n[section]\nx = 1\n");
    CHECK(loaded.problems ==
          texts{"foo_bar=\"3\" (parley.toml line 2): there is no such key; `parley config print "
                "--defaults` lists all",
                "section (parley.toml line 3): keys are flat, there are no sections",
                "max_content: \"lots\" (parley.toml line 1) is not allowed: a size from 1 to 1MiB, "
                "such as 64KiB"});
    CHECK(from_file("max_content = 1.5\n").problems ==
          texts{"max_content (parley.toml line 1): the value's type is not allowed: a size from 1 "
                "to 1MiB, such as 64KiB"});
    CHECK(from_file("drain_delay = 5\n").problems.size() == 1);
    const auto syntax = from_file("max_content = 1\nmax_meta == 2\n").problems;
    REQUIRE(syntax.size() == 1);
    CHECK(syntax[0].starts_with("parley.toml line 2: not TOML: "));
    CHECK(from_file("max_content = 1\nmax_content = 2\n").problems.size() == 1);
  }

  TEST_CASE("a file that is not there is a problem") {
    config_inputs inputs;
    inputs.file = "/nonexistent/parley.toml";
    CHECK(load_config(inputs).problems == texts{"/nonexistent/parley.toml: can't be read"});
    inputs.file = "/";
    CHECK(load_config(inputs).problems == texts{"/: can't be read"});
  }

  TEST_CASE(
      "problems of several layers come together, also when a later layer hides the wrong value") {
    config_inputs inputs;
    inputs.environment = {{"PARLEY_MAX_META", "x"}};
    inputs.sets = {"max_meta=10", "nope=1"};
    CHECK(load_config(inputs).problems.size() == 2);
  }

  TEST_CASE(
      "unknown PARLEY_ variables are errors, but for those of the tools; other names are none of "
      "ours") {
    CHECK(from_environment({{"PARLEY_MAX_CONTNT", "1"}}).problems ==
          texts{"PARLEY_MAX_CONTNT (environment): there is no such setting; did you mean "
                "PARLEY_MAX_CONTENT?"});
    CHECK(from_environment({{"PARLEY_MASTER_KEY_FILE", "/x"}}).problems ==
          texts{"PARLEY_MASTER_KEY_FILE (environment): there is no such setting; did you mean "
                "PARLEY_MASTER_API_KEY_FILE?"});
    CHECK(from_environment({{"PARLEY_max_content", "1"}}).problems.size() == 1);
    CHECK(from_environment({{"PARLEY_MAX_CONTENT_FILE", "/x"}}).problems.size() ==
          1);  // for secrets alone
    CHECK(from_environment({{"PARLEY_", "1"}}).problems.size() == 1);
    CHECK(from_environment({{"PARLEY_BREAK", "x"},
                            {"PARLEY_BIN", "x"},
                            {"PARLEY_BENCH_BIN", "x"},
                            {"PARLEY_URL", "x"},
                            {"PATH", "x"},
                            {"MAX_CONTENT", "x"}})
              .problems.empty());
  }

  TEST_CASE("message_retention: none, or at least an hour") {
    using namespace std::chrono_literals;
    CHECK(config{}.message_retention == 0ms);
    CHECK(from_sets({"message_retention=0"}).values.message_retention == 0ms);
    CHECK(from_sets({"message_retention=1h"}).values.message_retention == 1h);
    CHECK(from_sets({"message_retention=720h"}).values.message_retention == 720h);
    for (const char* wrong : {"59m", "1ms", "a week", "", "876000h"}) {
      CAPTURE(wrong);
      CHECK(from_sets({std::string{"message_retention="} + wrong}).problems.size() == 1);
    }
  }

  TEST_CASE("values that do not fit together are problems") {
    CHECK(from_sets({"drain_delay=10s"}).problems ==
          texts{"drain_delay: 10s leaves nothing of shutdown_drain_timeout, 10s"});
    CHECK(from_sets({"ws_send_buffer=2MiB", "ws_send_buffer_total=1MiB"}).problems ==
          texts{"ws_send_buffer: 2MiB is more than ws_send_buffer_total, 1MiB"});
    CHECK(from_sets({"max_body=2MiB", "http_body_total=1MiB"}).problems ==
          texts{"max_body: 2MiB is more than http_body_total, 1MiB"});
    CHECK(from_sets({"typing_timeout=1s"}).problems.size() == 1);
    CHECK(from_sets({"max_content=1MiB"}).problems.empty());
    CHECK(from_sets({"max_content=1MiB"}).warnings.size() == 2);
  }
}

TEST_SUITE("SPEC 7 configuration: ChatAPI's names (row 51 to 56)") {
  TEST_CASE("every documented name of ChatAPI is understood") {
    const auto loaded =
        from_environment({{"MASTER_API_KEY", "chatapi-master-key"},
                          {"LISTEN_ADDR", ":9090"},
                          {"DATABASE_DSN", "file:chatapi.db?_journal_mode=WAL&_busy_timeout=5000"},
                          {"DATA_DIR", "/var/chatapi"},
                          {"LOG_DIR", "/var/log/chatapi"},
                          {"LOG_LEVEL", "DEBUG"},
                          {"DEFAULT_RATE_LIMIT", "50"},
                          {"WS_ALLOWED_ORIGINS", " https://a , ,https://b"},
                          {"MAX_CONNECTIONS_PER_USER", "7"},
                          {"WORKER_INTERVAL", "1m30s"},
                          {"RETRY_MAX_ATTEMPTS", "5"},
                          {"RETRY_INTERVAL", "30s"},
                          {"SHUTDOWN_DRAIN_TIMEOUT", "15s"}});
    CHECK(loaded.problems == texts{});
    const auto& c = loaded.values;
    CHECK(c.master_api_key == "chatapi-master-key");
    CHECK(c.listen_addr == ":9090");
    CHECK(c.database_file() == "/var/chatapi/chatapi.db");
    CHECK(c.log_level == log_level::debug);
    CHECK(c.default_rate_limit == 50);
    CHECK(c.ws_allowed_origins == texts{"https://a", "https://b"});
    CHECK(c.limits.max_connections_per_user == 7);
    CHECK(c.worker_interval == 90s);
    CHECK(c.retry_max_attempts == 5);
    CHECK(c.retry_interval == 30s);
    CHECK(c.shutdown_drain_timeout == 15s);
    for (const std::string text :
         {"database: the parameters \"_journal_mode\", \"_busy_timeout\" (environment, "
          "DATABASE_DSN) have no effect: the node sets its own",
          "log_dir has no effect: logs go to standard error"}) {
      CAPTURE(text);
      CHECK(std::ranges::count(loaded.warnings, text) == 1);
    }
  }

  TEST_CASE("two names that say the same are fine, two that differ are an error") {
    CHECK(from_environment({{"MAX_CONNECTIONS_PER_USER", "6"}, {"WS_MAX_CONNECTIONS_PER_USER", "6"}})
              .values.limits.max_connections_per_user == 6);
    CHECK(from_environment({{"WORKER_INTERVAL", "60s"}, {"PARLEY_WORKER_INTERVAL", "1m"}})
              .problems.empty());
    CHECK(
        from_environment({{"MAX_CONNECTIONS_PER_USER", "5"}, {"WS_MAX_CONNECTIONS_PER_USER", "6"}})
            .problems == texts{"max_connections_per_user: MAX_CONNECTIONS_PER_USER=\"5\" and "
                               "WS_MAX_CONNECTIONS_PER_USER=\"6\" (environment, "
                               "MAX_CONNECTIONS_PER_USER) say different things: give one of them"});
    CHECK(from_environment({{"MASTER_API_KEY", "aaaaaaaaaaaaaaaa"},
                            {"PARLEY_MASTER_API_KEY", "bbbbbbbbbbbbbbbb"}})
              .problems.size() == 1);
    CHECK(from_file("database = \"a.db\"\ndatabase_dsn = \"b.db\"\n").problems.size() == 1);
  }

  TEST_CASE("an empty variable is unset") {
    const auto loaded = from_environment({{"MAX_CONNECTIONS_PER_USER", ""},
                                          {"WS_MAX_CONNECTIONS_PER_USER", "9"},
                                          {"PARLEY_MAX_CONTENT", ""},
                                          {"LISTEN_ADDR", ""}});
    CHECK(loaded.problems.empty());
    CHECK(loaded.values.limits.max_connections_per_user == 9);
    CHECK(loaded.values.listen_addr == ":8080");
  }

  TEST_CASE("a wrong value is an error, not silently the default") {
    CHECK(from_environment({{"WORKER_INTERVAL", "soon"}}).problems ==
          texts{"worker_interval: \"soon\" (environment, WORKER_INTERVAL) is not allowed: a "
                "duration from 1s to 24h, such as 500ms, 30s, 1m30s or 1.5h"});
  }

  TEST_CASE(".env: names that are not known are ignored, ours with a slip get a warning") {
    config_inputs inputs;
    inputs.dotenv = "SOMETHING=1\nPARLEY_MAX_CONTNT=1\nnonsense\nPARLEY_MAX_META=1KiB\n";
    const auto loaded = load_config(inputs);
    CHECK(loaded.problems.empty());
    CHECK(loaded.values.limits.max_meta == 1024);
    CHECK(loaded.warnings == texts{".env line 3 is no KEY=value and has no effect",
                                   "PARLEY_MAX_CONTNT (.env line 2): there is no such setting; did "
                                   "you mean PARLEY_MAX_CONTENT?"});
  }

  TEST_CASE("a line of .env is KEY=value, with export, quotes and comments") {
    const auto file = parse_dotenv(
        "\xef\xbb\xbf# comment\r\n\nA=1\nexport B=2\n C = 3 \nD='a # b'\nE=\"x\\ny\\\"z\" # "
        "c\nF=a#b # c\nG=\nH=\"open\nno equals\n"
        "A-B=1\nI='it' rest\nA=last\nJ=$HOME\nexport=5\n");
    const auto value = [&](std::string_view name) {
      const auto it = std::ranges::find(file.lines, name, &dotenv_line::name);
      return it == file.lines.end() ? std::string{"(none)"} : it->value;
    };
    CHECK(value("A") == "last");
    CHECK(value("B") == "2");
    CHECK(value("C") == "3");
    CHECK(value("D") == "a # b");
    CHECK(value("E") == "x\ny\"z");
    CHECK(value("F") == "a#b");
    CHECK(value("G").empty());
    CHECK(value("J") == "$HOME");
    CHECK(value("export") == "5");
    CHECK(file.not_understood == std::vector<std::size_t>{10, 11, 12, 13});
  }
}

TEST_SUITE("SPEC 7 configuration: no secret is ever printed") {
  constexpr std::string_view hidden = "hunter2-hunter2-hunter2";

  void check_hidden(const loaded_config& loaded) {
    for (const auto* list : {&loaded.problems, &loaded.warnings}) {
      for (const auto& text : *list) {
        CAPTURE(text);
        CHECK(text.find("hunter2") == std::string::npos);
      }
    }
    CHECK(print_config(loaded.values).find("hunter2") == std::string::npos);
  }

  TEST_CASE("not in problems, warnings or prints, wherever it came from and however wrong it was") {
    const std::string secret{hidden};
    for (const auto& set :
         {"master_api_key=" + secret, "master_api_key=" + secret + " " + secret,
          "secret_key=" + secret, "mastr_api_key=" + secret, "master_key=" + secret,
          "password=" + secret, "my_token=" + secret, "webhook_secret=" + secret, "api_key" + secret,
          "database=x.db?_auth_pass=" + secret, "database=:memory:?_auth_pass=" + secret}) {
      CAPTURE(set);
      check_hidden(from_sets({set}));
      const auto equals = set.find('=');
      if (equals == std::string::npos) continue;
      check_hidden(from_file(set.substr(0, equals) + " = \"" + set.substr(equals + 1) + "\"\n"));
      check_hidden(from_file(set.substr(0, equals) + " = " + set.substr(equals + 1) + "\n"));  // not TOML
    }
    check_hidden(from_environment({{"MASTER_API_KEY", secret + "\n"}, {"PARLEY_SECRET_KEY", secret}}));
    check_hidden(
        from_environment({{"MASTER_API_KEY", secret}, {"PARLEY_MASTER_API_KEY", "other" + secret}}));
    check_hidden(from_environment({{"PARLEY_MASTER_API_KY", secret}}));
  }

  TEST_CASE("a secret may come from a file, whose last line ends count for nothing") {
    const temp_dir dir;
    const auto file = dir.write("key", "abcdefghijklmnop\r\n").string();
    CHECK(from_environment({{"PARLEY_MASTER_API_KEY_FILE", file}}).values.master_api_key ==
          "abcdefghijklmnop");
    CHECK(
        from_environment({{"PARLEY_MASTER_API_KEY_FILE", file}, {"PARLEY_MASTER_API_KEY", "other"}})
            .problems.size() == 1);
    CHECK(from_environment({{"PARLEY_MASTER_API_KEY_FILE", "/nonexistent"}}).problems ==
          texts{"master_api_key: the file \"/nonexistent\" (environment, "
                "PARLEY_MASTER_API_KEY_FILE) can't be read"});
    const auto big = dir.write("big", std::string(10000, 'x')).string();
    CHECK(from_environment({{"PARLEY_MASTER_API_KEY_FILE", big}}).problems.size() == 1);
    const auto hex = dir.write("hex", std::string(64, 'a') + "\n").string();
    CHECK(from_environment({{"PARLEY_SECRET_KEY_FILE", hex}}).values.secret_key ==
          std::string(64, 'a'));
  }

  TEST_CASE(
      "a file with a secret that others may read, and a secret on the command line, get a "
      "warning") {
    const temp_dir dir;
    config_inputs inputs;
    inputs.file = dir.write("parley.toml", "master_api_key = \"abcdefghijklmnop\"\n");
    ::chmod(inputs.file->c_str(), 0644);
    CHECK(load_config(inputs).warnings.size() == 1);
    ::chmod(inputs.file->c_str(), 0600);
    CHECK(load_config(inputs).warnings.empty());
    CHECK(from_sets({"master_api_key=abcdefghijklmnop"}).warnings.size() == 1);
    CHECK(from_sets({"master_api_key=short"}).warnings.size() == 2);
  }
}

TEST_SUITE("SPEC 7 configuration: printed and documented") {
  TEST_CASE("what is printed loads again as the same configuration") {
    auto loaded = from_sets({"max_content=5KiB", "drain_delay=1500ms",
                             "ws_allowed_origins=https://a,https://b", "database=a \"b\"\\c.db",
                             "log_level=warn"});
    REQUIRE(loaded.problems == texts{});
    const auto printed = print_config(loaded.values);
    const auto again = from_file(printed);
    CHECK(again.problems == texts{});
    CHECK(print_config(again.values) == printed);
  }

  TEST_CASE("every key has a document, a range, one row, and a default that is allowed") {
    std::vector<std::string_view> names{key_names().begin(), key_names().end()};
    std::ranges::sort(names);
    CHECK(std::ranges::adjacent_find(names) == names.end());
    for (const auto& section : config_sections()) {
      for (const auto& key : section.keys) {
        CAPTURE(key.name);
        CHECK(key.doc.ends_with("."));
        CHECK_FALSE(key.allowed.empty());
        CHECK(find_key(key.name) == &key);
        for (const bool dev : {false, true}) {
          const auto shown = key.show(default_config(dev));
          if (shown.empty() && (key.secret || key.name == "log_dir")) continue;
          config c;
          std::string why;
          CHECK(key.parse(c, shown, why));
          CHECK(key.show(c) == shown);
        }
      }
    }
  }

  TEST_CASE("conf/parley.toml is what the table says; `parley config print --defaults` writes it") {
    CHECK(parley::tests::read_file("conf/parley.toml") == documented_defaults());
  }

  TEST_CASE("conf/parley.toml without its comment signs is the default configuration") {
    std::string toml;
    std::string_view text;
    const auto all = documented_defaults();
    for (text = all; !text.empty();) {
      const auto line = text.substr(0, text.find('\n'));
      text.remove_prefix(line.size() + 1);
      if (line.starts_with('#') && line.size() > 1 && line[1] != ' ')
        toml += std::string{line.substr(1)} + "\n";
    }
    // The secrets have no value that is allowed and means «none».
    for (const std::string_view name : {"master_api_key", "secret_key"}) {
      const auto at = toml.find(std::string{name} + " = \"\"\n");
      REQUIRE(at != std::string::npos);
      toml.erase(at, name.size() + 6);
    }
    const auto loaded = from_file(toml);
    CHECK(loaded.problems == texts{});
    CHECK(print_config(loaded.values) == print_config(default_config()));
  }

  TEST_CASE(
      "docs/configuration.md has the table's tables; `parley config print --markdown` writes "
      "them") {
    const auto page = parley::tests::read_file("docs/configuration.md");
    CHECK(page.find(keys_as_markdown()) != std::string::npos);
  }
}
