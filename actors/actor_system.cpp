#include "actors/actor_system.hpp"

#include "protocol/assert.hpp"
#include "protocol/log.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace parley::actors {

bool actor_context::read(const caf::actor_addr& asker, call_no call, tenant_no tenant,
                         read_query query) {
  return readers->submit(tenant, std::move(query), [asker, call](read_result result) {
    // A weak address: an asker that ended meanwhile needs no answer.
    if (auto alive = caf::actor_cast<caf::actor>(asker)) {
      caf::anon_send(
          alive, read_answer_message{call, std::make_shared<const read_result>(std::move(result))});
    }
  });
}

node_actors::node_actors(store::database& database, const node_actors_options& options,
                         const clock& now, random_source& random)
    : context_(std::make_unique<actor_context>(database, options, now, random)) {
  PARLEY_ASSERT(options.fatal != nullptr);
  auto& c = *context_;
  c.budget = std::make_shared<admission>(options.admission_rows, options.admission_bytes);
  std::vector<std::unique_ptr<store::reader>> readers;
  for (std::size_t at = 0; at < std::max<std::size_t>(1, options.readers.threads); ++at) {
    auto reader = database.new_reader();
    if (!reader)
      throw std::runtime_error("a reader could not be opened: " + reader.error().message);
    readers.push_back(std::move(*reader));
  }
  c.readers = std::make_unique<read_pool>(std::move(readers), options.readers);
  // Never CAF's own settings: stealing polls, and an unlimited throughput lets a hot actor starve the others.
  c.config.set("scheduler.policy",
               options.scheduler_threads == 0 ? caf::atom("testing") : caf::atom("sharing"));
  c.config.set("scheduler.max-threads", options.scheduler_threads);
  c.config.set("scheduler.max-throughput", std::size_t{100});
  c.system = std::make_unique<caf::actor_system>(c.config);
  c.storage = spawn_storage(c);
  c.directory = spawn_directory(c);
  if (options.webhooks) {
    c.outbox = spawn_outbox(c);
    // It begins with this, when its handle stands where storage looks for it.
    caf::anon_send(c.outbox, outbox_tick{});
  }
}

void node_actors::show_tenants_with_origins() {
  auto reader = context_->database.new_reader();
  std::string cursor;
  do {
    const auto page = reader ? (*reader)->tenants(limits::list_max, cursor)
                             : result<store::tenant_list>{reader.error()};
    if (!page) {
      log(log_level::error, "the tenants could not be read", {{"why", page.error().message}});
      return;
    }
    for (const auto& row : page->tenants) {
      if (!parse_tenant_config(row.config).allowed_origins) continue;
      caf::anon_send(context_->directory, tenant_changed_ptr{std::make_shared<const tenant_changed>(
                                              tenant_changed{call_no{}, row})});
    }
    cursor = page->next_cursor;
  } while (!cursor.empty());
}

node_actors::~node_actors() { stop(std::chrono::seconds{5}); }

const node_gauges& node_actors::gauges() const { return context_->gauges; }
const presence_table& node_actors::online() const { return context_->online; }
const tenant_table& node_actors::tenants() const { return context_->tenants; }
const read_pool& node_actors::readers() const { return *context_->readers; }
std::shared_ptr<admission> node_actors::budget() const { return context_->budget; }

bool node_actors::stop(std::chrono::milliseconds deadline) {
  auto& c = *context_;
  if (!c.system) return true;
  const auto until = std::chrono::steady_clock::now() + deadline;
  const auto wait_for = [&](const bool& flag) {
    std::unique_lock lock(c.stop_mutex);
    return c.stop_changed.wait_until(lock, until, [&] { return flag; });
  };
  // The directory first: with it no room and no session acts any more; then storage, behind all they have sent.
  caf::anon_send(c.directory, stop_signal{});
  if (!wait_for(c.directory_stopped)) return false;
  // Its client's threads may be telling it something: they end first.
  if (c.outbox) {
    c.options.webhooks->stop();
    caf::anon_send(c.outbox, stop_signal{});
    if (!wait_for(c.outbox_stopped)) return false;
  }
  c.readers.reset();
  caf::anon_send(c.storage, stop_signal{});
  if (!wait_for(c.storage_stopped)) return false;
  c.storage = nullptr;
  c.directory = nullptr;
  c.outbox = nullptr;
  c.gateways.clear();
  c.system.reset();
  return true;
}

}  // namespace parley::actors
