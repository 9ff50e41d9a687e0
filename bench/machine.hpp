#pragma once
/// The machine that a run is bound to: what a reader of its numbers must know, and the limit on descriptors.

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <filesystem>
#include <string>

namespace parley::bench {

/// Raises the soft limit on open files to the hard one, and gives that; a node started afterwards inherits it.
std::uint64_t raise_descriptor_limit();

/// Source addresses 127.0.0.1, 127.0.0.2, … for so many connections: each has the ephemeral ports for itself, and is used
/// to half only, so that those of the run before may still be in TIME_WAIT.
[[nodiscard]] unsigned sources_for(std::uint32_t connections);

/// Its name where we know it: what an fsync costs depends on it, and on tmpfs it costs nothing.
[[nodiscard]] std::string filesystem_of(const std::filesystem::path& path);

/// Cores, processor, kernel, memory, descriptor limit.
[[nodiscard]] nlohmann::ordered_json describe_machine();

}  // namespace parley::bench
