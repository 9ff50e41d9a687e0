#include "protocol/log.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <utility>

namespace parley {
namespace {

constexpr std::array<std::pair<log_level, std::string_view>, 5> names{
    {{log_level::debug, "debug"},
     {log_level::info, "info"},
     {log_level::warn, "warn"},
     {log_level::error, "error"},
     {log_level::notice, "notice"}}};

std::atomic<log_sink*> current_sink{nullptr};
std::atomic<log_level> threshold{log_level::info};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

}  // namespace

std::string_view to_text(log_level level) {
  for (const auto& [value, text] : names) {
    if (value == level) return text;
  }
  return "notice";
}

std::optional<log_level> parse_log_level(std::string_view text) {
  for (const auto& [value, name] : names) {
    if (value != log_level::notice && std::ranges::equal(text, name, {}, lower)) {
      return value;
    }
  }
  return std::nullopt;
}

void set_log_sink(log_sink* sink) noexcept { current_sink.store(sink, std::memory_order_release); }

void set_log_threshold(log_level level) noexcept {
  threshold.store(level, std::memory_order_relaxed);
}

log_level log_threshold() noexcept { return threshold.load(std::memory_order_relaxed); }

bool is_logged(log_level level) noexcept {
  return level >= log_threshold() && current_sink.load(std::memory_order_relaxed) != nullptr;
}

void log(log_level level, std::string_view message, std::initializer_list<log_field> fields) noexcept {
  if (level < log_threshold()) return;
  if (auto* sink = current_sink.load(std::memory_order_acquire)) {
    sink->write(level, message, {fields.begin(), fields.size()});
  }
}

}  // namespace parley
