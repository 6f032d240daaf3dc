// HTTP/1.1 as far as a single page needs it: the head of a request in, the whole answer out. Pure.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace skep::inline v0::cli {

/// What a server shows: one text under one path.
struct HttpPage {
  std::string path;                   ///< "/metrics"
  std::string type;                   ///< its media type
  std::function<std::string()> text;  ///< asked anew for every request
};

/// The longest head of a request that is read.
inline constexpr std::size_t max_http_head = 8 * 1024;

namespace detail {

[[nodiscard]] inline std::string http_message(std::string_view status, std::string_view type, std::string_view body,
                                              bool with_body, std::string_view more = {}) {
  std::string message;
  message.append("HTTP/1.1 ").append(status).append("\r\nContent-Type: ").append(type);
  message.append("\r\nContent-Length: ").append(std::to_string(body.size())).append("\r\n");
  message.append(more).append("Connection: close\r\n\r\n");
  if (with_body) message.append(body);
  return message;
}

[[nodiscard]] inline std::string http_refusal(std::string_view status, std::string_view sentence,
                                              std::string_view more = {}) {
  return http_message(status, "text/plain; charset=utf-8", std::string(sentence) + "\n", true, more);
}

/// How long the head is, its empty line included; 0 while it is not whole.
[[nodiscard]] inline std::size_t http_head_size(std::string_view received) noexcept {
  for (auto end = received.find('\n'); end != std::string_view::npos; end = received.find('\n', end + 1)) {
    const auto rest = received.substr(end + 1);
    if (rest.starts_with('\n')) return end + 2;
    if (rest.starts_with("\r\n")) return end + 3;
  }
  return 0;
}

}  // namespace detail

/// The answer to what a client has sent so far; nullopt while the head of its request is not whole. After the answer
/// the connection is closed, whatever follows.
[[nodiscard]] inline std::optional<std::string> answer_http(std::string_view received, const HttpPage& page) {
  const auto size = detail::http_head_size(received.substr(0, max_http_head));
  if (size == 0) {
    if (received.size() < max_http_head) return std::nullopt;
    return detail::http_refusal("431 Request Header Fields Too Large", "the head of the request is above 8 KiB");
  }
  auto line = received.substr(0, received.find_first_of("\r\n"));
  const auto method = line.substr(0, line.find(' '));
  line.remove_prefix(method.size() < line.size() ? method.size() + 1 : line.size());
  const auto target = line.substr(0, line.find(' '));
  if (method.empty() || !target.starts_with('/') || !line.substr(target.size()).starts_with(" HTTP/1.")) {
    return detail::http_refusal("400 Bad Request", "this is no request of HTTP/1.1");
  }
  if (method != "GET" && method != "HEAD") {
    return detail::http_refusal("405 Method Not Allowed", "only GET is answered", "Allow: GET, HEAD\r\n");
  }
  if (target.substr(0, target.find('?')) != page.path) {
    return detail::http_refusal("404 Not Found", "only " + page.path + " is served here");
  }
  return detail::http_message("200 OK", page.type, page.text(), method == "GET");
}

}  // namespace skep::inline v0::cli
