"""Schedules that no pinned library implements, written out.

Every function takes the number of the update, k = 0, 1, 2, ..., and the
settings, and returns the learning rate. The two classes at the end are those of
slides 9 and 14 of the slide deck "Understanding Optimizers in Neural Networks".
"""

import math
from fractions import Fraction

import numpy as np


def cosine_restarts(k, peak, floor, period, t_mul, m_mul):
    """Loshchilov and Hutter (2017), arXiv:1608.03983, equation 5.

    m_mul is from tf.keras.optimizers.schedules.CosineDecayRestarts, which also
    allows a t_mul that is no whole number. The periods are summed as fractions,
    since in floating point the sum drifts.
    """
    position, length = Fraction(k), Fraction(period)
    peak_of_period = Fraction(1)
    while position >= length:
        position -= length
        # A computation in float64 has to be able to see on which side of the
        # restart a step is.
        assert position == 0 or position > Fraction(1, 10**6)
        length *= Fraction(t_mul)
        peak_of_period *= Fraction(m_mul)
    assert length - position > Fraction(1, 10**6)
    cosine = (1.0 + math.cos(math.pi * float(position / length))) / 2.0
    return floor + (peak - floor) * float(peak_of_period) * cosine


def noam(k, factor, model_size, warmup):
    """Vaswani et al. (2017), arXiv:1706.03762, equation 3; `factor` is 1 there.

    The first step has the number 1.
    """
    step = k + 1
    return factor * model_size**-0.5 * min(step**-0.5, step * warmup**-1.5)


def rex(k, peak, floor, steps):
    """Chen, Wolfe and Kyrillidis (2021), arXiv:2107.04197, with a floor.

    peak (1 - z) / (1/2 + (1 - z)/2), z = k/N
    """
    z = min(k / steps, 1.0)
    return floor + (peak - floor) * (1.0 - z) / (0.5 + (1.0 - z) / 2.0)


def inverse_sqrt(k, peak, timescale):
    """Zhai et al. (2022), arXiv:2106.04560, without the warmup and the cooldown."""
    return peak * math.sqrt(timescale / (timescale + k))


def fairseq_inverse_sqrt(k, warmup_init_lr, lr, warmup_updates):
    """fairseq/optim/lr_scheduler/inverse_square_root_schedule.py."""
    if k < warmup_updates:
        return warmup_init_lr + k * (lr - warmup_init_lr) / warmup_updates
    return lr * warmup_updates**0.5 * k**-0.5


# Hu et al. (2024), arXiv:2404.06395: a linear warmup, constant, then a decay of
# some shape. "1-sqrt" is from Haegele et al. (2024), arXiv:2405.18392.
DECAYS = {
    "linear": lambda x, peak, floor: floor + (peak - floor) * (1.0 - x),
    "cosine": lambda x, peak, floor: (
        floor + (peak - floor) * (1.0 + math.cos(math.pi * x)) / 2.0
    ),
    "1-sqrt": lambda x, peak, floor: floor + (peak - floor) * (1.0 - math.sqrt(x)),
    "exponential": lambda x, peak, floor: peak * (floor / peak) ** x,
}


def wsd(k, peak, floor, steps, warmup, decay, decay_shape):
    if k < warmup:
        return peak * k / warmup
    if k >= steps:
        return floor
    decayed = max(0, k - (steps - decay)) / decay
    return DECAYS[decay_shape](decayed, peak, floor)


def wsd_repeated(k, peak, floor, period, warmup, decay, decay_shape):
    """WSD-S of Wen et al. (2024), arXiv:2410.05192, with periods of one length."""
    if k < warmup:
        return peak * k / warmup
    decayed = max(0, (k - warmup) % period - (period - decay)) / decay
    return DECAYS[decay_shape](decayed, peak, floor)


# Slide 9
class LearningRateScheduler:
    def __init__(self, initial_lr=0.1):
        self.initial_lr = initial_lr

    def step_decay(self, epoch, drop=0.5, epochs_drop=10):
        """Step decay schedule"""
        return self.initial_lr * np.power(drop, np.floor((1 + epoch) / epochs_drop))

    def exp_decay(self, epoch, k=0.1):
        """Exponential decay schedule"""
        return self.initial_lr * np.exp(-k * epoch)

    def cosine_decay(self, epoch, total_epochs):
        """Cosine annealing schedule"""
        return self.initial_lr * 0.5 * (1 + np.cos(np.pi * epoch / total_epochs))


# Slide 14
class AdvancedLRScheduler:
    def __init__(self, initial_lr=0.001, min_lr=1e-6):
        self.initial_lr = initial_lr
        self.min_lr = min_lr

    def linear_warmup(self, current_step, warmup_steps):
        """Linear warmup followed by constant learning rate"""
        if current_step < warmup_steps:
            return self.initial_lr * (current_step / warmup_steps)
        return self.initial_lr

    def cosine_decay_restart(self, current_step, first_decay_steps,
                            t_mul=2.0, m_mul=0.5):
        """Cosine decay with warm restarts"""
        first_decay_steps = max(1, first_decay_steps)
        alpha = self.min_lr / self.initial_lr

        completed_fraction = current_step / first_decay_steps

        # Calculate restart cycle
        cycle = np.floor(np.log2(completed_fraction * (t_mul - 1.0) + 1.0))
        current_period = first_decay_steps * t_mul ** (cycle - 1)
        current_step_in_period = current_step - (
            first_decay_steps * (t_mul ** cycle - 1.0) / (t_mul - 1.0)
        )

        fraction_in_period = current_step_in_period / current_period
        cosine_decay = 0.5 * (1.0 + np.cos(np.pi * fraction_in_period))
        decayed = (1 - alpha) * cosine_decay + alpha
        return self.initial_lr * decayed * (m_mul ** cycle)
