#pragma once
/// What the kernel says of this process, asked anew by each call; no number costs more than a few files of /proc.
/// Threads    any.

namespace parley::net {

[[nodiscard]] double resident_bytes();
[[nodiscard]] double open_descriptors();
[[nodiscard]] double max_descriptors();
[[nodiscard]] double cpu_seconds();  ///< user and system
[[nodiscard]] double start_time();   ///< in Unix seconds

}  // namespace parley::net
