#include "tests/promises/syscall_trace.hpp"

#include "tests/support/await.hpp"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <utility>

namespace parley::tests {
namespace {

constexpr const char* strace_binary = "/usr/bin/strace";
constexpr std::string_view unfinished = " <unfinished ...>";

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace

bool traced_call::is_on(std::string_view file_end) const {
  // name(7</path/of/file>, …
  const auto first_end = text.find('>');
  return first_end != std::string::npos &&
         std::string_view{text}.substr(0, first_end).ends_with(file_end);
}

std::vector<traced_call> parse_trace(std::string_view text) {
  std::vector<traced_call> calls;
  std::map<std::string, std::size_t> open;  // thread → its call that has not returned
  std::size_t line_no = 0;
  while (!text.empty()) {
    const auto end = text.find('\n');
    auto line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    ++line_no;
    const auto gap = line.find(' ');
    if (gap == std::string_view::npos) continue;
    const std::string thread{line.substr(0, gap)};
    line.remove_prefix(std::min(line.size(), line.find_first_not_of(' ', gap)));
    if (line.starts_with("<... ")) {
      const auto it = open.find(thread);
      if (it == open.end()) continue;
      auto& call = calls[it->second];
      const auto at = line.find('>');
      call.text += line.substr(at == std::string_view::npos ? line.size() : at + 1);
      call.end = line_no;
      open.erase(it);
      continue;
    }
    const auto paren = line.find('(');
    if (paren == std::string_view::npos || line.starts_with("+++") || line.starts_with("---"))
      continue;
    traced_call call{std::string{line.substr(0, paren)}, std::string{line.substr(paren + 1)},
                     line_no, line_no};
    if (line.ends_with(unfinished)) {
      call.text.resize(call.text.size() - unfinished.size());
      call.end = 0;
      open[thread] = calls.size();
    }
    calls.push_back(std::move(call));
  }
  std::erase_if(calls, [](const traced_call& c) { return c.end == 0; });
  return calls;
}

tracing::tracing(std::vector<std::string> arguments) : arguments_(std::move(arguments)) {
  if (!std::filesystem::exists(strace_binary)) {
    throw std::runtime_error{
        "this test needs strace, which `./dev deps` installs: it shows in which order the node "
        "writes, syncs and answers"};
  }
}

std::vector<std::string> tracing::under() const {
  // --seccomp-bpf: calls that nobody asked for run at full speed.
  std::vector<std::string> command{strace_binary, "-D", "-f", "--seccomp-bpf",
                                   "-q",          "-y", "-o", (dir_ / "trace").string()};
  command.insert(command.end(), arguments_.begin(), arguments_.end());
  return command;
}

std::string tracing::text(pid_t node) const {
  // strace outlives the node by a moment: its last words are about the end of the node's first thread.
  const auto about_it = "\n" + std::to_string(node) + " ";  // padded to five digits
  const auto tells_the_end = [&](const std::string& all) {
    for (auto at = all.find(about_it); at != std::string::npos; at = all.find(about_it, at + 1)) {
      const auto words = all.find_first_not_of(' ', at + about_it.size() - 1);
      if (all.compare(words, 4, "+++ ") == 0) return all.ends_with("\n");
    }
    return false;
  };
  std::string all;
  const bool complete = await(std::chrono::seconds{10}, [&] {
    all = read_file(dir_ / "trace");
    return tells_the_end(all);
  });
  if (!complete) throw deadline_passed{"strace did not write its trace to the end"};
  return all;
}

order_seen order_of(const std::vector<traced_call>& calls, const std::vector<std::string>& keys) {
  order_seen seen;
  std::size_t first_write = 0;
  std::size_t last_word = 0;
  for (const auto& key : keys) {
    const traced_call* written = nullptr;
    const traced_call* told = nullptr;
    for (const auto& call : calls) {
      if (!contains(call.text, key)) continue;
      if (call.name == "pwrite64" && call.is_on("-wal")) {
        if (written == nullptr) written = &call;
      } else if (call.name == "sendmsg" || call.name == "sendto") {
        if (told == nullptr) told = &call;
      }
    }
    if (told == nullptr || written == nullptr || written->end >= told->begin) {
      seen.violations.push_back(key + (told == nullptr      ? ": never told"
                                       : written == nullptr ? ": never written to the WAL"
                                                            : ": told before it was written"));
      continue;
    }
    const bool synced = std::any_of(calls.begin(), calls.end(), [&](const traced_call& c) {
      return c.is_sync() && c.is_on("-wal") && c.text.ends_with("= 0") && c.begin > written->end &&
             c.end < told->begin;
    });
    ++(synced ? seen.in_order : seen.without_sync);
    first_write = first_write == 0 ? written->begin : std::min(first_write, written->begin);
    last_word = std::max(last_word, told->end);
  }
  seen.wal_syncs =
      static_cast<std::size_t>(std::count_if(calls.begin(), calls.end(), [&](const traced_call& c) {
        return c.is_sync() && c.is_on("-wal") && c.begin > first_write && c.end < last_word;
      }));
  return seen;
}

}  // namespace parley::tests
