"""Compares the formulas with the libraries where the two should agree.

    python tools/golden/crosscheck.py

Prints the largest relative difference of each pair and fails if one is too
large. The comparison with transformers is skipped where it is not installed.
"""

import functools
import os
import sys

os.environ["JAX_PLATFORMS"] = "cpu"
sys.dont_write_bytecode = True

import formulas
import numpy as np
import optax
import references
import torch
from inputs import STEPS, inputs, learning_rates

SHAPES = ([7], [4, 3], [3, 4, 5])
ADAFACTOR = {
    "epsilon_1": 1e-30,
    "relative_step": True,
    "scale_parameter": True,
}


def run(build, shape, rates):
    parameter, gradients = inputs(1, shape, 1.0)
    optimizer = build(parameter)
    path = []
    for t in range(1, STEPS + 1):
        optimizer.step(t, rates[t - 1], gradients[t - 1])
        path.append(np.array(optimizer.parameter))
    return np.array(path)


def compare(name, first, second, shapes=SHAPES, varying=True, tolerance=1e-12):
    rates = learning_rates(0.01) if varying else [0.01] * STEPS
    difference = 0.0
    for shape in shapes:
        a, b = run(first, shape, rates), run(second, shape, rates)
        difference = max(difference, np.abs(a - b).max() / np.abs(a).max())
    verdict = "ok" if difference <= tolerance else "DIFFERENT"
    print(f"{verdict:9} {difference:8.1e}  {name}")
    return difference <= tolerance


def formula(kind, **config):
    return functools.partial(kind, config)


def in_torch(kind, **options):
    optimizer = functools.partial(kind, **options)
    return functools.partial(references.Torch, optimizer)


def in_optax(transformation):
    return lambda parameter: references.Optax(transformation, parameter, None)


def main():
    rates = learning_rates(0.01)
    results = [
        compare(
            "momentum with the rate inside == torch.optim.SGD, constant rate",
            formula(formulas.SgdVelocity, momentum=0.9, weight_decay=0.1),
            in_torch(torch.optim.SGD, momentum=0.9, weight_decay=0.1),
            varying=False,
        ),
        compare(
            "the same with Nesterov momentum",
            formula(formulas.SgdVelocity, momentum=0.9, nesterov=True),
            in_torch(torch.optim.SGD, momentum=0.9, nesterov=True),
            varying=False,
        ),
        compare(
            "RMSprop, epsilon inside == optax.rmsprop",
            formula(formulas.RmspropInsideRoot, centered=True),
            in_optax(
                optax.rmsprop(references.schedule(rates), decay=0.99, centered=True)
            ),
        ),
        compare(
            "RMSprop, epsilon 0, momentum == torch.optim.RMSprop",
            formula(
                formulas.RmspropInsideRoot, epsilon=0.0, centered=True, momentum=0.9
            ),
            in_torch(torch.optim.RMSprop, eps=0.0, centered=True, momentum=0.9),
        ),
        compare(
            "Keras NAdam == torch.optim.NAdam(momentum_decay=1, eps=1e-7)",
            formula(formulas.NadamKeras, momentum_decay=1.0, epsilon=1e-7),
            in_torch(torch.optim.NAdam, momentum_decay=1.0, eps=1e-7),
        ),
        compare(
            "Dozat's NAdam, beta_1 = 0 == torch.optim.NAdam",
            formula(formulas.NadamDozat, beta_1=0.0),
            in_torch(torch.optim.NAdam, betas=(0.0, 0.999)),
        ),
        compare(
            "paper Adafactor == torch.optim.Adafactor(eps=(1e-30, 1e-3))",
            formula(formulas.AdafactorPaper, **ADAFACTOR),
            in_torch(torch.optim.Adafactor, eps=(1e-30, 1e-3)),
            varying=False,
        ),
        compare(
            "paper Adafactor == fairseq formula",
            formula(formulas.AdafactorPaper, **ADAFACTOR),
            formula(formulas.AdafactorHf, **ADAFACTOR),
        ),
    ]
    absolute = {**ADAFACTOR, "relative_step": False, "beta_1": 0.9}
    chain = references.optax_adafactor(absolute, rates)
    library = optax.adafactor(
        references.schedule(rates), 1, momentum=0.9, dtype_momentum=np.float64
    )
    results += [
        compare(
            "fairseq formula with the rate given == chain of optax.adafactor",
            formula(formulas.AdafactorHf, **absolute),
            in_optax(chain),
        ),
        compare(
            "chain of optax.adafactor == optax.adafactor (beta_2 in float32)",
            in_optax(chain),
            in_optax(library),
            tolerance=1e-7,
        ),
    ]
    try:
        from transformers.optimization import Adafactor
    except ImportError:
        print("skipped             transformers is not installed")
    else:
        given = {
            **ADAFACTOR,
            "relative_step": False,
            "beta_1": 0.9,
            "weight_decay": 0.1,
            "clip_threshold": 0.5,
        }
        warmup = {**ADAFACTOR, "warmup_init": True}

        class Transformers(references.Torch):
            """Takes no `foreach`, and no rate when the step is relative."""

            def __init__(self, options, parameter):
                self.relative = options["relative_step"]
                self.tensor = torch.nn.Parameter(torch.tensor(parameter))
                self.optimizer = Adafactor([self.tensor], **options)
                self.decay_before_step = 0.0

            def step(self, t, learning_rate, gradient):
                super().step(t, None if self.relative else learning_rate, gradient)

        results += [
            compare(
                "fairseq formula == transformers Adafactor, rate given",
                formula(formulas.AdafactorHf, **given),
                functools.partial(
                    Transformers,
                    {
                        "lr": 0.01,
                        "relative_step": False,
                        "beta1": 0.9,
                        "weight_decay": 0.1,
                        "clip_threshold": 0.5,
                    },
                ),
            ),
            compare(
                "fairseq formula == transformers Adafactor, warm-up",
                formula(formulas.AdafactorHf, **warmup),
                functools.partial(
                    Transformers, {"relative_step": True, "warmup_init": True}
                ),
            ),
        ]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
