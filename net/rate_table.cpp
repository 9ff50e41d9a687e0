#include "net/rate_table.hpp"

#include "protocol/assert.hpp"
#include "protocol/limits.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

namespace parley::net {

rate_table::rate_table(std::size_t entries, random_source& random)
    : secret_(make_siphash_key(random)),
      sets_(std::bit_ceil(std::max(entries / ways, shards))),
      // NOLINTNEXTLINE(cppcoreguidelines-no-malloc)
      table_(static_cast<set_of_entries*>(std::calloc(sets_, sizeof(set_of_entries)))) {
  if (table_ == nullptr) throw std::bad_alloc{};
}

std::uint64_t rate_table::key_of(std::int64_t space, std::string_view name) const {
  // The first part has one length: no two names share a text.
  std::array<char, sizeof space + limits::user_id_max_bytes> text{};
  PARLEY_ASSERT(name.size() <= limits::user_id_max_bytes);
  std::memcpy(text.data(), &space, sizeof space);
  std::memcpy(text.data() + sizeof space, name.data(), name.size());
  return std::max<std::uint64_t>(1, siphash(secret_, {text.data(), sizeof space + name.size()}));
}

rate_table::verdict rate_table::admit_up_to(std::uint64_t key, const gcra& limit, std::uint32_t n,
                                            mono_time now) {
  if (limit.is_none()) return {n, {}};
  const auto place = place_of(key);
  const std::lock_guard lock(locks_[place % shards]);
  auto& set = table_[place].entries;
  auto at = std::ranges::find(set, key, &entry::key);
  if (at == set.end()) {
    at = std::ranges::min_element(set, {}, &entry::due);
    if (at->key != 0 && at->due > now.time_since_epoch().count())
      evicted_.fetch_add(1, std::memory_order_relaxed);
    *at = {key, 0};
  }
  auto state = gcra::state_of(at->due);
  const auto admitted = limit.admit_up_to(state, n, now);
  at->due = state.due.time_since_epoch().count();
  return {admitted, limit.wait(state, now)};
}

void rate_table::give_back(std::uint64_t key, const gcra& limit, std::uint32_t n) {
  if (limit.is_none()) return;
  const auto place = place_of(key);
  const std::lock_guard lock(locks_[place % shards]);
  auto& set = table_[place].entries;
  const auto at = std::ranges::find(set, key, &entry::key);
  if (at == set.end()) return;  // pushed out since: it has a whole burst already
  auto state = gcra::state_of(at->due);
  limit.give_back(state, n);
  at->due = state.due.time_since_epoch().count();
}

address_prefix prefix_of(const boost::asio::ip::address& address) {
  address_prefix out;
  const auto take = [&](char version, const unsigned char* bytes, std::size_t n) {
    out.bytes[0] = version;
    std::memcpy(out.bytes.data() + 1, bytes, n);
    out.size = n + 1;
  };
  if (address.is_v4()) {
    const auto bytes = address.to_v4().to_bytes();
    take('4', bytes.data(), bytes.size());
  } else {
    const auto v6 = address.to_v6();
    const auto bytes = v6.to_bytes();
    if (v6.is_v4_mapped()) {
      take('4', bytes.data() + 12, 4);
    } else {
      take('6', bytes.data(), 8);
    }
  }
  return out;
}

}  // namespace parley::net
