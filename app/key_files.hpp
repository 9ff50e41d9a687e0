#pragma once
/// Files with secrets in the data directory: 0600, written whole or not at all, never logged.

#include "protocol/hash.hpp"
#include "protocol/result.hpp"
#include "protocol/seams.hpp"

#include <filesystem>
#include <string>
#include <string_view>

namespace parley::app {

/// Makes the directory and those above it when absent; new ones are for this user alone (0700).
result<void> make_data_dir(const std::filesystem::path& dir);

/// Writes `content` under the name, mode 0600, replacing what is there: a temporary file, fsync, rename, fsync of the
/// directory. Power loss leaves the old content or the new one.
result<void> write_secret_file(const std::filesystem::path& file, std::string_view content);
/// The same, but what is there stays: false when there was one.
result<bool> create_secret_file(const std::filesystem::path& file, std::string_view content);

/// From 64 hex digits.
result<secret_key> parse_secret_key(std::string_view hex);
struct loaded_secret_key {
  secret_key key{};
  bool created = false;
};
/// The key in `data_dir/secret_key`; made when absent. Two processes that start at once get the same one.
result<loaded_secret_key> load_secret_key(const std::filesystem::path& data_dir,
                                          random_source& random);

}  // namespace parley::app
