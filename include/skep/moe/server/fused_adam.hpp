// FusedAdam: LibTorch's Adam in one pass over each parameter instead of a dozen small operations.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "skep/moe/server/optimizer_state.hpp"
#include "skep/moe/tensor/torch.hpp"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace skep::inline v0::moe {

namespace detail {

/// The numbers of one step of Adam (Kingma and Ba, 2015, algorithm 1, in LibTorch's form with weight decay).
struct AdamStep {
  float beta1, beta2, one_minus_beta1, one_minus_beta2;
  float weight_decay;
  float step_size;        // learning rate / (1 - beta1^t)
  float correction_root;  // sqrt(1 - beta2^t)
  float epsilon;
};

/// Moves n parameters p by their gradients g with the moments m and v.
inline void adam_step(float* __restrict p, const float* __restrict g, float* __restrict m, float* __restrict v,
                      std::size_t n, const AdamStep& s) noexcept {
  std::size_t i = 0;
#if defined(__SSE2__)  // a loop with a square root in it is not vectorised where sqrt may set errno
  const auto all = [](float x) { return _mm_set1_ps(x); };
  const __m128 beta1 = all(s.beta1), rest1 = all(s.one_minus_beta1), beta2 = all(s.beta2);
  const __m128 rest2 = all(s.one_minus_beta2), decay = all(s.weight_decay), size = all(s.step_size);
  const __m128 root = all(s.correction_root), epsilon = all(s.epsilon);
  for (; i + 4 <= n; i += 4) {
    const __m128 x = _mm_loadu_ps(p + i);
    const __m128 gradient = _mm_add_ps(_mm_loadu_ps(g + i), _mm_mul_ps(decay, x));
    const __m128 first = _mm_add_ps(_mm_mul_ps(_mm_loadu_ps(m + i), beta1), _mm_mul_ps(gradient, rest1));
    const __m128 square = _mm_mul_ps(_mm_mul_ps(gradient, gradient), rest2);
    const __m128 second = _mm_add_ps(_mm_mul_ps(_mm_loadu_ps(v + i), beta2), square);
    const __m128 below = _mm_add_ps(_mm_div_ps(_mm_sqrt_ps(second), root), epsilon);
    _mm_storeu_ps(m + i, first);
    _mm_storeu_ps(v + i, second);
    _mm_storeu_ps(p + i, _mm_sub_ps(x, _mm_div_ps(_mm_mul_ps(size, first), below)));
  }
#endif
  for (; i < n; ++i) {
    const float gradient = g[i] + s.weight_decay * p[i];
    m[i] = m[i] * s.beta1 + gradient * s.one_minus_beta1;
    v[i] = v[i] * s.beta2 + gradient * gradient * s.one_minus_beta2;
    p[i] -= s.step_size * m[i] / (std::sqrt(v[i]) / s.correction_root + s.epsilon);
  }
}

}  // namespace detail

/// The same options, state and serialization as LibTorch's Adam, and the same steps up to rounding. Parameters that are
/// not contiguous float32 on the CPU, AMSGrad and closures take LibTorch's own way. An expert of width 64 has its step
/// in a third of the time.
class FusedAdam : public torch::optim::Adam {
 public:
  using torch::optim::Adam::Adam;

  Tensor step(LossClosure closure = nullptr) override {
    if (closure != nullptr || !fits()) return torch::optim::Adam::step(closure);
    const at::NoGradGuard no_grad;
    for (auto& group : param_groups()) {
      const auto& options = static_cast<const torch::optim::AdamOptions&>(group.options());
      for (Tensor& parameter : group.params()) {
        if (parameter.grad().defined()) step_one(parameter, options);
      }
    }
    return {};
  }

 private:
  [[nodiscard]] bool fits() {
    for (auto& group : param_groups()) {
      if (static_cast<const torch::optim::AdamOptions&>(group.options()).amsgrad()) return false;
      for (const Tensor& parameter : group.params()) {
        const Tensor& gradient = parameter.grad();
        if (gradient.defined() && !(is_plain(parameter) && is_plain(gradient))) return false;
      }
    }
    return true;
  }
  [[nodiscard]] static bool is_plain(const Tensor& tensor) {
    return tensor.is_cpu() && !tensor.is_sparse() && tensor.scalar_type() == at::kFloat && tensor.is_contiguous();
  }

  void step_one(Tensor& parameter, const torch::optim::AdamOptions& options) {
    auto& state = detail::adam_state(*this, parameter);
    state.step(state.step() + 1);
    const auto [beta1, beta2] = options.betas();
    const auto t = static_cast<double>(state.step());
    const detail::AdamStep numbers{static_cast<float>(beta1),
                                   static_cast<float>(beta2),
                                   static_cast<float>(1 - beta1),
                                   static_cast<float>(1 - beta2),
                                   static_cast<float>(options.weight_decay()),
                                   static_cast<float>(options.lr() / (1 - std::pow(beta1, t))),
                                   static_cast<float>(std::sqrt(1 - std::pow(beta2, t))),
                                   static_cast<float>(options.eps())};
    detail::adam_step(parameter.data_ptr<float>(), parameter.grad().data_ptr<float>(),
                      state.exp_avg().data_ptr<float>(), state.exp_avg_sq().data_ptr<float>(),
                      static_cast<std::size_t>(parameter.numel()), numbers);
    parameter.unsafeGetTensorImpl()->bump_version();
  }
};

}  // namespace skep::inline v0::moe
