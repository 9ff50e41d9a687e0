#include "net/limits.hpp"

#include "protocol/assert.hpp"

#include <utility>

namespace parley::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// Connections end when they end: nobody knows when.
constexpr milliseconds retry_connect{5000};

error too_many(std::string_view limit, std::string message, nanoseconds wait) {
  error why{error_code::rate_limit, std::move(message)};
  why.retry_after = std::chrono::ceil<milliseconds>(wait);
  return beyond(limit, std::move(why));
}

/// A tenant may use up a second's worth at once.
gcra a_second_of(std::uint32_t rate) { return {rate, rate}; }

}  // namespace

connection_slot::~connection_slot() {
  limits_.give_back_slot(address_);
  if (tenant_) tenant_->connections.fetch_sub(1, std::memory_order_relaxed);
}

std::optional<error> connection_slot::join(const actors::tenant_snapshot& tenant) {
  PARLEY_ASSERT(tenant_ == nullptr);
  const auto limit = traffic_limits::value(limits_.max_connections_per_tenant_);
  const auto before = tenant.meters->connections.fetch_add(1, std::memory_order_relaxed);
  if (limit != 0 && before >= static_cast<std::int64_t>(limit)) {
    tenant.meters->connections.fetch_sub(1, std::memory_order_relaxed);
    return too_many("max_connections_per_tenant", "the tenant has too many connections",
                    retry_connect);
  }
  tenant_ = tenant.meters;
  return std::nullopt;
}

traffic_limits::traffic_limits(const traffic_options& options, random_source& random)
    : users_(rate_users_max, random),
      addresses_(rate_addresses_max, random) {
  apply(options);
}

void traffic_limits::apply(const traffic_options& options) {
  const auto set = [](number& n, std::uint32_t v) { n.store(v, std::memory_order_relaxed); };
  set(default_rate_limit_, options.default_rate_limit);
  set(default_message_rate_, options.default_message_rate);
  set(user_send_rate_, options.user_send_rate);
  set(user_send_burst_, options.user_send_burst);
  set(ws_connect_rate_, options.ws_connect_rate);
  set(auth_failure_rate_, options.auth_failure_rate);
  set(max_connections_per_tenant_, options.max_connections_per_tenant);
  set(max_connections_per_address_, options.max_connections_per_address);
}

// ---- requests -----------------------------------------------------------------------------------------------------

std::uint32_t traffic_limits::request_limit(const actors::tenant_snapshot& tenant) const {
  return tenant.config.rate_limit.value_or(value(default_rate_limit_));
}

traffic_limits::request_rate traffic_limits::rate_of(const actors::tenant_snapshot& tenant,
                                                     mono_time now) const {
  const auto limit = request_limit(tenant);
  if (limit == 0) return {};
  const auto rate = a_second_of(limit);
  const auto state = gcra::state_of(tenant.meters->requests_due.load(std::memory_order_relaxed));
  return {limit, rate.remaining(state, now), rate.refill(state, now)};
}

std::optional<error> traffic_limits::admit_request(const actors::tenant_snapshot& tenant,
                                                   mono_time now) {
  const auto rate = a_second_of(request_limit(tenant));
  auto& state = tenant.meters->requests_due;
  if (rate.admit(state, now)) return std::nullopt;
  return too_many("default_rate_limit", "more requests than the tenant may send",
                  rate.wait(gcra::state_of(state.load(std::memory_order_relaxed)), now));
}

// ---- messages -----------------------------------------------------------------------------------------------------

traffic_limits::message_verdict traffic_limits::admit_messages(const actors::tenant_snapshot& tenant,
                                                               const user_id* user, std::uint32_t n,
                                                               mono_time now) {
  message_verdict out{n, {}};
  const auto refuse = [&](std::string_view limit, std::string message, nanoseconds wait) {
    out.refused = too_many(limit, std::move(message), wait);
    out.refused->stored = stored_state::no;
  };
  const gcra of_user{tenant.config.user_send_rate.value_or(value(user_send_rate_)),
                     tenant.config.user_send_burst.value_or(value(user_send_burst_))};
  const bool has_bucket = user != nullptr && !of_user.is_none();
  std::uint64_t key = 0;
  if (has_bucket) {
    key = users_.key_of(tenant.no.value, user->view());
    const auto said = users_.admit_up_to(key, of_user, n, now);
    out.admitted = said.admitted;
    if (said.admitted < n)
      refuse("user_send_rate", "more messages than a user may send", said.wait);
  }
  const auto of_tenant =
      a_second_of(tenant.config.message_rate.value_or(value(default_message_rate_)));
  auto& state = tenant.meters->messages_due;
  const auto wanted = out.admitted;
  out.admitted = of_tenant.admit_up_to(state, wanted, now);
  if (out.admitted < wanted) {
    if (has_bucket) users_.give_back(key, of_user, wanted - out.admitted);
    refuse("default_message_rate", "more messages than the tenant may send",
           of_tenant.wait(gcra::state_of(state.load(std::memory_order_relaxed)), now));
  }
  return out;
}

// ---- connections --------------------------------------------------------------------------------------------------

std::optional<error> traffic_limits::admit_connect(mono_time now) {
  const auto rate = a_second_of(value(ws_connect_rate_));
  if (rate.admit(connects_, now)) return std::nullopt;
  const auto wait = rate.wait(gcra::state_of(connects_.load(std::memory_order_relaxed)), now);
  return beyond("ws_connect_rate", unavailable("too many connections come at once",
                                               std::chrono::ceil<milliseconds>(wait)));
}

result<connection_slot_ptr> traffic_limits::take_slot(const boost::asio::ip::address& from) {
  const auto key = addresses_.key_of(0, prefix_of(from).view());
  const auto limit = value(max_connections_per_address_);
  {
    const std::lock_guard lock(slots_lock_);
    auto& open = slots_[key];
    if (limit != 0 && open >= limit) {
      return too_many("max_connections_per_address", "too many connections from this address",
                      retry_connect);
    }
    ++open;
  }
  return std::make_shared<connection_slot>(*this, key);
}

void traffic_limits::give_back_slot(std::uint64_t address) {
  const std::lock_guard lock(slots_lock_);
  const auto it = slots_.find(address);
  PARLEY_ASSERT(it != slots_.end() && it->second > 0);
  if (--it->second == 0) slots_.erase(it);
}

std::size_t traffic_limits::connected_addresses() const {
  const std::lock_guard lock(slots_lock_);
  return slots_.size();
}

// ---- failed authentication ----------------------------------------------------------------------------------------

std::optional<error> traffic_limits::failed_authentication(const boost::asio::ip::address& from,
                                                           mono_time now) {
  const auto count = value(auth_failure_rate_);
  const gcra rate{count, std::chrono::minutes{1}, count};
  const auto said =
      addresses_.admit_up_to(addresses_.key_of(0, prefix_of(from).view()), rate, 1, now);
  if (said.admitted == 1) return std::nullopt;
  return too_many("auth_failure_rate", "too many failed authentications from this address",
                  said.wait);
}

}  // namespace parley::net
