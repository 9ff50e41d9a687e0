#include "protocol/client_frame.hpp"

#include "protocol/field_reader.hpp"
#include "protocol/json_canonical.hpp"
#include "protocol/json_scan.hpp"

#include <array>
#include <cstdint>
#include <initializer_list>

namespace parley {

namespace {

/// Every field that some frame knows.
enum class field : std::uint8_t {
  type,
  data,
  request_id,
  room_id,
  content,
  meta,
  client_msg_id,
  reply_to,
  message_id,
  seq,
  rooms,
  epoch,
  rest,
  notification_id,
  status,
  token,
};
constexpr std::array<std::string_view, 16> field_names{
    "type",     "data",       "request_id", "room_id", "content", "meta", "client_msg_id",
    "reply_to", "message_id", "seq",        "rooms",   "epoch",   "rest", "notification_id",
    "status",   "token"};
static_assert(field_names[static_cast<std::size_t>(field::token)] == "token");

constexpr std::string_view name_of(field f) { return field_names[static_cast<std::size_t>(f)]; }

constexpr std::optional<field> one_of(std::string_view key, std::initializer_list<field> candidates) {
  for (const field f : candidates) {
    if (key == name_of(f)) return f;
  }
  return std::nullopt;
}

/// By length first: at most four names are compared.
constexpr std::optional<field> known_field(std::string_view key) {
  switch (key.size()) {
    case 3:
      return one_of(key, {field::seq});
    case 4:
      return one_of(key, {field::type, field::meta, field::data, field::rest});
    case 5:
      return one_of(key, {field::rooms, field::epoch, field::token});
    case 6:
      return one_of(key, {field::status});
    case 7:
      return one_of(key, {field::room_id, field::content});
    case 8:
      return one_of(key, {field::reply_to});
    case 10:
      return one_of(key, {field::request_id, field::message_id});
    case 13:
      return one_of(key, {field::client_msg_id});
    case 15:
      return one_of(key, {field::notification_id});
    default:
      return std::nullopt;
  }
}
constexpr bool finds_every_name() {
  for (const std::string_view name : field_names) {
    if (!known_field(name)) return false;
  }
  return true;
}
static_assert(finds_every_name());

enum class frame_type : std::uint8_t {
  unknown,
  send_message,
  edit_message,
  delete_message,
  ack,
  read,
  typing_start,
  typing_stop,
  sync,
  subscribe,
  unsubscribe,
  notification_ack,
  presence_set,
  auth,
  auth_refresh,
  ping,
};

frame_type parse_type(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, frame_type>, 15> types{{
      {"send_message", frame_type::send_message},
      {"ack", frame_type::ack},
      {"read", frame_type::read},
      {"typing.start", frame_type::typing_start},
      {"typing.stop", frame_type::typing_stop},
      {"edit_message", frame_type::edit_message},
      {"delete_message", frame_type::delete_message},
      {"sync", frame_type::sync},
      {"subscribe", frame_type::subscribe},
      {"unsubscribe", frame_type::unsubscribe},
      {"notification.ack", frame_type::notification_ack},
      {"presence.set", frame_type::presence_set},
      {"auth", frame_type::auth},
      {"auth.refresh", frame_type::auth_refresh},
      {"ping", frame_type::ping},
  }};
  for (const auto& [name, type] : types) {
    if (name == text) return type;
  }
  return frame_type::unknown;
}

/// An error to these says what became of the message (SPEC 2.5).
bool is_send(frame_type type) {
  return type == frame_type::send_message || type == frame_type::edit_message ||
         type == frame_type::delete_message;
}

/// A string of at most `max` bytes, or nothing; for what is echoed before it is judged.
std::string short_text(const json_slice& value, std::size_t max) {
  if (!value.is(json_kind::string) || !value.sound) return {};
  std::string out = decoded(value);
  if (out.size() > max) out.clear();
  return out;
}

bool is_valid_request_id(const json_slice& value) {
  if (!value.sound) return false;
  if (value.is(json_kind::string)) {
    if (value.text.size() <= limits::request_id_max_bytes + 2)
      return true;  // decoding never makes it longer
    return !value.plain && decoded(value).size() <= limits::request_id_max_bytes;
  }
  return is_integer_literal(value) && value.text.size() <= limits::request_id_max_bytes;
}

bool is_same_value(const json_slice& a, const json_slice& b) {
  if (a.text == b.text) return true;
  return a.sound && b.sound &&
         canonical_json(json_text{minified(a)}) == canonical_json(json_text{minified(b)});
}

using fields = std::array<json_slice, field_names.size()>;

/// A field that is not there has no other properties: clearing its kind is enough.
void forget(fields& all) {
  for (json_slice& slice : all) slice.kind = json_kind::none;
}

}  // namespace

struct client_frame_parser::impl {
  explicit impl(const node_limits& with) : bounds(with), scanner(with.max_json_depth) {}

  std::variant<client_frame, rejected_frame> parse(std::string_view text);

 private:
  [[nodiscard]] const json_slice& at(field f) const { return outer[static_cast<std::size_t>(f)]; }
  void scan(std::string_view text);
  void scan_data();
  void take_value(fields& to, std::optional<field> known);
  void unite();
  [[nodiscard]] field_reader start() const;
  [[nodiscard]] reply_refs refs() const;
  void command(frame_type type, field_reader& read, client_command& out) const;
  bool is_away(field_reader& read) const;
  cursor_frame cursor(bool is_read, field_reader& read) const;
  sync_frame sync(field_reader& read) const;

  const node_limits bounds;
  json_scanner scanner;
  fields outer{};  ///< of the frame; after unite() also what only `data` had
  fields inner{};  ///< of `data`
  json_slice ignored;
  bool nested = false;
  std::optional<field> torn;     ///< in both envelopes with different values
  std::optional<field> unsound;  ///< the known field where the scanner's fault lies
};

/// Written where it stays: a slice that is returned and copied costs as much as finding it.
void client_frame_parser::impl::take_value(fields& to, std::optional<field> known) {
  json_slice& place = known ? to[static_cast<std::size_t>(*known)] : ignored;
  scanner.value(place);
  if (known && !place.sound && !unsound) unsound = known;
}

/// One pass over the text: where each known field stands. Unknown ones are checked and forgotten.
void client_frame_parser::impl::scan(std::string_view text) {
  forget(outer);
  nested = false;
  torn.reset();
  unsound.reset();
  scanner.open(text, padding_bytes);
  if (!scanner.enter_object()) return;
  while (const auto key = scanner.next_key()) {
    const auto known = known_field(*key);
    if (known == field::data && scanner.at_object()) {
      outer[static_cast<std::size_t>(field::data)].kind = json_kind::object;
      scan_data();
      continue;
    }
    take_value(outer, known);
  }
  scanner.finish();
}

void client_frame_parser::impl::scan_data() {
  forget(inner);
  nested = true;
  scanner.enter_object();
  while (const auto key = scanner.next_key()) {
    const auto known = known_field(*key);
    take_value(inner, known == field::data ? std::nullopt : known);
  }
}

/// ChatAPI's envelope: what stands in `data` counts as if it stood outside; only `type` must be outside itself.
void client_frame_parser::impl::unite() {
  if (!nested) return;
  for (std::size_t i = 0; i < outer.size(); ++i) {
    if (inner[i].is(json_kind::none)) continue;
    if (outer[i].is(json_kind::none)) {
      if (static_cast<field>(i) != field::type) outer[i] = inner[i];
    } else if (!torn && !is_same_value(outer[i], inner[i])) {
      torn = static_cast<field>(i);
    }
  }
}

reply_refs client_frame_parser::impl::refs() const {
  reply_refs out;
  const json_slice& id = at(field::request_id);
  if (torn != field::request_id && is_valid_request_id(id)) out.request_id = id.text;
  out.client_msg_id = short_text(at(field::client_msg_id), limits::client_msg_id_max_bytes);
  out.room_id = short_text(at(field::room_id), limits::request_id_max_bytes);
  return out;
}

/// What is wrong whatever the type.
field_reader client_frame_parser::impl::start() const {
  field_reader read{bounds};
  if (scanner.fault() != json_fault::none) {
    read.refuse(malformed(scanner.fault(), unsound ? name_of(*unsound) : std::string_view{}));
  }
  const json_slice& data = at(field::data);
  if (!data.is(json_kind::none) && !data.is(json_kind::object))
    read.refuse("data", "must be an object");
  if (torn) read.refuse(name_of(*torn), "stands in and outside data with different values");
  if (!at(field::request_id).is_void() && !is_valid_request_id(at(field::request_id))) {
    read.refuse("request_id", "must be a string or an integer of at most " +
                                  std::to_string(limits::request_id_max_bytes) + " bytes");
  }
  return read;
}

cursor_frame client_frame_parser::impl::cursor(bool is_read, field_reader& read) const {
  cursor_frame out{.read = is_read, .rooms = {}};
  const json_slice& rooms = at(field::rooms);
  if (rooms.is_void()) {
    out.rooms.emplace_back(read.room(at(field::room_id)), read.seq(at(field::seq), "seq"));
    return out;
  }
  if (!rooms.is(json_kind::object)) {
    read.refuse("rooms", "must be an object of seqs");
    return out;
  }
  if (!at(field::room_id).is_void() || !at(field::seq).is_void()) {
    read.refuse("rooms", "can't stand beside room_id or seq");
    return out;
  }
  json_scanner positions{bounds.max_json_depth};
  positions.open(rooms.text);
  positions.enter_object();
  while (const auto key = positions.next_key()) {
    const auto room = room_id::parse(*key);
    if (!room) read.refuse(not_found("room"));
    out.rooms.emplace_back(room.value_or(room_id{}), read.seq(positions.value(), "rooms"));
  }
  if (out.rooms.empty()) read.refuse("rooms", "must name a room");
  if (out.rooms.size() > limits::cursor_rooms_max) {
    read.refuse("rooms", "may name " + std::to_string(limits::cursor_rooms_max) + " rooms at most");
  }
  return out;
}

sync_frame client_frame_parser::impl::sync(field_reader& read) const {
  sync_frame out;
  if (!at(field::epoch).is_void()) out.epoch = read.text(at(field::epoch), "epoch");
  if (!at(field::rest).is_void()) {
    out.rest_live = read.text(at(field::rest), "rest") == "live";
    if (!out.rest_live) read.refuse("rest", "must be \"live\"");
  }
  const json_slice& rooms = at(field::rooms);
  if (rooms.is_void() && out.rest_live) return out;
  if (!rooms.is(json_kind::object)) {
    read.refuse("rooms", "must be an object of positions");
    return out;
  }
  json_scanner positions{bounds.max_json_depth};
  positions.open(rooms.text);
  positions.enter_object();
  bool has_past = false;
  while (const auto key = positions.next_key()) {
    sync_frame::position& p = out.rooms.emplace_back();
    p.text = *key;
    p.room = room_id::parse(*key);
    const json_slice after = positions.value();
    if (after.is(json_kind::null)) continue;
    p.after = read.seq(after, "rooms");
    has_past = has_past || p.after->value > 0;
  }
  if (has_past && !out.epoch) read.refuse("epoch", "is needed with a position after 0");
  return out;
}

bool client_frame_parser::impl::is_away(field_reader& read) const {
  const auto status = read.text(at(field::status), "status");
  if (status != "online" && status != "away") {
    read.refuse("status", "must be \"online\" or \"away\"");
  }
  return status == "away";
}

/// Fills `out`, which is part of the answer: nothing is moved.
void client_frame_parser::impl::command(frame_type type, field_reader& read,
                                        client_command& out) const {
  switch (type) {
    case frame_type::send_message: {
      // In the order of the members, each in its place: this is the hot path.
      out = send_message_frame{
          .room = read.room(at(field::room_id)),
          .content = read.content(at(field::content), at(field::meta)),
          .meta = read.meta(at(field::meta), "meta"),
          .client_msg_id = read.client_msg_id(at(field::client_msg_id)),
          .reply_to = read.reply_to(at(field::reply_to)),
      };
      break;
    }
    case frame_type::edit_message: {
      auto& f = out.emplace<edit_message_frame>();
      f.room = read.room(at(field::room_id));
      f.message = read.message(at(field::message_id));
      f.content = read.content(at(field::content), at(field::meta));
      if (!at(field::meta).is(json_kind::none)) f.meta = read.meta(at(field::meta), "meta");
      f.client_msg_id = read.client_msg_id(at(field::client_msg_id));
      break;
    }
    case frame_type::delete_message: {
      auto& f = out.emplace<delete_message_frame>();
      f.room = read.room(at(field::room_id));
      f.message = read.message(at(field::message_id));
      f.client_msg_id = read.client_msg_id(at(field::client_msg_id));
      break;
    }
    case frame_type::ack:
    case frame_type::read:
      out = cursor(type == frame_type::read, read);
      break;
    case frame_type::typing_start:
    case frame_type::typing_stop:
      out = typing_frame{read.room(at(field::room_id)), type == frame_type::typing_start};
      break;
    case frame_type::sync:
      out = sync(read);
      break;
    case frame_type::subscribe:
      out = subscribe_frame{read.room(at(field::room_id))};
      break;
    case frame_type::unsubscribe:
      out = unsubscribe_frame{read.room(at(field::room_id))};
      break;
    case frame_type::notification_ack:
      out = notification_ack_frame{read.word(at(field::notification_id), "notification_id")};
      break;
    case frame_type::presence_set:
      out = presence_set_frame{is_away(read)};
      break;
    case frame_type::auth:
    case frame_type::auth_refresh:
      out = auth_frame{read.word(at(field::token), "token"), type == frame_type::auth_refresh};
      break;
    case frame_type::ping:
      out = ping_frame{};
      break;
    case frame_type::unknown:
      break;
  }
}

std::variant<client_frame, rejected_frame> client_frame_parser::impl::parse(std::string_view text) {
  scan(text);
  unite();
  frame_type type = frame_type::unknown;
  if (const json_slice& name = at(field::type); name.is(json_kind::string)) {
    type = name.plain ? parse_type(inside_quotes(name)) : parse_type(decoded(name));
  }
  field_reader read = start();
  if (type == frame_type::unknown) {
    read.refuse("type", at(field::type).is(json_kind::none) ? "is required" : "is unknown");
  }
  std::variant<client_frame, rejected_frame> out{client_frame{refs(), ping_frame{}}};
  client_frame& frame = std::get<client_frame>(out);
  if (!read.has_failed()) command(type, read, frame.command);
  if (read.has_failed()) {
    rejected_frame rejected{std::move(frame.refs), *read.failure()};
    if (is_send(type)) rejected.why.stored = stored_state::no;
    out = std::move(rejected);
  }
  return out;
}

client_frame_parser::client_frame_parser(const node_limits& bounds)
    : impl_(std::make_unique<impl>(bounds)) {}
client_frame_parser::~client_frame_parser() = default;
client_frame_parser::client_frame_parser(client_frame_parser&&) noexcept = default;
client_frame_parser& client_frame_parser::operator=(client_frame_parser&&) noexcept = default;

std::variant<client_frame, rejected_frame> client_frame_parser::parse(std::string_view text) {
  return impl_->parse(text);
}

}  // namespace parley
