"""Compares the step time of downhill with that of torch.

    python tools/peers/versus.py --optimizer adam sgd --parameters 1000000

For every optimizer and size the benchmark `versus` and `torch_step.py` run in
turn, several times, so that a change in the load of the machine meets both. The
table shows the medians, in nanoseconds per parameter; a ratio below 1 means that
downhill is faster.

Each size is measured twice: as programs run by default, and with the memory retained
that they free. By default glibc gives large pieces back to the system, and the page
faults of the next gradient can take longer than a step.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OPTIMIZERS = (
    "sgd",
    "momentum",
    "adagrad",
    "rmsprop",
    "adam",
    "adamw",
    "nadam",
    "adafactor",
)


# What glibc is told so that it keeps what is freed, on both sides.
RETAINED = {
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_MMAP_THRESHOLD_": "100000000000",
}
MEMORY = {"default": {}, "retained": RETAINED}


def rows(command, environment):
    """Runs `command` in the repository and parses its lines of JSON."""
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    if done.returncode != 0:
        sys.exit(f"exit status {done.returncode}: {' '.join(map(str, command))}")
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return [json.loads(line) for line in lines]


def time_of(field, name, parameters, command, environment):
    """The number in `field` of the row for this optimizer and size."""
    for row in rows(command, environment):
        if (row["optimizer"], row["parameters"]) == (name, parameters):
            return row[field]
    sys.exit(f"no row for {name}, {parameters}: {' '.join(map(str, command))}")


def count(text):
    """A positive whole number, also as 1e6 or 1_000_000."""
    number = float(text)
    if number < 1 or number != int(number):
        raise argparse.ArgumentTypeError(f"not a positive whole number: {text}")
    return int(number)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--optimizer",
        nargs="+",
        choices=OPTIMIZERS,
        default=OPTIMIZERS,
        metavar="NAME",
        help=f"any of {', '.join(OPTIMIZERS)} (default: all)",
    )
    parser.add_argument(
        "--parameters",
        nargs="+",
        type=count,
        default=[1_000_000],
        metavar="N",
        help="sizes of the tensor",
    )
    parser.add_argument(
        "--repeats", type=count, default=5, metavar="K", help="runs of each side"
    )
    parser.add_argument(
        "--rounds", type=count, metavar="R", help="timed steps in a run of torch"
    )
    parser.add_argument(
        "--threads", type=count, metavar="T", help="threads for both sides"
    )
    parser.add_argument(
        "--memory",
        nargs="+",
        choices=MEMORY,
        default=list(MEMORY),
        metavar="HOW",
        help="default, or retained by glibc instead of given back (default: both)",
    )
    parser.add_argument(
        "--bench-binary",
        type=pathlib.Path,
        metavar="PATH",
        help="the built benchmark; without it `cargo bench` builds and runs it",
    )
    parser.add_argument(
        "--python",
        default=sys.executable,
        metavar="PATH",
        help="the interpreter which has torch (default: this one)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object per line"
    )
    return parser.parse_args()


def main():
    options = arguments()
    if options.bench_binary:
        bench = [options.bench_binary.resolve()]
    else:
        bench = ["cargo", "bench", "--quiet", "--bench", "versus", "--"]
    torch = [options.python, HERE / "torch_step.py"]
    if options.rounds:
        torch += ["--rounds", str(options.rounds)]
    environment = dict(os.environ)
    if options.threads:
        torch += ["--threads", str(options.threads)]
        environment["RAYON_NUM_THREADS"] = str(options.threads)

    if not options.json:
        print(
            f"{'optimizer':10} {'parameters':>12} {'memory':9} "
            f"{'downhill':>9} {'torch':>9} {'ratio':>6}"
        )
    for name in options.optimizer:
        for parameters in options.parameters:
            request = ["--json", "--optimizer", name, "--parameters", str(parameters)]
            ours = {memory: [] for memory in options.memory}
            theirs = {memory: [] for memory in options.memory}
            for _ in range(options.repeats):
                for memory in options.memory:
                    settings = {**environment, **MEMORY[memory]}
                    for field, program, times in (
                        ("downhill_ns", bench, ours),
                        ("torch_ns", torch, theirs),
                    ):
                        command = program + request
                        times[memory].append(
                            time_of(field, name, parameters, command, settings)
                        )
            for memory in options.memory:
                row = {
                    "optimizer": name,
                    "parameters": parameters,
                    "memory": memory,
                    "downhill_ns": round(statistics.median(ours[memory]), 4),
                    "torch_ns": round(statistics.median(theirs[memory]), 4),
                }
                row["ratio"] = round(row["downhill_ns"] / row["torch_ns"], 4)
                if options.json:
                    print(json.dumps(row), flush=True)
                else:
                    print(
                        f"{name:10} {parameters:12} {memory:9} "
                        f"{row['downhill_ns']:9.3f} {row['torch_ns']:9.3f} "
                        f"{row['ratio']:6.2f}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
