// The command line of one command: CLI11 underneath, one sentence for whatever is wrong with it.
#pragma once

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "skep/cli/checks.hpp"
#include "skep/cli/config_file.hpp"
#include "skep/cli/help.hpp"

namespace skep::inline v0::cli {

/// Codes with which the commands end.
inline constexpr int exit_ok = 0;
inline constexpr int exit_failure = 1;  ///< something went wrong while it ran
inline constexpr int exit_usage = 2;    ///< the command line cannot be carried out as it stands

/// What a command line came to: flags to run with, or a text to print and a code to end with.
template <class Flags>
struct Parsed {
  std::optional<Flags> flags;
  std::string text;  ///< the help, or one line about what is wrong
  int exit_code = exit_ok;

  /// Prints the text where it belongs; for a `main` that ends with what this returns.
  [[nodiscard]] int finish() const {
    std::fprintf(exit_code == exit_ok ? stdout : stderr, "%s\n", text.c_str());
    return exit_code;
  }
};

/// Thrown when flags cannot be carried out together; the sentence begins with the flag.
struct UsageError {
  std::string sentence;
};

namespace detail {

/// The number of single edits between two texts, for guessing what a mistyped flag meant.
[[nodiscard]] inline std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j < row.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, replaced}));
    }
  }
  return row.back();
}

[[nodiscard]] inline bool asks_for_help(std::span<const std::string> flags) {
  return std::any_of(flags.begin(), flags.end(), [](const auto& each) { return each == "-h" || each == "--help"; });
}

/// " (default: 30)"; nothing for a value that is empty.
template <class T>
[[nodiscard]] std::string default_note(const T& value) {
  std::string text;
  if constexpr (std::is_same_v<T, std::string>) {
    text = value;
  } else if constexpr (std::is_arithmetic_v<T>) {
    char digits[32];
    text.assign(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
  }
  return text.empty() ? text : " (default: " + text + ")";
}

}  // namespace detail

/// A command's flags, declared one by one and then read all together, from the command line and, where that is silent,
/// from a configuration file (`-c FILE`).
class CommandLine {
 public:
  /// @param examples  lines for the end of the help, each a command to be copied
  /// @param unasked   a configuration file that is read without being named, where there is one
  CommandLine(std::string command, const std::string& purpose, const std::string& examples = {},
              std::string unasked = {})
      : command_(std::move(command)), unasked_(std::move(unasked)), app_(purpose, command_) {
    app_.formatter(std::make_shared<HelpFormatter>());
    app_.set_help_flag("-h,--help", "print this text and exit");
    app_.add_option("-c,--config", config_, "file with flags, one a line, such as `hidden_dim = 512`")
        ->type_name("FILE");
    app_.footer((examples.empty() ? std::string() : "Examples:\n" + examples + "\n\n") +
                "Every flag may also stand in a configuration file, the one named by -c" +
                (unasked_.empty() ? "" : ", or else\n" + unasked_ + " in the working directory") +
                ". What the command line says goes before the file.\n\n" + std::string(environment_words));
  }

  /// A flag with a value. @param value  where it goes; what is there now is the default
  template <class T>
  void value(const std::string& group, const std::string& flag, const std::string& type, T& value, Check check,
             const std::string& help) {
    auto* const option = app_.add_option(flag, value, help + detail::default_note(value));
    option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    describe(option, group, type, std::move(check));
  }
  /// A value that stands by itself, without a flag; it has to be there.
  void positional(const std::string& name, std::string& value, Check check, const std::string& help) {
    auto* const option = app_.add_option(name, value, help)->required()->type_name("");
    if (check) option->check(CLI::Validator(std::move(check), ""));
    app_.get_formatter()->label("REQUIRED", "");
    app_.get_formatter()->label("Positionals", "Arguments");
  }
  /// A flag with any number of values; without any it counts as not given, as when a script had none to pass.
  void list(const std::string& group, const std::string& flag, const std::string& type,
            std::vector<std::string>& values, Check check, const std::string& help) {
    const auto note = detail::default_note(values.empty() ? std::string() : values.front());
    auto* const option = app_.add_option(flag, values, help + note)->expected(-1);
    describe(option, group, type, std::move(check));
    lists_.insert(flag);
  }
  /// A flag that is there or not.
  void toggle(const std::string& group, const std::string& flag, bool& value, const std::string& help) {
    app_.add_flag(flag, value, help)->group(group)->check(CLI::Validator(truth_value(), ""));
    toggles_.insert(flag);
  }

  /// While `check` runs: whether the command line or the file has the flag.
  [[nodiscard]] bool given(const std::string& flag) const { return app_.get_option(flag)->count() != 0; }

  /// Reads the arguments (without the program's name) into the declared places, then calls `check`, which may throw
  /// `UsageError`. Throws nothing else.
  template <class Flags, class CheckAll>
  [[nodiscard]] Parsed<Flags> parse(std::vector<std::string> arguments, Flags& flags, CheckAll&& check) {
    if (detail::asks_for_help(before_values(arguments)))
      return {std::nullopt, help(), exit_ok};  // whatever else is wrong
    try {
      add_file(arguments);
      drop_empty_lists(arguments);
      std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
      app_.parse(std::move(arguments));
      check();
      return {std::move(flags), {}, exit_ok};
    } catch (const CLI::CallForHelp&) {  // in a form that was not seen above
      return {std::nullopt, help(), exit_ok};
    } catch (const UsageError& error) {
      return refuse<Flags>(error.sentence);
    } catch (const CLI::ExtrasError&) {
      return refuse<Flags>(unknown_flag(app_.remaining().front()));
    } catch (const CLI::RequiredError& error) {
      const std::string_view text = error.what();
      return refuse<Flags>(std::string(text.substr(0, text.find(' '))) + " is missing; see " + command_ + " --help");
    } catch (const CLI::ArgumentMismatch& error) {
      const std::string_view text = error.what();
      return refuse<Flags>(std::string(text.substr(0, text.find(':'))) + ": a value is missing, or there are too many");
    } catch (const CLI::Error& error) {
      return refuse<Flags>(error.what());
    }
  }

 private:
  static constexpr std::string_view environment_words =
      "Environment:\n"
      "  SKEP_LOGLEVEL           least level of log lines: DEBUG, INFO, WARN or ERROR (default: INFO)\n"
      "  SKEP_COLORS             1 or 0: colours, whether standard error is a terminal or not\n"
      "  SKEP_ALWAYS_LOG_CALLER  1: INFO lines too say which part of the program speaks\n"
      "  SKEP_DHT_NUM_WORKERS    requests in flight of one search for nearest nodes or latest values\n"
      "                          (default: 4); an ordinary get asks one node at a time";

  static void describe(CLI::Option* option, const std::string& group, const std::string& type, Check check) {
    option->type_name(type)->group(group);
    if (check) option->check(CLI::Validator(std::move(check), ""));
  }

  template <class Flags>
  [[nodiscard]] Parsed<Flags> refuse(const std::string& sentence) const {
    return {std::nullopt, command_ + ": " + sentence, exit_usage};
  }

  [[nodiscard]] std::string help() const {
    auto text = app_.help();
    const std::string options = " [OPTIONS]";  // behind the arguments: in front a list of values would swallow them
    if (const auto at = text.find(options); at != std::string::npos) {
      text.erase(at, options.size());
      text.insert(text.find('\n', at), options);
    }
    for (auto at = text.find("\n\n\n"); at != std::string::npos; at = text.find("\n\n\n", at)) text.erase(at, 1);
    while (text.ends_with('\n')) text.pop_back();
    return text;
  }

  [[nodiscard]] std::string unknown_flag(const std::string& given) const {
    std::string closest;
    std::size_t least = 4;  // a guess further away than three edits helps nobody
    for (const auto* option : app_.get_options()) {
      for (const auto& name : option->get_lnames()) {
        const auto distance = detail::edit_distance(given, "--" + name);
        if (distance >= least) continue;
        least = distance;
        closest = "--" + name;
      }
    }
    return "there is no flag " + given + "; " + (closest.empty() ? "see " : "did you mean " + closest + "? See ") +
           command_ + " --help";
  }

  /// The arguments that may be flags: behind "--" stand values.
  [[nodiscard]] static std::span<const std::string> before_values(const std::vector<std::string>& arguments) {
    return {arguments.begin(), std::find(arguments.begin(), arguments.end(), "--")};
  }

  /// Appends what the configuration file says and the arguments do not.
  void add_file(std::vector<std::string>& arguments) const {
    const auto named = named_config(arguments);
    if (named && named->empty()) throw UsageError{"--config: a value is missing"};
    const auto path = named.value_or(unasked_);
    if (!named && !std::filesystem::is_regular_file(path)) return;
    const auto given = [&arguments](std::string_view flag) {
      return std::find_if(arguments.begin(), arguments.end(), [flag](std::string_view argument) {
        return argument == flag || (argument.starts_with(flag) && argument.substr(flag.size()).starts_with('='));
      });
    };
    std::ifstream input(path);
    if (!input) throw UsageError{"--config: cannot read " + detail::in_quotes(path)};
    const auto file = parse_config(std::string(std::istreambuf_iterator<char>(input), {}));
    if (!file.error.empty()) throw UsageError{"--config: " + path + ", " + file.error};
    for (const auto& [key, values] : file.entries) {
      const auto flag = "--" + key;
      if (app_.get_option_no_throw(flag) == nullptr) throw UsageError{"--config: " + path + ": " + unknown_flag(flag)};
      if (given(flag) != arguments.end()) continue;
      if (!toggles_.contains(flag)) {
        arguments.push_back(flag);
        arguments.insert(arguments.end(), values.begin(), values.end());
      } else {
        if (values.size() != 1 || values.front().empty()) throw UsageError{flag + ": true or false is missing"};
        arguments.push_back(flag + '=' + values.front());
      }
    }
  }

  void drop_empty_lists(std::vector<std::string>& arguments) const {
    for (auto at = arguments.begin(); at != arguments.end();) {
      const auto next = std::next(at);
      const bool empty = lists_.contains(*at) && (next == arguments.end() || next->starts_with('-'));
      at = empty ? arguments.erase(at) : next;
    }
  }

  std::string command_;
  std::string unasked_;
  std::string config_;
  CLI::App app_;
  std::set<std::string> toggles_;
  std::set<std::string> lists_;
};

}  // namespace skep::inline v0::cli
