"""Reads tensors that a test has written, and writes some for it, with Hivemind's codecs.

Messages are ExpertResponses in hexadecimal, values the bytes of the tensor in hexadecimal.
"""
import asyncio

import torch
from driver import answer_requests
from hivemind.compression import deserialize_tensor_stream, serialize_torch_tensor
from hivemind.compression.serialization import deserialize_torch_tensor
from hivemind.proto import runtime_pb2
from hivemind.utils.streaming import split_for_streaming


def values(tensor):
    tensor = tensor.detach().contiguous()
    return (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy().tobytes().hex()


def described(tensor):
    return {
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "size": list(tensor.shape),
        "requires_grad": tensor.requires_grad,
        "values": values(tensor),
    }


def read(messages):
    async def parts():
        for message in messages:
            yield runtime_pb2.ExpertResponse.FromString(bytes.fromhex(message)).tensors

    async def tensors():
        return await deserialize_tensor_stream(parts())

    (tensor,) = asyncio.run(tensors())
    return tensor


def exchange(written, raw, compression, chunk_size):
    """What is read from `written`, and what Hivemind writes of the tensor in `raw`; nothing without bitsandbytes."""
    try:
        read_back = described(read(written))
        own = serialize_torch_tensor(read(raw), runtime_pb2.CompressionType.Value(compression))
    except ImportError:
        return None
    parts = split_for_streaming(own, chunk_size)
    return {
        "read": read_back,
        "messages": [runtime_pb2.ExpertResponse(tensors=[part]).SerializeToString().hex() for part in parts],
        "meant": described(deserialize_torch_tensor(own)),
    }


answer_requests(globals())
