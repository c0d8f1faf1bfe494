"""Values for the tests of `downhill-lab/src/score/` and `protocol/halton.rs`.

Everything is computed in another way than there: profiles are integrated piece by piece, medians are
NumPy's, Halton points SciPy's, and resamples are drawn with index arrays. A check at the end has no
counterpart in Rust: the bootstrap against all of its equally likely resamples.

Run with NumPy and SciPy: python tools/golden/scores.py
"""

import itertools

import numpy as np
from scipy.stats import qmc

LIMIT = 4.0
X = np.inf

# times[optimizer][problem][seed], as in the tests.
TABLE = [
    [[10], [30], [X], [X]],
    [[20], [15], [X], [X]],
    [[40], [X], [50], [X]],
]
SEEDS = [
    [[100, 140, 120], [50, 80, 60, 75, 90], [300, X, 320, 310]],
    [[110, 90, 150], [100, 70, 65, 85, 95], [400, 380, X, 390]],
    [[250, 210, X], [60, X, 70, X, X], [200, X, 230, X]],
    [[400, 420, 390], [300, 220, 260, X, 330], [500, 640, 610, X]],
]
EVEN = [[[2.0, X]], [[4.0, 6.0]]]
ALL_MISSED = [[[X, X], [X]], [[X, X], [X]]]


def stream():
    """Park and Miller's generator with 48271, which the tests have as well."""
    state = 1
    while True:
        state = state * 48271 % 2147483647
        yield state / 2147483647


def medians(times):
    with np.errstate(invalid="ignore"):
        return np.array([[np.median(seeds) for seeds in row] for row in times])


def ratios(times):
    table = medians(times)
    best = table.min(axis=0)
    out = np.full(table.shape, np.inf)
    np.divide(table, best, out=out, where=np.isfinite(table))
    return out


def rho(row, tau):
    return np.mean(row <= tau)


def profile(row):
    taus = np.unique(np.concatenate([[1.0], row[row <= LIMIT], [LIMIT]]))
    return [(float(tau), float(rho(row, tau))) for tau in taus]


def score(row):
    corners = profile(row)
    area = sum((b[0] - a[0]) * a[1] for a, b in itertools.pairwise(corners))
    return area / (LIMIT - 1)


def scores(times):
    return np.array([score(row) for row in ratios(times)])


def ranks(values):
    return np.array([1 + np.sum(values > own + 1e-12) for own in values])


def take(times, problems, seeds):
    return [
        [np.asarray(row[p], float)[s] for p, s in zip(problems, seeds, strict=True)]
        for row in times
    ]


def resampled(times, resamples):
    numbers = stream()
    counts = [len(seeds) for seeds in times[0]]
    found = []
    for _ in range(resamples):
        problems, seeds = [], []
        for _ in counts:
            problem = int(next(numbers) * len(counts))
            problems.append(problem)
            count = counts[problem]
            seeds.append([int(next(numbers) * count) for _ in range(count)])
        found.append(scores(take(times, problems, seeds)))
    return np.array(found)


def against_best(times, resamples):
    """Simultaneous, by the range of the errors of all scores."""
    base = scores(times)
    best = int(np.argmax(base >= base.max() - 1e-12))
    errors = resampled(times, resamples) - base
    spread = np.round(np.ptp(errors, axis=1), 12)
    found = []
    for i in range(len(times)):
        if i == best:
            continue
        difference = float(base[best] - base[i])
        p = (1 + np.sum(spread >= np.round(difference, 12))) / (resamples + 1)
        found.append((i, difference, float(p)))
    return found


def intervals(times, resamples):
    base, drawn = scores(times), resampled(times, resamples)
    places = np.array([ranks(row) for row in drawn])
    for i, own in enumerate(base):
        low, high = np.quantile(drawn[:, i], [0.025, 0.975])
        rank_low = np.quantile(places[:, i], 0.025, method="lower")
        rank_high = np.quantile(places[:, i], 0.975, method="higher")
        yield (
            float(own),
            float(low),
            float(high),
            int(ranks(base)[i]),
            int(rank_low),
            int(rank_high),
        )


def robustness(values, lower_is_better, share):
    values = np.array(values, float)
    if lower_is_better:
        return np.mean(values <= np.nanmin(values) * (1 + share))
    return np.mean(values >= np.nanmax(values) * (1 - share))


def check_exhaustively():
    """All resamples of two problems with two seeds each, against those that are drawn."""
    times = [[[1.0, 3.0], [2.0, X]], [[2.0, 2.5], [3.0, 1.0]]]
    one = list(itertools.product(range(2), itertools.product(range(2), repeat=2)))
    exact = np.array(
        [
            scores(take(times, [a[0], b[0]], [list(a[1]), list(b[1])]))
            for a, b in itertools.product(one, repeat=2)
        ]
    )
    drawn = resampled(times, 20000)
    assert len(exact) == 64
    assert np.allclose(exact.mean(axis=0), drawn.mean(axis=0), atol=0.005)
    assert np.allclose(exact.std(axis=0), drawn.std(axis=0), atol=0.005)
    difference = [np.mean(x[:, 0] - x[:, 1] <= 1e-12) for x in (exact, drawn)]
    assert abs(difference[0] - difference[1]) < 0.01
    print("exhaustive:", exact.mean(axis=0), drawn.mean(axis=0), difference)


if __name__ == "__main__":
    np.set_printoptions(precision=17)
    for name, times in [("TABLE", TABLE), ("SEEDS", SEEDS), ("EVEN", EVEN)]:
        print(f"{name} medians\n{medians(times)}\nratios\n{ratios(times)}")
        print("profiles", *[profile(row) for row in ratios(times)], sep="\n ")
        print("scores", scores(times).tolist())
    print("ALL_MISSED", scores(ALL_MISSED).tolist())
    print("intervals of SEEDS", *intervals(SEEDS, 500), sep="\n ")
    print("against_best of SEEDS", *against_best(SEEDS, 500), sep="\n ")
    print("against_best of TABLE", *against_best(TABLE, 500), sep="\n ")
    losses = [1.0, 1.0625, 1.125, np.nan, 9.0]
    print("robustness", [robustness(losses, True, s) for s in (0.1, 0.125, 0.0)])
    metrics = [0.5, 0.46875, 0.4375, np.nan]
    print("robustness", [robustness(metrics, False, s) for s in (0.1, 0.125)])
    points = qmc.Halton(d=4, scramble=False).random(9)[1:]
    print("halton", *[p.tolist() for p in points], sep="\n ")
    check_exhaustively()
