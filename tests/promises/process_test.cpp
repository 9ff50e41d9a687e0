// The node as a process, with people on it: its end under load, its refusals to start, and what `--dev` prints.

#include "tests/promises/stage.hpp"
#include "tests/support/await.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <csignal>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

using namespace parley::tests;
using namespace std::chrono_literals;

namespace {

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

finished serve(std::vector<std::string> arguments, std::map<std::string, std::string> env = {}) {
  arguments.insert(arguments.begin(), {parley_binary(), "serve", "--listen", "127.0.0.1:0"});
  return run({.command = std::move(arguments), .env = std::move(env)});
}

/// Talks with keys until the node says goodbye.
class talker {
 public:
  talker(const stage& s, std::string name, std::string room, std::atomic<int>& accepted)
      : client_(s.online(name)),
        name_(std::move(name)),
        room_(std::move(room)),
        accepted_(accepted),
        thread_([this] { talk(); }) {}
  talker(const talker&) = delete;
  talker& operator=(const talker&) = delete;
  ~talker() = default;
  void join() { thread_.join(); }

  std::map<std::string, json> told;  ///< message.accepted, by key
  json shutdown;
  close_seen closed;
  std::string trouble;

 private:
  void talk() {
    int said = 0;
    try {
      while (true) {
        if (shutdown.is_null() && said < static_cast<int>(told.size()) + 16) {
          const auto key = name_ + "-" + std::to_string(++said);
          client_.send_json(send_frame(room_, "text of " + key, key));
          continue;
        }
        const auto frame = client_.receive_json(15s);
        if (frame["type"] == "message.accepted") {
          told[frame["client_msg_id"]] = frame;
          ++accepted_;
        } else if (frame["type"] == "server.shutdown") {
          shutdown = frame;
        } else if (frame["type"] == "error") {
          trouble = frame.dump();
        }
      }
    } catch (const connection_closed& e) {
      closed = e.seen;
    } catch (const std::exception& e) {
      trouble = e.what();
    }
  }

  ws_client client_;
  const std::string name_;
  const std::string room_;
  std::atomic<int>& accepted_;
  std::jthread thread_;  // last: it uses the others
};

/// What `--dev` printed, and the lines in it that are meant to be copied.
struct dev_page {
  std::string text;
  [[nodiscard]] std::vector<std::string> lines_with(std::string_view start) const {
    std::vector<std::string> found;
    for (std::size_t at = 0; at < text.size();) {
      const auto end = std::min(text.find('\n', at), text.size());
      auto line = text.substr(at, end - at);
      line.erase(0, std::min(line.size(), line.find_first_not_of(' ')));
      if (line.starts_with(start)) found.push_back(line);
      at = end + 1;
    }
    return found;
  }
};

process dev_node(const temp_dir& dir) {
  return process{{.command = {parley_binary(), "serve", "--dev", "--listen", "127.0.0.1:0"},
                  .working_directory = dir.path()}};
}

dev_page await_page(process& node) {
  REQUIRE(await(30s, [&] { return has(node.stdout_text(), "Ctrl-C") || !node.is_running(); }));
  return {node.stdout_text()};
}

finished in_a_shell(const std::string& line, const std::string& input = {}) {
  return run({.command = {"/bin/sh", "-c", line},
              .working_directory = binary_from("PARLEY_SOURCE_DIR"),
              .input = input});
}

}  // namespace

TEST_SUITE("SPEC 7 the end of a node") {
  TEST_CASE("SIGTERM under load: goodbye to everybody, status 0, and nothing accepted is lost") {
    for (const int threads : {1, 3}) {
      CAPTURE(threads);
      stage s{with_io_threads(threads)};
      const std::vector<std::string> names{"ann", "ben", "cay", "dan"};
      const auto group = s.room("group", names);
      std::atomic<int> accepted{0};
      std::vector<std::unique_ptr<talker>> talkers;
      for (const auto& name : names)
        talkers.push_back(std::make_unique<talker>(s, name, group, accepted));
      REQUIRE(await(20s, [&] { return accepted >= 200; }));
      CHECK(s.node.terminate(12s) == 0);
      std::set<int> delays;
      for (auto& t : talkers) {
        t->join();
        CHECK(t->trouble.empty());
        CHECK(t->closed.code == 1012);
        REQUIRE(t->shutdown.is_object());
        const auto delay = t->shutdown["reconnect_after_ms"].get<int>();
        CHECK(delay >= 0);
        CHECK(delay <= 500);  // the shortest window there is, for few connections
        delays.insert(delay);
      }
      if (threads == 1) CHECK(delays.size() == names.size());  // spread, not all at once
      const auto verified = verify(s.node);
      CAPTURE(verified.out);
      CHECK(is_clean(verified));

      s.node.start();
      auto backend = s.backend();
      const auto log = log_of(backend, group);
      CHECK(seqs_of(log) == seqs(1, static_cast<std::int64_t>(log.size())));
      for (const auto& t : talkers) {
        for (const auto& [key, result] : t->told) {
          const auto& entry = log.at(result["seq"].get<std::size_t>() - 1);
          CHECK(entry["message_id"] == result["message_id"]);
          CHECK(entry["client_msg_id"] == key);
        }
      }
    }
  }

  TEST_CASE("a second SIGTERM ends it at once with status 1, and costs nothing that was accepted") {
    stage s{{.config = {{"drain_delay", "9s"}}}};
    const auto dm = s.room("dm", {"alice", "bob"});
    auto alice = s.online("alice");
    s.node.signal(SIGTERM);
    s.node.await_log("draining");
    const auto accepted = send(alice, dm, "still served");  // within drain_delay all is as before
    REQUIRE(accepted["type"] == "message.accepted");
    s.node.signal(SIGTERM);
    CHECK(s.node.await_exit(5s) == 1);
    s.node.start();
    auto backend = s.backend();
    CHECK(log_of(backend, dm).at(0)["message_id"] == accepted["message_id"]);
  }

  TEST_CASE("a client that does not read does not hold up the end") {
    stage s;
    const auto dm = s.room("dm", {"alice", "bob"});
    auto deaf = s.online("alice");
    auto backend = s.backend();
    post_many(backend, dm, "bob", 300);
    CHECK(s.node.terminate(12s) == 0);
    CHECK(is_clean(verify(s.node)));
  }
}

TEST_SUITE("SPEC 7 one process per database") {
  TEST_CASE("a second start on the same data exits 1 and names the holder, who serves on") {
    stage s;
    const auto dm = s.room("dm", {"alice", "bob"});
    auto alice = s.online("alice");
    const auto second = serve({"--data-dir", s.node.data_dir().string()},
                              {{"PARLEY_MASTER_API_KEY", "another-key-0123456789abcdef"}});
    CHECK(second.status == 1);
    CHECK(has(second.err, std::to_string(s.node.pid())));
    CHECK(send(alice, dm, "undisturbed")["type"] == "message.accepted");
    s.node.kill9();
    s.node.start();  // the dead hold nothing
    CHECK(s.node.rest().get("/readyz").status == 200);
  }
}

TEST_SUITE("SPEC 7 what a start refuses") {
  TEST_CASE("no master_api_key is status 2, and says how to get one") {
    const temp_dir dir;
    const auto refused = serve({"--data-dir", (dir / "d").string()});
    CHECK(refused.status == 2);
    CHECK(has(refused.err, "master_api_key"));
    CHECK(has(refused.err, "--dev"));
    CHECK_FALSE(std::filesystem::exists(dir / "d"));
  }

  TEST_CASE(
      "an unknown key is status 2 and names the nearest; a wrong value names key, value and what "
      "is allowed") {
    const temp_dir dir;
    const std::map<std::string, std::string> env{{"PARLEY_MASTER_API_KEY", "0123456789abcdef0123"}};
    const auto unknown =
        serve({"--data-dir", (dir / "d").string(), "--set", "ws_max_fram=64KiB"}, env);
    CHECK(unknown.status == 2);
    CHECK(has(unknown.err, "ws_max_fram"));
    CHECK(has(unknown.err, "ws_max_frame"));
    const auto wrong =
        serve({"--data-dir", (dir / "d").string(), "--set", "durability=sometimes"}, env);
    CHECK(wrong.status == 2);
    for (const char* part : {"durability", "sometimes", "full", "normal"})
      CHECK(has(wrong.err, part));
    const auto file = dir.write("parley.toml", "max_contents = \"1KiB\"\n");
    const auto in_file = serve({"--data-dir", (dir / "d").string(), "--config", file.string()}, env);
    CHECK(in_file.status == 2);
    CHECK(has(in_file.err, "max_contents"));
    CHECK(has(in_file.err, "parley.toml"));
    CHECK_FALSE(has(unknown.err + wrong.err + in_file.err, "0123456789abcdef0123"));
  }

  TEST_CASE("an unknown command and an unknown option are status 2") {
    CHECK(run({.command = {parley_binary(), "swerve"}}).status == 2);
    CHECK(serve({"--no-such-option"}).status == 2);
    CHECK(run({.command = {parley_binary(), "serve", "--help"}}).status == 0);
  }
}

TEST_SUITE("SPEC 7 --dev: what a new user does") {
  TEST_CASE("the page names everything, and its lines work as they are copied") {
    const temp_dir dir;
    auto node = dev_node(dir);
    const auto page = await_page(node);
    CAPTURE(page.text);
    for (const char* part : {"http://127.0.0.1:", "tenant_", "sk_", "alice", "bob", "carol", "dm",
                             "group", "channel"}) {
      CHECK(has(page.text, part));
    }
    const auto curls = page.lines_with("curl ");
    REQUIRE(curls.size() == 2);
    const auto posted = in_a_shell(curls[0]);
    CAPTURE(posted.err);
    REQUIRE(posted.status == 0);
    CHECK(json::parse(posted.out)["content"] == "Hello");

    const auto chats = page.lines_with("python3 ");
    REQUIRE(chats.size() == 2);
    const auto chat = in_a_shell(chats[1], "Hello from a terminal\n");
    CAPTURE(chat.out);
    CAPTURE(chat.err);
    CHECK(chat.status == 0);

    const auto read = in_a_shell(curls[1]);
    REQUIRE(read.status == 0);
    const auto history = json::parse(read.out)["messages"];
    CHECK(contents_of(history) == std::vector<std::string>{"Hello", "Hello from a terminal"});
    CHECK(history[1]["sender_id"] == "bob");

    // kill -9, start again: the same page (but for the port), everything is there, the next seq follows.
    node.signal(SIGKILL);
    node.exit_status();
    auto again = dev_node(dir);
    const auto second = await_page(again);
    const auto lines = second.lines_with("curl ");
    REQUIRE(lines.size() == 2);
    CHECK(json::parse(in_a_shell(lines[0]).out)["seq"] == 3);
    CHECK(json::parse(in_a_shell(lines[1]).out)["messages"].size() == 3);
    again.signal(SIGTERM);
    CHECK(again.exit_status() == 0);
  }
}
