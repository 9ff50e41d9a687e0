#include "app/dotenv.hpp"

#include "app/config_values.hpp"

#include <algorithm>
#include <optional>
#include <utility>

namespace parley::app {
namespace {

std::string unescaped(char quote, std::string_view inner) {
  if (quote == '\'') return std::string{inner};
  std::string out;
  for (std::size_t i = 0; i < inner.size(); ++i) {
    if (inner[i] != '\\' || i + 1 == inner.size()) {
      out += inner[i];
      continue;
    }
    switch (const char c = inner[++i]) {
      case 'n':
        out += '\n';
        break;
      case 'r':
        out += '\r';
        break;
      case 't':
        out += '\t';
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::optional<dotenv_line> parse_dotenv_line(std::string_view text) {
  constexpr std::string_view export_word = "export";
  if (text.starts_with(export_word) && text.size() > export_word.size() &&
      (text[export_word.size()] == ' ' || text[export_word.size()] == '\t')) {
    text = trimmed(text.substr(export_word.size()));
  }
  const auto equals = text.find('=');
  if (equals == std::string_view::npos) return std::nullopt;
  const auto name = trimmed(text.substr(0, equals));
  const auto is_name = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  };
  if (name.empty() || !std::ranges::all_of(name, is_name)) return std::nullopt;
  auto value = trimmed(text.substr(equals + 1));
  if (!value.empty() && (value.front() == '"' || value.front() == '\'')) {
    const char quote = value.front();
    std::size_t end = 1;
    while (end < value.size() && value[end] != quote) {
      end += value[end] == '\\' && quote == '"' ? 2 : 1;
    }
    if (end >= value.size()) return std::nullopt;
    const auto rest = trimmed(value.substr(end + 1));
    if (!rest.empty() && rest.front() != '#') return std::nullopt;
    return dotenv_line{std::string{name}, unescaped(quote, value.substr(1, end - 1)), 0};
  }
  // A # begins a comment only after a space: it may be part of a value.
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (value[i] == '#' && (i == 0 || value[i - 1] == ' ' || value[i - 1] == '\t')) {
      value = trimmed(value.substr(0, i));
      break;
    }
  }
  return dotenv_line{std::string{name}, std::string{value}, 0};
}

}  // namespace

dotenv_file parse_dotenv(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);  // a byte order mark
  dotenv_file file;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const auto end = std::min(text.find('\n'), text.size());
    const auto line = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.front() == '#') continue;
    if (auto parsed = parse_dotenv_line(line)) {
      parsed->line = number;
      std::erase_if(file.lines, [&](const dotenv_line& l) { return l.name == parsed->name; });
      file.lines.push_back(std::move(*parsed));
    } else {
      file.not_understood.push_back(number);
    }
  }
  return file;
}

}  // namespace parley::app
