#include "actors/group_commit.hpp"

#include "protocol/assert.hpp"
#include "protocol/planted.hpp"
#include "protocol/server_frame.hpp"

#include <map>
#include <memory>
#include <string>
#include <utility>

namespace parley::actors {

namespace {
constexpr auto retry_when_full = std::chrono::milliseconds{1000};
constexpr auto retry_soon = std::chrono::milliseconds{100};

error no_space() { return unavailable("the disk is full", retry_when_full); }
}  // namespace

group_commit::group_commit(store::writer& writer, storage_ports& ports,
                           std::int64_t receipt_max_members)
    : writer_(writer),
      ports_(ports),
      receipt_max_members_(receipt_max_members) {}

void group_commit::on(const append_ptr& m) { queue_.push(m->row.tenant, m, bytes_of(m)); }

void group_commit::on(const create_room_ptr& m) { queue_.push(m->room.tenant, m, bytes_of(m)); }

void group_commit::on(const create_notification_ptr& m) {
  queue_.push(m->notification.tenant, m, bytes_of(m));
}

void group_commit::on(const store_cursors_ptr& m) {
  constexpr std::size_t bytes_a_cursor = 64;
  cursors_.push(m->moves->user.tenant, m, bytes_a_cursor * (1 + m->moves->rooms.size()));
}

void group_commit::on(const close_room& m) {
  if (auto it = open_.find(m.room); it != open_.end() && it->second.gen == m.gen) open_.erase(it);
}

bool group_commit::is_open(room_no room, generation gen) const {
  static const bool no_generation = planted_defect("no_generation");
  if (no_generation) return true;
  const auto it = open_.find(room);
  return it != open_.end() && it->second.gen == gen;
}

void group_commit::run() {
  if (ended_) return;
  run_opens();
  if (ended_ || !wants_a_commit()) return;
  if (full_) {
    fail_all(no_space());
    return;
  }
  failure_.reset();
  if (auto begun = writer_.begin(); !begun) {
    failure_ = begun.error();
  } else {
    std::size_t rows = 0;
    if (fill(rows)) {
      if (auto done = writer_.commit(); done) {
        ++counters_.commits;
        counters_.rows += rows;
        succeed(*done);
        return;
      } else {
        failure_ = done.error();
      }
    } else if (failure_->scope != store::failure_scope::fatal) {
      writer_.rollback();
    }
  }
  ++counters_.failed_commits;
  if (failure_->scope == store::failure_scope::fatal) {
    ended_ = true;
    ports_.fatal(failure_->why);
    return;
  }
  if (failure_->scope == store::failure_scope::full) {
    full_ = true;
    ports_.writable(false);
    fail_all(no_space());
    return;
  }
  fail_all(unavailable("the write failed", retry_soon));
}

bool group_commit::fill(std::size_t& rows) {
  constexpr auto all = limits::commit_max_rows;
  const bool last_class_waits = !seen_.empty() || !keys_used_.empty();
  const auto for_last = last_class_waits ? all / limits::commit_lower_share : 0;
  const auto for_outbox = outbox_.empty() ? 0 : all / limits::commit_lower_share;
  const auto for_cursors = cursors_.empty() ? 0 : all / limits::commit_lower_share;
  for (std::size_t bytes = 0; !queue_.empty() && rows < all - for_cursors - for_outbox - for_last &&
                              bytes < limits::commit_max_bytes;) {
    executed_.push_back(queue_.pop());
    rows += rows_of(executed_.back());
    bytes += bytes_of(executed_.back());
    const auto notified = notified_.size();
    if (!execute(executed_.back())) return false;
    // Only the store knows how many subscribe.
    if (notified_.size() > notified) rows += notified_.back().made.users.size();
  }
  while (!cursors_.empty() && rows < all - for_outbox - for_last) {
    const auto moves = cursors_.pop();
    rows += moves->moves->rooms.size();
    if (!execute_cursors(moves)) return false;
  }
  while (!outbox_.empty() && rows < all - for_last) {
    const auto m = std::move(outbox_.front());
    outbox_.pop_front();
    rows += rows_of(m);
    if (!execute_outbox(m)) return false;
  }
  // Nobody hears of these: what is refused is passed over.
  const auto passed_over = [](const error&) {};
  while (!seen_.empty() && rows < all) {
    const auto m = std::move(seen_.front());
    seen_.pop_front();
    ++rows;
    auto done = writer_.store_last_seen(m->user.tenant, m->user.user, m->at);
    if (!done && !note(done.error(), passed_over)) return false;
  }
  while (!keys_used_.empty() && rows < all) {
    const auto m = std::move(keys_used_.front());
    keys_used_.pop_front();
    ++rows;
    auto done = writer_.store_key_used(m->tenant, m->key, m->at);
    if (!done && !note(done.error(), passed_over)) return false;
  }
  return true;
}

void group_commit::run_opens() {
  // Between transactions, so that an answer never rests on what may be rolled back. Appends of an older generation
  // that still wait behind this are refused by it (I13).
  while (!opens_.empty()) {
    const auto m = std::move(opens_.front());
    opens_.pop_front();
    auto answer = std::make_shared<opened>();
    answer->instance = m->instance;
    auto found = writer_.open_room(m->room.tenant, m->room.room, utc_time{});
    if (!found) {
      if (found.error().scope == store::failure_scope::fatal) {
        ended_ = true;
        ports_.fatal(found.error().why);
        return;
      }
      answer->failure = unavailable("the room could not be read", retry_soon);
    } else if (*found) {
      // Of one that died right after it had asked, whose successor was quicker: nobody waits for it.
      if (const auto it = open_.find((*found)->no);
          it != open_.end() && it->second.instance > m->instance) {
        continue;
      }
      answer->gen = ++last_generation_;
      open_.insert_or_assign((*found)->no, open_log{answer->gen, m->instance});
      answer->room = std::move(**found);
    }
    ports_.to_room(m->instance, std::move(answer));
  }
}

std::size_t group_commit::rows_of(const item& m) {
  const auto* a = std::get_if<append_ptr>(&m);
  return a == nullptr ? 1 : 1 + (*a)->also.size();
}

std::size_t group_commit::bytes_of(const item& m) {
  const auto of_row = [](const store::append_row& row) {
    auto bytes = small_item_bytes;
    if (const auto* b = std::get_if<message_body>(&row.e.body))
      bytes += b->content.size() + b->meta.value.size();
    if (const auto* b = std::get_if<message_edited_body>(&row.e.body))
      bytes += b->content.size() + b->meta.value.size();
    return bytes;
  };
  if (const auto* a = std::get_if<append_ptr>(&m)) {
    auto bytes = of_row((*a)->row);
    for (const auto& row : (*a)->also) bytes += of_row(row);
    return bytes;
  }
  if (const auto* c = std::get_if<create_room_ptr>(&m))
    return small_item_bytes * (1 + (*c)->room.members.size());
  if (const auto* n = std::get_if<create_notification_ptr>(&m)) {
    const auto& made = (*n)->notification;
    // Subscribers may be thousands: one a turn.
    const auto subscribers = made.topic_subscribers ? limits::commit_turn_bytes : 0;
    return small_item_bytes * (1 + made.users.size()) + made.payload.value.size() + subscribers;
  }
  return small_item_bytes;
}

/// Sorts a failed write: true when only this item failed.
bool group_commit::note(const store::write_error& e,
                        const std::function<void(const error&)>& fail_item) {
  if (e.scope == store::failure_scope::item) {
    fail_item(e.why);
    return true;
  }
  failure_ = e;
  return false;
}

bool group_commit::execute(const item& m) {
  if (const auto* a = std::get_if<append_ptr>(&m)) {
    const auto& p = **a;
    if (!is_open(p.row.room, p.gen)) {
      ++counters_.stale_appends;
      executed_.pop_back();
      return true;
    }
    if (auto done = writer_.append(p.row); !done) {
      const bool go_on = note(done.error(), [&](const error& why) {
        close_generation(p.row.room, p.instance, p.gen, why);
      });
      if (go_on) executed_.pop_back();
      return go_on;
    }
    for (const auto& row : p.also) {
      if (auto done = writer_.append(row); !done) {
        // The rows before it are in the transaction: only with all of that can they be undone.
        failure_ = done.error();
        if (failure_->scope == store::failure_scope::item)
          failure_->scope = store::failure_scope::batch;
        return false;
      }
    }
    auto [it, fresh] = touched_.try_emplace(p.row.room, touched_room{p.instance, p.gen, p.no});
    if (fresh) touched_order_.push_back(p.row.room);
    it->second.up_to = p.no;
    return true;
  }
  if (const auto* d = std::get_if<delete_room_ptr>(&m)) {
    const auto& p = **d;
    if (!is_open(p.room, p.gen)) {
      ++counters_.stale_appends;
      executed_.pop_back();
      return true;
    }
    auto done = writer_.delete_room(p.tenant, p.room, p.at);
    if (!done) {
      const bool go_on = note(
          done.error(), [&](const error& why) { close_generation(p.room, p.instance, p.gen, why); });
      if (go_on) executed_.pop_back();
      return go_on;
    }
    deleted_.push_back({*d, *done});
    return true;
  }
  if (const auto* c = std::get_if<create_room_ptr>(&m)) {
    auto done = writer_.create_room((*c)->room);
    if (!done) {
      const bool go_on = note(done.error(), [&](const error& why) {
        ports_.to_gateway((*c)->to.gateway,
                          std::make_shared<const created>(created{(*c)->to.call, why}));
      });
      if (go_on) executed_.pop_back();
      return go_on;
    }
    created_.push_back({*c, std::move(*done)});
    return true;
  }
  if (const auto* c = std::get_if<change_tenant_ptr>(&m)) {
    auto done = writer_.change_tenant((*c)->change);
    if (!done) {
      const bool go_on = note(done.error(), [&](const error& why) {
        ports_.to_gateway((*c)->to.gateway,
                          std::make_shared<const tenant_changed>(tenant_changed{(*c)->to.call, why}));
      });
      if (go_on) executed_.pop_back();
      return go_on;
    }
    changes_.push_back({*c, std::move(*done)});
    return true;
  }
  if (const auto* n = std::get_if<create_notification_ptr>(&m)) {
    PARLEY_ASSERT(writer_.outbox() != nullptr);
    auto done = writer_.outbox()->create_notification((*n)->notification);
    if (!done) {
      const bool go_on = note(done.error(), [&](const error& why) {
        ports_.to_gateway((*n)->to.gateway, std::make_shared<const notification_created>(
                                                notification_created{(*n)->to.call, why}));
      });
      if (go_on) executed_.pop_back();
      return go_on;
    }
    notified_.push_back({*n, std::move(*done)});
    return true;
  }
  const auto& t = std::get<create_tenant_ptr>(m);
  auto done = writer_.create_tenant(t->tenant);
  if (!done) {
    const bool go_on = note(done.error(), [&](const error& why) {
      ports_.to_gateway(t->to.gateway,
                        std::make_shared<const tenant_created>(tenant_created{t->to.call, why}));
    });
    if (go_on) executed_.pop_back();
    return go_on;
  }
  tenants_.push_back({t, *done});
  return true;
}

bool group_commit::execute_cursors(const store_cursors_ptr& m) {
  std::vector<cursor_outcome> outcomes;
  outcomes.reserve(m->moves->rooms.size());
  for (const auto& [room, seq] : m->moves->rooms) {
    const auto& user = m->moves->user;
    auto done = writer_.move_cursor({user.tenant, user.user, room, seq, m->moves->read});
    if (done) {
      outcomes.push_back({room, *done});
    } else if (!note(done.error(), [&](const error& why) { outcomes.push_back({room, why}); })) {
      cursor_results_.emplace_back(m, std::vector<cursor_outcome>{});
      return false;
    }
  }
  cursor_results_.emplace_back(m, std::move(outcomes));
  return true;
}

std::size_t group_commit::rows_of(const outbox_item& m) {
  if (const auto* b = std::get_if<apply_outbox_ptr>(&m))
    return 1 + (*b)->batch.rows.size() + (*b)->batch.outcomes.size();
  if (const auto* a = std::get_if<ack_notifications_ptr>(&m)) return 1 + (*a)->notifications.size();
  return 1 + std::get<notifications_written_ptr>(m)->written.size();
}

/// What is refused alone is told like what is stored: after the commit, in order.
bool group_commit::execute_outbox(const outbox_item& m) {
  PARLEY_ASSERT(writer_.outbox() != nullptr);
  auto& outbox = *writer_.outbox();
  store::write_result<void> done;
  if (const auto* b = std::get_if<apply_outbox_ptr>(&m)) {
    done = outbox.apply((*b)->batch);
  } else if (const auto* a = std::get_if<ack_notifications_ptr>(&m)) {
    done = outbox.acknowledge((*a)->user, (*a)->notifications);
  } else {
    const auto& w = *std::get<notifications_written_ptr>(m);
    done = outbox.attempted(w.tenant, w.written, w.at);
  }
  auto& result = outbox_results_.emplace_back(m, std::nullopt);
  if (done) return true;
  return note(done.error(), [&](const error& why) { result.second = why; });
}

void group_commit::answer(const outbox_item& m, const std::optional<error>& failure) {
  if (const auto* b = std::get_if<apply_outbox_ptr>(&m)) {
    ports_.to_outbox(outbox_applied{(*b)->call, failure});
  } else if (const auto* a = std::get_if<ack_notifications_ptr>(&m); a != nullptr && (*a)->to) {
    ports_.to_gateway((*a)->to->gateway,
                      std::make_shared<const session_done>(session_done{(*a)->to->call, failure}));
  }
}

/// Shown before it is answered: who asked may look for it.
void group_commit::show_notification(notified_item& n) {
  const auto& asked = n.asked->notification;
  if (!n.made.replayed) {
    std::string text;
    append_notification(text, n.made.id, n.made.topic, asked.payload, n.made.created_at);
    ports_.show(std::make_shared<const notification_shown>(notification_shown{
        asked.tenant, n.made.no, n.made.id, n.made.users, n.made.room, make_text_frame(text)}));
  }
  ports_.to_gateway(n.asked->to.gateway,
                    std::make_shared<const notification_created>(
                        notification_created{n.asked->to.call, std::move(n.made)}));
}

void group_commit::tell_outbox() {
  auto* outbox = writer_.outbox();
  if (outbox == nullptr) return;
  ports_.to_outbox(outbox_news{outbox->take_outbox_news(), true});
}

void group_commit::succeed(commit_no no) {
  for (const auto& room : touched_order_) {
    const auto& t = touched_.at(room);
    ports_.to_room(t.instance, committed{t.instance, t.gen, t.up_to, no});
  }
  for (auto& [instance, m] : lost_) ports_.to_room(instance, std::move(m));
  for (const auto& d : deleted_) {
    open_.erase(d.asked->room);
    ports_.to_room(d.asked->instance, deleted{d.asked->instance, d.asked->gen, d.last_seq, no});
  }
  for (auto& c : created_) {
    if (c.room.created && !c.room.replayed) {
      auto out = std::make_shared<publish>();
      out->room = {c.asked->room.tenant, c.room.info.id};
      out->no = c.room.no;
      out->first_seq = room_seq{1};
      out->commit = no;
      std::map<member_role, std::shared_ptr<const std::string>> as_seen;  // by all of one role alike
      for (const auto& member : c.room.members) {
        auto& text = as_seen[member.role];
        if (!text) {
          auto shown = std::make_shared<std::string>();
          append_room(*shown, c.room.info, member.role);
          text = std::move(shown);
        }
        out->members.push_back({member.user, room_seq{0}, true, text});
      }
      ports_.publish(std::move(out));
    }
    ports_.to_gateway(c.asked->to.gateway,
                      std::make_shared<const created>(created{c.asked->to.call, std::move(c.room)}));
  }
  for (const auto& t : tenants_) {
    if (t.asked->tenant.config.find("webhook_url") != std::string::npos) {
      store::tenant_row row;
      row.no = t.no;
      row.id = t.asked->tenant.id;
      ports_.to_outbox(
          std::make_shared<const tenant_changed>(tenant_changed{call_no{}, std::move(row)}));
    }
    ports_.to_gateway(t.asked->to.gateway,
                      std::make_shared<const tenant_created>(tenant_created{t.asked->to.call, t.no}));
  }
  for (const auto& c : changes_) show_change(c);
  for (auto& n : notified_) show_notification(n);
  show_cursors();
  for (auto& [asked, outcomes] : cursor_results_) answer_cursors(asked, std::move(outcomes));
  for (const auto& [asked, failure] : outbox_results_) answer(asked, failure);
  tell_outbox();
  executed_.clear();
  touched_.clear();
  touched_order_.clear();
  lost_.clear();
  deleted_.clear();
  created_.clear();
  tenants_.clear();
  changes_.clear();
  notified_.clear();
  cursor_results_.clear();
  outbox_results_.clear();
}

/// The owner hears of it before who asked: a gateway that is told «done» is not far from knowing it.
void group_commit::show_change(const changed_item& c) {
  const auto& change = c.asked->change;
  auto m = std::make_shared<const tenant_changed>(tenant_changed{c.asked->to.call, c.row});
  const auto revoked = [&](const user_id& user, utc_time before) {
    ports_.show(std::make_shared<const user_revoked>(user_revoked{{c.row.no, user}, before}));
  };
  if (const auto* r = std::get_if<store::tenant_change::revoke_user>(&change.what)) {
    revoked(r->user, r->before);
  } else if (const auto* e = std::get_if<store::tenant_change::erase_user>(&change.what)) {
    revoked(e->user, change.at);
  } else if (std::holds_alternative<store::tenant_change::update>(change.what) ||
             std::holds_alternative<store::tenant_change::add_credential>(change.what) ||
             std::holds_alternative<store::tenant_change::delete_credential>(change.what) ||
             std::holds_alternative<store::tenant_change::remove>(change.what)) {
    ports_.to_directory(m);
    ports_.to_outbox(m);
  } else if (std::holds_alternative<store::tenant_change::replay_events>(change.what)) {
    ports_.to_outbox(m);
  }
  ports_.to_gateway(c.asked->to.gateway, std::move(m));
}

/// The transaction is certainly not stored: everyone in it hears so, and, when there is no space, all who wait.
void group_commit::fail_all(const error& why) {
  touched_.clear();
  touched_order_.clear();
  deleted_.clear();
  created_.clear();
  tenants_.clear();
  changes_.clear();
  notified_.clear();
  for (const auto& m : executed_) refuse(m, why);
  executed_.clear();
  for (const auto& [m, outcomes] : cursor_results_) refuse(m, why);
  cursor_results_.clear();
  for (const auto& [m, failure] : outbox_results_) answer(m, why);
  outbox_results_.clear();
  if (full_) {
    while (!queue_.empty()) refuse(queue_.pop(), why);
    while (!cursors_.empty()) refuse(cursors_.pop(), why);
    for (const auto& m : outbox_) answer(m, why);
    outbox_.clear();
    seen_.clear();
    keys_used_.clear();
  }
  for (auto& [instance, m] : lost_) ports_.to_room(instance, std::move(m));
  lost_.clear();
}

void group_commit::refuse(const item& m, const error& why) {
  if (const auto* a = std::get_if<append_ptr>(&m)) {
    close_generation((*a)->row.room, (*a)->instance, (*a)->gen, why);
  } else if (const auto* d = std::get_if<delete_room_ptr>(&m)) {
    close_generation((*d)->room, (*d)->instance, (*d)->gen, why);
  } else if (const auto* c = std::get_if<create_room_ptr>(&m)) {
    ports_.to_gateway((*c)->to.gateway, std::make_shared<const created>(created{(*c)->to.call, why}));
  } else if (const auto* changed = std::get_if<change_tenant_ptr>(&m)) {
    ports_.to_gateway((*changed)->to.gateway, std::make_shared<const tenant_changed>(
                                                  tenant_changed{(*changed)->to.call, why}));
  } else if (const auto* n = std::get_if<create_notification_ptr>(&m)) {
    ports_.to_gateway((*n)->to.gateway, std::make_shared<const notification_created>(
                                            notification_created{(*n)->to.call, why}));
  } else {
    const auto& t = std::get<create_tenant_ptr>(m);
    ports_.to_gateway(t->to.gateway,
                      std::make_shared<const tenant_created>(tenant_created{t->to.call, why}));
  }
}

void group_commit::refuse(const store_cursors_ptr& m, const error& why) {
  std::vector<cursor_outcome> outcomes;
  for (const auto& [room, seq] : m->moves->rooms) outcomes.push_back({room, why});
  answer_cursors(m, std::move(outcomes));
}

/// One message a commit, whatever was moved: whose reader is where, each gateway knows (docs/adr/0008).
void group_commit::show_cursors() {
  auto m = std::make_shared<cursors_shown>();
  for (const auto& [asked, outcomes] : cursor_results_) {
    const auto& moves = *asked->moves;
    for (const auto& one : outcomes) {
      const auto* state = std::get_if<store::cursor_state>(&one.outcome);
      if (state == nullptr || !state->moved || state->member_count > receipt_max_members_) continue;
      m->items.push_back({{moves.user.tenant, one.room},
                          moves.user.user,
                          moves.read,
                          moves.read ? state->last_read : state->last_ack});
    }
  }
  if (!m->items.empty()) ports_.show(std::move(m));
}

void group_commit::answer_cursors(const store_cursors_ptr& m, std::vector<cursor_outcome> outcomes) {
  auto answer = std::make_shared<const cursors_stored>(cursors_stored{m->moves, std::move(outcomes)});
  if (m->session) {
    ports_.to_session(*m->session, std::move(answer));
  } else {
    ports_.to_gateway(m->moves->to.gateway, std::move(answer));
  }
}

void group_commit::close_generation(room_no room, instance_no instance, generation gen,
                                    const error& why) {
  const auto it = open_.find(room);
  static const bool no_generation = planted_defect("no_generation");
  if (!no_generation && (it == open_.end() || it->second.gen != gen))
    return;  // its loss is known already
  if (it != open_.end()) open_.erase(it);
  ++counters_.lost_generations;
  lost_.emplace_back(instance, std::make_shared<const lost>(lost{instance, gen, why}));
}

void group_commit::maintain(mono_time now, utc_time utc) {
  if (ended_) return;
  if (full_) {
    jobs_go_on_ = false;  // they wait for space like everybody: the probe has its own pace
    if (auto tried = writer_.probe(); tried) {
      full_ = false;
      ports_.writable(true);
    } else if (tried.error().scope == store::failure_scope::fatal) {
      ended_ = true;
      ports_.fatal(tried.error().why);
    }
    return;
  }
  if (auto done = writer_.maintain(now, utc); !done) {
    if (done.error().scope == store::failure_scope::fatal) {
      ended_ = true;
      ports_.fatal(done.error().why);
    } else if (done.error().scope == store::failure_scope::full) {
      full_ = true;
      ports_.writable(false);
    }
  }
  if (ended_) return;
  show_jobs(writer_.take_job_news());
  auto* outbox = writer_.outbox();
  if (outbox == nullptr) return;
  if (auto tenants = outbox->take_outbox_news(); !tenants.empty())
    ports_.to_outbox(outbox_news{std::move(tenants), true});
}

void group_commit::show_jobs(const store::job_news& news) {
  for (const auto& r : news.rewritten) {
    const room_rewritten m{r.room, r.no, r.commit, r.first_seq};
    if (const auto it = open_.find(r.no); it != open_.end()) {
      if (m.first_seq != room_seq{}) {
        ports_.to_room(it->second.instance, m);
      } else {
        // What the room has looked up and not stored yet may hold what was just erased, and would bring it back.
        close_generation(r.no, it->second.instance, it->second.gen,
                         unavailable("the room is being changed", std::chrono::milliseconds{500}));
      }
    }
    ports_.show(m);
  }
  for (auto& [instance, m] : lost_) ports_.to_room(instance, std::move(m));
  lost_.clear();
  for (const auto& d : news.departures) {
    // If it is lost, the job names it again: nobody waits for the answer.
    auto m = std::make_shared<room_command>();
    m->room = d.room;
    m->what = remove_member_command{d.user, true};
    ports_.to_directory(room_command_ptr{std::move(m)});
  }
  jobs_go_on_ = news.more;
}

}  // namespace parley::actors
