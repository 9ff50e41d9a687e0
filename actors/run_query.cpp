#include "actors/messages.hpp"
#include "protocol/assert.hpp"
#include "protocol/planted.hpp"
#include "protocol/server_frame.hpp"

#include <memory>
#include <string>
#include <utility>

namespace parley::actors {

namespace {

/// The room as the asker may see it: for a user only its own rooms, for the backend all of the tenant. Foreign, unknown,
/// deleted and «not a member» end here, in the same words (SPEC 2.7).
result<store::room_view> visible_room(store::reader& from, const room_key& room,
                                      const std::optional<user_id>& self) {
  auto found = from.room(room.tenant, room.room, self);
  if (!found) return found.error();
  static const bool foreign_is_403 = planted_defect("foreign_is_403");
  if (foreign_is_403 && *found && self && !(*found)->self)
    return error{error_code::authorization, "not a member of this room"};
  if (!*found || (self && !(*found)->self)) return not_found("room");
  return std::move(**found);
}

template <class T>
read_result give(result<T> r) {
  if (!r) return std::move(r).error();
  return std::move(*r);
}

void append_time(std::string& out, const std::optional<utc_time>& t) {
  if (!t) {
    out += "null";
    return;
  }
  out += '"';
  append_rfc3339(out, *t);
  out += '"';
}

// The lines of an export: `type` tells them from log entries, which are there as everywhere.
void append_person(std::string& out, const store::user_export_page::person& p,
                   const std::vector<std::string>& topics) {
  out += R"({"type":"user","user_id":)";
  append_json_string(out, p.id.view());
  out += R"(,"last_seen":)";
  append_time(out, p.last_seen);
  out += R"(,"revoked_before":)";
  append_time(out, p.revoke_before);
  out += R"(,"erased_at":)";
  append_time(out, p.erased_at);
  out += R"(,"topics":[)";
  for (const auto& topic : topics) {
    if (&topic != &topics.front()) out += ',';
    append_json_string(out, topic);
  }
  out += "]}\n";
}
void append_membership(std::string& out, const store::user_export_page::membership& m) {
  out += R"({"type":"membership","room":)";
  append_room(out, m.room, m.member.role);
  out += R"(,"joined_at":)";
  append_time(out, m.member.joined_at);
  out += R"(,"joined_seq":)" + std::to_string(m.member.joined_seq.value);
  out += R"(,"last_ack":)" + std::to_string(m.last_ack.value);
  out += R"(,"last_read":)" + std::to_string(m.last_read.value);
  out += "}\n";
}

struct runner {
  store::reader& from;

  read_result operator()(const positions_query& q) const {
    return give(from.positions(q.tenant, q.user));
  }
  read_result operator()(const check_query& q) const {
    return give(from.check(q.tenant, q.user, q.rooms));
  }
  read_result operator()(const page_query& q) const {
    auto page = from.page(q.no, q.after, q.to, q.max_entries, q.max_bytes);
    if (!page) return page.error();
    page_frames out{page->snapshot,
                    page->first_seq,
                    page->last_seq,
                    page->room_exists,
                    page->complete,
                    q.after,
                    {}};
    out.frames.reserve(page->entries.size());
    std::string scratch;
    for (const auto& e : page->entries) {
      scratch.clear();
      append_entry(scratch, q.room.room, e);
      out.frames.push_back(make_text_frame(scratch));
    }
    if (!page->entries.empty()) out.after = room_seq{page->entries.front().seq.value - 1};
    for (auto& e : page->entries) {
      auto* edit = std::get_if<message_edited_body>(&e.body);
      if (edit == nullptr) continue;
      edit->content = {};
      edit->meta = {};
      out.edits.push_back(std::move(e));
    }
    return out;
  }
  read_result operator()(const room_query& q) const {
    auto found = visible_room(from, q.room, q.self);
    if (!found) return found.error();
    return std::optional{std::move(*found)};
  }
  read_result operator()(const exists_query& q) const {
    return give(from.room_exists(q.room.tenant, q.room.room));
  }
  read_result operator()(const rooms_query& q) const {
    if (q.user) return give(from.rooms_of(q.tenant, *q.user, q.limit, q.cursor, q.offset));
    return give(from.rooms_of_tenant(q.tenant, q.limit, q.cursor, q.offset));
  }
  read_result operator()(const members_query& q) const {
    auto room = visible_room(from, q.room, q.self);
    if (!room) return room.error();
    auto list = from.members(room->no, q.limit, q.cursor, q.offset);
    if (!list) return list.error();
    return members_result_page{std::move(*list)};
  }
  read_result operator()(const history_query& q) const {
    auto room = visible_room(from, q.room, q.self);
    if (!room) return room.error();
    auto page = from.history(room->no, q.from, q.limit, q.messages_only, q.offset);
    if (!page) return page.error();
    history_json out{"[", page->first_seq, page->last_seq, page->has_more_before,
                     page->has_more_after};
    for (const auto& e : page->entries) {
      if (out.items.size() > 1) out.items += ',';
      append_entry(out.items, q.room.room, e);
    }
    out.items += ']';
    return out;
  }
  read_result operator()(const message_query& q) const {
    return give(from.message(q.no, q.message));
  }
  read_result operator()(const lookup_query& q) const {
    auto found = from.look_up(q.room, q.user, q.key, q.keys_since);
    if (!found) return found.error();
    lookup_result out;
    out.found = std::move(*found);
    if (q.reply_to) {
      auto is = from.is_message(q.room, *q.reply_to);
      if (!is) return is.error();
      out.reply_to_is_message = *is;
    }
    for (const auto& user : q.also) {
      auto other = from.look_up(q.room, user, std::nullopt, q.keys_since);
      if (!other) return other.error();
      out.others.emplace_back(user, std::move(other->member));
    }
    if (q.owners) {
      auto owners = from.owners(q.room);
      if (!owners) return owners.error();
      for (auto& row : *owners) {
        auto user = row.user;
        out.others.emplace_back(std::move(user), std::move(row));
      }
    }
    if (q.target) {
      auto target = from.message(q.room, *q.target);
      if (!target) return target.error();
      out.target = std::move(*target);
    }
    return out;
  }
  read_result operator()(const audience_query& q) const {
    return give(from.audience(q.tenant, q.user, q.max_members, limits::presence_max_rooms));
  }
  read_result operator()(const room_limit_query& q) const {
    return give(from.in_too_many_rooms(q.room.tenant, q.room.room, q.users, q.caller, q.joins, q.max));
  }
  read_result operator()(const presence_query& q) const {
    return give(from.presence(q.tenant, q.self, q.users));
  }
  read_result operator()(const credential_query& q) const {
    if (const auto* digest = std::get_if<sha256_digest>(&q.by))
      return give(from.tenant_by_api_key(*digest));
    if (const auto* key = std::get_if<key_id>(&q.by)) return give(from.tenant_by_key(*key));
    return give(from.tenant(std::get<tenant_id>(q.by)));
  }
  read_result operator()(const revocation_query& q) const {
    return give(from.revoked_before(q.tenant, q.user));
  }
  read_result operator()(const tenant_query& q) const { return give(from.tenant(q.id)); }
  read_result operator()(const tenants_query& q) const {
    return give(from.tenants(q.limit, q.cursor));
  }
  read_result operator()(const tenant_usage_query& q) const {
    return give(from.tenant_usage(q.limit, q.cursor, limits::usage_count_max));
  }
  read_result operator()(const job_query& q) const { return give(from.job(q.id)); }
  read_result operator()(const jobs_query& q) const { return give(from.jobs(q.limit, q.cursor)); }

  // Of the outbox: a node whose store keeps none asks nothing of it.
  [[nodiscard]] store::outbox_reader& outbox() const {
    PARLEY_ASSERT(from.outbox() != nullptr);
    return *from.outbox();
  }
  read_result operator()(const endpoints_query& q) const {
    if (!q.tenant) return give(outbox().endpoints(q.limit, q.cursor));
    auto one = outbox().endpoint(*q.tenant);
    if (!one) return one.error();
    store::endpoint_list out;
    if (*one) out.endpoints.push_back(std::move(**one));
    return out;
  }
  read_result operator()(const log_positions_query&) const { return give(outbox().positions()); }
  read_result operator()(const scan_query& q) const {
    switch (q.what) {
      case scan_query::kind::events:
        return give(outbox().scan_events(q.after, q.max_entries));
      case scan_query::kind::offline:
        return give(outbox().scan_offline(q.after, q.due_before, q.max_members, q.max_entries));
      case scan_query::kind::tenant:
        break;
    }
    return give(outbox().scan_tenant(q.tenant, q.after, q.to, q.max_entries));
  }
  read_result operator()(const last_before_query& q) const {
    return give(outbox().last_before(q.t));
  }
  read_result operator()(const outbox_query& q) const {
    auto page = outbox().outbox(q.tenant, q.after, q.now, q.max_lanes, q.per_lane, q.max_bytes);
    if (!page) return page.error();
    outbox_posts out;
    out.after = page->after;
    out.end = page->end;
    out.next_at = page->next_at;
    out.items.reserve(page->items.size());
    for (auto& item : page->items) {
      auto& post = out.items.emplace_back();
      post.no = item.no;
      post.lane = item.lane;
      post.place = item.place;
      post.type = item.type;
      post.event_id = std::move(item.event_id);
      post.attempts = item.attempts;
      post.at = item.at;
      post.next_at = item.next_at;
      post.obsolete = item.obsolete;
      if (post.obsolete) continue;
      auto body = webhook_body(item.event, q.format);
      post.head = std::move(body.head);
      post.tail = std::move(body.tail);
      post.list_room = item.list_room;
      post.list_seq = item.list_seq;
      post.list_sender = std::move(item.list_sender);
    }
    return out;
  }
  read_result operator()(const acked_members_query& q) const {
    return give(outbox().acked_members(q.room, q.after, q.limit));
  }
  read_result operator()(const notifications_query& q) const {
    auto page =
        outbox().notifications(q.user.tenant, q.user.user, q.after, q.now, q.max_items, q.max_bytes);
    if (!page) return page.error();
    notification_frames out;
    out.to = page->to;
    out.more = page->more;
    std::string scratch;
    for (const auto& n : page->items) {
      scratch.clear();
      append_notification(scratch, n.id, n.topic, n.payload, n.created_at);
      out.items.push_back({n.no, n.id, make_text_frame(scratch)});
    }
    return out;
  }
  read_result operator()(const topics_query& q) const {
    auto topics = outbox().topics(q.user.tenant, q.user.user);
    if (!topics) return topics.error();
    return topic_list{std::move(*topics)};
  }
  read_result operator()(const dead_letters_query& q) const {
    return give(outbox().dead_letters(q.tenant, q.limit, q.cursor));
  }
  read_result operator()(const user_export_query& q) const {
    auto page = from.export_user(q.tenant, q.user, q.cursor, limits::export_page_max_rows,
                                 limits::page_max_bytes);
    if (!page) return page.error();
    if (!*page) return std::optional<export_lines>{};
    export_lines out;
    out.next_cursor = std::move((*page)->next_cursor);
    if ((*page)->self) append_person(out.lines, *(*page)->self, (*page)->topics);
    for (const auto& m : (*page)->memberships) append_membership(out.lines, m);
    for (const auto& said : (*page)->messages) {
      append_entry(out.lines, said.room, said.message);
      out.lines += '\n';
    }
    return std::optional{std::move(out)};
  }
};

}  // namespace

read_result run_query(store::reader& from, const read_query& query) {
  return std::visit(runner{from}, query);
}

}  // namespace parley::actors
