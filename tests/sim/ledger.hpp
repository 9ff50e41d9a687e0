#pragma once
/// What was sent, what was answered, and what the log holds in the end (SPEC 2.4, 2.5; I4, I5).

#include "actors/messages.hpp"
#include "tests/sim/model_store.hpp"

#include <deque>
#include <string>
#include <vector>

namespace parley::sim {

/// One text that somebody wants in a room, as a message or in place of another's, or a message that somebody wants gone;
/// contents are unique, so the log tells what became of it.
struct sent_text {
  room_key room;
  user_id sender;
  bool by_backend = false;
  std::string content;
  std::string key;          ///< empty: none
  std::size_t open = 0;     ///< attempts without an answer yet
  std::size_t unknown = 0;  ///< attempts whose answer says, or whose silence means, «perhaps»
  std::size_t refused = 0;  ///< attempts answered with stored: "no"
  std::vector<accepted_info> accepted;
  store::keyed_call call = store::keyed_call::send;
  message_id target{};  ///< of an edit or a delete
};

class ledger {
 public:
  sent_text& write(sent_text text);
  [[nodiscard]] std::deque<sent_text>& texts() { return texts_; }
  void attempt(sent_text& text) { ++text.open; }
  /// nullptr: the deadline came first.
  void answered(sent_text& text, const actors::room_outcome* outcome);
  /// The node is gone; nobody answers what was open.
  void node_lost();
  /// Nothing is on its way: does the log say the same as the answers?
  void check(const snapshot& stored) const;

 private:
  std::deque<sent_text> texts_;
};

}  // namespace parley::sim
