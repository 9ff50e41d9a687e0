#pragma once
/// What the store asks of the directory that its files lie in: no network file system, names that survive power loss, and
/// a little space kept back for a start on a full disk.

#include "protocol/result.hpp"

#include <cstddef>
#include <filesystem>
#include <string_view>

namespace parley::store {

/// The kind of network file system that a statfs(2) magic stands for; empty: none that we know of.
[[nodiscard]] std::string_view network_file_system(long magic);
/// Refuses what is no directory, or lies on a network file system: there neither locks nor shared memory can be trusted.
result<void> check_data_dir(const std::filesystem::path& dir);
/// Makes the names in it durable.
result<void> sync_dir(const std::filesystem::path& dir);

/// The ballast (I10): a file that takes up space until a start finds none. A full disk must not keep a node from starting:
/// recovery needs some pages, and people can't be told to make space by a node that is not there.
/// Making it may fail, which is no failure: then there is no space, or no way to reserve it.
void keep_ballast(const std::filesystem::path& file, std::size_t bytes);
/// True: there was one, and its space is free now.
bool release_ballast(const std::filesystem::path& file);

}  // namespace parley::store
