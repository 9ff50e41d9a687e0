#pragma once
/// The upgraded sockets of one I/O thread: bytes in → messages, frames out → one sendmsg a connection and loop turn.
/// They live in an epoll set of their own, whose one descriptor the io_context watches: an idle connection is its slot
/// (64 bytes) and nothing else; an Asio socket with its pending wait costs nine times that, and an epoll_ctl a read.
/// Owner      one I/O thread; not thread-safe.
/// Bound      a connection's outbound bytes: `outbound_max_bytes` for what callers check with outbound_space(); replies,
///            pongs and the close frame may exceed it by `control_reserve_bytes`, then the connection is closed.

#include "actors/tally.hpp"
#include "protocol/close_codes.hpp"
#include "protocol/seams.hpp"
#include "protocol/strong.hpp"
#include "protocol/wire_frame.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace parley::net {

/// A connection of one hub: slot and use count, so that a number is never taken for its successor's.
using connection_no = strong_int<struct connection_no_tag, std::uint64_t>;

struct hub_options {
  std::size_t max_message_bytes = 128 * 1024;
  std::size_t outbound_max_bytes = 256 * 1024;
  std::size_t control_reserve_bytes = 64 * 1024;
  std::chrono::milliseconds ping_interval{
      30000};  ///< first one jittered; dead after twice that of silence (4009)
  std::chrono::milliseconds stall_timeout{30000};  ///< bytes to send and none taken for so long: 4008
  /// Half a frame or message for so long: 1002. Whoever begins a frame and does not go on breaks the protocol; unlike
  /// 4008 and 4009 this must not invite the client to reconnect and do it again.
  std::chrono::milliseconds frame_timeout{10000};
  std::chrono::milliseconds close_timeout{2000};  ///< from our close frame to the hard close
  bool pings = true;  ///< false: no pings, and silence is no reason to close
  /// TCP_NOTSENT_LOWAT: what the kernel may hold beyond what is on its way, so that backpressure shows here and not as
  /// megabytes in the kernel. 0: the kernel's default (unlimited).
  std::size_t kernel_unsent_max_bytes = 128 * 1024;
};

/// What the hub tells its gateway, on the hub's thread: always from a turn of its own (a handler of the io_context), never
/// inside a call of the caller (not in close(), abort(), tick() or flush()). All of them may call every function of the
/// hub but flush(); none may destroy it.
class hub_events {
 public:
  hub_events() = default;
  hub_events(const hub_events&) = delete;
  hub_events& operator=(const hub_events&) = delete;
  virtual ~hub_events() = default;
  /// One text message; followed by client_frame_parser::padding_bytes readable bytes. None comes once close() or
  /// abort() was called, nor (before resume_reading) after pause_reading().
  virtual void on_text(connection_no c, std::string_view text) = 0;
  /// Any pong (RFC 6455), for notifications' acknowledgement.
  virtual void on_pong(connection_no c) = 0;
  /// The kernel took bytes and the connection, which was at or over half its bound, is below half of it again.
  virtual void on_drained(connection_no c) = 0;
  /// The last word about `c`: its number is not used again. `code`: why it ended, as we see it (the peer's code, ours,
  /// or no_status for a lost socket).
  virtual void on_gone(connection_no c, close_code code) = 0;
};

/// Any thread may read them.
struct hub_counters {
  actors::tally frames_in;
  actors::tally frames_out;
  actors::tally bytes_in;
  actors::tally bytes_out;
  actors::tally sends;  ///< sendmsg calls
  actors::tally protocol_errors;
  actors::tally heartbeat_lost;
  actors::tally stalled;
  actors::tally flushed_in_turn;  ///< connections written to at the end of turns
};

class ws_hub {
 public:
  ws_hub(boost::asio::io_context& io, const hub_options& options, const clock& now,
         random_source& random, hub_events& events);
  /// Closes all sockets; no callbacks.
  ~ws_hub();
  ws_hub(const ws_hub&) = delete;
  ws_hub& operator=(const ws_hub&) = delete;

  /// Takes over a socket whose 101 was written. `early`: bytes already read after the request. Reading starts in a later
  /// turn, so the caller may register the connection first.
  connection_no adopt(boost::asio::ip::tcp::socket socket, std::string early);

  /// Queues a frame; sent with all others of this turn. False: the connection is gone or closing, or it has not read for
  /// so long that its bound and control_reserve_bytes are used up: then it is closed (4008).
  bool send(connection_no c, const frame_ptr& frame);
  /// Bytes that a polite caller may still queue; 0 when gone, closing or at the bound.
  [[nodiscard]] std::size_t outbound_space(connection_no c) const;
  [[nodiscard]] std::size_t outbound_bytes(connection_no c) const;
  /// on_drained also comes once all that is queued now is sent. Only while something is queued.
  void tell_when_empty(connection_no c);
  /// Nothing more is read from it until resume_reading (backpressure); heartbeat and frame_timeout do not count against
  /// it meanwhile. What was read before and held back comes in a later turn after resume_reading.
  void pause_reading(connection_no c);
  void resume_reading(connection_no c);
  /// Sends what is queued, then the close frame, waits close_timeout for the peer's, then ends. `on_gone` follows. The
  /// first close counts; a paused connection is read again (and what it says is dropped) to see the peer's answer.
  void close(connection_no c, close_code code);
  /// Ends at once, without manners. `on_gone` follows.
  void abort(connection_no c);

  /// Heartbeats, stalls and frame deadlines: called once a second (or at the finer step tests choose).
  void tick();
  /// Writes what was queued, for all connections at once. The hub does it by itself at the end of a turn, in slices of
  /// a few hundred connections; tests and a final drain may call this.
  void flush();

  /// Connections adopted and not yet `on_gone`.
  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] std::size_t outbound_bytes_total() const;
  [[nodiscard]] const hub_counters& counters() const;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace parley::net
