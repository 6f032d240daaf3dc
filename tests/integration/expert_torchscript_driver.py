"""Exports Hivemind's own ffn as TorchScript and trains it here, as a test asks."""
import torch
from driver import answer_requests
from hivemind.moe.server.layers.common import FeedforwardBlock

torch.manual_seed(0)


def export(file, width, rows, steps, learning_rate):
    """What the block gives before and after some steps of Adam, each with the same inputs and gradients."""
    block = FeedforwardBlock(width)
    torch.jit.script(block).save(file)
    inputs, gradients = torch.randn(rows, width, requires_grad=True), torch.randn(rows, width)
    optimizer = torch.optim.Adam(block.parameters(), lr=learning_rate)
    before = block(inputs).tolist()
    for _ in range(steps):
        inputs.grad = None
        optimizer.zero_grad()
        block(inputs).backward(gradients)
        optimizer.step()
    return {
        "inputs": inputs.tolist(),
        "gradients": gradients.tolist(),
        "before": before,
        "after": block(inputs).tolist(),
        "input_gradients": inputs.grad.tolist(),
    }


answer_requests({"export": export})
