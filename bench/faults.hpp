#pragma once
/// What a node did wrong while it was loaded: counted by kind, the first few told in words.
/// Bound: `texts_max` texts and as many counters as kinds, however wrong it goes.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace parley::bench {

enum class fault : std::uint8_t {
  hole,           // a seq was left out
  repeat,         // a (room, seq) came twice on one connection
  out_of_order,   // a seq came after a later one
  two_histories,  // two readers, or an answer and a reader, disagree about a (room, seq)
  foreign_room,   // an entry of a room that the reader is not in
  wrong_message,  // content or sender are not what was sent
  stored_twice,   // one send took two seqs, or a refused or unsent one took one
  missing,        // accepted, but a member did not get it within the deadline
  unanswered,     // a send without any reply
  wrong_answer,   // a reply that no open send waits for, or that does not fit it
  refused,        // an error other than «too much», for a load that is within the rules
  gap,            // a stated gap, in a load that should cause none
  sync,           // positions or outcomes of the sync that starts a connection
  protocol,       // not RFC 6455, not UTF-8, not JSON
  connection,     // closed by the node, or not opened in time
  node,           // the process we started ended badly
  no_load,        // the run shows nothing: not one message was accepted
  uninvited,      // presence or typing where the contract shows none
};
inline constexpr std::size_t fault_kinds = static_cast<std::size_t>(fault::uninvited) + 1;

[[nodiscard]] std::string_view name_of(fault kind);

class fault_log {
 public:
  static constexpr std::size_t texts_max = 20;

  void add(fault kind, std::string text);
  /// Counts without words, for what comes in masses.
  void count(fault kind, std::uint64_t times) { counts_[static_cast<std::size_t>(kind)] += times; }
  void add(const fault_log& other);

  [[nodiscard]] std::uint64_t count_of(fault kind) const {
    return counts_[static_cast<std::size_t>(kind)];
  }
  [[nodiscard]] std::uint64_t total() const;
  [[nodiscard]] bool is_empty() const { return total() == 0; }
  [[nodiscard]] const std::vector<std::string>& texts() const { return texts_; }

 private:
  std::array<std::uint64_t, fault_kinds> counts_{};
  std::vector<std::string> texts_;  // each with its kind in front
};

}  // namespace parley::bench
