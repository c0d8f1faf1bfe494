"""Writes the golden values of crates/downhill-schedule/tests/golden/.

python tools/golden/schedules.py            write the files
python tools/golden/schedules.py --check    compare with the files instead
"""

import argparse
import json
import math
import os
import pathlib
import sys

# Without fused multiply-add and wide vectors the results do not depend on the
# processor. The C library reads its setting when the process starts, the others
# theirs when they are loaded.
TUNABLES = "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4"
if __name__ == "__main__" and os.environ.get("GLIBC_TUNABLES") != TUNABLES:
    os.environ["GLIBC_TUNABLES"] = TUNABLES
    os.execv(sys.executable, sys.orig_argv)
os.environ["ATEN_CPU_CAPABILITY"] = "default"
os.environ["XLA_FLAGS"] = "--xla_cpu_max_isa=SSE4_2"
os.environ["NPY_DISABLE_CPU_FEATURES"] = "X86_V3 X86_V4"
os.environ["JAX_PLATFORMS"] = "cpu"
sys.dont_write_bytecode = True

import jax
import numpy as np
import optax
import schedule_formulas as formulas
import torch
import transformers
from inputs import SplitMix64
from torch.optim import lr_scheduler, swa_utils
from transformers.optimization import get_scheduler

jax.config.update("jax_enable_x64", True)

ROOT = pathlib.Path(__file__).resolve().parents[2]
DIRECTORY = ROOT / "crates" / "downhill-schedule" / "tests" / "golden"
LENGTHS = (1, 2, 7, 10, 100, 1000)
SHORT_LENGTHS = (1, 2, 7, 10, 100)


class Call:
    """A call of a library; written out, it is a case's source."""

    def __init__(self, function, **settings):
        self.function = function
        self.settings = settings

    def __repr__(self):
        settings = ", ".join(f"{name}={x!r}" for name, x in self.settings.items())
        return f"{self.function.__name__}({settings})"

    def __call__(self, **common):
        settings = {name: called(x, common) for name, x in self.settings.items()}
        return self.function(**common, **settings)


def called(setting, common):
    if isinstance(setting, Call):
        return setting(**common)
    if isinstance(setting, list):
        return [called(x, common) for x in setting]
    return setting


class Function:
    """A function of the step, with its text."""

    def __init__(self, text, function):
        self.text = text
        self.function = function

    def __repr__(self):
        return self.text

    def __call__(self, k):
        return self.function(k)


class Cases:
    """Collects the cases of one file."""

    def __init__(self, *versions):
        self.head = {
            "generator": "tools/golden/schedules.py",
            "reference": {module.__name__: version(module) for module in versions},
        }
        self.names = set()
        self.lines = []

    def add(self, case, source, config, values, **inputs):
        assert case not in self.names, case
        self.names.add(case)
        values = [float(value) for value in values]
        record = {"case": case, "source": source, "config": config}
        record.update(inputs, values=values)
        line = json.dumps(record, separators=(",", ":"), allow_nan=False)
        self.lines.append(line)

    def text(self):
        opening = json.dumps(self.head)[:-1] + ', "cases": [\n'
        return opening + ",\n".join(self.lines) + "\n]}\n"

    def torch(self, case, scheduler, count, config, lr=0.1, every=1):
        """The first `count` rates of `scheduler`, stepped after `every` updates."""
        optimizer = sgd(lr, resumed="last_epoch" in scheduler.settings)
        built = scheduler(optimizer=optimizer)
        values = []
        for k in range(count):
            values.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if (k + 1) % every == 0 and k + 1 < count:
                built.step()
        source = f"torch {scheduler}, lr={lr}"
        if every != 1:
            source += f", stepped every {every} updates"
        self.add(f"torch/{case}", source, config, values)

    def optax(self, case, schedule, count, config):
        function = schedule()
        values = [np.asarray(function(k)) for k in range(count)]
        assert all(value.dtype == np.float64 for value in values)
        self.add(f"optax/{case}", f"optax {schedule}", config, values)

    def transformers(self, case, name, count, config, lr=0.1, **settings):
        optimizer = sgd(lr)
        general = {}
        for argument in ("num_warmup_steps", "num_training_steps"):
            if argument in settings:
                general[argument] = settings[argument]
        specific = {x: settings[x] for x in settings if x not in general}
        scheduler = get_scheduler(
            name, optimizer, **general, scheduler_specific_kwargs=specific
        )
        values = []
        for _ in range(count):
            values.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        text = "".join(f", {x}={value!r}" for x, value in settings.items())
        source = f"transformers get_scheduler({name!r}{text}), lr={lr}"
        self.add(f"transformers/{case}", source, config, values)

    def formula(self, case, paper, function, count, config, **settings):
        """`settings` are the formula's; without them it has those of `config`."""
        if not settings:
            settings = {x: config[x] for x in config if x != "name"}
        values = [function(k, **settings) for k in range(count)]
        self.add(f"formula/{case}", f"formula: {paper}", config, values)

    def deck(self, case, slide, function, count, config, **settings):
        values = [function(k, **settings) for k in range(count)]
        self.add(f"deck/{case}", f"slide {slide}", config, values)


def version(module):
    return module.__version__.split("+")[0]


def sgd(lr, resumed=False):
    parameter = torch.nn.Parameter(torch.zeros(1))
    group = {"params": [parameter]}
    if resumed:
        group["initial_lr"] = lr
    return torch.optim.SGD([group], lr=lr)


def past(steps):
    """Up to `steps` and a fifth beyond, at least three."""
    return steps + 1 + max(3, steps // 5)


# The configurations


def config(name, **fields):
    return {"name": name, **fields}


def constant(value):
    return config("constant", value=value)


def linear(initial, end, steps):
    return config("linear", initial=initial, end=end, steps=steps)


def step(initial, gamma, step_size):
    return config("step", initial=initial, gamma=gamma, step_size=step_size)


def multi_step(initial, gamma, milestones):
    return config("multi_step", initial=initial, gamma=gamma, milestones=milestones)


def piecewise(interpolation, *points):
    return config("piecewise", points=list(points), interpolation=interpolation)


def exponential(initial, gamma, steps):
    return config("exponential", initial=initial, gamma=gamma, steps=steps)


def polynomial(initial, end, steps, power):
    return config("polynomial", initial=initial, end=end, steps=steps, power=power)


def cosine(peak, floor, steps, periodic=False):
    return config("cosine", peak=peak, floor=floor, steps=steps, periodic=periodic)


def cosine_restarts(peak, floor, period, t_mul=1.0, m_mul=1.0):
    return config(
        "cosine_restarts",
        peak=peak,
        floor=floor,
        period=period,
        t_mul=t_mul,
        m_mul=m_mul,
    )


def cyclic(floor, peak, step_size_up, mode="triangular", **fields):
    return config(
        "cyclic",
        floor=floor,
        peak=peak,
        step_size_up=step_size_up,
        mode=mode,
        **fields,
    )


def one_cycle(peak, steps, **fields):
    return config("one_cycle", peak=peak, steps=steps, **fields)


def inverse_sqrt(peak, timescale):
    return config("inverse_sqrt", peak=peak, timescale=timescale)


def wsd(peak, floor, steps, warmup, decay, decay_shape):
    return config(
        "wsd",
        peak=peak,
        floor=floor,
        steps=steps,
        warmup=warmup,
        decay=decay,
        decay_shape=decay_shape,
    )


def warmup(schedule, steps, start=0.0, shape="linear"):
    if steps == 0:
        return schedule
    fields = {"schedule": schedule, "steps": steps, "from": start, "shape": shape}
    return config("warmup", **fields)


def sequence(milestones, *schedules):
    return config("sequence", schedules=list(schedules), milestones=milestones)


def product(schedule, *multipliers):
    return config("product", schedule=schedule, multipliers=list(multipliers))


def scale(factor, schedule):
    return config("scale", factor=factor, schedule=schedule)


def clamp(schedule, **bounds):
    return config("clamp", **bounds, schedule=schedule)


def shift(steps, schedule):
    return config("shift", steps=steps, schedule=schedule)


def repeat(period, schedule):
    return config("repeat", period=period, schedule=schedule)


def per_epoch(steps_per_epoch, schedule):
    return config("per_epoch", steps_per_epoch=steps_per_epoch, schedule=schedule)


def custom(function):
    return config("custom", function=function)


# torch


def torch_functions(cases):
    def by_lambda(text, function, **settings):
        function = Function(text, function)
        return Call(lr_scheduler.LambdaLR, lr_lambda=function, **settings)

    def by_factor(text, function):
        function = Function(text, function)
        return Call(lr_scheduler.MultiplicativeLR, lr_lambda=function)

    inverse_time = by_lambda("1 / (1 + 0.05 k)", lambda k: 1 / (1 + 0.05 * k))
    sawtooth = by_lambda("0.5^(k mod 7)", lambda k: 0.5 ** (k % 7))
    root = "1 / sqrt(1 + k / 10)", lambda k: 1 / math.sqrt(1 + k / 10)
    clamped = by_lambda(
        "min(0.9, max(0.3, 1 / sqrt(1 + k / 10)))",
        lambda k: min(0.9, max(0.3, 1 / math.sqrt(1 + k / 10))),
    )
    harmonic = by_factor("k / (k + 1)", lambda k: k / (k + 1))
    decay = by_factor("0.95", lambda k: 0.95)

    torch = cases.torch
    for n in (10, 200):
        torch(f"lambda/inverse_time/{n}", inverse_time, n, custom("inverse_time"))
        torch(f"multiplicative/harmonic/{n}", harmonic, n, custom("harmonic"))
        torch(f"multiplicative/decay/{n}", decay, n, exponential(0.1, 0.95, 1))
    torch("lambda/sawtooth", sawtooth, 30, custom("sawtooth"))
    torch("lambda/inverse_sqrt", by_lambda(*root), 100, inverse_sqrt(0.1, 10))
    bounded = clamp(inverse_sqrt(0.3, 10), min=0.3 * 0.3, max=0.3 * 0.9)
    torch("lambda/clamp", clamped, 150, bounded, lr=0.3)
    for n in (1, 25):
        resumed = by_lambda(*root, last_epoch=n - 1)
        torch(f"lambda/resumed/{n}", resumed, 50, shift(-n, inverse_sqrt(0.1, 10)))


def torch_steps(cases):
    def by_step(step_size, **settings):
        return Call(lr_scheduler.StepLR, step_size=step_size, **settings)

    def by_milestones(*milestones, **settings):
        milestones = list(milestones)
        return Call(lr_scheduler.MultiStepLR, milestones=milestones, **settings)

    torch = cases.torch
    for n in SHORT_LENGTHS:
        torch(f"step/{n}", by_step(n), 3 * n + 2, step(0.1, 0.1, n))
    torch("step/gamma", by_step(7, gamma=0.5), 50, step(0.1, 0.5, 7))
    torch("step/gamma_above_one", by_step(7, gamma=1.5), 50, step(0.1, 1.5, 7))
    torch("step/gamma_one", by_step(7, gamma=1.0), 20, step(0.1, 1.0, 7))
    torch("step/long", by_step(30, gamma=0.7), 600, step(2.5, 0.7, 30), lr=2.5)

    for milestones in ([1], [2, 5], [3, 7, 8], [50, 80, 90]):
        name = "multi_step/" + "_".join(map(str, milestones))
        call = by_milestones(*milestones)
        torch(name, call, past(milestones[-1]), multi_step(0.1, 0.1, milestones))
    for name, milestones, given in (
        ("repeated", [3, 3, 7], [3, 3, 7]),
        ("thrice", [4, 9, 9, 9], [9, 4, 9, 9]),
        ("at_zero", [0, 5], [0, 5]),
        ("unsorted", [2, 6, 9], [9, 2, 6]),
    ):
        call = by_milestones(*given, gamma=0.5)
        torch(f"multi_step/{name}", call, 15, multi_step(0.1, 0.5, milestones))
    call = by_milestones(3, 8, gamma=2.0)
    torch("multi_step/gamma_above_one", call, 15, multi_step(0.1, 2.0, [3, 8]))
    milestones = [300, 600, 600, 900]
    call = by_milestones(*milestones, gamma=0.3)
    torch("multi_step/long", call, 1200, multi_step(0.1, 0.3, milestones))

    for n in SHORT_LENGTHS:
        call = Call(lr_scheduler.ConstantLR, factor=0.25, total_iters=n)
        points = piecewise("constant", [0, 0.1 * 0.25], [n, 0.1])
        torch(f"constant/{n}", call, past(n), points)
    factors = piecewise("constant", [0, 1.0 / 3.0], [5, 1.0])
    call = Call(lr_scheduler.ConstantLR)
    torch("constant/default", call, 10, product(constant(0.1), factors))
    for factor in (0.0, 1.0):
        call = Call(lr_scheduler.ConstantLR, factor=factor, total_iters=50)
        torch(f"constant/factor_{factor}", call, 50, constant(0.1 * factor))


def torch_lines(cases):
    def line(**settings):
        return Call(lr_scheduler.LinearLR, **settings)

    torch = cases.torch
    for n in LENGTHS:
        call = line(start_factor=0.1, total_iters=n)
        torch(f"linear/{n}", call, past(n), linear(0.1 * 0.1, 0.1, n))
    torch("linear/default", line(), 8, linear(0.1 / 3.0, 0.1, 5))
    call = line(start_factor=1.0, end_factor=0.01, total_iters=10)
    torch("linear/down", call, 14, linear(0.1, 0.1 * 0.01, 10))
    call = line(start_factor=0.8, end_factor=0.0, total_iters=100)
    torch("linear/to_zero", call, 130, linear(0.1 * 0.8, 0.0, 100))
    call = line(start_factor=0.2, end_factor=0.2, total_iters=7)
    torch("linear/level", call, 10, linear(0.1 * 0.2, 0.1 * 0.2, 7))
    call = line(start_factor=0.001, total_iters=20)
    torch("linear/as_warmup", call, 30, warmup(constant(3.0), 20, 3.0 * 0.001), lr=3.0)

    def polynomial_lr(**settings):
        return Call(lr_scheduler.PolynomialLR, **settings)

    for n in LENGTHS:
        for power in (0.5, 2.0):
            call = polynomial_lr(total_iters=n, power=power)
            count = past(n) if n < 1000 or power == 2.0 else 100
            torch(
                f"polynomial/{power}/{n}", call, count, polynomial(0.1, 0.0, n, power)
            )
    for power in (0.9, 1.0, 3.0, 4.5):
        call = polynomial_lr(total_iters=30, power=power)
        torch(f"polynomial/power_{power}", call, 40, polynomial(0.1, 0.0, 30, power))
    torch("polynomial/default", polynomial_lr(), 8, polynomial(0.1, 0.0, 5, 1.0))

    for gamma, count in ((0.9, 100), (0.99, 600), (1.0, 10), (1.05, 100)):
        call = Call(lr_scheduler.ExponentialLR, gamma=gamma)
        torch(f"exponential/{gamma}", call, count, exponential(0.1, gamma, 1))


def torch_cosines(cases):
    def annealing(**settings):
        return Call(lr_scheduler.CosineAnnealingLR, **settings)

    torch = cases.torch
    for n in LENGTHS:
        call = annealing(T_max=n)
        torch(f"cosine/{n}", call, n + 1, cosine(0.1, 0.0, n))
    for n in (1, 2, 7, 10):
        call = annealing(T_max=n)
        torch(f"cosine/periodic/{n}", call, 9 * n + 4, cosine(0.1, 0.0, n, True))
        call = annealing(T_max=n, eta_min=0.01)
        torch(f"cosine/eta_min/{n}", call, 5 * n + 4, cosine(0.1, 0.01, n, True))
    call = annealing(T_max=100)
    torch("cosine/periodic/100", call, 250, cosine(0.1, 0.0, 100, True))
    call = annealing(T_max=10, eta_min=0.2)
    torch("cosine/periodic/long", call, 500, cosine(1.5, 0.2, 10, True), lr=1.5)

    def restarts(**settings):
        return Call(lr_scheduler.CosineAnnealingWarmRestarts, **settings)

    for t_mult in (1, 2, 3, 10):
        for n in SHORT_LENGTHS:
            call = restarts(T_0=n, T_mult=t_mult)
            count = min(past(n * (1 + t_mult + t_mult**2)), 350)
            written = cosine_restarts(0.1, 0.0, n, float(t_mult))
            torch(f"restarts/{t_mult}/{n}", call, count, written)
    call = restarts(T_0=7)
    torch("restarts/default", call, 30, cosine_restarts(0.1, 0.0, 7))
    torch("restarts/as_repeat", call, 30, repeat(7, cosine(0.1, 0.0, 7)))
    call = restarts(T_0=37)
    torch("restarts/long/1", call, 500, cosine_restarts(0.1, 0.0, 37))
    call = restarts(T_0=5, T_mult=2, eta_min=0.003)
    torch("restarts/long/2", call, 1300, cosine_restarts(0.1, 0.003, 5, 2.0))
    call = restarts(T_0=10, T_mult=10, eta_min=0.01)
    torch("restarts/long/10", call, 1200, cosine_restarts(2.0, 0.01, 10, 10.0), lr=2.0)
    for t_mult in (1, 3):
        call = restarts(T_0=10, T_mult=t_mult, eta_min=0.02)
        written = cosine_restarts(0.1, 0.02, 10, float(t_mult))
        torch(f"restarts/eta_min/{t_mult}", call, 150, written)

    def averaging(**settings):
        return Call(swa_utils.SWALR, **settings)

    for n in LENGTHS:
        call = averaging(swa_lr=0.05, anneal_epochs=n)
        torch(f"swa/cos/{n}", call, past(n), cosine(0.1, 0.05, n))
        if n == 1000:
            continue
        call = averaging(swa_lr=0.02, anneal_epochs=n, anneal_strategy="linear")
        torch(f"swa/linear/{n}", call, past(n), linear(0.1, 0.02, n))
    torch("swa/default", averaging(swa_lr=0.01), 15, cosine(0.1, 0.01, 10))
    call = averaging(swa_lr=0.4, anneal_epochs=20)
    torch("swa/cos/up", call, 30, piecewise("cosine", [0, 0.1], [20, 0.4]))
    call = averaging(swa_lr=0.4, anneal_epochs=20, anneal_strategy="linear")
    torch("swa/linear/up", call, 30, linear(0.1, 0.4, 20))
    call = averaging(swa_lr=0.4, anneal_epochs=0)
    torch("swa/at_once", call, 5, constant(0.4))


def torch_cycles(cases):
    def cycles(**settings):
        settings = {"base_lr": 0.01, "max_lr": 0.1, **settings}
        return Call(lr_scheduler.CyclicLR, **settings, cycle_momentum=False)

    torch = cases.torch
    for mode in ("triangular", "triangular2", "exp_range"):
        gamma = {"gamma": 0.97} if mode == "exp_range" else {}
        for n in SHORT_LENGTHS:
            call = cycles(step_size_up=n, mode=mode, **gamma)
            written = cyclic(0.01, 0.1, n, mode, **gamma)
            torch(f"cyclic/{mode}/{n}", call, 5 * n // 2 + 30, written)
        for up, down in ((1, 4), (3, 5), (8, 2), (20, 80)):
            call = cycles(step_size_up=up, step_size_down=down, mode=mode, **gamma)
            written = cyclic(0.01, 0.1, up, mode, step_size_down=down, **gamma)
            torch(f"cyclic/{mode}/{up}_{down}", call, 3 * (up + down) + 2, written)
        if mode == "exp_range":
            gamma = {"gamma": 0.998}
        call = cycles(
            base_lr=0.0,
            max_lr=1.5,
            step_size_up=90,
            step_size_down=60,
            mode=mode,
            **gamma,
        )
        written = cyclic(0.0, 1.5, 90, mode, step_size_down=60, **gamma)
        torch(f"cyclic/{mode}/long", call, 500, written)
    torch("cyclic/default", cycles(), 2300, cyclic(0.01, 0.1, 2000))
    call = cycles(step_size_up=5, mode="exp_range")
    torch("cyclic/gamma_one", call, 25, cyclic(0.01, 0.1, 5, "exp_range"))
    # gamma is for exp_range alone.
    call = cycles(step_size_up=5, gamma=0.9)
    torch("cyclic/gamma_unused", call, 25, cyclic(0.01, 0.1, 5))
    corners = piecewise("linear", [0, 0.01], [6, 0.1], [10, 0.01])
    call = cycles(step_size_up=6, step_size_down=4)
    torch("cyclic/as_repeat", call, 45, repeat(10, corners))
    halving = Function("0.5^(x - 1)", lambda x: 0.5 ** (x - 1))
    call = cycles(step_size_up=5, scale_fn=halving)
    torch("cyclic/scale_fn/cycle", call, 45, cyclic(0.01, 0.1, 5, "triangular2"))
    fading = Function("0.9^x", lambda x: 0.9**x)
    call = cycles(step_size_up=5, scale_fn=fading, scale_mode="iterations")
    written = cyclic(0.01, 0.1, 5, "exp_range", gamma=0.9)
    torch("cyclic/scale_fn/iterations", call, 45, written)

    def one(**settings):
        settings = {"max_lr": 0.1, **settings}
        return Call(lr_scheduler.OneCycleLR, **settings, cycle_momentum=False)

    for n in LENGTHS:
        torch(f"one_cycle/{n}", one(total_steps=n), n, one_cycle(0.1, n))
    for n in (2, 7, 10, 100):
        call = one(total_steps=n, three_phase=True)
        torch(
            f"one_cycle/three_phase/{n}", call, n, one_cycle(0.1, n, three_phase=True)
        )
    for n in (7, 10, 100):
        call = one(total_steps=n, anneal_strategy="linear")
        torch(f"one_cycle/linear/{n}", call, n, one_cycle(0.1, n, anneal="linear"))
        call = one(total_steps=n, anneal_strategy="linear", three_phase=True)
        written = one_cycle(0.1, n, anneal="linear", three_phase=True)
        torch(f"one_cycle/three_phase_linear/{n}", call, n, written)
    for fields in (
        {"pct_start": 0.0},
        {"pct_start": 0.01},
        {"pct_start": 0.45},
        {"pct_start": 1.0},
        {"pct_start": 0.45, "three_phase": True},
        {"pct_start": 0.5, "three_phase": True},
        {"div_factor": 4.0},
        {"div_factor": 1.0},
        {"div_factor": 4.0, "three_phase": True},
        {"final_div_factor": 10.0},
        {"final_div_factor": 1.0},
        {"final_div_factor": 10.0, "three_phase": True},
    ):
        name = "/".join(f"{x}_{value}" for x, value in fields.items())
        written = one_cycle(0.1, 50, **fields)
        torch(f"one_cycle/{name}", one(total_steps=50, **fields), 50, written)
    fields = {"pct_start": 0.2, "div_factor": 10.0, "final_div_factor": 100.0}
    call = one(max_lr=3.0, epochs=6, steps_per_epoch=25, **fields)
    torch("one_cycle/epochs", call, 150, one_cycle(3.0, 150, **fields))
    call = one(total_steps=60, anneal_strategy="linear", three_phase=True, **fields)
    written = one_cycle(0.1, 60, anneal="linear", three_phase=True, **fields)
    torch("one_cycle/everything", call, 60, written)
    call = one(total_steps=60)
    torch("one_cycle/as_torch", call, 60, one_cycle(0.1, 60, boundaries="torch"))


def torch_compositions(cases):
    def sequential(milestones, *schedulers):
        return Call(
            lr_scheduler.SequentialLR,
            schedulers=list(schedulers),
            milestones=milestones,
        )

    def chained(*schedulers):
        return Call(lr_scheduler.ChainedScheduler, schedulers=list(schedulers))

    def cosine_lr(n):
        return Call(lr_scheduler.CosineAnnealingLR, T_max=n)

    def line(start, n):
        return Call(lr_scheduler.LinearLR, start_factor=start, total_iters=n)

    def factor(value, n):
        return Call(lr_scheduler.ConstantLR, factor=value, total_iters=n)

    def decay(gamma):
        return Call(lr_scheduler.ExponentialLR, gamma=gamma)

    def steps(n, gamma):
        return Call(lr_scheduler.StepLR, step_size=n, gamma=gamma)

    def power(n, exponent):
        return Call(lr_scheduler.PolynomialLR, total_iters=n, power=exponent)

    torch = cases.torch
    for rising, falling in ((1, 1), (2, 5), (3, 7), (10, 90)):
        call = sequential([rising], line(0.01, rising), cosine_lr(falling))
        down = cosine(0.1, 0.0, falling)
        name = f"{rising}_{falling}"
        written = warmup(down, rising, 0.1 * 0.01)
        torch(f"sequential/warmup/{name}", call, rising + falling + 1, written)
        written = sequence([rising], linear(0.1 * 0.01, 0.1, rising), down)
        torch(f"sequential/cosine/{name}", call, rising + falling + 1, written)
    call = sequential([4], factor(0.5, 100), decay(0.9))
    written = sequence([4], constant(0.05), exponential(0.1, 0.9, 1))
    torch("sequential/two", call, 20, written)
    call = sequential([5, 25], line(0.2, 8), steps(6, 0.5), power(20, 2.0))
    written = sequence(
        [5, 25],
        linear(0.1 * 0.2, 0.1, 8),
        step(0.1, 0.5, 6),
        polynomial(0.1, 0.0, 20, 2.0),
    )
    torch("sequential/three", call, 55, written)
    call = sequential(
        [100, 400, 700],
        line(0.001, 100),
        Call(lr_scheduler.CosineAnnealingWarmRestarts, T_0=50, T_mult=2, eta_min=0.01),
        Call(lr_scheduler.MultiStepLR, milestones=[50, 150], gamma=0.2),
        decay(0.99),
    )
    written = sequence(
        [100, 400, 700],
        linear(1.2 * 0.001, 1.2, 100),
        cosine_restarts(1.2, 0.01, 50, 2.0),
        multi_step(1.2, 0.2, [50, 150]),
        exponential(1.2, 0.99, 1),
    )
    torch("sequential/long", call, 1000, written, lr=1.2)

    call = chained(line(0.1, 10), steps(8, 0.5))
    written = product(linear(0.1 * 0.1, 0.1, 10), step(1.0, 0.5, 8))
    torch("chained/linear_step", call, 50, written)
    call = chained(factor(0.2, 6), decay(0.9))
    hold = piecewise("constant", [0, 0.2], [6, 1.0])
    torch(
        "chained/constant_exponential",
        call,
        30,
        product(exponential(0.1, 0.9, 1), hold),
    )
    call = chained(cosine_lr(40), line(0.25, 5), decay(0.98))
    written = product(
        cosine(0.1, 0.0, 40), linear(0.25, 1.0, 5), exponential(1.0, 0.98, 1)
    )
    torch("chained/three", call, 41, written)
    milestones = [100, 300, 600]
    call = chained(
        power(800, 1.5),
        Call(lr_scheduler.MultiStepLR, milestones=milestones, gamma=0.5),
    )
    written = product(polynomial(0.1, 0.0, 800, 1.5), multi_step(1.0, 0.5, milestones))
    torch("chained/long", call, 1000, written)
    call = chained(factor(0.5, 10**6), cosine_lr(30))
    torch("chained/scale", call, 31, scale(0.5, cosine(0.1, 0.0, 30)))
    call = chained(factor(0.125, 10**6), steps(7, 0.3))
    torch("chained/scale_step", call, 40, scale(0.125, step(0.1, 0.3, 7)))
    # The milestone sets the rate anew, so the steps have to come after it.
    call = chained(sequential([6], line(0.1, 6), decay(0.95)), steps(8, 0.5))
    first = sequence([6], linear(0.1 * 0.1, 0.1, 6), exponential(0.1, 0.95, 1))
    torch("chained/sequential", call, 40, product(first, step(1.0, 0.5, 8)))

    for every in (1, 2, 7):
        call = steps(3, 0.5)
        written = per_epoch(every, step(0.1, 0.5, 3))
        torch(f"per_epoch/step/{every}", call, 12 * every + 3, written, every=every)
    written = per_epoch(10, cosine(0.1, 0.0, 8))
    torch("per_epoch/cosine", cosine_lr(8), 90, written, every=10)
    call = sequential([3], line(0.1, 3), cosine_lr(27))
    written = per_epoch(16, warmup(cosine(0.1, 0.0, 27), 3, 0.1 * 0.1))
    torch("per_epoch/long", call, 496, written, every=16)


# optax


def optax_lines(cases):
    go = cases.optax
    call = Call(optax.constant_schedule, value=0.3)
    go("constant", call, 10, constant(0.3))

    def line(first, last, n, **settings):
        return Call(
            optax.linear_schedule,
            init_value=first,
            end_value=last,
            transition_steps=n,
            **settings,
        )

    for n in SHORT_LENGTHS:
        go(f"linear/down/{n}", line(0.1, 0.001, n), past(n), linear(0.1, 0.001, n))
    for n in (7, 100):
        go(f"linear/up/{n}", line(0.0, 0.1, n), past(n), linear(0.0, 0.1, n))
    written = shift(6, linear(0.1, 0.0, 20))
    go("linear/transition_begin", line(0.1, 0.0, 20, transition_begin=6), 35, written)
    go("linear/no_steps", line(0.1, 0.0, 0), 5, constant(0.1))

    def powers(first, last, exponent, n, **settings):
        return Call(
            optax.polynomial_schedule,
            init_value=first,
            end_value=last,
            power=exponent,
            transition_steps=n,
            **settings,
        )

    for n in LENGTHS:
        written = polynomial(0.1, 0.01, n, 2.0)
        go(f"polynomial/{n}", powers(0.1, 0.01, 2.0, n), past(n), written)
    for exponent in (0.5, 1.0, 1.5, 3.0):
        written = polynomial(0.1, 0.01, 40, exponent)
        go(f"polynomial/power_{exponent}", powers(0.1, 0.01, exponent, 40), 55, written)
    for begin in (1, 10, 100):
        call = powers(0.1, 0.0, 2.0, 20, transition_begin=begin)
        written = shift(begin, polynomial(0.1, 0.0, 20, 2.0))
        go(f"polynomial/transition_begin_{begin}", call, begin + 30, written)
    go("polynomial/up", powers(0.0, 0.1, 3.0, 20), 30, polynomial(0.0, 0.1, 20, 3.0))
    call = powers(0.1, 0.0, 2.0, 20, transition_begin=-5)
    go("polynomial/negative_begin", call, 30, polynomial(0.1, 0.0, 20, 2.0))

    def decay(n, rate, **settings):
        return Call(
            optax.exponential_decay,
            init_value=0.1,
            transition_steps=n,
            decay_rate=rate,
            **settings,
        )

    for n in LENGTHS:
        count = min(3 * n + 2, 1000)
        go(f"exponential/{n}", decay(n, 0.5), count, exponential(0.1, 0.5, n))
    for n in SHORT_LENGTHS:
        call = decay(n, 0.5, staircase=True)
        go(f"exponential/staircase/{n}", call, 4 * n + 2, step(0.1, 0.5, n))
    for begin in (5, 23):
        for name, staircase, written in (
            ("smooth", False, exponential(0.1, 0.6, 10)),
            ("staircase", True, step(0.1, 0.6, 10)),
        ):
            call = decay(10, 0.6, transition_begin=begin, staircase=staircase)
            go(
                f"exponential/transition_begin_{begin}/{name}",
                call,
                60,
                shift(begin, written),
            )
    call = decay(10, 0.5, end_value=0.02)
    go("exponential/end_value", call, 50, clamp(exponential(0.1, 0.5, 10), min=0.02))
    call = decay(10, 2.0, end_value=0.7)
    go(
        "exponential/end_value_above",
        call,
        50,
        clamp(exponential(0.1, 2.0, 10), max=0.7),
    )
    call = decay(10, 1.5)
    go("exponential/rate_above_one", call, 50, exponential(0.1, 1.5, 10))
    call = decay(7, 0.5, transition_begin=12, staircase=True, end_value=0.015)
    written = clamp(shift(12, step(0.1, 0.5, 7)), min=0.015)
    go("exponential/everything", call, 60, written)


def optax_cosines(cases):
    go = cases.optax

    def decay(n, **settings):
        return Call(
            optax.cosine_decay_schedule, init_value=0.1, decay_steps=n, **settings
        )

    for n in LENGTHS:
        go(f"cosine/{n}", decay(n), past(n), cosine(0.1, 0.0, n))
        if n < 1000:
            written = cosine(0.1, 0.1 * 0.2, n)
            go(f"cosine/alpha/{n}", decay(n, alpha=0.2), past(n), written)
    # A power of the cosine is a product; with alpha there is none.
    unit = cosine(1.0, 0.0, 30)
    written = product(cosine(0.1, 0.0, 30), unit)
    go("cosine/exponent_2", decay(30, exponent=2.0), 40, written)
    written = product(cosine(0.1, 0.0, 30), unit, unit)
    go("cosine/exponent_3", decay(30, exponent=3.0), 40, written)

    def warm(first, peak, rising, n, **settings):
        return Call(
            optax.warmup_cosine_decay_schedule,
            init_value=first,
            peak_value=peak,
            warmup_steps=rising,
            decay_steps=n,
            **settings,
        )

    for rising, n in ((1, 2), (2, 7), (3, 10), (10, 100), (100, 1000)):
        written = warmup(cosine(0.1, 0.0, n - rising), rising)
        go(f"warmup_cosine/{n}", warm(0.0, 0.1, rising, n), past(n), written)
    call = warm(0.02, 0.5, 5, 20, end_value=0.01)
    go("warmup_cosine/values", call, 28, warmup(cosine(0.5, 0.01, 15), 5, 0.02))
    call = warm(0.3, 0.1, 5, 20)
    go("warmup_cosine/from_above", call, 28, warmup(cosine(0.1, 0.0, 15), 5, 0.3))
    go("warmup_cosine/no_warmup", warm(0.02, 0.5, 0, 20), 28, cosine(0.5, 0.0, 20))
    written = warmup(product(cosine(0.1, 0.0, 15), cosine(1.0, 0.0, 15)), 5)
    go("warmup_cosine/exponent_2", warm(0.0, 0.1, 5, 20, exponent=2.0), 28, written)

    def cycle(first, peak, rising, n, last):
        return {
            "init_value": first,
            "peak_value": peak,
            "warmup_steps": rising,
            "decay_steps": n,
            "end_value": last,
        }

    for name, cycles in {
        "one": [cycle(0.0, 0.1, 2, 10, 0.01)],
        "two": [cycle(0.0, 0.1, 2, 10, 0.0), cycle(0.0, 0.05, 5, 30, 0.0)],
        "three": [
            cycle(0.01, 0.1, 1, 7, 0.01),
            cycle(0.01, 0.08, 2, 14, 0.005),
            cycle(0.005, 0.06, 4, 28, 0.001),
        ],
        "long": [
            cycle(0.0, 1.0, 20, 100, 0.1),
            cycle(0.1, 0.8, 40, 300, 0.05),
            cycle(0.05, 0.5, 60, 600, 0.0),
        ],
    }.items():
        parts, milestones, total = [], [], 0
        for fields in cycles:
            rising, n = fields["warmup_steps"], fields["decay_steps"]
            down = cosine(fields["peak_value"], fields["end_value"], n - rising)
            parts.append(warmup(down, rising, fields["init_value"]))
            total += n
            milestones.append(total)
        call = Call(optax.sgdr_schedule, cosine_kwargs=cycles)
        written = sequence(milestones[:-1], *parts) if len(parts) > 1 else parts[0]
        go(f"sgdr/{name}", call, past(total), written)


def optax_pieces(cases):
    go = cases.optax
    tables = {
        "none": {},
        "1": {1: 0.5},
        "2": {2: 0.1},
        "7": {3: 0.5, 7: 0.2},
        "10": {1: 3.0, 4: 0.5, 10: 0.1},
        "100": {20: 10.0, 50: 0.3, 51: 0.5, 100: 0.01},
        "unsorted": {9: 0.1, 3: 0.5, 6: 4.0},
        "at_zero": {0: 0.5, 6: 0.5},
        "to_zero": {5: 0.5, 9: 0.0},
        "long": {100: 10.0, 300: 0.5, 600: 0.1, 1000: 0.01},
    }
    for name, table in tables.items():
        points, value = [[0, 0.2]], 0.2
        for boundary, factor in sorted(table.items()):
            value *= factor
            if boundary == 0:
                points = []
            points.append([boundary, value])
        count = past(max(table, default=6))
        settings = {"init_value": 0.2, "boundaries_and_scales": table}
        call = Call(optax.piecewise_constant_schedule, **settings)
        go(f"piecewise_constant/{name}", call, count, piecewise("constant", *points))
        for shape in ("linear", "cosine"):
            call = Call(
                optax.piecewise_interpolate_schedule, interpolate_type=shape, **settings
            )
            go(f"piecewise_{shape}/{name}", call, count, piecewise(shape, *points))
    call = Call(optax.piecewise_constant_schedule, init_value=0.2)
    go("piecewise_constant/default", call, 5, constant(0.2))

    def one_linear(n, **settings):
        settings = {"transition_steps": n, "peak_value": 0.1, **settings}
        return Call(optax.linear_onecycle_schedule, **settings)

    def one_cosine(n, **settings):
        settings = {"transition_steps": n, "peak_value": 0.1, **settings}
        return Call(optax.cosine_onecycle_schedule, **settings)

    phases = {"anneal": "linear", "three_phase": True, "boundaries": "optax"}
    for n in LENGTHS:
        written = one_cycle(0.1, n, boundaries="optax")
        go(f"cosine_onecycle/{n}", one_cosine(n), past(n), written)
        # With one step two boundaries coincide, and a table cannot have both.
        if n > 1:
            written = one_cycle(0.1, n, **phases)
            go(f"linear_onecycle/{n}", one_linear(n), past(n), written)
    for field, value in (
        ("pct_start", 0.0),
        ("pct_start", 0.45),
        ("pct_start", 0.29),
        ("div_factor", 5.0),
        ("final_div_factor", 20.0),
    ):
        n = 100 if value == 0.29 else 40
        name = f"{field}_{value}"
        written = one_cycle(0.1, n, boundaries="optax", **{field: value})
        go(f"cosine_onecycle/{name}", one_cosine(n, **{field: value}), past(n), written)
        written = one_cycle(0.1, n, **phases, **{field: value})
        go(f"linear_onecycle/{name}", one_linear(n, **{field: value}), past(n), written)
    # 0.57 * 100 is 56.99999999999999.
    for value in (0.5, 0.57, 0.9):
        written = one_cycle(0.1, 100, **phases, pct_final=value)
        name = f"linear_onecycle/pct_final_{value}"
        go(name, one_linear(100, pct_final=value), 133, written)
    fields = {"pct_start": 0.2, "div_factor": 8.0, "final_div_factor": 50.0}
    written = one_cycle(2.0, 70, boundaries="optax", **fields)
    call = one_cosine(70, **{"peak_value": 2.0, **fields})
    go("cosine_onecycle/everything", call, 95, written)
    fields["pct_final"] = 0.7
    written = one_cycle(2.0, 70, **phases, **fields)
    call = one_linear(70, **{"peak_value": 2.0, **fields})
    go("linear_onecycle/everything", call, 95, written)


def optax_compositions(cases):
    go = cases.optax

    def warm(first, n):
        return Call(
            optax.warmup_constant_schedule,
            init_value=first,
            peak_value=0.1,
            warmup_steps=n,
        )

    for n in SHORT_LENGTHS:
        go(f"warmup_constant/{n}", warm(0.0, n), past(n), warmup(constant(0.1), n))
    written = warmup(constant(0.1), 10, 0.02)
    go("warmup_constant/init_value", warm(0.02, 10), 15, written)
    written = warmup(constant(0.1), 10, 0.3)
    go("warmup_constant/from_above", warm(0.3, 10), 15, written)

    def warm_decay(rising, n, rate, **settings):
        settings = {
            "init_value": 0.0,
            "peak_value": 0.1,
            "warmup_steps": rising,
            "transition_steps": n,
            "decay_rate": rate,
            **settings,
        }
        return Call(optax.warmup_exponential_decay_schedule, **settings)

    for rising, n in ((1, 1), (2, 5), (3, 7), (10, 90)):
        call = warm_decay(rising, n, 0.5)
        count = rising + 4 * n
        written = warmup(exponential(0.1, 0.5, n), rising)
        go(f"warmup_exponential/{rising}_{n}", call, count, written)
    call = warm_decay(5, 10, 0.5, init_value=0.01)
    written = warmup(exponential(0.1, 0.5, 10), 5, 0.01)
    go("warmup_exponential/init_value", call, 30, written)
    call = warm_decay(5, 10, 0.5, transition_begin=8)
    written = warmup(shift(8, exponential(0.1, 0.5, 10)), 5)
    go("warmup_exponential/transition_begin", call, 40, written)
    call = warm_decay(5, 10, 0.5, staircase=True)
    go("warmup_exponential/staircase", call, 50, warmup(step(0.1, 0.5, 10), 5))
    call = warm_decay(5, 10, 0.5, end_value=0.03)
    written = warmup(clamp(exponential(0.1, 0.5, 10), min=0.03), 5)
    go("warmup_exponential/end_value", call, 40, written)
    call = warm_decay(
        5,
        10,
        1.5,
        init_value=0.01,
        transition_begin=4,
        staircase=True,
        end_value=0.3,
    )
    written = warmup(clamp(shift(4, step(0.1, 1.5, 10)), max=0.3), 5, 0.01)
    go("warmup_exponential/everything", call, 70, written)

    def join(boundaries, *schedules):
        return Call(
            optax.join_schedules, schedules=list(schedules), boundaries=boundaries
        )

    def line(first, last, n):
        return Call(
            optax.linear_schedule, init_value=first, end_value=last, transition_steps=n
        )

    def falling(n, **settings):
        return Call(
            optax.cosine_decay_schedule, init_value=0.1, decay_steps=n, **settings
        )

    def growing(first, n, rate):
        return Call(
            optax.exponential_decay,
            init_value=first,
            transition_steps=n,
            decay_rate=rate,
        )

    level = Call(optax.constant_schedule, value=0.1)
    call = join([6], line(0.05, 0.0, 10), falling(20))
    written = sequence([6], linear(0.05, 0.0, 10), cosine(0.1, 0.0, 20))
    go("join/two", call, 35, written)
    call = join(
        [5, 15, 40], line(0.0, 0.1, 5), level, falling(20), growing(0.01, 4, 0.5)
    )
    written = sequence(
        [5, 15, 40],
        linear(0.0, 0.1, 5),
        constant(0.1),
        cosine(0.1, 0.0, 20),
        exponential(0.01, 0.5, 4),
    )
    go("join/four", call, 60, written)
    call = join([5], growing(0.2, 3, 0.5), join([10], level, falling(7)))
    nested = sequence([10], constant(0.1), cosine(0.1, 0.0, 7))
    written = sequence([5], exponential(0.2, 0.5, 3), nested)
    go("join/nested", call, 30, written)
    for n in (1, 2, 7, 10, 100):
        call = join([n], growing(0.001, n, 100.0), falling(2 * n))
        written = warmup(cosine(0.1, 0.0, 2 * n), n, 0.001, "exponential")
        go(f"join/exponential_warmup/{n}", call, past(3 * n), written)
        bump = Call(
            optax.piecewise_interpolate_schedule,
            interpolate_type="cosine",
            init_value=0.01,
            boundaries_and_scales={n: 10.0},
        )
        call = join([n], bump, line(0.1, 0.0, 2 * n))
        written = warmup(linear(0.1, 0.0, 2 * n), n, 0.01, "cosine")
        go(f"join/cosine_warmup/{n}", call, past(3 * n), written)
    call = join([150], growing(0.001, 150, 100.0), falling(300, alpha=0.1))
    written = warmup(cosine(0.1, 0.1 * 0.1, 300), 150, 0.001, "exponential")
    go("join/long", call, 520, written)


# transformers


# The number of steps, and how many of them are the warmup.
RUNS = ((1, 0), (2, 1), (7, 2), (10, 0), (10, 3), (100, 10), (1000, 100))


def transformers_linear(cases):
    go = cases.transformers
    go("constant", "constant", 10, constant(0.1))
    for n, rising in RUNS:
        steps = {"num_warmup_steps": rising, "num_training_steps": n}
        left = n - rising
        name = f"{n}_{rising}"
        if n < 1000:
            written = warmup(linear(0.1, 0.0, left), rising)
            go(f"linear/{name}", "linear", past(n), written, **steps)
        written = warmup(polynomial(0.1, 0.001, left, 2.0), rising)
        settings = {**steps, "lr_end": 0.001, "power": 2.0}
        go(f"polynomial/{name}", "polynomial", past(n), written, **settings)
        if rising > 0:
            written = warmup(constant(0.1), rising)
            settings = {"num_warmup_steps": rising}
            name = f"constant_with_warmup/{name}"
            go(name, "constant_with_warmup", past(rising), written, **settings)
    steps = {"num_warmup_steps": 5, "num_training_steps": 40}
    written = warmup(polynomial(0.1, 1e-7, 35, 1.0), 5)
    go("polynomial/default", "polynomial", 55, written, **steps)
    written = warmup(polynomial(0.1, 1e-7, 35, 0.5), 5)
    go("polynomial/power", "polynomial", 55, written, **steps, power=0.5)
    written = warmup(polynomial(0.1, 0.05, 35, 1.0), 5)
    go("polynomial/lr_end", "polynomial", 55, written, **steps, lr_end=0.05)
    written = scale(0.3, warmup(linear(1.0, 0.0, 35), 5))
    go("linear/as_scale", "linear", 55, written, lr=0.3, **steps)

    for rising in (1, 2, 7, 10, 100):
        written = warmup(inverse_sqrt(0.1, rising), rising)
        settings = {"num_warmup_steps": rising}
        count = min(10 * rising + 5, 400)
        go(f"inverse_sqrt/{rising}", "inverse_sqrt", count, written, **settings)
    written = warmup(inverse_sqrt(0.1, 30), 8)
    settings = {"num_warmup_steps": 8, "timescale": 30}
    go("inverse_sqrt/timescale", "inverse_sqrt", 150, written, **settings)
    written = inverse_sqrt(0.1, 10_000)
    go("inverse_sqrt/no_warmup", "inverse_sqrt", 300, written, num_warmup_steps=0)


def transformers_cosine(cases):
    go = cases.transformers
    for n, rising in RUNS:
        steps = {"num_warmup_steps": rising, "num_training_steps": n}
        if n < 1000:
            written = warmup(cosine(0.1, 0.0, n - rising), rising)
            go(f"cosine/{n}_{rising}", "cosine", n + 1, written, **steps)
        floor = 0.1 * 0.1
        written = warmup(cosine(0.1, floor, n - rising, True), rising)
        settings = {**steps, "min_lr_rate": 0.1}
        name = f"cosine_with_min_lr/{n}_{rising}"
        go(name, "cosine_with_min_lr", past(n), written, **settings)
        # This one starts at step 1.
        if n == 1000:
            continue
        name = f"cosine_warmup_with_min_lr/{n}_{rising}"
        written = shift(-1, written)
        go(name, "cosine_warmup_with_min_lr", past(n), written, **settings)
    for rising, cycles, half in ((0, 1.0, 30), (6, 1.0, 27), (6, 1.5, 18), (6, 3.0, 9)):
        steps = {"num_warmup_steps": rising, "num_training_steps": 60}
        written = warmup(cosine(0.1, 0.0, half, True), rising)
        name = f"cosine/num_cycles_{cycles}/{rising}"
        go(name, "cosine", 80, written, **steps, num_cycles=cycles)
        written = warmup(cosine(0.1, 0.03, half, True), rising)
        settings = {**steps, "num_cycles": cycles, "min_lr": 0.03}
        name = f"cosine_with_min_lr/num_cycles_{cycles}/{rising}"
        go(name, "cosine_with_min_lr", 80, written, **settings)
        name = f"cosine_warmup_with_min_lr/num_cycles_{cycles}/{rising}"
        go(name, "cosine_warmup_with_min_lr", 80, shift(-1, written), **settings)
    # With a rate to warm up from, the warmup ends a step earlier.
    for rising in (2, 6, 11):
        settings = {
            "num_warmup_steps": rising,
            "num_training_steps": 60,
            "min_lr_rate": 0.2,
            "warmup_lr_rate": 0.1,
        }
        down = cosine(0.1, 0.1 * 0.2, 60 - rising, True)
        written = warmup(down, rising - 1, 0.1 * 0.1)
        name = f"cosine_warmup_with_min_lr/warmup_lr_rate/{rising}"
        go(name, "cosine_warmup_with_min_lr", 80, written, **settings)

    for rising, cycles, period in (
        (0, 1, 7),
        (3, 1, 7),
        (0, 2, 10),
        (2, 2, 1),
        (5, 3, 2),
        (10, 3, 30),
        (10, 4, 25),
        (50, 9, 50),
    ):
        left = cycles * period
        settings = {
            "num_warmup_steps": rising,
            "num_training_steps": rising + left,
            "num_cycles": cycles,
        }
        name = f"{rising}_{cycles}_{period}"
        count = past(rising + left)
        down = cosine_restarts(0.1, 0.0, period)
        written = warmup(sequence([left], down, constant(0.0)), rising)
        go(f"restarts/{name}", "cosine_with_restarts", count, written, **settings)
        if left > 400:
            continue
        down = repeat(period, cosine(0.1, 0.0, period))
        written = warmup(down, rising)
        count = rising + left
        go(
            f"restarts/{name}/repeat",
            "cosine_with_restarts",
            count,
            written,
            **settings,
        )
    settings = {"num_warmup_steps": 4, "num_training_steps": 20}
    written = warmup(cosine(0.1, 0.0, 16), 4)
    go("restarts/default", "cosine_with_restarts", 26, written, **settings)


def transformers_wsd(cases):
    def go(case, count, written, **settings):
        cases.transformers(
            f"wsd/{case}", "warmup_stable_decay", count, written, **settings
        )

    for shape in ("linear", "cosine", "1-sqrt"):
        for n, rising, falling in (
            (1, 0, 1),
            (2, 1, 1),
            (7, 2, 3),
            (10, 0, 4),
            (10, 6, 4),
            (100, 10, 20),
            (1000, 100, 250),
        ):
            settings = {
                "num_warmup_steps": rising,
                "num_training_steps": n,
                "num_decay_steps": falling,
                "decay_type": shape,
            }
            written = wsd(0.1, 0.0, n, rising, falling, shape)
            go(f"{shape}/{n}_{rising}", past(n), written, **settings)
            if n in (7, 100):
                settings["min_lr_ratio"] = 0.15
                floor = 0.1 * 0.15
                down = wsd(0.1, floor, n - rising, 0, falling, shape)
                written = warmup(down, rising, floor)
                go(f"{shape}/min_lr_ratio/{n}", past(n), written, **settings)
    settings = {"num_warmup_steps": 5, "num_stable_steps": 12, "num_decay_steps": 8}
    go("default", 33, wsd(0.1, 0.0, 25, 5, 8, "cosine"), **settings)
    down = wsd(0.1, 0.1 * 0.05, 20, 0, 8, "cosine")
    for shape in ("linear", "cosine"):
        written = warmup(down, 5, 0.1 * 0.05, shape)
        given = {**settings, "warmup_type": shape, "min_lr_ratio": 0.05}
        go(f"warmup_{shape}", 33, written, **given)
    # 1 - sqrt(1 - x) upwards is the polynomial of power 1/2.
    rise = polynomial(0.1 * 0.05, 0.1, 5, 0.5)
    given = {**settings, "warmup_type": "1-sqrt", "min_lr_ratio": 0.05}
    go("warmup_1-sqrt", 33, sequence([5], rise, down), **given)
    wave = cosine(0.1, 0.0, 4, True)
    written = warmup(sequence([12, 20], constant(0.1), wave, constant(0.0)), 5)
    go("num_cycles", 33, written, **settings, num_cycles=1.0)


# Formulas


def restarts_of_any_length(cases):
    def go(case, count, *fields):
        written = cosine_restarts(*fields)
        paper = "Loshchilov and Hutter 2017, m_mul as in Keras"
        cases.formula(case, paper, formulas.cosine_restarts, count, written)

    for n in (1, 2, 7, 10, 100):
        go(f"restarts/2/{n}", min(past(7 * n), 400), 0.1, 0.0, n, 2.0, 0.5)
    for n in (8, 32):
        go(f"restarts/1.5/{n}", 6 * n, 0.1, 0.01, n, 1.5, 1.0)
        go(f"restarts/1.5/m_mul/{n}", 6 * n, 0.1, 0.01, n, 1.5, 0.8)
    for n in (7, 23):
        go(f"restarts/1.1/{n}", 8 * n, 0.1, 0.001, n, 1.1, 1.0)
        go(f"restarts/1.1/m_mul/{n}", 8 * n, 0.1, 0.001, n, 1.1, 0.9)
    for n in (3, 10, 16):
        go(f"restarts/2.5/{n}", 12 * n, 0.1, 0.0, n, 2.5, 0.7)
    go("restarts/1/m_mul", 60, 0.1, 0.02, 9, 1.0, 0.75)
    go("restarts/long/1.1", 1300, 1.5, 0.01, 37, 1.1, 0.95)
    go("restarts/long/2.5", 800, 0.1, 0.001, 20, 2.5, 0.5)


def formula_families(cases):
    def go(family, paper, function, case, count, **fields):
        name = family if case is None else f"{family}/{case}"
        cases.formula(name, paper, function, count, config(family, **fields))

    def noam(case, count, **fields):
        go("noam", "Vaswani et al. 2017", formulas.noam, case, count, **fields)

    for n in LENGTHS:
        count = min(5 * n + 5, 1200)
        noam(n, count, factor=1.0, model_size=512, warmup=n)
    noam("factor", 60, factor=2.5, model_size=512, warmup=20)
    noam("model_size", 60, factor=1.0, model_size=64, warmup=20)

    def rex(case, count, **fields):
        go("rex", "Chen et al. 2021", formulas.rex, case, count, **fields)

    for n in LENGTHS:
        rex(n, past(n), peak=0.1, floor=0.0, steps=n)
    rex("floor", 70, peak=0.3, floor=0.05, steps=50)

    def root(case, count, **fields):
        paper = "Zhai et al. 2022"
        go("inverse_sqrt", paper, formulas.inverse_sqrt, case, count, **fields)

    for n in LENGTHS:
        root(n, min(10 * n, 1000 if n == 1000 else 200), peak=0.1, timescale=n)
    for rising, first in ((1, 0.0), (4, 1e-7), (40, 0.01)):
        settings = {"warmup_init_lr": first, "lr": 0.1, "warmup_updates": rising}
        cases.formula(
            f"inverse_sqrt/fairseq/{rising}",
            "inverse_sqrt of fairseq",
            formulas.fairseq_inverse_sqrt,
            8 * rising + 5,
            warmup(inverse_sqrt(0.1, rising), rising, first),
            **settings,
        )

    def stable(case, count, **fields):
        paper = "Hu et al. 2024, Haegele et al. 2024"
        go("wsd", paper, formulas.wsd, case, count, **fields)

    def repeated(case, count, **fields):
        paper = "Wen et al. 2024, WSD-S"
        go("wsd_repeated", paper, formulas.wsd_repeated, case, count, **fields)

    for shape in ("linear", "cosine", "1-sqrt", "exponential"):
        fields = {"peak": 0.1, "floor": 0.004, "decay_shape": shape}
        for n, rising, falling in (
            (1, 0, 1),
            (2, 1, 1),
            (7, 2, 3),
            (10, 4, 6),
            (100, 10, 20),
        ):
            lengths = {"steps": n, "warmup": rising, "decay": falling}
            stable(f"{shape}/{n}", past(n), **fields, **lengths)
            lengths = {"period": n, "warmup": rising, "decay": falling}
            repeated(f"{shape}/{n}", rising + 3 * n + 2, **fields, **lengths)
        lengths = {"warmup": 30, "decay": 30}
        repeated(f"{shape}/decay_only", 200, **fields, period=30, **lengths)
    for shape in ("1-sqrt", "exponential"):
        fields = {"peak": 2.0, "floor": 0.01, "decay_shape": shape}
        stable(f"{shape}/long", 1200, **fields, steps=1000, warmup=50, decay=300)
        repeated(f"{shape}/long", 1000, **fields, period=170, warmup=60, decay=45)
    zero = {"peak": 0.1, "floor": 0.0}
    repeated(
        "linear/to_zero", 60, **zero, period=20, warmup=5, decay=8, decay_shape="linear"
    )


def slides(cases):
    scheduler = formulas.LearningRateScheduler(0.1)

    def by_step(case, count, **settings):
        fields = {"drop": 0.5, "epochs_drop": 10, **settings}
        written = config("slides_step", initial=0.1, **fields)
        cases.deck(f"step/{case}", 9, scheduler.step_decay, count, written, **settings)

    def by_exponential(case, count, **settings):
        written = config("slides_exponential", initial=0.1, **{"k": 0.1, **settings})

        # The name k is taken by the step.
        def rate(epoch, decay=0.1):
            return scheduler.exp_decay(epoch, decay)

        decay = {"decay": settings["k"]} if settings else {}
        cases.deck(f"exponential/{case}", 9, rate, count, written, **decay)

    by_step("default", 100)
    for n in SHORT_LENGTHS:
        by_step(n, 4 * n + 3, epochs_drop=n)
    by_step("drop", 100, drop=0.7)
    by_step("long", 600, drop=0.9, epochs_drop=25)
    by_exponential("default", 100)
    by_exponential("k", 500, k=0.003)
    for n in SHORT_LENGTHS:
        written = config("slides_cosine", initial=0.1, total_epochs=n)
        settings = {"total_epochs": n}
        function = scheduler.cosine_decay
        cases.deck(f"cosine/{n}", 9, function, 3 * n + 2, written, **settings)

    scheduler = formulas.AdvancedLRScheduler(0.1, 1e-3)
    for n in SHORT_LENGTHS:
        written = config("slides_warmup", initial=0.1, warmup_steps=n)
        settings = {"warmup_steps": n}
        cases.deck(
            f"warmup/{n}", 14, scheduler.linear_warmup, past(n), written, **settings
        )

    def restarts(case, count, n, initial=0.1, least=1e-3, **settings):
        scheduler = formulas.AdvancedLRScheduler(initial, least)
        fields = {"first_decay_steps": n, "t_mul": 2.0, "m_mul": 0.5, **settings}
        written = config("slides_restarts", initial=initial, min=least, **fields)
        settings = {"first_decay_steps": n, **settings}
        function = scheduler.cosine_decay_restart
        cases.deck(f"restarts/{case}", 14, function, count, written, **settings)

    for n in SHORT_LENGTHS:
        restarts(n, min(20 * n + 5, 400), n)
    restarts("default", 60, 8, initial=0.001, least=1e-6)
    restarts("t_mul_1.5", 100, 10, t_mul=1.5)
    restarts("t_mul_3", 100, 10, t_mul=3.0)
    restarts("m_mul", 100, 10, m_mul=0.8)
    restarts("m_mul_one", 100, 10, m_mul=1.0)
    restarts("long", 700, 40, initial=0.5, least=0.01, m_mul=0.9)


def schedules():
    cases = Cases(torch, optax, jax, np, transformers)
    torch_functions(cases)
    torch_steps(cases)
    torch_lines(cases)
    torch_cosines(cases)
    torch_cycles(cases)
    torch_compositions(cases)
    optax_lines(cases)
    optax_cosines(cases)
    optax_pieces(cases)
    optax_compositions(cases)
    transformers_linear(cases)
    transformers_cosine(cases)
    transformers_wsd(cases)
    restarts_of_any_length(cases)
    formula_families(cases)
    slides(cases)
    return cases


# ReduceLROnPlateau


def metrics():
    """What a plateau is looked for in, by name."""
    generator = SplitMix64(0)
    noise = [generator.uniform() for _ in range(60)]
    falling = [1.0 / (1.0 + k / 8.0) for k in range(60)]
    noisy = [value + x / 8.0 for value, x in zip(falling, noise)]
    return {
        "constant": [1.0] * 60,
        "falling": falling,
        # By 1.5e-5 every fourth step, less than the default threshold.
        "creeping": [1.0 - (k // 4) / 65536.0 for k in range(60)],
        "growing": [2.0 + k / 64.0 for k in range(60)],
        "noisy": noisy,
        "stairs": [1.0 / (1.0 + k // 15) for k in range(60)],
        # Below zero a relative threshold lets the metric grow a little.
        "negative": [x - 2.0 for x in noisy],
        # Up and down, with a fall of 1/16 every fourth step.
        "sawtooth": [1.0 + (k % 4) / 4.0 - (k // 4) / 16.0 for k in range(60)],
        "zero": [0.0] * 30,
        "rising": [1.0 - value for value in noisy],
    }


def plateau_values(values, lr, **options):
    optimizer = sgd(lr)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    rates = []
    for value in values:
        optimizer.step()
        scheduler.step(value)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


def plateau():
    cases = Cases(torch)
    table = metrics()

    def add(case, of, lr=0.1, **options):
        values = plateau_values(table[of], lr, **options)
        for option in options:
            others = {x: options[x] for x in options if x != option}
            without = plateau_values(table[of], lr, **others)
            assert without != values, f"{case}: {option} changes nothing"
        text = "".join(f", {x}={value!r}" for x, value in options.items())
        source = f"torch ReduceLROnPlateau(lr={lr}{text})"
        cases.add(case, source, {"lr": lr, **options}, values, metrics=table[of])

    for of in table:
        add(f"default/{of}", of)
    for of in ("constant", "creeping", "noisy", "stairs", "sawtooth", "growing"):
        for patience in (0, 2):
            add(f"patience_{patience}/{of}", of, patience=patience)
    for of in ("constant", "stairs", "growing"):
        add(f"patience_5/{of}", of, patience=5)
    for of in ("falling", "noisy", "negative", "sawtooth", "rising"):
        add(f"max/{of}", of, mode="max")
        add(f"max/patience_0/{of}", of, mode="max", patience=0)
    for factor in (0.5, 0.9):
        add(f"factor_{factor}", "stairs", factor=factor)
    for of, threshold in (
        ("creeping", 0.0),
        ("noisy", 0.05),
        ("falling", 0.05),
        ("negative", 0.05),
        ("stairs", 0.6),
    ):
        add(f"threshold_{threshold}/{of}", of, patience=2, threshold=threshold)
    # A rise or a fall of just the threshold is none: growing is by 1/64 a step,
    # and sawtooth by 1/16 every fourth.
    for of, patience, threshold, mode in (
        ("falling", 4, 0.05, {}),
        ("negative", 4, 0.05, {}),
        ("sawtooth", 4, 0.0625, {}),
        ("growing", 0, 0.015625, {"mode": "max"}),
        ("growing", 0, 0.05, {"mode": "max"}),
        ("rising", 4, 0.1, {"mode": "max"}),
    ):
        options = {**mode, "threshold": threshold, "threshold_mode": "abs"}
        add(f"abs/{threshold}/{of}", of, patience=patience, **options)
    for of in ("growing", "rising"):
        add(f"max/threshold/{of}", of, mode="max", patience=2, threshold=0.05)
    for of in ("constant", "noisy", "stairs", "creeping"):
        add(f"cooldown/{of}", of, patience=2, cooldown=3)
        add(f"min_lr/{of}", of, patience=2, min_lr=0.003)
        add(f"eps/{of}", of, patience=2, eps=0.001)
    add("cooldown/patience_0", "noisy", patience=0, cooldown=5)
    # From 1/4 to 1/8 is a difference of just epsilon, and is not made.
    add("eps/exact", "constant", lr=1.0, factor=0.5, patience=0, eps=0.125)
    add("eps/zero", "growing", patience=0, eps=0.0)
    add("min_lr/factor", "noisy", factor=0.5, patience=1, min_lr=0.02)
    everything = {
        "factor": 0.7,
        "patience": 1,
        "threshold": 0.03,
        "threshold_mode": "abs",
        "cooldown": 2,
        "min_lr": 0.01,
        "eps": 0.003,
    }
    add("everything/noisy", "noisy", **everything)
    add("everything/rising", "rising", lr=0.05, mode="max", **everything)
    return cases


FILES = {"schedules": schedules, "plateau": plateau}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument(
        "--check",
        action="store_true",
        help="write nothing; fail if a file differs from what would be written",
    )
    arguments = arguments.parse_args()
    differing = []
    for name, collect in FILES.items():
        cases = collect()
        text = cases.text()
        path = DIRECTORY / f"{name}.json"
        print(f"{path.name}: {len(cases.lines)} cases, {len(text)} bytes")
        if not arguments.check:
            DIRECTORY.mkdir(parents=True, exist_ok=True)
            path.write_text(text, newline="\n")
        elif not path.exists() or path.read_text() != text:
            differing.append(path.name)
    if differing:
        sys.exit(f"different: {', '.join(differing)}")


if __name__ == "__main__":
    main()
