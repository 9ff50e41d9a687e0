#include "actors/admission.hpp"

#include <utility>

namespace parley::actors {

credit::~credit() {
  from_->give_back(bytes_);
  if (also_) also_->give_back(bytes_);
}

void admission::give_back(std::size_t bytes) {
  rows_.fetch_sub(1, std::memory_order_relaxed);
  bytes_.fetch_sub(bytes, std::memory_order_relaxed);
}

bool admission::take(std::size_t bytes) {
  // Add first, then look: two takers may both be refused at the very edge, none passes beyond it.
  const auto rows = rows_.fetch_add(1, std::memory_order_relaxed) + 1;
  const auto held = bytes_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  if (rows <= max_rows_ && held <= max_bytes_) return true;
  give_back(bytes);
  refused_.fetch_add(1, std::memory_order_relaxed);
  return false;
}

credit_ptr admission::try_take(std::size_t bytes) {
  if (!take(bytes)) return nullptr;
  return std::make_shared<const credit>(shared_from_this(), nullptr, bytes);
}

credit_ptr admission::try_take_both(const std::shared_ptr<admission>& first,
                                    const std::shared_ptr<admission>& second, std::size_t bytes,
                                    const admission** full) {
  const admission* refused = nullptr;
  if (!first->take(bytes)) {
    refused = first.get();
  } else if (!second->take(bytes)) {
    first->give_back(bytes);
    refused = second.get();
  }
  if (full != nullptr) *full = refused;
  return refused != nullptr ? nullptr : std::make_shared<const credit>(first, second, bytes);
}

}  // namespace parley::actors
