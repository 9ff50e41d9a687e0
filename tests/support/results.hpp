#pragma once
/// Lets doctest print a result<T>: its failure in words. Without it CHECK(result) does not compile, because Boost wants to
/// print the value.

#include "protocol/result.hpp"

#include <doctest/doctest.h>

#include <string>

namespace doctest {
template <class T>
struct StringMaker<boost::system::result<T, parley::error>> {
  static String convert(const boost::system::result<T, parley::error>& r) {
    if (r.has_value()) return "a value";
    const auto text = "error " + std::string{parley::info(r.error().code).text} + ": " +
                      r.error().message +
                      (r.error().field.empty() ? "" : " (" + r.error().field + ")");
    return text.c_str();
  }
};
}  // namespace doctest
