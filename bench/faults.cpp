#include "bench/faults.hpp"

#include <numeric>
#include <utility>

namespace parley::bench {

std::string_view name_of(fault kind) {
  switch (kind) {
    case fault::hole:
      return "hole";
    case fault::repeat:
      return "repeat";
    case fault::out_of_order:
      return "out_of_order";
    case fault::two_histories:
      return "two_histories";
    case fault::foreign_room:
      return "foreign_room";
    case fault::wrong_message:
      return "wrong_message";
    case fault::stored_twice:
      return "stored_twice";
    case fault::missing:
      return "missing";
    case fault::unanswered:
      return "unanswered";
    case fault::wrong_answer:
      return "wrong_answer";
    case fault::refused:
      return "refused";
    case fault::gap:
      return "gap";
    case fault::sync:
      return "sync";
    case fault::protocol:
      return "protocol";
    case fault::connection:
      return "connection";
    case fault::node:
      return "node";
    case fault::no_load:
      return "no_load";
    case fault::uninvited:
      return "uninvited";
  }
  return "?";
}

void fault_log::add(fault kind, std::string text) {
  ++counts_[static_cast<std::size_t>(kind)];
  if (texts_.size() < texts_max) texts_.push_back(std::string{name_of(kind)} + ": " + text);
}

void fault_log::add(const fault_log& other) {
  for (std::size_t i = 0; i < fault_kinds; ++i) counts_[i] += other.counts_[i];
  for (const auto& text : other.texts_) {
    if (texts_.size() == texts_max) break;
    texts_.push_back(text);
  }
}

std::uint64_t fault_log::total() const {
  return std::accumulate(counts_.begin(), counts_.end(), std::uint64_t{0});
}

}  // namespace parley::bench
