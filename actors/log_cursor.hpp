#pragma once
/// One of the two positions in the node-wide log up to which it was looked at for the outbox (SPEC 6): what to store when a
/// scan has come, and when. Rows are stored with the position in one transaction. A scan that has found nothing moves the
/// position in memory alone; on the disk it follows when rows come, or now and then: who comes after a crash looks again.
/// Owner      the outbox; not thread-safe. No clock, no I/O.
/// Invariants stored ≤ looked_at; everything up to looked_at() has its rows on the disk, or had none.

#include "protocol/assert.hpp"
#include "protocol/seams.hpp"
#include "store/store.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>

namespace parley::actors {

class log_cursor {
 public:
  explicit log_cursor(store::log_reader reader) : reader_(reader) {}

  [[nodiscard]] bool is_known() const { return known_; }
  [[nodiscard]] bool is_idle() const { return step_ == step::idle; }
  [[nodiscard]] log_id stored() const { return stored_; }
  [[nodiscard]] log_id looked_at() const { return looked_; }

  void set(log_id stored, mono_time now) {
    if (known_ || step_ != step::idle) return;
    known_ = true;
    stored_ = looked_ = stored;
    moved_at_ = now;
  }
  /// Somebody else has moved it: it has to be read anew.
  void forget() {
    known_ = false;
    step_ = step::idle;
  }
  /// What is read from now on is behind looked_at().
  void scan_began() {
    PARLEY_ASSERT(known_ && step_ == step::idle);
    step_ = step::scanning;
  }
  void scan_failed() { step_ = step::idle; }
  /// What is to be stored now, if anything: then stored_ok() or lost() has to come. `at_once`: even without rows.
  std::optional<store::outbox_batch> scanned(const store::scanned& found, bool at_once,
                                             mono_time now) {
    PARLEY_ASSERT(step_ == step::scanning && found.to >= looked_);
    step_ = step::idle;
    if (found.rows.empty()) {
      looked_ = found.to;
      return at_once ? move(now, true) : move(now, false);
    }
    to_ = found.to;
    step_ = step::storing;
    store::outbox_batch out;
    out.position = {reader_, stored_, to_};
    out.rows = found.rows;
    return out;
  }
  /// The position alone, if it is due or `at_once`.
  std::optional<store::outbox_batch> move(mono_time now, bool at_once) {
    if (!known_ || step_ != step::idle || looked_ == stored_) return std::nullopt;
    if (!at_once && now - moved_at_ < lag_max && looked_.value - stored_.value < lag_max_entries)
      return std::nullopt;
    to_ = looked_;
    step_ = step::storing;
    store::outbox_batch out;
    out.position = {reader_, stored_, to_};
    return out;
  }
  void stored_ok(mono_time now) {
    PARLEY_ASSERT(step_ == step::storing);
    step_ = step::idle;
    stored_ = looked_ = to_;
    moved_at_ = now;
  }
  /// Nothing of it is stored: what was found is looked for again.
  void lost() { step_ = step::idle; }

 private:
  enum class step : std::uint8_t { idle, scanning, storing };
  static constexpr std::chrono::seconds lag_max{1};
  static constexpr std::int64_t lag_max_entries = 10'000;

  store::log_reader reader_;
  step step_ = step::idle;
  bool known_ = false;
  log_id stored_{};
  log_id looked_{};
  log_id to_{};  ///< of what is being stored
  mono_time moved_at_{};
};

}  // namespace parley::actors
