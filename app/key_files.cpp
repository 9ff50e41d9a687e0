#include "app/key_files.hpp"

#include "app/config_values.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

namespace parley::app {
namespace {

error io_error(const std::filesystem::path& file, std::string_view what, int code) {
  return {.code = error_code::unavailable,
          .message = file.string() + ": " + std::string{what} + ": " +
                     std::generic_category().message(code)};
}

class descriptor {
 public:
  explicit descriptor(int fd) : fd_(fd) {}
  ~descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  descriptor(const descriptor&) = delete;
  descriptor& operator=(const descriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

result<void> write_all(const std::filesystem::path& file, std::string_view content) {
  const descriptor out{
      ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR)};
  if (out.get() < 0) return io_error(file, "can't be made", errno);
  while (!content.empty()) {
    const auto n = ::write(out.get(), content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error(file, "can't be written", errno);
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  if (::fsync(out.get()) != 0) return io_error(file, "can't be written", errno);
  return {};
}

result<void> sync_directory(const std::filesystem::path& dir) {
  const descriptor d{::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (d.get() < 0 || ::fsync(d.get()) != 0) return io_error(dir, "can't be synced", errno);
  return {};
}

/// A name beside `file` that nobody else uses now.
std::filesystem::path temporary_for(const std::filesystem::path& file) {
  static std::atomic<unsigned> count{0};
  auto name = file;
  name += ".new-" + std::to_string(::getpid()) + "-" + std::to_string(count++);
  return name;
}

}  // namespace

result<void> make_data_dir(const std::filesystem::path& dir) {
  std::error_code code;
  if (std::filesystem::is_directory(dir, code)) return {};
  const auto parent = std::filesystem::absolute(dir).parent_path();
  if (parent != dir && !parent.empty() && !std::filesystem::exists(parent, code)) {
    if (auto made = make_data_dir(parent); !made) return made;
  }
  if (::mkdir(dir.c_str(), S_IRWXU) != 0 && errno != EEXIST)
    return io_error(dir, "can't be made", errno);
  if (!std::filesystem::is_directory(dir, code)) return io_error(dir, "can't be used", ENOTDIR);
  return {};
}

result<void> write_secret_file(const std::filesystem::path& file, std::string_view content) {
  const auto temporary = temporary_for(file);
  ::unlink(temporary.c_str());  // a leaving of a process with this number
  if (auto written = write_all(temporary, content); !written) return written;
  if (::rename(temporary.c_str(), file.c_str()) != 0)
    return io_error(file, "can't be replaced", errno);
  return sync_directory(file.parent_path());
}

result<bool> create_secret_file(const std::filesystem::path& file, std::string_view content) {
  const auto temporary = temporary_for(file);
  ::unlink(temporary.c_str());
  if (auto written = write_all(temporary, content); !written) return written.error();
  // Unlike rename, link never replaces: of two that start at once, one wins.
  const int linked = ::link(temporary.c_str(), file.c_str());
  const int code = errno;
  ::unlink(temporary.c_str());
  if (linked != 0 && code == EEXIST) return false;
  if (linked != 0) return io_error(file, "can't be made", code);
  if (auto synced = sync_directory(file.parent_path()); !synced) return synced.error();
  return true;
}

result<secret_key> parse_secret_key(std::string_view hex) {
  const auto digit = [](char c) -> int {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  secret_key key{};
  if (hex.size() != 2 * key.size()) return invalid("secret_key", "a secret key has 64 hex digits");
  for (std::size_t i = 0; i < key.size(); ++i) {
    const int high = digit(hex[2 * i]);
    const int low = digit(hex[2 * i + 1]);
    if (high < 0 || low < 0) return invalid("secret_key", "a secret key has 64 hex digits");
    key[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return key;
}

result<loaded_secret_key> load_secret_key(const std::filesystem::path& data_dir,
                                          random_source& random) {
  const auto file = data_dir / "secret_key";
  std::error_code code;
  loaded_secret_key loaded;
  if (!std::filesystem::exists(file, code)) {
    auto made = create_secret_file(file, make_hex(loaded.key.size(), random) + "\n");
    if (!made) return made.error();
    loaded.created = *made;
  }
  std::ifstream in{file, std::ios::binary};
  const std::string content{std::istreambuf_iterator<char>{in}, {}};
  if (!in.is_open() || in.bad()) return io_error(file, "can't be read", EACCES);
  auto key = parse_secret_key(trimmed(content));
  if (!key) {
    return error{
        .code = error_code::validation,
        .message = file.string() + ": not a secret key (64 hex digits); restore it from its copy"};
  }
  loaded.key = *key;
  return loaded;
}

}  // namespace parley::app
