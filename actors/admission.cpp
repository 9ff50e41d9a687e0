#include "actors/admission.hpp"

namespace parley::actors {

credit::~credit() {
  from_->rows_.fetch_sub(1, std::memory_order_relaxed);
  from_->bytes_.fetch_sub(bytes_, std::memory_order_relaxed);
}

credit_ptr admission::try_take(std::size_t bytes) {
  // Add first, then look: two takers may both be refused at the very edge, none passes beyond it.
  const auto rows = rows_.fetch_add(1, std::memory_order_relaxed) + 1;
  const auto held = bytes_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  if (rows > max_rows_ || held > max_bytes_) {
    rows_.fetch_sub(1, std::memory_order_relaxed);
    bytes_.fetch_sub(bytes, std::memory_order_relaxed);
    refused_.fetch_add(1, std::memory_order_relaxed);
    return nullptr;
  }
  return std::make_shared<const credit>(shared_from_this(), bytes);
}

}  // namespace parley::actors
