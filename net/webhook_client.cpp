#include "net/webhook_client.hpp"

#include "net/http_strict.hpp"
#include "net/retry_after.hpp"
#include "net/webhook_target.hpp"
#include "protocol/assert.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/http/error.hpp>

#include <algorithm>
#include <iterator>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

namespace parley::net {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
namespace ssl = boost::asio::ssl;
using asio::ip::tcp;
using boost::system::error_code;
using failure_text = std::string_view;

constexpr std::size_t answer_max_bytes = 64 * 1024;  // heads of 1xx answers and chunk sizes too
constexpr std::size_t connect_attempts_max = 8;      // addresses of one name that are tried

//               on_name()            on_connected()           on_secured()           on_read()
//   resolving ─────────────▶ connecting ─────────────▶ securing ─────────────▶ answering ─────────▶ over
//
// begin() enters at resolving; at connecting, if the host is an address; at answering, with a kept connection. http
// passes by securing. connecting comes again for the next address; answering leads back to begin(), once, if the kept
// connection was stale. fail() leads from each to over.
enum class stage : std::uint8_t { resolving, connecting, securing, answering, over };

/// One request on its way. Handlers of what is under way hold it, and look first whether it is over.
struct exchange {
  actors::webhook_post request;
  std::function<void(actors::webhook_answer)> done;

  webhook_target target;
  std::string endpoint;  ///< scheme, host and port: requests with the same one share connections
  stage at = stage::resolving;
  mono_time deadline{};   ///< of this stage
  std::size_t place = 0;  ///< among those under way

  std::vector<asio::ip::address> addresses;  ///< checked; those that are still to be tried, the next one last
  mono_time connect_by{};
  failure_text connect_failure = webhook_failure::connection_failed;  ///< of the last attempt
  bool connect_expired = false;                                       ///< this attempt

  webhook_connection_ptr on;
  bool is_reused = false;
  bool may_reuse = true;  ///< false on the second attempt
  std::optional<webhook_answer_parser> answer;
  std::size_t received = 0;  ///< bytes of the answer
};
using exchange_ptr = std::shared_ptr<exchange>;

bool is_sendable(const std::pair<std::string, std::string>& header) {
  return is_token(header.first) && std::ranges::none_of(header.second, [](char c) {
           const auto byte = static_cast<unsigned char>(c);
           return (byte < 0x20 && byte != '\t') || byte == 0x7f;
         });
}

failure_text failure_of(const error_code& failed) {
  if (failed == asio::error::connection_refused) return webhook_failure::connection_refused;
  if (failed == asio::error::timed_out) return webhook_failure::connection_timeout;
  return webhook_failure::connection_failed;
}

/// How often deadlines are looked at: often enough for the shortest, seldom enough to cost nothing.
std::chrono::milliseconds tick_interval(const webhook_client_options& o) {
  using namespace std::chrono_literals;
  const auto shortest = std::min({o.resolve_timeout, o.connect_timeout, o.tls_timeout,
                                  o.answer_timeout, o.idle.timeout, o.idle.spare_timeout});
  return std::clamp(std::chrono::milliseconds{shortest / 8}, 2ms, 250ms);
}

mono_time mono_now() { return std::chrono::steady_clock::now(); }

}  // namespace

class webhook_client::impl {
 public:
  impl(const webhook_client_options& options, const clock& now, webhook_client_seams seams)
      : options_(options),
        clock_(now),
        route_(std::move(seams.route)),
        tls_(make_webhook_tls(options.ca_file)),
        ticks_(io_),
        tick_interval_(tick_interval(options)),
        idle_(options.idle),
        resolver_(seams.resolver ? std::move(seams.resolver) : make_system_resolver()),
        thread_([this] { io_.run(); }) {}
  ~impl() { stop(); }
  impl(const impl&) = delete;
  impl& operator=(const impl&) = delete;

  // From any thread.
  void post(actors::webhook_post request, std::function<void(actors::webhook_answer)> done) {
    auto next = std::make_shared<exchange>();
    next->request = std::move(request);
    next->done = std::move(done);
    inbox_->put([&](inbox& in) { in.posted.push_back(std::move(next)); });
  }
  void stop() {
    if (!thread_.joinable()) return;
    PARLEY_ASSERT(std::this_thread::get_id() != thread_.get_id());
    inbox_->close();
    io_.stop();
    thread_.join();
    // The thread is gone: what it owned is ours.
    for (auto& e : active_) abandon(*e);
    active_.clear();
    lookups_.clear();
    idle_.clear();
    counters.idle = 0;
  }

  webhook_client_counters counters;

 private:
  struct name_result {
    std::string host;
    name_answer answer;
  };
  struct name_lookup {
    std::vector<exchange_ptr> waiting;  ///< not empty
    lookup_begun begun;
  };
  /// What other threads hand over: one wake-up for all that has come since the last.
  struct inbox {
    explicit inbox(impl& receiver) : owner(&receiver) {}

    void put(const auto& add) {
      const std::lock_guard lock{mutex};
      if (owner == nullptr) return;
      add(*this);
      if (!std::exchange(is_woken, true)) asio::post(owner->io_, [to = owner] { to->on_inbox(); });
    }
    void close() {
      std::vector<exchange_ptr> dropped;
      const std::lock_guard lock{mutex};
      owner = nullptr;
      dropped.swap(posted);
    }

    std::mutex mutex;
    impl* owner;  ///< nullptr: it has stopped
    bool is_woken = false;
    std::vector<exchange_ptr> posted;
    std::vector<name_result> names;
  };

  // All from here on runs on the client's thread.

  void on_inbox() {
    {
      const std::lock_guard lock{inbox_->mutex};
      inbox_->is_woken = false;
      posted_.swap(inbox_->posted);
      names_.swap(inbox_->names);
    }
    for (auto& n : names_) on_name(n);
    names_.clear();
    for (auto& e : posted_) accept(e);
    posted_.clear();
  }

  void accept(const exchange_ptr& e) {
    ++counters.requests;
    e->place = active_.size();
    active_.push_back(e);
    tick_later();
    if (!std::ranges::all_of(e->request.headers, is_sendable))
      return fail(*e, webhook_failure::invalid_request);
    auto target = parse_webhook_url(e->request.url, options_.allow_private);
    if (!target) {
      if (target.error() == webhook_url_problem::inner_address) return refuse_address(*e);
      return fail(*e, webhook_failure::invalid_url);
    }
    e->target = std::move(*target);
    e->endpoint = (e->target.is_tls ? "https://" : "http://") + e->target.authority;
    begin(e);
  }

  void begin(const exchange_ptr& e) {
    if (e->may_reuse) {
      e->on = idle_.take(e->endpoint, mono_now());
      counters.idle = idle_.size();
    }
    e->is_reused = e->on != nullptr;
    if (e->is_reused) {
      ++counters.connections_reused;
      return send(e);
    }
    if (e->target.address) return connect_to(e, {*e->target.address});
    enter(*e, stage::resolving, options_.resolve_timeout);
    // Many may ask for one name at once; whoever leaves early is passed over.
    auto& asked = lookups_[e->target.host];
    asked.waiting.push_back(e);
    if (asked.waiting.size() > 1) return;
    ++counters.lookups;
    // With the last dot no search domain is tried.
    const auto name = options_.allow_private ? e->target.host : e->target.host + ".";
    asked.begun = resolver_->resolve(name, [to = inbox_, host = e->target.host](name_answer answer) {
      to->put([&](inbox& in) { in.names.push_back({host, std::move(answer)}); });
    });
  }

  void on_name(name_result& result) {
    const auto asked = lookups_.extract(result.host);
    if (asked.empty()) return;
    for (const auto& e : asked.mapped().waiting) {
      if (e->at != stage::resolving) continue;
      switch (result.answer.outcome) {
        case name_outcome::found:
          connect_to(e, result.answer.addresses);
          break;
        case name_outcome::unknown:
          fail(*e, webhook_failure::name_not_found);
          break;
        case name_outcome::failed:
          fail(*e, webhook_failure::name_lookup_failed);
          break;
        case name_outcome::busy:
          fail(*e, webhook_failure::name_lookup_queue_full);
          break;
      }
    }
  }

  /// The one gate to the network: all addresses are judged here, and connect() takes what it gets from here.
  void connect_to(const exchange_ptr& e, std::vector<asio::ip::address> addresses) {
    if (!options_.allow_private && !std::ranges::all_of(addresses, address_is_public))
      return refuse_address(*e);
    if (addresses.size() > connect_attempts_max) addresses.resize(connect_attempts_max);
    std::ranges::reverse(addresses);
    e->addresses = std::move(addresses);
    e->connect_by = mono_now() + options_.connect_timeout;
    connect(e);
  }

  /// To the next address; each has its share of the time that is left, so that one that does not answer leaves some.
  void connect(const exchange_ptr& e) {
    const auto now = mono_now();
    if (e->addresses.empty() || now >= e->connect_by) return fail(*e, e->connect_failure);
    const auto share = (e->connect_by - now) / static_cast<int>(e->addresses.size());
    const auto address = e->addresses.back();
    e->addresses.pop_back();
    PARLEY_ASSERT(options_.allow_private || address_is_public(address));
    const tcp::endpoint checked{address, e->target.port};
    const auto to = route_ ? route_(checked) : checked;

    e->at = stage::connecting;
    e->deadline = now + share;
    e->connect_expired = false;
    e->on = std::make_unique<webhook_connection>(io_, counters.open, now);
    error_code failed;
    e->on->socket.open(to.protocol(), failed);
    if (!failed) e->on->socket.set_option(tcp::no_delay{true}, failed);
    if (failed) {
      e->connect_failure = webhook_failure::connection_failed;
      return connect(e);
    }
    e->on->socket.async_connect(to, [this, e](const error_code& ec) { on_connected(e, ec); });
  }

  void on_connected(const exchange_ptr& e, const error_code& failed) {
    if (e->at == stage::over) return;
    if (failed || e->connect_expired) {
      e->connect_failure =
          e->connect_expired ? webhook_failure::connection_timeout : failure_of(failed);
      return connect(e);
    }
    ++counters.connections_opened;
    if (!e->target.is_tls) return send(e);
    if (!e->on->begin_tls(tls_, e->target)) return fail(*e, webhook_failure::tls_handshake_failed);
    enter(*e, stage::securing, options_.tls_timeout);
    e->on->handshake([this, e](const error_code& ec) { on_secured(e, ec); });
  }

  void on_secured(const exchange_ptr& e, const error_code& failed) {
    if (e->at == stage::over) return;
    if (!failed) return send(e);
    fail(*e, e->on->distrusts_peer() ? webhook_failure::certificate_not_trusted
                                     : webhook_failure::tls_handshake_failed);
  }

  void send(const exchange_ptr& e) {
    enter(*e, stage::answering, options_.answer_timeout);
    e->answer.emplace();
    e->received = 0;
    write_request(*e, e->on->out);
    // A server may answer before it has read all, and hang up: what there is to read is read in any case.
    e->on->write([this, e](const error_code&, std::size_t) { read(e); });
  }

  void write_request(const exchange& e, std::string& out) const {
    const auto& r = e.request;
    out.clear();
    out.append("POST ").append(e.target.path).append(" HTTP/1.1\r\nHost: ").append(e.target.authority);
    out.append("\r\nUser-Agent: ").append(options_.user_agent).append("\r\nAccept: */*\r\n");
    for (const auto& [name, value] : r.headers)
      out.append(name).append(": ").append(value).append("\r\n");
    out.append("Content-Length: ").append(std::to_string(r.body.size())).append("\r\n\r\n");
    out.append(r.body);  // one write, one TLS record: cheaper than two buffers
  }

  void read(const exchange_ptr& e) {
    if (e->at == stage::over) return;
    e->on->read_some([this, e](const error_code& ec, std::size_t n) { on_read(e, ec, n); });
  }

  void on_read(const exchange_ptr& e, const error_code& ended, std::size_t bytes) {
    if (e->at == stage::over) return;
    auto& in = e->on->in;
    in.commit(bytes);
    e->received += bytes;
    bool is_good = parse(*e);
    if (is_good && e->answer->is_done())
      return answered(*e, e->answer->keep_alive() && in.size() == 0);
    is_good = is_good && e->received <= answer_max_bytes && expects_little(*e);
    if (is_good && !ended) return read(e);
    if (e->answer->has_status()) return answered(*e, false);
    if (!is_good) return fail(*e, webhook_failure::invalid_answer);
    if (!e->is_reused || e->received > 0) return fail(*e, webhook_failure::connection_closed);
    ++counters.stale_retries;
    e->may_reuse = false;
    e->on.reset();
    begin(e);
  }

  /// False: this is no answer, or none that goes on as one. Interim answers are left behind.
  static bool parse(exchange& e) {
    auto& in = e.on->in;
    while (in.size() > 0 && !e.answer->is_done()) {
      error_code problem;
      in.consume(e.answer->put(in.data(), problem));
      if (problem == http::error::need_more) return true;
      if (problem) return false;
      if (e.answer->is_header_done() && e.answer->status() < 200) {
        if (!e.answer->is_interim()) return false;
        e.answer.emplace();
      }
    }
    return true;
  }
  /// Not: a length that is known to be beyond what is read.
  static bool expects_little(const exchange& e) {
    if (!e.answer->is_header_done()) return true;
    const auto left = e.answer->content_length_remaining();
    return !left || *left <= answer_max_bytes;
  }

  void answered(exchange& e, bool is_reusable) {
    actors::webhook_answer out;
    out.status = e.answer->status();
    if ((out.status == 429 || out.status == 503) && !e.answer->retry_after().empty())
      out.retry_after = parse_retry_after(e.answer->retry_after(), clock_.now());
    if (is_reusable) {
      idle_.give(std::move(e.endpoint), std::move(e.on), mono_now());
      counters.idle = idle_.size();
    }
    ++counters.answered;
    finish(e, std::move(out));
  }
  void fail(exchange& e, failure_text why) {
    ++counters.failed;
    actors::webhook_answer out;
    out.failure = why;
    finish(e, std::move(out));
  }
  void refuse_address(exchange& e) {
    ++counters.refused_addresses;
    fail(e, webhook_failure::address_not_allowed);
  }

  void finish(exchange& e, actors::webhook_answer out) {
    PARLEY_ASSERT(e.at != stage::over);
    const auto done = std::move(e.done);
    abandon(e);
    // The last one takes its place; whoever calls this holds `e`.
    auto last = std::move(active_.back());
    active_.pop_back();
    if (last.get() != &e) {
      last->place = e.place;
      active_[e.place] = std::move(last);
    }
    done(std::move(out));
  }
  /// Whatever is under way ends with an error, to a handler that finds it over: until then its connection stays.
  static void abandon(exchange& e) {
    e.at = stage::over;
    e.done = nullptr;
    e.request = {};
    if (e.on) e.on->close();
  }

  static void enter(exchange& e, stage next, std::chrono::milliseconds within) {
    e.at = next;
    e.deadline = mono_now() + within;
  }

  void tick_later() {
    if (is_ticking_ || (active_.empty() && idle_.size() == 0)) return;
    is_ticking_ = true;
    ticks_.expires_after(tick_interval_);
    ticks_.async_wait([this](const error_code& stopped) {
      is_ticking_ = false;
      if (stopped) return;
      on_tick(mono_now());
      tick_later();
    });
  }
  void on_tick(mono_time now) {
    idle_.expire(now);
    counters.idle = idle_.size();
    std::vector<exchange_ptr> late;
    std::ranges::copy_if(active_, std::back_inserter(late),
                         [&](const exchange_ptr& e) { return now >= e->deadline; });
    for (const auto& e : late) on_deadline(*e);
  }
  void on_deadline(exchange& e) {
    switch (e.at) {
      case stage::resolving:
        // The lookup goes on, or keeps its place, for who asks next.
        return fail(e, *lookups_.at(e.target.host).begun ? webhook_failure::name_lookup_timeout
                                                         : webhook_failure::name_lookup_queue_full);
      case stage::connecting:
        e.connect_expired = true;
        return e.on->close();  // on_connected() goes on
      case stage::securing:
        return fail(e, webhook_failure::tls_handshake_timeout);
      case stage::answering:
        if (e.answer->has_status()) return answered(e, false);
        return fail(e, webhook_failure::answer_timeout);
      case stage::over:
        return;
    }
  }

  const webhook_client_options options_;
  const clock& clock_;
  const std::function<tcp::endpoint(const tcp::endpoint&)> route_;
  ssl::context tls_;
  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
  asio::steady_timer ticks_;
  const std::chrono::milliseconds tick_interval_;
  bool is_ticking_ = false;
  std::vector<exchange_ptr> active_;
  std::unordered_map<std::string, name_lookup> lookups_;  ///< by host
  webhook_idle_pool idle_;
  std::vector<exchange_ptr> posted_;  ///< these two: kept for their memory
  std::vector<name_result> names_;
  const std::shared_ptr<inbox> inbox_ = std::make_shared<inbox>(*this);
  const std::unique_ptr<name_resolver> resolver_;
  std::thread thread_;  // the last: it uses all the others
};

webhook_client::webhook_client(const webhook_client_options& options, const clock& now,
                               webhook_client_seams seams)
    : impl_(std::make_unique<impl>(options, now, std::move(seams))) {}
webhook_client::~webhook_client() = default;

void webhook_client::post(actors::webhook_post request,
                          std::function<void(actors::webhook_answer)> done) {
  impl_->post(std::move(request), std::move(done));
}
void webhook_client::stop() { impl_->stop(); }
const webhook_client_counters& webhook_client::counters() const { return impl_->counters; }

}  // namespace parley::net
