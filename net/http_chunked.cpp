#include "net/http_chunked.hpp"

#include "net/http_strict.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <system_error>

namespace parley::net {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t'; }
bool is_control(char c) {
  const auto b = static_cast<unsigned char>(c);
  return (b < 0x20 && c != '\t') || b == 0x7f;
}

void skip_blanks(std::string_view& text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
}

bool skip_token(std::string_view& text) {
  std::size_t n = 0;
  while (n < text.size() && is_token(text.substr(n, 1))) ++n;
  text.remove_prefix(n);
  return n > 0;
}

bool skip_quoted(std::string_view& text) {
  text.remove_prefix(1);
  while (!text.empty()) {
    const char c = text.front();
    text.remove_prefix(1);
    if (c == '"') return true;
    if (c == '\\') {
      if (text.empty()) return false;
      text.remove_prefix(1);
    }
  }
  return false;
}

/// chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] ); controls were refused before.
bool is_chunk_ext(std::string_view text) {
  while (!text.empty()) {
    skip_blanks(text);
    if (text.empty() || text.front() != ';') return false;
    text.remove_prefix(1);
    skip_blanks(text);
    if (!skip_token(text)) return false;
    auto after_blanks = text;
    skip_blanks(after_blanks);
    if (after_blanks.empty() || after_blanks.front() != '=') continue;
    after_blanks.remove_prefix(1);
    skip_blanks(after_blanks);
    text = after_blanks;
    if (text.empty()) return false;
    if (text.front() == '"' ? !skip_quoted(text) : !skip_token(text)) return false;
  }
  return true;
}

/// `chunk-size [ chunk-ext ]`. Sixteen digits are all that 64 bits need; more are somebody else's overflow.
std::optional<std::uint64_t> parse_size_line(std::string_view line) {
  std::uint64_t size = 0;
  const auto [end, ec] = std::from_chars(line.data(), line.data() + line.size(), size, 16);
  const auto digits = static_cast<std::size_t>(end - line.data());
  if (ec != std::errc{} || digits == 0 || digits > 16) return std::nullopt;
  if (!is_chunk_ext(line.substr(digits))) return std::nullopt;
  return size;
}

}  // namespace

/// One line of framing into line_, without its end. `more`: it has not ended. `done`: it has.
chunked_decoder::status chunked_decoder::take_line(std::string_view& in) {
  while (!in.empty()) {
    const char c = in.front();
    in.remove_prefix(1);
    if (!line_.empty() && line_.back() == '\r') {
      if (c != '\n') return status::bad;
      line_.pop_back();
      return status::done;
    }
    if (c != '\r' && is_control(c)) return status::bad;  // also a bare LF
    if (c != '\r' && part_ == part::data_end) return status::bad;
    if (line_.size() >= chunk_line_max_bytes) return status::bad;
    line_.push_back(c);
  }
  return status::more;
}

chunked_decoder::status chunked_decoder::on_size_line() {
  const auto size = parse_size_line(line_);
  if (!size) return status::bad;
  extra_bytes_ += line_.size() > 16 ? line_.size() - 16 : 0;
  if (extra_bytes_ > chunk_extra_max_bytes) return status::bad;
  line_.clear();
  if (*size == 0) {
    part_ = part::trailer_line;
    return status::more;
  }
  if (*size > max_body_ - body_bytes_) return status::too_large;
  chunk_left_ = *size;
  part_ = part::data;
  return status::more;
}

chunked_decoder::status chunked_decoder::on_trailer_line() {
  if (line_.empty()) {
    part_ = part::end;
    line_.shrink_to_fit();
    return status::done;
  }
  extra_bytes_ += line_.size();
  const auto colon = line_.find(':');
  if (extra_bytes_ > chunk_extra_max_bytes || colon == std::string::npos ||
      !is_token(std::string_view{line_}.substr(0, colon))) {  // also obs-fold: it starts with a blank
    return status::bad;
  }
  line_.clear();
  return status::more;
}

chunked_decoder::status chunked_decoder::consume(std::string_view& in, std::string& out) {
  while (part_ != part::end) {
    if (part_ == part::data) {
      if (in.empty()) return status::more;
      const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(chunk_left_, in.size()));
      out.append(in.substr(0, n));
      in.remove_prefix(n);
      body_bytes_ += n;
      chunk_left_ -= n;
      if (chunk_left_ == 0) part_ = part::data_end;
      continue;
    }
    auto result = take_line(in);
    if (result != status::done) return result;
    if (part_ == part::data_end) {
      part_ = part::size_line;
      continue;
    }
    result = part_ == part::size_line ? on_size_line() : on_trailer_line();
    if (result != status::more) return result;
  }
  return status::done;
}

}  // namespace parley::net
