#pragma once
/// What RFC 9112 forbids and Beast 1.81 lets through, as a pure check of a request's head (request line and headers, up
/// to and with the empty line). Run on the raw bytes, before any parser may fold or trim them.
/// Bound      fields: `head_max_fields`; the bytes are the caller's to bound.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace parley::net {

/// Header fields a request may have. Browsers and proxies send 10–40; each costs us a few times its bytes.
inline constexpr std::size_t head_max_fields = 128;

enum class head_verdict : std::uint8_t { ok, bad_request, too_large, version_not_supported };
struct head_check {
  head_verdict verdict = head_verdict::ok;
  std::string_view why{};  ///< static text; never the client's bytes
  std::optional<std::uint64_t> content_length{};
  bool chunked = false;
  bool http11 = true;
};

/// Refuses: no (HTTP/1.1) or two Hosts, a malformed Host; two lengths, a length with sign, list, or not digits; length
/// with Transfer-Encoding; a transfer coding that is not exactly `chunked`, once; any transfer coding with HTTP/1.0;
/// obs-fold; white space before the colon; a header line without a colon or name; names that are no tokens; control
/// bytes (but HTAB) in values; a bare CR or LF; NUL; raw bytes ≥ 0x80, controls, spaces and `#` in the target; a target
/// that is neither origin form nor (OPTIONS) `*`, nor an absolute form that agrees with Host; CONNECT; a malformed
/// request line; unknown versions. `too_large`: more than head_max_fields fields, a length beyond 64 bits.
/// HTTP/1.0 may do without Host (RFC 9112 §3.2: load balancers probe so); an empty Host names no `http` origin.
[[nodiscard]] head_check check_request_head(std::string_view head);

/// The same question about a head that has not ended yet: `ok` as long as it may still become a good one. Finds what
/// can be known at once (a TLS hello, a bare line feed, a bad request line), so that garbage need not wait for a
/// deadline. `checked`: so many of the bytes were there at the last call, which said `ok`.
[[nodiscard]] head_check check_partial_head(std::string_view bytes, std::size_t checked = 0);

/// RFC 9110 §5.6.2: not empty, and nothing but tchar.
[[nodiscard]] bool is_token(std::string_view text);
/// `uri-host [ ":" port ]` as Host carries it (RFC 9110 §7.2).
[[nodiscard]] bool is_valid_host(std::string_view text);
/// Without the white space (SP, HTAB) round it.
[[nodiscard]] std::string_view trim_ows(std::string_view text);

}  // namespace parley::net
