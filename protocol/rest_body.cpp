#include "protocol/rest_body.hpp"

#include "protocol/field_reader.hpp"
#include "protocol/json_scan.hpp"
#include "protocol/retention.hpp"
#include "protocol/utf8.hpp"
#include "protocol/webhook_event.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

namespace parley {

namespace {

constexpr std::size_t no_bound = std::numeric_limits<std::size_t>::max();

/// The known fields of a body, in the order of their names.
template <std::size_t N>
struct body_fields {
  std::array<std::string_view, N> names;
  std::array<json_slice, N> values{};

  [[nodiscard]] const json_slice& operator[](std::string_view name) const {
    const auto place = std::find(names.begin(), names.end(), name);
    return values.at(static_cast<std::size_t>(place - names.begin()));
  }
};

enum class config_type : std::uint8_t { count, text, texts, url, format, events, retention };
struct config_key {
  std::string_view name;
  config_type type;
};
/// SPEC 4 «Tenant config».
constexpr std::array config_keys{
    config_key{"rate_limit", config_type::count},
    config_key{"message_rate", config_type::count},
    config_key{"user_send_rate", config_type::count},
    config_key{"user_send_burst", config_type::count},
    config_key{"max_connections_per_user", config_type::count},
    config_key{"jwt_audience", config_type::text},
    config_key{"user_topics", config_type::texts},
    config_key{"webhook_url", config_type::url},
    config_key{"webhook_events", config_type::events},
    config_key{"webhook_format", config_type::format},
    config_key{"message_retention", config_type::retention},
    config_key{"allowed_origins", config_type::texts},
};

bool is_text(const json_slice& value) {
  return value.is(json_kind::string) && !decoded(value).empty();
}

template <class Accept>
bool is_array_of_texts(const json_slice& value, Accept accept) {
  if (!value.is(json_kind::array)) return false;
  json_scanner elements{2};
  elements.open(value.text);
  elements.enter_array();
  while (elements.next_element()) {
    const json_slice element = elements.value();
    if (!is_text(element) || !accept(decoded(element))) return false;
  }
  return true;
}

/// A scheme has no case (RFC 3986 §3.1).
bool is_http(std::string_view scheme) {
  const auto is = [&](std::string_view name) {
    return std::ranges::equal(scheme, name, [](char a, char b) {
      return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
    });
  };
  return is("http") || is("https");
}

/// What it must be, or nothing when it is. Whether this node may go there is net's to judge (net/webhook_target): it
/// depends on its configuration.
std::string_view url_complaint(std::string_view text) {
  constexpr std::string_view wrong = "must be an http or https URL";
  if (text.size() > limits::webhook_url_max_bytes) return "must have at most 2048 bytes";
  const auto scheme_end = text.find("://");
  if (scheme_end == std::string_view::npos || !is_http(text.substr(0, scheme_end))) return wrong;
  const auto rest = text.substr(scheme_end + 3);
  const auto authority = rest.substr(0, rest.find_first_of("/?#"));
  if (authority.empty()) return wrong;
  if (authority.find('@') != std::string_view::npos) return "must not hold a user name or password";
  if (text.find('#') != std::string_view::npos) return "must have no fragment";
  return "";
}
static_assert(limits::webhook_url_max_bytes == 2048, "the complaint names it");

constexpr std::string_view wrong_time = "must be a time such as 2026-01-31T12:00:00Z";
constexpr std::string_view wrong_retention = "must be a duration of at least 1h, such as \"720h\"";
constexpr std::string_view wrong_room_retention =
    "must be a duration of at least 1h, such as \"720h\", or null";

/// What a value must be, or nothing when it is.
std::string_view complaint(config_type type, const json_slice& value) {
  switch (type) {
    case config_type::count:
      return as_count(value) ? "" : "must be an integer that is not negative";
    case config_type::text:
      return is_text(value) ? "" : "must be a string that is not empty";
    case config_type::texts:
      return is_array_of_texts(value, [](const std::string&) { return true; })
                 ? ""
                 : "must be an array of strings that are not empty";
    case config_type::url:
      return is_text(value) ? url_complaint(decoded(value)) : "must be an http or https URL";
    case config_type::format:
      return is_text(value) && (decoded(value) == "parley" || decoded(value) == "chatapi")
                 ? ""
                 : "must be \"parley\" or \"chatapi\"";
    case config_type::events:
      return is_array_of_texts(
                 value, [](const std::string& event) { return parse_event_type(event).has_value(); })
                 ? ""
                 : "must be an array of webhook events";
    case config_type::retention:
      return is_text(value) && parse_retention(decoded(value)) ? "" : wrong_retention;
  }
  return {};
}

void check_config(field_reader& read, const json_slice& config, std::size_t max_depth) {
  if (!config.is(json_kind::object)) {
    read.refuse("config", "must be an object");
    return;
  }
  json_scanner fields{max_depth};
  fields.open(config.text);
  fields.enter_object();
  while (const auto key = fields.next_key()) {
    const auto row = std::find_if(config_keys.begin(), config_keys.end(),
                                  [&](const config_key& known) { return known.name == *key; });
    const json_slice value = fields.value();
    const std::string field = "config." + std::string{*key};
    if (row == config_keys.end()) {
      read.refuse(field, "is not a configuration key of a tenant");
    } else if (const auto wrong = complaint(row->type, value); !wrong.empty()) {
      read.refuse(field, wrong);
    }
  }
}

/// Whom a notification is for; at least one kind of them.
void read_targets(field_reader& read, const json_slice& targets, std::size_t max_depth,
                  notify_body& out) {
  if (!targets.is(json_kind::object)) {
    read.refuse("targets", targets.is(json_kind::none) ? "is required" : "must be an object");
    return;
  }
  json_scanner fields{max_depth};
  fields.open(targets.text);
  fields.enter_object();
  while (const auto key = fields.next_key()) {
    const std::string name{*key};
    const json_slice value = fields.value();
    if (value.is_void()) continue;
    if (name == "user_ids") {
      out.users = read.users(value, "targets.user_ids", limits::notify_users_max);
    } else if (name == "room_id") {
      if (const auto text = read.text(value, "targets.room_id"))
        out.room = room_id::parse(*text).value_or(room_id{});
    } else if (name == "topic_subscribers") {
      out.topic_subscribers = value.text == "true";
      if (!value.is(json_kind::boolean))
        read.refuse("targets.topic_subscribers", "must be true or false");
    }
  }
  if (out.users.empty() && !out.room && !out.topic_subscribers)
    read.refuse("targets", "must name users, a room or the topic's subscribers");
}

}  // namespace

struct rest_body_parser::impl {
  explicit impl(const node_limits& with) : bounds(with), scanner(with.max_json_depth) {}

  const node_limits bounds;
  json_scanner scanner;

  /// One pass over the body. What is wrong with the text as a whole is refused in `read`.
  template <std::size_t N>
  body_fields<N> scan(std::string_view body, field_reader& read,
                      const std::array<std::string_view, N>& names) {
    body_fields<N> out{names};
    if (!is_valid_utf8(body)) {
      read.refuse(invalid({}, "not valid UTF-8"));
      return out;
    }
    std::string_view faulty;
    scanner.open(body);
    if (scanner.enter_object()) {
      while (const auto key = scanner.next_key()) {
        const auto place = std::find(names.begin(), names.end(), *key);
        const json_slice value = scanner.value();
        if (place == names.end()) continue;
        out.values.at(static_cast<std::size_t>(place - names.begin())) = value;
        if (!value.sound && faulty.empty()) faulty = *place;
      }
    }
    if (!scanner.finish()) {
      read.refuse(malformed(scanner.fault(), faulty));
      out.values.fill({});  // what follows is not looked at
    }
    return out;
  }
};

rest_body_parser::rest_body_parser(const node_limits& bounds)
    : impl_(std::make_unique<impl>(bounds)) {}
rest_body_parser::~rest_body_parser() = default;

result<create_room_body> rest_body_parser::create_room(std::string_view body) {
  field_reader read{impl_->bounds};
  const auto fields = impl_->scan<5>(body, read, {"type", "members", "name", "metadata", "posting"});
  create_room_body out;
  const auto type = read.text(fields["type"], "type");
  if (const auto known = parse_room_type(type.value_or(""))) {
    out.type = *known;
  } else {
    read.refuse("type", "must be \"dm\", \"group\" or \"channel\"");
  }
  out.members = read.users(fields["members"], "members", no_bound);
  out.name = read.name(fields["name"], "name");
  out.metadata = read.meta(fields["metadata"], "metadata");
  if (!fields["posting"].is_void()) {
    const auto posting = parse_posting(read.text(fields["posting"], "posting").value_or(""));
    if (!posting) read.refuse("posting", "must be \"all\" or \"admins\"");
    out.posting = posting.value_or(posting_policy::all);
  }
  if (auto why = read.failure()) return std::move(*why);
  return out;
}

result<send_body> rest_body_parser::send(std::string_view body) {
  field_reader read{impl_->bounds};
  const auto fields =
      impl_->scan<5>(body, read, {"content", "meta", "client_msg_id", "reply_to", "sender_id"});
  send_body out;
  out.message.content = read.content(fields["content"], fields["meta"]);
  out.message.meta = read.meta(fields["meta"], "meta");
  out.message.client_msg_id = read.client_msg_id(fields["client_msg_id"]);
  out.message.reply_to = read.reply_to(fields["reply_to"]);
  out.sender = read.user(fields["sender_id"], "sender_id");
  if (auto why = read.failure()) {
    why->stored = stored_state::no;
    return std::move(*why);
  }
  return out;
}

result<edit_message_frame> rest_body_parser::edit(std::string_view body) {
  field_reader read{impl_->bounds};
  const auto fields = impl_->scan<3>(body, read, {"content", "meta", "client_msg_id"});
  edit_message_frame out;
  out.content = read.content(fields["content"], fields["meta"]);
  if (!fields["meta"].is(json_kind::none)) out.meta = read.meta(fields["meta"], "meta");
  out.client_msg_id = read.client_msg_id(fields["client_msg_id"]);
  if (auto why = read.failure()) {
    why->stored = stored_state::no;
    return std::move(*why);
  }
  return out;
}

result<std::string> rest_body_parser::remove(std::string_view body) {
  field_reader read{impl_->bounds};
  const auto fields = impl_->scan<1>(body, read, {"client_msg_id"});
  auto out = read.client_msg_id(fields["client_msg_id"]);
  if (auto why = read.failure()) {
    why->stored = stored_state::no;
    return std::move(*why);
  }
  return out;
}

result<update_room_body> rest_body_parser::update_room(std::string_view body) {
  field_reader read{impl_->bounds};
  const auto fields = impl_->scan<4>(body, read, {"name", "metadata", "posting", "retention"});
  update_room_body out;
  if (!fields["name"].is(json_kind::none)) out.name.emplace(read.name(fields["name"], "name"));
  if (!fields["metadata"].is(json_kind::none))
    out.metadata = read.meta(fields["metadata"], "metadata");
  if (!fields["posting"].is_void()) {
    out.posting = parse_posting(read.text(fields["posting"], "posting").value_or(""));
    if (!out.posting) read.refuse("posting", "must be \"all\" or \"admins\"");
  }
  if (const json_slice& retention = fields["retention"]; retention.is(json_kind::null)) {
    out.retention.emplace();
  } else if (!retention.is(json_kind::none)) {
    if (is_text(retention)) out.retention = parse_retention(decoded(retention));
    if (!out.retention || !*out.retention) read.refuse("retention", wrong_room_retention);
  }
  if (auto why = read.failure()) return std::move(*why);
  return out;
}

result<member_role> rest_body_parser::update_member(std::string_view body) {
  field_reader read{impl_->bounds};
  const auto fields = impl_->scan<1>(body, read, {"role"});
  const auto role = parse_member_role(read.text(fields["role"], "role").value_or(""));
  if (!role) read.refuse("role", "must be \"member\", \"admin\" or \"owner\"");
  if (auto why = read.failure()) return std::move(*why);
  return *role;
}

result<add_members_body> rest_body_parser::add_members(std::string_view body) {
  field_reader read{impl_->bounds};
  const auto fields = impl_->scan<2>(body, read, {"user_ids", "role"});
  add_members_body out;
  out.users = read.users(fields["user_ids"], "user_ids", limits::members_max_per_call);
  if (out.users.empty()) read.refuse("user_ids", "must name a user");
  if (!fields["role"].is_void()) {
    out.role = parse_member_role(read.text(fields["role"], "role").value_or(""));
    if (!out.role) read.refuse("role", "must be \"member\", \"admin\" or \"owner\"");
  }
  if (auto why = read.failure()) return std::move(*why);
  return out;
}

result<std::pair<room_id, room_seq>> rest_body_parser::cursor(std::string_view body) {
  field_reader read{impl_->bounds};
  const auto fields = impl_->scan<2>(body, read, {"room_id", "seq"});
  const room_id room = read.room(fields["room_id"]);
  const room_seq seq = read.seq(fields["seq"], "seq");
  if (auto why = read.failure()) return std::move(*why);
  return std::pair{room, seq};
}

result<create_tenant_body> rest_body_parser::create_tenant(std::string_view body) {
  field_reader read{impl_->bounds};
  const auto fields = impl_->scan<2>(body, read, {"name", "config"});
  create_tenant_body out;
  out.name = read.name(fields["name"], "name").value_or("");
  if (out.name.empty()) read.refuse("name", "is required");
  out.config = "{}";
  if (const json_slice& config = fields["config"]; !config.is_void()) {
    check_config(read, config, impl_->bounds.max_json_depth);
    out.config = minified(config);
  }
  if (auto why = read.failure()) return std::move(*why);
  return out;
}

result<update_tenant_body> rest_body_parser::update_tenant(std::string_view body) {
  field_reader read{impl_->bounds};
  const auto fields = impl_->scan<3>(body, read, {"name", "config", "disabled"});
  update_tenant_body out;
  if (!fields["name"].is_void()) {
    out.name = read.name(fields["name"], "name");
    if (out.name && out.name->empty()) read.refuse("name", "must not be empty");
  }
  if (const json_slice& config = fields["config"]; !config.is_void()) {
    check_config(read, config, impl_->bounds.max_json_depth);
    out.config = minified(config);
  }
  if (const json_slice& disabled = fields["disabled"]; !disabled.is_void()) {
    out.disabled = disabled.text == "true";
    if (disabled.text != "true" && disabled.text != "false")
      read.refuse("disabled", "must be true or false");
  }
  if (!read.has_failed() && !out.name && !out.config && !out.disabled)
    read.refuse("disabled", "or name or config must be given");
  if (auto why = read.failure()) return std::move(*why);
  return out;
}

result<std::string> rest_body_parser::key_kind(std::string_view body) {
  field_reader read{impl_->bounds};
  const auto fields = impl_->scan<1>(body, read, {"kind"});
  auto kind = read.text(fields["kind"], "kind").value_or("");
  if (kind != "api_key" && kind != "jwt_secret" && kind != "webhook_secret")
    read.refuse("kind", R"(must be "api_key", "jwt_secret" or "webhook_secret")");
  if (auto why = read.failure()) return std::move(*why);
  return kind;
}

result<std::optional<utc_time>> rest_body_parser::disconnect(std::string_view body) {
  std::optional<utc_time> out;
  if (body.empty()) return out;
  field_reader read{impl_->bounds};
  const auto fields = impl_->scan<1>(body, read, {"revoke_before"});
  if (!fields["revoke_before"].is_void()) {
    out = parse_rfc3339(read.text(fields["revoke_before"], "revoke_before").value_or(""));
    if (!out) read.refuse("revoke_before", wrong_time);
  }
  if (auto why = read.failure()) return std::move(*why);
  return out;
}

result<replay_body> rest_body_parser::replay(std::string_view body) {
  field_reader read{impl_->bounds};
  const auto fields = impl_->scan<3>(body, read, {"since", "until", "dead_letters"});
  const auto time = [&](std::string_view name) -> std::optional<utc_time> {
    const json_slice& value = fields[name];
    if (value.is_void()) return std::nullopt;
    const auto out = parse_rfc3339(read.text(value, name).value_or(""));
    if (!out) read.refuse(name, wrong_time);
    return out;
  };
  replay_body out;
  out.since = time("since");
  out.until = time("until");
  if (const json_slice& letters = fields["dead_letters"]; !letters.is_void()) {
    out.dead_letters = letters.text == "true";
    if (letters.text != "true" && letters.text != "false")
      read.refuse("dead_letters", "must be true or false");
  }
  if (!read.has_failed()) {
    if (out.since.has_value() == out.dead_letters)
      read.refuse("since", "or dead_letters must be given, and not both");
    else if (out.until && !out.since)
      read.refuse("until", "needs since");
    else if (out.until && *out.until <= *out.since)
      read.refuse("until", "must be after since");
  }
  if (auto why = read.failure()) return std::move(*why);
  return out;
}

std::optional<error> wrong_topic(std::string_view topic, const node_limits& bounds) {
  if (topic.size() > bounds.max_topic) {
    return beyond("max_topic", invalid("topic", "topic must be at most " +
                                                    std::to_string(bounds.max_topic) + " bytes"));
  }
  if (topic.empty() || has_control_character(topic) || !is_valid_utf8(topic))
    return invalid("topic", "topic must not be empty, nor hold control characters");
  return std::nullopt;
}

result<notify_body> rest_body_parser::notify(std::string_view body) {
  field_reader read{impl_->bounds};
  const auto fields = impl_->scan<4>(body, read, {"topic", "payload", "targets", "ttl_s"});
  notify_body out;
  if (auto topic = read.text(fields["topic"], "topic")) {
    if (auto wrong = wrong_topic(*topic, impl_->bounds)) read.refuse(std::move(*wrong));
    out.topic = std::move(*topic);
  }
  const json_slice& payload = fields["payload"];
  if (payload.is(json_kind::none)) {
    read.refuse("payload", "is required");
  } else if (!payload.is(json_kind::null)) {
    out.payload = json_text{minified(payload)};
    if (out.payload.value.size() > impl_->bounds.max_payload) {
      read.refuse(
          beyond("max_payload",
                 invalid("payload", "payload must be at most " +
                                        std::to_string(impl_->bounds.max_payload) + " bytes")));
    }
  }
  read_targets(read, fields["targets"], impl_->bounds.max_json_depth, out);
  out.ttl = limits::notification_ttl_default;
  if (const json_slice& ttl = fields["ttl_s"]; !ttl.is_void()) {
    out.ttl = std::chrono::seconds{as_count(ttl).value_or(0)};
    if (out.ttl.count() < 1 || out.ttl > limits::notification_ttl_max) {
      read.refuse("ttl_s", "must be an integer from 1 to " +
                               std::to_string(limits::notification_ttl_max.count()));
    }
  }
  if (auto why = read.failure()) return std::move(*why);
  return out;
}

result<std::vector<batch_item>> rest_body_parser::batch(std::string_view body) {
  field_reader read{impl_->bounds};
  const auto fields = impl_->scan<1>(body, read, {"messages"});
  std::vector<batch_item> out;
  const json_slice& messages = fields["messages"];
  if (!messages.is(json_kind::array)) {
    read.refuse("messages", "must be an array");
  } else {
    json_scanner elements{impl_->bounds.max_json_depth};
    elements.open(messages.text);
    elements.enter_array();
    while (elements.next_element() && out.size() <= limits::batch_max_items) {
      const json_slice element = elements.value();
      batch_item item;
      if (element.is(json_kind::object)) {
        item = batch_item_of(element.text);
      } else {
        item.failure = invalid("messages", "must be an array of objects");
      }
      if (item.failure) item.failure->stored = stored_state::no;
      out.push_back(std::move(item));
    }
    if (out.size() > limits::batch_max_items) {
      read.refuse("messages", "must have at most 1000 items");
    } else if (out.empty()) {
      read.refuse("messages", "must have an item");
    }
  }
  if (auto why = read.failure()) {
    why->stored = stored_state::no;
    return std::move(*why);
  }
  return out;
}

batch_item rest_body_parser::batch_item_of(std::string_view body) {
  batch_item item;
  auto sent = send(body);
  field_reader read{impl_->bounds};
  const auto fields = impl_->scan<1>(body, read, {"room_id"});
  item.room = read.room(fields["room_id"]);
  if (!sent) {
    item.failure = sent.error();
  } else if (auto why = read.failure()) {
    item.failure = std::move(*why);
  } else {
    item.send = std::move(*sent);
  }
  return item;
}

}  // namespace parley
