//! Statistics against SciPy's: `stats.json` is written by `tools/golden/statistics.py`.

use downhill_lab::stats::{bootstrap, median, quantile};
use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    values: Vec<f64>,
    median: f64,
    quantiles: Vec<(f64, f64)>,
    /// Between which the ends of the interval are: the 2nd and the 3rd percentile, the 97th and the
    /// 98th.
    low: Option<[f64; 2]>,
    high: Option<[f64; 2]>,
}

#[test]
fn as_scipy_has_them() {
    let File { cases } = serde_json::from_str(include_str!("stats.json")).unwrap();
    for Case {
        values,
        median: expected,
        quantiles,
        low,
        high,
    } in cases
    {
        assert!(
            (median(&values).unwrap() - expected).abs() < 1e-15,
            "{values:?}"
        );
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        for (q, expected) in quantiles {
            assert!(
                (quantile(&sorted, q) - expected).abs() < 1e-14,
                "{q} of {values:?}"
            );
        }
        let ours = bootstrap(&values).unwrap();
        assert_eq!(ours.median, median(&values).unwrap());
        let within = |x: f64, range: Option<[f64; 2]>| {
            let [from, to] = range.unwrap_or([expected, expected]);
            (from - 1e-14..=to + 1e-14).contains(&x)
        };
        assert!(
            within(ours.low, low),
            "{} and {low:?} of {values:?}",
            ours.low
        );
        assert!(
            within(ours.high, high),
            "{} and {high:?} of {values:?}",
            ours.high
        );
        // Twice the same.
        assert_eq!(bootstrap(&values), Some(ours));
    }
    assert_eq!(median(&[]), None);
    assert_eq!(bootstrap(&[]), None);
}
