#include "store/high_water_mark.hpp"

#include "protocol/assert.hpp"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <string_view>

namespace parley::store {
namespace {

constexpr std::string_view magic = "PARLMARK";
constexpr std::uint64_t format_version = 1;
constexpr std::size_t slot_bytes = 512;  // one sector: most disks write it whole
constexpr std::size_t checked_bytes = slot_bytes - sizeof(sha256_digest);
constexpr std::int64_t slot_distance = 4096;  // one page: writing one slot can't tear the other
constexpr std::uint64_t flag_clean = 1;
constexpr std::uint64_t flag_normal = 2;
constexpr std::size_t epoch_field = 32;
constexpr std::size_t boot_field = 64;

/// Fixed fields, integers little endian in 8 bytes, texts padded with NUL.
class slot_writer {
 public:
  void integer(std::uint64_t v) {
    for (unsigned i = 0; i < 8; ++i) out_ += static_cast<char>(v >> (8 * i));
  }
  void text(std::string_view v, std::size_t width) {
    PARLEY_ASSERT(v.size() <= width);
    out_ += v;
    out_.append(width - v.size(), '\0');
  }
  template <std::size_t N>
  void bytes(const std::array<std::uint8_t, N>& v) {
    out_.append(reinterpret_cast<const char*>(v.data()), N);
  }
  std::string finish() {
    PARLEY_ASSERT(out_.size() <= checked_bytes);
    out_.resize(checked_bytes, '\0');
    bytes(sha256(out_));
    return std::move(out_);
  }

 private:
  std::string out_;
};

class slot_reader {
 public:
  explicit slot_reader(std::string_view in) : in_(in) {}
  std::uint64_t integer() {
    std::uint64_t v = 0;
    for (unsigned i = 0; i < 8; ++i) {
      v |= static_cast<std::uint64_t>(static_cast<unsigned char>(in_[i])) << (8 * i);
    }
    in_.remove_prefix(8);
    return v;
  }
  std::string text(std::size_t width) {
    const std::string_view field = in_.substr(0, width);
    in_.remove_prefix(width);
    return std::string{field.substr(0, field.find('\0'))};
  }
  template <std::size_t N>
  std::array<std::uint8_t, N> bytes() {
    std::array<std::uint8_t, N> v{};
    std::memcpy(v.data(), in_.data(), N);
    in_.remove_prefix(N);
    return v;
  }

 private:
  std::string_view in_;
};

std::string encode(const water_mark& m, std::uint64_t sequence) {
  slot_writer w;
  w.text(magic, magic.size());
  w.integer(format_version);
  w.integer(sequence);
  w.integer((m.clean ? flag_clean : 0) | (m.normal ? flag_normal : 0));
  w.bytes(m.database.bytes);
  w.integer(static_cast<std::uint64_t>(m.commit.value));
  w.bytes(m.hash);
  w.integer(static_cast<std::uint64_t>(m.last_id.value));
  w.integer(static_cast<std::uint64_t>(to_unix_ms(m.written_at)));
  w.text(m.epoch.view(), epoch_field);
  w.text(m.boot_id, boot_field);
  return w.finish();
}

struct decoded {
  std::uint64_t sequence = 0;
  water_mark mark;
};
std::optional<decoded> decode(std::string_view slot) {
  if (slot.size() != slot_bytes) return std::nullopt;
  const sha256_digest sum = sha256(slot.substr(0, checked_bytes));
  if (std::memcmp(sum.data(), slot.data() + checked_bytes, sum.size()) != 0) return std::nullopt;
  slot_reader r{slot};
  if (r.text(magic.size()) != magic || r.integer() != format_version) return std::nullopt;
  decoded d;
  d.sequence = r.integer();
  const std::uint64_t flags = r.integer();
  d.mark.clean = (flags & flag_clean) != 0;
  d.mark.normal = (flags & flag_normal) != 0;
  d.mark.database.bytes = r.bytes<16>();
  d.mark.commit = commit_no{static_cast<std::int64_t>(r.integer())};
  d.mark.hash = r.bytes<32>();
  d.mark.last_id = log_id{static_cast<std::int64_t>(r.integer())};
  d.mark.written_at = from_unix_ms(static_cast<std::int64_t>(r.integer()));
  d.mark.epoch = epoch_id{r.text(epoch_field)};
  d.mark.boot_id = r.text(boot_field);
  return d;
}

}  // namespace

high_water_mark::high_water_mark(const std::string& path, const std::string& vfs)
    : file_(path, vfs) {
  for (const std::int64_t offset : {std::int64_t{0}, slot_distance}) {
    auto slot = decode(file_.read(offset, slot_bytes));
    if (!slot || (found_ && slot->sequence < sequence_)) continue;
    sequence_ = slot->sequence;
    found_ = std::move(slot->mark);
  }
}

db_result<void> high_water_mark::write(const water_mark& mark) {
  // The slot that is not the newest; its sequence says which one that is. If this write fails, the other stands, and
  // the next try takes the same slot.
  const std::uint64_t next = sequence_ + 1;
  if (auto written = file_.write(next % 2 == 0 ? 0 : slot_distance, encode(mark, next)); !written) {
    return written;
  }
  if (auto synced = file_.sync(); !synced) return synced;
  sequence_ = next;
  return {};
}

std::optional<std::string> doubt(const std::optional<water_mark>& mark,
                                 const found_history& history, const std::string& boot_id) {
  if (!mark) {
    if (!history.last_commit.is_set()) return std::nullopt;  // nothing to lose yet
    return "the database has a history, and there is no high-water mark beside it";
  }
  const auto at = [](commit_no no) { return "commit " + std::to_string(no.value); };
  if (mark->database != history.database) {
    return "the high-water mark belongs to another database: the file was replaced";
  }
  if (history.last_commit < mark->commit) {
    return "the database ends at " + at(history.last_commit) + ", and " + at(mark->commit) +
           " was acknowledged: its end was lost, or an older copy was restored";
  }
  if (history.last_commit.is_set() && mark->commit.is_set()) {
    if (history.last_commit == mark->commit && !history.hash_at_mark) {
      return at(mark->commit) + " has no record";
    }
    if (history.hash_at_mark && *history.hash_at_mark != mark->hash) {
      return at(mark->commit) + " is not the one that was acknowledged: another history";
    }
  }
  if (mark->normal && !mark->clean && mark->boot_id != boot_id) {
    return "the machine went down while durability was `normal`: the last moments may be lost";
  }
  return std::nullopt;
}

std::string machine_boot_id() {
  std::ifstream in{"/proc/sys/kernel/random/boot_id"};
  std::string id;
  std::getline(in, id);
  return id.substr(0, boot_field);
}

}  // namespace parley::store
