#pragma once
/// A disk that fails, as an SQLite VFS of its own, all in memory: the N-th write, sync, shared-memory page or allocation
/// fails, once or for ever; space runs out; and power loss forgets, or tears, what was not synced.
///
/// Owner   one test. Thread-safe, since writer and readers have threads of their own in some.
/// Model   of each file: what programs see now, what is on the platter, and the writes between the two, in order.
///         A sync moves them to the platter. A sync that fails loses them: the kernel drops the pages and calls them
///         clean («fsyncgate»), so programs go on seeing what will not be there after a power loss.
///         A name is durable with the first sync of its file.

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace parley::store::test {

enum class fault_op : unsigned {
  read = 1,
  write = 2,
  sync = 4,
  truncate = 8,
  shm = 16,  ///< the wal-index has to grow
  open = 32,
  remove = 64,
};
constexpr unsigned any_io = 127;
constexpr unsigned operator|(fault_op a, fault_op b) {
  return static_cast<unsigned>(a) | static_cast<unsigned>(b);
}

struct fault {
  unsigned ops = any_io;
  std::int64_t nth = 1;   ///< counted from the moment it is set, over all of `ops`
  bool forever = false;   ///< and all after it
  bool no_space = false;  ///< of writes: ENOSPC instead of EIO
};

class fault_vfs {
 public:
  /// Registers itself under a name of its own, which sqlite_options::vfs takes.
  fault_vfs();
  fault_vfs(const fault_vfs&) = delete;
  fault_vfs& operator=(const fault_vfs&) = delete;
  ~fault_vfs();

  [[nodiscard]] const std::string& name() const;

  void fail(const fault& f);
  void heal();
  /// The fault has struck at least once since it was set.
  [[nodiscard]] bool fired() const;
  /// Operations of these kinds so far.
  [[nodiscard]] std::int64_t count(fault_op op) const;
  /// Bytes that all files together may take; nullopt: no bound. What is overwritten needs no space.
  void set_capacity(std::optional<std::int64_t> bytes);
  [[nodiscard]] std::int64_t bytes_used() const;

  /// How cruel a power loss is to what was not synced.
  enum class loss : std::uint8_t {
    all,   ///< all of it is gone
    some,  ///< some writes reached the platter, others not, in any order, and some are torn
  };
  /// Nobody may have a file open.
  void power_loss(loss how, std::uint64_t seed);
  /// Changes bytes of a file as they lie on the platter, and as programs see them.
  void damage(const std::string& path, std::int64_t offset, const std::string& bytes);
  [[nodiscard]] bool exists(const std::string& path) const;
  void remove(const std::string& path);
  /// A copy of a file's contents, and putting one back: a backup taken behind SQLite's back, while nobody has it open.
  [[nodiscard]] std::string contents(const std::string& path) const;
  void set_contents(const std::string& path, const std::string& bytes);

  struct disk;

 private:
  std::unique_ptr<disk> disk_;
};

/// To be inherited before what opens files on it: it has to go last.
struct has_disk {
  fault_vfs disk;
};

/// SQLite's allocations, of the whole process: the N-th from now fails.
class allocation_fault {
 public:
  allocation_fault(std::int64_t nth, bool forever);
  allocation_fault(const allocation_fault&) = delete;
  allocation_fault& operator=(const allocation_fault&) = delete;
  ~allocation_fault();
  [[nodiscard]] static bool fired();
};

}  // namespace parley::store::test
