#include "app/config_keys.hpp"

#include "app/config_values.hpp"
#include "net/address_range.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <utility>

namespace parley::app {
namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kib = 1024;
constexpr std::uint64_t mib = 1024 * kib;
constexpr std::uint64_t gib = 1024 * mib;
constexpr milliseconds second{1000};
constexpr milliseconds minute = 60 * second;
constexpr milliseconds hour = 60 * minute;

enum class zero : std::uint8_t { is_a_value, is_none };

std::string or_none(zero z) { return z == zero::is_none ? ", or 0 for none" : ""; }

/// A number in [min, max]; `get` gives the member of a configuration.
template <class Get>
config_key number(std::string_view name, Get get, std::uint64_t min, std::uint64_t max, zero z,
                  std::string_view unit, std::string_view doc) {
  config_key key;
  key.name = name;
  key.allowed = "a number from " + std::to_string(min) + " to " + std::to_string(max) + or_none(z);
  key.unit = unit;
  key.doc = doc;
  key.parse = [=](config& c, std::string_view text, std::string&) {
    const auto value = parse_count(text);
    if (!value || ((*value < min || *value > max) && !(z == zero::is_none && *value == 0))) {
      return false;
    }
    get(c) = static_cast<std::remove_cvref_t<decltype(get(c))>>(*value);
    return true;
  };
  key.show = [=](const config& c) { return std::to_string(get(c)); };
  key.quoted_in_toml = false;
  return key;
}

/// So many `per` (`/s`, `/min`): a number, with or without that unit.
template <class Get>
config_key rate(std::string_view name, Get get, std::string_view per, std::string_view unit,
                std::string_view doc) {
  constexpr std::uint64_t max = 1'000'000;
  auto key = number(name, get, 1, max, zero::is_none, unit, doc);
  key.allowed = "a number from 1 to 1000000, or 0 for none; " + std::string{per} + " may follow";
  key.parse = [parse = key.parse, per](config& c, std::string_view text, std::string& why) {
    if (text.ends_with(per)) text.remove_suffix(per.size());
    return parse(c, text, why);
  };
  return key;
}

template <class Get>
config_key size(std::string_view name, Get get, std::uint64_t min, std::uint64_t max, zero z,
                std::string_view doc) {
  config_key key;
  key.name = name;
  key.allowed =
      "a size from " + show_size(min) + " to " + show_size(max) + or_none(z) + ", such as 64KiB";
  key.unit = "bytes";
  key.doc = doc;
  key.parse = [=](config& c, std::string_view text, std::string&) {
    const auto value = parse_size(text);
    if (!value || ((*value < min || *value > max) && !(z == zero::is_none && *value == 0))) {
      return false;
    }
    get(c) = *value;
    return true;
  };
  key.show = [=](const config& c) { return show_size(get(c)); };
  return key;
}

template <class Get>
config_key duration(std::string_view name, Get get, milliseconds min, milliseconds max,
                    std::string_view doc) {
  config_key key;
  key.name = name;
  key.allowed = "a duration from " + show_duration(min) + " to " + show_duration(max) +
                ", such as 500ms, 30s, 1m30s or 1.5h";
  key.doc = doc;
  key.parse = [=](config& c, std::string_view text, std::string&) {
    const auto value = parse_duration(text);
    if (!value || *value < min || *value > max) return false;
    get(c) = *value;
    return true;
  };
  key.show = [=](const config& c) { return show_duration(get(c)); };
  return key;
}

/// Or 0, for none.
template <class Get>
config_key duration_or_none(std::string_view name, Get get, milliseconds min, milliseconds max,
                            std::string_view doc) {
  auto key = duration(name, get, min, max, doc);
  key.allowed += ", or 0 for none";
  key.parse = [=, parse = key.parse](config& c, std::string_view text, std::string& why) {
    if (parse_duration(text) != milliseconds{0}) return parse(c, text, why);
    get(c) = milliseconds{0};
    return true;
  };
  return key;
}

/// One of a few words, in any case.
template <class Get, class Value>
config_key choice(std::string_view name, Get get,
                  std::vector<std::pair<std::string_view, Value>> values, std::string_view doc) {
  config_key key;
  key.name = name;
  key.doc = doc;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0) key.allowed += i + 1 == values.size() ? " or " : ", ";
    key.allowed += values[i].first;
    key.choices.push_back(values[i].first);
  }
  key.parse = [=](config& c, std::string_view text, std::string&) {
    const auto wanted = to_lower(text);
    const auto it = std::ranges::find_if(values, [&](const auto& v) { return v.first == wanted; });
    if (it == values.end()) return false;
    get(c) = it->second;
    return true;
  };
  key.show = [=](const config& c) {
    const auto it = std::ranges::find_if(values, [&](const auto& v) { return v.second == get(c); });
    return std::string{it->first};
  };
  return key;
}

template <class Get>
config_key flag(std::string_view name, Get get, std::string_view doc) {
  auto key =
      choice(name, get,
             std::vector<std::pair<std::string_view, bool>>{{"true", true}, {"false", false}}, doc);
  key.quoted_in_toml = false;
  return key;
}

using text_check = bool (*)(std::string_view);

template <class Get>
config_key text(std::string_view name, Get get, text_check is_allowed, std::string_view allowed,
                std::string_view doc) {
  config_key key;
  key.name = name;
  key.allowed = allowed;
  key.doc = doc;
  key.parse = [=](config& c, std::string_view value, std::string&) {
    if (!is_allowed(value)) return false;
    get(c) = std::string{value};
    return true;
  };
  key.show = [=](const config& c) -> std::string {
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(get(c))>, std::filesystem::path>) {
      return get(c).string();
    } else {
      return get(c);
    }
  };
  return key;
}

bool is_path(std::string_view t) { return !t.empty() && t.find('\0') == std::string_view::npos; }
bool is_any_text(std::string_view) { return true; }
/// It travels in an HTTP header.
bool is_header_secret(std::string_view t) {
  return !t.empty() && t.size() <= 512 &&
         std::ranges::all_of(t, [](char c) { return c > 0x20 && c < 0x7f; });
}
bool is_hex_key(std::string_view t) {
  return t.size() == 64 && t.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
}

config_key database_key() {
  config_key key;
  key.name = "database";
  key.allowed = "the path of a file, or a file: URI";
  key.doc =
      "The database: a path, or SQLite's `file:` URI, whose parameters have no effect. A relative "
      "path lies in "
      "`data_dir`.";
  key.parse = [](config& c, std::string_view value, std::string& why) {
    auto parsed = parse_database(value);
    if (auto* reason = std::get_if<std::string>(&parsed)) {
      why = std::move(*reason);
      return false;
    }
    c.database = std::get<database_name>(parsed).path;
    return true;
  };
  key.show = [](const config& c) { return c.database; };
  key.aliases = {"database_dsn"};
  key.chatapi_names = {"DATABASE_DSN"};
  return key;
}

config_key listen_addr_key() {
  config_key key;
  key.name = "listen_addr";
  key.allowed = "host:port, [v6 address]:port or :port";
  key.doc =
      "Where REST and WebSocket are served. `:8080` is port 8080 of all IPv4 addresses, "
      "`[::]:8080` of all "
      "addresses; port 0 lets the system choose.";
  key.parse = [](config& c, std::string_view value, std::string&) {
    if (!parse_host_port(value)) return false;
    c.listen_addr = value;
    return true;
  };
  key.show = [](const config& c) { return c.listen_addr; };
  key.chatapi_names = {"LISTEN_ADDR"};
  return key;
}

config_key admin_listen_key() {
  config_key key;
  key.name = "admin_listen";
  key.allowed = "host:port, [v6 address]:port or :port, or empty for none";
  key.doc =
      "A second address for the operator alone: `/metrics` for all who reach it, health and "
      "`/admin` (with its key), and nothing else. Keep it off the public network.";
  key.parse = [](config& c, std::string_view value, std::string&) {
    if (!value.empty() && !parse_host_port(value)) return false;
    c.admin_listen = value;
    return true;
  };
  key.show = [](const config& c) { return c.admin_listen; };
  return key;
}

config_key metrics_allow_key() {
  config_key key;
  key.name = "metrics_allow";
  key.allowed = "address ranges such as 10.0.0.0/8 or ::1/128, separated by commas";
  key.doc =
      "Who may read `/metrics` at `listen_addr`; for all others, and for what a proxy passes on, "
      "there is no such path. Empty: nobody.";
  key.parse = [](config& c, std::string_view value, std::string& why) {
    auto ranges = split_list(value);
    for (const auto& range : ranges) {
      if (!net::parse_address_range(range)) {
        why = in_quotes(range) + " is no address range (address/bits, no bits set beyond them)";
        return false;
      }
    }
    c.metrics_allow = std::move(ranges);
    return true;
  };
  key.show = [](const config& c) {
    std::string out;
    for (const auto& range : c.metrics_allow) out += (out.empty() ? "" : ",") + range;
    return out;
  };
  return key;
}

config_key allowed_origins_key() {
  config_key key;
  key.name = "ws_allowed_origins";
  key.allowed = "origins such as https://chat.example.com, separated by commas, or *";
  key.doc =
      "Browser origins that may connect and call REST (CORS), beside the node's own host. Empty: "
      "no other; `*`: "
      "every one.";
  key.parse = [](config& c, std::string_view value, std::string& why) {
    auto origins = split_list(value);
    for (const auto& origin : origins) {
      if (!is_origin(origin)) {
        why = in_quotes(origin) + " is no origin (scheme://host[:port], lower case, no path)";
        return false;
      }
    }
    c.ws_allowed_origins = std::move(origins);
    return true;
  };
  key.show = [](const config& c) {
    std::string out;
    for (const auto& origin : c.ws_allowed_origins) out += (out.empty() ? "" : ",") + origin;
    return out;
  };
  key.chatapi_names = {"WS_ALLOWED_ORIGINS"};
  return key;
}

// What a row says beside its builder's arguments.
config_key with_chatapi(config_key key, std::vector<std::string_view> names) {
  key.chatapi_names = std::move(names);
  return key;
}
config_key with_alias(config_key key, std::string_view alias) {
  key.aliases.push_back(alias);
  return key;
}
config_key secret(config_key key) {
  key.secret = true;
  return key;
}
config_key reloadable(config_key key) {
  key.reloadable = true;
  return key;
}

// NOLINTNEXTLINE(cppcoreguidelines-macro-usage): an accessor for const and non-const in one word.
#define PARLEY_MEMBER(member) \
  [](auto& c) -> auto& { return c.member; }

config_section place_keys() {
  return {
      "Where it listens, what it keeps",
      {listen_addr_key(), admin_listen_key(), metrics_allow_key(), allowed_origins_key(),
       flag("ws_jwt_in_query", PARLEY_MEMBER(ws_jwt_in_query),
            "`true`: `/ws?token=` takes a JWT too, for clients that can do nothing else. Then "
            "keep query strings out of the proxy's logs, and tokens short-lived."),
       with_chatapi(
           text("data_dir", PARLEY_MEMBER(data_dir), is_path, "the path of a directory",
                "The node's directory: database, lock, `secret_key`. Made when absent, for the "
                "node's user alone."),
           {"DATA_DIR"}),
       database_key(),
       choice("durability", PARLEY_MEMBER(durability),
              std::vector<std::pair<std::string_view, store::durability>>{
                  {"full", store::durability::full}, {"normal", store::durability::normal}},
              "`full`: what is accepted survives power loss (an fsync a commit). `normal`: it "
              "survives a "
              "crash of the process; power loss may cost the last moments."),
       with_chatapi(duration("worker_interval", PARLEY_MEMBER(worker_interval), second, 24 * hour,
                             "Period of the clean-up work: how often the node looks for what "
                             "`message_retention` is to remove. Delivery does not wait for it."),
                    {"WORKER_INTERVAL"}),
       duration_or_none("message_retention", PARLEY_MEMBER(message_retention), hour,
                        10 * 365 * 24 * hour,
                        "How long messages are kept, where neither their room nor their tenant "
                        "says otherwise. 0s: for ever. The beginning of a log is removed, never "
                        "its newest entry."),
       duration("idempotency_ttl", PARLEY_MEMBER(limits.idempotency_ttl), 24 * hour, 30 * 24 * hour,
                "How long the key of an accepted send is remembered, so that a repeat stores "
                "nothing.")}};
}

config_section secret_keys() {
  return {
      "Secrets (better in the environment: PARLEY_…, or PARLEY_…_FILE with the path of a file)",
      {with_chatapi(
           secret(text(
               "master_api_key", PARLEY_MEMBER(master_api_key), is_header_secret,
               "1 to 512 visible ASCII characters without spaces",
               "The operator's credential (`X-Master-Key`) for `/admin`. Without it the node does "
               "not start, except with `--dev`.")),
           {"MASTER_API_KEY"}),
       secret(text("secret_key", PARLEY_MEMBER(secret_key), is_hex_key, "64 hex digits",
                   "Seals the secrets in the database. Not given: the file `secret_key` in "
                   "`data_dir`, made "
                   "at the first start; keep a copy of it apart from backups."))}};
}

config_section log_keys() {
  return {
      "Logs (on standard error)",
      {with_chatapi(reloadable(choice(
                        "log_level", PARLEY_MEMBER(log_level),
                        std::vector<std::pair<std::string_view, parley::log_level>>{
                            {"debug", parley::log_level::debug},
                            {"info", parley::log_level::info},
                            {"warn", parley::log_level::warn},
                            {"error", parley::log_level::error}},
                        "Lines below it are not written; notices (starting, listening, draining) "
                        "always are.")),
                    {"LOG_LEVEL"}),
       choice("log_format", PARLEY_MEMBER(log_format),
              std::vector<std::pair<std::string_view, log_format>>{{"json", log_format::json},
                                                                   {"text", log_format::text}},
              "`json`: an object a line, for machines. `text`: for people."),
       with_chatapi(
           text("log_dir", PARLEY_MEMBER(log_dir), is_any_text, "any text",
                "Has no effect: logs go to standard error. Accepted, with a warning, for ChatAPI's "
                "settings."),
           {"LOG_DIR"})}};
}

config_section thread_keys() {
  return {
      "Threads",
      {number("io_threads", PARLEY_MEMBER(io_threads), 0, 64, zero::is_a_value, "threads",
              "Threads that serve sockets and run actors. 0: the cores less one, at least one."),
       number("reader_threads", PARLEY_MEMBER(reader_threads), 1, 16, zero::is_a_value, "threads",
              "Threads that read history from the database.")}};
}

config_section message_keys() {
  return {"Sizes (beyond them: 400, 413 or a closed WebSocket)",
          {size("max_content", PARLEY_MEMBER(limits.max_content), 1, mib, zero::is_a_value,
                "A message's `content`, in bytes of UTF-8."),
           size("max_meta", PARLEY_MEMBER(limits.max_meta), 2, mib, zero::is_a_value,
                "A message's `meta` and a room's `metadata`, as JSON without white space."),
           size("max_name", PARLEY_MEMBER(limits.max_name), 1, 4 * kib, zero::is_a_value,
                "A room's name."),
           size("max_topic", PARLEY_MEMBER(limits.max_topic), 1, 4 * kib, zero::is_a_value,
                "A notification's topic."),
           size("max_payload", PARLEY_MEMBER(limits.max_payload), 2, mib, zero::is_a_value,
                "A notification's payload, as JSON without white space."),
           size("max_body", PARLEY_MEMBER(limits.max_body), kib, 64 * mib, zero::is_a_value,
                "The body of a REST request."),
           size("max_batch_body", PARLEY_MEMBER(limits.max_batch_body), kib, 64 * mib,
                zero::is_a_value, "The body of `POST /messages/batch`."),
           size("max_header", PARLEY_MEMBER(limits.max_header), kib, 64 * kib, zero::is_a_value,
                "Request line and headers together."),
           number("max_json_depth", PARLEY_MEMBER(limits.max_json_depth), 4, 128, zero::is_a_value,
                  "levels", "How deep JSON may nest, the outer object counted."),
           size("ws_max_frame", PARLEY_MEMBER(limits.ws_max_frame), kib, 16 * mib, zero::is_a_value,
                "A WebSocket message from a client. Room for `max_content` and `max_meta` with "
                "their escapes.")}};
}

config_section memory_keys() {
  return {
      "Memory (the worst case: parley config print --limits)",
      {size("ws_send_buffer", PARLEY_MEMBER(limits.ws_send_buffer), 16 * kib, 64 * mib,
            zero::is_a_value,
            "Bytes that wait for one slow connection; beyond it the connection is served from "
            "the log as it "
            "drains."),
       size("ws_send_buffer_total", PARLEY_MEMBER(limits.ws_send_buffer_total), mib, 1024 * gib,
            zero::is_none,
            "The same, all connections together; the less of it is left, the less each may take."),
       size("http_body_total", PARLEY_MEMBER(limits.http_body_total), mib, 1024 * gib,
            zero::is_none, "Bytes of requests that are being read or answered, all together."),
       duration("max_commit_queue", PARLEY_MEMBER(limits.max_commit_queue), milliseconds{100}, minute,
                "How long a message may wait for its commit; beyond it new ones are refused "
                "with 503.")}};
}

config_section count_keys() {
  constexpr std::uint64_t many = 100'000'000;
  return {
      "How many",
      {with_chatapi(
           with_alias(number("max_connections_per_user", PARLEY_MEMBER(limits.max_connections_per_user),
                             1, many, zero::is_none, "connections",
                             "WebSockets of one user; the newest beyond it is closed with 1008."),
                      "ws_max_connections_per_user"),
           {"MAX_CONNECTIONS_PER_USER", "WS_MAX_CONNECTIONS_PER_USER"}),
       reloadable(number("max_connections_per_tenant", PARLEY_MEMBER(max_connections_per_tenant), 1,
                         many, zero::is_none, "connections",
                         "WebSockets of one tenant; beyond it 429.")),
       reloadable(number("max_connections_per_address", PARLEY_MEMBER(max_connections_per_address),
                         1, many, zero::is_none, "connections",
                         "WebSockets of one client address; beyond it 429.")),
       number("ws_max_connections", PARLEY_MEMBER(limits.ws_max_connections), 0, many,
              zero::is_a_value, "connections",
              "WebSockets of the node. 0: what file descriptors and memory allow."),
       number("ws_max_unauthenticated", PARLEY_MEMBER(ws_max_unauthenticated), 1, many,
              zero::is_none, "connections", "WebSockets that have not sent their `auth` frame yet."),
       number("max_subscriptions", PARLEY_MEMBER(limits.max_subscriptions), 1, many, zero::is_none,
              "rooms", "Rooms that are live on one connection."),
       number("max_rooms_per_user", PARLEY_MEMBER(limits.max_rooms_per_user), 1, many,
              zero::is_none, "rooms", "Rooms that one user is a member of; beyond it 409."),
       number("max_rooms_per_tenant", PARLEY_MEMBER(max_rooms_per_tenant), 1, many, zero::is_none,
              "rooms", "Rooms of one tenant; beyond it 409."),
       number("max_room_members", PARLEY_MEMBER(limits.max_room_members), 2, many, zero::is_none,
              "members", "Members of one room; beyond it 409."),
       number("max_notification_targets", PARLEY_MEMBER(limits.max_notification_targets), 1,
              1'000'000, zero::is_a_value, "users",
              "Users and subscribers that one notification may name; beyond it 409. Members of a "
              "room do not count."),
       number("max_topics_per_user", PARLEY_MEMBER(limits.max_topics_per_user), 1, many,
              zero::is_none, "topics", "Topics that one user subscribes to; beyond it 409."),
       number("sync_max_events", PARLEY_MEMBER(limits.sync_max_events), 1, 100'000,
              zero::is_a_value, "entries",
              "Missed entries that a sync sends for one room; beyond it the client is told the gap "
              "and gets "
              "the newest."),
       number("presence_max_members", PARLEY_MEMBER(presence_max_members), 0, many,
              zero::is_a_value, "members", "Presence is shown in dms and groups up to this size."),
       number("receipt_max_members", PARLEY_MEMBER(receipt_max_members), 0, many, zero::is_a_value,
              "members", "Receipts are shown to others in rooms up to this size."),
       number("typing_max_members", PARLEY_MEMBER(typing_max_members), 0, many, zero::is_a_value,
              "members", "Typing is shown in rooms up to this size.")}};
}

config_section rate_keys() {
  constexpr std::uint64_t max_burst = 1'000'000;
  return {
      "How often",
      {with_chatapi(
           reloadable(rate("default_rate_limit", PARLEY_MEMBER(default_rate_limit), "/s", "a second",
                           "REST requests of a tenant; its own `rate_limit` replaces it.")),
           {"DEFAULT_RATE_LIMIT"}),
       reloadable(rate("default_message_rate", PARLEY_MEMBER(default_message_rate), "/s",
                       "a second", "Messages of a tenant; its own `message_rate` replaces it.")),
       reloadable(
           rate("user_send_rate", PARLEY_MEMBER(user_send_rate), "/s", "a second",
                "Messages of a user over REST and WebSocket together. The backend itself has "
                "no limit.")),
       reloadable(number("user_send_burst", PARLEY_MEMBER(user_send_burst), 1, max_burst,
                         zero::is_a_value, "messages", "How many of them may come at once.")),
       rate("ws_frame_rate", PARLEY_MEMBER(ws_frame_rate), "/s", "a second",
            "Frames of a connection, then 4029. `ack`, `read`, `typing` and control frames cost "
            "nothing."),
       number("ws_frame_burst", PARLEY_MEMBER(ws_frame_burst), 1, max_burst, zero::is_a_value,
              "frames", "How many of them may come at once."),
       reloadable(rate("ws_connect_rate", PARLEY_MEMBER(ws_connect_rate), "/s", "a second",
                       "WebSocket upgrades of the whole node; beyond it 503.")),
       reloadable(rate("auth_failure_rate", PARLEY_MEMBER(auth_failure_rate), "/min", "a minute",
                       "Failed authentications of one client address; beyond it 429."))}};
}

config_section time_keys() {
  return {
      "How long",
      {duration("request_timeout", PARLEY_MEMBER(limits.request_timeout), milliseconds{100},
                10 * minute, "From a request's first byte to its last, and for its answer."),
       duration(
           "ws_ping_interval", PARLEY_MEMBER(limits.ws_ping_interval), milliseconds{100}, hour,
           "Between two pings; a connection that is silent for twice as long is closed with 4009."),
       duration("ws_stall_timeout", PARLEY_MEMBER(limits.ws_stall_timeout), milliseconds{100}, hour,
                "How long a connection may take nothing of what waits for it; then 4008."),
       duration("ws_ticket_ttl", PARLEY_MEMBER(ws_ticket_ttl), second, hour,
                "Life of a ticket from `POST /ws/token`."),
       duration("presence_grace", PARLEY_MEMBER(presence_grace), milliseconds{0}, hour,
                "How long after its last connection a user is shown as offline."),
       duration("herd_window", PARLEY_MEMBER(herd_window), milliseconds{0}, hour,
                "No presence is shown for so long after a start, while everybody reconnects. "
                "`--dev`: 0s."),
       duration("typing_interval", PARLEY_MEMBER(typing_interval), milliseconds{0}, minute,
                "At most one `typing.start` per user and room is passed on in this time."),
       duration("typing_timeout", PARLEY_MEMBER(typing_timeout), milliseconds{100}, 10 * minute,
                "Typing stops by itself after so long.")}};
}

config_section webhook_keys() {
  return {
      "Webhooks (a tenant's own settings: webhook_url, webhook_events, webhook_format), "
      "notifications",
      {flag("webhook_allow_private", PARLEY_MEMBER(webhook_allow_private),
            "`true`: webhooks may go to plain HTTP, to any port, and to loopback, private and "
            "link-local addresses. Only where all tenants are trusted."),
       duration("webhook_timeout", PARLEY_MEMBER(webhook_timeout), milliseconds{100}, 2 * minute,
                "For an endpoint's answer; resolving its name, connecting and TLS have half of it "
                "each."),
       text("webhook_ca_file", PARLEY_MEMBER(webhook_ca_file), is_any_text,
            "the path of a PEM file, or empty",
            "Certificate authorities that webhooks trust beside the system's."),
       number("webhook_max_in_flight", PARLEY_MEMBER(webhook_max_in_flight), 1, 256,
              zero::is_a_value, "requests",
              "Requests under way to one endpoint, each about another room; all endpoints "
              "together: 256."),
       duration("offline_after", PARLEY_MEMBER(offline_after), milliseconds{0}, 24 * hour,
                "A message that none of a member's devices has acked after so long is told as "
                "`message.offline`."),
       number("offline_webhook_max_members", PARLEY_MEMBER(offline_webhook_max_members), 0,
              100'000'000, zero::is_a_value, "members",
              "Rooms up to this size: one `message.offline` a member; beyond: one a message, with "
              "a list."),
       with_chatapi(number("retry_max_attempts", PARLEY_MEMBER(retry_max_attempts), 1, 1000,
                           zero::is_a_value, "attempts", "Of a webhook; then it is a dead letter."),
                    {"RETRY_MAX_ATTEMPTS"}),
       with_chatapi(
           duration("retry_interval", PARLEY_MEMBER(retry_interval), milliseconds{10}, 24 * hour,
                    "After the first failure a webhook waits up to so long (full jitter), "
                    "after each further one up to twice as long. A notification that is not "
                    "acknowledged is sent again after so long, then after twice that, and so on."),
           {"RETRY_INTERVAL"}),
       duration("retry_max_interval", PARLEY_MEMBER(retry_max_interval), milliseconds{10},
                7 * 24 * hour, "But never longer than this."),
       number("outbox_max_events", PARLEY_MEMBER(outbox_max_events), 1000, 100'000'000,
              zero::is_a_value, "events",
              "That wait for one endpoint; later ones are dropped, counted and logged."),
       duration("dead_letter_ttl", PARLEY_MEMBER(dead_letter_ttl), hour, 10 * 365 * 24 * hour,
                "How long dead letters are kept.")}};
}

config_section drain_keys() {
  return {"The end",
          {duration("drain_delay", PARLEY_MEMBER(drain_delay), milliseconds{0}, hour,
                    "After SIGTERM `/readyz` says 503 for so long while all is served as before. "
                    "`--dev`: 0s."),
           with_chatapi(duration("shutdown_drain_timeout", PARLEY_MEMBER(shutdown_drain_timeout),
                                 milliseconds{100}, hour,
                                 "The whole end, from the signal to the exit, takes no longer."),
                        {"SHUTDOWN_DRAIN_TIMEOUT"}),
           duration("reconnect_window", PARLEY_MEMBER(reconnect_window), milliseconds{0}, hour,
                    "Over which time clients are told to come back. 0s: a second per 2,000 "
                    "connections, at least "
                    "half a second.")}};
}

#undef PARLEY_MEMBER

}  // namespace

const std::vector<config_section>& config_sections() {
  static const std::vector<config_section> sections{
      place_keys(), secret_keys(), log_keys(),  thread_keys(),  message_keys(), memory_keys(),
      count_keys(), rate_keys(),   time_keys(), webhook_keys(), drain_keys()};
  return sections;
}

const config_key* find_key(std::string_view name) {
  for (const auto& section : config_sections()) {
    for (const auto& key : section.keys) {
      if (key.name == name || std::ranges::find(key.aliases, name) != key.aliases.end())
        return &key;
    }
  }
  return nullptr;
}

std::span<const std::string_view> key_names() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> all;
    for (const auto& section : config_sections()) {
      for (const auto& key : section.keys) {
        all.push_back(key.name);
        all.insert(all.end(), key.aliases.begin(), key.aliases.end());
      }
    }
    return all;
  }();
  return names;
}

std::span<const std::string_view> other_variables() {
  static constexpr std::array<std::string_view, 9> variables{
      "PARLEY_BREAK", "PARLEY_BIN",  "PARLEY_BENCH_BIN",  "PARLEY_SOURCE_DIR",     "PARLEY_URL",
      "PARLEY_SEED",  "PARLEY_JOBS", "PARLEY_JWT_SECRET", "PARLEY_JWT_SECRET_FILE"};
  return variables;
}

}  // namespace parley::app
