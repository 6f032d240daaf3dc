"""A Hivemind trainer whose layers live in a skep server."""
import os
import re
import signal
import subprocess
import tempfile
import urllib.request

import torch
from driver import answer_requests, fit
from hivemind import DHT
from hivemind.moe import RemoteExpert, RemoteMixtureOfExperts
from hivemind.moe.server.dht_handler import get_experts

torch.manual_seed(0)
dht = command = None
initial_peers = []


def join(peers):
    global dht, initial_peers
    initial_peers = peers
    dht = DHT(initial_peers=peers, start=True)


def expert_of(uid) -> RemoteExpert:
    (expert,) = get_experts(dht, [uid])
    return expert


def train(uid, width, steps):
    return fit(expert_of(uid), width, steps)


def mixture(prefix, grid_size, width, steps):
    moe = RemoteMixtureOfExperts(in_features=width, grid_size=grid_size, dht=dht, uid_prefix=prefix, k_best=2,
                                 forward_timeout=20, backward_timeout=20)
    return fit(moe, width, steps, rows=8, parameters=tuple(moe.parameters()))  # Hivemind calls once for each row


def codecs(uid):
    """How the expert wants its inputs and sends its outputs."""
    info = expert_of(uid).info
    return [int(info["forward_schema"][0][0].compression), int(info["outputs_schema"].compression)]


def distance(a, b):
    return (a.detach() - b.detach()).abs().max().item()


def nested(uid, width):
    """forward(x, {"shift", "gain"}, scale=...) gives {"sum": x + shift, "both": (x * gain, x * scale)}."""
    expert = expert_of(uid)
    x, shift, gain, scale = (torch.randn(5, width, requires_grad=True) for _ in range(4))
    out = expert(x, {"gain": gain, "shift": shift}, scale=scale)
    sum_, (scaled, keyed) = out["sum"], out["both"]
    (sum_.sum() + 2 * scaled.sum() + 3 * keyed.sum()).backward()
    wanted = [1 + 2 * gain + 3 * scale, torch.ones(5, width), 2 * x, 3 * x]
    return {
        "keyword_names": list(expert.info["keyword_names"]),
        "outputs": [distance(sum_, x + shift), distance(scaled, x * gain), distance(keyed, x * scale)],
        "gradients": [distance(tensor.grad, want) for tensor, want in zip((x, shift, gain, scale), wanted)],
    }


def stream(uid, rows, width):
    """There and back in chunks, forward and backward."""
    x = torch.randn(rows, width, requires_grad=True)
    gradient = torch.randn(rows, width)
    y = expert_of(uid)(x)
    y.backward(gradient)
    return [distance(y, x), distance(x.grad, gradient)]


class Block(torch.nn.Module):
    """What the command is to serve: written and exported here."""

    def __init__(self, width):
        super().__init__()
        self.inner = torch.nn.Sequential(torch.nn.Linear(width, 2 * width), torch.nn.Tanh(),
                                         torch.nn.Linear(2 * width, width))

    def forward(self, x):
        return x + self.inner(x)


def torchscript(program, width, steps):
    """Exports a module, has the command serve it, trains it from here, and stops the command."""
    global command
    block = Block(width)
    with tempfile.TemporaryDirectory() as folder:
        path, checkpoints = os.path.join(folder, "block.pt"), os.path.join(folder, "checkpoints")
        os.mkdir(checkpoints)
        torch.jit.script(block).save(path)
        command = subprocess.Popen(
            [program, "--torchscript", path, "--hidden_dim", str(width), "--expert_uids", "block.0",
             "--host_maddrs", "/ip4/127.0.0.1/tcp/0", "--learning_rate", "0.01", "--threads", "1",
             "--metrics", "127.0.0.1:0", "--checkpoint_dir", checkpoints, "--initial_peers", *initial_peers],
            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, cwd=folder)
        lines = []
        for line in command.stderr:
            lines.append(line.rstrip())
            if line.rstrip().endswith("[INFO] Started"):
                break
        else:
            raise RuntimeError("skep-server ended: " + " | ".join(lines))
        module = next(line for line in lines if "] block.0: " in line).split("] ", 1)[1]
        url = re.search(r"Serving metrics at (\S+)", "\n".join(lines)).group(1)

        probe = torch.randn(4, width)
        same = distance(expert_of("block.0")(probe), block(probe))
        fitted = train("block.0", width, steps)
        page = urllib.request.urlopen(url, timeout=20).read().decode()
        counted = re.search(r'^skep_optimizer_steps_total\{expert="block.0"\} (\d+)$', page, re.M).group(1)
        command.send_signal(signal.SIGTERM)
        rest = command.stderr.read().splitlines()
        code = command.wait(timeout=30)
        return {"module": module, "same": same, "fitted": fitted, "steps": int(counted), "code": code,
                "shutdown": any(line.endswith("Server shutdown successfully") for line in rest),
                "checkpoints": sorted(os.listdir(checkpoints))}


def leave():
    if command is not None and command.poll() is None:
        command.kill()
    if dht is not None:
        dht.shutdown()


if __name__ == "__main__":
    answer_requests(globals(), at_end=leave)
