// Metrics as text in the exposition format of Prometheus (version 0.0.4). Pure.
#pragma once

#include <charconv>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace skep::inline v0::cli {

/// The media type of the text.
inline constexpr std::string_view prometheus_type = "text/plain; version=0.0.4; charset=utf-8";

/// Writes metrics one after the other, each with its help and type before its samples:
///
///     PrometheusText text;
///     text.begin("skep_experts", "gauge", "experts that this server hosts");
///     text.sample({{"class", "ffn"}}, 16);
class PrometheusText {
 public:
  using Label = std::pair<std::string_view, std::string_view>;

  /// Begins a metric; its samples follow.
  /// @param type  counter, gauge or summary; a counter's name ends in _total, its unit is a base one (seconds, bytes)
  void begin(std::string_view name, std::string_view type, std::string_view help) {
    name_ = name;
    text_.append("# HELP ").append(name).append(" ");
    escape(help, false);
    text_.append("\n# TYPE ").append(name).append(" ").append(type).append("\n");
  }
  /// A value of the metric begun last.
  /// @param suffix  "_sum" or "_count" of a summary
  void sample(std::initializer_list<Label> labels, double value, std::string_view suffix = {}) {
    text_.append(name_).append(suffix);
    char separator = '{';
    for (const auto& [name, content] : labels) {
      text_.append(1, separator).append(name).append("=\"");
      escape(content, true);
      text_.append("\"");
      separator = ',';
    }
    if (separator == ',') text_.append("}");
    char digits[32];
    const auto whole = static_cast<std::int64_t>(std::abs(value) < 1e15 ? value : 0);
    const auto end = static_cast<double>(whole) == value ? std::to_chars(digits, digits + sizeof digits, whole)
                                                         : std::to_chars(digits, digits + sizeof digits, value);
    text_.append(" ").append(digits, end.ptr).append("\n");
  }
  /// A metric with one value and no labels.
  void single(std::string_view name, std::string_view type, std::string_view help, double value) {
    begin(name, type, help);
    sample({}, value);
  }

  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  void escape(std::string_view text, bool quotes) {
    for (const char c : text) {
      if (c == '\n') {
        text_ += "\\n";
        continue;
      }
      if (c == '\\' || (quotes && c == '"')) text_ += '\\';
      text_ += c;
    }
  }

  std::string text_;
  std::string name_;
};

}  // namespace skep::inline v0::cli
