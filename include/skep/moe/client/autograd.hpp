// What the remote modules' autograd nodes have in common.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "skep/core/error.hpp"
#include "skep/moe/tensor/torch.hpp"

namespace skep::inline v0::moe::detail {

/// Keeps an object of ours in a node of the graph.
template <class T>
struct GraphCapsule : torch::CustomClassHolder {
  explicit GraphCapsule(std::shared_ptr<T> kept) : object(std::move(kept)) {}
  std::shared_ptr<T> object;
};
template <class T>
[[nodiscard]] at::IValue keep_in_graph(std::shared_ptr<T> object) {
  return at::IValue::make_capsule(c10::make_intrusive<GraphCapsule<T>>(std::move(object)));
}
template <class T>
[[nodiscard]] std::shared_ptr<T> kept_in_graph(const at::IValue& value) {
  return c10::static_intrusive_pointer_cast<GraphCapsule<T>>(value.toCapsule())->object;
}

/// Tensors as they travel: on the CPU, contiguous, not part of a graph.
[[nodiscard]] inline std::vector<Tensor> to_send(at::TensorList tensors) {
  std::vector<Tensor> sent;
  sent.reserve(tensors.size());
  for (const Tensor& tensor : tensors) sent.push_back(tensor.detach().to(at::kCPU).contiguous());
  return sent;
}

/// Throws errc::invalid_argument when one of them holds NaN or infinity.
inline void require_finite(at::TensorList tensors, const std::string& what) {
  for (const Tensor& tensor : tensors) {
    if (tensor.is_floating_point() && !tensor.isfinite().all().item<bool>()) {
      throw Error(errc::invalid_argument, "one of the " + what + " has nan/inf values");
    }
  }
}

/// Outputs of whole numbers have no gradient.
inline void mark_whole_numbers(torch::autograd::AutogradContext& context, const std::vector<Tensor>& outputs) {
  torch::autograd::variable_list whole;
  for (const Tensor& output : outputs) {
    if (!output.is_floating_point()) whole.push_back(output);
  }
  if (!whole.empty()) context.mark_non_differentiable(whole);
}

/// Gradients that may be used but not differentiated again.
class FirstDerivative : public torch::autograd::Function<FirstDerivative> {
 public:
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context, std::string who,
                                                at::TensorList /*depends_on*/, at::TensorList gradients) {
    context->saved_data["who"] = std::move(who);
    torch::autograd::variable_list copies;
    for (const Tensor& gradient : gradients) copies.push_back(gradient.view(gradient.sizes()));
    return copies;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list&) {
    throw Error(errc::invalid_argument, context->saved_data["who"].toStringRef() +
                                            " cannot be differentiated twice: its gradients come from another "
                                            "machine, which sends no graph");
  }
};

/// In a backward pass that builds a graph (create_graph), marks remote gradients so that differentiating them fails
/// with a sentence instead of going wrong in silence.
/// @param inputs     of the forward pass; with the gradients of its outputs what a second derivative would flow to
/// @param gradients  of the outputs
/// @param found      of the inputs, undefined where there is none
[[nodiscard]] inline torch::autograd::variable_list refuse_second_derivative(const std::string& who,
                                                                             at::TensorList inputs,
                                                                             at::TensorList gradients,
                                                                             torch::autograd::variable_list found) {
  if (!at::GradMode::is_enabled()) return found;
  std::vector<Tensor> depends_on = inputs.vec();
  depends_on.insert(depends_on.end(), gradients.begin(), gradients.end());
  torch::autograd::variable_list defined;
  for (const Tensor& gradient : found) {
    if (gradient.defined()) defined.push_back(gradient);
  }
  const auto marked = FirstDerivative::apply(who, at::TensorList(depends_on), at::TensorList(defined));
  auto next = marked.begin();
  for (Tensor& gradient : found) {
    if (gradient.defined()) gradient = *next++;
  }
  return found;
}

}  // namespace skep::inline v0::moe::detail
