//! How close a run comes to its target, and how many settings come close to the best.

/// How far the end of a run is from its target, as a share of the way that it had to go:
/// `|reached - target| / |begun - target|`, in units of the way.
///
/// 0 where the target is reached or passed, 1 where the run ends as it began, more where it ends worse.
/// Infinite where that is no number: without a finite end, or if there was no way to go, because the run
/// began at the target or past it and lost it again.
///
/// `begun`, `reached`, and `target` are values of one loss or metric. As the times to the target say
/// nothing of a run that misses it, this tells a near miss from a failure; it is no part of AlgoPerf.
pub fn shortfall(begun: f64, reached: Option<f64>, target: f64, lower_is_better: bool) -> f64 {
    let Some(reached) = reached.filter(|value| value.is_finite()) else {
        return f64::INFINITY;
    };
    let above = |value: f64| {
        if lower_is_better {
            value - target
        } else {
            target - value
        }
    };
    let (missed, way) = (above(reached), above(begun));
    if missed <= 0.0 {
        0.0
    } else if way > 0.0 && way.is_finite() {
        missed / way
    } else {
        f64::INFINITY
    }
}

/// The share of the tried settings with a final value within `share` of the best one, from above 0 to 1;
/// none where no setting has a finite one. Those without are tried, but not within.
///
/// Within is `value <= best + share |best|` if lower is better, and `value >= best - share |best|` if
/// higher is: for positive values `best (1 + share)` and `best (1 - share)`. `share` is 0 or more, 0.1 for
/// a tenth.
///
/// The values need a zero that means something. Of an accuracy near 1 a tenth is most of what there is to
/// gain; the error rate, of which lower is better, tells settings apart there. The share is that of the
/// grid as well: only equal grids compare.
pub fn robustness(values: &[Option<f64>], lower_is_better: bool, share: f64) -> Option<f64> {
    let finished = || values.iter().flatten().copied().filter(|v| v.is_finite());
    let best = finished().reduce(if lower_is_better { f64::min } else { f64::max })?;
    let margin = share * best.abs();
    let within = finished().filter(|value| match lower_is_better {
        true => *value <= best + margin,
        false => *value >= best - margin,
    });
    Some(within.count() as f64 / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_a_small_share_of_the_way() {
        assert_eq!(shortfall(2.5, Some(0.75), 0.5, true), 0.125);
        assert_eq!(shortfall(0.125, Some(0.75), 0.875, false), 1.0 / 6.0);
    }

    #[test]
    fn from_reached_over_the_start_to_worse() {
        for (reached, lower, higher) in [
            (0.25, 0.0, 3.5),
            (0.5, 0.0, 3.0),
            (0.75, 0.5, 2.5),
            (1.0, 1.0, 2.0),
        ] {
            assert_eq!(shortfall(1.0, Some(reached), 0.5, true), lower, "{reached}");
            assert_eq!(
                shortfall(1.5, Some(reached), 2.0, false),
                higher,
                "{reached}"
            );
        }
        assert_eq!(shortfall(1.0, Some(3.0), 0.5, true), 5.0);
    }

    #[test]
    fn no_number_is_infinitely_far() {
        for reached in [
            None,
            Some(f64::NAN),
            Some(f64::INFINITY),
            Some(f64::NEG_INFINITY),
        ] {
            for lower_is_better in [true, false] {
                assert_eq!(shortfall(1.0, reached, 0.5, lower_is_better), f64::INFINITY);
            }
        }
        assert_eq!(
            shortfall(f64::INFINITY, Some(1.0), 0.5, true),
            f64::INFINITY
        );
        assert_eq!(shortfall(f64::NAN, Some(1.0), 0.5, true), f64::INFINITY);
        assert_eq!(shortfall(1.0, Some(1.0), f64::NAN, true), f64::INFINITY);
    }

    #[test]
    fn without_a_way_to_go_a_loss_is_infinite() {
        for begun in [0.5, 0.25] {
            assert_eq!(shortfall(begun, Some(0.5), 0.5, true), 0.0);
            assert_eq!(shortfall(begun, Some(0.75), 0.5, true), f64::INFINITY);
        }
    }

    /// `tools/golden/scores.py`.
    #[test]
    fn the_share_of_good_settings() {
        let losses = [Some(1.0), Some(1.0625), Some(1.125), None, Some(9.0)];
        assert_eq!(robustness(&losses, true, 0.1), Some(0.4));
        assert_eq!(robustness(&losses, true, 0.125), Some(0.6));
        assert_eq!(robustness(&losses, true, 0.0), Some(0.2));
        assert_eq!(robustness(&[Some(1.0), Some(1.1)], true, 0.1), Some(1.0));
        let metrics = [Some(0.5), Some(0.46875), Some(0.4375), Some(f64::NAN)];
        assert_eq!(robustness(&metrics, false, 0.1), Some(0.5));
        assert_eq!(robustness(&metrics, false, 0.125), Some(0.75));
    }

    #[test]
    fn nothing_finished_has_no_share() {
        assert_eq!(robustness(&[], true, 0.1), None);
        assert_eq!(
            robustness(&[None, Some(f64::NAN), Some(f64::INFINITY)], true, 0.1),
            None
        );
        assert_eq!(robustness(&[None, Some(f64::INFINITY)], false, 0.1), None);
    }

    /// `best (1 + share)` alone would leave out the best itself.
    #[test]
    fn the_best_is_within_also_where_it_is_not_positive() {
        let likelihoods = [Some(-2.0), Some(-1.875), Some(-1.0)];
        assert_eq!(robustness(&likelihoods, true, 0.1), Some(2.0 / 3.0));
        assert_eq!(robustness(&[Some(0.0), Some(1.0)], true, 0.1), Some(0.5));
        assert_eq!(
            robustness(&[Some(-1.0), Some(-1.0625)], false, 0.1),
            Some(1.0)
        );
    }
}
