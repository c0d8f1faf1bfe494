"""Compares the training steps of the example `mlp` with the same in NumPy.

    cargo build --release --example mlp
    python tools/peers/versus_numpy.py

Both run in turn, several times, so that a change in the load of the machine meets both.
The table shows the medians and the smallest times, in microseconds per step, and their
ratios; below 1, downhill is faster. Both sides must end at the same training loss.
"""

import argparse
import json
import math
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
EXAMPLE = HERE.parents[1] / "target" / "release" / "examples" / "mlp"
SAMPLES = 799
BATCH_SIZE = 32


def run(command):
    """The JSON object that `command` prints."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"exit status {done.returncode}: {' '.join(map(str, command))}")
    return json.loads(done.stdout)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15, help="runs of each side")
    parser.add_argument("--epochs", type=int, default=20, help="epochs of each run")
    parser.add_argument(
        "--example",
        type=pathlib.Path,
        default=EXAMPLE,
        metavar="PATH",
        help="the built example (default: target/release/examples/mlp)",
    )
    parser.add_argument(
        "--python",
        default=sys.executable,
        metavar="PATH",
        help="the interpreter which has numpy (default: this one)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


def main():
    options = arguments()
    epochs = ["--epochs", str(options.epochs)]
    mlp = "--data deck --optimizer adam --lr 0.001 --device flex --json".split()
    sides = {
        "downhill": [options.example, *mlp, *epochs],
        "numpy": [options.python, HERE / "numpy_mlp.py", "--lr", "0.001", *epochs],
    }
    steps = options.epochs * math.ceil(SAMPLES / BATCH_SIZE)
    times = {side: [] for side in sides}
    losses = {}
    for _ in range(options.repeats):
        for side, command in sides.items():
            result = run(command)
            times[side].append(1e6 * result["seconds"] / steps)
            losses[side] = result["train_loss"]
    if not math.isclose(*losses.values(), rel_tol=1e-4):
        sys.exit(f"the sides do not train the same: {losses}")
    row = {"steps": steps, "train_loss": losses["downhill"]}
    for name, summary in (("median", statistics.median), ("least", min)):
        for side in sides:
            row[f"{side}_{name}_us"] = round(summary(times[side]), 1)
        ratio = row[f"downhill_{name}_us"] / row[f"numpy_{name}_us"]
        row[f"{name}_ratio"] = round(ratio, 3)
    if options.json:
        print(json.dumps(row))
        return
    print(f"{'us per step':12} {'downhill':>9} {'numpy':>9} {'ratio':>6}")
    for name in ("median", "least"):
        ours, theirs = row[f"downhill_{name}_us"], row[f"numpy_{name}_us"]
        print(f"{name:12} {ours:9.1f} {theirs:9.1f} {row[f'{name}_ratio']:6.2f}")


if __name__ == "__main__":
    main()
