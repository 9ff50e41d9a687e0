#pragma once
/// From what SQLite refused to what the caller of the writer is told.

#include "store/sqlite_db.hpp"
#include "store/store.hpp"

namespace parley::store {

/// An item's statements are ordered so that the one that a constraint may refuse comes first: its failure leaves nothing
/// behind, and the item fails alone. A failure of a later one would leave half an item, and fails the batch.
enum class item_step : std::uint8_t { first, later };

[[nodiscard]] write_error write_failed(const db_failure& f, item_step step);
/// Refused before anything was written.
[[nodiscard]] write_error refused(error why);
/// Our own bug, seen after something was written: nothing of this transaction may stay.
[[nodiscard]] write_error inconsistent(std::string detail);
/// The outcome is unknown (I10).
[[nodiscard]] write_error outcome_unknown(const db_failure& f);

}  // namespace parley::store
