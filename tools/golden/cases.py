"""The cases of one file of golden values."""

import json
import zlib
from importlib import metadata

import jax
import numpy as np
import optax
import torch
from inputs import SNAPSHOTS, STEPS, inputs, learning_rates

SHAPES = ([1], [7], [33], [4, 3], [3, 4, 5], [2, 3, 4, 5])
FEW_SHAPES = ([1], [7], [33], [4, 3])
OPTION_SHAPES = ([7], [4, 3])
SCALES = (1e-6, 1e-3, 30.0, 1e3)


# Cases whose first draw is ill-conditioned: the gradient and the decay term cancel to
# 1e-5 of themselves in one element, which f32 cannot resolve; or the last digits of an
# eigenvector are a method's own, or what SPlus takes the sign of is close to zero.
RESEEDED = {
    "rmsprop/weight_decay/[4, 3]/1.0": "/2",
    "soap/coupled/[3, 4]/1.0": "/2",
    "splus/coupled/[4, 4]/1.0": "/2",
    "splus/precondition_frequency_5/[4, 4]/1.0": "/2",
}


class Cases:
    """Collects the cases of one file."""

    def __init__(
        self, file, learning_rate, reference, libraries=(), single=1, singles=None
    ):
        """`libraries` are packages to name with their versions, beside the usual.

        `single` is how many times as far as usual single precision may be off; 0 where
        it cannot follow. `singles` has that of some "case/shape/scale" alone.
        """
        self.file = file
        self.learning_rate = learning_rate
        self.reference = reference
        self.libraries = libraries
        self.single = single
        self.singles = singles or {}
        self.lines = []

    def add(
        self, case, config, shape, grad_scale=1.0, learning_rate=None, single=None
    ):
        rate = self.learning_rate if learning_rate is None else learning_rate
        alone = f"{case}/{shape}/{grad_scale}"
        key = f"{self.file}/{alone}"
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
        if single is None:
            single = self.singles.get(alone, self.single)
        if single != 1:
            record["single"] = single
        if hasattr(optimizer, "evaluated"):
            record["evaluated"] = flat(optimizer.evaluated())
        line = json.dumps(record, separators=(",", ":"), allow_nan=False)
        self.lines.append(line)

    def everywhere(self, case, config, shapes=SHAPES, single=None):
        """All `shapes` at scale 1, and all scales on the two option shapes."""
        for shape in shapes:
            self.add(case, config, shape, single=single)
        for grad_scale in SCALES:
            for shape in OPTION_SHAPES:
                self.add(case, config, shape, grad_scale, single=single)

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
        versions |= {name: metadata.version(name) for name in self.libraries}
        head = {"generator": "tools/golden/generate.py", "reference": versions}
        opening = json.dumps(head)[:-1] + ', "cases": [\n'
        return opening + ",\n".join(self.lines) + "\n]}\n"


DECAY = {"weight_decay": 0.1}
UP = {"maximize": True}


def moments(beta_2=0.99, options=None, everything=None):
    """The cases of what Adam's relatives have in common.

    `options` are cases of an optimizer's own settings, `everything` their values beside
    all others.
    """
    betas = {"beta_1": 0.8, "beta_2": beta_2}
    epsilon = {"epsilon": 1e-2}
    return {
        "betas": betas,
        "beta_1_zero": {"beta_1": 0.0},
        "beta_2_zero": {"beta_2": 0.0},
        **(options or {}),
        "epsilon": epsilon,
        "weight_decay": DECAY,
        "maximize": UP,
        "maximize_weight_decay": {**DECAY, **UP},
        "everything": {**betas, **(everything or {}), **epsilon, **DECAY, **UP},
    }


def flat(array):
    return np.asarray(array, dtype=np.float64).ravel().tolist()
