#include "bench/presence_worker.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

namespace parley::bench {
namespace {

constexpr std::uint8_t in_small = 1;
constexpr std::uint8_t in_big = 2;
constexpr std::uint8_t acts = 4;

}  // namespace

void presence_counts::add(const presence_counts& other) {
  for (const auto& [what, times] : other.shown) shown[what] += times;
  about_herd += other.about_herd;
  beyond_limit += other.beyond_limit;
  about_strangers += other.about_strangers;
  own += other.own;
  answered_ok += other.answered_ok;
  answered_unserved += other.answered_unserved;
}

fleet_plan plan_presence(std::uint32_t talkers, std::uint32_t small, std::uint32_t herd,
                         std::uint32_t herd_members) {
  fleet_plan plan;
  plan.connections = 2 * small + 1 + herd;
  plan.rooms.resize(2);
  for (std::uint32_t i = 0; i < small; ++i) plan.rooms[0].push_back(i);
  for (std::uint32_t i = 0; i < small + 1; ++i) plan.rooms[1].push_back(small + i);
  for (std::uint32_t i = 0; i < herd; ++i) {
    if (i % herd_members == 0) {
      const auto talker = static_cast<std::uint32_t>((plan.rooms.size() - 2) % talkers);
      plan.rooms.push_back({talker});
    }
    plan.rooms.back().push_back(2 * small + 1 + i);
  }
  return plan;
}

presence_worker::presence_worker(const fleet_plan& plan, std::uint32_t first, std::uint32_t count,
                                 session_options sessions, const presence_options& options,
                                 room_heads& heads, run_schedule& schedule)
    : message_worker{plan, first, count, std::move(sessions), options.send, heads, schedule},
      options_{options},
      places_(plan.connections) {
  for (std::uint32_t room = 0; room < 2; ++room) {
    const auto& members = plan.rooms[room];
    for (std::size_t i = 0; i < members.size(); ++i) {
      places_[members[i]] |= room == 0 ? in_small : in_big;
      if (i + options.togglers >= members.size()) places_[members[i]] |= acts;
    }
  }
}

std::uint32_t presence_worker::connection_of(std::string_view user) const {
  const std::string_view prefix = plan().user_prefix;
  std::uint32_t number = plan().connections;
  if (user.starts_with(prefix)) {
    std::from_chars(user.data() + prefix.size(), user.data() + user.size(), number, 16);
  }
  return std::min(number, plan().connections);
}

void presence_worker::count_shown(std::uint32_t client, std::string_view user,
                                  std::string_view what, std::uint32_t room) {
  presence_counts& counts = counts_[static_cast<std::size_t>(step_)];
  const std::uint32_t reader = first() + client;
  const std::uint32_t about = connection_of(user);
  if (about == reader) {
    ++counts.own;
    return;
  }
  const auto has_both = [&](const reading& r) {
    const auto& members = plan().rooms[r.room];
    return (room == any_room || r.room == room) && std::ranges::find(members, about) != members.end();
  };
  if (about == plan().connections || std::ranges::none_of(readings(client), has_both)) {
    ++counts.about_strangers;
  } else if ((places_[about] & in_big) != 0) {
    ++counts.beyond_limit;
  } else if ((places_[about] & in_small) == 0) {
    ++counts.about_herd;
  } else if ((places_[reader] & acts) == 0) {
    ++counts.shown[std::string{what.substr(0, 20)}];
  }
}

bool presence_worker::on_event(std::uint32_t client, const frame_fields& frame, std::int64_t /*now*/) {
  presence_counts& counts = counts_[static_cast<std::size_t>(step_)];
  if (frame.type == "presence.update") {
    count_shown(client, frame.user_id, frame.status, any_room);
  } else if (frame.type == "typing") {
    std::uint32_t room = any_room - 1;  // one of no reader
    for (const reading& r : readings(client)) {
      if (plan().room_ids[r.room] == frame.room_id) room = r.room;
    }
    count_shown(client, frame.user_id, frame.action, room);
  } else if (frame.type == "ok") {
    ++counts.answered_ok;
  } else if (frame.type == "error" && frame.code == "VALIDATION_ERROR") {
    ++counts.answered_unserved;
  } else {
    return false;
  }
  return true;
}

void presence_worker::act(presence_step step, std::int64_t now) {
  for (std::uint32_t client = 0; client < count(); ++client) {
    const std::uint8_t place = places_[first() + client];
    if (step == presence_step::herd && place == 0) {
      cut(client);
      come_back(client, now + options_.herd_absence_ns);
    }
    if ((place & acts) == 0) continue;
    const std::string room = plan().room_ids[(place & in_small) != 0 ? 0 : 1];
    switch (step) {
      case presence_step::away:
        send_frame(client, R"({"type":"presence.set","request_id":"p","status":"away"})");
        break;
      case presence_step::online:
        send_frame(client, R"({"type":"presence.set","request_id":"p","status":"online"})");
        break;
      case presence_step::leave:
        cut(client);
        break;
      case presence_step::come_back:
        come_back(client, now);
        break;
      case presence_step::typing_start:
        send_frame(client, R"({"type":"typing.start","request_id":"t","room_id":")" + room + "\"}");
        break;
      case presence_step::typing_stop:
        send_frame(client, R"({"type":"typing.stop","request_id":"t","room_id":")" + room + "\"}");
        break;
      default:
        break;
    }
  }
}

std::int64_t presence_worker::on_turn(std::int64_t now) {
  const auto step = static_cast<presence_step>(schedule().step.load());
  if (step != step_) {
    step_ = step;
    act(step, now);
    tell_herd(static_cast<std::uint32_t>(step));
  }
  return message_worker::on_turn(now);
}

}  // namespace parley::bench
