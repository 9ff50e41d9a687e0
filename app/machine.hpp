#pragma once
/// What the machine, the container and the process's limits grant: cores, memory, descriptors.

#include <cstdint>
#include <filesystem>
#include <string>

namespace parley::app {

/// Cores that this process may use: its affinity and its cgroups' quotas, at least 1.
[[nodiscard]] unsigned usable_cores();

/// Memory that this process may use: the least of the machine's and its cgroups' (version 1 or 2).
struct memory_limit {
  std::uint64_t bytes = 0;
  std::string whose;  ///< «the machine», «the cgroup /system.slice/parley.service»
};
[[nodiscard]] memory_limit usable_memory();
/// The same from other roots than `/proc` and `/sys/fs/cgroup`: for tests.
[[nodiscard]] memory_limit usable_memory(const std::filesystem::path& proc,
                                         const std::filesystem::path& cgroups);

/// Raises the soft limit of open files to the hard one, if it may, and tells the soft one.
[[nodiscard]] std::uint64_t raise_descriptor_limit();
/// `net.core.somaxconn`: the longest queue of connections that wait to be accepted; 0: unknown.
[[nodiscard]] std::uint64_t listen_backlog_limit();

}  // namespace parley::app
