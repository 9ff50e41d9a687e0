#pragma once
/// What `serve --dev` prepares: a master key and a demo tenant with three users and three rooms, made once through the
/// node's own REST API and remembered in `dev.json`, and the page that says how to connect.

#include "app/http_client.hpp"
#include "protocol/result.hpp"
#include "protocol/seams.hpp"

#include <filesystem>
#include <iosfwd>
#include <string>

namespace parley::app {

/// The content of `dev.json` (0600): what must survive a restart.
struct dev_state {
  std::string master_api_key;
  std::string tenant_id;
  std::string api_key;
  std::string dm_room;
  std::string group_room;
  std::string channel_room;
};
/// A file that is absent or damaged gives an empty state.
[[nodiscard]] dev_state read_dev_state(const std::filesystem::path& file);
result<void> write_dev_state(const std::filesystem::path& file, const dev_state& state);

/// Makes what is missing: asked again, also after a restart or with a new database, it makes nothing twice.
/// `state.master_api_key` is the node's.
result<void> ensure_demo(const http_client& node, dev_state& state);

/// How to connect, for people: ids, the key, lines to copy.
struct dev_page {
  std::string address;  ///< `127.0.0.1:8080`
  std::string data_dir;
  dev_state state;
};
void print_dev_page(std::ostream& out, const dev_page& page);

}  // namespace parley::app
