#pragma once
/// Who is online on this node, and how: what GET /presence and member lists show. Derived (I9), gone with the process.
/// Owner      each user's session sets and erases its own entry; the directory erases that of a session that died for good.
/// Threads    any may read. Shards with a lock each, held for one look-up.
/// Bound      one entry a session in memory: a user with a connection, or within its grace.

#include "actors/messages.hpp"

#include <array>
#include <cstddef>
#include <mutex>
#include <unordered_map>

namespace parley::actors {

class presence_table {
 public:
  presence_table() = default;
  presence_table(const presence_table&) = delete;
  presence_table& operator=(const presence_table&) = delete;

  /// `offline` erases.
  void set(const user_key& user, presence_status status) {
    auto& s = shard_of(user);
    const std::lock_guard lock(s.mutex);
    if (status == presence_status::offline) {
      s.users.erase(user);
    } else {
      s.users.insert_or_assign(user, status);
    }
  }
  [[nodiscard]] presence_status of(const user_key& user) const {
    const auto& s = shard_of(user);
    const std::lock_guard lock(s.mutex);
    const auto it = s.users.find(user);
    return it == s.users.end() ? presence_status::offline : it->second;
  }
  [[nodiscard]] std::size_t size() const {
    std::size_t n = 0;
    for (const auto& s : shards_) {
      const std::lock_guard lock(s.mutex);
      n += s.users.size();
    }
    return n;
  }

 private:
  static constexpr std::size_t shards = 64;
  struct shard {
    mutable std::mutex mutex;
    std::unordered_map<user_key, presence_status> users;
  };
  [[nodiscard]] shard& shard_of(const user_key& user) { return shards_[number_of(user)]; }
  [[nodiscard]] const shard& shard_of(const user_key& user) const {
    return shards_[number_of(user)];
  }
  /// Not the bits that the maps use.
  static std::size_t number_of(const user_key& user) {
    return (std::hash<user_key>{}(user) >> 24U) % shards;
  }

  std::array<shard, shards> shards_;
};

}  // namespace parley::actors
