#include "bench/machine.hpp"

#include <linux/magic.h>
#include <nlohmann/json.hpp>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <thread>

namespace parley::bench {
namespace {

std::string processor_name() {
  std::ifstream in{"/proc/cpuinfo"};
  for (std::string line; std::getline(in, line);) {
    const auto colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

}  // namespace

std::uint64_t raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  if (limit.rlim_cur < limit.rlim_max) {
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return before;
  }
  return limit.rlim_cur;
}

unsigned sources_for(std::uint32_t connections) {
  std::ifstream in{"/proc/sys/net/ipv4/ip_local_port_range"};
  std::uint32_t first = 32768;
  std::uint32_t last = 60999;
  in >> first >> last;
  const std::uint32_t used = std::max(1U, (last > first ? last - first : 1) / 2);
  return std::clamp(connections / used + 1, 1U, 200U);
}

std::string filesystem_of(const std::filesystem::path& path) {
  struct statfs about {};
  if (statfs(path.c_str(), &about) != 0) return "unknown";
  switch (static_cast<unsigned long>(about.f_type)) {
    case TMPFS_MAGIC:
      return "tmpfs";
    case EXT4_SUPER_MAGIC:
      return "ext4";
    case XFS_SUPER_MAGIC:
      return "xfs";
    case BTRFS_SUPER_MAGIC:
      return "btrfs";
    case OVERLAYFS_SUPER_MAGIC:
      return "overlayfs";
    default:
      return "unknown";
  }
}

nlohmann::ordered_json describe_machine() {
  utsname names{};
  uname(&names);
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const auto pages = static_cast<std::uint64_t>(std::max(0L, sysconf(_SC_PHYS_PAGES)));
  const auto page_bytes = static_cast<std::uint64_t>(std::max(0L, sysconf(_SC_PAGESIZE)));
  return {{"cores", std::thread::hardware_concurrency()},
          {"processor", processor_name()},
          {"kernel", std::string{names.sysname} + " " + names.release + " " + names.machine},
          {"memory_mib", pages * page_bytes >> 20},
          {"descriptors", std::uint64_t{limit.rlim_cur}}};
}

}  // namespace parley::bench
