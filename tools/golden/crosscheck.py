"""Compares the formulas with the libraries where the two should agree.

    python tools/golden/crosscheck.py

Prints the largest relative difference of each pair and fails if one is too
large. The comparison with transformers is skipped where it is not installed.
The comparison with timm likewise. Then compares the references with the values that
a few steps of each optimizer are known to give.
"""

import functools
import importlib
import os
import sys
import types
from unittest import mock

os.environ["JAX_PLATFORMS"] = "cpu"
sys.dont_write_bytecode = True

import libraries
import low_rank
import matrices
import numpy as np
import optax
import optax.contrib
import optimizers
import pytorch_optimizer
import quad
import torch
from inputs import STEPS, inputs, learning_rates, losses
from optimizers import (
    adabound,
    adafactor,
    adam_mini,
    adamp,
    adamuon,
    adan,
    adanorm,
    adapnm,
    adopt,
    aggmo,
    cautious,
    dadapt_adam,
    dadapt_sgd,
    diffgrad,
    dog,
    galore,
    gradient_centralization,
    lamb,
    laprop,
    lars,
    madgrad,
    mars,
    momo,
    momo_adam,
    muon,
    nadam,
    normuon,
    optimistic_adam,
    orthograd,
    prodigy,
    psgd_kron,
    qhadam,
    radam,
    rmsprop,
    scion,
    sgd,
    shampoo,
    simplified_ademamix,
    sm3,
    soap,
    splus,
    weight_decay,
)

SHAPES = ([7], [4, 3], [3, 4, 5])
ADAFACTOR = {
    "epsilon_1": 1e-30,
    "relative_step": True,
    "scale_parameter": True,
}


# The values of `KNOWN`: the parameter's first and last element after some steps from
# START, the gradients being these in turn. The other elements of a gradient include a
# zero and changes of sign.
START = [[0.5, -1.0, 2.0], [-0.25, 0.75, 1.5]]
GRADIENTS = (
    [[0.1, -0.2, 0.3], [0.4, -0.5, 0.6]],
    [[-0.3, 0.1, 0.2], [0.5, 0.0, -0.1]],
    [[0.2, 0.2, -0.4], [-0.1, 0.3, 0.05]],
)
DECAY = {"weight_decay": 0.1}
KNOWN = (
    # Optimizer, config, steps, learning rate, first, last.
    ("adam", {}, 3, 0.1, 0.4475402218, 1.2994188475),
    ("adamw", DECAY, 3, 0.1, 0.4341855318, 1.2573958850),
    ("radam", {}, 3, 0.1, 0.5006467275, 1.4003845407),
    ("radam", {}, 8, 0.1, 0.5025591126, 1.3465087884),
    (
        "radam",
        {**DECAY, "decoupled_weight_decay": True},
        *(8, 0.1, 0.4639685542, 1.2386366801),
    ),
    ("adamax", {}, 3, 0.1, 0.4354877462, 1.3338806612),
    ("adamax", DECAY, 3, 0.1, 0.4068306829, 1.3089311955),
    ("adadelta", {}, 3, 1.0, 0.4977089174, 1.4972095211),
    ("adadelta", DECAY, 3, 1.0, 0.4967822568, 1.4952895304),
    ("asgd", {"t0": 0.0}, 3, 0.1, 0.4999849753, 1.4449561008),
    ("asgd", {"t0": 1.0, "lambd": 0.1}, 3, 0.1, 0.4852334047, 1.4018569486),
    ("rprop", {}, 3, 0.1, 0.35, 1.35),
    ("lion", {}, 3, 0.1, 0.4, 1.4),
    ("signum", {}, 3, 0.1, 0.4, 1.2),
    ("tiger", {"weight_decay": 0.0}, 3, 0.1, 0.4, 1.2),
    ("adabelief", {}, 3, 0.1, 0.4402126006, 1.2792487075),
    ("yogi", {}, 3, 0.1, 0.4526333334, 1.3001834216),
    ("laprop", {}, 3, 0.1, 0.4037288063, 1.3374663449),
    ("adopt", {}, 3, 0.1, 0.5071079288, 1.5023332928),
    ("adopt", DECAY, 8, 0.1, 0.4273793288, 1.3488128708),
    ("adan", {}, 3, 0.1, 0.4531845862, 1.4104181105),
    ("adan", DECAY, 3, 0.1, 0.4402927157, 1.3690122141),
    ("qhm", {}, 3, 0.1, 0.5000070000, 1.4833846190),
    ("qhadam", {}, 3, 0.1, 0.4438705833, 1.3259092676),
    ("aggmo", {}, 3, 0.1, 0.5066330000, 1.3776980000),
    ("ademamix", {}, 3, 0.1, 0.4475381067, 1.2993443696),
    ("ademamix", {"alpha": 5.0}, 3, 0.1, 0.4475349341, 1.2992326528),
    (
        "ademamix",
        {"alpha_warmup": 10, "beta_3_warmup": 10, **DECAY},
        *(8, 0.1, 0.4216664255, 0.9221473004),
    ),
    ("simplified_ademamix", {"alpha": 100.0}, 3, 1e-3, 0.4405979106, 1.4052564829),
    ("madgrad", {}, 3, 0.1, 0.5032811221, 1.4567034017),
    ("ftrl", {}, 3, 0.1, 0.4414160814, 1.4082475795),
    ("ftrl", {"l1": 0.1, "l2": 0.1}, 3, 0.1, 0.3126266995, 1.3687694827),
    ("schedule_free_sgd", DECAY, 3, 0.1, 0.4926096700, 1.4143343500),
    ("schedule_free_adamw", DECAY, 3, 0.1, 0.4472358261, 1.3803443001),
    (
        "schedule_free_adamw",
        {**DECAY, "warmup_steps": 4, "r": 1.0},
        *(3, 0.1, 0.4799327127, 1.4585888829),
    ),
    ("optimistic_gd", {}, 3, 0.1, 0.49, 1.5),
    ("optimistic_adam", {}, 3, 0.1, 0.5307979403, 1.4015011664),
    (
        "optimistic_adam",
        {"nesterov": False, "alpha": 0.5, "beta": 0.3, **DECAY},
        *(8, 0.1, 0.4323005699, 1.2051140191),
    ),
    ("adabound", {}, 3, 0.1, 0.4475404823, 1.2994189482),
    (
        "adabound",
        {"final_lr": 0.05, "gamma": 0.1, "amsbound": True, "beta_2": 0.6, **DECAY},
        *(8, 0.1, 0.4783778257, 1.3070549241),
    ),
    ("adamod", {}, 3, 0.1, 0.5001437658, 1.4995974408),
    (
        "adamod",
        {"beta_3": 0.5, "epsilon": 1e-2, **DECAY},
        *(8, 0.1, 0.4792826339, 1.0933869502),
    ),
    # ACProp, PNM and AdaPNM: what the authors' own classes give.
    ("acprop", {}, 3, 0.01, 0.5226871245, 1.4945863342),
    ("acprop", {"epsilon": 1e-2, **DECAY}, 8, 0.1, 0.4612669233, 1.2975592882),
    ("pnm", {}, 3, 0.1, 0.4969240649, 1.4866426243),
    ("pnm", {"beta_2": 0.5, **DECAY}, 8, 0.1, 0.4656246965, 1.3417419693),
    ("adapnm", {}, 3, 0.1, 0.3449310297, 1.3089228529),
    (
        "adapnm",
        {"beta_2": 0.6, "epsilon": 1e-2, **DECAY},
        *(8, 0.1, 0.3965939237, 1.1255795484),
    ),
    (
        "adapnm",
        {"beta_2": 0.6, "epsilon": 1e-2, "amsgrad": False, **DECAY},
        *(8, 0.1, 0.4068558324, 1.0824116793),
    ),
    (
        "weight_decay",
        {"name": "adamw", "weight_decay_kind": "cautious", **DECAY},
        *(3, 0.1, 0.4380960319, 1.2573958850),
    ),
    (
        "cautious",
        {"name": "adamw", "cautious": True, "weight_decay": 0.0},
        *(3, 0.1, 0.4950804335, 1.3065452013),
    ),
    (
        "orthograd",
        {"optimizer": {"name": "sgd"}},
        *(1, 0.1, 0.4975614609, 1.4587190162),
    ),
    ("dog", {}, 3, 1.0, 0.4999998526, 1.4999977263),
    ("dowg", {}, 3, 1.0, 0.4992941658, 1.4940749691),
    ("adamp", DECAY, 3, 0.1, 0.4341857867, 1.2573959845),
    ("sgdp", {"momentum": 0.9, **DECAY}, 3, 0.1, 0.3742, 0.9607),
    ("stable_spam", {}, 3, 0.1, 0.4576876862, 1.3077200349),
    ("came", {}, 3, 0.1, 0.2622292331, -0.5633875093),
    ("sm3", {}, 3, 0.1, 0.4280705348, 1.4082475795),
    ("adam_mini", {}, 3, 0.1, 0.5031842367, 1.2792606334),
    ("muon", {}, 3, 0.1, 0.5464419436, 1.3281138396),
    ("muon", {"nesterov": False}, 3, 0.1, 0.6021996501, 1.3703959056),
    (
        "muon",
        {"adjust_lr": "match_rms_adamw"},
        *(3, 0.1, 0.5063818253, 1.4113384797),
    ),
    ("soap", {"weight_decay": 0.0}, 3, 0.1, 0.6366616710, 1.4210443595),
    ("soap", {"weight_decay": 0.0}, 12, 0.1, 0.9354161401, 0.9646646069),
    (
        "soap",
        {"weight_decay": 0.0, "precondition_frequency": 1},
        *(12, 0.1, 0.5694127357, 1.1371313029),
    ),
    # What the authors' own function gives with one second moment for the whole.
    ("amos", {"scale": 1.0}, 3, 0.1, 0.4934415738, 1.3438769888),
    (
        "amos",
        {
            "scale": 0.8,
            "beta": 0.9,
            "momentum": 0.9,
            "extra_l2": 0.01,
            "c_coef": 2.0,
            "d_coef": 1.0,
        },
        *(8, 0.1, 0.4857463846, 1.2960528344),
    ),
)


# Likewise, with epsilon added to the norm of what is orthogonalised.
NO_DECAY = {"weight_decay": 0.0}
KNOWN_ADDED = (
    ("normuon", {}, 3, 0.1, 0.5554005699, 1.3603293560),
    ("adamuon", NO_DECAY, 3, 0.1, 0.4801002385, 1.4407074669),
    (
        "adamuon",
        {"sign": False, **NO_DECAY},
        *(3, 0.1, 0.5219389453, 1.4316644446),
    ),
    (
        "scion",
        {"radius": 1.0, "constrained": False},
        *(3, 0.1, 0.5871323647, 1.4290372400),
    ),
    ("scion", {"radius": 1.0}, 3, 0.1, 0.4382918219, 1.0282806252),
)


# Likewise, with epsilon added to all eigenvalues of a factor that has none below zero.
ADAM_GRAFT = {"grafting": "adam", "beta_2": 0.999}
KNOWN_SHIFTED = (
    ("shampoo", ADAM_GRAFT, 3, 0.1, 0.6510703013, 1.3341925036),
    ("shampoo", {**ADAM_GRAFT, "epsilon": 1e-6}, 3, 0.1, 0.6510641495, 1.3341862954),
    ("shampoo", {**ADAM_GRAFT, **DECAY}, 3, 0.1, 0.6337151012, 1.2915561330),
    (
        "shampoo",
        {**ADAM_GRAFT, "precondition_frequency": 2},
        *(8, 0.1, 0.4879210138, 1.0300579779),
    ),
    (
        "shampoo",
        {"beta_1": 0.0, "epsilon": 1e-6},
        *(3, 0.1, 0.5780483209, 1.4522144060),
    ),
)


# What the optimizers and wrappers that depend on the whole model give on the quadratic
# of quad.py's first tensor.
GROWTH = {"growth_rate": 1.02}
MOMENTUM = {"momentum": 0.9}
CORRECTED = {"use_bias_correction": True}
QUADRATIC = (
    # What descends, config, learning rate, steps, first, last.
    (prodigy, {}, 1.0, 50, -0.0049742508, 0.2516240152),
    (prodigy, CORRECTED, 1.0, 50, -0.1188582151, 0.1773709788),
    (prodigy, DECAY, 1.0, 50, -0.0084165503, -0.0817602921),
    (prodigy, {"d_coef": 2.0}, 1.0, 50, -0.0365255624, -0.2455297336),
    (prodigy, GROWTH, 1.0, 50, 0.4992143731, 1.4992143002),
    (dadapt_adam, {}, 1.0, 50, 0.1891952547, -0.0178932742),
    (dadapt_adam, CORRECTED, 1.0, 50, 0.0561715426, 0.2724310435),
    (dadapt_sgd, MOMENTUM, 1.0, 50, -0.0962587684, -0.2887763053),
    (dog, {}, 1.0, 50, 0.4838043920, 1.4514131760),
    (momo_adam, {}, 0.1, 50, 0.0101108747, 0.0410532681),
    ("sam", {}, 0.1, 3, 0.3623170856, 1.0869512567),
    ("asam", {}, 0.1, 3, 0.3602588254, 0.9888346420),
    ("looksam", {}, 0.1, 3, 0.3917951832, 1.1753855496),
    ("mechanic", {}, 1.0, 50, 0.1757611825, 0.5272835474),
)


# Those whose values are of a matrix with an output in each row.
OUTPUTS_IN_ROWS = ("adam_mini", "adamp", "adamuon", "muon", "normuon", "scion", "sgdp")


def known(name, config, steps, learning_rate, first, last, kept=1.0):
    """`kept` is what is left of the parameter after each step."""
    config = {"name": name, **config}
    rates = [learning_rate] * STEPS
    reference = optimizers.load(name).reference
    turn = np.transpose if name in OUTPUTS_IN_ROWS else np.array
    _, optimizer = reference(config, turn(START), rates)
    for t in range(1, steps + 1):
        gradient = turn(GRADIENTS[(t - 1) % 3])
        optimizer.step(t, learning_rate, gradient)
        if kept != 1.0:
            optimizer.parameter = kept * optimizer.parameter
    end = turn(optimizer.parameter)
    difference = max(abs(end[0, 0] - first), abs(end[1, 2] - last))
    # The values have ten digits, and QHAdam's is from where the weights are in float32,
    # two of Shampoo's from where the learning rate is.
    tolerance = 1e-8 if name in ("qhadam", "shampoo") else 2e-10
    verdict = "ok" if difference <= tolerance else "DIFFERENT"
    print(f"{verdict:9} {difference:8.1e}  {name} {config}, {steps} steps")
    return verdict == "ok"


def known_added(*values):
    bounded = matrices.newton_schulz

    def added(u, steps, coefficients, epsilon, safety_factor, dtype):
        factor = safety_factor + epsilon / float(u.norm())
        return bounded(u, steps, coefficients, 0.0, factor, dtype)

    with mock.patch.object(matrices, "newton_schulz", added):
        return known(*values)


def known_splus():
    """SPlus decays after its step, by as much of it as it steps."""
    kept = 1.0 - 0.1 * 2.0 / 5.0 * 0.01
    return known("splus", NO_DECAY, 3, 0.1, 0.5298589392, 1.4026896051, kept)


def known_losses():
    """MoMo's after three steps with these losses and the gradients of `KNOWN`."""
    _, optimizer = momo.reference({}, np.array(START), None)
    for t, loss in enumerate((1.0, 0.9, 0.7)):
        optimizer.step(t + 1, 1.0, np.array(GRADIENTS[t]), loss)
    end = optimizer.parameter
    return judged("momo, 3 steps", end, 0.3776153949, 0.7232102641)


def known_centralized():
    """What gradient centralisation makes of the first gradient's first row."""
    config = {"optimizer": {"name": "sgd"}}
    start = np.transpose(START)
    _, optimizer = gradient_centralization.reference(config, start, None)
    optimizer.step(1, 1.0, np.transpose(GRADIENTS[0]))
    row = np.array(START)[0] - optimizer.parameter[:, 0]
    difference = np.abs(row - [0.0333333, -0.2666667, 0.2333333]).max()
    # The values have seven digits.
    verdict = "ok" if difference <= 1e-7 else "DIFFERENT"
    print(f"{verdict:9} {difference:8.1e}  a row that gradient centralisation centres")
    return verdict == "ok"


def quadratic(module, config, learning_rate, steps, first, last):
    arguments = (learning_rate, ("w",), steps)
    if module == "mechanic":
        result = quad.descend_mechanic(config, *arguments)
    elif module in quad.SAM:
        kind, config = quad.SAM[module]
        result = quad.descend_sam(kind, config, *arguments)
    else:
        result = quad.descend(module, config, *arguments)
    name = getattr(module, "__name__", module)
    label = f"{name} {config} on a quadratic, {steps} steps"
    return judged(label, result[1]["w"], first, last)


def judged(label, end, first, last):
    difference = max(abs(end[0, 0] - first), abs(end[1, 2] - last))
    # The values have ten digits; those of SAM are from where the norm is in float32.
    verdict = "ok" if difference <= 2e-9 else "DIFFERENT"
    print(f"{verdict:9} {difference:8.1e}  {label}")
    return verdict == "ok"


def sharpness(kind):
    """The references of SAM on both tensors of quad.py as one vector, in NumPy."""
    _, options = quad.SAM[kind]
    curvature = np.concatenate([np.ravel(x) for x in quad.CURVATURE.values()])
    p = np.concatenate([np.ravel(x) for x in quad.START.values()])
    rho, norm = options["rho"], np.linalg.norm
    for _ in range(quad.SAM_STEPS):
        g = curvature * p
        if kind == "asam":
            away = rho * p * p * g / (norm(p * g) + 1e-12)
        else:
            away = rho * g / (norm(g) + 1e-12)
        h = curvature * (p + away)
        if kind == "gsam":
            h = h - options["alpha"] * (g - g @ h / (h @ h) * h)
        p = p - 0.1 * h
    _, values, _ = quad.descend_sam(*quad.SAM[kind], 0.1)
    found = np.concatenate([x.ravel() for x in values.values()])
    difference = np.abs(found - p).max()
    verdict = "ok" if difference <= 1e-11 else "DIFFERENT"
    print(f"{verdict:9} {difference:8.1e}  {kind} of the whole model in NumPy")
    return verdict == "ok"


def run(build, shape, rates):
    parameter, gradients = inputs(1, shape, 1.0)
    optimizer = build(parameter)
    path = []
    for t in range(1, STEPS + 1):
        optimizer.step(t, rates[t - 1], gradients[t - 1])
        path.append(np.array(optimizer.parameter))
    return np.array(path)


def compare(
    name, first, second, shapes=SHAPES, varying=True, tolerance=1e-12, rate=0.01
):
    rates = learning_rates(rate) if varying else [rate] * STEPS
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
    return functools.partial(libraries.Torch, optimizer)


def in_other(kind, **options):
    """One of another package, without a look at its state."""
    optimizer = functools.partial(kind, **options)
    return functools.partial(libraries.Named, optimizer, names={})


def timm_module(name):
    """A module of timm.optim, without timm itself, which wants torchvision."""
    spec = importlib.util.find_spec("timm")
    if spec is None:
        return None
    (folder,) = spec.submodule_search_locations
    for package, path in (("timm", folder), ("timm.optim", f"{folder}/optim")):
        sys.modules[package] = types.ModuleType(package)
        sys.modules[package].__path__ = [path]
    return importlib.import_module(f"timm.optim.{name}")


def in_optax(transformation):
    return lambda parameter: libraries.Optax(transformation, parameter, None)


def in_module(module, **config):
    return lambda parameter: module.reference(config, parameter, None)[1]


def masks(rates):
    """The optimizers with the cautious mask, and those of timm without it."""
    table = {
        name: {"name": name, **DECAY, "maximize": True}
        for name in ("adamw", "adam", "lion", "laprop", "adopt", "sgd")
    }
    table["sgd"] |= MOMENTUM

    def usual(config):
        return lambda parameter: optimizers.reference(config, parameter, rates)[1]

    def in_timm(name, **options):
        return in_module(cautious, name=name, cautious=True, **DECAY, **options)

    def chain(transformation):
        return in_optax(
            optax.chain(
                cautious.in_optax(transformation),
                optax.add_decayed_weights(0.1),
                optax.scale_by_learning_rate(libraries.schedule(rates)),
            )
        )

    def masked(kind, **config):
        return formula(cautious.in_numpy(kind), **config)

    return [
        *(
            compare(
                f"timm's {name} without its mask == the usual",
                in_module(cautious, cautious=False, **config),
                usual(config),
            )
            for name, config in table.items()
        ),
        compare(
            "Keras NAdam, decoupled == torch.optim.NAdam",
            formula(nadam.NadamKeras, decoupled_weight_decay=True, **DECAY),
            in_torch(torch.optim.NAdam, decoupled_weight_decay=True, **DECAY),
        ),
        compare(
            "AdamW of timm with its mask == the chain of optax with ours",
            in_timm("adamw"),
            chain(optax.scale_by_adam()),
        ),
        compare("Lion likewise", in_timm("lion"), chain(optax.scale_by_lion())),
        compare(
            "LaProp of timm with its mask == the formula with ours",
            in_timm("laprop"),
            masked(laprop.LaProp, **DECAY),
        ),
        compare("ADOPT likewise", in_timm("adopt"), masked(adopt.Adopt, **DECAY)),
        compare(
            "SGD likewise, constant rate",
            in_timm("sgd", **MOMENTUM),
            masked(sgd.SgdVelocity, **MOMENTUM, **DECAY),
            varying=False,
        ),
    ]


def iterating_in_float64():
    """timm's and pytorch_optimizer's relatives of Muon, which have bfloat16."""
    kind = cautious.timm("muon", "Muon")
    function = functools.partial(matrices.newton_schulz, dtype=torch.float64)
    sys.modules[kind.__module__].zeropower_via_newtonschulz = function
    name = "zero_power_via_newton_schulz_5"
    for module in ("adamuon", "base", "normuon"):
        module = importlib.import_module(f"pytorch_optimizer.optimizer.muon.{module}")
        function = functools.partial(getattr(module, name), dtype=torch.float64)
        setattr(module, name, function)
    return kind


def orthogonalizers():
    in_timm = iterating_in_float64()

    def in_groups(kind, **options):
        def make(tensors, foreach):
            orthogonal = matrices.is_matrix(tensors[0].shape)
            groups = [{"params": tensors, "use_muon": orthogonal}]
            return kind(groups, **options)

        return functools.partial(libraries.Outputs, make, names={})

    def in_library(kind, **options):
        kind = getattr(pytorch_optimizer, kind)
        return in_groups(kind, foreach=False, **options)

    # As far as what is added to the norms allows, which we do not.
    compare_closely = functools.partial(
        compare,
        shapes=([4, 3], [3, 8], [8, 3], [5, 5], [3, 4, 5], [2, 3, 4, 5]),
        tolerance=1e-10,
    )
    coupled = {"weight_decay_kind": "coupled", **DECAY, "maximize": True}
    in_library_coupled = {"weight_decouple": False, **DECAY, "maximize": True}
    long = {"ns_steps": 10, **DECAY}
    match = {"adjust_lr": "match_rms_adamw"}
    tiny = {"epsilon": 1e-10, "epsilon_2": 1e-10}
    unsigned = {"sign": False, **NO_DECAY}
    return [
        *(
            compare(
                f"torch.optim.Muon in float64 == the formula, {config}",
                in_module(muon, **config),
                formula(muon.Muon, **config),
                shapes=([4, 6], [6, 3], [6, 2, 3]),
            )
            for config in (
                {},
                {"nesterov": False, "maximize": True},
                {"parts": 3, "adjust_lr": "spectral_unclamped"},
                {"layout": "out_in", "parts": 2, "ns_steps": 2, "epsilon": 10.0},
                {"layout": "in_out", "parts": 3, **match},
            )
        ),
        compare_closely(
            "timm.optim.Muon == muon_timm",
            in_groups(in_timm),
            in_module(muon, name="muon_timm"),
        ),
        compare(
            "timm.optim.Muon of no matrix == muon_timm",
            in_groups(in_timm),
            in_module(muon, name="muon_timm"),
            shapes=([7], [1, 6], [6, 1, 2, 2]),
        ),
        compare_closely(
            "timm.optim.Muon with AdaMuon == the formula without sign",
            in_groups(in_timm, algo="adamuon", nesterov=True, eps=1e-10),
            in_module(adamuon, ns_coefficients="quintic", **tiny, **unsigned),
        ),
        compare_closely(
            "pytorch_optimizer.AdaMuon == the formula without sign",
            in_library("AdaMuon", eps=1e-14),
            in_module(
                adamuon, momentum=0.9, nesterov=False, epsilon_2=1e-14, **unsigned
            ),
        ),
        compare_closely(
            "pytorch_optimizer.Muon, ten steps == the formula",
            in_library("Muon", ns_coeffs="polar_express", use_adjusted_lr=True, **long),
            in_module(muon, ns_coefficients="polar_express", **match, **long),
        ),
        compare_closely(
            "pytorch_optimizer.Muon, coupled decay == the formula",
            in_library("Muon", **in_library_coupled),
            in_module(muon, **coupled),
        ),
        *(
            compare_closely(
                f"pytorch_optimizer.NorMuon, {name} == the formula",
                in_library("NorMuon", ns_coeffs=name, **DECAY),
                in_module(normuon, ns_coefficients=name, **DECAY),
            )
            for name in matrices.COEFFICIENTS
        ),
        compare_closely(
            "pytorch_optimizer.NorMuon, other options == the formula",
            in_library(
                "NorMuon",
                momentum=0.8,
                beta2=0.7,
                nesterov=False,
                ns_steps=3,
                use_adjusted_lr=True,
                **in_library_coupled,
            ),
            in_module(
                normuon,
                momentum=0.8,
                beta_2=0.7,
                nesterov=False,
                ns_steps=3,
                **match,
                **coupled,
            ),
        ),
    ]


def bases():
    """SOAP, SPlus and Shampoo in NumPy and in a library, which rounds to float32."""
    squares = {"shapes": ([4, 3], [5, 5], [4, 5]), "tolerance": 1e-5}
    sided = {"shapes": ([8, 3], [3, 20]), "tolerance": 1e-5}
    three = {"precondition_frequency": 3, **NO_DECAY}
    five = {"inverse_steps": 5, **NO_DECAY}
    results = [
        compare(
            "SOAP == pytorch_optimizer.SOAP (QR in float32)",
            in_module(soap, **NO_DECAY),
            in_other(pytorch_optimizer.SOAP, **NO_DECAY),
            **squares,
        ),
        compare(
            "SOAP, QR more often == pytorch_optimizer.SOAP",
            in_module(soap, shampoo_beta=0.8, **three),
            in_other(pytorch_optimizer.SOAP, shampoo_beta=0.8, **three),
            **squares,
        ),
        compare(
            "SOAP of one side == pytorch_optimizer.SOAP",
            in_module(soap, max_precond_dim=5, **three),
            in_other(pytorch_optimizer.SOAP, max_precondition_dim=5, **three),
            **sided,
        ),
        compare(
            "SPlus == pytorch_optimizer.SPlus (eigenvectors in float32)",
            in_module(splus, precondition_frequency=5, **NO_DECAY),
            in_other(pytorch_optimizer.SPlus, **five),
            **squares,
        ),
    ]
    results.append(
        compare(
            "Shampoo of sums with epsilon added == pytorch_optimizer.Shampoo",
            in_module(shampoo, beta_1=0.0, epsilon=1e-6),
            in_other(pytorch_optimizer.Shampoo),
            shapes=([4, 3], [5, 5]),
            tolerance=1e-8,
        )
    )
    return results


class Orthogonal:
    """Descent along the part of the gradient orthogonal to p, and coupled decay."""

    def __init__(self, parameter):
        self.parameter = parameter

    def step(self, t, learning_rate, gradient):
        p = self.parameter
        part = gradient - (p * gradient).sum() / (p * p).sum() * p
        part *= np.linalg.norm(gradient) / np.linalg.norm(part)
        self.parameter = p - learning_rate * (part + 0.1 * p)


def told_losses(transformation):
    """An optax transformation that is told the losses of `inputs.losses`."""

    def init(params):
        return 0, transformation.init(params)

    def update(updates, state, params):
        count, inner = state
        told = {"value": losses()[count]}
        updates, inner = transformation.update(updates, inner, params, **told)
        return updates, (count + 1, inner)

    return optax.GradientTransformation(init, update)


class InFloat64(libraries.Named):
    """One of another package that would go through float32."""

    def step(self, t, learning_rate, gradient):
        with mock.patch.object(torch.Tensor, "float", lambda tensor: tensor):
            super().step(t, learning_rate, gradient)


class Kron(libraries.Torch):
    """A library's, which draws the numbers of our counter."""

    def __init__(self, make, parameter):
        self.tensor = torch.nn.Parameter(torch.tensor(parameter))
        self.optimizer = make([self.tensor])
        self.decay_before_step = 0.0

    def step(self, t, learning_rate, gradient):
        def drawn(like, **_):
            shape = like if isinstance(like, tuple) else like.shape
            return torch.tensor(low_rank.normals(0, t, *shape))

        with mock.patch.multiple(torch, randn=drawn, randn_like=drawn):
            super().step(t, learning_rate, gradient)


def divided_in_float64(x, a):
    rows = x.reshape(-1, x.size(-1))
    return torch.linalg.solve_triangular(a, rows, upper=True, left=False).reshape_as(x)


class Always:
    """Chance that has timm balance at every update, which moves no parameter."""

    def random(self):
        return 0.0


def krons():
    kind = cautious.timm("kron", "Kron")
    module = sys.modules[kind.__module__]
    module._solve_triangular_right = divided_in_float64
    other = importlib.import_module("pytorch_optimizer.optimizer.psgd")
    other.solve_triangular_right = divided_in_float64

    def in_timm(schedule, **options):
        def make(tensors):
            probability = module.precond_update_prob_schedule
            optimizer = kind(
                tensors,
                preconditioner_update_probability=functools.partial(
                    probability, **schedule
                ),
                decoupled_decay=True,
                flatten=True,
                flatten_start_dim=1,
                **{"max_size_triangular": 8192, **options},
            )
            optimizer.rng = Always()
            # Not compiled.
            for name in ("calc_A_and_conjB", "q_terms", "precond_grad", "balance_Q"):
                setattr(optimizer, f"_{name}", getattr(module, f"_{name}"))
            return optimizer

        return functools.partial(Kron, make)

    def in_library(schedule, **options):
        probability = other.precondition_update_prob_schedule(**schedule)
        make = functools.partial(
            other.Kron,
            pre_conditioner_update_probability=probability,
            precondition_dtype=torch.float64,
            balance_prob=0.0,
            **options,
        )
        return functools.partial(Kron, make)

    rare = {"flat_start": 10, "decay": 0.1, "min_prob": 0.3}
    few = {"flat_start": 0, "decay": 1.0, "min_prob": 0.15}
    both = {"max_size_triangular": 3, "weight_decay": 0.1}
    shapes = ([4, 3], [3, 4], [5, 5], [3, 2, 2], [4, 6])
    return [
        *(
            compare(
                f"timm.optim.Kron with our numbers == PSGD-Kron, {schedule} {options}",
                in_timm(schedule, **options),
                formula(psgd_kron.PsgdKron, **schedule, **options),
                shapes=shapes,
            )
            for schedule in ({}, rare, few)
            for options in ({}, both, {"precond_lr": 0.3, "precond_init_scale": 4.0})
        ),
        *(
            compare(
                f"pytorch_optimizer.Kron (1e-6 in the clip) likewise, {schedule}",
                in_library(schedule, **both),
                formula(psgd_kron.PsgdKron, **schedule, **both),
                shapes=([4, 3], [3, 4], [5, 5], [4, 6]),
                tolerance=1e-7,
            )
            for schedule in ({}, rare)
        ),
        known_kron(1, 0.0695177845, 0.4560622044),
        known_kron(3, 0.0208532524, 0.2716153921),
    ]


def known_kron(steps, first, last):
    """A preconditioned first gradient, with the second for the normal numbers."""
    with mock.patch.object(psgd_kron, "normals", lambda *_: np.array(GRADIENTS[1])):
        optimizer = psgd_kron.PsgdKron({"clip": 1e9}, np.array(START))
        for t in range(1, steps + 1):
            rate = 1.0 if t == steps else 0.0
            optimizer.step(t, rate, np.array(GRADIENTS[0]))
    moved = np.array(START) - optimizer.parameter
    label = f"what PSGD-Kron makes of a gradient, {steps} steps"
    return judged(label, moved, first, last)


def projections():
    """GaLore, whose projection the library never renews here, and Scion."""
    module = importlib.import_module("pytorch_optimizer.optimizer.scion")
    name = "zero_power_via_newton_schulz_5"
    function = functools.partial(getattr(module, name), dtype=torch.float64)
    setattr(module, name, function)

    def in_library(kind, maximize, **options):
        def make(tensors, foreach):
            groups = [{"params": tensors, **options}]
            return kind(groups, foreach=foreach, maximize=maximize)

        return functools.partial(InFloat64, make, names={})

    kept = {"update_proj_gap": 1000, "scale": 2.0}
    never = {"projection_type": "std", "eps": 0.0, **kept}
    return [
        *(
            compare(
                f"pytorch_optimizer.GaLore, epsilon 0, rank {rank} == the formula",
                in_library(pytorch_optimizer.GaLore, False, rank=rank, **never),
                formula(galore.GaLore, rank=rank, epsilon=0.0, **kept),
                shapes=([4, 3], [3, 4], [5, 5], [4, 6]),
            )
            for rank in (1, 2, 128)
        ),
        *(
            compare(
                f"pytorch_optimizer.SCION == the formula, constrained {constrained}",
                in_library(
                    pytorch_optimizer.SCION,
                    True,
                    momentum=0.1,
                    scale=50.0,
                    constraint=constrained,
                ),
                formula(
                    scion.Scion,
                    layout="out_in",
                    constrained=constrained,
                    maximize=True,
                ),
                shapes=([7], [4, 3], [3, 8], [5, 5], [4, 3, 2], [2, 3, 4, 5]),
            )
            for constrained in (True, False)
        ),
    ]


def main():
    rates = learning_rates(0.01)
    results = [
        compare(
            "momentum with the rate inside == torch.optim.SGD, constant rate",
            formula(sgd.SgdVelocity, momentum=0.9, weight_decay=0.1),
            in_torch(torch.optim.SGD, momentum=0.9, weight_decay=0.1),
            varying=False,
        ),
        compare(
            "the same with Nesterov momentum",
            formula(sgd.SgdVelocity, momentum=0.9, nesterov=True),
            in_torch(torch.optim.SGD, momentum=0.9, nesterov=True),
            varying=False,
        ),
        compare(
            "RMSprop, epsilon inside == optax.rmsprop",
            formula(rmsprop.RmspropInsideRoot, centered=True),
            in_optax(
                optax.rmsprop(libraries.schedule(rates), decay=0.99, centered=True)
            ),
        ),
        compare(
            "RMSprop, epsilon 0, momentum == torch.optim.RMSprop",
            formula(
                rmsprop.RmspropInsideRoot, epsilon=0.0, centered=True, momentum=0.9
            ),
            in_torch(torch.optim.RMSprop, eps=0.0, centered=True, momentum=0.9),
        ),
        compare(
            "Keras NAdam == torch.optim.NAdam(momentum_decay=1, eps=1e-7)",
            formula(nadam.NadamKeras, momentum_decay=1.0, epsilon=1e-7),
            in_torch(torch.optim.NAdam, momentum_decay=1.0, eps=1e-7),
        ),
        compare(
            "Dozat's NAdam, beta_1 = 0 == torch.optim.NAdam",
            formula(nadam.NadamDozat, beta_1=0.0),
            in_torch(torch.optim.NAdam, betas=(0.0, 0.999)),
        ),
        compare(
            "paper Adafactor == torch.optim.Adafactor(eps=(1e-30, 1e-3))",
            formula(adafactor.AdafactorPaper, **ADAFACTOR),
            in_torch(torch.optim.Adafactor, eps=(1e-30, 1e-3)),
            varying=False,
        ),
        compare(
            "paper Adafactor == fairseq formula",
            formula(adafactor.AdafactorPaper, **ADAFACTOR),
            formula(adafactor.AdafactorHf, **ADAFACTOR),
        ),
    ]
    absolute = {**ADAFACTOR, "relative_step": False, "beta_1": 0.9}
    chain = adafactor.optax_adafactor(absolute, rates)
    library = optax.adafactor(
        libraries.schedule(rates), 1, momentum=0.9, dtype_momentum=np.float64
    )
    results += [
        compare(
            "fairseq formula with the rate given == chain of optax.adafactor",
            formula(adafactor.AdafactorHf, **absolute),
            in_optax(chain),
        ),
        compare(
            "chain of optax.adafactor == optax.adafactor (beta_2 in float32)",
            in_optax(chain),
            in_optax(library),
            tolerance=1e-7,
        ),
    ]
    chain = optax.chain(
        optax.scale_by_radam(threshold=4.0),
        optax.scale_by_learning_rate(libraries.schedule(rates)),
    )
    decoupled = {"weight_decay": 0.1, "weight_decouple": True}
    bounds = {"final_lr": 0.02, "gamma": 0.1}
    results += [
        compare(
            "RAdam with threshold 5 == torch.optim.RAdam",
            formula(radam.RAdam, threshold=5.0, weight_decay=0.1),
            in_torch(torch.optim.RAdam, weight_decay=0.1),
        ),
        compare(
            "optax's RAdam with threshold 4 == chain of optax.radam",
            formula(radam.RAdam, threshold=4.0, variant="optax"),
            in_optax(chain),
        ),
        compare(
            "ADOPT without decay == optax.contrib.adopt",
            formula(adopt.Adopt),
            in_optax(optax.contrib.adopt(libraries.schedule(rates))),
        ),
        compare(
            "pytorch_optimizer.SignSGD == optax.signum",
            in_other(pytorch_optimizer.SignSGD, momentum=0.9),
            in_optax(optax.signum(libraries.schedule(rates), 0.9)),
        ),
        compare(
            "Adan == pytorch_optimizer.Adan",
            formula(adan.Adan, weight_decay=0.1),
            in_other(pytorch_optimizer.Adan, weight_decay=0.1),
        ),
        compare(
            "Adan, decay first == pytorch_optimizer.Adan(weight_decouple=True)",
            formula(adan.Adan, weight_decay=0.1, weight_decay_kind="decoupled"),
            in_other(pytorch_optimizer.Adan, **decoupled),
        ),
        compare(
            "QHAdam == pytorch_optimizer.QHAdam (its weights in float32)",
            formula(qhadam.QHAdam, beta_1=0.9, nu_1=0.7, nu_2=0.5, weight_decay=0.1),
            in_other(pytorch_optimizer.QHAdam, nus=(0.7, 0.5), **decoupled),
            tolerance=1e-7,
        ),
        compare(
            "AggMo == pytorch_optimizer.AggMo",
            formula(aggmo.AggMo, weight_decay=0.1),
            in_other(pytorch_optimizer.AggMo, weight_decay=0.1),
        ),
        compare(
            "simplified AdEMAMix == optax.contrib.simplified_ademamix",
            formula(simplified_ademamix.SimplifiedAdEMAMix, alpha=3.0),
            in_optax(
                optax.contrib.simplified_ademamix(
                    libraries.schedule(rates), b1=0.99, b2=0.95, alpha=3.0
                )
            ),
        ),
        compare(
            "MADGRAD == pytorch_optimizer.MADGRAD",
            formula(madgrad.Madgrad, weight_decay=0.1),
            in_other(pytorch_optimizer.MADGRAD, weight_decay=0.1),
        ),
        compare(
            "MADGRAD == optax.contrib.madgrad (the root of t in float32)",
            formula(madgrad.Madgrad),
            in_optax(optax.contrib.madgrad(libraries.schedule(rates))),
            tolerance=1e-6,
        ),
        compare(
            "diffGrad, epsilon 0 == pytorch_optimizer.DiffGrad (1e-15 in the root)",
            formula(diffgrad.DiffGrad, epsilon=0.0, weight_decay=0.1),
            in_other(pytorch_optimizer.DiffGrad, eps=0.0, **decoupled),
            tolerance=1e-7,
        ),
        compare(
            "chain of optimistic Adam == optax.optimistic_adam_v2",
            lambda parameter: optimistic_adam.reference({}, parameter, rates)[1],
            in_optax(optax.optimistic_adam_v2(libraries.schedule(rates))),
        ),
        compare(
            "AdaBound == pytorch_optimizer.AdaBound (1e-15 in the root)",
            formula(adabound.AdaBound, weight_decay=0.1, **bounds),
            in_other(
                pytorch_optimizer.AdaBound,
                lr=rates[0],
                weight_decay=0.1,
                weight_decouple=False,
                **bounds,
            ),
            tolerance=1e-7,
        ),
        compare(
            "AMSBound == pytorch_optimizer.AdaBound(ams_bound=True)",
            formula(adabound.AdaBound, beta_2=0.6, amsbound=True, **bounds),
            in_other(
                pytorch_optimizer.AdaBound,
                lr=rates[0],
                betas=(0.9, 0.6),
                ams_bound=True,
                **bounds,
            ),
            tolerance=1e-7,
        ),
        compare(
            "AdaPNM, epsilon 0 == pytorch_optimizer.AdaPNM (1e-15 in the root)",
            formula(adapnm.AdaPNM, beta_2=0.6, epsilon=0.0, weight_decay=0.1),
            in_other(
                pytorch_optimizer.AdaPNM, betas=(0.9, 0.6, 1.0), eps=0.0, **decoupled
            ),
            tolerance=1e-7,
        ),
        compare(
            "Adam-mini of one number == torch.optim.AdamW",
            formula(adam_mini.AdamMini, weight_decay=0.1),
            in_torch(torch.optim.AdamW, weight_decay=0.1),
            shapes=([1],),
        ),
        compare(
            "AdamP, epsilon 0, which never projects == torch.optim.AdamW",
            lambda parameter: adamp.reference(
                {"epsilon": 0.0, "delta": 0.0, **DECAY}, parameter, rates
            )[1],
            in_torch(torch.optim.AdamW, eps=0.0, weight_decay=0.1),
        ),
        compare(
            "SM3 of a vector == torch.optim.Adagrad",
            lambda parameter: sm3.reference({}, parameter, rates)[1],
            in_torch(torch.optim.Adagrad),
            shapes=([7],),
            tolerance=1e-7,
        ),
        compare(
            "Adam with cautious decay, decay 0 == torch.optim.Adam",
            formula(weight_decay.Cautious, name="adamw"),
            in_torch(torch.optim.Adam),
        ),
    ]
    lars_options = {"trust_coefficient": 0.01, "weight_decay": 0.1, "nesterov": True}
    mars_options = {"gamma": 0.1, "weight_decay": 0.1}
    # Its rate for vectors is `lr_1d`, in units of the rate it is made with.
    mars_vectors = {"lr": 0.01, "lr_1d": 0.01, "weight_decay_1d": 0.1}
    results += [
        compare(
            "LAMB with a clamp, which is large == optax.lamb",
            formula(lamb.LambClamped, clamp=100.0, weight_decay=0.1),
            in_optax(optax.lamb(libraries.schedule(rates), weight_decay=0.1)),
        ),
        compare(
            "LARS == pytorch_optimizer.LARS",
            formula(lars.Lars, dampening=0.3, **lars_options),
            in_other(pytorch_optimizer.LARS, dampening=0.3, **lars_options),
        ),
        compare(
            "LARS in optax's form == optax.lars",
            formula(
                lars.Lars,
                variant="optax",
                epsilon=0.5,
                adapt_vectors=True,
                **lars_options,
            ),
            in_optax(optax.lars(libraries.schedule(rates), eps=0.5, **lars_options)),
        ),
        compare(
            "AdaNorm, epsilon 0 == pytorch_optimizer.AdaNorm (1e-15 in the root)",
            formula(adanorm.AdaNorm, epsilon=0.0, weight_decay=0.1),
            in_other(pytorch_optimizer.AdaNorm, eps=0.0, weight_decay=0.1),
            tolerance=1e-6,
        ),
        compare(
            "MARS, epsilon 0 == pytorch_optimizer.MARS (1e-15 in the root)",
            formula(mars.Mars, epsilon=0.0, optimize_1d=True, **mars_options),
            in_other(
                pytorch_optimizer.MARS, eps=0.0, optimize_1d=True, **mars_options
            ),
            tolerance=1e-6,
        ),
        compare(
            "MARS, vectors by Adam == pytorch_optimizer.MARS",
            formula(mars.Mars, epsilon=0.0, **mars_options),
            in_other(pytorch_optimizer.MARS, eps=0.0, **mars_vectors, **mars_options),
            tolerance=1e-6,
        ),
        compare(
            "MARS with Lion == pytorch_optimizer.MARS(mars_type='lion')",
            formula(mars.Mars, variant="lion", optimize_1d=True, **mars_options),
            in_other(
                pytorch_optimizer.MARS,
                mars_type="lion",
                optimize_1d=True,
                **mars_options,
            ),
        ),
    ]
    # At the rates that these are meant for.
    whole = functools.partial(compare, rate=1.0)
    far = {"d0": 0.1}
    adaptive = {"adaptive_lower_bound": True}
    schedule = libraries.schedule(learning_rates(1.0))
    results += [
        whole(
            "Prodigy == pytorch_optimizer.Prodigy",
            in_module(prodigy, **far, **GROWTH, **DECAY),
            in_other(pytorch_optimizer.Prodigy, **far, **GROWTH, **DECAY),
        ),
        whole(
            "Prodigy, bias corrected == optax.contrib.prodigy",
            in_module(prodigy, **far, **CORRECTED, **DECAY),
            in_optax(optax.contrib.prodigy(schedule, estim_lr0=0.1, **DECAY)),
        ),
        whole(
            "D-Adapt Adam == pytorch_optimizer.DAdaptAdam",
            in_module(dadapt_adam, **far, **GROWTH, **DECAY),
            in_other(
                pytorch_optimizer.DAdaptAdam,
                weight_decouple=True,
                **far,
                **GROWTH,
                **DECAY,
            ),
        ),
        whole(
            "D-Adapt Adam, bias corrected == optax.contrib.dadapt_adamw",
            in_module(dadapt_adam, **far, **CORRECTED, **DECAY),
            in_optax(optax.contrib.dadapt_adamw(schedule, estim_lr0=0.1, **DECAY)),
        ),
        whole(
            "D-Adapt SGD in NumPy == dadaptation.DAdaptSGD",
            formula(dadapt_sgd.DAdaptSgd, **far, **GROWTH, **MOMENTUM),
            in_module(dadapt_sgd, **far, **GROWTH, **MOMENTUM),
        ),
        whole(
            "D-Adapt SGD == pytorch_optimizer.DAdaptSGD (the first norm in float32)",
            formula(dadapt_sgd.DAdaptSgd, **far, **MOMENTUM),
            in_other(pytorch_optimizer.DAdaptSGD, **far, **MOMENTUM),
            tolerance=1e-6,
        ),
        whole(
            "DoG == optax.contrib.dog",
            in_module(dog, reps_rel=0.1, epsilon=10.0, **DECAY),
            in_optax(
                optax.contrib.dog(schedule, ("heuristic", 0.1), eps=10.0, **DECAY)
            ),
        ),
        whole(
            "MoMo == optax.contrib.momo",
            in_module(momo, lower_bound=0.01, **adaptive),
            in_optax(
                told_losses(
                    optax.contrib.momo(
                        schedule, lower_bound=0.01, adapt_lower_bound=True
                    )
                )
            ),
        ),
        whole(
            "MoMo-Adam == optax.contrib.momo_adam",
            in_module(momo_adam, lower_bound=0.01, **adaptive),
            in_optax(
                told_losses(
                    optax.contrib.momo_adam(
                        schedule, lower_bound=0.01, adapt_lower_bound=True
                    )
                )
            ),
        ),
        *(sharpness(kind) for kind in ("sam", "asam", "gsam")),
    ]
    descent = {"name": "sgd"}
    results += [
        *masks(rates),
        *orthogonalizers(),
        *bases(),
        *krons(),
        *projections(),
        compare(
            "OrthoGrad of pytorch_optimizer == in NumPy",
            in_module(orthograd, optimizer={**descent, **DECAY}),
            Orthogonal,
        ),
        compare(
            "gradient centralisation == optax.centralize where no matrix turns",
            in_module(gradient_centralization, optimizer=descent),
            in_optax(
                optax.chain(optax.centralize(), optax.sgd(libraries.schedule(rates)))
            ),
            shapes=([7], [3, 4, 5], [2, 3, 4, 5]),
        ),
    ]
    timm_laprop = timm_module("laprop")
    if timm_laprop is None:
        print("skipped             timm is not installed")
    else:
        results.append(
            compare(
                "LaProp without decay == timm.optim.LaProp",
                formula(laprop.LaProp),
                in_other(timm_laprop.LaProp),
            )
        )
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

        class Transformers(libraries.Torch):
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
                formula(adafactor.AdafactorHf, **given),
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
                formula(adafactor.AdafactorHf, **warmup),
                functools.partial(
                    Transformers, {"relative_step": True, "warmup_init": True}
                ),
            ),
        ]
    results += [known(*values) for values in KNOWN]
    results += [known_added(*values) for values in KNOWN_ADDED]
    results += [known(*values) for values in KNOWN_SHIFTED]
    results.append(known_splus())
    results += [quadratic(*values) for values in QUADRATIC]
    results.append(known_losses())
    results.append(known_centralized())
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
