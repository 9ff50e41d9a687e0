#include "app/ledger.hpp"

#include "actors/outbox.hpp"
#include "app/config_values.hpp"
#include "app/machine.hpp"
#include "net/limits.hpp"
#include "net/tickets.hpp"
#include "protocol/limits.hpp"
#include "store/sqlite_store.hpp"

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace parley::app {
namespace {

constexpr std::uint64_t kib = 1024;
constexpr std::uint64_t mib = 1024 * kib;

// The program, its libraries, stacks and allocator's slack: the budget for an empty node.
constexpr std::uint64_t base_bytes = 64 * mib;
// An open, authenticated connection with its session, all told: the budget that the benchmarks watch over is less.
constexpr std::uint64_t connection_bytes = 8 * kib;
// One publish kept for replay: its room, and of each room where its newest run stands.
constexpr std::uint64_t publish_bytes = 96;
// A message on its way, beside its own bytes: the commands, the entry, the waiter.
constexpr std::uint64_t admission_row_bytes = 512;
// A receipt that waits in a gateway: room, user, two seqs, twice the key.
constexpr std::uint64_t receipt_bytes = 256;
// A user's entry in the table of who is online.
constexpr std::uint64_t online_user_bytes = 256;
// A ticket that waits for its socket: whom it lets in, and where it is found (digest, tenant, age).
constexpr std::uint64_t ticket_bytes = 640;
// Of the outbox (actors/outbox.hpp outbox_bounds): bodies in memory; lists of big rooms' members, kept and on their way.
constexpr std::uint64_t outbox_posts_max_bytes = 2 * actors::outbox_bounds{}.bytes;
constexpr std::uint64_t outbox_lists_max_bytes =
    actors::outbox_bounds{}.list_bytes + actors::outbox_bounds{}.listed_bytes;
constexpr std::uint64_t outbox_requests_max = actors::outbox_options{}.concurrency;
// A request to a webhook: its connection with TLS, and the buffers. Its body is one of those in memory, once more.
constexpr std::uint64_t webhook_request_bytes = 48 * kib;
// What an I/O thread keeps for reading: shared buffers, the parser's, the frame arena.
constexpr std::uint64_t io_buffer_bytes = 2 * mib;
// One room that is live on one connection (DESIGN: position, head, due list).
constexpr std::uint64_t subscription_bytes = 32;

std::string times(std::uint64_t n, std::string_view of, std::uint64_t bytes) {
  return std::to_string(n) + " " + std::string{of} + " x " + show_size(bytes);
}

/// All rows but the connections' own, which depend on their number.
std::vector<ledger_row> fixed_rows(const config& c, const machine_facts& machine) {
  const store::sqlite_options sqlite;
  const std::uint64_t threads = io_thread_count(c, machine.cores);
  const auto per_thread = io_buffer_bytes + limits::publish_log_entries * publish_bytes +
                          limits::publish_log_max_bytes + limits::receipts_max * receipt_bytes;
  return {
      {"the program", "an empty node", base_bytes},
      {"database pages",
       show_size(sqlite.writer_cache_bytes) + " + " +
           times(c.reader_threads, "readers", sqlite.reader_cache_bytes),
       sqlite.writer_cache_bytes + c.reader_threads * sqlite.reader_cache_bytes},
      {"I/O threads", times(threads, "threads", per_thread), threads * per_thread},
      {"the operator's requests", "bodies, one budget", limits::admin_body_total_bytes},
      {"recent frames of all rooms", "one budget", limits::ring_total_bytes},
      {"rates of users and addresses",
       times(net::rate_users_max + net::rate_addresses_max, "rates", net::rate_table::entry_bytes),
       (net::rate_users_max + net::rate_addresses_max) * net::rate_table::entry_bytes},
      {"webhooks on their way",
       show_size(outbox_posts_max_bytes) + " + " + show_size(outbox_lists_max_bytes) + " + " +
           times(outbox_requests_max, "requests", webhook_request_bytes),
       outbox_posts_max_bytes + outbox_lists_max_bytes + outbox_requests_max * webhook_request_bytes},
      {"tickets", times(net::tickets_max, "tickets", ticket_bytes), net::tickets_max * ticket_bytes},
      {"messages on their way to the disk",
       show_size(limits::admission_max_bytes) + " + " +
           times(limits::admission_max_rows, "messages", admission_row_bytes),
       limits::admission_max_bytes + limits::admission_max_rows * admission_row_bytes}};
}

std::uint64_t sum(const std::vector<ledger_row>& rows) {
  std::uint64_t total = 0;
  for (const auto& row : rows) total += row.bytes;
  return total;
}

struct connection_costs {
  std::uint64_t pools = 0;  ///< shared by all, however many there are
  std::uint64_t each = 0;   ///< for one more
};
connection_costs costs_of(const config& c) {
  connection_costs costs{0, connection_bytes + online_user_bytes};
  const auto add = [&](std::uint64_t pool, std::uint64_t one) {
    (pool != 0 ? costs.pools : costs.each) += pool != 0 ? pool : one;
  };
  add(c.limits.ws_send_buffer_total, c.limits.ws_send_buffer);
  add(c.limits.http_body_total, std::max(c.limits.max_body, c.limits.max_batch_body));
  return costs;
}

std::string padded(std::string text, std::size_t width, bool right) {
  if (text.size() >= width) return text;
  const std::string space(width - text.size(), ' ');
  return right ? space + text : text + space;
}

std::string in_mib(std::uint64_t bytes) { return std::to_string((bytes + mib - 1) / mib) + " MiB"; }

}  // namespace

machine_facts look_at_machine() {
  const auto memory = usable_memory();
  return {usable_cores(), raise_descriptor_limit(), memory.bytes, memory.whose};
}

std::uint64_t connection_capacity(const config& c, const machine_facts& machine) {
  if (c.limits.ws_max_connections != 0) return c.limits.ws_max_connections;
  // The rest is for the database, the log, listeners, plain HTTP requests, and for saying no.
  const auto reserve = std::max<std::uint64_t>(64, machine.descriptors / 10);
  const auto by_descriptors = machine.descriptors > reserve ? machine.descriptors - reserve : 1;
  const auto costs = costs_of(c);
  const auto fixed = sum(fixed_rows(c, machine)) + costs.pools;
  const auto left = machine.memory_bytes > fixed ? machine.memory_bytes - fixed : 0;
  return std::max<std::uint64_t>(1, std::min(by_descriptors, left / costs.each));
}

ledger memory_ledger(const config& c, const machine_facts& machine) {
  ledger l;
  l.connections = connection_capacity(c, machine);
  const auto n = l.connections;
  l.rows = fixed_rows(c, machine);
  l.rows.push_back({"connections", times(n, "connections", connection_bytes), n * connection_bytes});
  l.rows.push_back({"who is online", times(n, "users", online_user_bytes), n * online_user_bytes});
  const auto pool = [&](std::string_view what, std::string_view key, std::uint64_t total,
                        std::uint64_t one) {
    if (total != 0) {
      l.rows.push_back({std::string{what}, std::string{key} + ", one budget", total});
    } else {
      l.rows.push_back({std::string{what}, times(n, "connections", one), n * one});
    }
  };
  pool("frames that wait for slow readers", "ws_send_buffer_total", c.limits.ws_send_buffer_total,
       c.limits.ws_send_buffer);
  pool("requests being read or answered", "http_body_total", c.limits.http_body_total,
       std::max(c.limits.max_body, c.limits.max_batch_body));
  l.total_bytes = sum(l.rows);

  const auto subscriptions = c.limits.max_subscriptions != 0 ? c.limits.max_subscriptions : 0;
  l.each = {{"half a message of a connection", "ws_max_frame", c.limits.ws_max_frame},
            {"the head of a request", "max_header", c.limits.max_header},
            {"the live rooms of a connection",
             subscriptions != 0 ? times(subscriptions, "rooms", subscription_bytes) : "no bound",
             subscriptions * subscription_bytes},
            {"frames that wait for one slow reader", "ws_send_buffer", c.limits.ws_send_buffer}};
  return l;
}

std::string ledger_problem(const ledger& l, const machine_facts& machine) {
  if (machine.memory_bytes == 0 || l.total_bytes <= machine.memory_bytes) return {};
  return "the limits may need " + in_mib(l.total_bytes) + ", and " + machine.whose_memory +
         " has " + in_mib(machine.memory_bytes) +
         ": lower ws_max_connections, ws_send_buffer_total or http_body_total (parley config print "
         "--limits)";
}

std::string print_ledger(const ledger& l, const machine_facts& machine) {
  std::string out = "The most memory that the limits allow at once:\n\n";
  const auto line = [&](const std::string& what, const std::string& bytes, const std::string& how) {
    out += "  " + padded(what, 36, false) + padded(bytes, 12, true) +
           (how.empty() ? "" : "   " + how) + "\n";
  };
  for (const auto& row : l.rows) line(row.what, in_mib(row.bytes), row.how);
  line("together", in_mib(l.total_bytes), "");
  line(machine.whose_memory + " has", in_mib(machine.memory_bytes), "");
  out += "\nBounded one by one, not in the sum:\n\n";
  for (const auto& row : l.each) line(row.what, show_size(row.bytes), row.how);
  if (const auto problem = ledger_problem(l, machine); !problem.empty()) {
    out += "\nA start is refused: " + problem + "\n";
  }
  return out;
}

}  // namespace parley::app
