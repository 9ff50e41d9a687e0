#include "net/ws_hub.hpp"

#include "protocol/assert.hpp"
#include "protocol/client_frame.hpp"
#include "protocol/ws_codec.hpp"

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

namespace parley::net {
namespace {

constexpr std::size_t read_buffer_bytes = 64 * 1024;  // shared by all connections of the thread
constexpr std::size_t read_turn_max_bytes =
    256 * 1024;  // of one connection before others have their turn
constexpr int events_per_turn = 256;
constexpr std::size_t flushes_per_turn = 256;  // ~1 ms of sends; then other handlers have their turn
constexpr std::size_t scratch_bytes =
    64 * 1024;  // small frames are copied together here and sent as one
constexpr std::size_t copy_max_bytes = 4096;    // larger ones are sent from where they are
constexpr std::size_t spare_queues_max = 1024;  // kept for the next pass: no malloc per delivery
constexpr std::size_t spare_queue_frames_max = 64;

/// Milliseconds, modulo 2^32 (49 days): only differences count, and all of ours are minutes.
using stamp = std::uint32_t;

/// What one connection has still to be sent. Exists only while there is something.
struct outbound {
  std::vector<frame_ptr> frames;
  std::size_t head = 0;          ///< frames before it are sent
  std::size_t sent_of_head = 0;  ///< bytes of frames[head] that the kernel has taken
};

/// A connection's life. Ends are reported by deliver_gone(), which alone makes a slot free.
///
///   free ─adopt()→ open ─close(), fault(), peer's close→ closing ─end()→ gone ─deliver_gone()→ free
///                   └────────abort(), socket lost───────────────end()──→ gone
enum class phase : std::uint8_t { free, open, closing, gone };

struct slot {
  ws_decoder decoder{0};
  std::unique_ptr<outbound> out;
  int fd = -1;
  std::uint32_t uses = 0;  ///< how often the slot was given out
  std::uint32_t out_bytes = 0;
  stamp heard{};  ///< last sign of life
  stamp next_ping{};
  stamp taken{};          ///< when the kernel last took bytes, or the queue began
  stamp message_since{};  ///< when the incomplete message began
  stamp closing_since{};
  close_code code = close_code::none;
  phase state = phase::free;
  bool is_registered : 1 = false;  ///< in the epoll set
  bool is_paused : 1 = false;
  bool is_read_armed : 1 = false;
  bool is_write_armed : 1 = false;  ///< the kernel's buffer is full
  bool is_touched : 1 = false;      ///< in touched_
  bool is_kicked : 1 = false;       ///< in kicked_
  bool was_high : 1 = false;        ///< at or over half its bound since the last on_drained
  bool tells_when_empty : 1 = false;
  bool is_peer_closed : 1 = false;  ///< its close frame has come
  bool is_faulted : 1 = false;  ///< it broke the protocol: what it still sends is dropped unread
};
static_assert(sizeof(slot) == 64, "an idle connection is this and nothing else");

constexpr std::size_t slots_per_block = 256;

}  // namespace

struct ws_hub::impl final : ws_sink {
  impl(boost::asio::io_context& context, const hub_options& o, const clock& now, random_source& r,
       hub_events& e);
  ~impl() override;

  // Slots.
  slot& at(std::uint32_t index) {
    return blocks_[index / slots_per_block][index % slots_per_block];
  }
  slot* find(connection_no c);
  slot* find_open(connection_no c) {
    slot* s = find(c);
    return s != nullptr && s->state == phase::open ? s : nullptr;
  }
  [[nodiscard]] connection_no number_of(std::uint32_t index) {
    return connection_no{(std::uint64_t{at(index).uses} << 32U) | index};
  }
  std::uint32_t take_slot();

  // Time.
  void look_at_clock() {
    now_ = static_cast<stamp>(
        std::chrono::duration_cast<std::chrono::milliseconds>(clock_.mono().time_since_epoch()).count());
  }
  [[nodiscard]] bool is_past(stamp since, std::chrono::milliseconds limit) const {
    return static_cast<std::int64_t>(static_cast<stamp>(now_ - since)) >= limit.count();
  }
  [[nodiscard]] stamp jitter(std::chrono::milliseconds most);

  // Turns.
  void watch();
  void schedule();
  void on_ready();
  void end_turn();
  void deliver_gone();
  void begin_adopted();
  void feed_kicked();

  // One connection.
  void arm(slot& s, connection_no c);
  void on_event(connection_no c, std::uint32_t events);
  void read(slot& s, connection_no c);
  void feed(slot& s, connection_no c, std::span<char> bytes);
  void push(slot& s, connection_no c, const frame_ptr& frame);
  void touch(slot& s, connection_no c);
  void write(slot& s, connection_no c);
  std::size_t gather(const outbound& out, std::array<iovec, 64>& pieces, std::size_t& count);
  void took(slot& s, std::size_t bytes);
  void release_queue(slot& s);
  void flush_some(std::size_t most);
  void begin_closing(slot& s, connection_no c, close_code code, const frame_ptr& frame);
  void close_stalled(slot& s, connection_no c, close_code code);
  void all_sent(slot& s, connection_no c);
  void end(slot& s, connection_no c, close_code code);
  void tick_open(slot& s, connection_no c);
  [[nodiscard]] static bool has_unread(int fd);

  // ws_sink, for the connection that is being fed.
  bool on_text(std::string_view text) override;
  void on_ping(std::string_view payload) override;
  void on_pong(std::string_view payload) override;
  void on_close(close_code code, std::string_view reason) override;

  boost::asio::io_context& io_;
  hub_options options_;
  const clock& clock_;
  random_source& random_;
  hub_events& events_;
  boost::asio::posix::stream_descriptor epoll_;
  std::shared_ptr<char> alive_ =
      std::make_shared<char>();  ///< handlers of the io_context may outlive us

  std::vector<std::unique_ptr<slot[]>> blocks_;
  std::vector<std::uint32_t> free_;
  std::uint32_t slots_ = 0;  ///< given out at least once
  std::size_t size_ = 0;
  std::size_t out_total_ = 0;
  hub_counters counters_;
  stamp now_{};

  std::unique_ptr<char[]> read_buffer_;
  std::unique_ptr<char[]> scratch_;
  std::vector<std::unique_ptr<outbound>> spare_;
  frame_ptr ping_ = make_ping_frame({});

  // What the next turn, or the end of this one, has to do.
  std::vector<std::pair<connection_no, std::string>> adopted_;
  std::vector<connection_no> kicked_;   ///< resumed: what they hold unread comes first
  std::vector<connection_no> touched_;  ///< have something to be sent
  std::size_t touched_done_ = 0;
  std::vector<connection_no> drained_;
  std::vector<std::pair<connection_no, close_code>> gone_;
  bool in_turn_ = false;
  bool is_scheduled_ = false;

  // The connection that is being fed.
  slot* fed_ = nullptr;
  connection_no fed_no_{};
  bool is_message_ended_ = false;
};

ws_hub::impl::impl(boost::asio::io_context& context, const hub_options& o, const clock& now,
                   random_source& r, hub_events& e)
    : io_(context),
      options_(o),
      clock_(now),
      random_(r),
      events_(e),
      epoll_(context),
      read_buffer_(std::make_unique<char[]>(read_buffer_bytes + client_frame_parser::padding_bytes)),
      scratch_(std::make_unique<char[]>(scratch_bytes)) {
  const int fd = epoll_create1(EPOLL_CLOEXEC);
  if (fd < 0) {
    throw boost::system::system_error{errno, boost::system::system_category(), "epoll_create1"};
  }
  epoll_.assign(fd);
  look_at_clock();
  watch();
}

ws_hub::impl::~impl() {
  for (std::uint32_t i = 0; i < slots_; ++i) {
    if (at(i).fd >= 0) ::close(at(i).fd);
  }
}

// ── Slots ───────────────────────────────────────────────────────────────────────────────────────────────────────────

slot* ws_hub::impl::find(connection_no c) {
  const auto index = static_cast<std::uint32_t>(c.value);
  if (index >= slots_) return nullptr;
  slot& s = at(index);
  return s.uses == c.value >> 32U && s.state != phase::free ? &s : nullptr;
}

std::uint32_t ws_hub::impl::take_slot() {
  if (!free_.empty()) {
    const auto index = free_.back();
    free_.pop_back();
    return index;
  }
  if (slots_ % slots_per_block == 0) blocks_.push_back(std::make_unique<slot[]>(slots_per_block));
  return slots_++;
}

stamp ws_hub::impl::jitter(std::chrono::milliseconds most) {
  std::array<std::uint8_t, 4> bytes{};
  random_.fill(bytes);
  std::uint32_t number = 0;
  std::memcpy(&number, bytes.data(), sizeof number);
  return static_cast<stamp>(
      1 + (std::uint64_t{number} * static_cast<std::uint64_t>(most.count()) >> 32U));
}

// ── Turns ───────────────────────────────────────────────────────────────────────────────────────────────────────────

void ws_hub::impl::watch() {
  epoll_.async_wait(boost::asio::posix::descriptor_base::wait_read,
                    [this, alive = std::weak_ptr<char>{alive_}](boost::system::error_code ec) {
                      if (alive.expired() || ec) return;
                      on_ready();
                      watch();
                    });
}

void ws_hub::impl::schedule() {
  if (in_turn_ || is_scheduled_) return;
  is_scheduled_ = true;
  boost::asio::post(io_, [this, alive = std::weak_ptr<char>{alive_}] {
    if (alive.expired()) return;
    is_scheduled_ = false;
    look_at_clock();
    in_turn_ = true;
    end_turn();
  });
}

void ws_hub::impl::on_ready() {
  std::array<epoll_event, events_per_turn> events;
  const int n = epoll_wait(epoll_.native_handle(), events.data(), events_per_turn, 0);
  if (n <= 0) return;
  look_at_clock();
  in_turn_ = true;
  for (int i = 0; i < n; ++i) {
    const auto& e = events[static_cast<std::size_t>(i)];
    on_event(connection_no{e.data.u64}, e.events);
  }
  end_turn();
}

/// All that was put off until nobody is in a call of ours. What this makes anew waits for the next turn.
void ws_hub::impl::end_turn() {
  begin_adopted();
  feed_kicked();
  flush_some(flushes_per_turn);
  for (const auto c : std::exchange(drained_, {})) {
    if (find_open(c) != nullptr) events_.on_drained(c);
  }
  if (touched_.size() > touched_done_) flush_some(flushes_per_turn);  // what on_drained queued
  deliver_gone();
  in_turn_ = false;
  if (touched_.size() > touched_done_ || !adopted_.empty() || !kicked_.empty() ||
      !drained_.empty() || !gone_.empty()) {
    schedule();
  }
}

void ws_hub::impl::deliver_gone() {
  for (const auto& [c, code] : std::exchange(gone_, {})) {
    events_.on_gone(c, code);
    slot& s = *find(c);
    s.decoder = ws_decoder{0};
    s.state = phase::free;
    --size_;
    free_.push_back(static_cast<std::uint32_t>(c.value));
  }
}

void ws_hub::impl::begin_adopted() {
  for (auto& [c, early] : std::exchange(adopted_, {})) {
    slot* s = find(c);
    if (s == nullptr || s->state == phase::gone) continue;
    epoll_event e{.events = EPOLLIN, .data = {.u64 = c.value}};
    if (epoll_ctl(epoll_.native_handle(), EPOLL_CTL_ADD, s->fd, &e) != 0) {
      end(*s, c, close_code::no_status);
      continue;
    }
    s->is_registered = true;
    s->is_read_armed = true;
    if (s->is_write_armed) arm(*s, c);
    if (early.empty()) continue;
    const auto bytes = early.size();
    early.append(client_frame_parser::padding_bytes, '\0');
    counters_.bytes_in += bytes;
    feed(*s, c, {early.data(), bytes});
  }
}

void ws_hub::impl::feed_kicked() {
  for (const auto c : std::exchange(kicked_, {})) {
    slot* s = find(c);
    if (s == nullptr || s->state == phase::gone) continue;
    s->is_kicked = false;
    if (s->is_paused) continue;
    feed(*s, c, {read_buffer_.get(), 0});
    if (s->state != phase::gone && !s->is_paused && s->is_registered && !s->is_read_armed) {
      s->is_read_armed = true;
      arm(*s, c);
    }
  }
}

// ── Reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/// Tells the kernel what we wait for.
void ws_hub::impl::arm(slot& s, connection_no c) {
  if (!s.is_registered) return;
  epoll_event e{.events = 0, .data = {.u64 = c.value}};
  if (s.is_read_armed) e.events |= EPOLLIN;
  if (s.is_write_armed) e.events |= EPOLLOUT;
  epoll_ctl(epoll_.native_handle(), EPOLL_CTL_MOD, s.fd, &e);
}

void ws_hub::impl::on_event(connection_no c, std::uint32_t events) {
  slot* s = find(c);
  if (s == nullptr || s->state == phase::gone) return;  // ended earlier in this turn
  if ((events & EPOLLOUT) != 0 && s->is_write_armed) {
    const auto before = s->out_bytes;
    write(*s, c);
    if (s->state == phase::gone) return;
    if (s->out_bytes < before) s->heard = now_;  // the peer made room: it lives
  }
  if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) == 0) return;
  if (!s->is_paused) {
    read(*s, c);
  } else if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
    end(*s, c, s->state == phase::closing ? s->code : close_code::no_status);
  } else if (s->is_read_armed) {  // paused since: only now does it cost a system call
    s->is_read_armed = false;
    arm(*s, c);
  }
}

void ws_hub::impl::read(slot& s, connection_no c) {
  for (std::size_t budget = read_turn_max_bytes; budget >= read_buffer_bytes;) {
    const ssize_t n = ::recv(s.fd, read_buffer_.get(), read_buffer_bytes, MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (n <= 0) {
      end(s, c, s.state == phase::closing ? s.code : close_code::no_status);
      return;
    }
    const auto got = static_cast<std::size_t>(n);
    counters_.bytes_in += got;
    s.heard = now_;
    if (!s.is_faulted && !s.is_peer_closed) feed(s, c, {read_buffer_.get(), got});
    if (s.state == phase::gone || s.is_paused) return;
    if (got < read_buffer_bytes) return;  // surely all; if not, epoll says so
    budget -= got;
  }
}

void ws_hub::impl::feed(slot& s, connection_no c, std::span<char> bytes) {
  if (s.is_faulted || s.is_peer_closed) return;
  const bool was_in_message = s.decoder.in_message();
  fed_ = &s;
  fed_no_ = c;
  is_message_ended_ = false;
  const auto fault = s.decoder.consume(bytes, *this);
  fed_ = nullptr;
  if (s.state == phase::gone) return;
  if (fault != close_code::none) {
    ++counters_.protocol_errors;
    s.is_faulted = true;
    if (s.state == phase::open) {
      begin_closing(s, c, fault, make_close_frame(fault, close_reason(fault)));
    } else if (!s.out) {
      all_sent(s, c);
    }
  } else if (s.decoder.in_message() && (!was_in_message || is_message_ended_)) {
    s.message_since = now_;
  }
}

bool ws_hub::impl::on_text(std::string_view text) {
  is_message_ended_ = true;
  ++counters_.frames_in;
  if (fed_->state == phase::open) {
    slot* const s = fed_;
    const auto c = fed_no_;
    events_.on_text(c, text);
    fed_ = s;
    fed_no_ = c;
  }
  return fed_->state != phase::gone && !fed_->is_paused;
}

void ws_hub::impl::on_ping(std::string_view payload) {
  if (fed_->state != phase::open) return;  // after our close frame nothing is sent
  push(*fed_, fed_no_, make_pong_frame(payload));
}

void ws_hub::impl::on_pong(std::string_view) {
  if (fed_->state == phase::open) events_.on_pong(fed_no_);
}

void ws_hub::impl::on_close(close_code code, std::string_view) {
  slot& s = *fed_;
  s.is_peer_closed = true;
  if (s.state == phase::open) {
    begin_closing(s, fed_no_, code, make_close_frame(code, {}));
  } else if (s.state == phase::closing && !s.out) {
    all_sent(s, fed_no_);
  }
}

// ── Writing ─────────────────────────────────────────────────────────────────────────────────────────────────────────

void ws_hub::impl::push(slot& s, connection_no c, const frame_ptr& frame) {
  const auto bytes = frame->bytes.size();
  if (s.state == phase::open && s.out &&
      s.out_bytes + bytes > options_.outbound_max_bytes + options_.control_reserve_bytes) {
    close_stalled(s, c, close_code::stalled_reader);
    return;
  }
  if (!s.out) {
    if (spare_.empty()) {
      s.out = std::make_unique<outbound>();
    } else {
      s.out = std::move(spare_.back());
      spare_.pop_back();
    }
    s.taken = now_;
  }
  s.out->frames.push_back(frame);
  s.out_bytes += static_cast<std::uint32_t>(bytes);
  out_total_ += bytes;
  if (s.out_bytes >= options_.outbound_max_bytes / 2) s.was_high = true;
  touch(s, c);
}

void ws_hub::impl::touch(slot& s, connection_no c) {
  if (s.is_touched || s.is_write_armed) return;
  s.is_touched = true;
  touched_.push_back(c);
  schedule();
}

/// As much of the queue as one sendmsg should carry. Small neighbours are copied together: one copy is cheaper than the
/// kernel's walk over many pieces (277 against 341 ns a delivery of 200 bytes, 16 a send).
std::size_t ws_hub::impl::gather(const outbound& out, std::array<iovec, 64>& pieces,
                                 std::size_t& count) {
  std::size_t total = 0;
  std::size_t used = 0;  // of scratch_
  count = 0;
  bool is_open = false;  // the last piece ends where scratch_ goes on
  for (std::size_t i = out.head; i < out.frames.size(); ++i) {
    std::string_view bytes = out.frames[i]->bytes;
    if (i == out.head) bytes.remove_prefix(out.sent_of_head);
    const bool is_only = i == out.head && i + 1 == out.frames.size();
    if (bytes.size() <= copy_max_bytes && !is_only) {
      if (bytes.size() > scratch_bytes - used) break;
      if (!is_open) {
        if (count == pieces.size()) break;
        pieces[count++] = {.iov_base = scratch_.get() + used, .iov_len = 0};
        is_open = true;
      }
      std::memcpy(scratch_.get() + used, bytes.data(), bytes.size());
      used += bytes.size();
      pieces[count - 1].iov_len += bytes.size();
    } else {
      if (count == pieces.size()) break;
      // sendmsg does not write through it.
      pieces[count++] = {.iov_base = const_cast<char*>(bytes.data()), .iov_len = bytes.size()};
      is_open = false;
    }
    total += bytes.size();
  }
  return total;
}

void ws_hub::impl::write(slot& s, connection_no c) {
  while (s.out) {
    std::array<iovec, 64> pieces;
    std::size_t count = 0;
    const auto total = gather(*s.out, pieces, count);
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = count;
    const ssize_t n = ::sendmsg(s.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    ++counters_.sends;
    if (n < 0 && errno == EINTR) continue;
    const bool is_full = n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
    if (n < 0 && !is_full) {
      end(s, c, s.state == phase::closing ? s.code : close_code::no_status);
      return;
    }
    const auto sent = n < 0 ? std::size_t{0} : static_cast<std::size_t>(n);
    if (sent > 0) took(s, sent);
    if ((s.was_high && s.out_bytes < options_.outbound_max_bytes / 2) ||
        (s.tells_when_empty && !s.out)) {
      s.was_high = false;
      s.tells_when_empty = false;
      if (s.state == phase::open) {
        drained_.push_back(c);
        schedule();
      }
    }
    if (sent < total) {
      if (!s.is_write_armed) {
        s.is_write_armed = true;
        arm(s, c);
      }
      return;
    }
  }
  if (s.is_write_armed) {
    s.is_write_armed = false;
    arm(s, c);
  }
  if (s.state == phase::closing) all_sent(s, c);
}

/// The kernel has `bytes` more of the queue.
void ws_hub::impl::took(slot& s, std::size_t bytes) {
  counters_.bytes_out += bytes;
  s.out_bytes -= static_cast<std::uint32_t>(bytes);
  out_total_ -= bytes;
  s.taken = now_;
  outbound& out = *s.out;
  bytes += out.sent_of_head;
  while (out.head < out.frames.size() && bytes >= out.frames[out.head]->bytes.size()) {
    bytes -= out.frames[out.head]->bytes.size();
    out.frames[out.head].reset();
    ++out.head;
    ++counters_.frames_out;
  }
  out.sent_of_head = bytes;
  if (out.head == out.frames.size()) {
    release_queue(s);
  } else if (out.head >= 64 && out.head * 2 >= out.frames.size()) {
    // A reader that never quite catches up must not make the vector grow for ever.
    out.frames.erase(out.frames.begin(), out.frames.begin() + static_cast<std::ptrdiff_t>(out.head));
    out.head = 0;
  }
}

void ws_hub::impl::release_queue(slot& s) {
  if (!s.out) return;
  out_total_ -= s.out_bytes;
  s.out_bytes = 0;
  if (spare_.size() < spare_queues_max && s.out->frames.capacity() <= spare_queue_frames_max) {
    s.out->frames.clear();
    s.out->head = 0;
    s.out->sent_of_head = 0;
    spare_.push_back(std::move(s.out));
  }
  s.out.reset();
}

void ws_hub::impl::flush_some(std::size_t most) {
  const auto end = std::min(touched_.size(), touched_done_ + most);
  while (touched_done_ < end) {
    const auto c = touched_[touched_done_++];
    slot* s = find(c);
    if (s == nullptr || s->state == phase::gone) continue;
    s->is_touched = false;
    ++counters_.flushed_in_turn;
    write(*s, c);
  }
  if (touched_done_ == touched_.size()) {
    touched_.clear();
    touched_done_ = 0;
  }
}

// ── Ending ──────────────────────────────────────────────────────────────────────────────────────────────────────────

void ws_hub::impl::begin_closing(slot& s, connection_no c, close_code code, const frame_ptr& frame) {
  s.state = phase::closing;
  s.code = code;
  s.closing_since = now_;
  push(s, c, frame);
  if (s.is_paused) {
    s.is_paused = false;
    if (!s.is_kicked) {
      s.is_kicked = true;
      kicked_.push_back(c);
      schedule();
    }
  }
}

/// It does not read, or is not there: what it has not begun to take is dropped, so that the close frame comes next.
void ws_hub::impl::close_stalled(slot& s, connection_no c, close_code code) {
  if (s.out) {
    outbound& out = *s.out;
    const auto keep = out.head + (out.sent_of_head > 0 ? 1 : 0);
    for (auto i = keep; i < out.frames.size(); ++i) {
      s.out_bytes -= static_cast<std::uint32_t>(out.frames[i]->bytes.size());
      out_total_ -= out.frames[i]->bytes.size();
    }
    out.frames.resize(keep);
    if (out.head == out.frames.size()) release_queue(s);
  }
  ++(code == close_code::heartbeat_lost ? counters_.heartbeat_lost : counters_.stalled);
  begin_closing(s, c, code, make_close_frame(code, close_reason(code)));
}

/// All is sent on a closing connection, the close frame too.
void ws_hub::impl::all_sent(slot& s, connection_no c) {
  if (s.is_peer_closed) {
    // Unread bytes would turn our FIN into a reset, which may overtake the close frame. (MSG_TRUNC: TCP drops them
    // without a copy.)
    for (int i = 0; i < 4; ++i) {
      if (::recv(s.fd, nullptr, read_buffer_bytes, MSG_DONTWAIT | MSG_TRUNC) <= 0) break;
    }
    end(s, c, s.code);
  } else if (s.is_faulted) {
    // Its answer will not be understood; it sees the end of the stream and hangs up, or close_timeout comes.
    ::shutdown(s.fd, SHUT_WR);
  }
}

void ws_hub::impl::end(slot& s, connection_no c, close_code code) {
  PARLEY_ASSERT(s.state == phase::open || s.state == phase::closing);
  ::close(s.fd);  // also takes it out of the epoll set: nobody else has this descriptor
  s.fd = -1;
  s.is_registered = false;
  s.state = phase::gone;
  release_queue(s);
  gone_.emplace_back(c, code);
  schedule();
}

bool ws_hub::impl::has_unread(int fd) {
  char ignored = 0;
  return ::recv(fd, &ignored, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void ws_hub::impl::tick_open(slot& s, connection_no c) {
  if (s.out && is_past(s.taken, options_.stall_timeout)) {
    write(s, c);  // if it was us who did not come round to it, this makes progress
    if (s.state != phase::open) return;
    if (s.out && is_past(s.taken, options_.stall_timeout)) {
      close_stalled(s, c, close_code::stalled_reader);
      return;
    }
  }
  const auto interval = static_cast<stamp>(options_.ping_interval.count());
  const bool is_ping_due = static_cast<std::int32_t>(now_ - s.next_ping) >= 0;
  if (s.is_paused) {
    if (is_ping_due) s.next_ping = now_ + interval;
    return;
  }
  if (s.decoder.in_message() && is_past(s.message_since, options_.frame_timeout)) {
    ++counters_.protocol_errors;
    s.is_faulted = true;
    begin_closing(
        s, c, close_code::protocol_error,
        make_close_frame(close_code::protocol_error, close_reason(close_code::protocol_error)));
    return;
  }
  if (!options_.pings) return;
  if (is_past(s.heard, 2 * options_.ping_interval)) {
    // Bytes that wait unread are a sign of life: the delay is ours.
    if (!has_unread(s.fd)) {
      close_stalled(s, c, close_code::heartbeat_lost);
      return;
    }
    s.heard = now_;
  }
  if (is_ping_due) {
    s.next_ping = now_ + interval;
    push(s, c, ping_);
  }
}

// ── The public face ─────────────────────────────────────────────────────────────────────────────────────────────────

ws_hub::ws_hub(boost::asio::io_context& io, const hub_options& options, const clock& now,
               random_source& random, hub_events& events)
    : impl_(std::make_unique<impl>(io, options, now, random, events)) {}
ws_hub::~ws_hub() = default;

connection_no ws_hub::adopt(boost::asio::ip::tcp::socket socket, std::string early) {
  impl& h = *impl_;
  h.look_at_clock();
  const auto index = h.take_slot();
  slot& s = h.at(index);
  const auto uses = s.uses + 1;
  s = slot{};
  s.uses = uses == 0 ? 1 : uses;
  s.decoder = ws_decoder{h.options_.max_message_bytes};
  s.state = phase::open;
  s.heard = h.now_;
  s.next_ping = h.now_ + h.jitter(h.options_.ping_interval);
  ++h.size_;
  const auto c = h.number_of(index);

  boost::system::error_code ec;
  s.fd = socket.release(ec);
  if (ec) {
    s.fd = -1;
    h.end(s, c, close_code::no_status);
    return c;
  }
  if (h.options_.kernel_unsent_max_bytes > 0) {
    const int bytes = static_cast<int>(h.options_.kernel_unsent_max_bytes);
    ::setsockopt(s.fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof bytes);  // not TCP: no matter
  }
  h.adopted_.emplace_back(c, std::move(early));
  h.schedule();
  return c;
}

bool ws_hub::send(connection_no c, const frame_ptr& frame) {
  slot* s = impl_->find_open(c);
  if (s == nullptr) return false;
  if (!s->out && !impl_->in_turn_) impl_->look_at_clock();
  impl_->push(*s, c, frame);
  return s->state == phase::open;
}

std::size_t ws_hub::outbound_space(connection_no c) const {
  const slot* s = impl_->find_open(c);
  if (s == nullptr || s->out_bytes >= impl_->options_.outbound_max_bytes) return 0;
  return impl_->options_.outbound_max_bytes - s->out_bytes;
}

std::size_t ws_hub::outbound_bytes(connection_no c) const {
  const slot* s = impl_->find(c);
  return s == nullptr ? 0 : s->out_bytes;
}

void ws_hub::tell_when_empty(connection_no c) {
  if (slot* s = impl_->find_open(c); s != nullptr && s->out) s->tells_when_empty = true;
}

void ws_hub::pause_reading(connection_no c) {
  if (slot* s = impl_->find_open(c)) s->is_paused = true;
}

void ws_hub::resume_reading(connection_no c) {
  slot* s = impl_->find_open(c);
  if (s == nullptr || !s->is_paused) return;
  impl_->look_at_clock();
  s->is_paused = false;
  s->heard = impl_->now_;
  s->message_since = impl_->now_;
  if (s->is_kicked) return;
  s->is_kicked = true;
  impl_->kicked_.push_back(c);
  impl_->schedule();
}

void ws_hub::close(connection_no c, close_code code) {
  slot* s = impl_->find_open(c);
  if (s == nullptr) return;
  impl_->look_at_clock();
  impl_->begin_closing(*s, c, code, make_close_frame(code, close_reason(code)));
}

void ws_hub::abort(connection_no c) {
  slot* s = impl_->find(c);
  if (s == nullptr || s->state == phase::gone) return;
  impl_->end(*s, c, s->state == phase::closing ? s->code : close_code::no_status);
}

void ws_hub::tick() {
  impl& h = *impl_;
  h.look_at_clock();
  for (std::uint32_t i = 0; i < h.slots_; ++i) {
    slot& s = h.at(i);
    if (s.state == phase::open) {
      h.tick_open(s, h.number_of(i));
    } else if (s.state == phase::closing && h.is_past(s.closing_since, h.options_.close_timeout)) {
      h.end(s, h.number_of(i), s.code);
    }
  }
}

void ws_hub::flush() {
  impl_->look_at_clock();
  impl_->flush_some(impl_->touched_.size());
}

std::size_t ws_hub::size() const { return impl_->size_; }
std::size_t ws_hub::outbound_bytes_total() const { return impl_->out_total_; }
const hub_counters& ws_hub::counters() const { return impl_->counters_; }

}  // namespace parley::net
