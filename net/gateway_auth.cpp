// gateway_auth.cpp: who is calling (SPEC 3). Credentials are judged here, against what the tenant's owner has shown;
// connections whose credential lapses or is revoked are closed here.

#include "actors/tenant_table.hpp"
#include "net/gateway_loop.hpp"
#include "net/jwt.hpp"
#include "net/tickets.hpp"
#include "protocol/hash.hpp"
#include "protocol/server_frame.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include <algorithm>
#include <utility>

namespace parley::net {

namespace asio = boost::asio;

namespace {

using namespace std::chrono_literals;

constexpr std::size_t keys_told_max = 10000;  // then all are told anew
constexpr auto expiry_look_ahead = 5min;
constexpr auto expiry_notice = 60s;  // SPEC 3: `auth.expiring` comes so long before

connection_no number_of(actors::connection_ref c) { return connection_no{c.value}; }

error no_answer() {
  return unavailable("no answer within the deadline", std::chrono::milliseconds{1000});
}

const actors::tenant_snapshot::api_key* api_key_of(const actors::tenant_snapshot& tenant,
                                                   const sha256_digest& digest) {
  const auto it = std::find_if(tenant.api_keys.begin(), tenant.api_keys.end(),
                               [&](const auto& k) { return k.digest == digest; });
  return it == tenant.api_keys.end() ? nullptr : &*it;
}

}  // namespace

/// Whatever a tenant's owner shows: its origins count before anybody knows whose request it is (SPEC 3).
void gateway_loop::note_tenant(const actors::tenant_snapshot& tenant) {
  shared_.origins.set(tenant.no, tenant.disabled ? std::nullopt : tenant.config.allowed_origins);
}

/// `last_used_at`: to the minute is enough.
void gateway_loop::note_used(const identity& who) {
  const auto now = shared_.now.mono();
  if (keys_told_.size() >= keys_told_max) keys_told_.clear();
  const auto [it, fresh] = keys_told_.try_emplace(who.key, now);
  if (!fresh && now - it->second < 1min) return;
  it->second = now;
  bus_.to_storage(std::make_shared<const actors::key_used>(
      actors::key_used{who.tenant->no, who.key, shared_.now.now()}));
}

// ---- judging ----------------------------------------------------------------------------------------------------

asio::awaitable<result<identity>> gateway_loop::authenticate(credential c) {
  if (const auto* master = std::get_if<operator_credential>(&c)) {
    if (options_.master_key.empty() || !equal_secret(master->master_key, options_.master_key)) {
      co_return authentication_failed();
    }
    identity who;
    who.is_operator = true;
    co_return who;
  }
  if (auto* jwt = std::get_if<jwt_credential>(&c)) {
    auto judging = authenticate_jwt(std::move(jwt->token));
    auto who = co_await std::move(judging);
    if (who && !names_user(jwt->user, *who->user)) co_return authentication_failed();
    co_return who;
  }
  if (auto* ticket = std::get_if<ticket_credential>(&c)) {
    auto judging = authenticate_ticket(std::move(ticket->token));
    auto who = co_await std::move(judging);
    if (who && !names_user(ticket->user, *who->user)) co_return authentication_failed();
    co_return who;
  }
  const auto* key = std::get_if<api_key_credential>(&c);
  if (key == nullptr) co_return authentication_failed();
  auto asking = tenant_named(key->digest);
  auto tenant = co_await std::move(asking);
  if (!tenant) co_return tenant.error();
  const auto* known = api_key_of(**tenant, key->digest);
  if (known == nullptr || (*tenant)->disabled) co_return authentication_failed();
  identity who;
  who.key = known->id;
  who.tenant = std::move(*tenant);
  who.user = key->user;
  note_used(who);
  co_return who;
}

asio::awaitable<result<actors::tenant_snapshot_ptr>> gateway_loop::tenant_named(
    actors::tenant_name name) {
  if (auto known = shared_.tenants.find(name)) co_return known;
  const auto call = calls_.begin();
  bus_.to_directory(
      std::make_shared<const actors::authenticate>(actors::authenticate{{no_, call}, name}));
  auto answer = co_await calls_.wait(call, options_.limits.request_timeout);
  const auto* said = std::get_if<actors::authenticated_ptr>(&answer);
  if (said == nullptr) co_return no_answer();
  if ((*said)->failure) co_return *(*said)->failure;
  if (!(*said)->tenant) co_return authentication_failed();
  co_return (*said)->tenant;
}

asio::awaitable<result<identity>> gateway_loop::authenticate_jwt(std::string token) {
  auto name = names_of(token);
  if (!name) co_return authentication_failed();
  auto asking = tenant_named(std::move(*name));
  auto tenant = co_await std::move(asking);
  if (!tenant) co_return tenant.error();
  if ((*tenant)->disabled) co_return authentication_failed();
  auto verified = verify_jwt(token, **tenant, shared_.now.now());
  if (!verified) co_return authentication_failed();
  identity who;
  who.tenant = std::move(*tenant);
  who.user = std::move(verified->user);
  who.key = std::move(verified->key);
  who.issued_at = verified->issued_at;
  who.expires_at = verified->expires_at;
  who.is_token = true;
  note_used(who);
  auto checking = check_not_revoked(who);
  auto good = co_await std::move(checking);
  if (!good) co_return good.error();
  co_return who;
}

asio::awaitable<result<identity>> gateway_loop::authenticate_ticket(std::string token) {
  auto ticket = shared_.tickets.redeem(token, shared_.now.mono());
  if (!ticket) co_return authentication_failed();
  identity who;
  who.tenant = shared_.tenants.find(ticket->tenant);
  // It inherits: what it was made with must still be good.
  if (!who.tenant || who.tenant->disabled || !has_key(*who.tenant, ticket->key))
    co_return authentication_failed();
  who.user = std::move(ticket->user);
  who.key = std::move(ticket->key);
  who.issued_at = ticket->issued_at;
  who.expires_at = ticket->expires_at;
  who.is_token = ticket->expires_at.has_value();  // an API key never lapses, a JWT always does
  if (who.is_token && *who.expires_at + jwt_leeway <= shared_.now.now())
    co_return authentication_failed();
  auto checking = check_not_revoked(who);
  auto good = co_await std::move(checking);
  if (!good) co_return good.error();
  co_return who;
}

asio::awaitable<result<void>> gateway_loop::check_not_revoked(const identity& who) {
  const user_key user{who.tenant->no, *who.user};
  if (!revocations_.contains(user)) {
    auto asked = read(user.tenant, actors::revocation_query{user.tenant, user.user});
    auto answer = co_await std::move(asked);
    if (const auto* failed = std::get_if<error>(&answer)) co_return *failed;
    remember_revocation(user, std::get<std::optional<utc_time>>(answer));
  }
  if (is_revoked(user, who)) co_return authentication_failed();
  co_return result<void>{};
}

/// As far as this gateway has asked or was told. A backend's key is not its user's to lose.
bool gateway_loop::is_revoked(const user_key& user, const identity& who) const {
  const auto it = revocations_.find(user);
  if (it == revocations_.end() || !it->second || (!who.is_token && !who.issued_at)) return false;
  // A token that does not say when it was made may have been made before.
  return !who.issued_at || *who.issued_at < *it->second;
}

void gateway_loop::remember_revocation(const user_key& user, std::optional<utc_time> before) {
  const auto [it, fresh] = revocations_.try_emplace(user, before);
  if (!fresh) {
    it->second = std::max(it->second, before);  // what was read may be older than what was told
    return;
  }
  revocations_by_age_.push_back(user);
  if (revocations_by_age_.size() > known_revocations_max) {
    revocations_.erase(revocations_by_age_.front());
    revocations_by_age_.pop_front();
  }
}

// ---- frames -----------------------------------------------------------------------------------------------------

asio::awaitable<void> gateway_loop::first_frame(connection_no c, reply_refs refs, std::string token) {
  auto given = credential_of_token(token);
  auto judging = authenticate(given ? std::move(*given) : credential{no_credential{}});
  auto who = co_await std::move(judging);
  const auto it = connections_.find(c);
  const auto brought = unnamed_.find(c);
  if (it == connections_.end() || brought == unnamed_.end()) co_return;  // it has gone
  auto unnamed = std::move(brought->second);
  if (!who || !who->user) {
    const auto why = who ? authentication_failed() : who.error();
    const bool failed = why.code != error_code::unavailable;
    const auto too_many = failed ? count_failure(unnamed.upgrade) : std::nullopt;
    reply_error(c, refs, too_many.value_or(why));
    hub_.close(c, failed ? close_code::authentication_failed : close_code::try_again_later);
    co_return;
  }
  if (!origin_may_ask(unnamed.upgrade, options_.ws_allowed_origins,
                      who->tenant->config.allowed_origins)) {
    reply_error(c, refs, error{error_code::authorization, "this origin is not allowed"});
    hub_.close(c, close_code::authentication_failed);
    co_return;
  }
  if (const auto full = it->second.slot->join(*who->tenant)) {
    reply_error(c, refs, *full);
    hub_.close(c, close_code::try_again_later);
    co_return;
  }
  unnamed_.at(c).request_id = refs.request_id;
  shared_.unauthenticated.fetch_sub(1, std::memory_order_relaxed);
  name(c, it->second, *who, std::move(unnamed.device));
}

asio::awaitable<void> gateway_loop::refresh(connection_no c, reply_refs refs, std::string token) {
  auto judging = authenticate_jwt(std::move(token));
  auto who = co_await std::move(judging);
  const auto it = connections_.find(c);
  if (it == connections_.end()) co_return;
  auto& conn = it->second;
  if (!who) {
    reply_error(c, refs, who.error());
    co_return;
  }
  // It may have been revoked while this token was being judged.
  const auto tenant = shared_.tenants.find(who->tenant->no);
  if (tenant->no != conn.tenant->no || *who->user != conn.user || tenant->disabled ||
      !has_key(*tenant, who->key)) {
    reply_error(c, refs, authentication_failed());
    co_return;
  }
  conn.tenant = tenant;
  conn.key = who->key;
  conn.is_token = true;
  conn.issued_at = who->issued_at;
  conn.expires_at = who->expires_at;
  conn.expiry_told = false;
  watch_expiry(c, conn);
  reply(c, [&](std::string& out) { append_auth_refreshed(out, refs, conn.expires_at); });
}

// ---- lapsing ----------------------------------------------------------------------------------------------------

void gateway_loop::watch_expiry(connection_no c, ws_connection& conn) {
  if (!conn.expires_at) return;
  // Not further ahead: an entry outlives its connection until it comes up.
  const auto due =
      std::min(conn.expiry_told ? *conn.expires_at + jwt_leeway : *conn.expires_at - expiry_notice,
               shared_.now.now() + expiry_look_ahead);
  // An entry that comes earlier looks again by itself.
  if (conn.expiry_due != utc_time{} && conn.expiry_due <= due) return;
  conn.expiry_due = due;
  expiries_.emplace(due, c);
}

void gateway_loop::tell_expiries() {
  const auto now = shared_.now.now();
  while (!expiries_.empty() && expiries_.top().first <= now) {
    const auto [due, c] = expiries_.top();
    expiries_.pop();
    const auto it = connections_.find(c);
    if (it == connections_.end() || it->second.expiry_due != due) continue;
    auto& conn = it->second;
    conn.expiry_due = {};
    if (!conn.expires_at) continue;
    if (now >= *conn.expires_at + jwt_leeway) {
      hub_.close(c, close_code::credential_lapsed);
      continue;
    }
    if (!conn.expiry_told && now >= *conn.expires_at - expiry_notice) {
      if (!conn.open) {  // its `hello` comes first
        conn.expiry_due = now + 1s;
        expiries_.emplace(conn.expiry_due, c);
        continue;
      }
      conn.expiry_told = true;
      const auto in = std::max(utc_time::duration{0}, *conn.expires_at - now);
      reply(c, [&](std::string& out) { append_auth_expiring(out, in); });
    }
    watch_expiry(c, conn);
  }
}

void gateway_loop::on(const actors::tenant_updated& m) {
  note_tenant(*m.tenant);
  std::vector<std::pair<connection_no, close_code>> ended;
  for (auto& [c, conn] : connections_) {
    if (!conn.tenant || conn.tenant->no != m.tenant->no) continue;
    if (m.tenant->revision < conn.tenant->revision) continue;  // it has come by a later change
    conn.tenant = m.tenant;
    if (m.tenant->disabled) {
      ended.emplace_back(c, close_code::tenant_gone);
    } else if (!has_key(*m.tenant, conn.key)) {
      ended.emplace_back(c, close_code::revoked);
    }
  }
  for (const auto& [c, code] : ended) hub_.close(c, code);
}

void gateway_loop::on(const actors::user_revoked_ptr& m) {
  remember_revocation(m->user, m->before);
}

void gateway_loop::on(const actors::disconnect_user_ptr& m) {
  for (const auto ref : subscriptions_.connections_of(m->user)) {
    const auto it = connections_.find(number_of(ref));
    if (it == connections_.end()) continue;
    const auto& issued = it->second.issued_at;
    if (m->before && issued && *issued >= *m->before) continue;
    hub_.close(it->first, close_code::revoked);
    m->closed->fetch_add(1, std::memory_order_relaxed);
  }
  if (m->waiting->fetch_sub(1, std::memory_order_acq_rel) == 1) {
    bus_.to_gateway(m->to.gateway, actors::disconnected{m->to.call, m->closed->load()});
  }
}

asio::awaitable<result<std::size_t>> gateway_loop::disconnect(user_key user,
                                                              std::optional<utc_time> before) {
  const auto call = calls_.begin();
  auto m = std::make_shared<actors::disconnect_user>();
  m->user = std::move(user);
  m->before = before;
  m->to = {no_, call};
  m->waiting = std::make_shared<std::atomic<std::size_t>>(bus_.gateways());
  m->closed = std::make_shared<std::atomic<std::size_t>>(0);
  bus_.to_gateways(std::move(m));
  auto answer = co_await calls_.wait(call, options_.limits.request_timeout);
  const auto* done = std::get_if<actors::disconnected>(&answer);
  if (done == nullptr) co_return no_answer();
  co_return done->closed;
}

asio::awaitable<result<store::tenant_row>> gateway_loop::change_tenant(store::tenant_change change,
                                                                       tenant_no tenant) {
  const auto call = calls_.begin();
  bus_.to_storage(std::make_shared<const actors::change_tenant>(
      actors::change_tenant{{no_, call}, std::move(change), tenant}));
  auto answer = co_await calls_.wait(call, options_.limits.request_timeout);
  const auto* changed = std::get_if<actors::tenant_changed_ptr>(&answer);
  if (changed == nullptr) co_return no_answer();
  if (const auto* failed = std::get_if<error>(&(*changed)->outcome)) co_return *failed;
  co_return std::get<store::tenant_row>((*changed)->outcome);
}

void gateway_loop::on(const actors::authenticated_ptr& m) {
  if (m->tenant) note_tenant(*m->tenant);
  calls_.complete(m->call, m);
}
void gateway_loop::on(const actors::tenant_changed_ptr& m) { calls_.complete(m->call, m); }
void gateway_loop::on(const actors::disconnected& m) { calls_.complete(m.call, m); }

}  // namespace parley::net
