#include "net/tickets.hpp"

#include "protocol/assert.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace parley::net {
namespace {

constexpr std::size_t ticket_bytes = 32;  // 256 random bits
constexpr std::size_t ticket_chars = ticket_prefix.size() + (ticket_bytes * 4 + 2) / 3;

}  // namespace

std::size_t ticket_book::digest_hash::operator()(const sha256_digest& d) const {
  std::size_t out = 0;
  std::memcpy(&out, d.data(), sizeof out);
  return out;
}

ticket_book::ticket_book(std::chrono::milliseconds ttl, std::size_t max) : ttl_(ttl), max_(max) {
  PARLEY_ASSERT(max > 0);
}

std::string ticket_book::issue(ticket_grant grant, mono_time now, random_source& random) {
  auto ticket = make_token(ticket_prefix, ticket_bytes, random);
  const auto digest = sha256(ticket);
  const std::lock_guard lock(mutex_);
  sweep(now);
  if (tickets_.size() >= max_) make_room();
  const auto no = next_++;
  by_digest_.emplace(digest, no);
  by_tenant_[grant.tenant].insert(no);
  tickets_.emplace_hint(tickets_.end(), no, held{digest, std::move(grant), now + ttl_});
  return ticket;
}

std::optional<ticket_grant> ticket_book::redeem(std::string_view ticket, mono_time now) {
  if (ticket.size() != ticket_chars || !ticket.starts_with(ticket_prefix)) return std::nullopt;
  // Looked up by digest: how long it takes says nothing of other tickets.
  const auto digest = sha256(ticket);
  const std::lock_guard lock(mutex_);
  const auto named = by_digest_.find(digest);
  if (named == by_digest_.end()) return std::nullopt;
  const auto it = tickets_.find(named->second);
  PARLEY_ASSERT(it != tickets_.end());
  std::optional<ticket_grant> grant;
  if (now < it->second.until) grant = it->second.grant;
  forget(it);
  return grant;
}

std::size_t ticket_book::size() const {
  const std::lock_guard lock(mutex_);
  return tickets_.size();
}

std::uint64_t ticket_book::evicted() const {
  const std::lock_guard lock(mutex_);
  return evicted_;
}

void ticket_book::forget(held_map::iterator it) {
  by_digest_.erase(it->second.digest);
  const auto of_tenant = by_tenant_.find(it->second.grant.tenant);
  PARLEY_ASSERT(of_tenant != by_tenant_.end());
  of_tenant->second.erase(it->first);
  if (of_tenant->second.empty()) by_tenant_.erase(of_tenant);
  tickets_.erase(it);
}

// All live equally long, so the oldest lapses first; gateways' clocks may have read the moment in another order, by less
// than anybody notices: redeem() asks each ticket's own.
void ticket_book::sweep(mono_time now) {
  while (!tickets_.empty() && tickets_.begin()->second.until <= now) forget(tickets_.begin());
}

void ticket_book::make_room() {
  const auto most = std::max_element(
      by_tenant_.begin(), by_tenant_.end(),
      [](const auto& a, const auto& b) { return a.second.size() < b.second.size(); });
  PARLEY_ASSERT(most != by_tenant_.end());
  forget(tickets_.find(*most->second.begin()));
  ++evicted_;
}

}  // namespace parley::net
