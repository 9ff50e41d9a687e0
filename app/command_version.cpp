#include "app/commands.hpp"

#include <boost/version.hpp>
#include <nlohmann/json.hpp>

#include <ostream>

#ifndef PARLEY_VERSION
#define PARLEY_VERSION "0.0.0"
#endif

namespace parley::app {

const char* program_version() { return PARLEY_VERSION; }

exit_status run_version(bool json, std::ostream& out) {
#ifdef PARLEY_PLANTED_DEFECTS
  constexpr bool planted = true;
#else
  constexpr bool planted = false;
#endif
  if (json) {
    out << nlohmann::ordered_json{{"version", program_version()},
                                  {"compiler", __VERSION__},
                                  {"boost", BOOST_LIB_VERSION},
                                  {"planted_defects", planted}}
               .dump(2)
        << "\n";
  } else {
    out << "parley " << program_version()
        << (planted ? " (test build: PARLEY_BREAK plants defects)" : "") << "\n";
  }
  return exit_status::ok;
}

}  // namespace parley::app
