"""Prints how long other libraries take for a step of an optimizer of matrices on the CPU.

    python tools/peers/matrices.py --shapes 512x512,1024x1024 --rounds 15 --json

Beside `torch.optim.Muon`, which iterates in bfloat16, the same in float32: the source
of its iteration with another precision. SOAP and Shampoo are pytorch_optimizer's, with
new bases and roots in one of ten steps. The time is that of `step()`, in milliseconds:
a median for Muon, and a mean over ten steps, of which the median is taken, for the
others.
"""

import argparse
import inspect
import json
import statistics
import sys
import time
import types

import pytorch_optimizer
import torch

muon = torch.optim._muon


def in_float32():
    """torch's Muon, whose iteration is in float32."""
    source = inspect.getsource(muon._zeropower_via_newtonschulz)
    assert source.count("torch.bfloat16") == 1
    module = types.ModuleType("muon_float32")
    module.__dict__.update(muon.__dict__)
    exec(source.replace("torch.bfloat16", "torch.float32"), module.__dict__)
    return module._zeropower_via_newtonschulz


ITERATIONS = {
    "torch.optim.Muon": muon._zeropower_via_newtonschulz,
    "torch.optim.Muon, float32": in_float32(),
}


def subjects():
    for name, iteration in ITERATIONS.items():
        yield name, torch.optim.Muon, {}, 1, iteration
    yield (
        "pytorch_optimizer.SOAP",
        pytorch_optimizer.SOAP,
        {"precondition_frequency": 10},
        10,
        None,
    )
    yield (
        "pytorch_optimizer.Shampoo",
        pytorch_optimizer.Shampoo,
        {"preconditioning_compute_steps": 10},
        10,
        None,
    )


def shapes_of(text):
    """Those of a sum, as 16*256x256+4*256x1024."""
    for term in text.split("+"):
        count, _, shape = term.rpartition("*")
        for _ in range(int(count or 1)):
            yield [int(side) for side in shape.split("x")]


class Subject:
    def __init__(self, kind, options, steps, iteration, shapes):
        self.parameters = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
        self.optimizer = kind(self.parameters, lr=1e-3, **options)
        self.gradients = [
            [torch.randn(shape) for shape in shapes] for _ in range(steps)
        ]
        self.iteration = iteration

    def time(self):
        if self.iteration is not None:
            muon._zeropower_via_newtonschulz = self.iteration
        start = time.perf_counter()
        for gradients in self.gradients:
            for parameter, gradient in zip(self.parameters, gradients):
                parameter.grad = gradient
            self.optimizer.step()
        return (time.perf_counter() - start) / len(self.gradients)


def measure(text, rounds, without):
    shapes = list(shapes_of(text))
    made = [
        (name, Subject(kind, options, steps, iteration, shapes))
        for name, kind, options, steps, iteration in subjects()
        if name not in without
    ]
    times = {name: [] for name, _ in made}
    for at in range(rounds + 1):
        for name, subject in made:
            seconds = subject.time()
            if at > 0:
                times[name].append(seconds)
    for name, seconds in times.items():
        yield {"shapes": text, "what": name, "ms": 1e3 * statistics.median(seconds)}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--shapes", default="512x512,1024x1024,16*256x256+4*256x1024+4*1024x256")
    arguments.add_argument("--without", default="", help="what is left out")
    arguments.add_argument("--rounds", type=int, default=15)
    arguments.add_argument("--json", action="store_true")
    arguments = arguments.parse_args()
    for text in arguments.shapes.split(","):
        for row in measure(text, arguments.rounds, arguments.without.split(",")):
            if arguments.json:
                print(json.dumps(row), flush=True)
            else:
                print(f"{text:>12}  {row['what']:28}  {row['ms']:9.2f} ms", flush=True)


if __name__ == "__main__":
    sys.exit(main())
