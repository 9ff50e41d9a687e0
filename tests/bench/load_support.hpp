#pragma once
/// Whole runs of the load tool against the fake node, for tests.

#include "bench/options.hpp"
#include "bench/run_context.hpp"
#include "tests/bench/fake_node.hpp"
#include "tests/bench/scratch_directory.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace parley::bench {

inline const std::atomic<int> no_interrupts{0};

inline bench_options small_load(const fake_node& node) {
  bench_options o;
  o.scenario = "send";
  o.url = node.url();
  o.master_key = fake_node::master_key;
  o.connections = 20;
  o.rooms = 10;
  o.members = {2};
  o.senders = 20;
  o.in_flight = 2;
  o.content_bytes = 100;
  o.duration_s = 0.15;
  o.warmup_s = 0.05;
  o.settle_s = 3;
  o.connect_deadline_s = 20;
  o.prints_json = true;
  o.is_quiet = true;
  return o;
}

/// The fake node in the place of a spawned one: a script that says it listens where the fake node does, and drains that
/// when it is told to end.
class spawned_fake {
 public:
  explicit spawned_fake(const fake_node& node, int status = 0) {
    const auto script = scratch_.path() / "parley";
    const std::string port = std::to_string(node.port());
    std::ofstream{script}
        << "#!/bin/bash\ndrain() {\n  exec 3<>/dev/tcp/127.0.0.1/" << port
        << "\n  printf 'POST /drain HTTP/1.1\\r\\n\\r\\n' >&3\n  head -c 12 <&3 >/dev/null\n"
        << "  exit " << status
        << "\n}\ntrap drain TERM\necho '{\"msg\":\"listening\",\"address\":\"127.0.0.1:" << port
        << "\"}' >&2\nwhile :; do sleep 0.02; done\n";
    std::filesystem::permissions(script, std::filesystem::perms::owner_all);
    const char* const before = std::getenv("PARLEY_BIN");
    has_been_set_ = before != nullptr;
    if (before != nullptr) kept_ = before;
    setenv("PARLEY_BIN", script.c_str(), 1);
  }
  ~spawned_fake() {
    has_been_set_ ? setenv("PARLEY_BIN", kept_.c_str(), 1) : unsetenv("PARLEY_BIN");
  }
  spawned_fake(const spawned_fake&) = delete;
  spawned_fake& operator=(const spawned_fake&) = delete;

  bench_options with(bench_options o) const {
    o.url.clear();
    o.master_key.clear();
    o.spawns = true;
    o.data_parent = scratch_.path();
    return o;
  }

 private:
  scratch_directory scratch_;
  bool has_been_set_ = false;
  std::string kept_;
};

struct outcome {
  int code = -1;
  nlohmann::json report;
  [[nodiscard]] bool found(const char* fault) const {
    return report["checks"]["faults"].contains(fault);
  }
};

inline outcome run(const bench_options& options, const std::atomic<int>& interrupts = no_interrupts) {
  std::ostringstream out;
  std::ostringstream progress;
  outcome result;
  result.code = run_bench(options, out, progress, interrupts);
  result.report = nlohmann::json::parse(out.str());
  CHECK(result.report["exit_code"] == result.code);
  return result;
}

}  // namespace parley::bench
