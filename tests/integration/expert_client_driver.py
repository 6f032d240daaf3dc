"""A Hivemind server whose experts a skep client uses as a test asks, and a Hivemind client beside it."""
import copy
import multiprocessing

import torch
from driver import answer_requests, fit
from hivemind import DHT
from hivemind.moe import ModuleBackend, RemoteMixtureOfExperts, Server
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


def backend(uid, module, *inputs, learning_rate=1e-3):
    optimizer = torch.optim.Adam(module.parameters(), lr=learning_rate)
    return ModuleBackend(uid, module, optimizer=optimizer, args_schema=like(*inputs), max_batch_size=4096)


def start(backends):
    global client, server
    dht = DHT(start=True)
    starting = Server(dht, {expert.name: expert for expert in backends}, num_connection_handlers=2)
    try:
        starting.run_in_background(timeout=20)
    except TimeoutError:
        # It forks its handlers beside a thread that declares its experts: now and then a child waits for ever for a lock
        # that the thread held. The test tries again with another process.
        dht.shutdown()
        for child in multiprocessing.active_children():
            child.kill()
        raise
    server = starting
    addresses = [str(address) for address in dht.get_visible_maddrs(latest=True)]
    client = DHT(initial_peers=addresses, start=True)  # a peer cannot call itself
    return addresses


def serve(width, wide):
    """ffn.0.0 and ffn.1.0 are equal copies; the nops stand on a grid of 2 x 2."""
    row = torch.zeros(3, width)
    block = FeedforwardBlock(width)
    ffns = [backend(f"ffn.{i}.0", copy.deepcopy(block), row) for i in range(2)]
    nops = [backend(f"nop.{i}.{j}", NopExpert(width), row) for i in range(2) for j in range(2)]
    one_wide = backend("wide.0", NopExpert(wide), torch.zeros(3, wide))
    two_ways = backend("two.0", TwoWays(), row, torch.zeros(3, 1, dtype=torch.int64))
    return start([*ffns, *nops, one_wide, two_ways])


def serve_learners(width):
    """Experts that learn fast: a grid of 2 x 2, and the half of another whose first coordinate is 0."""
    uids = ["learn.0.0", "learn.0.1", "learn.1.0", "learn.1.1", "mixed.0.0", "mixed.0.1"]
    return start([backend(uid, FeedforwardBlock(width), torch.zeros(3, width), learning_rate=1e-2) for uid in uids])


def call(uid, x, gradient):
    """What Hivemind's own client gets from an expert: the outputs and the input's gradient."""
    (expert,) = get_experts(client, [uid])
    x = torch.tensor(x, requires_grad=True)
    y = expert(x)
    y.backward(torch.tensor(gradient))
    return {"forward": y.tolist(), "backward": x.grad.tolist()}


def train_mixture(prefix, grid_size, width, steps):
    """What Hivemind's own client makes of a mixture of all experts of a grid, however many servers they have."""
    moe = RemoteMixtureOfExperts(in_features=width, grid_size=grid_size, dht=client, uid_prefix=prefix, k_best=4,
                                 forward_timeout=20, backward_timeout=20)
    return fit(moe, width, steps, rows=8, parameters=tuple(moe.parameters()))  # Hivemind calls once for each row


def leave():
    if server is not None:
        client.shutdown()
        server.shutdown()


if __name__ == "__main__":
    answer_requests(globals(), at_end=leave)
