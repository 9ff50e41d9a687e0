#include "store/node_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace parley::store {
namespace {

std::string holder(int fd) {
  std::string text(512, '\0');
  const ssize_t got = pread(fd, text.data(), text.size(), 0);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';  // it goes into a log line
  }
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

}  // namespace

result<node_lock> node_lock::take(const std::filesystem::path& file, utc_time now) {
  const auto failed = [&](int code) {
    return error{
        .code = error_code::unavailable,
        .message = "can't lock " + file.string() + ": " + std::generic_category().message(code),
        .field = "lock"};
  };
  const int fd = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return failed(errno);
  node_lock lock{fd};
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return failed(errno);
    std::string who = holder(fd);
    if (who.empty()) who = "another process";
    return error{.code = error_code::conflict,
                 .message = "the database is in use by " + who + " (" + file.string() +
                            "): stop it first, one node per database",
                 .field = "lock"};
  }
  const std::string text = "pid " + std::to_string(getpid()) + ", since " + to_rfc3339(now) + "\n";
  // For the message above only. On a full disk it may not be written, and the lock holds all the same.
  if (ftruncate(fd, 0) == 0) {
    [[maybe_unused]] const ssize_t written = pwrite(fd, text.data(), text.size(), 0);
  }
  return lock;
}

node_lock::node_lock(node_lock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
node_lock& node_lock::operator=(node_lock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}
node_lock::~node_lock() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace parley::store
