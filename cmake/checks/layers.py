#!/usr/bin/env python3
"""Holds the includes of include/skep/ against the table of layers: who may include whom, and which library is seen where.

usage: layers.py [BUILD_FOLDER]

With a build folder of the preset "headers" it also reads what the compiler itself opened (ninja -t deps): Debian has
LibTorch in /usr/include, so a wrong include compiles; no header below the tensors may reach it, however indirectly.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEADERS = ROOT / "include" / "skep"

DOOR = "moe/tensor/torch.hpp"
LOW = ["core", "codec", "crypto", "async", "kademlia"]
P2P_NAMES = ["p2p/network.hpp", "p2p/payload.hpp", "p2p/peer_id.hpp", "p2p/multiaddr.hpp", "p2p/error.hpp"]
# layer -> the folders and single headers of skep that it may include, besides itself
MAY_INCLUDE = {
    "core": [],
    "codec": ["core"],
    "crypto": ["core"],
    "async": ["core"],
    "kademlia": ["core"],
    "p2p": LOW,
    "dht": LOW + P2P_NAMES,
    "dht facade": LOW + ["p2p", "dht"],
    "sim": LOW + P2P_NAMES + ["dht", "dht facade"],
    "moe": LOW + P2P_NAMES + ["dht", "dht facade"],
    "tensor": LOW + P2P_NAMES + ["p2p/host.hpp", "dht", "dht facade", "moe"],
    "cli": LOW + ["p2p", "dht", "dht facade", "moe", "tensor"],
    "umbrella": LOW + ["p2p", "dht", "dht facade", "sim", "moe", "tensor", "umbrella"],
}
# the outside world: how its includes begin -> the layers (or single headers) that may see it
LIBRARIES = {
    r"asio": ["async", "p2p", "sim", "cli/http_server.hpp"],
    r"sodium|openssl/": ["crypto"],
    r"protozero/": ["codec"],
    r"nlohmann/": ["dht/json.hpp", "dht facade", "moe", "tensor", "cli"],
    r"torch/|ATen/|c10/": ["moe/tensor/torch.hpp", "moe/tensor/torch_script.hpp"],
    r"CLI/|spdlog/": ["cli"],
    r"doctest|gtest|boost/|absl/|fmt/": [],
}


def layer(name: str) -> str:
    """The layer of a header, named by its path below include/skep."""
    parts = name.split("/")
    if len(parts) == 1:
        return "dht facade" if name == "dht.hpp" else "umbrella"
    if name in ("dht/dht.hpp", "dht/dht_options.hpp", "dht/node.hpp", "dht/json.hpp"):
        return "dht facade"
    if parts[0] == "moe" and len(parts) > 2 and name not in ("moe/client/call.hpp", "moe/client/dispatch.hpp"):
        return "tensor"
    return parts[0]


def allowed(source: str, target: str) -> bool:
    mine, theirs = layer(source), layer(target)
    return mine == theirs or theirs in MAY_INCLUDE[mine] or target in MAY_INCLUDE[mine]


def check_includes(header: pathlib.Path) -> list[str]:
    name = header.relative_to(HEADERS).as_posix()
    problems = []
    text = header.read_text()
    lines = text.splitlines()
    if not lines or not lines[0].startswith("// ") or "#pragma once" not in text:
        problems.append(f"{name}: a header opens with one sentence that says what it is for, then #pragma once")
    for number, line in enumerate(lines, 1):
        match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if not match:
            continue
        include = match.group(2)
        if include.startswith("skep/"):
            target = include.removeprefix("skep/")
            if match.group(1) == "<":
                problems.append(f'{name}:{number}: write #include "{include}", with quotes')
            elif not (HEADERS / target).exists():
                problems.append(f"{name}:{number}: there is no {include}")
            elif not allowed(name, target):
                problems.append(f"{name}:{number}: {layer(name)} may not include {include}")
            continue
        if match.group(1) == '"':
            problems.append(f'{name}:{number}: include "{include}" by its path from include/')
        for pattern, seen_by in LIBRARIES.items():
            if re.match(pattern, include) and layer(name) not in seen_by and name not in seen_by:
                problems.append(f"{name}:{number}: {layer(name)} may not see <{include}>")
    return problems


def check_door(headers: list[pathlib.Path]) -> list[str]:
    """Whoever names a tensor includes the door to LibTorch, directly or through headers of ours."""
    includes = {h.relative_to(HEADERS).as_posix(): set(re.findall(r'#include "skep/([^"]+)"', h.read_text())) for h in headers}

    def reaches(name: str, seen: set[str]) -> bool:
        seen.add(name)
        return name == DOOR or any(n not in seen and reaches(n, seen) for n in includes.get(name, ()))

    names = re.compile(r"\b(torch::|at::|c10::|Tensor\b)")
    return [
        f"{name}: names LibTorch's types but does not include skep/{DOOR}"
        for name in includes
        if layer(name) == "tensor" and names.search((HEADERS / name).read_text()) and not reaches(name, set())
    ]


def check_reach(build: pathlib.Path) -> tuple[int, list[str]]:
    """What the compiler opened for each header that stands alone in build/: LibTorch only in the layers above moe/."""
    output = subprocess.run(["ninja", "-C", build, "-t", "deps"], check=True, capture_output=True, text=True).stdout
    checked, problems = 0, []
    for block in output.split("\n\n"):
        first, *files = block.strip().splitlines() or [""]
        match = re.search(r"verify_interface_header_sets\.dir/.*verify_interface_header_sets/(?:skep/)?(.+\.hpp)\.cxx\.o:", first)
        if not match:
            continue
        name = match.group(1)
        if layer(name) in ("tensor", "cli") or name in ("moe.hpp",):
            continue
        checked += 1
        reached = [f.strip() for f in files if re.search(r"/usr/include/(torch|ATen|c10|caffe2)/", f)]
        if reached:
            problems.append(f"{name} reaches LibTorch: {reached[0]}")
    if checked == 0:
        problems.append(f"{build} has no compiled header: build all_verify_interface_header_sets first")
    return checked, problems


def main() -> int:
    headers = sorted(HEADERS.rglob("*.hpp"))
    problems = [problem for header in headers for problem in check_includes(header)] + check_door(headers)
    failed = len({p.split(":")[0] for p in problems})
    passed = len(headers) - failed
    if len(sys.argv) > 1:
        checked, reached = check_reach(pathlib.Path(sys.argv[1]))
        problems += reached
        failed += len(reached)
        passed += max(0, checked - len(reached))
    print(*problems, sep="\n", end="\n" if problems else "")
    print(f"{passed} passed, {failed} failed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
