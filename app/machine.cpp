#include "app/machine.hpp"

#include "app/config_values.hpp"

#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <limits>
#include <optional>
#include <string_view>

namespace parley::app {
namespace {

std::optional<std::string> first_line(const std::filesystem::path& file) {
  std::ifstream in{file};
  std::string line;
  if (!std::getline(in, line)) return std::nullopt;
  return line;
}

/// The path of this process's cgroup: of version 2 for `controller` empty, else of that controller of version 1.
std::optional<std::string> own_cgroup(const std::filesystem::path& proc, std::string_view controller) {
  std::ifstream in{proc / "self" / "cgroup"};
  for (std::string line; std::getline(in, line);) {  // number:controllers:path
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const auto controllers = split_list(std::string_view{line}.substr(first + 1, second - first - 1));
    const bool is_it = controller.empty()
                           ? controllers.empty() && line.starts_with("0:")
                           : std::ranges::find(controllers, controller) != controllers.end();
    if (is_it) return line.substr(second + 1);
  }
  return std::nullopt;
}

/// Calls `look` for a cgroup's directory and those above it, down to `root`; a container may see only the root.
void for_each_cgroup(
    const std::filesystem::path& root, std::string path,
    const std::function<void(const std::filesystem::path& directory, const std::string& name)>& look) {
  while (path.size() > 1) {
    look(root / path.substr(1), path);
    path.resize(path.rfind('/'));
  }
  look(root, "/");
}

}  // namespace

unsigned usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  unsigned cores = 1;
  if (::sched_getaffinity(0, sizeof set, &set) == 0) {
    cores = static_cast<unsigned>(std::max(1, CPU_COUNT(&set)));
  }
  for_each_cgroup("/sys/fs/cgroup", own_cgroup("/proc", "").value_or("/"),
                  [&](const std::filesystem::path& directory, const std::string&) {
                    std::ifstream in{directory / "cpu.max"};
                    double quota = 0;  // «max» is no number: no quota
                    double period = 0;
                    if (!(in >> quota >> period) || quota <= 0 || period <= 0) return;
                    cores = std::min(
                        cores, std::max(1U, static_cast<unsigned>(std::ceil(quota / period))));
                  });
  return cores;
}

memory_limit usable_memory() { return usable_memory("/proc", "/sys/fs/cgroup"); }

memory_limit usable_memory(const std::filesystem::path& proc, const std::filesystem::path& cgroups) {
  memory_limit least{std::numeric_limits<std::uint64_t>::max(), "the machine"};
  std::ifstream in{proc / "meminfo"};
  for (std::string name, rest; in >> name && std::getline(in, rest);) {
    if (name != "MemTotal:") continue;
    const auto text = trimmed(rest);
    if (const auto kib = parse_count(text.substr(0, text.find(' ')))) least.bytes = *kib * 1024;
    break;
  }
  const auto look = [&](std::string_view file) {
    return [&least, file](const std::filesystem::path& directory, const std::string& name) {
      const auto line = first_line(directory / file);
      if (!line) return;
      const auto bytes = parse_count(trimmed(*line));  // «max» is no number: no limit
      if (bytes && *bytes < least.bytes) least = {*bytes, "the cgroup " + name};
    };
  };
  if (const auto path = own_cgroup(proc, "")) for_each_cgroup(cgroups, *path, look("memory.max"));
  if (const auto path = own_cgroup(proc, "memory")) {
    for_each_cgroup(cgroups / "memory", *path, look("memory.limit_in_bytes"));
  }
  return least;
}

std::uint64_t raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  if (limit.rlim_cur < limit.rlim_max) {
    auto wanted = limit;
    wanted.rlim_cur = limit.rlim_max;
    // A seccomp filter may forbid it; then the soft limit stays what it is.
    if (::setrlimit(RLIMIT_NOFILE, &wanted) == 0) limit = wanted;
  }
  return limit.rlim_cur;
}

std::uint64_t listen_backlog_limit() {
  const auto line = first_line("/proc/sys/net/core/somaxconn");
  return line ? parse_count(trimmed(*line)).value_or(0) : 0;
}

}  // namespace parley::app
