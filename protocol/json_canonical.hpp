#pragma once
/// JSON as values: minified text for storage, and a canonical form so that equal values compare equal (SPEC 2.4).

#include "protocol/entry.hpp"

#include <string>
#include <string_view>

namespace parley {

/// Canonical text: keys sorted bytewise, no white space, strings in one spelling, numbers in one spelling (1, 1.0 and
/// 1e0 alike; beyond ±2^53 integers stay exact). `text` is valid JSON without duplicate keys; empty stays empty.
[[nodiscard]] std::string canonical_json(const json_text& text);

}  // namespace parley
