#include "net/process_facts.hpp"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>

namespace parley::net {

namespace {

std::string first_line(const char* file) {
  std::ifstream in{file};
  std::string line;
  std::getline(in, line);
  return line;
}

}  // namespace

double resident_bytes() {
  std::istringstream fields{first_line("/proc/self/statm")};
  std::uint64_t size = 0;
  std::uint64_t resident = 0;
  fields >> size >> resident;
  return static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

/// Since Linux 6.2 the directory's size is their number; before, it is 0, and they are counted.
double open_descriptors() {
  struct ::stat s {};
  if (::stat("/proc/self/fd", &s) == 0 && s.st_size > 0) return static_cast<double>(s.st_size);
  std::size_t n = 0;
  if (DIR* all = ::opendir("/proc/self/fd"); all != nullptr) {
    while (const auto* entry = ::readdir(all)) {  // NOLINT(concurrency-mt-unsafe): a stream of our own
      if (entry->d_name[0] != '.') ++n;
    }
    ::closedir(all);
    --n;  // the directory's own
  }
  return static_cast<double>(n);
}

double max_descriptors() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<double>(limit.rlim_cur);
}

double cpu_seconds() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

/// Unix time, from the kernel's: it stays the same from scrape to scrape.
double start_time() {
  static const double at = [] {
    const auto line = first_line("/proc/self/stat");
    std::istringstream fields{line.substr(line.rfind(')') + 1)};  // the name may hold anything
    std::string field;
    for (int n = 3; n <= 22; ++n) fields >> field;
    double since_boot = 0;
    std::istringstream{field} >> since_boot;
    std::ifstream stat{"/proc/stat"};
    double boot = 0;
    for (std::string text; std::getline(stat, text);) {
      if (text.starts_with("btime ")) std::istringstream{text.substr(6)} >> boot;
    }
    return boot + since_boot / static_cast<double>(::sysconf(_SC_CLK_TCK));
  }();
  return at;
}

}  // namespace parley::net
