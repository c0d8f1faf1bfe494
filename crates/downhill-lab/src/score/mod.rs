//! How optimizers stand over several problems: performance profiles, and the score of AlgoPerf.
//!
//! An optimizer's time on a problem becomes its ratio `r` to the fastest one's. Its profile is
//! `rho(tau)`, the share of problems with `r <= tau` (Dolan and Moré 2002, "Benchmarking optimization
//! software with performance profiles", section 2), and its score is the mean height of that profile
//! from 1 to [`LIMIT`] (Dahl et al. 2023, "Benchmarking Neural Network Training Algorithms",
//! arXiv 2306.07179; "Benchmark score using performance profiles" in the rules of AlgoPerf).
//!
//! A ratio is to the fastest of those that are compared. Scores from different sets of optimizers are
//! therefore not comparable, and one that joins or leaves can swap two others (Gould and Scott 2016, "A
//! note on performance profiles for benchmarking software").

mod chance;
mod closeness;

pub use chance::{Chance, Difference, SIGNIFICANCE, ScoreInterval};
pub use closeness::{robustness, shortfall};

/// The ratio from which on a problem counts as not reached: AlgoPerf's `r_max`, 4 times the fastest.
pub const LIMIT: f64 = 4.0;

/// Why there are no [`Times`].
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TimesError {
    /// There is no optimizer, no problem, or no seed.
    #[error("a score needs an optimizer, a problem, and a seed of each")]
    Empty,
    /// An optimizer has another number of problems than the first one.
    #[error("optimizer {optimizer} has {found} problems, and the first one {expected}")]
    Problems {
        /// Its index.
        optimizer: usize,
        /// Its problems.
        found: usize,
        /// The first one's.
        expected: usize,
    },
    /// An optimizer has another number of seeds on a problem than the first one.
    #[error(
        "optimizer {optimizer} has {found} seeds on problem {problem}, and the first one {expected}"
    )]
    Seeds {
        /// Its index.
        optimizer: usize,
        /// The problem's index.
        problem: usize,
        /// Its seeds.
        found: usize,
        /// The first one's.
        expected: usize,
    },
    /// A time is not positive, or not finite.
    #[error(
        "a time must be positive and finite, got {time} of optimizer {optimizer} on problem {problem}"
    )]
    Time {
        /// The optimizer's index.
        optimizer: usize,
        /// The problem's index.
        problem: usize,
        /// What is no time.
        time: f64,
    },
}

/// Times to the target of several optimizers on several problems, each with several seeds.
///
/// The unit is free, steps or seconds: only ratios count. The runs with one seed are paired: all optimizers
/// began them with the same weights and the same order of the samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Times {
    /// By optimizer, problem, and seed; infinite where not reached, so that it sorts last.
    times: Vec<Vec<Vec<f64>>>,
}

impl Times {
    /// From `times[optimizer][problem][seed]`, none where a run did not reach the target.
    ///
    /// # Errors
    ///
    /// All optimizers need the same problems with the same seeds, at least one of each, and every time
    /// must be positive and finite. The number of seeds may differ between problems.
    pub fn new(times: Vec<Vec<Vec<Option<f64>>>>) -> Result<Self, TimesError> {
        let first = times.first().ok_or(TimesError::Empty)?;
        if first.is_empty() || first.iter().any(Vec::is_empty) {
            return Err(TimesError::Empty);
        }
        for (optimizer, row) in times.iter().enumerate() {
            if row.len() != first.len() {
                return Err(TimesError::Problems {
                    optimizer,
                    found: row.len(),
                    expected: first.len(),
                });
            }
            for (problem, (seeds, expected)) in row.iter().zip(first).enumerate() {
                if seeds.len() != expected.len() {
                    return Err(TimesError::Seeds {
                        optimizer,
                        problem,
                        found: seeds.len(),
                        expected: expected.len(),
                    });
                }
                let mut reached = seeds.iter().flatten().copied();
                if let Some(time) = reached.find(|time| !time.is_finite() || *time <= 0.0) {
                    return Err(TimesError::Time {
                        optimizer,
                        problem,
                        time,
                    });
                }
            }
        }
        let unreached = |time: Option<f64>| time.unwrap_or(f64::INFINITY);
        let numbers = |seeds: Vec<Option<f64>>| seeds.into_iter().map(unreached).collect();
        let times = times.into_iter();
        Ok(Self {
            times: times
                .map(|row| row.into_iter().map(numbers).collect())
                .collect(),
        })
    }

    /// The median time by optimizer and problem, in the unit of the times; infinite unless more than half
    /// of the runs reached the target.
    ///
    /// A run that did not reach it is later than any that did (AlgoPerf's rules, "Tuning": such a run has
    /// an infinite time, and the median over 5 counts). With an even number of seeds this is the mean of
    /// the middle two, and so infinite with exactly half.
    pub fn medians(&self) -> Vec<Vec<f64>> {
        let row = |row: &Vec<Vec<f64>>| row.iter().map(|seeds| median(seeds)).collect();
        self.times.iter().map(row).collect()
    }

    /// `r = t / min t`, by optimizer and problem: the median time over the lowest of all optimizers. From
    /// 1, at the fastest, to infinity, where not reached; infinite for all where none reached it (Dolan
    /// and Moré 2002, section 2, with infinity as their `r_M`).
    pub fn ratios(&self) -> Vec<Vec<f64>> {
        let mut ratios = self.medians();
        for problem in 0..ratios[0].len() {
            let times = ratios.iter().map(|row| row[problem]);
            let fastest = times.fold(f64::INFINITY, f64::min);
            // Infinite times stay as they are: over an infinite fastest one they would be no number.
            for row in ratios.iter_mut().filter(|row| row[problem].is_finite()) {
                row[problem] /= fastest;
            }
        }
        ratios
    }

    /// `rho(tau)`, the share of problems with a ratio of at most `tau`, as corners `(tau, share)` by
    /// optimizer: the share holds from its `tau` up to the next one's. The first corner is at 1, the last
    /// at [`LIMIT`]; `tau` ascends, and shares, from 0 to 1, do not fall (Dolan and Moré 2002, section 2).
    pub fn profiles(&self) -> Vec<Vec<(f64, f64)>> {
        let profile = |ratios: &Vec<f64>| {
            let mut corners = vec![1.0, LIMIT];
            corners.extend(ratios.iter().filter(|ratio| **ratio < LIMIT));
            corners.sort_by(f64::total_cmp);
            corners.dedup();
            let within = |tau| ratios.iter().filter(|ratio| **ratio <= tau).count();
            let corner = |tau| (tau, within(tau) as f64 / ratios.len() as f64);
            corners.into_iter().map(corner).collect()
        };
        self.ratios().iter().map(profile).collect()
    }

    /// AlgoPerf's score by optimizer: the integral of the profile from 1 to [`LIMIT`] over `LIMIT - 1`.
    /// From 0, nowhere within the limit, to 1, the fastest everywhere (Dahl et al. 2023; in the rules `B`).
    ///
    /// It is exact: a problem is under the profile from its ratio to the limit, so that the integral is the
    /// mean of `max(0, LIMIT - r)`.
    pub fn scores(&self) -> Vec<f64> {
        let score = |ratios: &Vec<f64>| {
            let areas = ratios.iter().map(|ratio| (LIMIT - ratio).max(0.0));
            areas.sum::<f64>() / ratios.len() as f64 / (LIMIT - 1.0)
        };
        self.ratios().iter().map(score).collect()
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    // Not by interpolation: between two infinite values that would be no number.
    f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFINITE: f64 = f64::INFINITY;

    /// A number for a run that reached the target, `X` for one that did not.
    const X: f64 = INFINITE;

    /// The shape and the tables are those of `tools/golden/scores.py`, and so are the expected values.
    pub(super) fn times(rows: &[&[&[f64]]]) -> Times {
        let run = |time: &f64| time.is_finite().then_some(*time);
        let row = |row: &&[&[f64]]| row.iter().map(|s| s.iter().map(run).collect()).collect();
        Times::new(rows.iter().map(row).collect()).unwrap()
    }

    fn table() -> Times {
        times(&[
            &[&[10.0], &[30.0], &[X], &[X]],
            &[&[20.0], &[15.0], &[X], &[X]],
            &[&[40.0], &[X], &[50.0], &[X]],
        ])
    }

    pub(super) fn seeds() -> Times {
        times(&[
            &[
                &[100., 140., 120.],
                &[50., 80., 60., 75., 90.],
                &[300., X, 320., 310.],
            ],
            &[
                &[110., 90., 150.],
                &[100., 70., 65., 85., 95.],
                &[400., 380., X, 390.],
            ],
            &[&[250., 210., X], &[60., X, 70., X, X], &[200., X, 230., X]],
            &[
                &[400., 420., 390.],
                &[300., 220., 260., X, 330.],
                &[500., 640., 610., X],
            ],
        ])
    }

    pub(super) fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
        }
    }

    /// Small enough for a hand: the first is ahead by `(3 + 2) / (4 * 3)`.
    #[test]
    fn the_definition_of_algoperf() {
        let ratios = [
            [1.0, 2.0, INFINITE, INFINITE],
            [2.0, 1.0, INFINITE, INFINITE],
            [4.0, INFINITE, 1.0, INFINITE],
        ];
        assert_eq!(table().ratios(), ratios);
        let both = vec![(1.0, 0.25), (2.0, 0.5), (4.0, 0.5)];
        let third = vec![(1.0, 0.25), (4.0, 0.5)];
        assert_eq!(table().profiles(), [both.clone(), both, third]);
        close(&table().scores(), &[5.0 / 12.0, 5.0 / 12.0, 3.0 / 12.0]);
    }

    #[test]
    fn an_unreached_target_is_late_and_not_missing() {
        let medians = [
            [120.0, 75.0, 315.0],
            [110.0, 85.0, 395.0],
            [250.0, INFINITE, INFINITE],
            [400.0, 300.0, 625.0],
        ];
        assert_eq!(seeds().medians(), medians);
        let scores = [
            0.98989898989899,
            0.9569664902998237,
            0.1919191919191919,
            0.26438993105659775,
        ];
        close(&seeds().scores(), &scores);
        let half = times(&[&[&[2.0, X]], &[&[4.0, 6.0]]]);
        assert_eq!(half.medians(), [[INFINITE], [5.0]]);
        assert_eq!(half.scores(), [0.0, 1.0]);
    }

    /// A near miss of the limit has what it is short of it, one beyond nothing.
    #[test]
    fn beyond_the_limit_nothing_is_counted() {
        let near = times(&[&[&[8.0]], &[&[31.0]], &[&[32.0]], &[&[33.0]]]);
        close(&near.scores(), &[1.0, 1.0 / 24.0, 0.0, 0.0]);
        assert_eq!(near.profiles()[2], [(1.0, 0.0), (4.0, 1.0)]);
        assert_eq!(near.profiles()[3], [(1.0, 0.0), (4.0, 0.0)]);
    }

    #[test]
    fn nothing_reached_is_no_score() {
        let missed = times(&[&[&[X, X], &[X]], &[&[X, X], &[X]]]);
        assert_eq!(missed.ratios(), [[INFINITE; 2]; 2]);
        assert_eq!(missed.profiles(), vec![vec![(1.0, 0.0), (4.0, 0.0)]; 2]);
        assert_eq!(missed.scores(), [0.0, 0.0]);
    }

    #[test]
    fn equal_times_are_all_the_fastest() {
        let equal = times(&[&[&[7.0], &[3.0]], &[&[7.0], &[3.0]], &[&[7.0], &[X]]]);
        assert_eq!(equal.profiles()[0], [(1.0, 1.0), (4.0, 1.0)]);
        assert_eq!(equal.scores(), [1.0, 1.0, 0.5]);
    }

    #[test]
    fn the_score_is_the_area_under_the_profile() {
        for times in [table(), seeds()] {
            let area = |corners: &Vec<(f64, f64)>| {
                let pieces = corners.windows(2);
                pieces
                    .map(|pair| (pair[1].0 - pair[0].0) * pair[0].1)
                    .sum::<f64>()
                    / 3.0
            };
            let areas: Vec<f64> = times.profiles().iter().map(area).collect();
            close(&times.scores(), &areas);
        }
    }

    #[test]
    fn the_unit_does_not_matter() {
        let [steps, seconds] = [1.0, 1024.0].map(|unit| {
            let rows = [[2.0, 3.0], [5.0, 1.0]].map(|row| row.map(|t: f64| vec![Some(t / unit)]));
            Times::new(rows.map(|row| row.to_vec()).to_vec()).unwrap()
        });
        assert_eq!(steps.ratios(), seconds.ratios());
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let one = || vec![Some(1.0)];
        let fault = |rows: Vec<Vec<Vec<Option<f64>>>>| Times::new(rows).unwrap_err().to_string();
        for empty in [vec![], vec![vec![]], vec![vec![one(), vec![]]]] {
            assert_eq!(
                fault(empty),
                "a score needs an optimizer, a problem, and a seed of each"
            );
        }
        assert_eq!(
            fault(vec![vec![one(), one()], vec![one()]]),
            "optimizer 1 has 1 problems, and the first one 2"
        );
        assert_eq!(
            fault(vec![vec![one(), one()], vec![one(), vec![None; 3]]]),
            "optimizer 1 has 3 seeds on problem 1, and the first one 1"
        );
        for time in [0.0, -1.0, f64::NAN, INFINITE] {
            let message = format!("got {time} of optimizer 0 on problem 1");
            assert!(fault(vec![vec![one(), vec![None, Some(time)]]]).ends_with(&message));
        }
    }
}
