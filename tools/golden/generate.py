"""Writes the golden values of tests/golden/.

    python tools/golden/generate.py            write the files
    python tools/golden/generate.py --check    compare with the files instead
"""

import argparse
import json
import os
import pathlib
import sys
import zlib

# Without fused multiply-add and wide vectors the results do not depend on the
# processor. Both are read when the libraries are loaded.
os.environ["ATEN_CPU_CAPABILITY"] = "default"
os.environ["XLA_FLAGS"] = "--xla_cpu_max_isa=SSE4_2"
os.environ["JAX_PLATFORMS"] = "cpu"
sys.dont_write_bytecode = True

import jax
import numpy as np
import optax
import references
import torch
from inputs import SNAPSHOTS, STEPS, inputs, learning_rates

DIRECTORY = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden"
SHAPES = ([1], [7], [33], [4, 3], [3, 4, 5], [2, 3, 4, 5])
FEW_SHAPES = ([1], [7], [33], [4, 3])
OPTION_SHAPES = ([7], [4, 3])
SCALES = (1e-6, 1e-3, 30.0, 1e3)


# Cases whose first draw is ill-conditioned: the gradient and the decay term cancel to 1e-5 of
# themselves in one element, which f32 cannot resolve.
RESEEDED = {"rmsprop/weight_decay/[4, 3]/1.0": "/2"}


class Cases:
    """Collects the cases of one file."""

    def __init__(self, file, learning_rate, reference=references.reference):
        self.file = file
        self.learning_rate = learning_rate
        self.reference = reference
        self.lines = []

    def add(self, case, config, shape, grad_scale=1.0, learning_rate=None):
        rate = self.learning_rate if learning_rate is None else learning_rate
        key = f"{self.file}/{case}/{shape}/{grad_scale}"
        key += RESEEDED.get(key, "")
        seed = zlib.crc32(key.encode())
        parameter, gradients = inputs(seed, shape, grad_scale)
        rates = learning_rates(rate)
        source, optimizer = self.reference(config, parameter, rates)
        params = {}
        for t in range(1, STEPS + 1):
            optimizer.step(t, rates[t - 1], gradients[t - 1])
            if t in SNAPSHOTS:
                params[str(t)] = flat(optimizer.parameter)
        record = {
            "case": case,
            "source": source,
            "config": config,
            "learning_rate": rate,
            "shape": shape,
            "grad_scale": grad_scale,
            "seed": seed,
            "params": params,
            "state": {name: flat(x) for name, x in optimizer.state.items()},
        }
        line = json.dumps(record, separators=(",", ":"), allow_nan=False)
        self.lines.append(line)

    def everywhere(self, case, config, shapes=SHAPES):
        """All `shapes` at scale 1, and all scales on the two option shapes."""
        for shape in shapes:
            self.add(case, config, shape)
        for grad_scale in SCALES:
            for shape in OPTION_SHAPES:
                self.add(case, config, shape, grad_scale)

    def option(self, case, config, learning_rate=None):
        for shape in OPTION_SHAPES:
            self.add(case, config, shape, learning_rate=learning_rate)

    def options(self, base, table):
        for case, changes in table.items():
            self.option(case, {**base, **changes})

    def text(self):
        versions = {
            "torch": torch.__version__.split("+")[0],
            "optax": optax.__version__,
            "jax": jax.__version__,
            "numpy": np.__version__,
        }
        head = {"generator": "tools/golden/generate.py", "reference": versions}
        opening = json.dumps(head)[:-1] + ', "cases": [\n'
        return opening + ",\n".join(self.lines) + "\n]}\n"


def flat(array):
    return np.asarray(array, dtype=np.float64).ravel().tolist()


def sgd():
    cases = Cases("sgd", 0.05)
    base = {"name": "sgd"}
    momentum = {"momentum": 0.9}
    nesterov = {"momentum": 0.9, "nesterov": True}
    decay = {"weight_decay": 0.1}
    decoupled = {"weight_decay": 0.1, "decoupled_weight_decay": True}
    velocity = {"momentum": 0.9, "velocity": True}
    up = {"maximize": True}
    cases.everywhere("default", base)
    cases.everywhere("momentum", {**base, **momentum}, FEW_SHAPES)
    cases.options(
        base,
        {
            "momentum_dampening": {"momentum": 0.9, "dampening": 0.3},
            "momentum_nesterov": nesterov,
            "weight_decay": decay,
            "momentum_weight_decay": {**momentum, **decay},
            "momentum_nesterov_weight_decay": {**nesterov, **decay},
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "maximize_momentum_dampening_weight_decay": {
                "momentum": 0.9,
                "dampening": 0.3,
                **decay,
                **up,
            },
            "decoupled": decoupled,
            "decoupled_momentum_nesterov": {**nesterov, **decoupled},
            "decoupled_maximize": {**decoupled, **up},
            "velocity": velocity,
            "velocity_nesterov": {**velocity, "nesterov": True},
            "velocity_weight_decay": {**velocity, **decay},
            "velocity_nesterov_decoupled_maximize": {
                **velocity,
                "nesterov": True,
                **decoupled,
                **up,
            },
        },
    )
    return cases


def adagrad():
    cases = Cases("adagrad", 0.1)
    base = {"name": "adagrad"}
    inside = {
        "initial_accumulator_value": 0.1,
        "epsilon": 1e-7,
        "epsilon_inside_root": True,
    }
    cases.everywhere("default", base)
    cases.everywhere("inside_root", {**base, **inside}, FEW_SHAPES)
    cases.options(
        base,
        {
            "lr_decay": {"lr_decay": 0.05},
            "initial_accumulator_value": {"initial_accumulator_value": 0.5},
            "epsilon": {"epsilon": 1e-2},
            "weight_decay": {"weight_decay": 0.1},
            "maximize": {"maximize": True},
            "maximize_weight_decay": {"weight_decay": 0.1, "maximize": True},
            "everything": {
                "lr_decay": 0.05,
                "initial_accumulator_value": 0.5,
                "epsilon": 1e-2,
                "weight_decay": 0.1,
                "maximize": True,
            },
            "inside_root_epsilon": {"epsilon": 1e-2, "epsilon_inside_root": True},
            "inside_root_everything": {
                "lr_decay": 0.05,
                "initial_accumulator_value": 0.1,
                "epsilon": 1e-2,
                "epsilon_inside_root": True,
                "weight_decay": 0.1,
                "maximize": True,
            },
        },
    )
    return cases


def rmsprop():
    cases = Cases("rmsprop", 0.01)
    base = {"name": "rmsprop"}
    inside_root = {"epsilon_inside_root": True}
    inside = {"epsilon": 1e-3, **inside_root}
    cases.everywhere("default", base)
    cases.everywhere("inside_root_default", {**base, **inside_root}, FEW_SHAPES)
    cases.options(
        base,
        {
            "alpha": {"alpha": 0.9},
            "alpha_half": {"alpha": 0.5},
            "epsilon": {"epsilon": 1e-2},
            "centered": {"centered": True},
            "momentum": {"momentum": 0.9},
            "centered_momentum": {"centered": True, "momentum": 0.9},
            "weight_decay": {"weight_decay": 0.1},
            "maximize": {"maximize": True},
            "maximize_weight_decay": {"weight_decay": 0.1, "maximize": True},
            "everything": {
                "alpha": 0.9,
                "epsilon": 1e-2,
                "centered": True,
                "momentum": 0.9,
                "weight_decay": 0.1,
                "maximize": True,
            },
            "inside_root": inside,
            "inside_root_centered": {**inside, "centered": True},
            "inside_root_weight_decay": {**inside, "weight_decay": 0.1},
            "inside_root_centered_weight_decay_maximize": {
                **inside,
                "alpha": 0.9,
                "centered": True,
                "weight_decay": 0.1,
                "maximize": True,
            },
            "inside_root_momentum": {**inside, "momentum": 0.9},
            "inside_root_everything": {
                **inside,
                "alpha": 0.9,
                "centered": True,
                "momentum": 0.9,
                "weight_decay": 0.1,
                "maximize": True,
            },
        },
    )
    return cases


def adam(name="adam"):
    cases = Cases(name, 0.01)
    base = {"name": name}
    # With the default beta_2 the second moment grows for all of the steps, and
    # its maximum is itself; with a small one the two differ.
    amsgrad = {"beta_2": 0.6, "amsgrad": True}
    decay = {"weight_decay": 0.1}
    cases.everywhere("default", base)
    cases.options(
        base,
        {
            "betas": {"beta_1": 0.8, "beta_2": 0.99},
            "beta_1_zero": {"beta_1": 0.0},
            "beta_2_near_one": {"beta_2": 0.99999},
            "beta_2_zero": {"beta_2": 0.0},
            "epsilon": {"epsilon": 1e-2},
            "weight_decay": decay,
            "amsgrad": {"amsgrad": True},
            "amsgrad_beta_2": amsgrad,
            "amsgrad_weight_decay": {**amsgrad, **decay},
            "maximize": {"maximize": True},
            "maximize_weight_decay": {**decay, "maximize": True},
            "everything": {
                "beta_1": 0.8,
                **amsgrad,
                "epsilon": 1e-2,
                **decay,
                "maximize": True,
            },
        },
    )
    return cases


def adamw():
    cases = adam("adamw")
    cases.option("no_weight_decay", {"name": "adamw", "weight_decay": 0.0})
    return cases


def nadam():
    cases = Cases("nadam", 0.01)
    decay = {"weight_decay": 0.1}
    decoupled = {"weight_decay": 0.1, "decoupled_weight_decay": True}
    up = {"maximize": True}
    base = {"name": "nadam", "variant": "torch"}
    cases.everywhere("default", base)
    cases.options(
        base,
        {
            "betas": {"beta_1": 0.8, "beta_2": 0.99},
            "epsilon": {"epsilon": 1e-2},
            "momentum_decay": {"momentum_decay": 0.3},
            "momentum_decay_zero": {"momentum_decay": 0.0},
            "weight_decay": decay,
            "decoupled": decoupled,
            "maximize": up,
            "maximize_weight_decay": {**decay, **up},
            "maximize_decoupled": {**decoupled, **up},
            "everything": {
                "beta_1": 0.8,
                "beta_2": 0.99,
                "epsilon": 1e-2,
                "momentum_decay": 0.3,
                **decoupled,
                **up,
            },
        },
    )
    keras = {**base, "momentum_decay": 1.0, "epsilon": 1e-7}
    cases.everywhere("keras", keras, FEW_SHAPES)
    cases.option("keras_weight_decay", {**keras, **decay})
    cases.option("keras_decoupled_maximize", {**keras, **decoupled, **up})
    for variant in ("dozat", "optax"):
        base = {"name": "nadam", "variant": variant}
        cases.everywhere(variant, base, FEW_SHAPES)
        table = {
            "betas": {"beta_1": 0.8, "beta_2": 0.99},
            "epsilon": {"epsilon": 1e-2},
            "weight_decay": decay,
            "decoupled": decoupled,
            "decoupled_maximize": {**decoupled, **up},
            "maximize_weight_decay": {**decay, **up},
        }
        if variant == "dozat":
            table["momentum_decay"] = {"momentum_decay": 0.3}
        cases.options(base, {f"{variant}_{case}": x for case, x in table.items()})
    return cases


def adafactor():
    cases = Cases("adafactor", 0.01)
    decay = {"weight_decay": 0.1}
    up = {"maximize": True}

    base = {
        "name": "adafactor",
        "variant": "torch",
        "epsilon_1": float(np.finfo(np.float64).eps),
        "relative_step": True,
        "scale_parameter": True,
    }
    single = {**base, "epsilon_1": float(np.finfo(np.float32).eps)}
    cases.everywhere("torch", base)
    cases.everywhere("torch_float32_epsilon", single, FEW_SHAPES)
    cases.options(
        base,
        {
            "torch_epsilon_1_large": {"epsilon_1": 0.3},
            "torch_epsilon_1_paper": {"epsilon_1": 1e-30},
            "torch_epsilon_2": {"epsilon_2": 2.0},
            "torch_clip_threshold": {"clip_threshold": 1.2},
            "torch_no_clipping": {"clip_threshold": None},
            "torch_decay_rate": {"decay_rate": -0.5},
            "torch_weight_decay": decay,
            "torch_maximize": up,
            "torch_maximize_weight_decay": {**decay, **up},
        },
    )
    # Large enough for 1 / sqrt(t) to be the smaller of the two from step 5 on.
    cases.option("torch_relative_step_binds", base, learning_rate=0.5)
    cases.option("torch_relative_step_binds_weight_decay", {**base, **decay}, 0.5)

    base = {**base, "variant": "paper", "epsilon_1": 1e-30}
    absolute = {"relative_step": False}
    unscaled = {"scale_parameter": False}
    cases.everywhere("paper", base)
    cases.options(
        base,
        {
            "paper_absolute": absolute,
            "paper_unscaled": unscaled,
            "paper_absolute_unscaled": {**absolute, **unscaled},
            "paper_epsilon_1_large": {"epsilon_1": 0.3},
            "paper_epsilon_2": {"epsilon_2": 2.0},
            "paper_clip_threshold": {"clip_threshold": 0.5},
            "paper_no_clipping": {"clip_threshold": None},
            "paper_decay_rate": {"decay_rate": -0.5},
            "paper_maximize": up,
        },
    )

    base = {**base, "variant": "hf"}
    moment = {"beta_1": 0.9}
    cases.everywhere("hf", base)
    cases.options(
        base,
        {
            "hf_warmup_init": {"warmup_init": True},
            "hf_warmup_init_unscaled": {"warmup_init": True, **unscaled},
            "hf_absolute": absolute,
            "hf_unscaled": unscaled,
            "hf_absolute_unscaled": {**absolute, **unscaled},
            "hf_clip_threshold": {"clip_threshold": 0.5},
            "hf_no_clipping": {"clip_threshold": None},
            "hf_decay_rate": {"decay_rate": -0.5},
            "hf_beta_1": moment,
            "hf_absolute_beta_1": {**absolute, **moment},
            "hf_weight_decay": decay,
            "hf_absolute_unscaled_weight_decay": {**absolute, **unscaled, **decay},
            "hf_beta_1_weight_decay": {**moment, **decay},
            "hf_everything": {
                **absolute,
                "epsilon_1": 1e-3,
                "epsilon_2": 0.7,
                "clip_threshold": 0.5,
                "decay_rate": -0.5,
                **moment,
                **decay,
                **up,
            },
        },
    )
    cases.add("hf_beta_1_weight_decay", {**base, **moment, **decay}, [2, 3, 4, 5])

    base = {
        **base,
        "variant": "optax",
        "relative_step": False,
        "min_dim_size_to_factor": 128,
    }
    factored = {"min_dim_size_to_factor": 1}
    small = {"weight_decay": 1e-3}
    cases.everywhere("optax", base, FEW_SHAPES)
    cases.everywhere("optax_factored", {**base, **factored})
    cases.options(
        {**base, **factored},
        {
            "optax_unscaled": unscaled,
            "optax_epsilon_1": {"epsilon_1": 1e-3},
            "optax_epsilon_2": {"epsilon_2": 2.0},
            "optax_clip_threshold": {"clip_threshold": 0.5},
            "optax_no_clipping": {"clip_threshold": None},
            "optax_decay_rate": {"decay_rate": -0.5},
            "optax_beta_1": moment,
            "optax_weight_decay": small,
            "optax_maximize_weight_decay": {**small, **up},
            "optax_beta_1_weight_decay": {**moment, **small},
            "optax_everything": {
                **unscaled,
                "epsilon_1": 1e-3,
                "clip_threshold": 0.5,
                "decay_rate": -0.5,
                **moment,
                **small,
                **up,
            },
        },
    )
    # Which two dimensions are factored: the largest, among equals the later,
    # and none if the second largest is below the limit.
    for shape in ([5, 3], [4, 3, 5], [5, 3, 4], [5, 4, 3], [3, 2, 2], [2, 3, 3, 2]):
        cases.add("optax_largest_dimensions", {**base, **factored}, shape)
    for shape in ([3, 4], [4, 3], [4, 3, 5], [5, 3, 3]):
        limit = {**base, "min_dim_size_to_factor": 4}
        cases.add("optax_limit_of_four", limit, shape)
    return cases


def slides():
    cases = Cases("slides", 0.01, references.deck_reference)
    betas = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}
    factors = {"beta_2": 0.999, "epsilon_1": 1e-30, "epsilon_2": 1e-3}
    for case, config in {
        "momentum": {"name": "slides_momentum", "momentum": 0.9},
        "adagrad": {"name": "adagrad", "epsilon": 1e-8},
        "rmsprop": {"name": "rmsprop", "alpha": 0.9, "epsilon": 1e-8},
        "adam": {"name": "adam"},
        "nadam": {"name": "slides_nadam", **betas},
        # The deck's AdaFactor takes vectors and matrices only.
        "adafactor": {"name": "slides_adafactor", **factors},
    }.items():
        cases.everywhere(case, config, FEW_SHAPES)
    return cases


FILES = {
    "sgd": sgd,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adamw,
    "nadam": nadam,
    "adafactor": adafactor,
    "slides": slides,
}


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
