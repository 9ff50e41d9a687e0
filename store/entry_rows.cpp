#include "store/entry_rows.hpp"

#include <nlohmann/json.hpp>

namespace parley::store {
namespace {

enum column : int {
  c_seq,
  c_kind,
  c_message_id,
  c_target_seq,
  c_actor_no,
  c_sender_no,
  c_content,
  c_meta,
  c_reply_to,
  c_client_msg_id,
  c_body,
  c_created_at,
  c_edited_at,
  c_deleted_at,
  c_room_no,
};

std::string users_and(const std::vector<user_no>& users, std::string_view name, int value) {
  std::string out = R"({"users":[)";
  for (const user_no u : users) {
    if (out.back() != '[') out += ',';
    out += std::to_string(u.value);
  }
  out += R"(],")";
  out += name;
  out += R"(":)";
  out += std::to_string(value);
  out += '}';
  return out;
}

db_failure damaged_row(const statement::rows& row) {
  return damaged("entry " + std::to_string(row.integer(c_seq)) + " of room " +
                 std::to_string(row.integer(c_room_no)) + " can't be read");
}

}  // namespace

std::string members_body(const std::vector<user_no>& users, member_role role) {
  return users_and(users, "role", static_cast<int>(role));
}
std::string members_body(const std::vector<user_no>& users, leave_reason reason) {
  return users_and(users, "reason", static_cast<int>(reason));
}

std::string room_updated_body_text(const room_updated_body& b) {
  std::string out = "{";
  const auto add = [&](std::string_view member) {
    if (out.size() > 1) out += ',';
    out += member;
  };
  if (b.name) add(R"("name":true)");
  if (b.metadata) add(R"("metadata":true)");
  if (b.posting) add(R"("posting":)" + std::to_string(static_cast<int>(*b.posting)));
  return out + '}';
}

std::optional<stored_members> parse_members_body(std::string_view text) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  const auto users = json.find("users");
  if (users == json.end() || !users->is_array()) return std::nullopt;
  stored_members out;
  for (const auto& u : *users) {
    if (!u.is_number_integer()) return std::nullopt;
    out.users.emplace_back(u.get<std::int64_t>());
  }
  const auto number = [&](const char* name) {
    const auto found = json.find(name);
    return found != json.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0;
  };
  out.role = number("role");
  out.reason = number("reason");
  return out;
}

entry_decoder::entry_decoder(connection& db, user_names& names)
    : db_(db),
      names_(names),
      select_target_(db,
                     "SELECT m.content, m.meta FROM room_log l JOIN messages m ON m.id = l.id "
                     "WHERE l.room_no = ? AND l.seq = ?") {}

db_result<entry> entry_decoder::decode(const statement::rows& row) {
  const std::int64_t kind = row.integer(c_kind);
  if (kind < 1 || kind > static_cast<std::int64_t>(std::variant_size_v<entry_body>)) {
    return damaged_row(row);
  }
  entry e;
  e.seq = row.number<room_seq>(c_seq);
  e.message = message_id{row.id(c_message_id)};
  e.created_at = row.time(c_created_at);
  if (!row.is_null(c_actor_no)) {
    auto actor = name_of(row, c_actor_no);
    if (!actor) return actor.error();
    e.actor = std::move(*actor);
  }
  auto body = body_of(static_cast<entry_kind>(kind), row);
  if (!body) return body.error();
  e.body = std::move(*body);
  return e;
}

db_result<entry_body> entry_decoder::body_of(entry_kind kind, const statement::rows& row) {
  switch (kind) {
    case entry_kind::message: {
      message_body b;
      auto sender = name_of(row, c_sender_no);
      if (!sender) return sender.error();
      b.sender = std::move(*sender);
      b.content = row.text(c_content);
      b.meta = json_text{row.text(c_meta)};
      if (!row.is_null(c_reply_to)) b.reply_to = message_id{row.id(c_reply_to)};
      b.client_msg_id = row.text(c_client_msg_id);
      b.edited_at = row.optional_time(c_edited_at);
      b.deleted_at = row.optional_time(c_deleted_at);
      return entry_body{std::move(b)};
    }
    case entry_kind::message_edited:
      return edited(row);
    case entry_kind::message_deleted:
      return entry_body{
          message_deleted_body{row.number<room_seq>(c_target_seq), row.time(c_deleted_at)}};
    case entry_kind::room_updated: {
      const auto json = nlohmann::json::parse(row.text(c_body), nullptr, false);
      if (!json.is_object()) return damaged_row(row);
      room_updated_body b;
      if (json.contains("name")) {
        b.name = row.is_null(c_content) ? std::optional<std::string>{}
                                        : std::optional{std::string{row.text(c_content)}};
      }
      if (json.contains("metadata")) b.metadata = json_text{row.text(c_meta)};
      if (const auto posting = json.find("posting"); posting != json.end()) {
        if (!posting->is_number_integer()) return damaged_row(row);
        b.posting = static_cast<posting_policy>(posting->get<int>());
      }
      return entry_body{std::move(b)};
    }
    case entry_kind::member_joined:
    case entry_kind::member_left:
    case entry_kind::member_updated:
      break;
  }
  const auto stored = parse_members_body(row.text(c_body));
  if (!stored || (kind == entry_kind::member_updated && stored->users.size() != 1)) {
    return damaged_row(row);
  }
  auto users = names_of(stored->users);
  if (!users) return users.error();
  if (kind == entry_kind::member_joined) {
    return entry_body{member_joined_body{std::move(*users), static_cast<member_role>(stored->role)}};
  }
  if (kind == entry_kind::member_left) {
    return entry_body{member_left_body{std::move(*users), static_cast<leave_reason>(stored->reason)}};
  }
  return entry_body{
      member_updated_body{std::move(users->front()), static_cast<member_role>(stored->role)}};
}

db_result<entry_body> entry_decoder::edited(const statement::rows& row) {
  message_edited_body b;
  b.message_seq = row.number<room_seq>(c_target_seq);
  b.edited_at = row.time(c_edited_at);
  auto target = select_target_.query(row.integer(c_room_no), b.message_seq);
  if (target.next()) {
    b.content = target.text(0);
    b.meta = json_text{target.text(1)};
  }
  if (target.failed()) return db_.last_failure();
  return entry_body{std::move(b)};
}

db_result<user_id> entry_decoder::name_of(const statement::rows& row, int column) {
  auto name = names_.name(row.number<user_no>(column));
  if (!name) return name.error();
  return **name;
}

db_result<std::vector<user_id>> entry_decoder::names_of(const std::vector<user_no>& users) {
  std::vector<user_id> out;
  out.reserve(users.size());
  for (const user_no u : users) {
    auto name = names_.name(u);
    if (!name) return name.error();
    out.push_back(**name);
  }
  return out;
}

}  // namespace parley::store
