// gateway_actor.cpp: CAF ↔ the I/O thread. Messages for the gateway go into one locked queue and wake the loop once; it
// takes them all in one turn. The decisions are in gateway_loop, subscriptions and the hub.

#include "net/gateway.hpp"

#include "actors/actor_system.hpp"
#include "net/gateway_loop.hpp"
#include "protocol/assert.hpp"
#include "protocol/log.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <caf/actor_companion.hpp>

#include <future>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace parley::net {

namespace asio = boost::asio;

namespace {

/// What the gateway's mailbox is: filled by any thread, emptied by the loop.
class inbox {
 public:
  explicit inbox(asio::io_context& io) : io_(io) {}
  void push(caf::mailbox_element_ptr element) {
    {
      const std::lock_guard lock(mutex_);
      if (closed_) return;
      elements_.push_back(std::move(element));
      if (elements_.size() > 1) return;  // the loop is woken already
    }
    asio::post(io_, [this] { drain(); });
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    elements_.clear();
  }
  std::function<void(caf::type_erased_tuple&)> handler;

 private:
  void drain() {
    std::vector<caf::mailbox_element_ptr> taken;
    {
      const std::lock_guard lock(mutex_);
      taken.swap(elements_);
    }
    for (auto& element : taken) handler(element->content());
  }

  asio::io_context& io_;
  std::mutex mutex_;
  std::vector<caf::mailbox_element_ptr> elements_;
  bool closed_ = false;
};

}  // namespace

struct gateway::impl final : node_bus {
  impl(actors::node_actors& node, const gateway_options& options, node_shared& shared)
      : context(node.context()),
        no(static_cast<std::uint32_t>(context.gateways.size())),
        box(std::make_shared<inbox>(io)) {
    companion = context.system->spawn<caf::actor_companion, caf::hidden>();
    auto* raw = static_cast<caf::actor_companion*>(caf::actor_cast<caf::abstract_actor*>(companion));
    raw->on_enqueue([in = box](caf::mailbox_element_ptr element) { in->push(std::move(element)); });
    context.gateways.push_back(companion);
    loop = std::make_unique<gateway_loop>(io, no, options, shared, *this);
    listen_to_actors();
  }
  ~impl() override { stop(); }

  void listen_to_actors() {
    using namespace actors;
    // Most frequent first: the handlers are tried in order.
    caf::message_handler handlers{
        [this](const publish_ptr& m) { loop->on(m); },
        [this](const room_rewritten& m) { loop->on(m); },
        [this](const replies_ptr& m) { loop->on(m); },
        [this](const read_answer_message& m) { loop->on(m.call, m.result); },
        [this](const attached& m) { loop->on(m); },
        [this](const cursors_stored_ptr& m) { loop->on(m); },
        [this](const receipt_ptr& m) { loop->on(m); },
        [this](const cursors_shown_ptr& m) { loop->on(m); },
        [this](const presence_shown_ptr& m) { loop->on(m); },
        [this](const typing_shown_ptr& m) { loop->on(m); },
        [this](const session_done_ptr& m) { loop->on(m); },
        [this](const close_connection& m) { loop->on(m); },
        [this](const created_ptr& m) { loop->on(m); },
        [this](const tenant_created_ptr& m) { loop->on(m); },
        [this](const authenticated_ptr& m) { loop->on(m); },
        [this](const session_lost& m) { loop->on(m); },
        [this](const tenant_changed_ptr& m) { loop->on(m); },
        [this](const tenant_updated& m) { loop->on(m); },
        [this](const user_revoked_ptr& m) { loop->on(m); },
        [this](const disconnect_user_ptr& m) { loop->on(m); },
        [this](const disconnected& m) { loop->on(m); },
        [this](const notification_created_ptr& m) { loop->on(m); },
        [this](const notification_shown_ptr& m) { loop->on(m); },
        [this](const webhook_called_ptr& m) { loop->on(m); },
    };
    box->handler = [this, handlers](caf::type_erased_tuple& content) mutable {
      if (!handlers(content)) {
        context.gauges.unmatched.fetch_add(1, std::memory_order_relaxed);
        log(log_level::error, "a gateway got a message that it does not know", {});
      }
    };
  }

  void stop() {
    if (thread.joinable()) {
      asio::post(io, [this] {
        loop->stop();
        io.stop();
      });
      thread.join();
    }
    box->close();
    if (companion) {
      static_cast<caf::actor_companion*>(caf::actor_cast<caf::abstract_actor*>(companion))
          ->on_enqueue({});
      companion = nullptr;
    }
  }

  // node_bus
  template <class M>
  void tell(const caf::actor& whom, M m) {
    caf::send_as(companion, whom, std::move(m));
  }
  void to_directory(actors::room_command_ptr m) override { tell(context.directory, std::move(m)); }
  void to_directory(actors::attach_ptr m) override { tell(context.directory, std::move(m)); }
  void to_directory(actors::detach_ptr m) override { tell(context.directory, std::move(m)); }
  void to_directory(actors::move_cursors_ptr m) override { tell(context.directory, std::move(m)); }
  void to_directory(actors::set_presence_ptr m) override { tell(context.directory, std::move(m)); }
  void to_directory(actors::type_in_room_ptr m) override { tell(context.directory, std::move(m)); }
  void to_directory(actors::authenticate_ptr m) override { tell(context.directory, std::move(m)); }
  void to_storage(actors::create_room_ptr m) override { tell(context.storage, std::move(m)); }
  void to_storage(actors::create_tenant_ptr m) override { tell(context.storage, std::move(m)); }
  void to_storage(actors::change_tenant_ptr m) override { tell(context.storage, std::move(m)); }
  void to_storage(actors::key_used_ptr m) override { tell(context.storage, std::move(m)); }
  void to_storage(actors::create_notification_ptr m) override {
    tell(context.storage, std::move(m));
  }
  void to_storage(actors::ack_notifications_ptr m) override { tell(context.storage, std::move(m)); }
  void to_storage(actors::notifications_written_ptr m) override {
    tell(context.storage, std::move(m));
  }
  bool to_outbox(actors::webhook_call_ptr m) override {
    if (!context.outbox) return false;
    tell(context.outbox, std::move(m));
    return true;
  }
  void to_gateways(actors::disconnect_user_ptr m) override {
    for (const auto& one : context.gateways) tell(one, m);
  }
  void to_gateway(actors::gateway_no gateway, actors::disconnected m) override {
    tell(context.gateways[gateway.value], m);
  }
  [[nodiscard]] std::size_t gateways() const override { return context.gateways.size(); }
  bool read(actors::call_no call, tenant_no tenant, actors::read_query q) override {
    return context.read(caf::actor_cast<caf::actor_addr>(companion), call, tenant, std::move(q));
  }

  asio::io_context io{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{io.get_executor()};
  actors::actor_context& context;
  const actors::gateway_no no;
  std::shared_ptr<inbox> box;
  caf::actor companion;
  std::unique_ptr<gateway_loop> loop;
  std::thread thread;
};

gateway::gateway(actors::node_actors& actors, const gateway_options& options, node_shared& shared)
    : impl_(std::make_unique<impl>(actors, options, shared)) {}
gateway::~gateway() = default;

boost::system::error_code gateway::start(const asio::ip::tcp::endpoint& where) {
  if (auto failed = impl_->loop->listen(where)) return failed;
  impl_->thread = std::thread([this] { impl_->io.run(); });
  return {};
}

boost::system::error_code gateway::listen_admin(const asio::ip::tcp::endpoint& where) {
  return impl_->loop->listen_admin(where);
}
asio::ip::tcp::endpoint gateway::admin_endpoint() const { return impl_->loop->admin_endpoint(); }

asio::ip::tcp::endpoint gateway::local_endpoint() const { return impl_->loop->local_endpoint(); }

bool gateway::run_on_loop(const std::function<void(gateway_loop&)>& f,
                          std::chrono::milliseconds deadline) {
  auto done = std::make_shared<std::promise<void>>();
  auto finished = done->get_future();
  asio::post(impl_->io, [this, f, done] {
    f(*impl_->loop);
    done->set_value();
  });
  return finished.wait_for(deadline) == std::future_status::ready;
}

void gateway::stop() { impl_->stop(); }

}  // namespace parley::net
