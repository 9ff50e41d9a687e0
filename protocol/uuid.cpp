#include "protocol/uuid.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <span>

namespace parley {

namespace {

constexpr std::size_t text_bytes = 36;
constexpr std::array<std::uint8_t, 4> hyphen_places{8, 13, 18, 23};
constexpr std::uint64_t in_each_byte = 0x0101010101010101ULL;

// Every frame names several ids, so eight hex digits are turned at once, in a 64-bit word whose lowest
// byte is the first digit.
static_assert(std::endian::native == std::endian::little,
              "load and store would have to swap bytes");

/// The lower-case digits of eight nibbles, one a byte.
constexpr std::uint64_t digits_of(std::uint64_t nibbles) {
  const std::uint64_t beyond_nine = ((nibbles + in_each_byte * 6) >> 4U) & in_each_byte;
  return nibbles + in_each_byte * '0' + beyond_nine * ('a' - '0' - 10);
}

/// Four bytes from four digits and four more; false when one is no lower-case hex digit.
bool decode(const char* first, const char* second, std::uint8_t* to) {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  std::memcpy(&low, first, 4);
  std::memcpy(&high, second, 4);
  const std::uint64_t digits = low | (std::uint64_t{high} << 32U);
  const std::uint64_t letters = (digits >> 6U) & in_each_byte;
  std::uint64_t nibbles = ((digits & (in_each_byte * 0xf)) + letters * 9) & (in_each_byte * 0xf);
  if (digits_of(nibbles) != digits) return false;  // what is not canonical does not come back
  nibbles = ((nibbles << 4U) | (nibbles >> 8U)) & 0x00ff'00ff'00ff'00ffULL;  // pairs
  nibbles = (nibbles | (nibbles >> 8U)) & 0x0000'ffff'0000'ffffULL;
  const auto bytes = static_cast<std::uint32_t>(nibbles | (nibbles >> 16U));
  std::memcpy(to, &bytes, 4);
  return true;
}

void encode(const std::uint8_t* from, char* first, char* second) {
  std::uint32_t bytes = 0;
  std::memcpy(&bytes, from, 4);
  std::uint64_t pairs = bytes;
  pairs = (pairs | (pairs << 16U)) & 0x0000'ffff'0000'ffffULL;
  pairs = (pairs | (pairs << 8U)) & 0x00ff'00ff'00ff'00ffULL;
  const std::uint64_t nibbles = ((pairs >> 4U) | (pairs << 8U)) & (in_each_byte * 0xf);
  const std::uint64_t digits = digits_of(nibbles);
  const auto low = static_cast<std::uint32_t>(digits);
  const auto high = static_cast<std::uint32_t>(digits >> 32U);
  std::memcpy(first, &low, 4);
  std::memcpy(second, &high, 4);
}

/// Where the eight digits of each four bytes stand: `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
struct digit_places {
  std::size_t first;
  std::size_t second;
};
constexpr std::array<digit_places, 4> places{{{0, 4}, {9, 14}, {19, 24}, {28, 32}}};

}  // namespace

std::string uuid::to_string() const {
  std::string out;
  append_to(out);
  return out;
}

void uuid::append_to(std::string& out) const {
  std::array<char, text_bytes> text;
  for (const auto place : hyphen_places) text[place] = '-';
  for (std::size_t i = 0; i < places.size(); ++i) {
    encode(bytes.data() + 4 * i, text.data() + places[i].first, text.data() + places[i].second);
  }
  out.append(text.data(), text.size());
}

std::optional<uuid> uuid::parse(std::string_view text) {
  if (text.size() != text_bytes) return std::nullopt;
  for (const auto place : hyphen_places) {
    if (text[place] != '-') return std::nullopt;
  }
  uuid id;
  for (std::size_t i = 0; i < places.size(); ++i) {
    const char* const first = text.data() + places[i].first;
    const char* const second = text.data() + places[i].second;
    if (!decode(first, second, id.bytes.data() + 4 * i)) return std::nullopt;
  }
  return id;
}

uuid uuid7_generator::next() {
  // getrandom(2) costs far more than the rest, so randomness is fetched for several ids at once.
  if (pool_used_ + random_bytes_per_id > pool_.size()) {
    random_.fill(pool_);
    pool_used_ = 0;
  }
  const std::uint8_t* random = pool_.data() + pool_used_;
  pool_used_ += random_bytes_per_id;

  const auto now = static_cast<std::uint64_t>(std::max<std::int64_t>(to_unix_ms(clock_.now()), 0));
  if (now > last_ms_) {
    last_ms_ = now;
    // RFC 9562 §6.2: seeded anew each millisecond, top bit clear, so that 2,048 ids fit at least.
    counter_ = static_cast<std::uint16_t>((random[8] | (random[9] << 8U)) & 0x7ffU);
  } else if (counter_ == 0xfff) {
    ++last_ms_;
    counter_ = 0;
  } else {
    ++counter_;
  }

  uuid id;
  for (std::size_t i = 0; i < 6; ++i) {
    id.bytes[i] = static_cast<std::uint8_t>(last_ms_ >> (40U - 8U * i));
  }
  id.bytes[6] = static_cast<std::uint8_t>(0x70U | (counter_ >> 8U));  // version 7
  id.bytes[7] = static_cast<std::uint8_t>(counter_ & 0xffU);
  std::copy_n(random, 8, id.bytes.begin() + 8);
  id.bytes[8] = static_cast<std::uint8_t>(0x80U | (id.bytes[8] & 0x3fU));  // variant 10
  return id;
}

}  // namespace parley
