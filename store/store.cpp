#include "store/store.hpp"

#include <stdexcept>

namespace parley::store {

void throw_exception_from_error(const write_error& e, const boost::source_location& where) {
  throw std::logic_error("value() of a failed write: " + e.why.message + " at " + where.to_string());
}

}  // namespace parley::store
