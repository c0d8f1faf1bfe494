"""Stable-SPAM."""

import functools

from cases import Cases, moments
from libraries import Named
from pytorch_optimizer import StableSPAM


def reference(config, parameter, rates):
    get = config.get
    optimizer = functools.partial(
        StableSPAM,
        betas=(get("beta_1", 0.9), get("beta_2", 0.999)),
        gamma1=get("gamma_1", 0.7),
        gamma2=get("gamma_2", 0.9),
        theta=get("theta", 0.999),
        t_max=get("t_max", None),
        eta_min=get("eta_min", 0.5),
        update_proj_gap=get("reset_every", 1000),
        eps=get("epsilon", 1e-8),
        weight_decay=get("weight_decay", 0.0),
        maximize=get("maximize", False),
    )
    names = {
        "exp_avg": "exp_avg",
        "exp_avg_sq": "exp_avg_sq",
        "m_norm_t": "m_norm",
        "v_norm_t": "v_norm",
        "m_max_t": "m_max",
    }
    return "pytorch_optimizer.StableSPAM", Named(optimizer, parameter, names)


def cases():
    collected = Cases("stable_spam", 0.01, reference, ("pytorch_optimizer",))
    base = {"name": "stable_spam"}
    cosine = {"t_max": 30}
    everything = {
        "gamma_1": 0.5,
        "gamma_2": 0.8,
        "theta": 0.9,
        "t_max": 40,
        "eta_min": 0.2,
        "reset_every": 25,
    }
    collected.everywhere("default", base)
    table = moments(
        options={
            "gamma_1": {"gamma_1": 0.9},
            "gamma_2": {"gamma_2": 0.5},
            "theta": {"theta": 0.9},
            "theta_zero": {"theta": 0.0},
            "t_max": cosine,
            "t_max_eta_min": {**cosine, "eta_min": 0.2},
            # Not over before the last step.
            "t_max_large": {"t_max": 100, "eta_min": 0.0},
            "t_max_one": {"t_max": 1},
            # Every third of them in the last step.
            "reset_every": {"reset_every": 20},
            "reset_every_t_max": {"reset_every": 25, **cosine},
        },
        everything=everything,
    )
    collected.options(base, table)
    collected.add("everything", {**base, **table["everything"]}, [3, 4, 5])
    return collected
