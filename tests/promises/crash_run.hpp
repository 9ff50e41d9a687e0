#pragma once
/// Kills a node again and again while clients talk, and holds what it says afterwards against a history kept outside it:
/// what was accepted, what each receiver was shown, which keys were used.

#include "tests/promises/stage.hpp"

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace parley::tests {

struct crash_options {
  int cycles = 8;
  int io_threads = 1;
  std::uint64_t seed = 1;
  std::string planted{};  ///< PARLEY_BREAK
  bool stops_at_first_loss =
      false;  ///< end as soon as the checker has found something; for planted defects
  std::map<std::string, std::string> config{};
};

struct crash_report {
  int kills = 0;
  int kills_while_starting = 0;
  std::int64_t accepted = 0;    ///< results that clients were told, each message once
  std::int64_t retried = 0;     ///< sends that were repeated with their key after a kill
  std::int64_t duplicates = 0;  ///< of these, stored before the kill: answered with duplicate:true
  std::int64_t entries = 0;     ///< in all logs at the end
  std::int64_t changes = 0;     ///< sends, edits and deletes of the editor
  std::int64_t changes_repeated = 0;
  std::int64_t shown = 0;  ///< entries that receivers were shown, all together
  std::int64_t acks = 0;   ///< confirmed, a room at a time
  // What must be 0.
  std::int64_t lost = 0;  ///< accepted, and not in the log at that seq with that id and content
  std::int64_t doubled_seqs = 0;  ///< in a log
  std::int64_t gaps = 0;          ///< in a log
  std::int64_t stored_twice = 0;  ///< keys with more than one message
  std::int64_t unstored = 0;      ///< keys that were answered and have no message
  std::int64_t shown_wrong =
      0;  ///< shown twice, out of order, with a hole, or other than the log has it
  std::int64_t cursors_lost = 0;  ///< confirmed acks that the node does not know any more
  std::int64_t sync_failed =
      0;                     ///< outcomes of a resume that are not `recovered`, epochs that changed
  std::int64_t unclean = 0;  ///< runs of `parley verify`
  std::vector<std::string> examples;             ///< of what went wrong, a few
  std::vector<std::chrono::milliseconds> ready;  ///< from exec to 200 on /readyz, each start after a kill

  [[nodiscard]] bool is_good() const;
  /// One line for people.
  [[nodiscard]] std::string summary() const;
};

[[nodiscard]] crash_report run_crashes(const crash_options& options);

}  // namespace parley::tests
