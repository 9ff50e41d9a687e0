#include "store/outbox_erasure.hpp"

#include "store/write_failure.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace parley::store {
namespace {

enum class erased : std::uint8_t { nothing, name, all };

/// What `data` says without the user: `user_id` is whom all of it is about, `recipient_ids` are some among others.
erased erase_from(std::string& data, std::string_view user) {
  if (data.empty()) return erased::nothing;
  auto json = nlohmann::ordered_json::parse(data, nullptr, false);
  if (!json.is_object()) return erased::nothing;
  const auto is_user = [&](const nlohmann::ordered_json& id) { return id.is_string() && id == user; };
  if (const auto id = json.find("user_id"); id != json.end() && is_user(*id)) return erased::all;
  const auto ids = json.find("recipient_ids");
  if (ids == json.end() || !ids->is_array()) return erased::nothing;
  const auto found = std::find_if(ids->begin(), ids->end(), is_user);
  if (found == ids->end()) return erased::nothing;
  ids->erase(found);
  data = json.dump();
  return erased::name;
}

/// The same for a list of numbers. Nobody else in it: all.
erased erase_from(std::vector<user_no>& recipients, user_no user) {
  const auto found = std::find(recipients.begin(), recipients.end(), user);
  if (found == recipients.end()) return erased::nothing;
  recipients.erase(found);
  return recipients.empty() ? erased::all : erased::name;
}

}  // namespace

outbox_erasure::outbox_erasure(connection& db, outbox_writes& outbox)
    : db_(db),
      outbox_(outbox),
      delete_rows_(db, lazily{"DELETE FROM outbox WHERE outbox_no IN (SELECT outbox_no FROM outbox "
                              "INDEXED BY outbox_by_age WHERE tenant_no = ? LIMIT ?)"}),
      delete_letters_(db, lazily{"DELETE FROM dead_letters WHERE dead_no IN ("
                                 "SELECT dead_no FROM dead_letters WHERE tenant_no = ? LIMIT ?)"}),
      delete_chores_(db, lazily{"DELETE FROM outbox_chores WHERE tenant_no = ?"}),
      select_rows_(db, lazily{"SELECT outbox_no, data FROM outbox INDEXED BY outbox_by_age "
                              "WHERE tenant_no = ? AND outbox_no > ? ORDER BY outbox_no LIMIT ?"}),
      update_row_(db, lazily{"UPDATE outbox SET data = ?2 WHERE outbox_no = ?1"}),
      select_letters_(db, lazily{"SELECT dead_no FROM dead_letters WHERE tenant_no = ? "
                                 "AND dead_no > ? ORDER BY dead_no LIMIT ?"}),
      update_letter_(db, lazily{"UPDATE dead_letters SET data = ?2, recipients = ?3 "
                                "WHERE dead_no = ?1"}) {}

write_result<std::int64_t> outbox_erasure::later(bool ran) {
  if (!ran) return write_failed(db_.last_failure(), item_step::later);
  return db_.changes();
}

write_result<std::int64_t> outbox_erasure::clear_tenant(tenant_no tenant, std::int64_t max_rows) {
  outbox_.letters().forget_counts();
  for (auto* rows : {&delete_rows_, &delete_letters_}) {
    if (auto gone = later(rows->run(tenant, max_rows)); !gone || *gone > 0) return gone;
  }
  return later(delete_chores_.run(tenant));
}

write_result<std::int64_t> outbox_erasure::erase_rows(tenant_no tenant, std::string_view user,
                                                      outbox_no& place, std::int64_t max_rows) {
  std::int64_t rows = 0;
  outbox_batch gone;
  std::vector<std::pair<outbox_no, std::string>> changed;
  {
    auto q = select_rows_.query(tenant, place, max_rows);
    while (q.next()) {
      ++rows;
      place = q.number<outbox_no>(0);
      std::string data{q.text(1)};
      const erased what = erase_from(data, user);
      if (what == erased::all) {
        gone.outcomes.push_back(
            {.tenant = tenant, .no = place, .what = outbox_outcome::kind::obsolete});
      } else if (what == erased::name) {
        changed.emplace_back(place, std::move(data));
      }
    }
    if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
  }
  for (const auto& [no, data] : changed) {
    if (auto done = later(update_row_.run(no, data)); !done) return done;
  }
  if (gone.outcomes.empty()) return rows;
  if (auto done = outbox_.apply(gone); !done) return done.error();
  return rows;
}

write_result<std::int64_t> outbox_erasure::erase_letters(tenant_no tenant, user_no user,
                                                         std::string_view name, dead_no& place,
                                                         std::int64_t max_rows) {
  std::vector<dead_no> seen;
  {
    auto q = select_letters_.query(tenant, place, max_rows);
    while (q.next()) seen.push_back(q.number<dead_no>(0));
    if (q.failed()) return write_failed(db_.last_failure(), item_step::later);
  }
  for (const dead_no no : seen) {
    place = no;
    const auto letter = outbox_.letters().find(tenant, no);
    if (!letter) return letter.error();
    if (!*letter) continue;
    if (auto done = erase_letter(**letter, user, name); !done) return done.error();
  }
  return static_cast<std::int64_t>(seen.size());
}

write_result<void> outbox_erasure::erase_letter(const dead_row& letter, user_no user,
                                                std::string_view name) {
  std::string data = letter.data;
  const erased of_data = erase_from(data, name);
  std::vector<user_no> recipients = parse_recipients(letter.recipients);
  const erased of_recipients = erase_from(recipients, user);
  if (letter.recipient == user || of_data == erased::all || of_recipients == erased::all)
    return outbox_.letters().let_go(letter);
  if (of_data == erased::nothing && of_recipients == erased::nothing) return {};
  std::optional<std::string> data_text;
  if (!data.empty()) data_text = std::move(data);
  std::optional<std::string> left;
  if (!letter.recipients.empty()) left = recipients_text(recipients);
  if (auto done = later(update_letter_.run(letter.no, data_text, left)); !done) return done.error();
  return {};
}

}  // namespace parley::store
