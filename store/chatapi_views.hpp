#pragma once
/// Views that show ChatAPI's tables as its documentation has them (SPEC 8), for those who look at the file with a SQLite
/// shell or a report. Nothing of ours reads them.

#include <string>

namespace parley::store {

/// As of schema version 1; never changed afterwards, a later version drops and makes them anew.
[[nodiscard]] std::string chatapi_views_v1();
/// The notifications, new in schema version 4.
[[nodiscard]] std::string chatapi_views_v4();

}  // namespace parley::store
