#include "tests/support/process.hpp"

#include "tests/support/await.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>

extern char** environ;  // POSIX has no header for it

namespace parley::tests {
namespace {

[[noreturn]] void fail(const char* what) {
  throw std::system_error{errno, std::generic_category(), what};
}

/// One thread that starts all children and lives as long as the test: PR_SET_PDEATHSIG goes by the thread that forked,
/// so a child of a short thread of a test would be killed when that thread ends.
class spawner {
 public:
  static spawner& instance() {
    static auto* one = new spawner;  // never destroyed: its thread never ends
    return *one;
  }
  pid_t spawn(std::function<pid_t()> fork_child) {
    std::unique_lock lock{mutex_};
    free_.wait(lock, [&] { return !job_; });
    job_ = std::move(fork_child);
    wake_.notify_one();
    done_.wait(lock, [&] { return has_result_; });
    has_result_ = false;
    const auto pid = result_;
    lock.unlock();
    free_.notify_one();
    return pid;
  }

 private:
  spawner() {
    std::thread{[this] { run(); }}.detach();
  }
  void run() {
    std::unique_lock lock{mutex_};
    while (true) {
      wake_.wait(lock, [&] { return job_ && !has_result_; });
      result_ = job_();
      job_ = nullptr;
      has_result_ = true;
      done_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable free_, wake_, done_;
  std::function<pid_t()> job_;
  pid_t result_ = -1;
  bool has_result_ = false;
};

/// What would configure a node from outside: a test starts it as it says, wherever the test runs.
bool configures_a_node(std::string_view name) {
  constexpr std::array<std::string_view, 14> chatapi{"LISTEN_ADDR",
                                                     "MASTER_API_KEY",
                                                     "DATABASE_DSN",
                                                     "DATA_DIR",
                                                     "LOG_DIR",
                                                     "LOG_LEVEL",
                                                     "DEFAULT_RATE_LIMIT",
                                                     "WS_ALLOWED_ORIGINS",
                                                     "MAX_CONNECTIONS_PER_USER",
                                                     "WS_MAX_CONNECTIONS_PER_USER",
                                                     "WORKER_INTERVAL",
                                                     "RETRY_MAX_ATTEMPTS",
                                                     "RETRY_INTERVAL",
                                                     "SHUTDOWN_DRAIN_TIMEOUT"};
  if (name.starts_with("PARLEY_")) return true;
  for (const auto one : chatapi) {
    if (one == name) return true;
  }
  return false;
}

std::vector<std::string> environment_with(const std::map<std::string, std::string>& extra) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text{*entry};
    const auto name = text.substr(0, text.find('='));
    if (!configures_a_node(name) && !extra.contains(std::string{name})) all.emplace_back(text);
  }
  for (const auto& [name, value] : extra) all.push_back(name + "=" + value);
  return all;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (auto& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

struct pipe_ends {
  int read = -1;
  int write = -1;
};
pipe_ends make_pipe() {
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_CLOEXEC) != 0) fail("pipe2");
  return {fds[0], fds[1]};
}

}  // namespace

struct process::impl {
  pid_t pid = -1;
  mutable std::mutex mutex;
  std::optional<int> status;
  std::string out;
  std::string err;
  std::thread out_reader, err_reader, in_writer;

  ~impl() {
    if (pid > 0 && !reap(true)) {
      ::kill(pid, SIGKILL);
      reap(false);
    }
    for (auto* thread : {&out_reader, &err_reader, &in_writer}) {
      if (thread->joinable()) thread->join();
    }
  }

  void read_all(int fd, std::string& into) {
    std::array<char, 16 * 1024> buffer{};
    while (true) {
      const auto n = ::read(fd, buffer.data(), buffer.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) break;
      const std::lock_guard lock{mutex};
      into.append(buffer.data(), static_cast<std::size_t>(n));
    }
    ::close(fd);
  }

  /// True when it has ended. `only_look`: without waiting.
  bool reap(bool only_look) {
    const std::lock_guard lock{mutex};
    if (status) return true;
    int raw = 0;
    pid_t got = 0;
    do {
      got = ::waitpid(pid, &raw, only_look ? WNOHANG : 0);
    } while (got < 0 && errno == EINTR);
    if (got != pid) return got < 0;
    status = WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
    return true;
  }
};

process::process(const process_options& options) : impl_(std::make_unique<impl>()) {
  auto arguments = options.command;
  auto environment = environment_with(options.env);
  const auto argv = pointers_to(arguments);
  const auto envp = pointers_to(environment);
  const auto in = make_pipe();
  const auto out = make_pipe();
  const auto err = make_pipe();
  const auto directory = options.working_directory.string();
  const pid_t parent = ::getpid();
  impl_->pid = spawner::instance().spawn([&] {
    const pid_t child = ::fork();
    if (child != 0) return child;
    // Between fork and exec only what is safe in a signal handler.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(126);
    ::dup2(in.read, STDIN_FILENO);
    ::dup2(out.write, STDOUT_FILENO);
    ::dup2(err.write, STDERR_FILENO);
    if (!directory.empty() && ::chdir(directory.c_str()) != 0) ::_exit(126);
    ::execve(argv[0], argv.data(), envp.data());
    ::_exit(127);
  });
  for (const int fd : {in.read, out.write, err.write}) ::close(fd);
  if (impl_->pid < 0) fail("fork");
  impl_->out_reader = std::thread{[i = impl_.get(), fd = out.read] { i->read_all(fd, i->out); }};
  impl_->err_reader = std::thread{[i = impl_.get(), fd = err.read] { i->read_all(fd, i->err); }};
  impl_->in_writer = std::thread{[fd = in.write, input = options.input] {
    // A child that reads nothing ends this with EPIPE, not the test.
    sigset_t pipe_signal;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe_signal, nullptr);
    std::string_view left = input;
    while (!left.empty()) {
      const auto n = ::write(fd, left.data(), left.size());
      if (n <= 0) break;
      left.remove_prefix(static_cast<std::size_t>(n));
    }
    ::close(fd);
  }};
}

process::~process() = default;
process::process(process&&) noexcept = default;
process& process::operator=(process&&) noexcept = default;

pid_t process::pid() const { return impl_->pid; }

void process::signal(int number) {
  const std::lock_guard lock{impl_->mutex};
  if (!impl_->status) ::kill(impl_->pid, number);  // not reaped: the number is still its own
}

std::optional<int> process::wait(std::chrono::milliseconds within) {
  if (!await(within, [&] { return impl_->reap(true); })) return std::nullopt;
  const std::lock_guard lock{impl_->mutex};
  return impl_->status;
}

int process::exit_status(std::chrono::milliseconds within) {
  const auto status = wait(within);
  if (!status) {
    signal(SIGKILL);
    impl_->reap(false);
    throw deadline_passed{"a process did not end in time; it said:\n" + stderr_text()};
  }
  for (auto* thread : {&impl_->out_reader, &impl_->err_reader}) {
    if (thread->joinable()) thread->join();
  }
  return *status;
}

bool process::is_running() { return !impl_->reap(true); }

std::string process::stderr_text() const {
  const std::lock_guard lock{impl_->mutex};
  return impl_->err;
}

std::string process::stdout_text() const {
  const std::lock_guard lock{impl_->mutex};
  return impl_->out;
}

std::vector<std::string> process::stderr_lines() const {
  const auto text = stderr_text();
  std::vector<std::string> lines;
  std::size_t begin = 0;
  for (auto end = text.find('\n'); end != std::string::npos; end = text.find('\n', begin)) {
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

finished run(const process_options& options, std::chrono::milliseconds within) {
  process p{options};
  finished f;
  f.status = p.exit_status(within);
  f.out = p.stdout_text();
  f.err = p.stderr_text();
  return f;
}

std::string binary_from(const char* variable) {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing in a test changes the environment.
  const char* path = std::getenv(variable);
  if (path == nullptr || *path == '\0') {
    throw std::runtime_error{std::string{variable} +
                             " names no program: run the tests with ctest or ./dev test"};
  }
  return std::filesystem::absolute(path).string();
}

std::string parley_binary() { return binary_from("PARLEY_BIN"); }

}  // namespace parley::tests
