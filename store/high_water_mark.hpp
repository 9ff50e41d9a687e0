#pragma once
/// The high-water mark (I11): a small file beside the database that remembers how far its history went, so that a start
/// can tell a database that lost its tail, was restored or was replaced.
///
/// Owner      the writer's thread.
/// Invariants it never names a commit whose COMMIT has not returned success. Two slots, written in turn and synced each
///            time: a torn write costs the newer one, and the older is still true.
/// Form       docs/store-format.md.

#include "protocol/hash.hpp"
#include "protocol/ids.hpp"
#include "protocol/seams.hpp"
#include "protocol/uuid.hpp"
#include "store/vfs_file.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace parley::store {

struct water_mark {
  uuid database;  ///< made with the database file
  epoch_id epoch;
  commit_no commit;
  sha256_digest hash{};  ///< of that commit
  log_id last_id;        ///< the newest log id at that commit
  bool clean = false;    ///< nothing was written after it, and all was checkpointed
  bool normal = false;   ///< written while durability was `normal`
  std::string boot_id;   ///< of the machine's boot that wrote it
  utc_time written_at{};

  bool operator==(const water_mark&) const = default;
};

class high_water_mark {
 public:
  /// Opens or creates the file and reads it. Throws db_exception.
  high_water_mark(const std::string& path, const std::string& vfs);

  /// What the file said when it was opened; nullopt: it was not there, or neither slot was readable.
  [[nodiscard]] const std::optional<water_mark>& found() const { return found_; }
  [[nodiscard]] db_result<void> write(const water_mark& mark);

 private:
  vfs_file file_;
  std::optional<water_mark> found_;
  std::uint64_t sequence_ = 0;  ///< of the newest slot
};

/// What the database itself says, to compare with the mark.
struct found_history {
  uuid database;
  commit_no last_commit;
  /// The hash of the commit that the mark names; nullopt: no record of it (pruned, or never there).
  std::optional<sha256_digest> hash_at_mark;
};
/// Why history may be lost, in words for the log; nullopt: all that was accepted is there.
[[nodiscard]] std::optional<std::string> doubt(const std::optional<water_mark>& mark,
                                               const found_history& history,
                                               const std::string& boot_id);

/// The running boot of this machine; empty where the kernel does not say.
[[nodiscard]] std::string machine_boot_id();

}  // namespace parley::store
