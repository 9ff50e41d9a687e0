#pragma once
/// One online user: its connections and its cursors on their way. No CAF, no clock, no I/O.
/// Owner      one session_actor; not thread-safe.
/// Bound      connections ≤ the user's limit (the newest is refused with 1008); cursor moves under way ≤ cursors_max.

#include "actors/messages.hpp"

#include <cstdint>
#include <vector>

namespace parley::actors {

class session_ports {
 public:
  session_ports() = default;
  session_ports(const session_ports&) = delete;
  session_ports& operator=(const session_ports&) = delete;
  virtual ~session_ports() = default;
  virtual void to_gateway(gateway_no gateway, const attached& m) = 0;
  virtual void to_gateway(gateway_no gateway, cursors_stored_ptr m) = 0;
  virtual void to_gateway(gateway_no gateway, receipt_ptr m) = 0;
  virtual void to_storage(store_cursors_ptr m) = 0;
  virtual void to_directory(const session_idle& m) = 0;
};

class session {
 public:
  session(user_key user, instance_no instance, session_ports& ports);
  session(const session&) = delete;
  session& operator=(const session&) = delete;

  void on(const attach& m);
  void on(const detach& m);
  void on(const move_cursors_ptr& m);
  void on(const cursors_stored_ptr& m);

  [[nodiscard]] const user_key& user() const { return user_; }
  [[nodiscard]] std::size_t connections() const { return connections_.size(); }

  static constexpr std::size_t cursors_max = 256;  ///< frames of moves under way; beyond: UNAVAILABLE

 private:
  struct attached_connection {
    gateway_no gateway;
    connection_ref connection;
    bool operator==(const attached_connection&) const = default;
  };
  void maybe_idle();

  const user_key user_;
  const instance_no instance_;
  session_ports& ports_;
  std::vector<attached_connection> connections_;
  std::uint64_t seen_ = 0;  ///< attaches and cursors; the directory counts what it sends
  std::size_t cursors_under_way_ = 0;
};

}  // namespace parley::actors
