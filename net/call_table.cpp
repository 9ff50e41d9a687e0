#include "net/call_table.hpp"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <utility>

namespace parley::net {

namespace asio = boost::asio;

actors::call_no call_table::begin() {
  const actors::call_no call{++last_};
  auto p = std::make_unique<pending>(
      pending{asio::steady_timer{io_, asio::steady_timer::time_point::max()}});
  pending_.emplace(call, std::move(p));
  return call;
}

asio::awaitable<call_answer> call_table::wait(actors::call_no call,
                                              std::chrono::milliseconds timeout) {
  auto& p = *pending_.at(call);
  if (std::holds_alternative<std::monostate>(p.answer)) {
    p.timer.expires_after(timeout);
    boost::system::error_code ignored;
    co_await p.timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  auto answer = std::move(p.answer);
  pending_.erase(call);
  co_return answer;
}

bool call_table::complete(actors::call_no call, call_answer answer) {
  const auto it = pending_.find(call);
  if (it == pending_.end()) {
    ++late_;
    return false;
  }
  it->second->answer = std::move(answer);
  it->second->timer.cancel();
  return true;
}

}  // namespace parley::net
