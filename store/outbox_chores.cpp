#include "store/outbox_chores.hpp"

#include "protocol/assert.hpp"
#include "store/write_failure.hpp"

#include <algorithm>

namespace parley::store {
namespace {

constexpr std::int64_t rows_a_step = 64;
constexpr int rest_after_piece = 4;
constexpr std::chrono::seconds wait_after_failure{1};

}  // namespace

outbox_chores::outbox_chores(connection& db, outbox_writes& outbox, const clock& now)
    : db_(db),
      outbox_(outbox),
      clock_(now),
      select_(db,
              "SELECT tenant_no, chore, upto, place FROM outbox_chores "
              "WHERE (tenant_no, chore) > (?, ?) ORDER BY tenant_no, chore LIMIT 1"),
      drop_(db, lazily{"DELETE FROM outbox WHERE outbox_no IN (SELECT outbox_no FROM outbox "
                       "INDEXED BY outbox_by_age WHERE tenant_no = ? AND outbox_no <= ? "
                       "ORDER BY outbox_no LIMIT ?)"}),
      move_(db, lazily{"UPDATE outbox_chores SET place = ?3 WHERE tenant_no = ?1 AND chore = ?2"}),
      end_(db, lazily{"DELETE FROM outbox_chores WHERE tenant_no = ? AND chore = ?"}) {}

bool outbox_chores::due(mono_time now) {
  if (outbox_.take_chores_ordered()) idle_ = false;
  return !idle_ && now >= next_piece_;
}

db_result<std::optional<outbox_chores::chore>> outbox_chores::next(const chore& after) {
  auto q = select_.query(after.tenant, after.what);
  if (q.next()) {
    return std::optional{chore{.tenant = q.number<tenant_no>(0),
                               .what = static_cast<outbox_chore>(q.integer(1)),
                               .upto = q.integer(2),
                               .place = q.integer(3)}};
  }
  if (q.failed()) return db_.last_failure();
  return std::optional<chore>{};
}

db_result<bool> outbox_chores::plan(mono_time) {
  planned_.reset();
  auto found = next(last_);
  if (found && !*found) found = next({});
  if (!found) return found.error();
  if (!*found) {
    idle_ = true;
    return false;
  }
  last_ = **found;
  planned_ = **found;
  return true;
}

write_result<void> outbox_chores::run() {
  PARLEY_ASSERT(planned_.has_value());
  chore& c = *planned_;
  const mono_time end = clock_.mono() + piece_time;
  for (std::int64_t rows = 0; !c.done && rows < piece_max_rows && clock_.mono() < end;) {
    const auto took = step(c);
    if (!took) return took.error();
    rows += std::max<std::int64_t>(*took, 1);
  }
  const bool kept = c.done ? end_.run(c.tenant, c.what) : move_.run(c.tenant, c.what, c.place);
  if (!kept) return write_failed(db_.last_failure(), item_step::later);
  return {};
}

write_result<std::int64_t> outbox_chores::step(chore& c) {
  if (c.what == outbox_chore::drop) {
    if (!drop_.run(c.tenant, c.upto, rows_a_step))
      return write_failed(db_.last_failure(), item_step::later);
    const std::int64_t rows = db_.changes();
    c.done = rows < rows_a_step;
    return rows;
  }
  for (std::int64_t rows = 0; rows < rows_a_step; ++rows) {
    const auto letter = outbox_.letters().next_event(c.tenant, dead_no{c.place}, dead_no{c.upto});
    if (!letter) return letter.error();
    if (!*letter) {
      c.done = true;
      return rows;
    }
    const auto queued = outbox_.requeue(**letter);
    if (!queued) return queued.error();
    if (*queued == outbox_writes::requeued::not_taken) {
      c.done = true;  // the endpoint takes no more: the rest stays
      return rows;
    }
    c.place = (*letter)->no.value;
  }
  return rows_a_step;
}

void outbox_chores::committed(commit_no) { planned_.reset(); }

void outbox_chores::undone() {
  planned_.reset();
  idle_ = false;
  next_piece_ = clock_.mono() + wait_after_failure;
}

void outbox_chores::rest(mono_time start, mono_time end) {
  next_piece_ = end + rest_after_piece * (end - start);
}

}  // namespace parley::store
