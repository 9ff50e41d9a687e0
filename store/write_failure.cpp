#include "store/write_failure.hpp"

#include "protocol/log.hpp"

#include <chrono>

namespace parley::store {
namespace {

using namespace std::chrono_literals;

error words_for(failure_scope scope) {
  switch (scope) {
    case failure_scope::item:
      return {.code = error_code::internal, .message = "the store refused this entry"};
    case failure_scope::batch:
      return unavailable("the store could not write", 100ms);
    case failure_scope::full:
      return unavailable("there is no space on the node's disk", 1s);
    case failure_scope::fatal:
      break;
  }
  return unavailable("the store has failed, and the node is restarting", 1s);
}

/// What operators need to find the cause; the callers' words say less on purpose.
write_error told(write_error e) {
  if (e.scope == failure_scope::fatal || e.why.code == error_code::internal) {
    log(log_level::error, "the store failed", {{"detail", e.detail}});
  }
  return e;
}

}  // namespace

write_error write_failed(const db_failure& f, item_step step) {
  failure_scope scope = scope_of(f);
  // SQLite ends a transaction by itself on some errors; then no later statement may run outside of it.
  const bool item_alone = step == item_step::first && f.in_transaction;
  if (scope == failure_scope::item && !item_alone) scope = failure_scope::batch;
  return told({.scope = scope, .why = words_for(scope), .detail = f.text});
}

write_error refused(error why) { return {.scope = failure_scope::item, .why = std::move(why)}; }

write_error inconsistent(std::string detail) {
  return told({.scope = failure_scope::batch,
               .why = {.code = error_code::internal, .message = "the store refused this batch"},
               .detail = std::move(detail)});
}

write_error outcome_unknown(const db_failure& f) {
  return told(
      {.scope = failure_scope::fatal, .why = words_for(failure_scope::fatal), .detail = f.text});
}

}  // namespace parley::store
