#!/usr/bin/env python3
"""Every header include/skep/x/y.hpp has its test tests/x/y_test.cpp, which includes it first; no test is without cases."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEADERS, TESTS = ROOT / "include" / "skep", ROOT / "tests"


def check(header: pathlib.Path) -> str | None:
    name = header.relative_to(HEADERS).with_suffix("")
    test = TESTS / name.parent / f"{name.name}_test.cpp"
    if not test.exists():
        return f"{header.relative_to(ROOT)} has no test {test.relative_to(ROOT)}"
    text = test.read_text()
    first = re.search(r'^#include ([<"].*[>"])', text, re.MULTILINE)
    if not first or first.group(1) not in (f'"skep/{name}.hpp"', f"<skep/{name}.hpp>"):
        return f"{test.relative_to(ROOT)} does not include its header first"
    if not re.search(r"\bTEST_CASE\w*\s*\(", text) and not re.search(r"\bCO_TEST_CASE\s*\(", text):
        return f"{test.relative_to(ROOT)} has no test case"
    return None


def main() -> int:
    headers = sorted(HEADERS.rglob("*.hpp"))
    problems = [problem for problem in map(check, headers) if problem]
    print(*problems, sep="\n", end="\n" if problems else "")
    print(f"{len(headers) - len(problems)} passed, {len(problems)} failed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
