#include "tests/sim/ledger.hpp"

#include <map>
#include <tuple>
#include <unordered_map>
#include <utility>

namespace parley::sim {

sent_text& ledger::write(sent_text text) {
  texts_.push_back(std::move(text));
  return texts_.back();
}

void ledger::answered(sent_text& text, const actors::room_outcome* outcome) {
  expect(text.open > 0, "SPEC 2.5 a send is answered twice", [&] { return text.content; });
  --text.open;
  if (outcome == nullptr) {
    ++text.unknown;
  } else if (const auto* failed = std::get_if<error>(outcome)) {
    expect(failed->stored != stored_state::not_a_send,
           "SPEC 2.5 an error to a send does not say what is stored",
           [&] { return text.content + ": " + failed->message; });
    ++(failed->stored == stored_state::no ? text.refused : text.unknown);
  } else {
    text.accepted.push_back(std::get<actors::send_result>(*outcome).accepted);
  }
}

void ledger::node_lost() {
  for (auto& text : texts_) text.unknown += std::exchange(text.open, 0);
}

void ledger::check(const snapshot& stored) const {
  std::unordered_map<std::string, std::vector<const stored_entry*>> by_content;
  for (const auto& [no, room] : stored.rooms) {
    expect(static_cast<std::int64_t>(room->log->size()) == room->info.last_seq.value,
           "I2 the log is not dense");
    room_seq seq{0};
    for (const auto& line : *room->log) {
      expect(line.e.seq == ++seq, "I2 the log is not dense");
      if (const auto* m = std::get_if<message_body>(&line.e.body))
        by_content[m->content].push_back(&line);
      if (const auto* m = std::get_if<message_edited_body>(&line.e.body))
        by_content[m->content].push_back(&line);
    }
  }
  std::map<std::tuple<room_key, user_id, std::string>, accepted_info> first_answers;
  for (const auto& text : texts_) {
    const auto detail = [&] { return text.content + " key '" + text.key + "'"; };
    expect(text.open == 0, "SPEC 2.5 a send was never answered", detail);
    if (text.call == store::keyed_call::remove) {
      std::size_t firsts = 0;
      std::size_t repeatable = 0;
      for (const auto& answer : text.accepted) {
        const auto& room = *stored.find(text.room);
        const auto& e = room.at(answer.seq).e;
        expect(answer.message == text.target && e.message == text.target &&
                   e.created_at == answer.created_at,
               "SPEC 2.4 an answer names another message than is deleted", detail);
        const auto* gone = std::get_if<message_deleted_body>(&e.body);
        const auto message = gone == nullptr ? answer.seq : gone->message_seq;
        const auto shown = room.shown_at(message, stored.commit);
        expect(std::get<message_body>(shown.body).deleted_at.has_value(),
               "SPEC 2.1 accepted, but it is not deleted", detail);
        if (gone != nullptr && !answer.duplicate) ++firsts;
        if (!answer.duplicate) ++repeatable;
        expect(text.key.empty() || answer.seq == text.accepted.front().seq,
               "SPEC 2.4 one key has two answers", detail);
      }
      expect(firsts <= 1, "SPEC 2.4 a message is deleted twice", detail);
      expect(text.key.empty() || repeatable <= 1,
             "SPEC 2.4 two answers to one key both claim to be the first", detail);
    }
    const bool has_text = text.call != store::keyed_call::remove;
    const auto it = has_text ? by_content.find(text.content) : by_content.end();
    const std::size_t copies = it == by_content.end() ? 0 : it->second.size();
    expect(copies <= 1, "SPEC 2.4 a message is stored twice", detail);
    if (text.accepted.empty() && text.unknown == 0) {
      expect(copies == 0, "I4 stored: \"no\", but it is stored", detail);
    }
    std::size_t firsts = 0;
    for (const auto& answer : text.accepted) {
      if (!has_text) break;
      expect(copies == 1, "SPEC 2.1 accepted, but it is not stored", detail);
      const auto& e = it->second.front()->e;
      expect(e.seq == answer.seq && e.message == answer.message && e.created_at == answer.created_at,
             "SPEC 2.4 an answer names another message than is stored", detail);
      if (!answer.duplicate) ++firsts;
    }
    expect(firsts <= 1, "SPEC 2.4 two answers to one key both claim to be the first", detail);
    if (!text.key.empty() && !text.accepted.empty()) {
      const auto& answer = text.accepted.front();
      const auto [known, fresh] =
          first_answers.try_emplace(std::tuple{text.room, text.sender, text.key}, answer);
      expect(fresh || (known->second.message == answer.message && known->second.seq == answer.seq),
             "SPEC 2.4 one key was accepted for two messages", detail);
    }
  }
}

}  // namespace parley::sim
