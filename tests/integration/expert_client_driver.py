"""A Hivemind server whose experts a skep client uses as a test asks: one JSON object a line, both ways.

A request {"id", "do", ...} is answered with {"id", "ok"} or {"id", "error"}. Ends with its standard input.
"""
import copy
import json
import os
import sys

import torch
from hivemind import DHT
from hivemind.moe import ModuleBackend, Server
from hivemind.moe.server.dht_handler import get_experts
from hivemind.moe.server.layers.common import FeedforwardBlock, NopExpert
from hivemind.utils.tensor_descr import BatchTensorDescriptor

torch.manual_seed(0)
client = server = None


class TwoWays(torch.nn.Module):
    """Two inputs, one of them whole numbers, and two outputs."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, x, index):
        return x * index * self.scale, -x


def like(*tensors):
    return tuple(BatchTensorDescriptor.from_tensor(tensor) for tensor in tensors)


def serve(width, wide):
    """ffn.0.0 and ffn.1.0 are equal copies; the nops stand on a grid of 2 x 2."""
    global client, server
    backends = {}

    def add(uid, module, *inputs, learning_rate=1e-3):
        optimizer = torch.optim.Adam(module.parameters(), lr=learning_rate)
        backends[uid] = ModuleBackend(uid, module, optimizer=optimizer, args_schema=like(*inputs), max_batch_size=4096)

    block = FeedforwardBlock(width)
    for uid in "ffn.0.0", "ffn.1.0":
        add(uid, copy.deepcopy(block), torch.zeros(3, width))
    for uid in "nop.0.0", "nop.0.1", "nop.1.0", "nop.1.1":
        add(uid, NopExpert(width), torch.zeros(3, width))
    add("wide.0", NopExpert(wide), torch.zeros(3, wide))
    add("two.0", TwoWays(), torch.zeros(3, width), torch.zeros(3, 1, dtype=torch.int64))
    dht = DHT(start=True)
    server = Server(dht, backends, num_connection_handlers=2, start=True)
    server.ready.wait(30)
    addresses = [str(address) for address in dht.get_visible_maddrs(latest=True)]
    client = DHT(initial_peers=addresses, start=True)  # a peer cannot call itself
    return addresses


def call(uid, x, gradient):
    """What Hivemind's own client gets from an expert: the outputs and the input's gradient."""
    (expert,) = get_experts(client, [uid])
    x = torch.tensor(x, requires_grad=True)
    y = expert(x)
    y.backward(torch.tensor(gradient))
    return {"forward": y.tolist(), "backward": x.grad.tolist()}


def main():
    out, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request = json.loads(line)
        number, what = request.pop("id"), request.pop("do")
        try:
            answer = {"id": number, "ok": globals()[what](**request)}
        except Exception as e:
            answer = {"id": number, "error": f"{type(e).__name__}: {e}"}
        out.write(json.dumps(answer) + "\n")
        out.flush()
    if server is not None:
        client.shutdown()
        server.shutdown()
    os._exit(0)  # Hivemind's clients complain when the interpreter takes their event loop away


if __name__ == "__main__":
    main()
