"""Writes the golden values of tests/golden/.

    python tools/golden/generate.py                    write the files
    python tools/golden/generate.py --check            compare with the files instead
    python tools/golden/generate.py [--check] NAME...  only those of these optimizers
"""

import argparse
import os
import pathlib
import sys

# Without fused multiply-add and wide vectors the results do not depend on the
# processor. Both are read when the libraries are loaded.
os.environ["ATEN_CPU_CAPABILITY"] = "default"
os.environ["XLA_FLAGS"] = "--xla_cpu_max_isa=SSE4_2"
os.environ["JAX_PLATFORMS"] = "cpu"
sys.dont_write_bytecode = True

import optimizers

DIRECTORY = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument(
        "--check",
        action="store_true",
        help="write nothing; fail if a file differs from what would be written",
    )
    arguments.add_argument("names", nargs="*", metavar="NAME")
    arguments = arguments.parse_args()
    differing = []
    for name in arguments.names or optimizers.names():
        cases = optimizers.load(name).cases()
        text = cases.text()
        path = DIRECTORY / f"{name}.json"
        print(f"{path.name}: {len(cases.lines)} cases, {len(text)} bytes", flush=True)
        if not arguments.check:
            DIRECTORY.mkdir(parents=True, exist_ok=True)
            path.write_text(text, newline="\n")
        elif not path.exists() or path.read_text() != text:
            differing.append(path.name)
    if differing:
        sys.exit(f"different: {', '.join(differing)}")


if __name__ == "__main__":
    main()
