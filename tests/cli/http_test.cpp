#include "skep/cli/http.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace skep::cli;

namespace {
const HttpPage page{"/metrics", "text/plain", [] { return std::string("all is well\n"); }};

/// The first line of the answer; empty while there is none.
std::string status_of(const std::string& received) {
  const auto answer = answer_http(received, page);
  return answer ? answer->substr(0, answer->find("\r\n")) : std::string();
}
}  // namespace

TEST_CASE("what a client sends and how it is answered") {
  struct Case {
    const char* received;
    const char* status;
  };
  const Case cases[] = {
      {"", ""},
      {"GET /met", ""},
      {"GET /metrics HTTP/1.1\r\nHost: here\r\n", ""},
      {"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n", "HTTP/1.1 200 OK"},
      {"GET /metrics HTTP/1.0\n\n", "HTTP/1.1 200 OK"},
      {"GET /metrics?x=1 HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK"},
      {"HEAD /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK"},
      {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found"},
      {"GET /metricsx HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found"},
      {"POST /metrics HTTP/1.1\r\n\r\nbody", "HTTP/1.1 405 Method Not Allowed"},
      {"GET\r\n\r\n", "HTTP/1.1 400 Bad Request"},
      {"GET /metrics\r\n\r\n", "HTTP/1.1 400 Bad Request"},
      {"GET /metrics HTTP/2\r\n\r\n", "HTTP/1.1 400 Bad Request"},
      {"GET http://here/metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request"},
      {"\x16\x03\x01\r\n\r\n", "HTTP/1.1 400 Bad Request"},
      {"\r\n\r\n", "HTTP/1.1 400 Bad Request"},
  };
  for (const auto& [received, status] : cases) {
    CAPTURE(received);
    CHECK(status_of(received) == status);
  }
}

TEST_CASE("the answer says how long it is, and that the connection ends") {
  CHECK(*answer_http("GET /metrics HTTP/1.1\r\n\r\n", page) ==
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\nConnection: close\r\n\r\nall is well\n");
  CHECK(*answer_http("HEAD /metrics HTTP/1.1\r\n\r\n", page) ==
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\nConnection: close\r\n\r\n");
  CHECK(answer_http("PUT /metrics HTTP/1.1\r\n\r\n", page)->find("\r\nAllow: GET, HEAD\r\n") != std::string::npos);
}

TEST_CASE("a head above 8 KiB is refused, one of 8 KiB is not") {
  const std::string begin = "GET /metrics HTTP/1.1\r\nX: ", end = "\r\n\r\n";
  const auto with_size = [&](std::size_t size) {
    return begin + std::string(size - begin.size() - end.size(), 'x') + end;
  };
  CHECK(status_of(with_size(max_http_head)) == "HTTP/1.1 200 OK");
  CHECK(status_of(with_size(max_http_head + 1)) == "HTTP/1.1 431 Request Header Fields Too Large");
  CHECK(status_of(std::string(max_http_head - 1, 'x')).empty());
  CHECK(status_of(std::string(max_http_head, 'x')) == "HTTP/1.1 431 Request Header Fields Too Large");
}
