#include "tests/promises/crash_run.hpp"

#include "tests/support/await.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <utility>

namespace parley::tests {
namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

constexpr int frames_between_acks = 20;
constexpr std::size_t in_flight = 24;           // sends of one client at a time
constexpr int accepted_before_kill = 400;       // at most; the moment is drawn
constexpr std::uint64_t start_max_us = 60'000;  // about what a start takes
constexpr std::size_t examples_max = 10;

struct said {
  std::string room;
  std::string content;
};
struct result_told {
  std::string room;
  std::string content;
  std::string message_id;
  std::int64_t seq = 0;
};
struct shown_entry {
  std::int64_t seq = 0;
  std::string message_id;
  std::string content;
};

/// Shared by all clients of a run.
struct moment {
  std::atomic<std::int64_t> accepted{0};
  std::atomic<bool> says_more{true};  ///< false: only what is unanswered is repeated
  std::atomic<bool> is_over{false};
};

/// A client with a memory that outlives its connections and the node. One thread at a time.
class talker {
 public:
  talker(std::string name, std::vector<std::string> rooms)
      : name_(std::move(name)),
        rooms_(std::move(rooms)) {
    for (const auto& room : rooms_) last_seen_[room] = 0;
  }
  virtual ~talker() = default;

  /// Until the node is gone, or `m` says that it is over.
  void talk(const stage& s, moment& m) {
    try {
      talk_until_cut(s, m);
    } catch (const connection_closed&) {
    } catch (const connection_lost&) {
    } catch (const std::exception& e) {
      trouble.push_back(name_ + ": " + e.what());
    }
    unanswered_count = unanswered_.size();
  }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const std::vector<std::string>& rooms() const { return rooms_; }

  std::map<std::string, result_told> told;                ///< by key
  std::map<std::string, std::vector<shown_entry>> shown;  ///< by room, over all connections
  std::map<std::string, std::int64_t> acked;              ///< positions that the node confirmed
  std::int64_t acks = 0;
  std::vector<std::string> trouble;
  std::int64_t retried = 0;
  std::int64_t duplicates = 0;
  std::int64_t sync_failed = 0;
  std::atomic<std::size_t> unanswered_count{0};
  std::atomic<std::int64_t> seen_count{0};

 protected:
  virtual void talk_until_cut(const stage& s, moment& m) = 0;

  std::pair<std::string, said> next_message() {
    const auto key = name_ + "-" + std::to_string(++said_);
    said what{rooms_[static_cast<std::size_t>(said_) % rooms_.size()], "text of " + key};
    return *unanswered_.emplace(key, std::move(what)).first;
  }
  void was_told(const std::string& key, const json& result, moment& m) {
    const auto it = unanswered_.find(key);
    if (it == unanswered_.end()) {
      trouble.push_back(name_ + ": a second answer to " + key);
      return;
    }
    if (result.value("duplicate", false)) ++duplicates;
    told[key] = {it->second.room, it->second.content, result.at("message_id"), result.at("seq")};
    unanswered_.erase(it);
    unanswered_count = unanswered_.size();
    ++m.accepted;
  }

  std::string name_;
  std::vector<std::string> rooms_;
  std::map<std::string, said> unanswered_;  ///< by key
  std::map<std::string, std::int64_t> last_seen_;
  std::string epoch_;
  int said_ = 0;
};

/// Over WebSocket: pipelined sends, resumes with sync=manual from what it has seen.
class socket_talker final : public talker {
 public:
  using talker::talker;

 private:
  void talk_until_cut(const stage& s, moment& m) override {
    auto client = s.connect(name_, "sync=manual");
    const auto hello = client.receive_type("hello");
    if (!epoch_.empty() && hello["epoch"] != epoch_) {
      ++sync_failed;
      trouble.push_back(name_ + ": the epoch has changed");
    }
    epoch_ = hello["epoch"];
    client.send_json({{"type", "sync"}, {"epoch", epoch_}, {"rooms", last_seen_}});
    // What is unanswered goes at once, while the missed entries still come.
    for (const auto& [key, what] : unanswered_) {
      client.send_json(send_frame(what.room, what.content, key));
      ++retried;
    }
    while (!m.is_over) {
      while (m.says_more && unanswered_.size() < in_flight) {
        const auto [key, what] = next_message();
        client.send_json(send_frame(what.room, what.content, key));
      }
      unanswered_count = unanswered_.size();
      if (const auto text = client.next_text(20ms)) heard(json::parse(*text), m);
      if (++since_ack_ < frames_between_acks) continue;
      since_ack_ = 0;
      client.send_json({{"type", "ack"}, {"rooms", last_seen_}});
    }
  }

  void heard(const json& frame, moment& m) {
    const auto type = frame.at("type").get<std::string>();
    if (type == "message.accepted") {
      was_told(frame.at("client_msg_id"), frame, m);
    } else if (type == "sync.complete") {
      if (frame.at("outcome") != "recovered") {
        ++sync_failed;
        trouble.push_back(name_ + ": " + frame.dump());
      }
    } else if (is_entry(frame)) {
      const auto room = frame.at("room_id").get<std::string>();
      shown_entry e{frame.at("seq"), frame.at("message_id"), frame.at("content")};
      last_seen_[room] = std::max(last_seen_[room], e.seq);
      shown[room].push_back(std::move(e));
      ++seen_count;
    } else if (type == "ack.received" && frame.at("user_id") == name_) {
      ++acks;
      auto& confirmed = acked[frame.at("room_id")];
      confirmed = std::max(confirmed, frame.at("seq").get<std::int64_t>());
    } else if (type == "error") {
      trouble.push_back(name_ + ": " + frame.dump());
    }
  }

  int since_ack_ = 0;
};

/// Over REST, one after the other, with Idempotency-Key; sees nothing.
class rest_talker final : public talker {
 public:
  using talker::talker;

 private:
  void talk_until_cut(const stage& s, moment& m) override {
    auto backend = s.backend();
    retried += static_cast<std::int64_t>(unanswered_.size());
    while (!m.is_over) {
      if (unanswered_.empty()) {
        if (!m.says_more) break;
        next_message();
        unanswered_count = 1;
      }
      const auto [key, what] = *unanswered_.begin();
      const auto reply = backend.post("/v1/rooms/" + what.room + "/messages",
                                      {{"sender_id", name_}, {"content", what.content}},
                                      {{"Idempotency-Key", key}});
      if (reply.status != 200 && reply.status != 201) {
        trouble.push_back(name_ + ": " + reply.body);
        break;
      }
      was_told(key, reply.json(), m);
    }
  }
};

/// Over REST: says something, edits it twice, deletes every third; each step is repeated with its key until it is answered.
class editor {
 public:
  explicit editor(std::string room) : room_(std::move(room)) {}

  void edit(const stage& s, moment& m) {
    try {
      while (!m.is_over && (m.says_more || has_pending_)) step(s, m);
    } catch (const connection_lost&) {
    } catch (const std::exception& e) {
      trouble.push_back(std::string{"editor: "} + e.what());
    }
  }
  /// Each accepted edit is one entry, and what is served is the last of them; a deleted message is empty.
  void judge(rest_client& backend) {
    const auto log = log_of(backend, room_);
    std::map<std::string, int> edits;
    std::map<std::string, int> deletes;
    std::map<std::string, std::string> content;
    for (const auto& e : log) {
      const std::string id = e.at("message_id");
      if (e.at("type") == "message") content[id] = e.at("content");
      if (e.at("type") == "message.edited") ++edits[id];
      if (e.at("type") == "message.deleted") ++deletes[id];
    }
    if (log.size() != static_cast<std::size_t>(accepted))
      trouble.push_back("editor: " + std::to_string(log.size()) + " entries of " +
                        std::to_string(accepted) + " accepted");
    for (const auto& [id, told] : messages_) {
      if (edits[id] == told.edits && deletes[id] == (told.is_deleted ? 1 : 0) &&
          content.contains(id) && content[id] == (told.is_deleted ? "" : told.content)) {
        continue;
      }
      trouble.push_back("editor: " + id + " has " + std::to_string(edits[id]) + " edits of " +
                        std::to_string(told.edits) + ", content " + content[id]);
    }
  }

  std::int64_t accepted = 0;
  std::int64_t repeated = 0;  ///< steps that had been stored before the kill
  std::vector<std::string> trouble;
  std::atomic<bool> is_done{false};

 private:
  struct message {
    std::string content;
    int edits = 0;
    bool is_deleted = false;
  };

  void step(const stage& s, moment& m) {
    auto backend = s.backend();
    const auto n = step_ / 4;
    const auto kind = step_ % 4;
    const auto key = "step-" + std::to_string(step_);
    const auto path = "/v1/rooms/" + room_ + "/messages";
    const auto text = "as of " + key;
    const bool is_delete = kind == 3 && n % 3 == 0;
    has_pending_ = true;
    rest_reply reply;
    if (kind == 0) {
      reply =
          backend.post(path, {{"sender_id", "ann"}, {"content", text}}, {{"Idempotency-Key", key}});
    } else if (is_delete) {
      reply = backend.del(path + "/" + last_, {{"Idempotency-Key", key}});
    } else {
      reply = backend.patch(path + "/" + last_, {{"content", text}}, {{"Idempotency-Key", key}});
    }
    if (reply.status / 100 != 2) {
      trouble.push_back("editor: " + reply.body);
      m.is_over = true;
      return;
    }
    has_pending_ = false;
    ++step_;
    ++accepted;
    repeated += reply.header("idempotent-replayed") ? 1 : 0;
    if (kind == 0) last_ = reply.json().at("message_id");
    auto& told = messages_[last_];
    if (is_delete) {
      told.is_deleted = true;
    } else {
      told.content = text;
      told.edits += kind == 0 ? 0 : 1;
    }
  }

  const std::string room_;
  int step_ = 0;
  bool has_pending_ = false;
  std::string last_;
  std::map<std::string, message> messages_;
};

class crashes {
 public:
  explicit crashes(const crash_options& options)
      : options_(options),
        random_(options.seed),
        stage_(setup_of(options)) {
    const std::vector<std::string> users{"ann", "ben", "cay", "dan"};
    const auto all = stage_.room("group", users);
    const auto dm = stage_.room("dm", {"ann", "ben"});
    const auto channel = stage_.room("channel", {"ben", "cay", "dan"});
    rooms_ = {all, dm, channel};
    talkers_.push_back(std::make_unique<socket_talker>("ann", std::vector{all, dm}));
    talkers_.push_back(std::make_unique<socket_talker>("ben", std::vector{all, dm, channel}));
    talkers_.push_back(std::make_unique<socket_talker>("cay", std::vector{all, channel}));
    talkers_.push_back(std::make_unique<socket_talker>("dan", std::vector{channel, all}));
    readers_ = talkers_.size();
    talkers_.push_back(std::make_unique<rest_talker>("robot", rooms_));
    editor_ = std::make_unique<editor>(stage_.room("group", {"ann", "ben"}));
  }

  crash_report run() {
    for (int cycle = 0; cycle < options_.cycles; ++cycle) {
      talk_and_kill();
      // Before the start recovers, and after it, in turn.
      if (cycle % 2 == 0) check_database();
      if (cycle % 3 == 2) kill_while_it_starts();
      start();
      if (cycle % 2 == 1) check_database();
      if (options_.stops_at_first_loss && has_found_something()) break;
    }
    settle();
    judge();
    stage_.node.terminate();
    check_database();
    return std::move(report_);
  }

 private:
  static node_setup setup_of(const crash_options& options) {
    auto setup = with_io_threads(options.io_threads);
    for (const auto& [key, value] : options.config) setup.config[key] = value;
    if (!options.planted.empty()) setup.env["PARLEY_BREAK"] = options.planted;
    return setup;
  }

  void talk_and_kill() {
    moment m;
    const auto kill_after = static_cast<std::int64_t>(random_() % (accepted_before_kill + 1));
    auto threads = everybody_talks(m);
    if (!await(20s, [&] { return m.accepted >= kill_after; }))
      note("the node accepts nothing any more");
    stage_.node.kill9();
    ++report_.kills;
    for (auto& thread : threads) thread.join();
  }

  /// Also the recovery may be cut, at any moment.
  void kill_while_it_starts() {
    stage_.node.launch();
    std::this_thread::sleep_for(std::chrono::microseconds{random_() % start_max_us});
    stage_.node.kill9();
    ++report_.kills_while_starting;
  }

  std::vector<std::thread> everybody_talks(moment& m) {
    std::vector<std::thread> threads;
    for (auto& t : talkers_) threads.emplace_back([&, one = t.get()] { one->talk(stage_, m); });
    threads.emplace_back([&] {
      editor_->is_done = false;
      editor_->edit(stage_, m);
      editor_->is_done = true;
    });
    return threads;
  }

  void start() {
    const auto begin = clock::now();
    stage_.node.start();
    if (stage_.node.rest().get("/readyz").status != 200) note("not ready after a start");
    report_.ready.push_back(std::chrono::ceil<std::chrono::milliseconds>(clock::now() - begin));
  }

  /// The last time: every key gets its answer, everybody reads to the end.
  void settle() {
    moment m;
    m.says_more = false;
    auto threads = everybody_talks(m);
    const bool answered = await(20s, [&] {
      return editor_->is_done && std::all_of(talkers_.begin(), talkers_.end(),
                                             [](const auto& t) { return t->unanswered_count == 0; });
    });
    if (!answered) note("not every retry was answered");
    auto backend = stage_.backend();
    for (const auto& room : rooms_) {
      logs_[room] = log_of(backend, room);
      report_.entries += static_cast<std::int64_t>(logs_[room].size());
    }
    const bool shown = await(20s, [&] {
      std::int64_t seen = 0;
      for (const auto& t : talkers_) seen += t->seen_count;
      return seen >= entries_to_show();
    });
    if (!shown) note("not everybody was shown everything");
    m.is_over = true;
    for (auto& thread : threads) thread.join();
  }

  [[nodiscard]] std::int64_t entries_to_show() const {
    std::int64_t all = 0;
    for (std::size_t i = 0; i < readers_; ++i) {
      for (const auto& room : talkers_[i]->rooms()) {
        all += static_cast<std::int64_t>(logs_.at(room).size());
      }
    }
    return all;
  }

  /// While cycles still run: accepted messages that the log does not have.
  bool has_found_something() {
    auto backend = stage_.backend();
    std::map<std::string, std::set<std::string>> ids;
    std::map<std::string, int> keys;
    for (const auto& room : rooms_) {
      for (const auto& e : log_of(backend, room)) {
        ids[room].insert(e.at("message_id").get<std::string>());
        if (++keys[e.at("content")] > 1) return true;
      }
    }
    for (const auto& t : talkers_) {
      for (const auto& [key, result] : t->told) {
        if (!ids[result.room].contains(result.message_id)) return true;
      }
    }
    return false;
  }

  void judge() {
    std::map<std::string, int> stored;  // by content, which is the key's own
    for (const auto& room : rooms_) {
      std::int64_t before = 0;
      for (const auto& e : logs_.at(room)) {
        const auto seq = e.at("seq").get<std::int64_t>();
        if (seq <= before) {
          ++report_.doubled_seqs;
        } else {
          report_.gaps += seq - before - 1;
        }
        before = std::max(before, seq);
        ++stored[e.at("content")];
      }
    }
    for (const auto& [content, times] : stored) {
      if (times < 2) continue;
      ++report_.stored_twice;
      note("stored " + std::to_string(times) + " times: " + content);
    }
    for (const auto& t : talkers_) {
      report_.retried += t->retried;
      report_.duplicates += t->duplicates;
      report_.acks += t->acks;
      report_.sync_failed += t->sync_failed;
      for (const auto& line : t->trouble) note(line);
      for (const auto& [key, result] : t->told) {
        ++report_.accepted;
        judge_result(key, result);
        if (!stored.contains(result.content)) ++report_.unstored;
      }
    }
    auto backend = stage_.backend();
    editor_->judge(backend);
    report_.changes = editor_->accepted;
    report_.changes_repeated = editor_->repeated;
    for (const auto& line : editor_->trouble) note(line);
    for (std::size_t i = 0; i < readers_; ++i) {
      judge_reader(*talkers_[i]);
      judge_cursors(*talkers_[i]);
    }
  }

  void judge_result(const std::string& key, const result_told& r) {
    const auto& log = logs_.at(r.room);
    const auto at = static_cast<std::size_t>(r.seq - 1);
    if (r.seq >= 1 && at < log.size() && log[at].at("message_id") == r.message_id &&
        log[at].at("content") == r.content) {
      return;
    }
    ++report_.lost;
    note("accepted as seq " + std::to_string(r.seq) + " and not there: " + key);
  }

  void judge_reader(talker& reader) {
    for (const auto& room : reader.rooms()) {
      const auto& entries = reader.shown[room];
      const auto& log = logs_.at(room);
      report_.shown += static_cast<std::int64_t>(entries.size());
      for (std::size_t i = 0; i < std::max(entries.size(), log.size()); ++i) {
        if (i < entries.size() && i < log.size() && log[i].at("seq") == entries[i].seq &&
            log[i].at("message_id") == entries[i].message_id &&
            log[i].at("content") == entries[i].content) {
          continue;
        }
        ++report_.shown_wrong;
        note("shown as number " + std::to_string(i + 1) + ": " +
             (i < entries.size() ? entries[i].content : "nothing") + ", in the log: " +
             (i < log.size() ? log[i].at("content").get<std::string>() : "nothing"));
      }
    }
  }

  void judge_cursors(talker& reader) {
    auto rest = stage_.user(reader.name());
    const auto listed = rest.get("/v1/rooms").json();
    for (const auto& room : listed.at("rooms")) {
      const auto confirmed = reader.acked[room.at("room_id")];
      if (room.at("last_ack").get<std::int64_t>() >= confirmed) continue;
      ++report_.cursors_lost;
      note(reader.name() + " had acknowledged " + std::to_string(confirmed) + ": " + room.dump());
    }
  }

  void check_database() {
    const auto verified = verify(stage_.node);
    if (is_clean(verified)) return;
    ++report_.unclean;
    note("verify: " + verified.out + verified.err);
  }

  void note(const std::string& what) {
    if (report_.examples.size() < examples_max) report_.examples.push_back(what);
  }

  const crash_options options_;
  std::mt19937_64 random_;
  stage stage_;
  std::vector<std::string> rooms_;
  std::vector<std::unique_ptr<talker>> talkers_;
  std::unique_ptr<editor> editor_;
  std::size_t readers_ = 0;
  std::map<std::string, std::vector<json>> logs_;
  crash_report report_;
};

}  // namespace

bool crash_report::is_good() const {
  return lost + doubled_seqs + gaps + stored_twice + unstored + shown_wrong + cursors_lost +
                 sync_failed + unclean ==
             0 &&
         examples.empty();
}

std::string crash_report::summary() const {
  auto sorted = ready;
  std::sort(sorted.begin(), sorted.end());
  std::ostringstream out;
  out << kills << " kills and " << kills_while_starting << " while it started: " << accepted
      << " accepted, " << retried << " retried (" << duplicates << " were stored), " << entries
      << " entries, " << changes << " sends, edits and deletes one after the other ("
      << changes_repeated << " were stored), " << shown << " shown, " << acks
      << " acks confirmed; lost " << lost << ", doubled seqs " << doubled_seqs << ", gaps " << gaps
      << ", keys stored twice " << stored_twice << ", keys not stored " << unstored
      << ", shown wrongly " << shown_wrong << ", acknowledged positions lost " << cursors_lost
      << ", resumes failed " << sync_failed << ", verify unclean " << unclean;
  if (!sorted.empty()) {
    out << "; ready after " << sorted[sorted.size() / 2].count() << " ms (median), "
        << sorted.back().count() << " ms (longest)";
  }
  for (const auto& example : examples) out << "\n  " << example;
  return out.str();
}

crash_report run_crashes(const crash_options& options) { return crashes{options}.run(); }

}  // namespace parley::tests
