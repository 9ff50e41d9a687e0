#pragma once
/// A server frame as a client reads it.

#include "protocol/ids.hpp"
#include "protocol/wire_frame.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace parley::sim {

struct seen_frame {
  std::string type;
  bool is_entry = false;  ///< has room_id and seq, and is none of the named exceptions (SPEC 1)
  std::string room;       ///< as text; empty: none
  std::optional<std::int64_t> seq;
  std::string request_id;  ///< as JSON text
  std::string outcome;
  std::optional<std::int64_t> from_seq;
  std::optional<std::int64_t> to_seq;
  bool truncated = false;
  std::vector<std::pair<std::string, std::int64_t>> start;  ///< of sync.start
  std::int64_t rooms = 0;                                   ///< of sync.done
  std::string code;
  std::string stored;
  std::string message_id;
  std::string created_at;
  bool duplicate = false;
  std::string user;                ///< user_id
  std::vector<std::string> users;  ///< user_ids
  std::string text;                ///< all of it
};
using seen_frame_ptr = std::shared_ptr<const seen_frame>;

/// Reads each shared frame once.
class frame_eyes {
 public:
  seen_frame_ptr read(const frame_ptr& f);
  void forget() { known_.clear(); }

 private:
  std::unordered_map<const wire_frame*, std::pair<frame_ptr, seen_frame_ptr>> known_;
};

}  // namespace parley::sim
