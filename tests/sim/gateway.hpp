#pragma once
/// One gateway of the simulated node: `subscriptions` as it is, and round it only what net/gateway does: attach, hello,
/// start; client frames to commands, answers to frames; bytes owed to each reader, bounded.

#include "net/ephemerals.hpp"
#include "net/subscriptions.hpp"
#include "tests/sim/seen_frame.hpp"
#include "tests/sim/witness.hpp"

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace parley::sim {

class node;

/// One WebSocket: the gateway's end writes, the client's end reads when it likes.
struct line {
  line(user_key of, bool automatic_sync, std::size_t bound, witness w)
      : user(std::move(of)),
        automatic(automatic_sync),
        max_bytes(bound),
        eyes(std::move(w)) {}

  const user_key user;
  const bool automatic;
  const std::size_t max_bytes;
  witness eyes;
  actors::connection_ref ref;
  std::size_t gateway = 0;
  bool open = true;
  bool greeted = false;
  close_code closed_with = close_code::none;
  struct unread_frame {
    seen_frame_ptr frame;
    std::size_t bytes;
  };
  std::deque<unread_frame> unread;
  std::size_t unread_bytes = 0;
};
using line_ptr = std::shared_ptr<line>;

/// What became of a call; nullptr: its deadline came first.
using call_done = std::function<void(const actors::room_outcome*)>;

class gateway final : public net::delivery_ports, private net::ephemeral_ports {
 public:
  gateway(node& of, actors::gateway_no no, const net::subscriptions_options& options);

  // The clients' side.
  void connect(const line_ptr& l, std::uint32_t max_connections, std::string device = {});
  void close(const line_ptr& l, close_code why);
  /// The client takes some frames off the wire.
  void read(const line_ptr& l, std::size_t frames,
            const std::function<void(const seen_frame&)>& take);
  void send_message(const line_ptr& l, const reply_refs& refs, actors::room_command command,
                    call_done done);
  void sync(const line_ptr& l, const reply_refs& refs, sync_frame frame);
  void subscribe(const line_ptr& l, const reply_refs& refs, const room_id& room);
  void unsubscribe(const line_ptr& l, const reply_refs& refs, const room_id& room);
  void move_cursors(const line_ptr& l, const reply_refs& refs, bool read,
                    std::vector<std::pair<room_id, room_seq>> rooms);
  void set_presence(const line_ptr& l, const reply_refs& refs, bool away);
  void type(const line_ptr& l, const reply_refs& refs, const room_id& room,
            actors::type_in_room::action what);
  /// REST.
  void call(actors::room_command command, call_done done);
  void create_room(store::new_room room, std::function<void(const actors::created*)> done);

  // The node's side.
  void on(const actors::attached& m);
  void on(const actors::replies_ptr& m);
  void on(const actors::publish_ptr& m);
  void on(const actors::created_ptr& m);
  void on(const actors::cursors_stored_ptr& m);
  void on(const actors::receipt_ptr& m);
  void on(const actors::cursors_shown_ptr& m) { ephemerals_.on(m); }
  void on(const actors::presence_shown_ptr& m) { ephemerals_.on(m); }
  void on(const actors::typing_shown_ptr& m) { ephemerals_.on(m); }
  void on(const actors::session_done_ptr& m);
  void on(const actors::close_connection& m);
  void on(const actors::session_lost& m);
  void on(actors::call_no call, const actors::read_result& answer);

  /// One turn of the loop: serves what is due. False: nothing was.
  bool run(std::size_t max_sends);
  void tick();
  /// Deadlines: what is still open is answered `unknown`; only what died with an actor may be.
  void expire_calls(const std::function<bool(const actors::room_command&)>& may_be_lost,
                    const std::function<bool(const user_key&)>& cursors_may_be_lost);

  [[nodiscard]] bool awake() const { return awake_; }
  [[nodiscard]] const net::subscriptions& readers() const { return subscriptions_; }
  [[nodiscard]] std::size_t connections() const { return lines_.size(); }
  [[nodiscard]] std::size_t open_calls() const {
    return calls_.size() + cursor_calls_.size() + session_calls_.size() + creations_.size();
  }
  void check() const;

 private:
  // delivery_ports
  void send(actors::connection_ref c, const frame_ptr& f) override;
  [[nodiscard]] std::size_t space(actors::connection_ref c) const override;
  [[nodiscard]] bool takes(actors::connection_ref c, std::size_t bytes) override;
  bool read(actors::call_no call, tenant_no tenant, actors::read_query q) override;
  void restart(actors::connection_ref c) override { restarting_.push_back(c); }
  void wake() override { awake_ = true; }
  // ephemeral_ports
  [[nodiscard]] bool keeps_up(actors::connection_ref c) const override;
  void send_ephemeral(actors::connection_ref c, const frame_ptr& f) override { send(c, f); }

  struct open_call {
    actors::room_command_ptr command;
    call_done done;
  };
  struct cursor_call {
    std::weak_ptr<line> asker;
    reply_refs refs;
    user_key user;
  };
  void dispatch(actors::room_command command, call_done done);
  void close_restarting();
  void reply_error(const line_ptr& l, const reply_refs& refs, const error& why);

  node& node_;
  const actors::gateway_no no_;
  net::subscriptions subscriptions_;
  net::ephemerals ephemerals_{subscriptions_, *this};
  std::unordered_map<actors::connection_ref, line_ptr> lines_;
  std::unordered_map<actors::call_no, open_call> calls_;
  std::unordered_map<actors::call_no, cursor_call> cursor_calls_;
  std::unordered_map<actors::call_no, cursor_call> session_calls_;
  std::unordered_map<actors::call_no, std::function<void(const actors::created*)>> creations_;
  frame_eyes eyes_;
  std::unordered_map<std::string, commit_no> told_;  ///< of which commit a publish said that it changed a message
  actors::connection_ref last_connection_{};
  actors::call_no last_call_{};
  std::vector<actors::connection_ref> restarting_;
  bool awake_ = false;
};

}  // namespace parley::sim
