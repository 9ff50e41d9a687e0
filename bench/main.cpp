/// parley-bench: the bundled load tool. See bench/README.md.

#include "bench/options.hpp"
#include "bench/run_context.hpp"

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <iostream>

namespace {

std::atomic<int> interrupts{0};
static_assert(std::atomic<int>::is_always_lock_free);  // a signal handler writes it

// The first asks for a clean end, the second for a quick one, the third ends us; a spawned node ends with us.
void on_interrupt(int /*signal*/) {
  if (++interrupts == 3) std::_Exit(parley::bench::exit_interrupted);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const auto parsed = parley::bench::parse_command_line(argc, argv, std::cout, std::cerr);
    if (!parsed.options) return parsed.exit_code;
    struct sigaction action {};
    action.sa_handler = on_interrupt;
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    return parley::bench::run_bench(*parsed.options, std::cout, std::cerr, interrupts);
  } catch (const std::exception& error) {
    std::cerr << "parley-bench: " << error.what() << '\n';
    return parley::bench::exit_fault;
  }
}
