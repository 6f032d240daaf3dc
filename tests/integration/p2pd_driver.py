"""Starts p2pds through Hivemind's own P2P class and does with them what a test asks.

Bodies are hexadecimal; the messages between the peers are dht_pb2.NodeInfo, of which only the one field of bytes matters.
"""
import asyncio

from driver import answer_requests_at_once
from hivemind.p2p import P2P, PeerID
from hivemind.proto.dht_pb2 import NodeInfo

daemons: dict[str, P2P] = {}
cancelled: list[str] = []  # names of handlers that were cancelled


def message(text: str) -> NodeInfo:
    return NodeInfo(node_id=bytes.fromhex(text))


def text(body: NodeInfo) -> str:
    return body.node_id.hex()


async def start(name, initial_peers=(), identity_path=None):
    p2p = daemons[name] = await P2P.create(initial_peers=list(initial_peers) or None, identity_path=identity_path,
                                           nat_port_map=False)
    return {"peer": p2p.peer_id.to_base58(), "addresses": [str(a) for a in await p2p.get_visible_maddrs()]}


async def stop(name):
    await daemons.pop(name).shutdown()


async def connect(name, peer, addresses=()):
    from hivemind.p2p.p2p_daemon_bindings.datastructures import Multiaddr

    await daemons[name]._client.connect(PeerID.from_base58(peer), [Multiaddr(a) for a in addresses])


async def peers(name):
    return sorted(info.peer_id.to_base58() for info in await daemons[name].list_peers())


async def serve(name):
    """Unary Py.echo, Py.boom, Py.slow; streaming Py.double (answers everything twice), Py.drop (fails at the second)."""

    async def echo(request, context):
        return request

    async def boom(request, context):
        raise ValueError("boom")

    async def slow(request, context):
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append("Py.slow")
            raise
        return request

    async def double(requests, context):
        async for request in requests:
            yield request
            yield request

    async def drop(requests, context):
        count = 0
        async for request in requests:
            count += 1
            if count == 2:
                raise KeyError("no second")
            yield request

    p2p = daemons[name]
    for handler in (echo, boom, slow):
        await p2p.add_protobuf_handler("Py." + handler.__name__, handler, NodeInfo)
    for handler in (double, drop):
        await p2p.add_protobuf_handler("Py." + handler.__name__, handler, NodeInfo, stream_input=True, stream_output=True)


async def call(name, peer, method, body, timeout=10):
    answer = daemons[name].call_protobuf_handler(PeerID.from_base58(peer), method, message(body), NodeInfo)
    return text(await asyncio.wait_for(answer, timeout))


async def call_large(name, peer, method, size, timeout=30):
    """Whether a body of `size` bytes comes back as it was sent."""
    body = NodeInfo(node_id=bytes(range(256)) * (size // 256))
    answer = daemons[name].call_protobuf_handler(PeerID.from_base58(peer), method, body, NodeInfo)
    return (await asyncio.wait_for(answer, timeout)).node_id == body.node_id


async def stream(name, peer, method, bodies, timeout=20):
    async def requests():
        for body in bodies:
            yield message(body)

    async def run():
        answers = await daemons[name].iterate_protobuf_handler(PeerID.from_base58(peer), method, requests(), NodeInfo)
        return [text(answer) async for answer in answers]

    return await asyncio.wait_for(run(), timeout)


async def bulk(name, peer, method, size, count, timeout=60):
    """Streams `count` bodies of `size` bytes there and back; only their number and total size are reported."""

    async def requests():
        for i in range(count):
            yield NodeInfo(node_id=bytes([i % 251]) * size)

    async def run():
        got, total, good = 0, 0, True
        answers = await daemons[name].iterate_protobuf_handler(PeerID.from_base58(peer), method, requests(), NodeInfo)
        async for answer in answers:
            good = good and answer.node_id == bytes([got % 251]) * size
            got, total = got + 1, total + len(answer.node_id)
        return {"count": got, "total": total, "good": good}

    return await asyncio.wait_for(run(), timeout)


async def cancellations():
    return cancelled


async def leave():
    await asyncio.gather(*(p2p.shutdown() for p2p in daemons.values()))


asyncio.run(answer_requests_at_once(globals(), at_end=leave))
