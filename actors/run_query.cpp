#include "actors/messages.hpp"
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
  if (!*found || (self && !(*found)->self)) return not_found("room");
  return std::move(**found);
}

template <class T>
read_result give(result<T> r) {
  if (!r) return std::move(r).error();
  return std::move(*r);
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
    for (const auto& e : page->entries) {
      if (const auto* edit = std::get_if<message_edited_body>(&e.body))
        out.edits.emplace_back(e.seq, edit->message_seq);
    }
    if (!page->entries.empty()) out.after = room_seq{page->entries.front().seq.value - 1};
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
  read_result operator()(const presence_query& q) const {
    return give(from.presence(q.tenant, q.self, q.users));
  }
  read_result operator()(const credential_query& q) const {
    return give(from.tenant_by_api_key(q.digest));
  }
  read_result operator()(const tenant_query& q) const { return give(from.tenant(q.id)); }
  read_result operator()(const tenants_query& q) const {
    return give(from.tenants(q.limit, q.cursor));
  }
};

}  // namespace

read_result run_query(store::reader& from, const read_query& query) {
  return std::visit(runner{from}, query);
}

}  // namespace parley::actors
