#include "tests/promises/exposition.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>
#include <utility>

namespace parley::tests {

namespace {

bool is_name(std::string_view text) {
  const auto is_letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':';
  };
  return !text.empty() && is_letter(text.front()) &&
         std::ranges::all_of(text, [&](char c) { return is_letter(c) || (c >= '0' && c <= '9'); });
}

std::string_view take_name(std::string_view& rest) {
  const auto end = std::min(rest.find_first_of("{ \t"), rest.size());
  const auto name = rest.substr(0, end);
  rest.remove_prefix(end);
  if (!is_name(name)) throw bad_exposition{"no name: " + std::string{name}};
  return name;
}

exposition::labels take_labels(std::string_view& rest) {
  exposition::labels out;
  if (!rest.starts_with('{')) return out;
  rest.remove_prefix(1);
  while (!rest.starts_with('}')) {
    const auto equals = rest.find("=\"");
    if (equals == std::string_view::npos) throw bad_exposition{"a label without a value"};
    const std::string name{rest.substr(0, equals)};
    if (!is_name(name)) throw bad_exposition{"no label: " + name};
    rest.remove_prefix(equals + 2);
    std::string value;
    while (!rest.starts_with('"')) {
      if (rest.empty()) throw bad_exposition{"a label without an end"};
      if (rest.front() == '\\') {
        rest.remove_prefix(1);
        if (rest.empty() || std::string_view{"\\n\""}.find(rest.front()) == std::string_view::npos)
          throw bad_exposition{"an unknown escape"};
        value += rest.front() == 'n' ? '\n' : rest.front();
      } else {
        value += rest.front();
      }
      rest.remove_prefix(1);
    }
    rest.remove_prefix(1);
    if (!out.emplace(name, std::move(value)).second) throw bad_exposition{"a label twice: " + name};
    if (rest.starts_with(',')) {
      rest.remove_prefix(1);
    } else if (!rest.starts_with('}')) {
      throw bad_exposition{"no end of the labels"};
    }
  }
  rest.remove_prefix(1);
  return out;
}

double number(std::string_view text) {
  if (text == "+Inf") return HUGE_VAL;
  const std::string copy{text};
  char* end = nullptr;
  const double value = std::strtod(copy.c_str(), &end);
  if (copy.empty() || *end != '\0' || std::isnan(value)) throw bad_exposition{"no number: " + copy};
  return value;
}

}  // namespace

exposition::exposition(std::string_view text) {
  if (!text.ends_with('\n')) throw bad_exposition{"the last line has no end"};
  std::string current;
  while (!text.empty()) {
    const auto end = text.find('\n');
    auto line = text.substr(0, end);
    text.remove_prefix(end + 1);
    const bool is_help = line.starts_with("# HELP ");
    if (!is_help && !line.starts_with("# TYPE ")) {
      take_sample(line, current);
      continue;
    }
    line.remove_prefix(7);
    const std::string name{take_name(line)};
    if (line.size() < 2) throw bad_exposition{"nothing is said of " + name};
    line.remove_prefix(1);
    if (name != current && families_.contains(name)) throw bad_exposition{"scattered: " + name};
    current = name;
    auto& f = families_[name];
    auto& said = is_help ? f.help : f.type;
    if (!said.empty() || !f.samples.empty()) throw bad_exposition{"said twice or late: " + name};
    said = line;
  }
  for (const auto& [name, f] : families_) {
    if (f.help.empty()) throw bad_exposition{"no HELP: " + name};
    if (f.type == "histogram") {
      check_histogram(name, f);
    } else if (f.type == "counter") {
      for (const auto& [key, value] : f.samples)
        if (value < 0) throw bad_exposition{"negative: " + name};
    } else if (f.type != "gauge") {
      throw bad_exposition{"unknown type of " + name + ": " + f.type};
    }
  }
}

void exposition::take_sample(std::string_view line, const std::string& current) {
  const std::string whole{line};
  const std::string name{take_name(line)};
  auto of = take_labels(line);
  if (!line.starts_with(' ')) throw bad_exposition{"no value: " + whole};
  const double value = number(line.substr(1));
  const auto it = families_.find(current);
  if (it == families_.end()) throw bad_exposition{"of no family: " + whole};
  bool belongs = name == current && it->second.type != "histogram";
  for (const auto* suffix : {"_bucket", "_sum", "_count"})
    belongs = belongs || (it->second.type == "histogram" && name == current + suffix);
  if (!belongs) throw bad_exposition{"of another family than " + current + ": " + whole};
  if (!it->second.samples.emplace(std::pair{name, std::move(of)}, value).second)
    throw bad_exposition{"twice: " + whole};
}

void exposition::check_histogram(const std::string& name, const family& f) {
  std::map<labels, std::map<double, double>> buckets;  // by upper end
  std::map<labels, double> counts;
  std::set<labels> sums;
  for (const auto& [key, value] : f.samples) {
    auto of = key.second;
    if (key.first == name + "_bucket") {
      const auto le = of.find("le");
      if (le == of.end()) throw bad_exposition{"a bucket without an end: " + name};
      const auto end = number(le->second);
      of.erase(le);
      buckets[of][end] = value;
    } else if (key.first == name + "_count") {
      counts[of] = value;
    } else {
      sums.insert(of);
    }
  }
  if (buckets.size() != counts.size() || buckets.size() != sums.size())
    throw bad_exposition{"not whole: " + name};
  for (const auto& [of, ends] : buckets) {
    double before = 0;
    for (const auto& [end, value] : ends) {
      if (value < before) throw bad_exposition{"buckets that fall: " + name};
      before = value;
    }
    if (!std::isinf(ends.rbegin()->first) || !counts.contains(of) || counts.at(of) != before ||
        !sums.contains(of))
      throw bad_exposition{"its last bucket is not its count: " + name};
  }
}

double exposition::value(const std::string& name, const labels& of) const {
  for (const auto& [family_name, f] : families_) {
    if (!name.starts_with(family_name)) continue;
    if (const auto it = f.samples.find({name, of}); it != f.samples.end()) return it->second;
  }
  return 0;
}

double exposition::sum(const std::string& name) const {
  double all = 0;
  for (const auto& [key, value] : families_.at(name).samples) all += value;
  return all;
}

}  // namespace parley::tests
