// A client of HTTP over a plain socket, for tests that ask a server on loopback.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdint>
#include <string>
// doctest comes last
#include <doctest/doctest.h>

namespace skep::test {

/// A client that blocks, for at most 20 s.
struct Client {
  explicit Client(const std::string& url) : descriptor(::socket(AF_INET, SOCK_STREAM, 0)) {
    const timeval limit{20, 0};
    ::setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    const auto port = url.substr(url.rfind(':') + 1);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(std::stoi(port)));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::connect(descriptor, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() { ::close(descriptor); }

  void send(const std::string& text) const { (void)::send(descriptor, text.data(), text.size(), MSG_NOSIGNAL); }
  /// All that comes until the server closes.
  [[nodiscard]] std::string rest() const {
    std::string text;
    char buffer[4096];
    for (ssize_t n = 0; (n = ::recv(descriptor, buffer, sizeof buffer, 0)) > 0;) {
      text.append(buffer, static_cast<std::size_t>(n));
    }
    return text;
  }

  int descriptor;
};

/// The whole answer to a GET of `http://127.0.0.1:PORT/PATH`.
inline std::string get(const std::string& url) {
  const Client client(url);
  client.send("GET " + url.substr(url.find('/', 7)) + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
  return client.rest();
}

}  // namespace skep::test
