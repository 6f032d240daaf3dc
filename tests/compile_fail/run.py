#!/usr/bin/env python3
"""Every file here shows one wrong use, under #ifdef WRONG: with WRONG the compiler must refuse it with the texts of its
"// expect:" lines, without WRONG it must compile, so that nothing else is the reason. "// flags:" adds options.

usage: tests/compile_fail/run.py [NAME ...]       COMPILER is taken from the environment, clang++-19 by default
"""
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COMPILER = os.environ.get("COMPILER", "clang++-19")
OPTIONS = ["-std=c++20", "-fsyntax-only", "-DASIO_HAS_CO_AWAIT=1", f"-I{ROOT}/include",
           "-isystem", "/usr/include/torch/csrc/api/include"]


def marks(text: str, mark: str) -> list[str]:
    return re.findall(rf"^// {mark}: (.*)$", text, re.MULTILINE)


def compile_file(file: pathlib.Path, extra: list[str]) -> tuple[bool, str]:
    run = subprocess.run([COMPILER, *OPTIONS, *extra, file], capture_output=True, text=True)
    return run.returncode == 0, run.stderr


def check(file: pathlib.Path) -> str | None:
    """What is wrong with a case, or None."""
    text = file.read_text()
    expected = marks(text, "expect")
    if not expected:
        return f"{file.name}: no line \"// expect: ...\""
    fine, output = compile_file(file, [])
    if not fine:
        return f"{file.name}: does not compile even without WRONG\n{output[:2000]}"
    accepted, output = compile_file(file, ["-DWRONG", *" ".join(marks(text, "flags")).split()])
    if accepted:
        return f"{file.name}: the wrong use compiles"
    said = " ".join(re.sub(r'"\s*\n\s*"', "", output).split())
    missing = [sentence for sentence in expected if sentence not in said]
    if missing:
        return f"{file.name}: the compiler does not say {missing}, but\n{output[:2000]}"
    return None


def main() -> int:
    files = sorted(f for f in HERE.glob("*.cpp") if not sys.argv[1:] or f.stem in sys.argv[1:])
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        problems = [problem for problem in pool.map(check, files) if problem]
    print(*problems, sep="\n", end="\n" if problems else "")
    print(f"{len(files) - len(problems)} passed, {len(problems)} failed")
    return 1 if problems or not files else 0


if __name__ == "__main__":
    sys.exit(main())
