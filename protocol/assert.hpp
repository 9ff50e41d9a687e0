#pragma once
/// Our own bugs stop the process, in release too: what was accepted is on disk, to go on is not safe. Never on input.

namespace parley {
/// Writes the fact and the place to standard error and aborts.
[[noreturn]] void assertion_failed(const char* fact, const char* file, int line) noexcept;
}  // namespace parley

// NOLINTNEXTLINE(cppcoreguidelines-macro-usage): needs the text of the fact and its place.
#define PARLEY_ASSERT(fact) \
  ((fact) ? static_cast<void>(0) : ::parley::assertion_failed(#fact, __FILE__, __LINE__))
