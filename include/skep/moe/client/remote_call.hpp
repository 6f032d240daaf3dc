// RemoteCall: the call of a remote expert as a node of the autograd graph.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "skep/moe/client/autograd.hpp"
#include "skep/moe/client/expert_client.hpp"
#include "skep/moe/client/expert_inputs.hpp"
#include "skep/moe/tensor/torch.hpp"

namespace skep::inline v0::moe::detail {

/// A remote call as a node of the graph. A tensor that requires grad comes along in any case: so the expert learns even
/// where none of its inputs needs a gradient.
class RemoteCall : public torch::autograd::Function<RemoteCall> {
 public:
  /// What forward leaves for backward.
  struct Shared {
    std::shared_ptr<ExpertClient> client;
    ExpertInputs inputs;  ///< how they are nested and named; the graph has the tensors
    std::optional<std::size_t> outputs;
    ExpertTarget target = {};  ///< who answered
    std::vector<std::size_t> order = {};
  };

  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context,
                                                std::shared_ptr<Shared> shared, const Tensor& /*learns*/,
                                                at::TensorList inputs) {
    const at::Device device = inputs.front().device();
    const ExpertClient& client = *shared->client;
    ExpertInputs sent = shared->inputs;
    sent.tensors = to_send(inputs);
    ExpertOutputs outputs = client.network().block_on(shared->client->forward(std::move(sent), shared->outputs),
                                                      client.options().forward_timeout);
    shared->target = std::move(outputs.target);
    shared->order = std::move(outputs.order);
    mark_whole_numbers(*context, outputs.tensors);
    for (Tensor& output : outputs.tensors) output = output.to(device);
    context->save_for_backward(inputs.vec());
    context->saved_data["shared"] = keep_in_graph(std::move(shared));
    return std::move(outputs.tensors);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto shared = kept_in_graph<Shared>(context->saved_data["shared"]);
    const ExpertClient& client = *shared->client;
    const auto inputs = context->get_saved_variables();
    torch::autograd::variable_list found(inputs.size());
    {
      const at::NoGradGuard no_grad;
      const std::vector<Tensor> given = to_send(inputs);
      std::vector<Tensor> sent;
      for (const std::size_t place : shared->order) sent.push_back(given[place]);
      std::vector<Tensor> of_outputs = to_send(gradients);
      const auto& outputs = shared->target.contract->outputs;
      for (std::size_t i = 0; i < of_outputs.size(); ++i) {
        of_outputs[i] = of_outputs[i].to(outputs[i].dtype.value_or(at::kFloat));
      }
      const auto answer =
          client.network().block_on(shared->client->backward(shared->target, std::move(sent), std::move(of_outputs)),
                                    client.options().backward_timeout);
      for (std::size_t i = 0; i < answer.size(); ++i) {
        const Tensor& input = inputs[shared->order[i]];
        if (input.is_floating_point()) found[shared->order[i]] = answer[i].to(input.device());
      }
    }
    found = refuse_second_derivative("expert " + client.expert().uid, inputs, gradients, std::move(found));
    found.insert(found.begin(), {Tensor(), Tensor()});  // of what is shared and of the tensor that makes it learn
    return found;
  }
};

}  // namespace skep::inline v0::moe::detail
