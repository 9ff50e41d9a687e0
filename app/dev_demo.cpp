#include "app/dev_demo.hpp"

#include "app/key_files.hpp"

#include <nlohmann/json.hpp>

#include <fstream>
#include <ostream>

namespace parley::app {
namespace {

using nlohmann::json;

struct named_field {
  const char* name;
  std::string dev_state::*member;
};
constexpr named_field fields[] = {{"master_api_key", &dev_state::master_api_key},
                                  {"tenant_id", &dev_state::tenant_id},
                                  {"api_key", &dev_state::api_key},
                                  {"dm_room", &dev_state::dm_room},
                                  {"group_room", &dev_state::group_room},
                                  {"channel_room", &dev_state::channel_room}};

/// The demo's calls; a refusal is an error that names the call.
class demo {
 public:
  demo(const http_client& node, dev_state& state) : node_(node), state_(state) {}

  result<void> ensure() {
    if (auto made = ensure_tenant(); !made) return made;
    if (auto made = ensure_room(state_.dm_room, {{"type", "dm"}, {"members", {"alice", "bob"}}});
        !made) {
      return made;
    }
    const json everybody{"alice", "bob", "carol"};
    if (auto made = ensure_room(
            state_.group_room, {{"type", "group"}, {"name", "Demo group"}, {"members", everybody}});
        !made) {
      return made;
    }
    return ensure_room(state_.channel_room,
                       {{"type", "channel"}, {"name", "Demo channel"}, {"members", everybody}});
  }

 private:
  result<void> ensure_tenant() {
    if (!state_.api_key.empty()) {
      const auto known = node_.request("GET", "/v1/rooms?limit=1", backend());
      if (!known) return known.error();
      if (known->status == 200) return {};
      if (known->status != 401) return refused("GET /v1/rooms", *known);
      state_.tenant_id.clear();  // another database: its key is not known there
      state_.api_key.clear();
    }
    const auto made =
        node_.request("POST", "/v1/admin/tenants", {{"X-Master-Key", state_.master_api_key}},
                      json{{"name", "demo"}});
    if (!made) return made.error();
    if (made->status != 201) return refused("POST /v1/admin/tenants", *made);
    state_.tenant_id = text(made->body, "tenant_id");
    state_.api_key = text(made->body, "api_key");
    state_.dm_room.clear();
    state_.group_room.clear();
    state_.channel_room.clear();
    return {};
  }

  result<void> ensure_room(std::string& room_id, const json& wanted) {
    if (!room_id.empty()) {
      const auto known = node_.request("GET", "/v1/rooms/" + room_id, alice());
      if (!known) return known.error();
      if (known->status == 200) return {};
      if (known->status != 404) return refused("GET /v1/rooms/{id}", *known);
    }
    const auto made = node_.request("POST", "/v1/rooms", alice(), wanted);
    if (!made) return made.error();
    if (made->status != 200 && made->status != 201) return refused("POST /v1/rooms", *made);
    room_id = text(made->body, "room_id");
    return {};
  }

  [[nodiscard]] http_client::headers backend() const { return {{"X-API-Key", state_.api_key}}; }
  [[nodiscard]] http_client::headers alice() const {
    return {{"X-API-Key", state_.api_key}, {"X-User-Id", "alice"}};
  }
  static std::string text(const json& body, const char* name) {
    return body.is_object() && body.contains(name) && body[name].is_string()
               ? body[name].get<std::string>()
               : std::string{};
  }
  static error refused(std::string_view call, const http_reply& reply) {
    return {.code = error_code::internal, .message = std::string{call} + ": " + refusal_text(reply)};
  }

  const http_client& node_;
  dev_state& state_;
};

}  // namespace

dev_state read_dev_state(const std::filesystem::path& file) {
  dev_state state;
  std::ifstream in{file, std::ios::binary};
  const auto object = json::parse(in, nullptr, false);
  if (!object.is_object()) return state;
  for (const auto& field : fields) {
    const auto it = object.find(field.name);
    if (it != object.end() && it->is_string()) state.*field.member = it->get<std::string>();
  }
  return state;
}

result<void> write_dev_state(const std::filesystem::path& file, const dev_state& state) {
  nlohmann::ordered_json object;
  for (const auto& field : fields) object[field.name] = state.*field.member;
  return write_secret_file(file, object.dump(2) + "\n");
}

result<void> ensure_demo(const http_client& node, dev_state& state) {
  return demo{node, state}.ensure();
}

void print_dev_page(std::ostream& out, const dev_page& page) {
  const auto& s = page.state;
  const auto http = "http://" + page.address;
  const std::string key_header = "-H 'X-API-Key: " + s.api_key + "'";
  out << "\nParley runs at " << http << " for trying things out (--dev): on this machine only.\n"
      << "Everything is kept in " << page.data_dir << "; delete that to start anew.\n\n"
      << "  master key   " << s.master_api_key << "   (X-Master-Key, for /v1/admin)\n"
      << "  tenant       " << s.tenant_id << "\n"
      << "  API key      " << s.api_key << "\n"
      << "  users        alice, bob, carol\n"
      << "  dm           " << s.dm_room << "   alice, bob\n"
      << "  group        " << s.group_room << "   alice, bob, carol\n"
      << "  channel      " << s.channel_room << "   alice, bob, carol\n\n"
      << "Send as the backend, then read the history:\n\n"
      << "  curl -s " << http << "/v1/rooms/" << s.group_room << "/messages "
      << key_header << " -H 'Content-Type: application/json' -d '{\"sender_id\":\"alice\",\"content\":\"Hello\"}'\n"
      << "  curl -s " << http << "/v1/rooms/" << s.group_room << "/messages " << key_header
      << "\n\n";
  out << "Chat in two terminals (the client is in Parley's source and needs only Python):\n\n";
  for (const char* user : {"alice", "bob"}) {
    out << "  python3 examples/chat.py --url ws://" << page.address << " --key " << s.api_key
        << " --room " << s.group_room << " " << user << "\n";
  }
  out << "\nCtrl-C ends the node.\n" << std::flush;
}

}  // namespace parley::app
