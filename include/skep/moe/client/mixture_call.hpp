// MixtureCall: the remote part of a mixture as a node of the autograd graph.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "skep/moe/client/autograd.hpp"
#include "skep/moe/client/mixture_client.hpp"
#include "skep/moe/client/mixture_pass.hpp"
#include "skep/moe/client/mixture_weights.hpp"
#include "skep/moe/tensor/torch.hpp"

namespace skep::inline v0::moe {

namespace detail {

/// The remote part of a mixture as a node of the graph: inputs, batch first, to the outputs of every chosen expert, in
/// the places of the plan.
class MixtureCall : public torch::autograd::Function<MixtureCall> {
 public:
  struct Shared {
    std::shared_ptr<MixtureClient> client;
    MixturePass pass;
    Tensor weights;  ///< float[places] of the average, without a graph; undefined: none is taken
  };

  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context,
                                                std::shared_ptr<Shared> shared, const Tensor& /*learns*/,
                                                at::TensorList inputs) {
    auto outputs = shared->client->forward(shared->pass, to_send(inputs));
    mark_whole_numbers(*context, outputs);
    const at::Device device = inputs.front().device();
    for (Tensor& output : outputs) output = output.to(device);
    context->save_for_backward(inputs.vec());
    context->saved_data["shared"] = keep_in_graph(std::move(shared));
    return outputs;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto shared = kept_in_graph<Shared>(context->saved_data["shared"]);
    const MixturePass& pass = shared->pass;
    const at::Device device = gradients.front().device();
    torch::autograd::variable_list found;
    {
      const at::NoGradGuard no_grad;
      std::vector<Tensor> sent = to_send(gradients);
      if (shared->client->options().detect_anomalies) require_finite(sent, "gradients");
      auto [answers, answered] = shared->client->backward(pass, sent);
      Tensor factors = shared->weights.defined() ? missing_factors(pass, answered, shared->weights) : Tensor();
      if (!factors.defined()) factors = at::ones(pass.rows.sizes(), at::kFloat);
      for (const Tensor& places : answers) {
        found.push_back(places.is_floating_point() ? add_up(places, factors, pass).to(device) : Tensor());
      }
    }
    found = refuse_second_derivative("the mixture under \"" + shared->client->uid_prefix() + "\"",
                                     context->get_saved_variables(), gradients, std::move(found));
    found.insert(found.begin(), {Tensor(), Tensor()});  // of what is shared and of the tensor that makes experts learn
    return found;
  }
};

}  // namespace detail

}  // namespace skep::inline v0::moe
