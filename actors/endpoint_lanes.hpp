#pragma once
/// What of one endpoint's queue is in memory: lanes, each with its next rows in order, at most one of them under way.
///
/// A page of the queue is read while outcomes of earlier rows are on their way to the disk, so it may hold rows that are
/// done. Hence a lane remembers how far it was taken, and is forgotten only when nothing of it is in memory, under way or
/// unconfirmed, right before the next page is asked for: that page's snapshot then knows all that became of it.
/// A closed lane takes nothing until it was forgotten: one whose first row is to be tried again later.
/// Owner      the outbox; not thread-safe.
/// Invariants rows leave a lane in the order (place, no), and none twice while the lane is remembered.

#include "actors/messages.hpp"
#include "protocol/seams.hpp"

#include <compare>
#include <cstddef>
#include <deque>
#include <optional>
#include <unordered_map>

namespace parley::actors {

class endpoint_lanes {
 public:
  /// Rows come of a page that was asked for with `per_lane`; `cut`: its last lane may have lost rows to the page's size.
  void take(outbox_posts page, mono_time now, std::size_t per_lane, bool cut);

  /// The lane whose turn it is to have its first row sent; nullopt: none. It has to be told one of the following.
  std::optional<store::lane_no> next();
  [[nodiscard]] const outbox_post& first(store::lane_no lane) const;
  void sent(store::lane_no lane);
  /// It stays until unpark().
  void park(store::lane_no lane) { lanes_.at(lane).parked = true; }
  void unpark(store::lane_no lane);
  /// Its turn comes again: nothing was done.
  void put_back(store::lane_no lane) { make_ready(lane, lanes_.at(lane), true); }

  /// The first row has an outcome that is to be confirmed: the next one is the first.
  void settled(store::lane_no lane);
  /// The lane has nothing under way any more.
  void answered(store::lane_no lane) { lanes_.at(lane).in_flight = false; }
  /// Forgets what is loaded; the lane is not to be read again before `again_at`.
  void close(store::lane_no lane, std::optional<utc_time> again_at = std::nullopt);
  /// All of it, but for what is under way.
  void close_all();
  /// What was loaded before `t`. True: there was such.
  bool close_loaded_before(mono_time t);
  /// An outcome is on the disk. If that was the last of a closed lane: when it should be read again.
  std::optional<utc_time> confirmed(store::lane_no lane);
  /// Right before a page is asked for. When the closed ones among what was forgotten should be read again: the earliest.
  std::optional<utc_time> forget();

  [[nodiscard]] bool knows(store::lane_no lane) const { return lanes_.count(lane) != 0; }
  [[nodiscard]] bool has_ready() const { return !ready_.empty(); }
  [[nodiscard]] std::size_t posts() const { return posts_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  [[nodiscard]] std::size_t lanes() const { return lanes_.size(); }
  /// Some lane has little left in memory, and perhaps more on the disk. Until told to be satisfied.
  [[nodiscard]] bool is_hungry() const { return hungry_; }
  void satisfied() { hungry_ = false; }

  /// What a row takes in memory.
  [[nodiscard]] static std::size_t size_of(const outbox_post& post);

 private:
  struct key {
    log_id place;
    store::outbox_no no;
    auto operator<=>(const key&) const = default;
  };
  struct lane {
    std::deque<outbox_post> posts;
    std::optional<key> taken{};
    mono_time loaded_at{};
    std::size_t unconfirmed = 0;
    std::optional<utc_time> again_at{};
    bool in_flight = false;  ///< the first of `posts`
    bool ready = false;      ///< in ready_
    bool parked = false;
    bool closed = false;
    bool more = false;  ///< perhaps, on the disk
  };
  void make_ready(store::lane_no no, lane& l, bool at_front = false);
  void drop_loaded(lane& l);
  void look_for_hunger(const lane& l);

  std::unordered_map<store::lane_no, lane> lanes_;
  std::deque<store::lane_no> ready_;  ///< may name lanes that are not ready any more
  std::size_t posts_ = 0;
  std::size_t bytes_ = 0;
  bool hungry_ = false;
};

}  // namespace parley::actors
