#include "app/config_print.hpp"

#include "app/config_keys.hpp"
#include "app/config_values.hpp"

#include <algorithm>
#include <string_view>
#include <vector>

namespace parley::app {
namespace {

constexpr std::size_t comment_width = 110;

std::string toml_value(const config_key& key, const config& c) {
  const auto text = key.show(c);
  if (!key.quoted_in_toml) return text;
  std::string out = "\"";
  constexpr std::string_view digits = "0123456789abcdef";
  for (const char ch : text) {
    const auto byte = static_cast<unsigned char>(ch);
    if (byte < 0x20 || byte == 0x7f) {
      out += "\\u00";
      out += digits[byte >> 4U];
      out += digits[byte & 15U];
    } else {
      if (ch == '"' || ch == '\\') out += '\\';
      out += ch;
    }
  }
  return out + "\"";
}

std::string variable_of(std::string_view key) { return "PARLEY_" + to_upper(key); }

/// Comment lines of at most `comment_width`, broken between words.
std::string comment(std::string_view text) {
  std::string out;
  std::string line = "#";
  while (!text.empty()) {
    const auto space = std::min(text.find(' '), text.size());
    const auto word = text.substr(0, space);
    text.remove_prefix(std::min(space + 1, text.size()));
    if (line.size() + 1 + word.size() > comment_width) {
      out += line + "\n";
      line = "#";
    }
    line += ' ';
    line += word;
  }
  return out + line + "\n";
}

std::string without_backticks(std::string_view text) {
  std::string out{text};
  std::erase(out, '`');
  return out;
}

/// Other variables than PARLEY_<KEY> that say the same.
std::vector<std::string> other_names(const config_key& key) {
  std::vector<std::string> names;
  if (key.secret) names.push_back(variable_of(key.name) + "_FILE");
  for (const auto name : key.chatapi_names) names.emplace_back(name);
  return names;
}

std::string joined(const std::vector<std::string>& parts, std::string_view between) {
  std::string out;
  for (const auto& part : parts) {
    if (!out.empty()) out += between;
    out += part;
  }
  return out;
}

std::string range_of(const config_key& key) {
  auto text = "Allowed: " + key.allowed;
  if (!key.unit.empty() && key.allowed.find("size") == std::string::npos) {
    text += " (" + std::string{key.unit} + ")";
  }
  return text + ".";
}

std::string markdown_cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

std::string print_config(const config& c) {
  std::string out;
  for (const auto& section : config_sections()) {
    if (!out.empty()) out += "\n";
    out += "# " + std::string{section.title} + "\n";
    for (const auto& key : section.keys) {
      const std::string name{key.name};
      if (!key.secret) {
        out += name + " = " + toml_value(key, c) + "\n";
      } else if (key.show(c).empty()) {
        out += "# " + name + " is not set\n";
      } else {
        out += "# " + name + " is set (not shown)\n";
      }
    }
  }
  return out;
}

std::string documented_defaults() {
  const auto defaults = default_config();
  std::string out =
      "# Parley's configuration: every key, with its default. `parley config print --defaults` "
      "writes this file.\n"
      "#\n"
      "# Four layers, the later wins: these defaults; a file like this one (parley serve --config "
      "FILE); the\n"
      "# environment, PARLEY_ and the key in upper case; the command line (--set key=value).\n"
      "# `parley config check --config FILE` tells what is wrong with a file, `parley config "
      "print` what is in force.\n";
  for (const auto& section : config_sections()) {
    const std::string title{section.title};
    out += "\n# ---- " + title + " ";
    if (title.size() + 8 < comment_width) out += std::string(comment_width - title.size() - 8, '-');
    out += "\n";
    for (const auto& key : section.keys) {
      out += "\n" + comment(without_backticks(key.doc)) + comment(range_of(key));
      if (const auto names = other_names(key); !names.empty()) {
        out += comment("Environment: " + variable_of(key.name) + ", " + joined(names, ", ") + ".");
      }
      if (key.reloadable) out += comment("SIGHUP takes a change over.");
      out += "#" + std::string{key.name} + " = " + toml_value(key, defaults) + "\n";
    }
  }
  return out;
}

std::string keys_as_markdown() {
  const auto defaults = default_config();
  std::string out;
  for (const auto& section : config_sections()) {
    out += "### " + std::string{section.title} + "\n\n";
    out += "| key | default | what it does | allowed |\n|---|---|---|---|\n";
    for (const auto& key : section.keys) {
      auto doc = std::string{key.doc};
      if (key.reloadable) doc += " SIGHUP takes a change over.";
      if (const auto names = other_names(key); !names.empty()) {
        doc += " Also `" + joined(names, "`, `") + "`.";
      }
      const auto shown = key.show(defaults);
      out += "| `" + std::string{key.name} + "` | " + (shown.empty() ? "" : "`" + shown + "`") +
             " | " + markdown_cell(doc) + " | " + markdown_cell(key.allowed);
      if (!key.unit.empty() && key.unit != "bytes") out += " (" + std::string{key.unit} + ")";
      out += " |\n";
    }
    out += "\n";
  }
  return out;
}

}  // namespace parley::app
