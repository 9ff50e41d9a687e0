#pragma once
/// The hash that links the commits: SHA-256 over the hash of the commit before and, for each row that this one appended,
/// what never changes of it. The mark, `verify`, backups and later replication compare histories by it.

#include "protocol/entry.hpp"
#include "protocol/hash.hpp"
#include "protocol/ids.hpp"

#include <cstdint>
#include <string>

namespace parley::store {

/// What the first commit is chained to.
inline constexpr sha256_digest chain_start{};

class commit_chain {
 public:
  explicit commit_chain(const sha256_digest& previous = chain_start) { start(previous); }

  /// Forgets the rows added so far.
  void start(const sha256_digest& previous) {
    bytes_.assign(reinterpret_cast<const char*>(previous.data()), previous.size());
  }
  void add(log_id id, room_no room, room_seq seq, entry_kind kind, const message_id& message,
           utc_time created_at) {
    append(id.value);
    append(room.value);
    append(seq.value);
    bytes_ += static_cast<char>(kind);
    bytes_.append(reinterpret_cast<const char*>(message.id.bytes.data()), message.id.bytes.size());
    append(to_unix_ms(created_at));
  }
  [[nodiscard]] sha256_digest hash() const { return sha256(bytes_); }

 private:
  /// Little endian, 8 bytes.
  void append(std::int64_t v) {
    char out[8];
    for (unsigned i = 0; i < 8; ++i)
      out[i] = static_cast<char>(static_cast<std::uint64_t>(v) >> (8 * i));
    bytes_.append(out, sizeof out);
  }

  std::string bytes_;  // 49 bytes a row: hashed at once, at the commit
};

}  // namespace parley::store
