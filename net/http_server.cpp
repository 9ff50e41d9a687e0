#include "net/http_server.hpp"

#include "net/http_chunked.hpp"
#include "net/http_codec.hpp"
#include "net/http_strict.hpp"
#include "protocol/log.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <list>

#if defined(__GNUC__) && !defined(__clang__)
// g++ 12 sees aligned_alloc inlined into a coroutine frame's operator new, but not its operator delete.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif

namespace parley::net {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr std::size_t scratch_bytes =
    64 * 1024;  // what one recv may bring; shared by all connections of the thread
constexpr std::size_t blank_lines_max = 4;  // RFC 9112 §2.2: some clients send one behind a body
constexpr int reads_per_turn = 8;  // of one connection without a wait, then others have their turn
constexpr int requests_per_turn = 32;  // pipelined ones, likewise
constexpr int accepts_per_turn = 64;
constexpr std::chrono::milliseconds linger_timeout{
    2000};  // an answer sent: time for the client to read it
constexpr std::size_t linger_max_bytes =
    32 * 1024 * 1024;  // what it may still send meanwhile; dropped unread
constexpr std::chrono::milliseconds accept_pause{100};  // no descriptor, and no spare one either
constexpr std::string_view continue_line = "HTTP/1.1 100 Continue\r\n\r\n";

/// What a connection is doing. Each has its own deadline, the same for all, so that connections which came later are
/// later in the stage's list and only its front has to be looked at.
///
///   idle ─first byte→ reading ─whole→ handling ─answer→ writing ─→ idle
///                        │                                 └─last answer→ lingering ─→ closed
///                        └─refused────────────────────────→ writing
/// doomed: its socket is cut off, its coroutine is about to notice.
enum class stage : std::uint8_t { idle, reading, handling, writing, lingering, doomed };
constexpr std::size_t stages = 6;

enum class after_answer : std::uint8_t {
  go_on,
  hang_up,  ///< nothing more can come
  linger,   ///< unread bytes are there or on their way
};

/// Bytes of one body, taken from the node's budget and given back at the end.
class body_charge {
 public:
  body_charge(std::atomic<std::size_t>& used, std::size_t limit) : used_(used), limit_(limit) {}
  ~body_charge() { used_.fetch_sub(mine_, std::memory_order_relaxed); }
  body_charge(const body_charge&) = delete;
  body_charge& operator=(const body_charge&) = delete;

  /// False: the budget does not allow it.
  bool grow_to(std::size_t bytes) {
    if (bytes <= mine_) return true;
    const auto more = bytes - mine_;
    const auto before = used_.fetch_add(more, std::memory_order_relaxed);
    mine_ = bytes;
    return before + more <= limit_;
  }

 private:
  std::atomic<std::size_t>& used_;
  std::size_t limit_;
  std::size_t mine_ = 0;
};

enum class io_result : std::uint8_t { some, again, eof, failed };

}  // namespace

struct http_server::impl : std::enable_shared_from_this<impl> {
  struct connection;
  struct listener {
    explicit listener(asio::io_context& io) : socket(io) {}
    asio::posix::stream_descriptor socket;
    tcp::endpoint where;
  };
  using stage_list = std::list<connection*>;

  impl(asio::io_context& context, const http_options& o, const clock& now, random_source& random,
       http_handler h);
  ~impl();

  // Accepting.
  error_code add_listener(int fd);
  void watch(std::shared_ptr<listener> l);
  bool accept_some(listener& l, int most);
  bool close_newcomer(listener& l);
  void begin(int fd, const sockaddr_storage& peer);
  void refuse_full(tcp::socket& socket);

  // Deadlines.
  stage_list& list(stage s) { return lists_[static_cast<std::size_t>(s)]; }
  [[nodiscard]] std::chrono::milliseconds timeout_of(stage s) const;
  [[nodiscard]] std::size_t open() const;
  void arm_tick();
  void tick();
  void doom(connection& c);
  void close_idle();
  void stop();

  // One connection.
  void wait_for_request(std::shared_ptr<connection> c);
  asio::awaitable<void> run(std::shared_ptr<connection> c);
  asio::awaitable<bool> wait(connection& c, tcp::socket::wait_type what);
  asio::awaitable<void> yield();
  io_result read_some(connection& c, std::string& into, std::size_t most);
  asio::awaitable<after_answer> serve(connection& c);
  asio::awaitable<after_answer> refuse(connection& c, const error& why, std::string_view request_id,
                                       bool is_head);
  asio::awaitable<std::optional<error>> read_head(connection& c, std::size_t& head_bytes, bool& lost);
  asio::awaitable<std::optional<error>> read_body(connection& c, const head_check& head,
                                                  std::size_t limit, http_request& request,
                                                  body_charge& charge, bool& lost);
  asio::awaitable<http_response> ask(http_request request);
  asio::awaitable<bool> write(connection& c, std::string_view head, std::string_view body);
  asio::awaitable<void> linger(connection& c);

  std::string new_request_id();
  std::string_view date();

  asio::io_context& io_;
  http_options options_;
  const clock& clock_;
  http_handler handler_;
  std::uint64_t id_state_ = 0;
  std::shared_ptr<std::atomic<std::size_t>> body_bytes_;
  std::vector<std::shared_ptr<listener>> listeners_;
  asio::steady_timer tick_timer_;
  asio::steady_timer accept_timer_;
  std::chrono::milliseconds tick_every_{};
  bool is_ticking_ = false;
  bool is_draining_ = false;
  bool is_stopped_ = false;
  int spare_fd_ = -1;
  std::array<stage_list, stages> lists_;
  std::unique_ptr<char[]> scratch_ = std::make_unique<char[]>(scratch_bytes);
  mutable http_counters counters_;
  std::int64_t date_second_ = -1;
  std::string date_;
};

/// Belongs to whoever works on it: the wait for its next request, or the coroutine that serves one. The server's lists
/// point to it.
struct http_server::impl::connection {
  connection(std::shared_ptr<impl> s, tcp::socket k, const asio::ip::address& p)
      : server(std::move(s)),
        socket(std::move(k)),
        peer(p),
        since(server->clock_.mono()) {
    at = server->list(where).insert(server->list(where).end(), this);
    server->arm_tick();
  }
  ~connection() { server->list(where).erase(at); }
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;

  /// Its deadline runs from now. Nothing brings back a doomed one.
  void enter(stage s) {
    if (where == stage::doomed) return;
    auto& to = server->list(s);
    to.splice(to.end(), server->list(where), at);
    where = s;
    if (s != stage::handling) since = server->clock_.mono();
  }
  [[nodiscard]] bool is_doomed() const { return where == stage::doomed; }
  [[nodiscard]] std::string_view unread() const { return std::string_view{buffer}.substr(used); }
  void use(std::size_t bytes) {
    used += bytes;
    if (used < buffer.size()) return;
    used = 0;
    if (buffer.capacity() > scratch_bytes) std::string{}.swap(buffer);
    buffer.clear();
  }
  /// Before more is appended: what was used goes.
  void compact() {
    if (used == 0) return;
    buffer.erase(0, used);
    used = 0;
  }
  void release_buffer() {
    used = 0;
    std::string{}.swap(buffer);
  }

  std::shared_ptr<impl> server;
  tcp::socket socket;
  asio::ip::address peer;
  std::string buffer;  ///< read and not yet used, from `used` on; nothing while idle
  std::size_t used = 0;
  mono_time since;
  stage_list::iterator at;
  stage where = stage::idle;
};

http_server::impl::impl(asio::io_context& context, const http_options& o, const clock& now,
                        random_source& random, http_handler h)
    : io_(context),
      options_(o),
      clock_(now),
      handler_(std::move(h)),
      body_bytes_(o.body_bytes ? o.body_bytes : std::make_shared<std::atomic<std::size_t>>(0)),
      tick_timer_(context),
      accept_timer_(context) {
  const auto shortest = std::min({o.request_timeout, o.idle_timeout, o.write_timeout});
  tick_every_ =
      std::clamp(shortest / 8, std::chrono::milliseconds{5}, std::chrono::milliseconds{1000});
  spare_fd_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  std::array<std::uint8_t, sizeof id_state_> seed{};
  random.fill(seed);
  std::memcpy(&id_state_, seed.data(), seed.size());
}

http_server::impl::~impl() {
  if (spare_fd_ >= 0) ::close(spare_fd_);
}

// ── Accepting ───────────────────────────────────────────────────────────────────────────────────────────────────────

error_code http_server::impl::add_listener(int fd) {
  auto l = std::make_shared<listener>(io_);
  socklen_t size = static_cast<socklen_t>(l->where.capacity());
  if (::getsockname(fd, l->where.data(), &size) == 0 && size <= l->where.capacity())
    l->where.resize(size);
  const int on = 1;
  // Accepted sockets inherit it on Linux: a system call less for each. A Unix domain socket has none.
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  error_code ec;
  l->socket.assign(fd, ec);
  if (ec) {
    ::close(fd);
    return ec;
  }
  listeners_.push_back(l);
  watch(std::move(l));
  return {};
}

void http_server::impl::watch(std::shared_ptr<listener> l) {
  auto& socket = l->socket;
  socket.async_wait(asio::posix::descriptor_base::wait_read,
                    [weak = weak_from_this(), l = std::move(l)](error_code ec) mutable {
                      const auto self = weak.lock();
                      if (!self || ec || !l->socket.is_open()) return;
                      if (self->accept_some(*l, accepts_per_turn)) {
                        self->watch(std::move(l));
                        return;
                      }
                      self->accept_timer_.expires_after(accept_pause);
                      self->accept_timer_.async_wait([weak, l](error_code cancelled) {
                        const auto again = weak.lock();
                        if (again && !cancelled && l->socket.is_open()) again->watch(l);
                      });
                    });
}

/// False: it must not be tried again at once.
bool http_server::impl::accept_some(listener& l, int most) {
  for (int i = 0; i < most; ++i) {
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    const int fd = ::accept4(l.socket.native_handle(), reinterpret_cast<sockaddr*>(&peer), &size,
                             SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      begin(fd, peer);
      continue;
    }
    const int why = errno;
    if (why == EAGAIN || why == EWOULDBLOCK) return true;
    if (why == EINTR || why == ECONNABORTED) continue;
    if (why == EMFILE || why == ENFILE) {
      if (close_newcomer(l)) continue;
      return spare_fd_ >= 0;  // nobody is waiting: the kernel looks for a descriptor first
    }
    ++counters_.accept_errors;
    // These will still be there. The others (EPROTO, ENETDOWN, …) belong to that one connection.
    if (why == ENOBUFS || why == ENOMEM) return false;
  }
  return true;
}

/// Without a descriptor: left in the queue, the newcomer would wake us again and again, and wait for ever. False: there
/// is none, or the spare descriptor is gone.
bool http_server::impl::close_newcomer(listener& l) {
  if (spare_fd_ >= 0) ::close(spare_fd_);
  const int fd = ::accept4(l.socket.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd >= 0) {
    ++counters_.accept_errors;
    ::close(fd);
  }
  spare_fd_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  return fd >= 0 && spare_fd_ >= 0;
}

void http_server::impl::begin(int fd, const sockaddr_storage& peer) {
  ++counters_.accepted;
  asio::ip::address address;
  auto protocol = tcp::v4();
  if (peer.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(peer);
    address = asio::ip::address_v4{ntohl(v4.sin_addr.s_addr)};
  } else if (peer.ss_family == AF_INET6) {
    protocol = tcp::v6();
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(peer);
    asio::ip::address_v6::bytes_type bytes{};
    std::copy_n(std::begin(v6.sin6_addr.s6_addr), bytes.size(), bytes.begin());
    const asio::ip::address_v6 full{bytes, v6.sin6_scope_id};
    if (full.is_v4_mapped()) {
      address = asio::ip::make_address_v4(asio::ip::v4_mapped, full);
    } else {
      address = full;
    }
  }
  tcp::socket socket{io_};
  error_code ec;
  socket.assign(protocol, fd, ec);
  if (ec) {
    ::close(fd);
    ++counters_.accept_errors;
    return;
  }
  const auto upgraded = options_.upgraded_open ? options_.upgraded_open() : 0;
  if (options_.max_connections > 0 && open() + upgraded >= options_.max_connections) {
    refuse_full(socket);
    return;
  }
  wait_for_request(std::make_shared<connection>(shared_from_this(), std::move(socket), address));
}

/// One try, and gone: whoever is beyond the bound must not cost memory or time.
void http_server::impl::refuse_full(tcp::socket& socket) {
  ++counters_.refused_full;
  const auto id = new_request_id();
  const auto response =
      error_response(unavailable("too many connections", std::chrono::seconds{1}), id);
  const auto answer =
      make_response_head(response, {.request_id = id, .date = date(), .close = true}) + response.body;
  (void)::send(socket.native_handle(), answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  ::shutdown(socket.native_handle(), SHUT_WR);
}

// ── Deadlines ───────────────────────────────────────────────────────────────────────────────────────────────────────

std::chrono::milliseconds http_server::impl::timeout_of(stage s) const {
  switch (s) {
    case stage::idle:
      return options_.idle_timeout;
    case stage::reading:
      return options_.request_timeout;
    case stage::writing:
      return options_.write_timeout;
    case stage::lingering:
      return linger_timeout;
    case stage::handling:
    case stage::doomed:
      break;
  }
  return std::chrono::milliseconds::max();
}

std::size_t http_server::impl::open() const {
  std::size_t n = 0;
  for (const auto& l : lists_) n += l.size();
  return n;
}

void http_server::impl::arm_tick() {
  if (is_ticking_ || is_stopped_) return;
  is_ticking_ = true;
  tick_timer_.expires_after(tick_every_);
  tick_timer_.async_wait([weak = weak_from_this()](error_code ec) {
    const auto self = weak.lock();
    if (!self || ec) return;
    self->is_ticking_ = false;
    self->tick();
    if (self->open() > 0) self->arm_tick();  // without connections nothing wakes up
  });
}

void http_server::impl::tick() {
  const auto now = clock_.mono();
  for (const auto s : {stage::idle, stage::reading, stage::writing, stage::lingering}) {
    const auto limit = timeout_of(s);
    while (!list(s).empty() && now - list(s).front()->since >= limit) {
      if (s == stage::reading || s == stage::writing) ++counters_.timeouts;
      doom(*list(s).front());
    }
  }
}

/// Its coroutine is suspended in a wait for its socket (or for its next turn), and ends when it comes back.
void http_server::impl::doom(connection& c) {
  c.enter(stage::doomed);
  error_code ignored;
  c.socket.cancel(ignored);
}

void http_server::impl::close_idle() {
  for (auto i = list(stage::idle).begin(); i != list(stage::idle).end();) {
    connection& c = **i++;
    char ignored = 0;
    const bool has_request =
        ::recv(c.socket.native_handle(), &ignored, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
    if (!has_request) doom(c);
  }
}

void http_server::impl::stop() {
  is_stopped_ = true;
  is_draining_ = true;
  tick_timer_.cancel();
  accept_timer_.cancel();
  for (const auto& l : listeners_) l->socket.close();
  listeners_.clear();
  for (std::size_t s = 0; s + 1 < stages; ++s) {
    while (!lists_[s].empty()) doom(*lists_[s].front());
  }
  for (auto* c : list(stage::doomed)) {
    error_code ignored;
    c->socket.close(ignored);
  }
}

// ── One connection ──────────────────────────────────────────────────────────────────────────────────────────────────

/// Between requests a connection has no coroutine and no buffer: a fifth of the memory.
void http_server::impl::wait_for_request(std::shared_ptr<connection> c) {
  c->release_buffer();
  c->enter(stage::idle);
  auto& socket = c->socket;
  socket.async_wait(tcp::socket::wait_read, [c = std::move(c)](error_code ec) mutable {
    if (ec || c->is_doomed()) return;
    impl& self = *c->server;
    asio::co_spawn(self.io_, self.run(std::move(c)), asio::detached);
  });
}

/// Serves requests as long as there are bytes.
asio::awaitable<void> http_server::impl::run(std::shared_ptr<connection> c) {
  for (int served = 1;; ++served) {
    if (c->unread().empty()) {
      const auto got = read_some(*c, c->buffer, options_.max_header);
      if (got == io_result::again) {
        wait_for_request(std::move(c));
        co_return;
      }
      if (got != io_result::some) co_return;
    }
    if (served % requests_per_turn == 0) co_await yield();
    if (c->is_doomed()) co_return;
    c->enter(stage::reading);
    const auto next = co_await serve(*c);
    if (next == after_answer::linger) co_await linger(*c);
    if (next != after_answer::go_on) co_return;
  }
}

/// False: cut off, or the socket is broken.
asio::awaitable<bool> http_server::impl::wait(connection& c, tcp::socket::wait_type what) {
  error_code ec;
  co_await c.socket.async_wait(what, asio::redirect_error(asio::use_awaitable, ec));
  co_return !c.is_doomed() && !ec;
}

asio::awaitable<void> http_server::impl::yield() { co_await asio::post(io_, asio::use_awaitable); }

io_result http_server::impl::read_some(connection& c, std::string& into, std::size_t most) {
  for (;;) {
    const ssize_t n = ::recv(c.socket.native_handle(), scratch_.get(),
                             std::min(most, scratch_bytes), MSG_DONTWAIT);
    if (n > 0) {
      into.append(scratch_.get(), static_cast<std::size_t>(n));
      return io_result::some;
    }
    if (n == 0) return io_result::eof;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return io_result::again;
    if (errno != EINTR) return io_result::failed;
  }
}

/// One request and its answer.
asio::awaitable<after_answer> http_server::impl::serve(connection& c) {
  std::size_t head_bytes = 0;
  bool lost = false;
  auto problem = co_await read_head(c, head_bytes, lost);
  if (lost) co_return after_answer::hang_up;
  // Whatever else is wrong with it: a client that asked so reads no body, and takes one for the next answer.
  const bool is_head = c.unread().starts_with("HEAD ");
  if (problem) co_return co_await refuse(c, *problem, {}, is_head);

  http_request request;
  request.peer = c.peer;
  const auto raw = c.unread().substr(0, head_bytes);
  const auto head = check_request_head(raw);
  if (head.verdict != head_verdict::ok) {
    const bool is_size = head.verdict == head_verdict::too_large;
    if (!is_size) ++counters_.refused_strict;
    const error why{
        .code = is_size ? parley::error_code::payload_too_large : parley::error_code::validation,
        .message = std::string{head.why}};
    co_return co_await refuse(c, why, {}, is_head);
  }
  const auto why_not = parse_head(raw, head, request);
  const auto callers_id = request.header("x-request-id");
  request.request_id = is_valid_request_id(callers_id) ? std::string{callers_id} : new_request_id();
  if (!why_not.empty()) {
    ++counters_.refused_strict;
    const auto why = invalid({}, why_not);
    co_return co_await refuse(c, why, request.request_id, is_head);
  }
  c.use(head_bytes);

  const std::size_t limit = options_.max_body_of ? options_.max_body_of(request) : options_.max_body;
  body_charge charge{*body_bytes_, options_.body_total_bytes};
  problem = co_await read_body(c, head, limit, request, charge, lost);
  if (lost) co_return after_answer::hang_up;
  if (problem) co_return co_await refuse(c, *problem, request.request_id, is_head);

  ++counters_.requests;
  const bool is_upgrade = request.upgrade_websocket;
  const bool keep_alive = request.keep_alive;
  const auto id = request.request_id;
  const std::string key{is_upgrade ? request.header("sec-websocket-key") : std::string_view{}};
  c.enter(stage::handling);
  auto response = co_await ask(std::move(request));
  if (c.is_doomed()) co_return after_answer::hang_up;
  c.enter(stage::writing);

  response_context context{.request_id = id, .date = date(), .http11 = head.http11};
  if (response.upgraded && is_upgrade) {
    const auto text = make_switch_head(response, key, context);
    if (!co_await write(c, text, {})) co_return after_answer::hang_up;
    auto early = std::string{c.unread()};
    c.release_buffer();
    response.upgraded(std::move(c.socket), std::move(early));
    co_return after_answer::hang_up;  // the socket is not ours any more
  }
  context.close = response.close || !keep_alive || is_draining_;
  const auto text = make_response_head(response, context);
  const bool has_body = !is_head && response.status != 204 && response.status != 304;
  const auto body = has_body ? std::string_view{response.body} : std::string_view{};
  if (!co_await write(c, text, body)) co_return after_answer::hang_up;
  if (!context.close) co_return after_answer::go_on;
  // Who asked for the end sends nothing more; then there is nothing to wait for.
  co_return keep_alive || !c.unread().empty() ? after_answer::linger : after_answer::hang_up;
}

/// Until the empty line is in c.unread(). `lost`: hang up without an answer.
/// (g++ 12.2 miscompiles a coroutine that switches on a call: its frame loses a field. Hence `got`, here and below.)
asio::awaitable<std::optional<error>> http_server::impl::read_head(connection& c,
                                                                   std::size_t& head_bytes,
                                                                   bool& lost) {
  std::size_t checked = 0;
  for (std::size_t blank_lines = 0;;) {
    while (checked == 0 && blank_lines < blank_lines_max && c.unread().starts_with("\r\n")) {
      c.use(2);
      ++blank_lines;
    }
    const auto bytes = c.unread();
    const auto end = bytes.find("\r\n\r\n", checked < 3 ? 0 : checked - 3);
    head_bytes = end == std::string_view::npos ? bytes.size() : end + 4;
    if (head_bytes > options_.max_header) {
      co_return error{.code = parley::error_code::payload_too_large,
                      .message = "the request head is too large"};
    }
    if (end != std::string_view::npos) co_return std::nullopt;
    // A lone CR may be half a blank line.
    if (bytes != "\r") {
      if (const auto so_far = check_partial_head(bytes, checked); so_far.verdict != head_verdict::ok) {
        ++counters_.refused_strict;
        co_return invalid({}, so_far.why);
      }
      checked = bytes.size();
    }
    c.compact();
    const auto got = read_some(c, c.buffer, options_.max_header + 1 - checked);
    switch (got) {
      case io_result::some:
        break;
      case io_result::again:
        if (!co_await wait(c, tcp::socket::wait_read)) {
          lost = true;
          co_return std::nullopt;
        }
        break;
      case io_result::eof:
        if (!c.unread().empty()) {
          ++counters_.refused_strict;
          co_return invalid({}, "the stream ends within a request head");
        }
        lost = true;
        co_return std::nullopt;
      case io_result::failed:
        lost = true;
        co_return std::nullopt;
    }
  }
}

asio::awaitable<std::optional<error>> http_server::impl::read_body(connection& c,
                                                                   const head_check& head,
                                                                   std::size_t limit,
                                                                   http_request& request,
                                                                   body_charge& charge, bool& lost) {
  const auto length = head.content_length.value_or(0);
  if (!head.chunked && length == 0) co_return std::nullopt;
  const error too_large{.code = parley::error_code::payload_too_large,
                        .message = "the body is too large"};
  if (length > limit) co_return too_large;
  if (c.unread().empty() && head.http11 && expects_continue(request)) {
    if (!co_await write(c, continue_line, {})) {
      lost = true;
      co_return std::nullopt;
    }
  }

  std::string& body = request.body;
  chunked_decoder chunks{limit};
  for (int reads = 0;;) {
    auto bytes = c.unread();
    const auto before = bytes.size();
    auto status = chunked_decoder::status::more;
    if (head.chunked) {
      status = chunks.consume(bytes, body);
    } else {
      const auto taken =
          static_cast<std::size_t>(std::min<std::uint64_t>(length - body.size(), before));
      body.append(bytes.substr(0, taken));
      bytes.remove_prefix(taken);
      if (body.size() == length) status = chunked_decoder::status::done;
    }
    c.use(before - bytes.size());
    if (!charge.grow_to(body.size())) {
      ++counters_.refused_full;
      co_return unavailable("too many request bodies at once", std::chrono::seconds{1});
    }
    if (status == chunked_decoder::status::done) co_return std::nullopt;
    if (status == chunked_decoder::status::too_large) co_return too_large;
    if (status == chunked_decoder::status::bad) {
      ++counters_.refused_strict;
      co_return invalid({}, "malformed chunked body");
    }
    // Bytes of a known length go where they belong; the string grows with what comes, not with what was announced.
    auto& into = head.chunked ? c.buffer : body;
    const auto most = head.chunked ? scratch_bytes : static_cast<std::size_t>(length - body.size());
    if (!head.chunked && body.capacity() < body.size() + std::min(most, scratch_bytes)) {
      const auto doubled = std::max(2 * body.capacity(), body.size() + scratch_bytes);
      body.reserve(std::min(doubled, static_cast<std::size_t>(length)));
    }
    const auto got = read_some(c, into, most);
    switch (got) {
      case io_result::some:
        if (++reads % reads_per_turn == 0) {
          co_await yield();
          lost = c.is_doomed();
        }
        break;
      case io_result::again:
        lost = !co_await wait(c, tcp::socket::wait_read);
        break;
      case io_result::eof:
        co_return invalid({}, "the stream ends within a body");
      case io_result::failed:
        lost = true;
        break;
    }
    if (lost) co_return std::nullopt;
  }
}

asio::awaitable<http_response> http_server::impl::ask(http_request request) {
  const auto id = request.request_id;
  const bool may_upgrade = request.upgrade_websocket;
  bool has_failed = false;
  http_response response;
  try {
    response = co_await handler_(std::move(request));
  } catch (...) {  // what() may hold anything: it goes nowhere
    has_failed = true;
  }
  if (has_failed || (response.upgraded && !may_upgrade)) {
    ++counters_.handler_errors;
    log(log_level::error, "request handler failed", {{"request_id", id}});
    response =
        error_response({.code = parley::error_code::internal, .message = "internal error"}, id);
  }
  co_return response;
}

asio::awaitable<after_answer> http_server::impl::refuse(connection& c, const error& why,
                                                        std::string_view request_id, bool is_head) {
  if (why.code == parley::error_code::payload_too_large) ++counters_.refused_large;
  const auto id = request_id.empty() ? new_request_id() : std::string{request_id};
  const auto response = error_response(why, id);
  const auto text = make_response_head(response, {.request_id = id, .date = date(), .close = true});
  c.enter(stage::writing);
  const auto body = is_head ? std::string_view{} : std::string_view{response.body};
  const bool is_written = co_await write(c, text, body);
  co_return is_written ? after_answer::linger : after_answer::hang_up;
}

asio::awaitable<bool> http_server::impl::write(connection& c, std::string_view head,
                                               std::string_view body) {
  while (!head.empty() || !body.empty()) {
    // sendmsg does not write through them.
    std::array<iovec, 2> pieces{
        {{.iov_base = const_cast<char*>(head.data()), .iov_len = head.size()},
         {.iov_base = const_cast<char*>(body.data()), .iov_len = body.size()}}};
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = pieces.size();
    const ssize_t n = ::sendmsg(c.socket.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) co_return false;
    if (n < 0) {
      if (!co_await wait(c, tcp::socket::wait_write)) co_return false;
      continue;
    }
    auto sent = static_cast<std::size_t>(n);
    const auto of_head = std::min(sent, head.size());
    head.remove_prefix(of_head);
    body.remove_prefix(sent - of_head);
    if (c.where == stage::writing) c.enter(stage::writing);  // progress: the deadline starts anew
  }
  co_return true;
}

/// RFC 9112 §9.6: closing with bytes unread makes the kernel send a reset, which may destroy the answer on its way.
asio::awaitable<void> http_server::impl::linger(connection& c) {
  if (c.is_doomed()) co_return;
  c.release_buffer();
  c.enter(stage::lingering);
  ::shutdown(c.socket.native_handle(), SHUT_WR);
  for (std::size_t dropped = 0; dropped < linger_max_bytes;) {
    const ssize_t n =
        ::recv(c.socket.native_handle(), nullptr, scratch_bytes, MSG_DONTWAIT | MSG_TRUNC);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) co_return;
    if (n > 0) {
      dropped += static_cast<std::size_t>(n);
    } else if (!co_await wait(c, tcp::socket::wait_read)) {
      co_return;
    }
  }
}

/// Sixteen hex digits that repeat neither here nor on other threads. No secret: a system call each would be waste.
std::string http_server::impl::new_request_id() {
  id_state_ += 0x9e3779b97f4a7c15ULL;  // splitmix64
  std::uint64_t z = id_state_;
  z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27U)) * 0x94d049bb133111ebULL;
  z ^= z >> 31U;
  std::string out(16, '0');
  for (auto digit = out.rbegin(); digit != out.rend(); ++digit, z >>= 4U)
    *digit = "0123456789abcdef"[z & 15U];
  return out;
}

std::string_view http_server::impl::date() {
  const auto now = clock_.now();
  const auto second = to_unix_ms(now) / 1000;
  if (second != date_second_) {
    date_second_ = second;
    date_ = http_date(now);
  }
  return date_;
}

// ── The public face ─────────────────────────────────────────────────────────────────────────────────────────────────

http_server::http_server(asio::io_context& io, const http_options& options, const clock& now,
                         random_source& random, http_handler handler)
    : impl_(std::make_shared<impl>(io, options, now, random, std::move(handler))) {}

http_server::~http_server() { impl_->stop(); }

error_code http_server::listen(const tcp::endpoint& where) {
  const int fd = ::socket(where.protocol().family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const auto last_error = [] { return error_code{errno, boost::system::system_category()}; };
  if (fd < 0) return last_error();
  const int on = 1;
  const bool is_listening = ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
                            ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0 &&
                            ::bind(fd, where.data(), static_cast<socklen_t>(where.size())) == 0 &&
                            ::listen(fd, 65535) == 0;  // the kernel cuts it to somaxconn
  if (!is_listening) {
    const auto ec = last_error();
    ::close(fd);
    return ec;
  }
  return impl_->add_listener(fd);
}

error_code http_server::listen(int descriptor) { return impl_->add_listener(descriptor); }

tcp::endpoint http_server::local_endpoint() const {
  return impl_->listeners_.empty() ? tcp::endpoint{} : impl_->listeners_.front()->where;
}

void http_server::stop_accepting() {
  if (impl_->is_draining_) return;
  impl_->is_draining_ = true;
  for (const auto& l : impl_->listeners_) {
    // Closing resets what waits in the queue, although the kernel has told those clients «connected».
    impl_->accept_some(*l, SOMAXCONN);
    l->socket.close();
  }
  impl_->listeners_.clear();
  impl_->accept_timer_.cancel();
  impl_->close_idle();
}

void http_server::close_idle() { impl_->close_idle(); }

std::size_t http_server::open_requests() const {
  return impl_->list(stage::reading).size() + impl_->list(stage::handling).size() +
         impl_->list(stage::writing).size();
}

void http_server::tick() { impl_->tick(); }

const http_counters& http_server::counters() const {
  impl_->counters_.open = impl_->open();
  return impl_->counters_;
}

}  // namespace parley::net
