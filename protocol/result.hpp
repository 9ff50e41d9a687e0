#pragma once
/// How expected failure travels: a value or an `error`. Return it or handle it; never log and go on.

#include "protocol/errors.hpp"

#include <boost/system/result.hpp>

#include <exception>
#include <stdexcept>

namespace parley {

/// Found by ADL: `result::value()` on a failure is our own bug, not an answer.
[[noreturn]] inline void throw_exception_from_error(const error& e,
                                                    const boost::source_location& where) {
  throw std::logic_error("value() of a failed result: " + e.message + " at " + where.to_string());
}

template <class T>
using result = boost::system::result<T, error>;

}  // namespace parley
