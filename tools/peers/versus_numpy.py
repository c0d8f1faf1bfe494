"""Compares training steps of the deck's network with the same in NumPy.

    cargo build --release --example mlp
    cargo build --release -p downhill-lab
    python tools/peers/versus_numpy.py

The sides, the example `mlp`, the trials of `downhill compare` and NumPy, run in turn,
several times, so that a change in the load of the machine meets all. The table shows the
medians and the smallest times, in microseconds per step, and their ratios to NumPy's; below
1, downhill is faster. The example and NumPy must end at the same training loss; a trial has
weights and batches of its own.
"""

import argparse
import json
import math
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
BUILT = HERE.parents[1] / "target" / "release"
SAMPLES = 799
BATCH_SIZE = 32
RATE = "0.001"


def run(command):
    """The JSON object that `command` prints."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    if done.returncode != 0:
        sys.exit(
            f"exit status {done.returncode}: {' '.join(map(str, command))}\n{done.stderr}"
        )
    return json.loads(done.stdout)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15, help="runs of each side")
    parser.add_argument("--epochs", type=int, default=20, help="epochs of each run")
    parser.add_argument(
        "--built",
        type=pathlib.Path,
        default=BUILT,
        metavar="DIR",
        help="the folder of what cargo built (default: target/release)",
    )
    parser.add_argument(
        "--python",
        default=sys.executable,
        metavar="PATH",
        help="the interpreter which has numpy (default: this one)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


class Sides:
    """What is compared: each method runs one side and gives seconds per step, and its loss."""

    def __init__(self, options):
        self.options = options
        self.epochs = ["--epochs", str(options.epochs)]
        self.steps = options.epochs * math.ceil(SAMPLES / BATCH_SIZE)

    def mlp(self):
        example = self.options.built / "examples" / "mlp"
        what = "--data deck --optimizer adam --device flex --json --lr".split()
        result = run([example, *what, RATE, *self.epochs])
        return result["seconds"] / self.steps, result["train_loss"]

    def compare(self):
        what = "compare --problem deck-mlp --optimizer adam --device flex --json".split()
        rate = ["--seeds", "1", "--lr-grid", f"{RATE}:{RATE}:1"]
        with tempfile.TemporaryDirectory() as folder:
            out = ["--steps", str(self.steps), "--out", folder]
            result = run([self.options.built / "downhill", *what, *rate, *out])
        entry = result["problems"][0]["entries"][0]
        return entry["seconds_per_step"], None

    def numpy(self):
        program = [self.options.python, HERE / "numpy_mlp.py"]
        result = run([*program, "--lr", RATE, *self.epochs])
        return result["seconds"] / self.steps, result["train_loss"]


def main():
    options = arguments()
    sides = Sides(options)
    times = {"mlp": [], "compare": [], "numpy": []}
    losses = {}
    for _ in range(options.repeats):
        for side in times:
            seconds, losses[side] = getattr(sides, side)()
            times[side].append(1e6 * seconds)
    if not math.isclose(losses["mlp"], losses["numpy"], rel_tol=1e-4):
        sys.exit(f"the sides do not train the same: {losses}")
    result = {"steps": sides.steps, "train_loss": losses["mlp"]}
    for name, summary in (("median", statistics.median), ("least", min)):
        row = {side: summary(values) for side, values in times.items()}
        result[name] = {
            side: {"us": round(us, 1), "ratio": round(us / row["numpy"], 3)}
            for side, us in row.items()
        }
    if options.json:
        print(json.dumps(result))
        return
    print(f"{'us per step':12} {'mlp':>7} {'ratio':>6} {'compare':>8} {'ratio':>6} {'numpy':>7}")
    for name in ("median", "least"):
        mlp, compare, numpy = (result[name][side] for side in times)
        print(
            f"{name:12} {mlp['us']:7.1f} {mlp['ratio']:6.2f} {compare['us']:8.1f} "
            f"{compare['ratio']:6.2f} {numpy['us']:7.1f}"
        )


if __name__ == "__main__":
    main()
