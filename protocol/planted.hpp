#pragma once
/// Planted defects: `PARLEY_BREAK=<name>` breaks one promise on purpose, in builds that allow it, so that the tests can
/// show that they would notice (docs/architecture.md lists the names). Elsewhere it is always false.

#include <cstdlib>
#include <string_view>

namespace parley {

[[nodiscard]] inline bool planted_defect([[maybe_unused]] std::string_view name) {
#ifdef PARLEY_PLANTED_DEFECTS
  static const char* const chosen =
      std::getenv("PARLEY_BREAK");  // NOLINT(concurrency-mt-unsafe): read once
  return chosen != nullptr && name == chosen;
#else
  return false;
#endif
}

}  // namespace parley
