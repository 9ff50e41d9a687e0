#include "tests/promises/stage.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <stdexcept>

namespace parley::tests {

stage::stage(node_setup setup)
    : node(without_rate_limits(std::move(setup))),
      tenant(node.create_tenant()) {}

ws_client stage::connect(std::string_view name, std::string_view query) const {
  return node.connect(tenant, name, query);
}

ws_client stage::online(std::string_view name, std::string_view query) const {
  auto client = connect(name, query);
  client.receive_type("sync.done");
  return client;
}

std::string stage::room(std::string_view type, const std::vector<std::string>& members) const {
  auto client = backend();
  return make_room(client, type, members);
}

node_setup with_io_threads(int count, node_setup setup) {
  setup.config["io_threads"] = std::to_string(count);
  return setup;
}

std::string make_room(rest_client& as, std::string_view type,
                      const std::vector<std::string>& members) {
  const auto made = as.post("/v1/rooms", {{"type", type}, {"members", members}});
  if (made.status != 201) throw std::runtime_error{"no room was made: " + made.body};
  return made.json().at("room_id");
}

json send_frame(const std::string& room, std::string_view content, std::string_view client_msg_id) {
  json frame{{"type", "send_message"}, {"room_id", room}, {"content", content}};
  if (!client_msg_id.empty()) frame["client_msg_id"] = client_msg_id;
  return frame;
}

json send(ws_client& client, const std::string& room, std::string_view content,
          std::string_view client_msg_id) {
  return client.call(send_frame(room, content, client_msg_id));
}

json post(rest_client& backend, const std::string& room, std::string_view sender,
          std::string_view content) {
  const auto reply =
      backend.post("/v1/rooms/" + room + "/messages", {{"sender_id", sender}, {"content", content}});
  if (reply.status != 201) throw std::runtime_error{"not accepted: " + reply.body};
  return reply.json();
}

void post_many(rest_client& backend, const std::string& room, std::string_view sender, int count) {
  // A connection's requests are answered one after the other: several share the commits.
  constexpr std::size_t connections = 8;
  constexpr std::size_t pipelined = 25;
  struct line {
    tcp_stream stream;
    std::string buffered;
    std::size_t owed;
  };
  std::string head = "POST /v1/rooms/" + room + "/messages HTTP/1.1\r\nHost: " + backend.address() +
                     "\r\nContent-Type: application/json\r\n";
  for (const auto& [name, value] : backend.headers()) head += name + ": " + value + "\r\n";
  std::vector<line> lines;
  for (int sent = 0; sent < count;) {
    for (std::size_t c = 0; c < connections && sent < count; ++c) {
      if (c == lines.size()) lines.push_back({tcp_stream{backend.address()}, {}, 0});
      std::string bytes;
      for (; lines[c].owed < pipelined && sent < count; ++lines[c].owed) {
        const auto body =
            json{{"sender_id", sender}, {"content", "number " + std::to_string(++sent)}}.dump();
        bytes += head + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
      }
      lines[c].stream.write(bytes);
    }
    for (auto& l : lines) {
      for (; l.owed > 0; --l.owed) {
        const auto reply = read_reply(l.stream, l.buffered, false, std::chrono::seconds{10});
        if (reply.status != 201) throw std::runtime_error{"not accepted: " + reply.body};
      }
    }
  }
}

bool is_entry(const json& frame) {
  static constexpr std::array others{"message.accepted", "ack.received", "read.received",
                                     "sync.complete",    "subscribed",   "room.added"};
  if (!frame.contains("room_id") || !frame.contains("seq")) return false;
  const auto type = frame.value("type", "");
  return std::none_of(others.begin(), others.end(), [&](const char* o) { return type == o; });
}

std::vector<json> entries_of(const ws_client& client, const std::string& room) {
  std::vector<json> found;
  for (const auto& frame : client.received()) {
    if (is_entry(frame) && frame["room_id"] == room) found.push_back(frame);
  }
  return found;
}

json await_entry(ws_client& client, const std::string& room, std::int64_t seq,
                 std::chrono::milliseconds within) {
  for (const auto& frame : client.received()) {
    if (is_entry(frame) && frame["room_id"] == room && frame["seq"] == seq) return frame;
  }
  return client.receive_until(
      [&](const json& m) { return is_entry(m) && m["room_id"] == room && m["seq"] == seq; }, within);
}

std::vector<json> log_of(rest_client& as, const std::string& room) {
  std::vector<json> all;
  std::int64_t after = 0;
  while (true) {
    const auto page =
        as.get("/v1/rooms/" + room + "/events?limit=1000&after_seq=" + std::to_string(after));
    if (page.status != 200) throw std::runtime_error{"no events: " + page.body};
    const auto body = page.json();
    for (const auto& entry : body.at("events")) {
      all.push_back(entry);
      after = entry.at("seq");
    }
    if (!body.at("has_more_after").get<bool>()) return all;
    if (body.at("events").empty()) throw std::runtime_error{"an empty page, and more after it"};
  }
}

seq_list seqs_of(const std::vector<json>& entries) {
  seq_list found;
  found.reserve(entries.size());
  for (const auto& entry : entries) found.push_back(entry.at("seq").get<std::int64_t>());
  return found;
}

seq_list seqs(std::int64_t first, std::int64_t last) {
  seq_list all;
  for (auto seq = first; seq <= last; ++seq) all.push_back(seq);
  return all;
}

std::vector<std::string> contents_of(const std::vector<json>& entries) {
  std::vector<std::string> found;
  for (const auto& entry : entries) found.push_back(entry.value("content", ""));
  return found;
}

std::vector<std::string> types_of(const std::vector<json>& frames) {
  std::vector<std::string> found;
  for (const auto& frame : frames) found.push_back(frame.value("type", ""));
  return found;
}

finished verify(const running_node& node) {
  return run({.command = {parley_binary(), "verify", "--database",
                          (node.data_dir() / "parley.db").string()}});
}

bool is_clean(const finished& verified) {
  return verified.status == 0 && verified.out.find("\nclean\n") != std::string::npos;
}

std::int64_t resident_kib(pid_t pid) {
  std::ifstream status{"/proc/" + std::to_string(pid) + "/status"};
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::stoll(line.substr(6));
  }
  throw std::runtime_error{"no such process"};
}

int from_environment(const char* name, int otherwise) {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing in a test changes the environment.
  const char* text = std::getenv(name);
  return text == nullptr || *text == '\0' ? otherwise : std::stoi(text);
}

}  // namespace parley::tests
