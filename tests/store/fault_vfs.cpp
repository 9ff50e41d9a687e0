#include "tests/store/fault_vfs.hpp"

#include <doctest/doctest.h>
#include <sqlite3.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <random>
#include <vector>

namespace parley::store::test {
namespace {

constexpr std::size_t sector = 512;

/// A change that is not on the platter yet.
struct pending_change {
  std::int64_t offset = 0;
  std::string bytes{};
  std::optional<std::int64_t> truncate_to{};
};

void write_at(std::string& image, std::int64_t offset, std::string_view bytes) {
  const auto at = static_cast<std::size_t>(offset);
  if (image.size() < at + bytes.size()) image.resize(at + bytes.size(), '\0');
  bytes.copy(image.data() + at, bytes.size());
}
void carry_out(std::string& image, const pending_change& c) {
  if (c.truncate_to) {
    image.resize(static_cast<std::size_t>(*c.truncate_to), '\0');
  } else {
    write_at(image, c.offset, c.bytes);
  }
}

struct open_file;

struct file_state {
  std::string now;
  std::string platter;
  bool name_is_durable = false;
  std::vector<pending_change> pending;
  std::vector<open_file*> handles;
  std::vector<std::unique_ptr<char[]>> shm;
  int shm_users = 0;
};

}  // namespace

struct fault_vfs::disk {
  mutable std::mutex mutex;
  std::string name;
  sqlite3_vfs vfs{};
  std::map<std::string, std::shared_ptr<file_state>> files;
  std::map<unsigned, std::int64_t> counts;
  std::optional<fault> planned;
  std::int64_t seen = 0;
  bool fired = false;
  std::optional<std::int64_t> capacity;

  /// True: this operation fails.
  bool strikes(fault_op op) {
    ++counts[static_cast<unsigned>(op)];
    if (!planned || (planned->ops & static_cast<unsigned>(op)) == 0) return false;
    ++seen;
    const bool now = planned->forever ? seen >= planned->nth : seen == planned->nth;
    fired = fired || now;
    return now;
  }
  [[nodiscard]] std::int64_t used() const {
    std::int64_t bytes = 0;
    for (const auto& [path, file] : files) {
      bytes += static_cast<std::int64_t>(file->now.size() + file->shm.size() * 32768);
    }
    return bytes;
  }
  [[nodiscard]] bool fits(std::int64_t more) const {
    return !capacity || used() + more <= *capacity;
  }
};

namespace {

using disk = fault_vfs::disk;

struct open_file {
  sqlite3_file base{};  // first: SQLite sees only this
  disk* on = nullptr;
  std::shared_ptr<file_state> file;
  std::string delete_on_close;
  int lock = SQLITE_LOCK_NONE;
  bool maps_shm = false;
  unsigned shm_shared = 0;
  unsigned shm_exclusive = 0;
};

open_file& of(sqlite3_file* f) { return *reinterpret_cast<open_file*>(f); }
disk& of(sqlite3_vfs* v) { return *static_cast<disk*>(v->pAppData); }

int do_close(sqlite3_file* f) {
  open_file& o = of(f);
  {
    const std::lock_guard lock{o.on->mutex};
    std::erase(o.file->handles, &o);
    if (!o.delete_on_close.empty()) o.on->files.erase(o.delete_on_close);
  }
  o.~open_file();
  return SQLITE_OK;
}

int do_read(sqlite3_file* f, void* to, int amount, sqlite3_int64 offset) {
  open_file& o = of(f);
  const std::lock_guard lock{o.on->mutex};
  if (o.on->strikes(fault_op::read)) return SQLITE_IOERR_READ;
  const std::string& bytes = o.file->now;
  const auto at = static_cast<std::size_t>(offset);
  const auto wanted = static_cast<std::size_t>(amount);
  const std::size_t there = at < bytes.size() ? std::min(wanted, bytes.size() - at) : 0;
  if (there > 0) std::memcpy(to, bytes.data() + at, there);
  if (there == wanted) return SQLITE_OK;
  std::memset(static_cast<char*>(to) + there, 0, wanted - there);
  return SQLITE_IOERR_SHORT_READ;
}

int do_write(sqlite3_file* f, const void* from, int amount, sqlite3_int64 offset) {
  open_file& o = of(f);
  const std::lock_guard lock{o.on->mutex};
  std::string bytes(static_cast<const char*>(from), static_cast<std::size_t>(amount));
  int rc = SQLITE_OK;
  if (o.on->strikes(fault_op::write)) {
    rc = o.on->planned->no_space ? SQLITE_FULL : SQLITE_IOERR_WRITE;
    bytes.resize(bytes.size() / 2);  // a write that fails has written something
  } else {
    const std::int64_t end = offset + amount;
    const auto size = static_cast<std::int64_t>(o.file->now.size());
    if (end > size && !o.on->fits(end - size)) return SQLITE_FULL;
  }
  write_at(o.file->now, offset, bytes);
  o.file->pending.push_back({offset, std::move(bytes), {}});
  return rc;
}

int do_truncate(sqlite3_file* f, sqlite3_int64 size) {
  open_file& o = of(f);
  const std::lock_guard lock{o.on->mutex};
  if (o.on->strikes(fault_op::truncate)) return SQLITE_IOERR_TRUNCATE;
  o.file->now.resize(static_cast<std::size_t>(size), '\0');
  o.file->pending.push_back({0, {}, size});
  return SQLITE_OK;
}

int do_sync(sqlite3_file* f, int) {
  open_file& o = of(f);
  const std::lock_guard lock{o.on->mutex};
  file_state& file = *o.file;
  if (o.on->strikes(fault_op::sync)) {
    file.pending.clear();
    return SQLITE_IOERR_FSYNC;
  }
  for (const pending_change& c : file.pending) carry_out(file.platter, c);
  file.pending.clear();
  file.name_is_durable = true;
  return SQLITE_OK;
}

int do_file_size(sqlite3_file* f, sqlite3_int64* size) {
  open_file& o = of(f);
  const std::lock_guard lock{o.on->mutex};
  *size = static_cast<sqlite3_int64>(o.file->now.size());
  return SQLITE_OK;
}

int do_lock(sqlite3_file* f, int level) {
  open_file& o = of(f);
  const std::lock_guard lock{o.on->mutex};
  if (o.lock >= level) return SQLITE_OK;
  int others = SQLITE_LOCK_NONE;
  for (const open_file* other : o.file->handles) {
    if (other != &o) others = std::max(others, other->lock);
  }
  if (level == SQLITE_LOCK_SHARED && others >= SQLITE_LOCK_PENDING) return SQLITE_BUSY;
  if (level == SQLITE_LOCK_RESERVED && others >= SQLITE_LOCK_RESERVED) return SQLITE_BUSY;
  if (level == SQLITE_LOCK_EXCLUSIVE && others > SQLITE_LOCK_NONE) {
    if (others == SQLITE_LOCK_SHARED) o.lock = SQLITE_LOCK_PENDING;
    return SQLITE_BUSY;
  }
  o.lock = level;
  return SQLITE_OK;
}

int do_unlock(sqlite3_file* f, int level) {
  open_file& o = of(f);
  const std::lock_guard lock{o.on->mutex};
  o.lock = std::min(o.lock, level);
  return SQLITE_OK;
}

int do_check_reserved(sqlite3_file* f, int* out) {
  open_file& o = of(f);
  const std::lock_guard lock{o.on->mutex};
  *out = 0;
  for (const open_file* other : o.file->handles) {
    if (other->lock >= SQLITE_LOCK_RESERVED) *out = 1;
  }
  return SQLITE_OK;
}

int do_file_control(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
int do_sector_size(sqlite3_file*) { return 4096; }
int do_characteristics(sqlite3_file*) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; }

int do_shm_map(sqlite3_file* f, int region, int size, int extend, void volatile** out) {
  open_file& o = of(f);
  const std::lock_guard lock{o.on->mutex};
  *out = nullptr;
  if (!o.maps_shm) {
    o.maps_shm = true;
    if (o.file->shm_users++ == 0)
      o.file->shm.clear();  // what is left of another life means nothing
  }
  const auto index = static_cast<std::size_t>(region);
  if (index >= o.file->shm.size()) {
    if (extend == 0) return SQLITE_OK;
    if (o.on->strikes(fault_op::shm) || !o.on->fits(size)) return SQLITE_IOERR_SHMSIZE;
    while (o.file->shm.size() <= index) {
      o.file->shm.push_back(std::make_unique<char[]>(static_cast<std::size_t>(size)));
    }
  }
  *out = o.file->shm[index].get();
  return SQLITE_OK;
}

int do_shm_lock(sqlite3_file* f, int first, int n, int flags) {
  open_file& o = of(f);
  const std::lock_guard lock{o.on->mutex};
  const unsigned mask = ((1U << static_cast<unsigned>(n)) - 1U) << static_cast<unsigned>(first);
  if ((flags & SQLITE_SHM_UNLOCK) != 0) {
    o.shm_shared &= ~mask;
    o.shm_exclusive &= ~mask;
    return SQLITE_OK;
  }
  for (const open_file* other : o.file->handles) {
    if (other == &o) continue;
    if ((other->shm_exclusive & mask) != 0) return SQLITE_BUSY;
    if ((flags & SQLITE_SHM_EXCLUSIVE) != 0 && (other->shm_shared & mask) != 0) return SQLITE_BUSY;
  }
  ((flags & SQLITE_SHM_EXCLUSIVE) != 0 ? o.shm_exclusive : o.shm_shared) |= mask;
  return SQLITE_OK;
}

void do_shm_barrier(sqlite3_file* f) { const std::lock_guard lock{of(f).on->mutex}; }

int do_shm_unmap(sqlite3_file* f, int) {
  open_file& o = of(f);
  const std::lock_guard lock{o.on->mutex};
  if (!o.maps_shm) return SQLITE_OK;
  o.maps_shm = false;
  o.shm_shared = o.shm_exclusive = 0;
  if (--o.file->shm_users == 0) o.file->shm.clear();
  return SQLITE_OK;
}

constexpr sqlite3_io_methods methods{
    2,
    do_close,
    do_read,
    do_write,
    do_truncate,
    do_sync,
    do_file_size,
    do_lock,
    do_unlock,
    do_check_reserved,
    do_file_control,
    do_sector_size,
    do_characteristics,
    do_shm_map,
    do_shm_lock,
    do_shm_barrier,
    do_shm_unmap,
    nullptr,
    nullptr,
};

int do_open(sqlite3_vfs* v, const char* name, sqlite3_file* f, int flags, int* flags_out) {
  disk& d = of(v);
  f->pMethods = nullptr;
  const std::lock_guard lock{d.mutex};
  if (d.strikes(fault_op::open)) return SQLITE_CANTOPEN;
  std::shared_ptr<file_state> file;
  if (name == nullptr) {
    file = std::make_shared<file_state>();  // a temporary file: on no platter
  } else if (const auto known = d.files.find(name); known != d.files.end()) {
    file = known->second;
  } else if ((flags & SQLITE_OPEN_CREATE) == 0) {
    return SQLITE_CANTOPEN;
  } else {
    file = d.files[name] = std::make_shared<file_state>();
  }
  auto* o = new (f) open_file;
  o->base.pMethods = &methods;
  o->on = &d;
  o->file = std::move(file);
  if ((flags & SQLITE_OPEN_DELETEONCLOSE) != 0 && name != nullptr) o->delete_on_close = name;
  o->file->handles.push_back(o);
  if (flags_out != nullptr) *flags_out = flags;
  return SQLITE_OK;
}

int do_delete(sqlite3_vfs* v, const char* name, int) {
  disk& d = of(v);
  const std::lock_guard lock{d.mutex};
  if (d.strikes(fault_op::remove)) return SQLITE_IOERR_DELETE;
  return d.files.erase(name) > 0 ? SQLITE_OK : SQLITE_IOERR_DELETE_NOENT;
}

int do_access(sqlite3_vfs* v, const char* name, int, int* out) {
  disk& d = of(v);
  const std::lock_guard lock{d.mutex};
  const auto known = d.files.find(name);
  // As unix does: an empty journal counts as none.
  *out = known != d.files.end() && !known->second->now.empty() ? 1 : 0;
  return SQLITE_OK;
}

int do_full_pathname(sqlite3_vfs*, const char* name, int size, char* out) {
  sqlite3_snprintf(size, out, "%s", name);
  return SQLITE_OK;
}

int do_randomness(sqlite3_vfs*, int n, char* out) {
  static std::mt19937_64 engine{4711};
  for (int i = 0; i < n; ++i) out[i] = static_cast<char>(engine());
  return n;
}

int do_sleep(sqlite3_vfs*, int microseconds) { return microseconds; }

int do_current_time(sqlite3_vfs*, sqlite3_int64* out) {
  *out = 210866760000000 + 1'790'000'000'000;
  return SQLITE_OK;
}
int do_current_time_days(sqlite3_vfs*, double* out) {
  *out = 2440587.5 + 20717.0;
  return SQLITE_OK;
}

int do_last_error(sqlite3_vfs*, int, char*) { return 0; }

std::atomic<int> names_given{0};

}  // namespace

fault_vfs::fault_vfs() : disk_(std::make_unique<disk>()) {
  disk_->name = "fault-" + std::to_string(++names_given);
  sqlite3_vfs& v = disk_->vfs;
  v.iVersion = 2;
  v.szOsFile = sizeof(open_file);
  v.mxPathname = 1024;
  v.zName = disk_->name.c_str();
  v.pAppData = disk_.get();
  v.xOpen = do_open;
  v.xDelete = do_delete;
  v.xAccess = do_access;
  v.xFullPathname = do_full_pathname;
  v.xRandomness = do_randomness;
  v.xSleep = do_sleep;
  v.xCurrentTime = do_current_time_days;
  v.xCurrentTimeInt64 = do_current_time;
  v.xGetLastError = do_last_error;
  REQUIRE(sqlite3_vfs_register(&v, 0) == SQLITE_OK);
}

fault_vfs::~fault_vfs() { sqlite3_vfs_unregister(&disk_->vfs); }

const std::string& fault_vfs::name() const { return disk_->name; }

void fault_vfs::fail(const fault& f) {
  const std::lock_guard lock{disk_->mutex};
  disk_->planned = f;
  disk_->seen = 0;
  disk_->fired = false;
}
void fault_vfs::heal() {
  const std::lock_guard lock{disk_->mutex};
  disk_->planned.reset();
}
bool fault_vfs::fired() const {
  const std::lock_guard lock{disk_->mutex};
  return disk_->fired;
}
std::int64_t fault_vfs::count(fault_op op) const {
  const std::lock_guard lock{disk_->mutex};
  return disk_->counts[static_cast<unsigned>(op)];
}
void fault_vfs::set_capacity(std::optional<std::int64_t> bytes) {
  const std::lock_guard lock{disk_->mutex};
  disk_->capacity = bytes;
}
std::int64_t fault_vfs::bytes_used() const {
  const std::lock_guard lock{disk_->mutex};
  return disk_->used();
}

void fault_vfs::power_loss(loss how, std::uint64_t seed) {
  const std::lock_guard lock{disk_->mutex};
  std::mt19937_64 random{seed};
  for (auto it = disk_->files.begin(); it != disk_->files.end();) {
    file_state& file = *it->second;
    REQUIRE(file.handles.empty());
    if (!file.name_is_durable && (how == loss::all || random() % 2 == 0)) {
      it = disk_->files.erase(it);
      continue;
    }
    if (how == loss::some) {
      for (pending_change& c : file.pending) {
        const auto fate = random() % 4;
        if (fate == 0) continue;  // never got there
        if (fate == 1 && !c.truncate_to && c.bytes.size() > 1) {
          // Torn: sectors are written whole, but not all of them; short writes at any byte.
          const std::size_t keep = random() % c.bytes.size();
          c.bytes.resize(c.bytes.size() > sector ? keep / sector * sector : keep);
        }
        carry_out(file.platter, c);
      }
    }
    file.pending.clear();
    file.now = file.platter;
    file.name_is_durable = true;
    file.shm.clear();
    ++it;
  }
}

void fault_vfs::damage(const std::string& path, std::int64_t offset, const std::string& bytes) {
  const std::lock_guard lock{disk_->mutex};
  file_state& file = *disk_->files.at(path);
  write_at(file.now, offset, bytes);
  write_at(file.platter, offset, bytes);
}

bool fault_vfs::exists(const std::string& path) const {
  const std::lock_guard lock{disk_->mutex};
  return disk_->files.contains(path);
}
void fault_vfs::remove(const std::string& path) {
  const std::lock_guard lock{disk_->mutex};
  disk_->files.erase(path);
}
std::string fault_vfs::contents(const std::string& path) const {
  const std::lock_guard lock{disk_->mutex};
  return disk_->files.at(path)->now;
}
void fault_vfs::set_contents(const std::string& path, const std::string& bytes) {
  const std::lock_guard lock{disk_->mutex};
  auto file = std::make_shared<file_state>();
  file->now = file->platter = bytes;
  file->name_is_durable = true;
  disk_->files[path] = std::move(file);
}

// --------------------------------------------------------------------------------------------------------- allocation

namespace {

sqlite3_mem_methods real_memory;
std::atomic<bool> memory_fails{false};
std::atomic<bool> memory_fails_for_ever{false};
std::atomic<bool> memory_failed{false};
std::atomic<std::int64_t> allocations_left{0};

bool allocation_strikes() {
  if (!memory_fails) return false;
  const std::int64_t left = --allocations_left;
  const bool now = memory_fails_for_ever ? left <= 0 : left == 0;
  if (now) memory_failed = true;
  return now;
}
void* failing_malloc(int n) { return allocation_strikes() ? nullptr : real_memory.xMalloc(n); }
void* failing_realloc(void* p, int n) {
  return allocation_strikes() ? nullptr : real_memory.xRealloc(p, n);
}

/// Before anybody uses SQLite: later it takes no new allocator.
const bool memory_is_ours = [] {
  if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory) != SQLITE_OK) return false;
  sqlite3_mem_methods ours = real_memory;
  ours.xMalloc = failing_malloc;
  ours.xRealloc = failing_realloc;
  return sqlite3_config(SQLITE_CONFIG_MALLOC, &ours) == SQLITE_OK;
}();

}  // namespace

allocation_fault::allocation_fault(std::int64_t nth, bool forever) {
  REQUIRE(memory_is_ours);
  memory_failed = false;
  memory_fails_for_ever = forever;
  allocations_left = nth;
  memory_fails = true;
}
allocation_fault::~allocation_fault() { memory_fails = false; }
bool allocation_fault::fired() { return memory_failed; }

}  // namespace parley::store::test
