#pragma once
/// A `.env` file: `KEY=value` or `export KEY=value` a line, quotes, `#` comments. `'…'` is literal, `"…"` knows \n, \r, \t
/// and backslash before anything else; nothing is expanded. Pure.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace parley::app {

struct dotenv_line {
  std::string name;
  std::string value;
  std::size_t line = 0;  ///< its number, from 1
};
struct dotenv_file {
  std::vector<dotenv_line> lines;           ///< each name once: the last one counts
  std::vector<std::size_t> not_understood;  ///< numbers of lines
};
[[nodiscard]] dotenv_file parse_dotenv(std::string_view text);

}  // namespace parley::app
