#include "net/publish_log.hpp"

#include "tests/actors/words.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace parley::net {

using namespace actors;
using namespace actors::words;

namespace {

publish entries(std::uint8_t room, std::int64_t first, std::int64_t last) {
  publish m;
  m.room = key_of(room);
  m.first_seq = room_seq{first};
  m.frames.resize(static_cast<std::size_t>(last - first + 1));
  return m;
}

std::vector<publish_log::position> events_from(const publish_log& log, publish_log::position from) {
  std::vector<publish_log::position> out;
  log.for_events_from(from, [&](const publish_log::event& e) { out.push_back(e.at); });
  return out;
}

}  // namespace

TEST_CASE("DESIGN 3.6 the newest unbroken run of each room") {
  publish_log log;
  CHECK(log.newest_run(key_of(1)) == nullptr);
  log.add(entries(1, 4, 5));
  log.add(entries(2, 1, 1));
  log.add(entries(1, 6, 9));
  CHECK(log.newest_run(key_of(1))->first == room_seq{4});
  CHECK(log.newest_run(key_of(1))->last == room_seq{9});
  log.add(entries(1, 10, 9));  // where it stands: nothing new, no hole
  CHECK(log.newest_run(key_of(1))->first == room_seq{4});
  log.add(entries(1, 12, 12));  // 10 and 11 were never told
  CHECK(log.newest_run(key_of(1))->first == room_seq{12});
  CHECK(log.newest_run(key_of(2))->last == room_seq{1});
}

TEST_CASE("DESIGN 3.6 memberships and ends are kept in order, plain entries are not walked") {
  publish_log log;
  const auto start = log.end();
  log.add(entries(1, 1, 1));
  auto joined = entries(1, 2, 2);
  joined.members.push_back({ann, room_seq{2}, true, {}});
  log.add(joined);
  log.add(entries(1, 3, 3));
  auto gone = entries(1, 4, 3);
  gone.gone = true;
  log.add(gone);
  CHECK(events_from(log, start) == std::vector<publish_log::position>{1, 3});
  CHECK(events_from(log, 2) == std::vector<publish_log::position>{3});
  CHECK(events_from(log, log.end()).empty());
}

TEST_CASE("DESIGN I7 beyond its entries it forgets the oldest, and says so") {
  publish_log log;
  const auto start = log.end();
  log.add(entries(1, 1, 1));
  for (std::size_t n = 0; n < limits::publish_log_entries; ++n)
    log.add(entries(2, static_cast<std::int64_t>(n) + 1, static_cast<std::int64_t>(n) + 1));
  CHECK(log.size() == limits::publish_log_entries);
  CHECK(!log.remembers(start));
  CHECK(log.remembers(start + 1));
  CHECK(log.newest_run(key_of(1)) == nullptr);
  CHECK(log.newest_run(key_of(2))->first == room_seq{1});
}

TEST_CASE(
    "DESIGN I7 memberships have a bound in bytes too; what members of one role share counts once") {
  publish_log log;
  const auto text = std::make_shared<const std::string>(4096, 'x');
  const auto a_room = [&] {
    auto m = entries(1, 1, 0);
    for (std::size_t n = 0; n < 1000; ++n)
      m.members.push_back({user_no_of(n), room_seq{0}, true, text});
    return m;
  };
  log.add(a_room());
  const auto one = log.event_bytes();
  CHECK(one > 4096);
  CHECK(one < 4096 + 1000 * 256);
  for (int n = 0; n < 1000; ++n) log.add(a_room());
  CHECK(log.event_bytes() <= limits::publish_log_max_bytes);
  CHECK(log.size() < 1001);
  CHECK(!log.remembers(0));
  std::size_t kept = 0;
  log.for_events_from(0, [&](const publish_log::event&) { ++kept; });
  CHECK(kept == log.size());
}

}  // namespace parley::net
