#pragma once
/// A chunked body (RFC 9112 §7.1) → its bytes, as they arrive, no I/O. Beast's decoder takes obs-fold in trailers, waits
/// for a whole trailer section of any size, and leaves extensions unbounded: a front proxy may see the end elsewhere.
/// Bound      the body: `max_body`; one line of framing: `chunk_line_max_bytes`; all framing that is not chunk sizes
///            (extensions, trailers): `chunk_extra_max_bytes`. Trailers are checked and dropped.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace parley::net {

inline constexpr std::size_t chunk_line_max_bytes = 1024;
inline constexpr std::size_t chunk_extra_max_bytes = 8 * 1024;

class chunked_decoder {
 public:
  enum class status : std::uint8_t { more, done, bad, too_large };

  explicit chunked_decoder(std::size_t max_body) : max_body_(max_body) {}

  /// Takes from the front of `in` what belongs to the body and appends its data to `out`. After `done`, `in` is what
  /// follows the body; after `bad` or `too_large` nothing may follow.
  status consume(std::string_view& in, std::string& out);

 private:
  enum class part : std::uint8_t { size_line, data, data_end, trailer_line, end };

  status take_line(std::string_view& in);
  status on_size_line();
  status on_trailer_line();

  std::string line_;  ///< of the framing, as far as it has arrived; with its CR
  std::uint64_t chunk_left_ = 0;
  std::size_t max_body_;
  std::size_t body_bytes_ = 0;
  std::size_t extra_bytes_ = 0;
  part part_ = part::size_line;
};

}  // namespace parley::net
