//! Where the deck's schedules (slides 9 and 14) and the right ones differ, and by how much.

use downhill_schedule::{
    CosineConfig, CosineRestartsConfig, ExponentialConfig, LinearConfig, Schedule, ScheduleConfig,
    StepConfig, slides,
};

fn built(config: impl Into<ScheduleConfig>) -> Schedule {
    config.into().try_build().unwrap()
}

fn sum(schedule: &Schedule, steps: u64) -> f64 {
    (0..steps).map(|step| schedule.value(step)).sum()
}

/// The largest and the mean difference over `steps` steps.
fn difference(a: &Schedule, b: &Schedule, steps: u64) -> (f64, f64) {
    let differences = (0..steps).map(|step| (a.value(step) - b.value(step)).abs());
    let (max, sum) = differences.fold((0.0, 0.0), |(max, sum): (f64, f64), x| {
        (max.max(x), sum + x)
    });
    (max, sum / steps as f64)
}

fn assert_close(actual: f64, expected: f64, tolerance: f64, what: &str) {
    assert!(
        (actual - expected).abs() <= tolerance,
        "{what}: {actual} and not {expected}"
    );
}

/// Slide 9: the first stage is one epoch short, in every stage after it the rate is early by one.
#[test]
fn step_decay() {
    let deck = built(slides::StepConfig::new(0.1, 10));
    let right = built(StepConfig::new(0.1, 10).with_gamma(0.5));
    for (epoch, of_deck, of_right) in [
        (0, 0.1, 0.1),
        (8, 0.1, 0.1),
        (9, 0.05, 0.1),
        (10, 0.05, 0.05),
        (19, 0.025, 0.05),
        (20, 0.025, 0.025),
    ] {
        assert_eq!(deck.value(epoch), of_deck, "deck at {epoch}");
        assert_eq!(right.value(epoch), of_right, "right at {epoch}");
    }
    assert_close(
        sum(&deck, 30),
        1.6625,
        1e-12,
        "the deck's rates in 30 epochs",
    );
    assert_close(sum(&right, 30), 1.75, 1e-12, "the right ones");

    // With a drop at every epoch the initial rate never occurs.
    let deck = built(slides::StepConfig::new(0.1, 1));
    assert_eq!(deck.value(0), 0.05);
    assert_eq!(built(StepConfig::new(0.1, 1).with_gamma(0.5)).value(0), 0.1);

    // The deck's optimizer passes an epoch and counts updates: 100 an epoch leave nothing.
    let deck = built(slides::StepConfig::new(0.1, 10));
    assert_close(
        deck.value(100),
        9.8e-5,
        1e-6,
        "after an epoch of 100 updates",
    );
    assert!(deck.value(1000) < 1e-30);
    let right = built(
        StepConfig::new(0.1, 10)
            .with_gamma(0.5)
            .schedule()
            .per_epoch(100),
    );
    assert_eq!(right.value(100), 0.1);
    assert_eq!(right.value(1000), 0.05);
}

/// Slide 9: right.
#[test]
fn exponential_decay() {
    let deck = built(slides::ExponentialConfig::new(0.1));
    let right = built(ExponentialConfig::new(0.1, (-0.1f64).exp(), 1));
    let (max, _) = difference(&deck, &right, 1000);
    assert!(max < 1e-15, "{max}");
}

/// Slide 9: right up to its end, after which it rises.
#[test]
fn cosine_decay() {
    let deck = built(slides::CosineConfig::new(0.1, 100));
    let right = built(CosineConfig::new(0.1, 100));
    let (max, _) = difference(&deck, &right, 101);
    assert!(max < 1e-15, "{max}");
    assert_close(deck.value(150), 0.05, 1e-15, "deck at 150");
    assert_close(deck.value(200), 0.1, 1e-15, "deck at 200");
    assert_eq!([150, 200].map(|epoch| right.value(epoch)), [0.0, 0.0]);
}

/// Slide 14: right.
#[test]
fn linear_warmup() {
    let deck = built(slides::WarmupConfig::new(0.1, 1000));
    let right = built(ScheduleConfig::constant(0.1).warmup(1000));
    let (max, _) = difference(&deck, &right, 3000);
    assert!(max < 1e-15, "{max}");
    assert_eq!(right, built(ScheduleConfig::constant(0.1).warmup(1000)));
    let line = built(LinearConfig::new(0.0, 0.1, 1000));
    assert!(difference(&deck, &line, 3000).0 < 1e-15);
}

/// Slide 14, without `m_mul` and floor, at an initial rate of 1 and a first cycle of 10 steps.
#[test]
fn restarts() {
    let pair = |t_mul: f64| {
        let deck = slides::RestartsConfig::new(1.0, 10)
            .with_min(0.0)
            .with_m_mul(1.0);
        let right = CosineRestartsConfig::new(1.0, 10).with_t_mul(t_mul);
        (built(deck.with_t_mul(t_mul)), built(right))
    };

    let (deck, right) = pair(2.0);
    for (step, of_deck, of_right) in [
        (0, 1.0, 1.0),
        (5, 0.0, 0.5),
        (9, 0.9045, 0.0245),
        (10, 1.0, 1.0),
        (20, 0.0, 0.5),
        (29, 0.9755, 0.0062),
        (69, 0.9938, 0.0015),
    ] {
        assert_close(deck.value(step), of_deck, 5e-5, "deck");
        assert_close(right.value(step), of_right, 5e-5, "right");
    }
    let (max, mean) = difference(&deck, &right, 310);
    assert_close(max, 0.9995, 5e-4, "largest difference");
    assert_close(mean, 0.406, 5e-4, "mean difference");
    // A restart is a jump up to the peak. The deck's cosine comes back to it by itself.
    let jump = |schedule: &Schedule, step| schedule.value(step) - schedule.value(step - 1);
    assert!(jump(&right, 10) > 0.97 && jump(&deck, 10) < 0.1);
    assert!(jump(&right, 70) > 0.99 && jump(&deck, 70) < 0.01);

    // The logarithm's base is 2, whatever t_mul is.
    let (deck, right) = pair(3.0);
    assert_close(deck.value(12), 0.9045, 5e-5, "deck at 12");
    assert_close(right.value(12), 0.9891, 5e-5, "right at 12");
    assert_close(deck.value(15), 0.067, 5e-4, "deck at 15");
    assert_close(right.value(15), 0.933, 5e-4, "right at 15");
    assert!(deck.value(6) > deck.value(5));
    assert_close(
        difference(&deck, &right, 310).1,
        0.533,
        5e-3,
        "mean difference",
    );
    let (deck, right) = pair(4.0);
    assert_close(deck.value(10), 0.0, 1e-12, "deck at the first restart");
    assert_eq!(right.value(10), 1.0);

    // What a first cycle adds up to.
    for (t_mul, of_deck) in [(2.0, 5.0), (3.0, 6.09), (1.5, 4.21), (4.0, 6.02)] {
        let (deck, right) = pair(t_mul);
        assert_close(sum(&deck, 10), of_deck, 5e-3, "the deck's first cycle");
        assert_close(sum(&right, 10), 5.5, 1e-12, "the right one");
    }
}

/// Slide 14 at the deck's own settings: the figure of 20 000 steps.
#[test]
fn restarts_of_the_figure() {
    let deck = slides::RestartsConfig::new(0.1, 5000);
    let deck = built(deck);
    let right = CosineRestartsConfig::new(0.1, 5000).with_floor(1e-6);
    let right = built(right.with_t_mul(2.0).with_m_mul(0.5));
    assert_eq!(right.phases(20_000), [5000, 15_000]);
    for (step, of_deck, of_right) in [
        (2500, 1e-6, 0.0500005),
        (4999, 0.1, 1e-6),
        (5000, 0.05, 0.0500005),
        (10_000, 5e-7, 0.0250008),
        (15_000, 0.025, 0.02500075),
    ] {
        assert_close(deck.value(step), of_deck, 1e-7, "deck");
        assert_close(right.value(step), of_right, 1e-7, "right");
    }
    // The deck's floor is halved with the rest: 1e-6 becomes 5e-7 and 2.5e-7.
    let lowest = |schedule: &Schedule| {
        (0..20_000)
            .map(|step| schedule.value(step))
            .fold(f64::MAX, f64::min)
    };
    assert_close(lowest(&deck), 5e-7, 1e-8, "the deck's lowest rate");
    assert!(lowest(&right) >= 1e-6);
    let (max, mean) = difference(&deck, &right, 20_000);
    assert_close(max, 0.1, 1e-3, "largest difference");
    assert_close(mean, 0.0215, 5e-5, "mean difference");
}

/// Where the deck divides zero by zero.
#[test]
fn restarts_of_equal_length() {
    let deck = slides::RestartsConfig::new(1.0, 10)
        .with_t_mul(1.0)
        .try_build();
    let message = deck.unwrap_err().to_string();
    assert_eq!(
        message,
        "slides_restarts: `t_mul` must be above 1 (at 1 the deck divides zero by zero) and at \
         most 1000, got 1"
    );
    let right = built(CosineRestartsConfig::new(1.0, 10).with_t_mul(1.0));
    assert_eq!(right.phases(35), [10, 20, 30]);
    assert_eq!(right.value(30), 1.0);
}
