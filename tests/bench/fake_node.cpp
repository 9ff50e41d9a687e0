#include "tests/bench/fake_node.hpp"

#include "bench/client_codec.hpp"
#include "bench/frame_fields.hpp"
#include "bench/socket_fd.hpp"
#include "bench/steady_time.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nlohmann/json.hpp>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

namespace parley::bench {
namespace {

using nlohmann::json;

void append_server_frame(std::string& out, unsigned first_byte, std::string_view payload,
                         bool is_masked = false) {
  out += static_cast<char>(first_byte);
  const char mask_bit = is_masked ? '\x80' : '\0';
  if (payload.size() < 126) {
    out += static_cast<char>(static_cast<char>(payload.size()) | mask_bit);
  } else {
    out += static_cast<char>(126 | mask_bit);
    out += static_cast<char>(payload.size() >> 8);
    out += static_cast<char>(payload.size() & 0xff);
  }
  if (is_masked) out.append(4, '\0');
  out += payload;
}

constexpr unsigned text_frame = 0x81;

}  // namespace

class fake_node::server {
 public:
  explicit server(fake_node_options options) : options_{options} {
    listener_ = socket_fd{::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)};
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof any;
    if (bind(listener_.get(), reinterpret_cast<const sockaddr*>(&any), size) != 0 ||
        listen(listener_.get(), 1024) != 0 ||
        getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&any), &size) != 0) {
      throw std::runtime_error{"the fake node cannot listen"};
    }
    port_ = ntohs(any.sin_port);
    epoll_ = socket_fd{epoll_create1(0)};
    wake_ = socket_fd{eventfd(0, EFD_NONBLOCK)};
    watch(listener_.get(), EPOLLIN, EPOLL_CTL_ADD);
    watch(wake_.get(), EPOLLIN, EPOLL_CTL_ADD);
  }

  [[nodiscard]] std::uint16_t port() const { return port_; }

  void run() {
    std::array<epoll_event, 256> events{};
    while (!is_stopped_) {
      const bool has_timers =
          !late_.empty() || options_.stall_ns > 0 || options_.presence_max_members > 0;
      const int timeout = has_timers ? 1 : 1000;
      const int count = epoll_wait(epoll_.get(), events.data(), 256, timeout);
      for (int i = 0; i < count; ++i) {
        const auto& event = events[static_cast<std::size_t>(i)];
        if (event.data.fd == listener_.get()) {
          accept_all();
        } else if (connections_.contains(event.data.fd)) {
          if ((event.events & EPOLLOUT) != 0) dirty_.push_back(event.data.fd);
          if ((event.events & ~EPOLLOUT) != 0) read_from(event.data.fd);
        }
      }
      while (!late_.empty() && late_.front().at_ns <= now_ns()) {
        send_now(late_.front().sender, late_.front().frame);
        late_.pop_front();
      }
      if (options_.presence_max_members > 0) show_offline();
      if (options_.stall_ns > 0) close_stalled();
      flush();
    }
  }

  void stop() {
    is_stopped_ = true;
    const std::uint64_t one = 1;
    (void)!write(wake_.get(), &one, sizeof one);
  }

  std::atomic<std::uint64_t> messages{0};
  std::atomic<std::uint64_t> tenants_deleted{0};
  std::atomic<std::uint64_t> pongs{0};
  std::atomic<std::uint64_t> duplicates{0};
  std::atomic<std::uint64_t> returns{0};

 private:
  struct connection {
    socket_fd socket;
    std::string in;
    std::string out;
    std::string user;
    bool is_upgraded = false;
    bool waits = false;
    std::int64_t waits_since_ns = 0;
  };
  struct room {
    std::string id;
    std::vector<std::string> members;
    std::map<std::string, std::uint64_t> starts;
    std::vector<std::pair<std::uint64_t, std::string>> log;
    std::map<std::string, std::uint64_t> keys;  // client_msg_id → seq
    std::vector<int> live;
    std::uint64_t seq = 0;
    std::string held_back;  // for `swap`
  };
  struct late_send {
    std::int64_t at_ns;
    int sender;
    std::string frame;
  };

  void watch(int fd, unsigned events, int operation) {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    epoll_ctl(epoll_.get(), operation, fd, &event);
  }

  void accept_all() {
    for (;;) {
      const int fd = accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK);
      if (fd < 0) return;
      const int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      const int small = 8192;
      if (options_.stall_ns > 0) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
      connections_[fd].socket = socket_fd{fd};
      watch(fd, EPOLLIN, EPOLL_CTL_ADD);
    }
  }

  void drop(int fd) {
    const connection& c = connections_[fd];
    if (c.is_upgraded && options_.presence_max_members > 0) {
      const bool is_flapping = options_.flaw == defect::flap;
      offline_at_[c.user] = now_ns() + (is_flapping ? 0 : options_.presence_grace_ns);
    }
    for (auto& [id, r] : rooms_) std::erase(r.live, fd);
    connections_.erase(fd);
  }

  void read_from(int fd) {
    static thread_local std::string block(256 * 1024, '\0');
    const ssize_t got = recv(fd, block.data(), block.size(), 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return drop(fd);
    connection& c = connections_[fd];
    c.in.append(block.data(), static_cast<std::size_t>(got));
    dirty_.push_back(fd);
    bool goes_on = true;
    while (goes_on && connections_.contains(fd)) {
      goes_on = c.is_upgraded ? take_frame(fd, c) : take_request(fd, c);
    }
  }

  void flush() {
    for (std::size_t i = 0; i < dirty_.size(); ++i) {
      const auto found = connections_.find(dirty_[i]);
      if (found == connections_.end()) continue;
      connection& c = found->second;
      if (c.out.empty()) continue;
      const ssize_t put = send(found->first, c.out.data(), c.out.size(), MSG_NOSIGNAL);
      if (put > 0) c.out.erase(0, static_cast<std::size_t>(put));
      if (put > 0 || !c.waits) c.waits_since_ns = now_ns();
      const bool waits = !c.out.empty();
      if (waits != c.waits) {
        c.waits = waits;
        watch(found->first, waits ? EPOLLIN | EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
      }
    }
    dirty_.clear();
  }

  void close_stalled() {
    std::vector<int> stalled;
    for (auto& [fd, c] : connections_) {
      if (c.waits && now_ns() - c.waits_since_ns > options_.stall_ns) stalled.push_back(fd);
    }
    for (const int fd : stalled) drop(fd);  // a close frame would find no room
  }

  void drain() {
    std::vector<int> all;
    for (auto& [fd, c] : connections_) {
      if (c.is_upgraded) all.push_back(fd);
    }
    bool is_wrong = options_.flaw == defect::wrong_drain_code;
    for (const int fd : all) {
      connection& c = connections_[fd];
      text(c, R"({"type":"server.shutdown","reconnect_after_ms":)" + std::to_string(50 + fd % 50) +
                  "}");
      append_server_frame(
          c.out, 0x88, std::string_view{std::exchange(is_wrong, false) ? "\x03\xf3" : "\x03\xf4", 2});
      dirty_.push_back(fd);
    }
    flush();
    for (const int fd : all) drop(fd);
    ++drains_;
  }

  // Presence and typing, as SPEC 5 says.

  [[nodiscard]] bool is_shown_in(const room& r) const {
    return r.starts.size() <= options_.presence_max_members ||
           options_.flaw == defect::show_in_big_rooms;
  }

  void show(int fd, const std::string& frame) {
    text(connections_[fd], frame);
    dirty_.push_back(fd);
  }

  void show_presence(const std::string& user, const std::string& status) {
    std::set<int> readers;
    for (const auto& [id, r] : rooms_) {
      if (r.starts.contains(user) && is_shown_in(r)) readers.insert(r.live.begin(), r.live.end());
    }
    for (const int fd : readers) {
      if (connections_[fd].user == user) continue;
      show(fd,
           R"({"type":"presence.update","user_id":")" + user + R"(","status":")" + status + "\"}");
    }
  }

  void show_offline() {
    for (auto at = offline_at_.begin(); at != offline_at_.end();) {
      if (at->second > now_ns()) {
        ++at;
        continue;
      }
      show_presence(at->first, "offline");
      gone_.insert(at->first);
      at = offline_at_.erase(at);
    }
  }

  void show_return(const std::string& user) {
    offline_at_.erase(user);
    if (gone_.erase(user) != 0) show_presence(user, "online");
  }

  /// presence.set, typing.start, typing.stop. False: none of these.
  bool take_ephemeral(int fd, connection& c, const frame_fields& f) {
    if (f.type != "presence.set" && f.type != "typing.start" && f.type != "typing.stop")
      return false;
    if (options_.presence_max_members == 0) {
      text(c,
           R"({"type":"error","request_id":"x","field":"type","code":"VALIDATION_ERROR","message":"?"})");
      return true;
    }
    if (f.type == "presence.set") {
      show_presence(c.user, std::string{f.status});
    } else {
      const room& r = rooms_.at(std::string{f.room_id});
      const std::string frame = R"({"type":"typing","room_id":")" + r.id + R"(","user_id":")" +
                                c.user + R"(","action":")" + std::string{f.type.substr(7)} + "\"}";
      std::vector<int> readers = r.live;
      if (!is_shown_in(r)) readers.clear();
      if (options_.flaw == defect::show_strangers) {
        for (const auto& [other, about] : connections_) {
          if (about.is_upgraded && !r.starts.contains(about.user)) readers = {other};
        }
      }
      for (const int reader : readers) {
        if (reader != fd) show(reader, frame);
      }
    }
    text(c, R"({"type":"ok","request_id":"x"})");
    return true;
  }

  // REST.

  bool take_request(int fd, connection& c) {
    const auto end = c.in.find("\r\n\r\n");
    if (end == std::string::npos) return false;
    const std::string head = c.in.substr(0, end + 2);
    std::size_t length = 0;
    if (const auto header = value_of(head, "Content-Length")) length = std::stoul(*header);
    if (c.in.size() < end + 4 + length) return false;
    const std::string body = c.in.substr(end + 4, length);
    c.in.erase(0, end + 4 + length);
    const auto space = head.find(' ');
    const std::string method = head.substr(0, space);
    const std::string path = head.substr(space + 1, head.find(' ', space + 1) - space - 1);
    if (path == "/drain") {
      c.out += http(200, {{"success", true}});
      drain();
    } else if (path.starts_with("/ws?")) {
      upgrade(fd, c, head, path.ends_with("sync=manual"));
    } else {
      c.out += answer(method, path, head, body);
    }
    return true;
  }

  static std::optional<std::string> value_of(const std::string& head, const std::string& name) {
    const auto at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) return std::nullopt;
    const auto from = at + name.size() + 4;
    return head.substr(from, head.find("\r\n", from) - from);
  }

  static std::string http(int status, const json& body, const std::string& headers = "") {
    const std::string text = body.dump();
    return "HTTP/1.1 " + std::to_string(status) +
           " X\r\nContent-Type: application/json\r\ncontent-LENGTH: " + std::to_string(text.size()) +
           "\r\n" + headers + "\r\n" + text;
  }

  std::string answer(const std::string& method, const std::string& path, const std::string& head,
                     const std::string& body) {
    const bool is_admin = path.starts_with("/v1/admin/");
    const auto key = value_of(head, is_admin ? "X-Master-Key" : "X-API-Key");
    const bool is_known = is_admin && options_.takes_any_master_key
                              ? key.has_value()
                              : key == (is_admin ? fake_node::master_key : "sk_fake");
    if (!is_known) {
      return http(401, {{"success", false}});
    }
    if (method == "DELETE") {
      ++tenants_deleted;
      return http(202, {{"job_id", "1"}});
    }
    if (is_admin) return http(201, {{"tenant_id", "t1"}, {"api_key", "sk_fake"}});
    if (options_.flaw == defect::busy_upgrade && ++requests_ % 5 == 1) {
      return http(429, {{"success", false}}, "Retry-After: 0\r\n");
    }
    const json request = json::parse(body);
    if (path == "/v1/rooms") {
      const std::string id =
          "00000000-0000-7000-8000-" + std::to_string(100000000000 + rooms_.size());
      room& r = rooms_[id];
      r.id = id;
      for (const std::string user : request["members"]) r.starts[user] = 0;
      return http(201, {{"room_id", id}, {"created", true}});
    }
    room& r = rooms_.at(path.substr(10, 36));
    const json& users = request["user_ids"];
    for (std::size_t from = 0; from < users.size(); from += 100) {
      const std::uint64_t seq = ++r.seq;
      r.log.emplace_back(seq, R"({"type":"member.joined","room_id":")" + r.id + R"(","seq":)" +
                                  std::to_string(seq) + R"(,"actor_id":null,"user_ids":["…"]})");
      for (std::size_t i = from; i < std::min(users.size(), from + 100); ++i) {
        r.starts[users[i]] = seq;
      }
    }
    return http(200, {{"members", json::array()}});
  }

  // WebSocket.

  void upgrade(int fd, connection& c, const std::string& head, bool is_manual) {
    ++upgrades_;
    if (options_.flaw == defect::busy_upgrade && upgrades_ <= 3) {
      c.out += http(503, {{"success", false}}, "Retry-After: 1\r\n");
      return;
    }
    if (options_.flaw == defect::refuse_upgrade && upgrades_ == 3) {
      c.out += http(403, {{"success", false}});
      return;
    }
    c.user = value_of(head, "X-User-Id").value_or("");
    c.is_upgraded = true;
    c.out +=
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: " +
        accept_of(value_of(head, "Sec-WebSocket-Key").value_or("")) + "\r\n\r\n";
    const char* const epoch = options_.flaw == defect::new_epoch && drains_ > 0 ? "e2" : "e1";
    text(c, R"({"type":"hello","protocol":"parley.v1","server_version":"fake","epoch":")" +
                std::string{epoch} + R"(","limits":{"max_frame":131072,"frames_per_s":)" +
                std::to_string(options_.frames_per_s) + "}}");
    if (!users_.insert(c.user).second) ++returns;
    if (!is_manual) sync(fd, c, {});
    show_return(c.user);
  }

  void sync(int fd, connection& c, const std::map<std::string, std::uint64_t>& positions) {
    std::vector<room*> own;
    std::string starts;
    for (auto& [id, r] : rooms_) {
      const auto found = r.starts.find(c.user);
      if (found == r.starts.end()) continue;
      own.push_back(&r);
      starts += (starts.empty() ? "\"" : ",\"") + id + "\":" + std::to_string(found->second);
    }
    if (positions.empty()) text(c, R"({"type":"sync.start","rooms":{)" + starts + "}}");
    for (room* const r : own) {
      const std::uint64_t after = positions.empty() ? r->starts[c.user] : positions.at(r->id);
      std::vector<std::pair<std::uint64_t, std::string>> missed;
      for (const auto& each : r->log) {
        if (each.first > after) missed.push_back(each);
      }
      const bool is_wrong = options_.flaw == defect::wrong_recovery && upgrades_ == 3;
      std::string outcome = R"("recovered","seq":)" + std::to_string(r->seq + (is_wrong ? 1 : 0));
      const std::string complete =
          R"({"type":"sync.complete","room_id":")" + r->id + R"(","outcome":)";
      if (after > 0 && missed.size() >= 2 && !has_resumed_badly_) spoil(*r, missed, outcome);
      if (outcome.starts_with("\"gap")) text(c, complete + outcome + "}");
      for (const auto& [seq, frame] : missed) text(c, frame);
      if (!outcome.starts_with("\"gap")) text(c, complete + outcome + "}");
      r->live.push_back(fd);
    }
    if (options_.flaw == defect::no_sync_done && upgrades_ == 3) return;
    text(c, R"({"type":"sync.done","rooms":)" + std::to_string(own.size()) + "}");
  }

  /// What a user missed, and what it is told of that.
  void spoil(const room& r, std::vector<std::pair<std::uint64_t, std::string>>& missed,
             std::string& outcome) {
    has_resumed_badly_ = true;
    const std::string first = std::to_string(missed[0].first);
    switch (options_.flaw) {
      case defect::resume_drop:
        missed.erase(missed.begin());
        break;
      case defect::resume_short:
        missed.pop_back();
        break;
      case defect::resume_repeat:
        missed.insert(missed.begin(), r.log[static_cast<std::size_t>(missed[0].first - 2)]);
        break;
      case defect::resume_swap:
        std::swap(missed[0], missed[1]);
        break;
      case defect::resume_other: {
        auto& frame = missed[0].second;
        frame.replace(frame.find("\"message_id\":\"m-"), 16, "\"message_id\":\"x-");
        break;
      }
      case defect::resume_gap:
        outcome = R"("gap","seq":)" + std::to_string(r.seq) + R"(,"from_seq":)" + first +
                  R"(,"to_seq":)" + first;
        missed.erase(missed.begin());
        break;
      case defect::resume_reset:
        outcome = R"("reset","seq":)" + std::to_string(r.seq);
        break;
      default:
        break;
    }
  }

  void text(connection& c, std::string_view payload) {
    if (options_.flaw == defect::fragment && payload.size() > 10) {
      append_server_frame(c.out, 0x01, payload.substr(0, 5));
      append_server_frame(c.out, 0x89, "ping");
      append_server_frame(c.out, 0x00, payload.substr(5, 3));
      append_server_frame(c.out, 0x80, payload.substr(8));
    } else {
      append_server_frame(c.out, text_frame, payload);
    }
  }

  bool take_frame(int fd, connection& c) {
    if (c.in.size() < 6) return false;
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(c.in[i]); };
    std::size_t length = byte(1) & 0x7f;
    std::size_t at = 2;
    if (length == 126) {
      length = std::size_t{byte(2)} << 8 | byte(3);
      at = 4;
    } else if (length == 127) {
      length = std::size_t{byte(6)} << 24 | std::size_t{byte(7)} << 16 | std::size_t{byte(8)} << 8 |
               byte(9);
      at = 10;
    }
    if (c.in.size() < at + 4 + length) return false;
    std::string payload = c.in.substr(at + 4, length);
    for (std::size_t i = 0; i < length; ++i) {
      payload[i] = static_cast<char>(payload[i] ^ c.in[at + i % 4]);
    }
    const unsigned op = byte(0) & 0x0f;
    c.in.erase(0, at + 4 + length);
    if (op == 8) {
      append_server_frame(c.out, 0x88, payload);
      flush();
      drop(fd);
      return false;
    }
    if (op == 10) ++pongs;
    if (op == 1) take_text(fd, c, payload);
    return connections_.contains(fd);
  }

  void take_text(int fd, connection& c, const std::string& payload) {
    if (payload.starts_with(R"({"type":"sync")")) {
      std::map<std::string, std::uint64_t> positions;
      const json request = json::parse(payload);
      for (const auto& [id, after] : request["rooms"].items()) positions[id] = after;
      sync(fd, c, positions);
    } else if (payload.starts_with(R"({"type":"ack")")) {
      const json request = json::parse(payload);
      for (const auto& [id, seq] : request["rooms"].items()) {
        std::uint64_t& cursor = rooms_.at(id).starts[c.user];
        cursor = std::max<std::uint64_t>(cursor, seq);
        text(c, R"({"type":"ack.received","room_id":")" + id + R"(","seq":)" +
                    std::to_string(cursor) + R"(,"user_id":")" + c.user + "\"}");
      }
    } else if (options_.flaw == defect::slow_down) {
      late_.push_back({now_ns() + 30 * ns_per_ms, fd, payload});
    } else {
      send_now(fd, payload);
    }
  }

  [[nodiscard]] bool is_flawed(defect flaw) const {
    return options_.flaw == flaw && messages == options_.at_message;
  }

  void error(connection& c, const frame_fields& f, const std::string& rest) {
    text(c,
         R"({"type":"error","client_msg_id":")" + std::string{f.client_msg_id} + "\"," + rest + "}");
  }

  void send_now(int fd, const std::string& payload) {
    const auto sender = connections_.find(fd);
    if (sender == connections_.end()) return;
    connection& c = sender->second;
    frame_fields f;
    if (read_fields(payload, f) && take_ephemeral(fd, c, f)) return;
    if (!read_fields(payload, f) || !rooms_.contains(std::string{f.room_id})) {
      error(c, f, R"("code":"NOT_FOUND","message":"no such room","stored":"no")");
      return;
    }
    room& r = rooms_.at(std::string{f.room_id});
    const auto known = r.keys.find(std::string{f.client_msg_id});
    if (known != r.keys.end() && options_.flaw != defect::forget_keys) {
      ++duplicates;
      accept_again(c, r, f, known->second);
      return;
    }
    ++messages;
    if (options_.flaw == defect::overload && messages % 3 == 0) {
      error(c, f, R"("code":"RATE_LIMIT_EXCEEDED","retry_after_ms":5,"stored":"no")");
      return;
    }
    if (is_flawed(defect::refuse)) {
      error(c, f, R"("code":"VALIDATION_ERROR","message":"no","stored":"no")");
      return;
    }
    if (is_flawed(defect::disconnect)) {
      append_server_frame(c.out, 0x88,
                          std::string_view{"\x03\xf3"
                                           "INTERNAL_ERROR",
                                           16});
      flush();
      drop(fd);
      return;
    }
    const std::uint64_t times = is_flawed(defect::store_twice) ? 2 : 1;
    for (std::uint64_t i = 0; i < times; ++i) {
      if (is_flawed(defect::lose_accepted)) break;
      publish(r, ++r.seq, c.user, f);
    }
    if (is_flawed(defect::refuse_but_store)) {
      error(c, f, R"("code":"UNAVAILABLE","retry_after_ms":5,"stored":"no")");
    } else if (is_flawed(defect::doubt)) {
      error(c, f, R"("code":"UNAVAILABLE","retry_after_ms":5,"stored":"unknown")");
    } else if (!is_flawed(defect::answer_not) && !is_flawed(defect::forget_keys)) {
      accept(c, r, f);
      if (is_flawed(defect::answer_twice)) accept(c, r, f);
    }
  }

  void accept_again(connection& c, const room& r, const frame_fields& f, std::uint64_t seq) {
    const std::string& stored = r.log[seq - 1].second;
    const auto at = stored.find("\"message_id\":\"") + 14;
    text(c, R"({"type":"message.accepted","client_msg_id":")" + std::string{f.client_msg_id} +
                R"(","room_id":")" + r.id + R"(","message_id":")" +
                stored.substr(at, stored.find('"', at) - at) + R"(","seq":)" + std::to_string(seq) +
                R"(,"created_at":"2026-01-01T00:00:00.000Z","duplicate":true})");
  }

  void accept(connection& c, const room& r, const frame_fields& f) {
    const std::uint64_t seq =
        r.seq + (is_flawed(defect::answer_wrong_seq) || is_flawed(defect::lose_accepted) ? 1 : 0);
    text(c, R"({"type":"message.accepted","client_msg_id":")" + std::string{f.client_msg_id} +
                R"(","room_id":")" + r.id + R"(","message_id":")" + message_id() + R"(","seq":)" +
                std::to_string(seq) + R"(,"created_at":"2026-01-01T00:00:00.000Z")" +
                (is_flawed(defect::answer_duplicate) ? R"(,"duplicate":true})" : "}"));
  }

  [[nodiscard]] std::string message_id(std::uint64_t more = 0) const {
    return "m-" + std::to_string(messages + more);
  }

  [[nodiscard]] std::string entry(const room& r, std::uint64_t seq, const std::string& sender,
                                  const frame_fields& f, std::uint64_t more = 0) const {
    std::string out = R"({"type":"message","room_id":")";
    out.append(r.id).append(R"(","seq":)").append(std::to_string(seq));
    out.append(R"(,"actor_id":")").append(sender).append(R"(","created_at":)");
    out.append(R"("2026-01-01T00:00:00.000Z","message_id":")").append(message_id(more));
    out.append(R"(","sender_id":")").append(sender).append(R"(","content":")");
    out.append(is_flawed(defect::garble) ? "something else" : f.content);
    out.append(R"(","meta":{"a":["}"]},"client_msg_id":")").append(f.client_msg_id);
    return out.append("\"}");
  }

  void publish(room& r, std::uint64_t seq, const std::string& sender, const frame_fields& f) {
    std::string frame = entry(r, seq, sender, f);
    r.log.emplace_back(seq, frame);
    r.keys[std::string{f.client_msg_id}] = seq;
    const int victim = r.live.empty() ? -1 : r.live.back();
    for (const int fd : r.live) {
      connection& c = connections_[fd];
      dirty_.push_back(fd);
      if (fd == victim && options_.flaw != defect::none) {
        publish_to_victim(c, r, frame, entry(r, seq, sender, f, 1));
      } else {
        text(c, frame);
      }
    }
    if (!is_flawed(defect::leak)) return;
    for (auto& [fd, c] : connections_) {
      if (!c.is_upgraded || std::ranges::find(r.live, fd) != r.live.end()) continue;
      text(c, frame);
      dirty_.push_back(fd);
      return;
    }
  }

  void publish_to_victim(connection& c, room& r, const std::string& frame, const std::string& other) {
    if (options_.flaw == defect::drop_rest && messages >= options_.at_message) return;
    if (is_flawed(defect::drop)) return;
    if (is_flawed(defect::swap) && r.held_back.empty()) {
      r.held_back = frame;
      return;
    }
    if (is_flawed(defect::mask)) return append_server_frame(c.out, text_frame, frame, true);
    if (is_flawed(defect::bad_utf8)) return text(c, "{\"type\":\"\xff\"}");
    if (is_flawed(defect::not_json)) return text(c, R"({"type":"message")");
    text(c, is_flawed(defect::differ) ? other : frame);
    if (is_flawed(defect::repeat)) text(c, frame);
    if (!r.held_back.empty()) text(c, std::exchange(r.held_back, {}));
  }

  fake_node_options options_;
  socket_fd listener_;
  socket_fd epoll_;
  socket_fd wake_;
  std::uint16_t port_ = 0;
  std::atomic<bool> is_stopped_{false};
  std::map<int, connection> connections_;
  std::map<std::string, room> rooms_;
  std::vector<int> dirty_;
  std::deque<late_send> late_;
  std::uint64_t upgrades_ = 0;
  std::uint64_t requests_ = 0;
  std::uint64_t drains_ = 0;
  bool has_resumed_badly_ = false;
  std::set<std::string> users_;
  std::map<std::string, std::int64_t> offline_at_;
  std::set<std::string> gone_;
};

fake_node::fake_node(fake_node_options options)
    : server_{std::make_unique<server>(options)},
      port_{server_->port()} {
  thread_ = std::jthread{[this] { server_->run(); }};
}

fake_node::~fake_node() {
  server_->stop();
  thread_.join();
}

std::uint64_t fake_node::messages() const { return server_->messages; }
std::uint64_t fake_node::tenants_deleted() const { return server_->tenants_deleted; }
std::uint64_t fake_node::pongs() const { return server_->pongs; }
std::uint64_t fake_node::duplicates() const { return server_->duplicates; }
std::uint64_t fake_node::returns() const { return server_->returns; }

}  // namespace parley::bench
