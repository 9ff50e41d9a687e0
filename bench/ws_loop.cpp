#include "bench/ws_loop.hpp"

#include "bench/steady_time.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <simdjson.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

namespace parley::bench {
namespace {

// Big reads: a turn of a busy connection brings hundreds of frames in one system call.
constexpr std::size_t buffer_bytes = std::size_t{256} * 1024;
constexpr std::size_t answer_max_bytes = std::size_t{64} * 1024;
constexpr std::size_t events_max = 256;

[[noreturn]] void fail(const char* what) {
  throw std::system_error{errno, std::generic_category(), what};
}

std::string text_of_errno(int error) { return std::generic_category().message(error); }

}  // namespace

ws_loop::ws_loop(target_url target, std::size_t clients, std::uint64_t seed, ws_events& events)
    : target_{std::move(target)},
      events_{events},
      epoll_{epoll_create1(EPOLL_CLOEXEC)},
      clients_(clients),
      buffer_(buffer_bytes, '\0'),
      random_{seed * 2 + 1} {
  if (!epoll_.is_open()) fail("epoll_create1");
}

std::uint32_t ws_loop::random32() {
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  return static_cast<std::uint32_t>(random_ >> 16);
}

void ws_loop::connect(std::uint32_t index, std::string_view path, std::string_view headers,
                      unsigned source, int receive_buffer_bytes) {
  client_state& c = clients_[index];
  c.socket = socket_fd{::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  if (!c.socket.is_open()) fail("socket");
  const int on = 1;
  setsockopt(c.socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (receive_buffer_bytes > 0) {
    setsockopt(c.socket.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes,
               sizeof receive_buffer_bytes);
  }
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(target_.port);
  inet_pton(AF_INET, target_.address.c_str(), &to.sin_addr);
  if (target_.is_loopback) {
    // Without the option, bind() would take a port for itself that no other destination could share; with it the kernel
    // chooses at connect(), and each source address has the whole range of ports.
    setsockopt(c.socket.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    sockaddr_in from{};
    from.sin_family = AF_INET;
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + source);
    if (bind(c.socket.get(), reinterpret_cast<const sockaddr*>(&from), sizeof from) != 0) {
      fail("bind");
    }
  }
  const std::uint64_t high = std::uint64_t{random32()} << 32 | random32();
  const std::uint64_t low = std::uint64_t{random32()} << 32 | random32();
  const std::string key = handshake_key(high, low);
  c.accept = accept_of(key);
  c.out = "GET " + std::string{path} + " HTTP/1.1\r\nHost: " + target_.authority() +
          "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
          "Sec-WebSocket-Key: " +
          key + "\r\n" + std::string{headers} + "\r\n";
  c.sent = 0;
  c.phase = client_phase::connecting;
  ++opening_;
  if (::connect(c.socket.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 &&
      errno != EINPROGRESS) {
    refuse(index, {}, text_of_errno(errno));
    return;
  }
  watch(c, index, true, true);
}

void ws_loop::watch(client_state& c, std::uint32_t index, bool for_writing, bool is_new) {
  epoll_event event{};
  event.events = for_writing ? EPOLLIN | EPOLLOUT : EPOLLIN;
  event.data.u32 = index;
  c.awaits_room = for_writing;
  if (c.is_paused) return;
  if (epoll_ctl(epoll_.get(), is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, c.socket.get(), &event) != 0) {
    fail("epoll_ctl");
  }
}

void ws_loop::send_text(std::uint32_t index, std::string_view text) {
  client_state& c = clients_[index];
  if (c.phase != client_phase::open) return;
  append_frame(c.out, opcode::text, text, random32());
  mark_dirty(index);
}

void ws_loop::close(std::uint32_t index, std::uint16_t code) {
  client_state& c = clients_[index];
  if (c.phase != client_phase::open) return;
  append_close(c.out, code, random32());
  c.phase = client_phase::closing;
  mark_dirty(index);
}

void ws_loop::abandon(std::uint32_t index) { drop(clients_[index]); }

void ws_loop::reset(std::uint32_t index) {
  client_state& c = clients_[index];
  if (c.phase == client_phase::idle) return;
  const linger at_once{1, 0};
  setsockopt(c.socket.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  drop(c);
}

void ws_loop::pause_reading(std::uint32_t index) {
  client_state& c = clients_[index];
  if (c.phase != client_phase::open || c.is_paused) return;
  // Out of the set: a hang-up would be told even without interest in it, again and again.
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, c.socket.get(), nullptr);
  c.is_paused = true;
}

void ws_loop::resume_reading(std::uint32_t index) {
  client_state& c = clients_[index];
  if (!c.is_paused) return;
  c.is_paused = false;
  watch(c, index, c.sent < c.out.size(), true);
}

void ws_loop::drop(client_state& c) {
  if (c.phase == client_phase::idle) return;
  if (c.phase == client_phase::open || c.phase == client_phase::closing) {
    --connected_;
  } else {
    --opening_;
  }
  const bool is_dirty = c.is_dirty;
  c = client_state{};  // closing the socket takes it out of the epoll set
  c.is_dirty = is_dirty;
}

void ws_loop::mark_dirty(std::uint32_t index) {
  if (clients_[index].is_dirty) return;
  clients_[index].is_dirty = true;
  dirty_.push_back(index);
}

void ws_loop::turn(std::int64_t until_ns) {
  std::array<epoll_event, events_max> events{};
  const std::int64_t wait = std::max<std::int64_t>(0, until_ns - now_ns());
  const timespec timeout{wait / ns_per_s, wait % ns_per_s};
  const int count =
      epoll_pwait2(epoll_.get(), events.data(), static_cast<int>(events.size()), &timeout, nullptr);
  if (count < 0 && errno != EINTR) fail("epoll_pwait2");
  events_.on_wake(now_ns());
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    on_event(event.data.u32, event.events);
  }
  flush_dirty();
}

void ws_loop::on_event(std::uint32_t index, std::uint32_t epoll_events) {
  client_state& c = clients_[index];
  if (c.phase == client_phase::idle) return;  // ended earlier in this turn
  if (c.phase == client_phase::connecting && (epoll_events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) {
    on_connected(index);
    if (c.phase == client_phase::idle) return;
  } else if ((epoll_events & EPOLLOUT) != 0) {
    mark_dirty(index);
  }
  if ((epoll_events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0) read_from(index);
}

void ws_loop::on_connected(std::uint32_t index) {
  client_state& c = clients_[index];
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(c.socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) {
    refuse(index, {}, text_of_errno(error));
    return;
  }
  c.phase = client_phase::upgrading;
  mark_dirty(index);
}

void ws_loop::read_from(std::uint32_t index) {
  client_state& c = clients_[index];
  const std::size_t kept = c.partial.size();
  if (buffer_.size() < kept + buffer_bytes / 2) buffer_.resize(kept + buffer_bytes);
  std::memcpy(buffer_.data(), c.partial.data(), kept);
  const ssize_t got = recv(c.socket.get(), buffer_.data() + kept, buffer_.size() - kept, 0);
  const std::int64_t now = now_ns();
  if (got <= 0) {
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    const std::string why = got == 0 ? "the peer closed the socket" : text_of_errno(errno);
    if (c.phase == client_phase::open || c.phase == client_phase::closing) {
      ended(index, {1006, why});
    } else {
      refuse(index, {}, why);
    }
    return;
  }
  const std::string_view bytes{buffer_.data(), kept + static_cast<std::size_t>(got)};
  std::size_t used = 0;
  if (c.phase == client_phase::upgrading) used = take_answer(index, bytes, now);
  if (c.phase == client_phase::open || c.phase == client_phase::closing) {
    used += take_frames(index, bytes.substr(used), now);
  }
  if (c.phase != client_phase::idle) c.partial.assign(bytes.substr(used));
  if (c.partial.empty() && c.partial.capacity() > 1024) c.partial = {};
}

std::size_t ws_loop::take_answer(std::uint32_t index, std::string_view bytes, std::int64_t now) {
  client_state& c = clients_[index];
  const auto head = read_response_head(bytes);
  if (!head) {
    if (bytes.size() > answer_max_bytes) refuse(index, {}, "an endless answer to the upgrade");
    return 0;
  }
  if (head->status != 101) {
    // A refusal's body is short; it comes with the head or is not worth waiting for.
    refuse(index, *head, bytes.substr(head->head_bytes));
    return 0;
  }
  if (head->header("sec-websocket-accept") != c.accept) {
    refuse(index, *head, "Sec-WebSocket-Accept does not fit the key");
    return 0;
  }
  c.phase = client_phase::open;
  c.accept = {};
  --opening_;
  ++connected_;
  events_.on_open(index, now);
  return head->head_bytes;
}

std::size_t ws_loop::take_frames(std::uint32_t index, std::string_view bytes, std::int64_t now) {
  const client_state& c = clients_[index];
  std::size_t used = 0;
  while (c.phase == client_phase::open || c.phase == client_phase::closing) {
    const cut_result result = cut_frame(bytes.substr(used));
    if (result.outcome == cut::more) break;
    if (result.outcome == cut::broken) {
      broken(index, result.why);
      break;
    }
    used += result.used;
    take_frame(index, result.frame, now);
  }
  return used;
}

void ws_loop::take_frame(std::uint32_t index, const server_frame& frame, std::int64_t now) {
  client_state& c = clients_[index];
  switch (frame.op) {
    case opcode::text:
    case opcode::continuation:
      if ((frame.op == opcode::continuation) != c.is_in_message) {
        broken(index, "fragments in the wrong order");
      } else if (frame.is_final && !c.is_in_message) {
        take_text(index, frame.payload, now);
      } else if (c.message.size() + frame.payload.size() > frame_max_bytes) {
        broken(index, "a message over 16 MiB");
      } else {
        c.message.append(frame.payload);
        c.is_in_message = !frame.is_final;
        if (frame.is_final) take_text(index, std::exchange(c.message, {}), now);
      }
      break;
    case opcode::binary:
      broken(index, "a binary frame");
      break;
    case opcode::ping:
      if (c.phase == client_phase::open) {
        append_frame(c.out, opcode::pong, frame.payload, random32());
        mark_dirty(index);
      }
      break;
    case opcode::pong:
      break;
    case opcode::close:
      if (c.phase == client_phase::open) {  // echo it, as far as the socket takes it at once
        append_close(c.out, read_close(frame.payload).code, random32());
        flush(index);
      }
      if (c.phase != client_phase::idle) ended(index, read_close(frame.payload));
      break;
  }
}

void ws_loop::take_text(std::uint32_t index, std::string_view text, std::int64_t now) {
  if (!simdjson::validate_utf8(text.data(), text.size())) {
    broken(index, "a text frame is not UTF-8");
    return;
  }
  events_.on_text(index, text, now);
}

void ws_loop::flush_dirty() {
  // A flush may end a connection, and its event may make another one dirty: then the list grows while we walk.
  for (std::size_t i = 0; i < dirty_.size(); ++i) {
    const std::uint32_t index = dirty_[i];
    clients_[index].is_dirty = false;
    flush(index);
  }
  dirty_.clear();
}

void ws_loop::flush(std::uint32_t index) {
  client_state& c = clients_[index];
  if (c.phase == client_phase::idle || c.phase == client_phase::connecting) return;
  while (c.sent < c.out.size()) {
    const ssize_t put =
        send(c.socket.get(), c.out.data() + c.sent, c.out.size() - c.sent, MSG_NOSIGNAL);
    if (put < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) break;
      // The peer is gone. What it said before, a close frame for one, may still be there to be read: the next event.
      c.out.clear();
      c.sent = 0;
      break;
    }
    c.sent += static_cast<std::size_t>(put);
  }
  const bool is_done = c.sent == c.out.size();
  if (is_done) {
    c.sent = 0;
    c.out.clear();
    if (c.out.capacity() > std::size_t{16} * 1024) c.out.shrink_to_fit();
  }
  if (is_done == c.awaits_room) watch(c, index, !is_done, false);
}

void ws_loop::refuse(std::uint32_t index, const response_head& answer, std::string_view text) {
  const std::string kept{text};
  drop(clients_[index]);
  events_.on_refused(index, answer, kept);
}

void ws_loop::broken(std::uint32_t index, std::string_view why) {
  events_.on_broken(index, why);
  ended(index, {1002, std::string{why}});
}

void ws_loop::ended(std::uint32_t index, const close_notice& notice) {
  drop(clients_[index]);
  events_.on_closed(index, notice);
}

}  // namespace parley::bench
