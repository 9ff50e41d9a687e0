#pragma once
/// /metrics as text (SPEC 4, 7): one table of metrics, each with what it means; values are read where they are counted,
/// when somebody asks. docs/metrics.md has the same names, and a test compares them.
/// Threads    any.

#include "net/gateway_options.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace parley::net {

enum class metric_kind : std::uint8_t { counter, gauge, histogram };
struct metric_info {
  std::string_view name;  ///< parley_<subsystem>_<what>_<unit>[_total]
  metric_kind kind;
  std::string_view help;
};
[[nodiscard]] std::vector<metric_info> metric_table();

/// The exposition format, version 0.0.4.
[[nodiscard]] std::string metrics_text(const node_shared& node, std::string_view version);
inline constexpr std::string_view metrics_content_type = "text/plain; version=0.0.4; charset=utf-8";

/// ChatAPI's counters (docs/chatapi.md section 6) as a JSON object.
[[nodiscard]] std::string chatapi_counters(const node_shared& node);

/// What an `Accept` header asks for. In ChatAPI's dialect JSON, unless text/plain or OpenMetrics is named; else text,
/// unless application/json is named, and none of these.
enum class metrics_form : std::uint8_t { text, json };
[[nodiscard]] metrics_form metrics_form_of(std::string_view accept, bool dialect);

}  // namespace parley::net
