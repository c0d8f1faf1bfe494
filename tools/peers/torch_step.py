"""Prints how long torch takes for an optimizer step on the CPU.

    python tools/peers/torch_step.py --optimizer adam --parameters 1000000 --json

Every implementation torch has (fused, foreach and the default) is timed and the
one with the smallest median is reported, in nanoseconds per parameter. The timed
region is `step()` and `zero_grad(set_to_none=True)`. Each step gets a new
gradient tensor, made outside the timed region.
"""

import argparse
import json
import math
import statistics
import sys
import time

import torch

OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {"lr": 1e-3}),
    "momentum": (torch.optim.SGD, {"lr": 1e-3, "momentum": 0.9}),
    "adagrad": (torch.optim.Adagrad, {"lr": 1e-3}),
    "rmsprop": (torch.optim.RMSprop, {"lr": 1e-3}),
    "adam": (torch.optim.Adam, {"lr": 1e-3}),
    "adamw": (torch.optim.AdamW, {"lr": 1e-3}),
    "nadam": (torch.optim.NAdam, {"lr": 1e-3}),
    "adafactor": (torch.optim.Adafactor, {"lr": 1e-3}),
}
FUSED = {torch.optim.SGD, torch.optim.Adagrad, torch.optim.Adam, torch.optim.AdamW}
WARM_UP = 5


def implementations(kind):
    """The names of the implementations and the arguments which select them."""
    if kind in FUSED:
        yield "fused", {"fused": True}
    yield "foreach", {"foreach": True}
    yield "default", {}


def median_step(kind, options, side, rounds):
    """The median time of one step, in nanoseconds."""
    parameter = torch.nn.Parameter(torch.randn(side, side))
    optimizer = kind([parameter], **options)
    times = []
    for i in range(WARM_UP + rounds):
        parameter.grad = torch.randn_like(parameter)
        start = time.perf_counter_ns()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        elapsed = time.perf_counter_ns() - start
        if i >= WARM_UP:
            times.append(elapsed)
    return statistics.median(times)


def measure(name, parameters, rounds):
    """The fastest implementation and its time per parameter."""
    kind, options = OPTIMIZERS[name]
    side = max(1, round(math.sqrt(parameters)))
    medians = {}
    for implementation, choice in implementations(kind):
        try:
            median = median_step(kind, {**options, **choice}, side, rounds)
        except RuntimeError as error:
            print(f"{name}, {implementation}: {error}", file=sys.stderr)
        else:
            medians[implementation] = median / (side * side)
    fastest = min(medians, key=medians.get)
    return fastest, medians[fastest]


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
        default=list(OPTIMIZERS),
        metavar="NAME",
        help=f"any of {', '.join(OPTIMIZERS)} (default: all)",
    )
    parser.add_argument(
        "--parameters",
        nargs="+",
        type=count,
        default=[1_000_000],
        metavar="N",
        help="size of the one tensor, a square matrix with the side rounded",
    )
    parser.add_argument(
        "--rounds", type=count, default=50, metavar="R", help="timed steps"
    )
    parser.add_argument(
        "--threads",
        type=count,
        default=torch.get_num_threads(),
        metavar="T",
        help="threads torch may use",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object per line"
    )
    return parser.parse_args()


def main():
    options = arguments()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    if not options.json:
        print(f"{'optimizer':10} {'parameters':>12} {'fastest':>8} {'ns/param':>9}")
    for name in options.optimizer:
        for parameters in options.parameters:
            implementation, nanoseconds = measure(name, parameters, options.rounds)
            if options.json:
                row = {
                    "optimizer": name,
                    "parameters": parameters,
                    "implementation": implementation,
                    "torch_ns": round(nanoseconds, 4),
                    "threads": options.threads,
                }
                print(json.dumps(row), flush=True)
            else:
                print(
                    f"{name:10} {parameters:12} {implementation:>8} {nanoseconds:9.3f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
