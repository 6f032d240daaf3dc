"""What the drivers share: a test asks, one JSON object a line, and is answered, both ways through the standard streams.

A request {"id", "do", ...} is answered with {"id", "ok"} or {"id", "error"}. Ends with the standard input.
"""
import asyncio
import json
import os
import sys

import torch


def take_output():
    """The standard output for answers alone; what others print goes to the standard error."""
    out, sys.stdout = sys.stdout, sys.stderr
    return out


def failure(number, error):
    return {"id": number, "error": f"{type(error).__name__}: {error}"}


def send(out, answer):
    out.write(json.dumps(answer) + "\n")
    out.flush()


def answer_requests(functions, at_end=None):
    """Calls the functions by name, one after the other. With `at_end` the process ends there, for Hivemind's clients complain
    when the interpreter takes their event loop away."""
    out = take_output()
    for line in sys.stdin:
        request = json.loads(line)
        number, what = request.pop("id"), request.pop("do")
        try:
            answer = {"id": number, "ok": functions[what](**request)}
        except Exception as e:
            answer = failure(number, e)
        send(out, answer)
    if at_end is not None:
        at_end()
        os._exit(0)


async def answer_requests_at_once(functions, at_end):
    """The same with coroutines, which may overlap."""
    reader = asyncio.StreamReader(limit=1 << 27)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    out = take_output()
    tasks = set()

    async def run(request):
        number, what = request.pop("id"), request.pop("do")
        try:
            answer = {"id": number, "ok": await functions[what](**request)}
        except asyncio.CancelledError:
            raise
        except Exception as e:
            answer = failure(number, e)
        send(out, answer)

    while line := await reader.readline():
        task = asyncio.create_task(run(json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    for task in tasks:
        task.cancel()
    await at_end()


def fit(layer, width, steps, rows=64, parameters=()):
    """Fits fixed random numbers by a linear layer on top of `layer`; all gradients must be numbers."""
    torch.manual_seed(1)
    x, target = torch.randn(rows, width, requires_grad=True), torch.randn(rows, 1)
    head = torch.nn.Linear(width, 1)
    optimizer = torch.optim.Adam([*head.parameters(), *parameters], lr=0.01)
    losses, finite = [], True
    for _ in range(steps):
        x.grad = None
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(head(layer(x)), target)
        loss.backward()
        gradients = [x.grad, *(p.grad for p in head.parameters()), *(p.grad for p in parameters)]
        finite = finite and all(bool(g.isfinite().all()) for g in gradients) and bool(x.grad.abs().sum() > 0)
        optimizer.step()
        losses.append(loss.item())
    return {"first": losses[0], "last": losses[-1], "finite": finite}
