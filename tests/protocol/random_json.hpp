#pragma once
/// Random JSON for property tests: texts in every spelling that the grammar allows, and damaged ones.

#include <array>
#include <cstddef>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace parley::tests {

class random_json {
 public:
  explicit random_json(std::mt19937_64& dice) : dice_(dice) {}

  /// A value nested at most `depth` deep. Keys of one object are all different.
  std::string value(int depth) {
    switch (dice_() % (depth > 1 ? 9 : 6)) {
      case 0:
        return "null";
      case 1:
        return dice_() % 2 == 0 ? "true" : "false";
      case 2:
      case 3:
        return number();
      case 4:
      case 5:
        return string();
      case 6:
        return array(depth);
      default:
        return object(depth);
    }
  }

  std::string object(int depth) {
    std::string out = "{" + space();
    const std::size_t count = dice_() % 12;
    for (std::size_t i = 0; i < count; ++i) {
      if (i > 0) out += "," + space();
      const std::string key = "k" + std::to_string(i) + std::string(dice_() % 12, 'x');
      out += spell(key) + space() + ":" + space() + value(depth - 1) + space();
    }
    return out + "}";
  }

  std::string string() {
    static const std::vector<std::string> parts{"a",
                                                "Z",
                                                " ",
                                                "é",
                                                "€",
                                                "😀",
                                                "\\n",
                                                "\\\"",
                                                "\\\\",
                                                "\\/",
                                                "\\u00e9",
                                                "\\u0000",
                                                "\\ud83d\\ude00",
                                                "\\uFFFF",
                                                "plain text of some length"};
    std::string out = "\"";
    const std::size_t count = dice_() % 8;
    for (std::size_t i = 0; i < count; ++i) out += parts[dice_() % parts.size()];
    return out + "\"";
  }

  std::string number() {
    static constexpr std::array<std::string_view, 16> numbers{"0",
                                                              "-0",
                                                              "1",
                                                              "-1",
                                                              "42",
                                                              "1.5",
                                                              "1e3",
                                                              "1E+3",
                                                              "-2.50e-7",
                                                              "0.1",
                                                              "9007199254740993",
                                                              "1e308",
                                                              "18446744073709551616",
                                                              "123456789012345678901234567890",
                                                              "0e0",
                                                              "1e-400"};
    return std::string{numbers.at(dice_() % numbers.size())};
  }

  std::string space() {
    static constexpr std::array<std::string_view, 8> spaces{"",  "",   "",     "",
                                                            " ", "\n", "\t\r", "   "};
    return std::string{spaces.at(dice_() % spaces.size())};
  }

  /// The text as a JSON string, some of its (ASCII) characters as escapes.
  std::string spell(std::string_view text) {
    constexpr std::string_view hex = "0123456789abcdef";
    std::string out = "\"";
    for (const char c : text) {
      if (dice_() % 6 == 0) {
        out += "\\u00";
        out += hex[static_cast<unsigned char>(c) >> 4U];
        out += hex[static_cast<unsigned char>(c) & 0xfU];
      } else {
        out += c;
      }
    }
    return out + "\"";
  }

  /// One byte changed, removed, doubled or inserted.
  std::string damaged(std::string text) {
    static constexpr std::string_view likely = "{}[]\",:\\u0-e.+ntf \x01";
    const std::size_t at = dice_() % (text.size() + 1);
    const char byte = likely[dice_() % likely.size()];
    switch (dice_() % 3) {
      case 0:
        if (at < text.size()) text[at] = byte;
        break;
      case 1:
        if (at < text.size()) text.erase(at, 1 + dice_() % 3);
        break;
      default:
        text.insert(at, 1, byte);
    }
    return text;
  }

 private:
  std::string array(int depth) {
    std::string out = "[" + space();
    const std::size_t count = dice_() % 5;
    for (std::size_t i = 0; i < count; ++i) {
      if (i > 0) out += "," + space();
      out += value(depth - 1) + space();
    }
    return out + "]";
  }

  std::mt19937_64& dice_;
};

}  // namespace parley::tests
