#pragma once
/// The process's log: lines on standard error, JSON for machines or text for people, written by spdlog. Everybody logs
/// through protocol/log.hpp; this installs where it goes.

#include "app/config.hpp"
#include "protocol/log.hpp"
#include "protocol/seams.hpp"

#include <span>
#include <string>
#include <string_view>

namespace parley::app {

/// From now on lines go to standard error, in this form; calling it again changes form and threshold. The sink lives as
/// long as the process: threads may log until the end.
void install_logging(log_format format, log_level threshold);

/// One line without its end: `{"ts":"2026-11-25T22:30:24.123Z","level":"info","msg":"listening","address":"…"}`.
/// Control characters (C0, DEL, C1, line separators) are escaped, invalid UTF-8 is replaced, long texts are cut: whatever
/// a field holds, it stays one line and one object. A field named ts, level or msg
/// gets a `_` more.
[[nodiscard]] std::string json_line(utc_time at, log_level level, std::string_view message,
                                    std::span<const log_field> fields);
/// `22:30:24.123 info  listening  address=127.0.0.1:8080`.
[[nodiscard]] std::string text_line(utc_time at, log_level level, std::string_view message,
                                    std::span<const log_field> fields);

}  // namespace parley::app
