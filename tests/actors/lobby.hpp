#pragma once
/// A room in a test: says what people say to it, plays storage and readers, remembers what it decided.

#include "actors/room.hpp"
#include "tests/actors/words.hpp"

#include <doctest/doctest.h>

#include <map>
#include <utility>
#include <vector>

namespace parley::actors::words {

class lobby final : private room_ports {
 public:
  explicit lobby(store::opened_room facts, const room_options& options = {}) : lobby(options) {
    opens_with(std::move(facts));
  }
  explicit lobby(const room_options& options = {})
      : ids_(time, random_),
        it(key_of(1), instance_no{3}, *this, time, ids_, options) {
    it.start();
  }

  /// Storage's answers.
  void opens_with(store::opened_room facts) {
    ++last_generation;
    first_of_generation_ = appends.size();
    it.on(opened{instance_no{3}, last_generation, std::move(facts)});
  }
  void does_not_exist() { it.on(opened{instance_no{3}, generation{}, std::nullopt}); }
  void cannot_be_read() {
    it.on(opened{instance_no{3}, generation{}, std::nullopt,
                 unavailable("unreadable", std::chrono::milliseconds{1})});
  }
  void commits() { commits_up_to(appends.size()); }
  /// The first `n` of all appends.
  void commits_up_to(std::size_t n) {
    it.on(committed{instance_no{3}, last_generation, appends.at(n - 1)->no, ++last_commit});
  }
  void loses() { loses(last_generation); }
  void loses(generation g) {
    it.on(lost{instance_no{3}, g, unavailable("the write failed", std::chrono::milliseconds{100})});
  }
  void is_deleted() {
    it.on(deleted{instance_no{3}, last_generation, it.committed_seq(), ++last_commit});
  }

  /// A command through gateway 0; its number.
  template <class What>
  call_no says(caller who, What what, gateway_no gateway = gateway_no{0}) {
    const auto call = ++last_call_;
    it.on(std::make_shared<const room_command>(room_command{
        .room = key_of(1), .to = {gateway, call}, .who = std::move(who), .what = std::move(what)}));
    return call;
  }
  /// The readers answer the oldest open look-up.
  void finds(std::optional<store::member_row> member, std::optional<store::used_key> used = {},
             bool reply_to_is_message = true) {
    REQUIRE(!lookups.empty());
    const auto call = lookups.front().first;
    lookups.erase(lookups.begin());
    it.on(call, lookup_result{{std::move(member), std::move(used)}, reply_to_is_message});
  }
  /// The same for a call that changes `target` (nullopt: there is no such message).
  void finds_message(std::optional<entry> target, std::optional<store::member_row> member = {},
                     std::optional<store::used_key> used = {}) {
    REQUIRE(!lookups.empty());
    const auto call = lookups.front().first;
    lookups.erase(lookups.begin());
    lookup_result found{{std::move(member), std::move(used)}, true};
    found.target = std::move(target);
    it.on(call, found);
  }
  void finds_nothing_readable() {
    const auto call = lookups.front().first;
    lookups.erase(lookups.begin());
    it.on(call, unavailable("unreadable", std::chrono::milliseconds{1}));
  }

  [[nodiscard]] bool answered(call_no call) const { return outcomes.contains(call); }
  [[nodiscard]] const room_outcome& outcome(call_no call) const {
    REQUIRE(outcomes.contains(call));
    return outcomes.at(call);
  }
  [[nodiscard]] bool refused(call_no call, error_code code) const {
    return answered(call) && is_error(outcomes.at(call), code);
  }
  [[nodiscard]] const accepted_info& accepted(call_no call) const {
    REQUIRE(std::holds_alternative<send_result>(outcome(call)));
    return std::get<send_result>(outcome(call)).accepted;
  }
  [[nodiscard]] bool done(call_no call) const {
    return answered(call) && !std::holds_alternative<error>(outcomes.at(call));
  }
  /// All rows appended, in order.
  [[nodiscard]] std::vector<store::append_row> rows() const {
    std::vector<store::append_row> out;
    for (const auto& m : appends) {
      out.push_back(m->row);
      out.insert(out.end(), m->also.begin(), m->also.end());
    }
    return out;
  }
  [[nodiscard]] entry last_entry() const {
    REQUIRE(!appends.empty());
    return rows().back().e;
  }

  still_clock time;
  std::vector<open_room_ptr> opens;
  std::vector<append_ptr> appends;
  std::vector<delete_room_ptr> deletions;
  std::vector<close_room> closings;
  std::vector<publish_ptr> publishes;
  std::vector<publish_ptr> standings;  ///< those that only say where the log stands
  std::vector<std::pair<call_no, lookup_query>> lookups;
  std::vector<room_retired> retirements;
  std::vector<room_absent> absences;
  std::vector<std::chrono::milliseconds> wakings;
  std::map<call_no, room_outcome> outcomes;
  std::size_t batches_of_answers = 0;
  bool readers_are_busy = false;
  generation last_generation{};
  commit_no last_commit{};

 private:
  void open(open_room_ptr m) override { opens.push_back(std::move(m)); }
  void append(append_ptr m) override { appends.push_back(std::move(m)); }
  void delete_room(delete_room_ptr m) override { deletions.push_back(std::move(m)); }
  void close(close_room m) override { closings.push_back(m); }
  void answer(gateway_no, replies_ptr m) override {
    ++batches_of_answers;
    for (const auto& item : m->items) {
      CHECK_MESSAGE(outcomes.emplace(item.call, item.outcome).second, "SPEC 2.5: answered twice");
    }
  }
  void publish(publish_ptr m) override {
    const bool only_stands = m->frames.empty() && m->members.empty() && !m->gone;
    (only_stands ? standings : publishes).push_back(std::move(m));
  }
  bool look_up(call_no call, lookup_query q) override {
    if (readers_are_busy) return false;
    lookups.emplace_back(call, std::move(q));
    return true;
  }
  void retired(room_retired m) override { retirements.push_back(m); }
  void absent(room_absent m) override { absences.push_back(m); }
  void wake_in(std::chrono::milliseconds delay) override { wakings.push_back(delay); }

  counting_random random_;
  uuid7_generator ids_;
  call_no last_call_{};
  std::size_t first_of_generation_ = 0;

 public:
  room it;
};

}  // namespace parley::actors::words
