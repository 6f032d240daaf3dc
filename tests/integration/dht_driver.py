"""Runs nodes of Hivemind's own DHT and does with them what a test asks.

Keys, subkeys and values are the hexadecimal of their MessagePack, so tuples, bytes and floats keep their types.
"""
import asyncio
import os
import signal
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.serialization import load_der_private_key
from driver import answer_requests_at_once
from hivemind.dht.crypto import RSASignatureValidator
from hivemind.dht.node import DHTNode
from hivemind.dht.storage import DictionaryDHTValue
from hivemind.p2p import PeerID
from hivemind.proto.auth_pb2 import AccessToken
from hivemind.utils import MSGPackSerializer, get_dht_time
from hivemind.utils.auth import TokenAuthorizerBase
from hivemind.utils.crypto import RSAPrivateKey

nodes: dict[str, DHTNode] = {}


def read(text: str):
    return MSGPackSerializer.loads(bytes.fromhex(text))


def write(value) -> str:
    return MSGPackSerializer.dumps(value).hex()


class Member(TokenAuthorizerBase):
    """A member of a moderated swarm, who holds the authority's key and so gives tokens to himself."""

    def __init__(self, authority: bytes):
        super().__init__(RSAPrivateKey())
        self.authority = RSAPrivateKey()
        self.authority._private_key = load_der_private_key(authority, password=None)

    @staticmethod
    def to_sign(token: AccessToken) -> bytes:
        return f"{token.username} {token.public_key} {token.expiration_time}".encode()

    async def get_token(self):
        expiration = str(datetime.utcnow() + timedelta(minutes=10))
        token = AccessToken(username="hive", public_key=self.local_public_key.to_bytes(), expiration_time=expiration)
        token.signature = self.authority.sign(self.to_sign(token))
        return token

    def is_token_valid(self, token):
        good = self.authority.get_public_key().verify(self.to_sign(token), token.signature)
        return good and datetime.fromisoformat(token.expiration_time) > datetime.utcnow()

    def does_token_need_refreshing(self, token):
        return datetime.fromisoformat(token.expiration_time) < datetime.utcnow() + timedelta(minutes=1)


async def start(name, initial_peers=(), rsa=False, authority=None, **options):
    if rsa:
        options["record_validator"] = RSASignatureValidator(RSAPrivateKey())
    if authority:
        options["authorizer"] = Member(bytes.fromhex(authority))
    node = nodes[name] = await DHTNode.create(initial_peers=list(initial_peers) or None, nat_port_map=False, **options)
    return {
        "peer": node.peer_id.to_base58(),
        "node_id": node.node_id.to_bytes().hex(),
        "addresses": [str(a) for a in await node.get_visible_maddrs()],
    }


async def stop(name):
    await nodes.pop(name).shutdown()


async def kill(name):
    """Ends the node's p2pd as a power cut would; the node is never heard of again."""
    os.kill(nodes.pop(name).p2p._child.pid, signal.SIGKILL)


async def tag(name):
    """The owner's tag of the node's key."""
    return nodes[name].protocol.record_validator.local_public_key.decode()


async def now():
    return get_dht_time()


async def ping(name, peer, validate=False):
    node_id = await nodes[name].protocol.call_ping(PeerID.from_base58(peer), validate=validate)
    return node_id and node_id.to_bytes().hex()


async def store(name, key, value, expiration, subkey=None):
    options = {} if subkey is None else {"subkey": read(subkey)}
    return await nodes[name].store(read(key), read(value), expiration, **options)


async def get(name, key, latest=False):
    found = await nodes[name].get(read(key), latest=latest)
    if found is None:
        return None
    if isinstance(found.value, dict) and all(hasattr(item, "expiration_time") for item in found.value.values()):
        items = [[write(subkey), write(item.value), item.expiration_time] for subkey, item in found.value.items()]
        return {"items": sorted(items), "expiration": found.expiration_time}
    return {"value": write(found.value), "expiration": found.expiration_time}


async def get_all(name, keys):
    return [await get(name, key, latest=True) for key in keys]


async def held(name):
    """How many records of others this node keeps, plain and in all."""
    storage = nodes[name].protocol.storage
    dictionaries = sum(isinstance(item.value, DictionaryDHTValue) for _, item in storage.items())
    return {"records": len(storage), "dictionaries": dictionaries}


async def known(name):
    return sorted(peer.to_base58() for peer in nodes[name].protocol.routing_table.peer_id_to_uid)


async def leave():
    await asyncio.gather(*(node.shutdown() for node in nodes.values()))


asyncio.run(answer_requests_at_once(globals(), at_end=leave))
