#include "tests/sim/seen_frame.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>

namespace parley::sim {

namespace {
constexpr std::array<std::string_view, 6> no_entries{"message.accepted", "ack.received",
                                                     "read.received",    "sync.complete",
                                                     "subscribed",       "room.added"};

std::string text_of(const nlohmann::json& j, const char* key) {
  const auto it = j.find(key);
  return it == j.end() || !it->is_string() ? std::string{} : it->get<std::string>();
}
std::optional<std::int64_t> number_of(const nlohmann::json& j, const char* key) {
  const auto it = j.find(key);
  if (it == j.end() || !it->is_number_integer()) return std::nullopt;
  return it->get<std::int64_t>();
}
bool flag_of(const nlohmann::json& j, const char* key) {
  const auto it = j.find(key);
  return it != j.end() && it->is_boolean() && it->get<bool>();
}

seen_frame parse(std::string_view text) {
  const auto j = nlohmann::json::parse(text);
  seen_frame out;
  out.text = text;
  out.type = text_of(j, "type");
  out.room = text_of(j, "room_id");
  out.seq = number_of(j, "seq");
  out.is_entry = !out.room.empty() && out.seq &&
                 std::find(no_entries.begin(), no_entries.end(), out.type) == no_entries.end();
  if (const auto it = j.find("request_id"); it != j.end()) out.request_id = it->dump();
  out.outcome = text_of(j, "outcome");
  out.from_seq = number_of(j, "from_seq");
  out.to_seq = number_of(j, "to_seq");
  out.truncated = flag_of(j, "truncated");
  out.code = text_of(j, "code");
  out.stored = text_of(j, "stored");
  out.message_id = text_of(j, "message_id");
  out.created_at = text_of(j, "created_at");
  out.duplicate = flag_of(j, "duplicate");
  out.user = text_of(j, "user_id");
  if (const auto it = j.find("user_ids"); it != j.end()) {
    for (const auto& user : *it) out.users.push_back(user.get<std::string>());
  }
  if (const auto it = j.find("room"); it != j.end()) out.room = text_of(*it, "room_id");
  if (const auto it = j.find("rooms"); it != j.end()) {
    if (it->is_number_integer()) {
      out.rooms = it->get<std::int64_t>();
    } else {
      for (const auto& [room, seq] : it->items())
        out.start.emplace_back(room, seq.get<std::int64_t>());
    }
  }
  return out;
}
}  // namespace

seen_frame_ptr frame_eyes::read(const frame_ptr& f) {
  auto& known = known_[f.get()];
  if (!known.second) {
    known = {f, std::make_shared<const seen_frame>(parse(f->payload()))};
  }
  return known.second;
}

}  // namespace parley::sim
