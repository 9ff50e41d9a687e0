#pragma once
/// Admission credit (DESIGN 3.1): what bounds the whole way of a message through the node although CAF's mailboxes have
/// no bound. Taken by a gateway before a message becomes a command, given back when the last who holds it lets go: the
/// last gateway after its pass, or whoever refused the command.
/// Thread-safe: two atomics.

#include <atomic>
#include <cstddef>
#include <memory>

namespace parley::actors {

class admission;

/// A taken credit, of one budget or of two at once (a tenant's share and the node's); ends itself.
class credit {
 public:
  credit(std::shared_ptr<admission> from, std::shared_ptr<admission> also, std::size_t bytes)
      : from_(std::move(from)),
        also_(std::move(also)),
        bytes_(bytes) {}
  credit(const credit&) = delete;
  credit& operator=(const credit&) = delete;
  ~credit();

 private:
  std::shared_ptr<admission> from_;
  std::shared_ptr<admission> also_;  ///< may be null
  std::size_t bytes_;
};
using credit_ptr = std::shared_ptr<const credit>;

/// One budget of rows and bytes: the node's. (A tenant's share is one more of these, taken first.)
class admission : public std::enable_shared_from_this<admission> {
 public:
  admission(std::size_t max_rows, std::size_t max_bytes)
      : max_rows_(max_rows),
        max_bytes_(max_bytes) {}
  /// nullptr: full. Counted in refused().
  [[nodiscard]] credit_ptr try_take(std::size_t bytes);
  /// Of both, or of none. `full` (may be null) says which of the two refused.
  [[nodiscard]] static credit_ptr try_take_both(const std::shared_ptr<admission>& first,
                                                const std::shared_ptr<admission>& second,
                                                std::size_t bytes, const admission** full);
  [[nodiscard]] std::size_t rows() const { return rows_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::size_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::size_t refused() const { return refused_.load(std::memory_order_relaxed); }

 private:
  friend class credit;
  [[nodiscard]] bool take(std::size_t bytes);
  void give_back(std::size_t bytes);
  const std::size_t max_rows_;
  const std::size_t max_bytes_;
  std::atomic<std::size_t> rows_{0};
  std::atomic<std::size_t> bytes_{0};
  std::atomic<std::size_t> refused_{0};
};

}  // namespace parley::actors
