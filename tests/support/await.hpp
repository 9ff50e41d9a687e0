#pragma once
/// Waiting in tests: for a condition, with a deadline, never for a time.

#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

namespace parley::tests {

/// What a deadline says in a test that waits for something in particular.
struct deadline_passed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// True as soon as `is_true()` is; false when `within` has passed before.
template <class Predicate>
[[nodiscard]] bool await(std::chrono::milliseconds within, Predicate&& is_true) {
  using clock = std::chrono::steady_clock;
  const auto deadline = clock::now() + within;
  while (true) {
    if (is_true()) return true;
    if (clock::now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds{2});
  }
}

}  // namespace parley::tests
