#pragma once
/// Many WebSocket clients on one epoll set: opens them, reads what came, cuts frames, answers pings, and sends all that a
/// turn has put on a connection with one send(). Knows RFC 6455, nothing of chat.
///
/// Owner   one thread. All calls from it, also from inside the events.
/// Memory  a connection costs ~200 bytes; the read buffer is shared, only an incomplete frame gets its own.
///
///   idle ──connect()──> connecting ──socket writable──> upgrading ──101──> open ──close()/peer──> closing ──> idle
///                            └──────────── refused ─────────┘                └────── peer gone ─────────────┘

#include "bench/client_codec.hpp"
#include "bench/socket_fd.hpp"
#include "bench/target_url.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace parley::bench {

/// What happens to a connection. `now_ns` is the time of the read that brought it.
class ws_events {
 public:
  virtual ~ws_events() = default;
  virtual void on_wake(std::int64_t now_ns) = 0;  // before anything else of a turn
  virtual void on_open(std::uint32_t client, std::int64_t now_ns) = 0;
  virtual void on_text(std::uint32_t client, std::string_view text, std::int64_t now_ns) = 0;
  /// An open connection has ended; `notice` says how: the peer's close frame, or 1006 and what happened.
  virtual void on_closed(std::uint32_t client, const close_notice& notice) = 0;
  /// The upgrade did not succeed: an HTTP status, or 0 and an error of the socket in `text`.
  virtual void on_refused(std::uint32_t client, const response_head& answer,
                          std::string_view text) = 0;
  /// The peer broke RFC 6455; the connection is closed afterwards.
  virtual void on_broken(std::uint32_t client, std::string_view why) = 0;
};

class ws_loop {
 public:
  ws_loop(target_url target, std::size_t clients, std::uint64_t seed, ws_events& events);

  /// Opens a connection: `path` and further header lines (each with \r\n) for the upgrade; `source`: which of the
  /// 127.0.0.x addresses to come from, if the target is loopback.
  /// `receive_buffer_bytes`: SO_RCVBUF, 0 for the kernel's own choice.
  void connect(std::uint32_t client, std::string_view path, std::string_view headers,
               unsigned source, int receive_buffer_bytes = 0);
  /// Leaves at the end of the turn.
  void send_text(std::uint32_t client, std::string_view text);
  /// Says goodbye; on_closed follows when the peer has answered, or in abandon().
  void close(std::uint32_t client, std::uint16_t code);
  /// Closes the socket at once and says nothing to anybody.
  void abandon(std::uint32_t client);
  /// As a process that is killed behind a broken network: no close frame, the peer gets a reset. No event follows.
  void reset(std::uint32_t client);
  /// Reads nothing any more, not even the connection's end, until resume_reading(): what comes piles up in the kernel.
  void pause_reading(std::uint32_t client);
  void resume_reading(std::uint32_t client);

  /// Waits until something happens or `until_ns`, handles all of it, sends what is due.
  void turn(std::int64_t until_ns);

  [[nodiscard]] bool is_open(std::uint32_t client) const {
    return clients_[client].phase == client_phase::open;
  }
  /// May be connected: nothing is open, nor on its way.
  [[nodiscard]] bool is_idle(std::uint32_t client) const {
    return clients_[client].phase == client_phase::idle;
  }
  [[nodiscard]] std::size_t opening() const { return opening_; }
  [[nodiscard]] std::size_t connected() const { return connected_; }
  /// Bytes that the kernel has not taken yet.
  [[nodiscard]] std::size_t unsent_bytes(std::uint32_t client) const {
    return clients_[client].out.size() - clients_[client].sent;
  }

 private:
  enum class client_phase : std::uint8_t { idle, connecting, upgrading, open, closing };
  struct client_state {
    socket_fd socket;
    client_phase phase = client_phase::idle;
    bool is_dirty = false;     // in dirty_
    bool awaits_room = false;  // epoll watches for EPOLLOUT
    bool is_in_message = false;
    bool is_paused = false;  // not in the epoll set
    std::size_t sent = 0;    // of out
    std::string out;
    std::string partial;  // of a frame, or of the upgrade's answer
    std::string message;  // of a fragmented message
    std::string accept;   // expected Sec-WebSocket-Accept
  };

  void watch(client_state& c, std::uint32_t index, bool for_writing, bool is_new);
  void on_event(std::uint32_t index, std::uint32_t epoll_events);
  void on_connected(std::uint32_t index);
  void read_from(std::uint32_t index);
  /// Handles the complete ones; gives how many bytes were used. Stops when the connection ends.
  std::size_t take_frames(std::uint32_t index, std::string_view bytes, std::int64_t now);
  std::size_t take_answer(std::uint32_t index, std::string_view bytes, std::int64_t now);
  void take_frame(std::uint32_t index, const server_frame& frame, std::int64_t now);
  void take_text(std::uint32_t index, std::string_view text, std::int64_t now);
  void mark_dirty(std::uint32_t index);
  void flush_dirty();
  void flush(std::uint32_t index);
  void refuse(std::uint32_t index, const response_head& answer, std::string_view text);
  void broken(std::uint32_t index, std::string_view why);
  void ended(std::uint32_t index, const close_notice& notice);
  void drop(client_state& c);
  std::uint32_t random32();

  target_url target_;
  ws_events& events_;
  socket_fd epoll_;
  std::vector<client_state> clients_;
  std::vector<std::uint32_t> dirty_;
  std::string buffer_;  // shared by all reads
  std::uint64_t random_;
  std::size_t opening_ = 0;
  std::size_t connected_ = 0;
};

}  // namespace parley::bench
