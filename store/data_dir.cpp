#include "store/data_dir.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

namespace parley::store {
namespace {

struct file_system {
  unsigned long magic;
  std::string_view name;
};
// statfs(2), linux/magic.h. FUSE is not here: behind it are local file systems, too.
constexpr std::array<file_system, 14> network_file_systems{{
    {0x6969, "NFS"},
    {0x517b, "SMB"},
    {0xfe534d42, "SMB2"},
    {0xff534d42, "CIFS"},
    {0x5346414f, "AFS"},
    {0x6b414653, "kAFS"},
    {0x73757245, "Coda"},
    {0x564c, "NCP"},
    {0x01021997, "9P"},
    {0x00c36400, "Ceph"},
    {0x0bd00bd0, "Lustre"},
    {0x47504653, "GPFS"},
    {0x01161970, "GFS2"},
    {0x7461636f, "OCFS2"},
}};

error refused(const std::filesystem::path& dir, const std::string& why) {
  return {.code = error_code::unavailable, .message = dir.string() + ": " + why, .field = "file"};
}
error refused(const std::filesystem::path& dir, int code) {
  return refused(dir, std::generic_category().message(code));
}

}  // namespace

std::string_view network_file_system(long magic) {
  for (const file_system& fs : network_file_systems) {
    if (fs.magic == (static_cast<unsigned long>(magic) & 0xffffffffUL)) return fs.name;
  }
  return {};
}

result<void> check_data_dir(const std::filesystem::path& dir) {
  struct statfs fs {};
  if (statfs(dir.c_str(), &fs) != 0) return refused(dir, errno);
  if (const auto name = network_file_system(static_cast<long>(fs.f_type)); !name.empty()) {
    return refused(dir, "lies on " + std::string{name} +
                            ", a network file system: its locks and shared memory can't be trusted "
                            "with a database; use a local disk");
  }
  std::error_code ec;
  if (!std::filesystem::is_directory(dir, ec)) return refused(dir, "is no directory");
  return {};
}

result<void> sync_dir(const std::filesystem::path& dir) {
  const int fd = open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return refused(dir, errno);
  const int code = fsync(fd) == 0 ? 0 : errno;
  close(fd);
  if (code != 0) return refused(dir, code);
  return {};
}

void keep_ballast(const std::filesystem::path& file, std::size_t bytes) {
  struct stat there {};
  if (bytes == 0 || stat(file.c_str(), &there) == 0) return;
  const int fd = open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return;
  // fallocate(2), not posix_fallocate(3): the latter would write every block where the file system can't reserve.
  const bool reserved = fallocate(fd, 0, 0, static_cast<off_t>(bytes)) == 0;
  close(fd);
  if (!reserved) unlink(file.c_str());
}

bool release_ballast(const std::filesystem::path& file) { return unlink(file.c_str()) == 0; }

}  // namespace parley::store
