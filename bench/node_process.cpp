#include "bench/node_process.hpp"

#include "bench/rest_client.hpp"
#include "bench/socket_fd.hpp"
#include "bench/steady_time.hpp"

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <sstream>
#include <thread>
#include <utility>

namespace parley::bench {
namespace {

namespace fs = std::filesystem;

std::string text_of_errno() { return std::generic_category().message(errno); }

std::string random_hex(std::size_t bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string raw(bytes, '\0');
  if (getrandom(raw.data(), raw.size(), 0) != static_cast<ssize_t>(bytes)) {
    throw setup_error{"getrandom: " + text_of_errno()};
  }
  std::string hex;
  for (const char c : raw) {
    hex += digits[static_cast<unsigned char>(c) >> 4];
    hex += digits[static_cast<unsigned char>(c) & 15];
  }
  return hex;
}

std::string read_file(const fs::path& path) {
  std::ifstream in{path, std::ios::binary};
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

void write_private_file(const fs::path& path, std::string_view text) {
  socket_fd file{open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)};
  if (!file.is_open() ||
      write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    throw setup_error{"cannot write " + path.string() + ": " + text_of_errno()};
  }
}

/// `Name:   123 kB` of /proc/PID/status, in bytes; counts without unit as they are.
std::uint64_t status_value(const std::string& status, std::string_view name) {
  const auto at = status.find("\n" + std::string{name} + ":");
  if (at == std::string::npos) return 0;
  const char* const digits = status.c_str() + at + name.size() + 2;
  char* end = nullptr;
  const std::uint64_t value = std::strtoull(digits, &end, 10);
  return std::string_view{end}.starts_with(" kB") ? value * 1024 : value;
}

/// A node reads settings from its environment too, and they win over the file: it gets only what cannot be one.
std::vector<std::string> harmless_environment() {
  constexpr std::array kept{
      "PATH=",         "HOME=",         "TMPDIR=",         "LANG=",         "LC_",
      "LD_",           "MALLOC_",       "GLIBC_TUNABLES=", "ASAN_OPTIONS=", "UBSAN_OPTIONS=",
      "LSAN_OPTIONS=", "TSAN_OPTIONS=", "PARLEY_BREAK="};  // a planted defect must reach it
  std::vector<std::string> result;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text{*entry};
    if (std::ranges::any_of(kept, [&](const char* name) { return text.starts_with(name); })) {
      result.emplace_back(text);
    }
  }
  return result;
}

std::string toml_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

}  // namespace

std::optional<process_usage> usage_of(pid_t pid) {
  // /proc/PID/stat counts in ticks of 10 ms; this clock in nanoseconds, which idle load needs.
  clockid_t clock = 0;
  timespec time{};
  if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0) {
    return std::nullopt;
  }
  const std::string status = read_file("/proc/" + std::to_string(pid) + "/status");
  if (status.empty()) return std::nullopt;
  process_usage usage;
  usage.cpu_s = static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
  usage.rss_bytes = status_value(status, "VmRSS");
  usage.rss_peak_bytes = status_value(status, "VmHWM");
  usage.threads = status_value(status, "Threads");
  return usage;
}

fs::path find_node_binary() {
  if (const char* const given = std::getenv("PARLEY_BIN"); given != nullptr && *given != '\0') {
    return given;
  }
  std::error_code failed;
  const fs::path beside = fs::read_symlink("/proc/self/exe", failed).parent_path() / "parley";
  return !failed && fs::exists(beside) ? beside : fs::path{};
}

std::string node_config(const node_options& options, const fs::path& data_dir,
                        const std::string& master_key, const std::string& address) {
  std::vector<std::pair<std::string, std::string>> lines;
  const auto put = [&](std::string_view key, const std::string& value) {
    const auto known = std::ranges::find(lines, key, &std::pair<std::string, std::string>::first);
    if (known == lines.end()) {
      lines.emplace_back(key, value);
    } else {
      known->second = value;
    }
  };
  put("listen_addr", toml_string(address));
  put("data_dir", toml_string(data_dir.string()));
  put("master_api_key", toml_string(master_key));
  put("durability", toml_string(options.durability));
  put("log_level", toml_string("warn"));
  if (!options.has_shipped_limits) {
    for (const char* const limit :
         {"max_connections_per_user", "user_send_rate", "ws_frame_rate", "default_rate_limit",
          "default_message_rate", "ws_connect_rate", "auth_failure_rate", "max_rooms_per_user",
          "max_rooms_per_tenant", "max_connections_per_tenant", "max_connections_per_address"}) {
      put(limit, "0");
    }
  }
  for (const auto& setting : options.settings) {
    const auto equals = setting.find('=');
    if (equals == std::string::npos) throw setup_error{"'" + setting + "': expected key=value"};
    const auto key_end = setting.find_last_not_of(' ', equals == 0 ? 0 : equals - 1);
    put(std::string_view{setting}.substr(0, key_end + 1), setting.substr(equals + 1));
  }
  std::string text;
  for (const auto& [key, value] : lines) text.append(key).append(" = ").append(value).append("\n");
  return text;
}

node_process::node_process(node_options options) : options_{std::move(options)} {
  master_key_ = random_hex(24);
  std::string pattern = (options_.data_parent / "parley-bench-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) {
    throw setup_error{"cannot make a directory in " + options_.data_parent.string() + ": " +
                      text_of_errno()};
  }
  directory_ = pattern;
  try {
    start();
    await_listening();
  } catch (...) {
    kill_now();
    remove_directory();
    throw;
  }
}

node_process::~node_process() {
  kill_now();
  remove_directory();
}

void node_process::start() {
  const fs::path data_dir = directory_ / "data";
  fs::create_directory(data_dir);
  const fs::path config = directory_ / "parley.toml";
  fs::remove(config);
  constexpr std::size_t scheme = std::string_view{"http://"}.size();
  const std::string address = url_.empty() ? "127.0.0.1:0" : url_.substr(scheme);
  write_private_file(config, node_config(options_, data_dir, master_key_, address));
  const std::string log = (directory_ / "node.log").string();

  const std::string binary = fs::absolute(options_.binary).string();
  const std::string config_text = config.string();
  const std::string directory = directory_.string();
  std::vector<std::string> environment = harmless_environment();
  std::vector<char*> environment_pointers;
  for (auto& entry : environment) environment_pointers.push_back(entry.data());
  environment_pointers.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) throw setup_error{"fork: " + text_of_errno()};
  if (child == 0) {
    // Only async-signal-safe calls from here on. Its own process group: Ctrl-C is for us, and we end it by its pid.
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);  // should we be killed, it must not stay behind
    if (getppid() != parent) _exit(127);
    if (chdir(directory.c_str()) != 0) _exit(127);  // away from any .env file
    const int in = open("/dev/null", O_RDONLY);
    const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(in, 0);
    dup2(out, 1);
    dup2(out, 2);
    const std::array<const char*, 5> arguments{binary.c_str(), "serve", "--config",
                                               config_text.c_str(), nullptr};
    execve(binary.c_str(), const_cast<char* const*>(arguments.data()), environment_pointers.data());
    constexpr std::string_view sorry = "cannot execute the node's binary\n";
    (void)!write(2, sorry.data(), sorry.size());
    _exit(127);
  }
  pid_ = child;
}

void node_process::await_listening() {
  const std::int64_t deadline = now_ns() + ns_of(options_.start_deadline_s);
  for (;;) {
    const std::string log = read_file(directory_ / "node.log");
    std::istringstream lines{log.substr(std::min(log_from_, log.size()))};
    for (std::string line; std::getline(lines, line);) {
      if (lines.eof()) break;  // without its end of line: not complete yet
      const auto entry = nlohmann::json::parse(line, nullptr, false);
      if (entry.is_object() && entry.value("msg", "") == "listening" && entry.contains("address") &&
          entry["address"].is_string()) {
        url_ = "http://" + entry["address"].get<std::string>();
        return;
      }
    }
    if (!is_running()) {
      throw setup_error{options_.binary.string() + " ended before it listened:\n" + log_tail()};
    }
    if (now_ns() > deadline) {
      throw setup_error{options_.binary.string() + " did not say that it listens:\n" + log_tail()};
    }
    std::this_thread::sleep_for(std::chrono::milliseconds{5});
  }
}

bool node_process::await_end(double seconds) {
  const std::int64_t deadline = now_ns() + ns_of(seconds);
  while (!has_ended_) {
    const pid_t ended = waitpid(pid_, &wait_status_, WNOHANG);
    if (ended == pid_ || (ended < 0 && errno != EINTR)) {
      has_ended_ = true;
    } else if (now_ns() > deadline) {
      return false;
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds{2});
    }
  }
  return true;
}

bool node_process::is_running() {
  if (pid_ < 0 || has_ended_) return false;
  if (waitpid(pid_, &wait_status_, WNOHANG) == pid_) has_ended_ = true;
  return !has_ended_;
}

std::string node_process::stop() {
  std::string when = "ended by itself";
  if (is_running()) {
    when = "ended after SIGTERM";
    kill(pid_, SIGTERM);
    if (!await_end(options_.stop_deadline_s)) {
      kill_now();
      return "the node did not end within " + std::to_string(options_.stop_deadline_s) +
             " s after SIGTERM and was killed:\n" + log_tail();
    }
    if (WIFEXITED(wait_status_) && WEXITSTATUS(wait_status_) == 0) return {};
  }
  const std::string how = WIFSIGNALED(wait_status_)
                              ? "by signal " + std::to_string(WTERMSIG(wait_status_))
                              : "with status " + std::to_string(WEXITSTATUS(wait_status_));
  return "the node " + when + " " + how + ":\n" + log_tail();
}

node_process::restarted node_process::restart() {
  restarted result;
  const std::int64_t told = now_ns();
  result.failure = stop();
  result.exit_s = seconds_of(now_ns() - told);
  result.listen_s = start_again();
  return result;
}

double node_process::kill_and_restart() {
  kill_now();
  return start_again();
}

double node_process::start_again() {
  log_from_ = read_file(directory_ / "node.log").size();
  has_ended_ = false;
  const std::int64_t begun = now_ns();
  start();
  await_listening();
  return seconds_of(now_ns() - begun);
}

void node_process::kill_now() {
  if (!is_running()) return;
  kill(pid_, SIGKILL);
  await_end(10);
}

void node_process::remove_directory() {
  if (options_.keeps_data || directory_.empty()) return;
  std::error_code ignored;
  fs::remove_all(directory_, ignored);
}

std::string node_process::log_tail() const {
  constexpr std::size_t tail_bytes = 4000;
  std::string text = read_file(directory_ / "node.log");
  if (text.size() > tail_bytes) text = "… " + text.substr(text.size() - tail_bytes);
  return text;
}

}  // namespace parley::bench
