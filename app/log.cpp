#include "app/log.hpp"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <array>
#include <atomic>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <variant>

namespace parley::app {
namespace {

constexpr std::size_t text_max_bytes = 4096;  // of one value: a log line is no place for documents

constexpr std::string_view replacement = "\xef\xbf\xbd";  // U+FFFD

struct character {
  std::uint32_t code = 0xfffd;
  std::size_t bytes = 1;
  bool valid = false;
};

/// The character that `text` begins with; what is not UTF-8 is taken byte by byte.
character first_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto lead = byte(0);
  if (lead < 0x80) return {lead, 1, true};
  const std::size_t length = lead >= 0xf0 && lead <= 0xf4 ? 4
                             : lead >= 0xe0               ? 3
                             : lead >= 0xc2               ? 2
                                                          : 0;
  if (length == 0 || lead > 0xf4 || text.size() < length) return {};
  std::uint32_t code = lead & (0xffU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0U) != 0x80) return {};
    code = (code << 6U) | (byte(i) & 0x3fU);
  }
  constexpr std::array<std::uint32_t, 5> least{0, 0, 0x80, 0x800, 0x10000};
  if (code < least[length] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return {};
  return {code, length, true};
}

/// What a terminal or a line-based reader would act on instead of showing it.
bool acts(std::uint32_t code) {
  return code < 0x20 || (code >= 0x7f && code <= 0x9f) || code == 0x2028 || code == 0x2029;
}

void append_escape(std::string& out, std::uint32_t code) {
  constexpr std::string_view digits = "0123456789abcdef";
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) {
    out += digits[(code >> static_cast<unsigned>(shift)) & 15U];
  }
}

void append_escaped(std::string& out, std::string_view text) {
  const bool cut = text.size() > text_max_bytes;
  std::size_t taken = 0;
  while (!text.empty() && taken < text_max_bytes) {
    const auto c = first_character(text);
    if (!c.valid) {
      out += replacement;
    } else if (c.code == '\n') {
      out += "\\n";
    } else if (c.code == '\t') {
      out += "\\t";
    } else if (acts(c.code)) {
      append_escape(out, c.code);
    } else {
      if (c.code == '"' || c.code == '\\') out += '\\';
      out += text.substr(0, c.bytes);
    }
    text.remove_prefix(c.bytes);
    taken += c.bytes;
  }
  if (cut) out += "...";
}

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  append_escaped(out, text);
  out += '"';
}

void append_number(std::string& out, double value) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  std::array<char, 32> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  out.append(buffer.data(), end);
}

void append_plain(std::string& out, const log_value& value) {
  if (const auto* d = std::get_if<double>(&value)) {
    append_number(out, *d);
  } else if (const auto* b = std::get_if<bool>(&value)) {
    out += *b ? "true" : "false";
  } else if (const auto* i = std::get_if<std::int64_t>(&value)) {
    out += std::to_string(*i);
  } else if (const auto* u = std::get_if<std::uint64_t>(&value)) {
    out += std::to_string(*u);
  }
}

bool needs_quotes(std::string_view text) {
  return text.empty() || text.find_first_of(" \"=\\") != std::string_view::npos;
}

class stderr_log final : public log_sink {
 public:
  stderr_log() : logger_("parley", std::make_shared<spdlog::sinks::stderr_sink_mt>()) {
    // The line is made here; spdlog adds its end and writes it as one piece.
    logger_.set_formatter(
        std::make_unique<spdlog::pattern_formatter>("%v", spdlog::pattern_time_type::utc, "\n"));
    logger_.set_level(spdlog::level::trace);
    logger_.set_error_handler([](const std::string&) {});  // no log, no place to say so
  }

  void set_format(log_format format) { format_.store(format, std::memory_order_relaxed); }

  void write(log_level level, std::string_view message,
             std::span<const log_field> fields) noexcept override {
    try {
      const auto at = system_clock_source().now();
      const auto line = format_.load(std::memory_order_relaxed) == log_format::json
                            ? json_line(at, level, message, fields)
                            : text_line(at, level, message, fields);
      logger_.log(spdlog::level::info, spdlog::string_view_t{line.data(), line.size()});
    } catch (...) {  // out of memory: a line is lost, the node goes on
    }
  }

 private:
  spdlog::logger logger_;
  std::atomic<log_format> format_{log_format::json};
};

}  // namespace

std::string json_line(utc_time at, log_level level, std::string_view message,
                      std::span<const log_field> fields) {
  std::string line = R"({"ts":")";
  append_rfc3339(line, at);
  line += R"(","level":")";
  line += to_text(level);
  line += R"(","msg":)";
  append_quoted(line, message);
  for (const auto& field : fields) {
    line += ",\"";
    append_escaped(line, field.name);
    if (field.name == "ts" || field.name == "level" || field.name == "msg") line += '_';
    line += "\":";
    if (const auto* text = std::get_if<std::string_view>(&field.value)) {
      append_quoted(line, *text);
    } else {
      append_plain(line, field.value);
    }
  }
  line += '}';
  return line;
}

std::string text_line(utc_time at, log_level level, std::string_view message,
                      std::span<const log_field> fields) {
  constexpr std::size_t time_at = 11;  // of 2026-11-25T22:30:24.123Z
  constexpr std::size_t level_width = 7;
  auto line = to_rfc3339(at).substr(time_at, 12);
  line += ' ';
  std::string name{to_text(level)};
  name.resize(level_width, ' ');
  line += name;
  append_escaped(line, message);
  for (const auto& field : fields) {
    line += "  ";
    append_escaped(line, field.name);
    line += '=';
    if (const auto* text = std::get_if<std::string_view>(&field.value)) {
      if (needs_quotes(*text)) {
        append_quoted(line, *text);
      } else {
        append_escaped(line, *text);
      }
    } else {
      append_plain(line, field.value);
    }
  }
  return line;
}

void install_logging(log_format format, log_level threshold) {
  static auto* const sink = new stderr_log;  // never destroyed: threads may log while the process ends
  sink->set_format(format);
  set_log_threshold(threshold);
  set_log_sink(sink);
}

}  // namespace parley::app
