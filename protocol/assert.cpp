#include "protocol/assert.hpp"

#include <cstdio>
#include <cstdlib>

namespace parley {

void assertion_failed(const char* fact, const char* file, int line) noexcept {
  std::fprintf(stderr, "parley: assertion failed: %s (%s:%d)\n", fact, file, line);
  std::fflush(stderr);
  std::abort();
}

}  // namespace parley
