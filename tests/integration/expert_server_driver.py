"""A Hivemind trainer that uses a skep server as a test asks."""
import torch
from driver import answer_requests
from hivemind import DHT
from hivemind.moe import RemoteExpert, RemoteMixtureOfExperts
from hivemind.moe.client.beam_search import MoEBeamSearcher
from hivemind.moe.server.dht_handler import get_experts
from hivemind.moe.server.layers.common import FeedforwardBlock

torch.manual_seed(0)
dht = None


def join(initial_peers):
    global dht
    dht = DHT(initial_peers=initial_peers, start=True)


def find(uids):
    return [expert and expert.peer_id.to_base58() for expert in get_experts(dht, uids)]


def expert_of(uid) -> RemoteExpert:
    (expert,) = get_experts(dht, [uid])
    return expert


def info(uid):
    described = expert_of(uid).info
    (args, kwargs), outputs = described["forward_schema"], described["outputs_schema"]
    return {
        "args": [[list(d.size), str(d.dtype), d.requires_grad] for d in args],
        "kwargs": sorted(kwargs),
        "outputs": [list(outputs.size), str(outputs.dtype), outputs.requires_grad],
        "keyword_names": list(described["keyword_names"]),
    }


def distance(a, b):
    return (a.detach() - b.detach()).abs().max().item()


def nop(uid, rows, width):
    """Sends rows there and back, forward and backward; above 2 MiB Hivemind streams them."""
    x = torch.randn(rows, width, requires_grad=True)
    gradient = torch.randn(rows, width)
    y = expert_of(uid)(x)
    y.backward(gradient)
    return {"forward": distance(y, x), "backward": distance(x.grad, gradient)}


def ffn(uid, weights, rows, steps, learning_rate):
    """Trains the expert and Hivemind's own block from the same weights side by side; reports how far they come apart."""
    width = len(weights["layer_norm.weight"])
    block = FeedforwardBlock(width)
    block.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    optimizer = torch.optim.Adam(block.parameters(), lr=learning_rate)
    expert = expert_of(uid)
    apart = []
    for _ in range(steps):
        x = torch.randn(rows, width)
        remote_x, local_x = x.clone().requires_grad_(), x.clone().requires_grad_()
        gradient = torch.randn(rows, width)
        remote, local = expert(remote_x), block(local_x)
        remote.backward(gradient)
        local.backward(gradient)
        optimizer.step()
        optimizer.zero_grad()
        apart.append([distance(remote, local), distance(remote_x.grad, local_x.grad)])
    return apart


def refusal(uid, rows, width):
    try:
        expert_of(uid)(torch.ones(rows, width))
    except Exception as e:
        return f"{type(e).__name__}: {e}"
    return ""


def beam(prefix, grid_size, scores, beam_size):
    best = MoEBeamSearcher(dht, prefix, grid_size).find_best_experts(scores, beam_size)
    return [expert.uid for expert in best]


def mixture(prefix, grid_size, width, rows):
    """One step of a mixture whose experts give back what they get: so does the mixture."""
    moe = RemoteMixtureOfExperts(in_features=width, grid_size=grid_size, dht=dht, uid_prefix=prefix, k_best=2,
                                 forward_timeout=20, backward_timeout=20)
    x = torch.randn(rows, width, requires_grad=True)
    y = moe(x)
    gradient = torch.randn(rows, width)
    y.backward(gradient)
    return {"forward": distance(y, x), "backward": distance(x.grad, gradient),
            "gate": moe.proj.weight.grad.abs().max().item()}


def leave():
    if dht is not None:
        dht.shutdown()


if __name__ == "__main__":
    answer_requests(globals(), at_end=leave)
