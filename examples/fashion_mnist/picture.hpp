// Draws the result of the run as one PNG: curves, the load of the experts over time, test pictures with their
// predictions.
#pragma once

#include <cairo/cairo.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "dataset.hpp"
#include "history.hpp"

namespace example {

namespace detail {

struct Colour {
  double r, g, b;
};
inline constexpr Colour ink{0.16, 0.18, 0.22}, faint{0.86, 0.87, 0.89}, grey{0.47, 0.50, 0.55},
    fault_mark{0.80, 0.16, 0.16}, right{0.13, 0.55, 0.27}, wrong{0.80, 0.16, 0.16};
inline constexpr std::array<Colour, 4> series{
    {{0.84, 0.42, 0.05}, {0.12, 0.42, 0.68}, {0.55, 0.57, 0.60}, {0.20, 0.60, 0.45}}};

struct Box {
  double x, y, w, h;
};

/// A thin pen over cairo: everything is in pixels of the final picture.
class Pen {
 public:
  Pen(int width, int height)
      : surface_(cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height), cairo_surface_destroy),
        cr_(cairo_create(surface_.get()), cairo_destroy) {
    fill({0, 0, double(width), double(height)}, {1, 1, 1});
    cairo_select_font_face(cr_.get(), "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
  }

  void fill(Box box, Colour c) {
    colour(c);
    cairo_rectangle(cr_.get(), box.x, box.y, box.w, box.h);
    cairo_fill(cr_.get());
  }
  void line(double x0, double y0, double x1, double y1, Colour c, double width = 1) {
    polyline({{x0, y0}, {x1, y1}}, c, width);
  }
  void polyline(const std::vector<std::pair<double, double>>& points, Colour c, double width) {
    if (points.empty()) return;
    colour(c);
    cairo_set_line_width(cr_.get(), width);
    cairo_set_line_join(cr_.get(), CAIRO_LINE_JOIN_ROUND);
    cairo_move_to(cr_.get(), points.front().first, points.front().second);
    for (const auto& [x, y] : points) cairo_line_to(cr_.get(), x, y);
    cairo_stroke(cr_.get());
  }
  /// @param anchor  0 left, 0.5 centred, 1 right
  /// @return how wide it is
  double text(double x, double y, const std::string& words, Colour c, double size = 12, double anchor = 0) {
    colour(c);
    cairo_set_font_size(cr_.get(), size);
    cairo_text_extents_t extents;
    cairo_text_extents(cr_.get(), words.c_str(), &extents);
    cairo_move_to(cr_.get(), x - anchor * extents.x_advance, y);
    cairo_show_text(cr_.get(), words.c_str());
    return extents.x_advance;
  }
  /// A grey picture, float32 [28, 28] in [0, 1], drawn dark on light.
  void image(double x, double y, double side, const torch::Tensor& pixels) {
    const auto at = pixels.contiguous();
    const float* p = at.data_ptr<float>();
    const double cell = side / 28;
    for (int row = 0; row < 28; ++row) {
      for (int col = 0; col < 28; ++col) {
        const double v = 1 - double(p[row * 28 + col]);
        fill({x + col * cell, y + row * cell, cell + 0.5, cell + 0.5}, {v, v, v});
      }
    }
  }
  void save(const std::filesystem::path& path) {
    if (const auto status = cairo_surface_write_to_png(surface_.get(), path.c_str()); status != CAIRO_STATUS_SUCCESS) {
      throw skep::Error(skep::make_error_code(skep::errc::invalid_argument),
                        "cannot write the picture " + path.string() + ": " + cairo_status_to_string(status));
    }
  }

 private:
  void colour(Colour c) { cairo_set_source_rgb(cr_.get(), c.r, c.g, c.b); }

  std::unique_ptr<cairo_surface_t, void (*)(cairo_surface_t*)> surface_;
  std::unique_ptr<cairo_t, void (*)(cairo_t*)> cr_;
};

inline std::string number(double value, const char* format) {
  char out[32];
  std::snprintf(out, sizeof out, format, value);
  return out;
}

/// The axes of a chart over training samples, and where a value lies in it.
struct Axes {
  Box box;
  double samples, low, high;

  [[nodiscard]] double x(double s) const { return box.x + box.w * (samples > 0 ? s / samples : 0); }
  [[nodiscard]] double y(double v) const {
    return box.y + box.h * (1 - (std::clamp(v, low, high) - low) / (high - low));
  }
};

inline void draw_frame(Pen& pen, const Axes& axes, const std::string& title, const char* format) {
  pen.text(axes.box.x, axes.box.y - 10, title, ink, 14);
  for (int i = 0; i <= 4; ++i) {
    const double value = axes.low + (axes.high - axes.low) * i / 4;
    pen.line(axes.box.x, axes.y(value), axes.box.x + axes.box.w, axes.y(value), faint);
    pen.text(axes.box.x - 6, axes.y(value) + 4, number(value, format), grey, 11, 1);
  }
  for (int i = 0; i <= 4; ++i) {
    const double s = axes.samples * i / 4;
    pen.text(axes.x(s), axes.box.y + axes.box.h + 16, number(s / 1000, "%.0fk"), grey, 11, 0.5);
  }
}

/// A line where something was done to the swarm; the labels stand one below the other, so that they do not overlap.
inline void draw_incidents(Pen& pen, const Axes& axes, const History& run) {
  double y = axes.box.y + 12;
  for (const auto& incident : run.incidents) {
    const double x = axes.x(incident.samples);
    pen.line(x, axes.box.y, x, axes.box.y + axes.box.h, fault_mark, 1.5);
    pen.text(x + 4, y, incident.label, fault_mark, 11);
    y += 14;
  }
}

inline void draw_curves(Pen& pen, Axes axes, const std::vector<const History*>& runs, double Point::* what) {
  for (std::size_t i = runs.size(); i-- > 0;) {
    std::vector<std::pair<double, double>> line;
    for (const auto& point : runs[i]->curve) line.emplace_back(axes.x(point.samples), axes.y(point.*what));
    pen.polyline(line, series[i % series.size()], i == 0 ? 2.2 : 1.6);
  }
  for (const auto* run : runs) draw_incidents(pen, axes, *run);
}

/// One row an expert, one column a slice of the run; the darker, the more rows the expert was given.
inline void draw_load(Pen& pen, Box box, const History& run, double samples) {
  std::set<std::string> uids;
  std::int64_t most = 1;
  for (const auto& slice : run.load) {
    for (const auto& [uid, rows] : slice) {
      uids.insert(uid);
      most = std::max(most, rows);
    }
  }
  const Axes axes{box, samples, 0, 1};
  pen.text(box.x, box.y - 10, "Load: rows given to each expert over time (dark = many)", ink, 14);
  const double height = uids.empty() ? box.h : box.h / double(uids.size());
  const double gap = height > 8 ? 2 : 0;
  double y = box.y, labelled = box.y - 100;
  for (const auto& uid : uids) {
    if (y - labelled >= 12) {
      pen.text(box.x - 6, y + height / 2 + 4, uid, grey, 10, 1);
      labelled = y;
    }
    double from = 0;
    for (std::size_t i = 0; i < run.load.size(); ++i) {
      const double to = run.curve[i].samples;
      const auto found = run.load[i].find(uid);
      const double share = found == run.load[i].end() ? 0 : double(found->second) / double(most);
      const double v = std::sqrt(share);  // so that a little load is not lost beside a lot
      pen.fill({axes.x(from), y + gap / 2, axes.x(to) - axes.x(from) + 0.5, height - gap},
               {1 - v * (1 - series[0].r), 1 - v * (1 - series[0].g), 1 - v * (1 - series[0].b)});
      from = to;
    }
    y += height;
  }
  draw_incidents(pen, axes, run);
}

}  // namespace detail

/// @param runs         the run over remote experts first, then those it is compared with
/// @param test         the test set; its first pictures are shown
/// @param predictions  int64 [n]: the classes that the first run's model gives the test set
inline void draw_result(const std::filesystem::path& path, const std::vector<const History*>& runs,
                        const Pictures& test, const torch::Tensor& predictions) {
  using namespace detail;
  constexpr int width = 1240, height = 1130, columns = 16, rows = 4;
  Pen pen(width, height);
  pen.text(40, 38, "Fashion-MNIST through a decentralized mixture of experts (accuracy on the test set)", ink, 20);
  double x = 40;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const auto label = runs[i]->name + ": accuracy " + number(runs[i]->test_accuracy, "%.3f") + ", " +
                       number(runs[i]->samples_per_second / 1000, "%.1fk") + " samples/s";
    pen.fill({x, 56, 22, 4}, series[i % series.size()]);
    x += 28 + pen.text(x + 28, 63, label, ink, 11) + 18;
  }
  double samples = 1, worst = 0.5;
  for (const auto* run : runs) {
    for (const auto& point : run->curve) {
      samples = std::max(samples, point.samples);
      worst = std::max(worst, point.loss);
    }
  }
  const Axes loss{{80, 110, 500, 260}, samples, 0, std::min(worst, 1.6)};
  draw_frame(pen, loss, "Training loss (cross entropy) over samples", "%.2f");
  draw_curves(pen, loss, runs, &Point::loss);
  const Axes accuracy{{690, 110, 500, 260}, samples, 0.5, 1};
  draw_frame(pen, accuracy, "Training accuracy over samples", "%.2f");
  draw_curves(pen, accuracy, runs, &Point::accuracy);
  if (!runs.empty()) draw_load(pen, {100, 440, 1090, 280}, *runs.front(), samples);

  pen.text(40, 760, "Test pictures with the predicted class (green: right, red: wrong, the true class below)", ink, 14);
  const std::int64_t shown = std::min<std::int64_t>(columns * rows, test.size());
  for (std::int64_t i = 0; i < shown; ++i) {
    const double px = 40 + double(i % columns) * 73, py = 775 + double(i / columns) * 86;
    pen.image(px, py, 52, test.images[i]);
    const auto said = predictions[i].item<std::int64_t>(), truth = test.labels[i].item<std::int64_t>();
    pen.text(px + 26, py + 64, std::string(class_names.at(std::size_t(said))), said == truth ? right : wrong, 11, 0.5);
    if (said != truth) pen.text(px + 26, py + 76, std::string(class_names.at(std::size_t(truth))), grey, 10, 0.5);
  }
  pen.save(path);
}

}  // namespace example
