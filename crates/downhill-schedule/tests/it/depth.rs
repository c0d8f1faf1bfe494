//! How many schedules may be inside one another.

use downhill_schedule::{
    ConstantConfig, MultiplierConfig, Schedule, ScheduleConfig, ScheduleError, Warmup,
};

const MOST: usize = ScheduleConfig::MAX_DEPTH;

type Around = fn(ScheduleConfig) -> ScheduleConfig;

/// Every way to put a schedule into another one.
const WAYS: [(&str, Around); 11] = [
    ("warmup", |config| config.warmup(Warmup::cosine(3))),
    ("before", |config| {
        ScheduleConfig::constant(0.5).then(7, config)
    }),
    ("after", |config| {
        // Around another schedule, since sequences grow instead of nesting.
        config.then(7, ScheduleConfig::constant(0.5)).shift(0)
    }),
    ("times", |config| {
        (config * MultiplierConfig::constant(1.0)).shift(0)
    }),
    ("scale", |config| config.scale(1.0)),
    ("clamp", |config| config.clamp(0.0, 2.0)),
    ("at_least", |config| config.at_least(0.0)),
    ("at_most", |config| config.at_most(2.0)),
    ("shift", |config| config.shift(-1)),
    ("repeat", |config| config.repeat(9)),
    ("per_epoch", |config| config.per_epoch(2)),
];

fn nested(around: Around, times: usize) -> ScheduleConfig {
    (0..times).fold(ConstantConfig::new(1.0).schedule(), |config, _| {
        around(config)
    })
}

#[track_caller]
fn assert_too_deep(config: &ScheduleConfig) {
    let error = config.try_build_for(1.0, 100).unwrap_err();
    assert_eq!(error, ScheduleError::TooDeep);
    let message = error.to_string();
    assert!(message.contains("more than 32 schedules"), "{message}");
}

#[test]
fn schedules_inside_one_another_are_refused_beyond_a_limit() {
    for (way, around) in WAYS {
        // Two of them put a second one around.
        let each = if ["after", "times"].contains(&way) {
            2
        } else {
            1
        };
        let deepest = nested(around, (MOST - 1) / each);
        let schedule = deepest.try_build().unwrap();
        assert!(schedule.value(5).is_finite(), "{way}");
        assert_too_deep(&nested(around, MOST));
    }
}

/// Multipliers count as what they are inside of.
#[test]
fn a_multiplier_may_not_be_too_deep_either() {
    let multiplier = |depth| (1..depth).fold(MultiplierConfig::constant(1.0), |m, _| m.scale(1.0));
    let config = || ScheduleConfig::constant(1.0);
    assert!((config() * multiplier(MOST - 1)).try_build().is_ok());
    assert_too_deep(&(config() * multiplier(MOST)));
    assert_too_deep(&(config() * multiplier(MOST + 1)));
    let error = multiplier(MOST + 1).try_build().unwrap_err();
    assert_eq!(error, ScheduleError::TooDeep);
}

/// What was made in code of any depth is built, copied, compared, printed and dropped without a thread
/// running out of room.
#[test]
fn any_depth_is_an_error_and_nothing_worse() {
    for (way, around) in WAYS {
        let config = nested(around, 100_000);
        assert_too_deep(&config);
        assert_eq!(config.clone(), config, "{way}");
        assert_ne!(config, nested(around, 3), "{way}");
        let json = config.to_string();
        assert_eq!(format!("{config:?}").is_empty(), json.is_empty(), "{way}");
        let read: ScheduleConfig = serde_json::from_str(&json).unwrap();
        assert_eq!(read, config, "{way}");
        assert_too_deep(&read);
    }
}

/// Lists are not depth.
#[test]
fn as_many_as_one_likes_may_follow_one_another() {
    let mut sequence = ScheduleConfig::constant(1.0);
    let mut product = ScheduleConfig::constant(1.0);
    for milestone in 1..20_000_u64 {
        sequence = sequence.then(milestone, ScheduleConfig::constant(0.5));
        product = product * MultiplierConfig::constant(1.0);
    }
    assert_eq!(sequence.try_build().unwrap().value(19_999), 0.5);
    assert_eq!(product.try_build().unwrap().value(3), 1.0);
}

/// JSON is read as deep as schedules may be, whatever they are made of.
#[test]
fn the_deepest_schedules_are_read_back() {
    for (way, around) in WAYS {
        let each = if ["after", "times"].contains(&way) {
            2
        } else {
            1
        };
        let points = r#"{"name":"piecewise","points":[[0,0.5],[9,1]]}"#;
        let mut config = ScheduleConfig::from_json(points).unwrap();
        for _ in 0..(MOST - 1) / each {
            config = around(config);
        }
        let schedule = config.try_build().unwrap();
        let read: Schedule = serde_json::from_str(&schedule.config().to_string()).unwrap();
        assert_eq!(read, schedule, "{way}");
    }
    // Somewhat deeper ones are refused by their depth, much deeper ones by what reads the JSON.
    let scaled = |times: usize| {
        let begin = r#"{"name":"scale","schedule":"#.repeat(times);
        format!(
            "{begin}{{\"name\":\"constant\",\"value\":1}}{}",
            "}".repeat(times)
        )
    };
    assert_too_deep(&ScheduleConfig::from_json(&scaled(100)).unwrap());
    let error = ScheduleConfig::from_json(&scaled(100_000)).unwrap_err();
    assert!(error.to_string().contains("recursion limit"), "{error}");
}
