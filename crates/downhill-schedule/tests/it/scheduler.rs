//! Schedules as Burn's schedulers.

use burn::lr_scheduler::{
    LrScheduler, LrSchedulerRecord, cosine::CosineAnnealingLrSchedulerConfig,
    linear::LinearLrSchedulerConfig, module_lr_scheduler::ModuleLrScheduler,
    noam::NoamLrSchedulerConfig, step::StepLrSchedulerConfig,
};
use burn::module::ParamGroup;
use downhill_schedule::{
    CosineConfig, CosineRestartsConfig, ExponentialConfig, LinearConfig, NoamConfig,
    PlateauScheduler, RecordError, ReduceOnPlateauConfig, Schedule, ScheduleConfig, StepConfig,
    WsdConfig,
};

fn schedules() -> Vec<Schedule> {
    let configs: [ScheduleConfig; 4] = [
        CosineConfig::new(0.1, 30).schedule().warmup(7),
        CosineRestartsConfig::new(30.0, 5).with_t_mul(1.5).into(),
        WsdConfig::new(0.1, 40)
            .with_warmup(3)
            .with_decay(9)
            .schedule()
            .repeat(17),
        ScheduleConfig::custom("sawtooth", |step| 0.1 / (1 + step % 9) as f64),
    ];
    configs.map(|config| config.try_build().unwrap()).into()
}

#[test]
fn stepping_is_the_value_of_the_step() {
    for schedule in schedules() {
        let mut scheduler = schedule.scheduler();
        for step in 0..100 {
            assert_eq!(scheduler.position(), step);
            assert_eq!(scheduler.peek(), schedule.value(step));
            assert_eq!(scheduler.step(), schedule.value(step));
        }
    }
}

#[test]
fn resuming_anywhere_is_the_same_as_going_on() {
    for schedule in schedules() {
        for interruption in 0..60 {
            let mut scheduler = schedule.scheduler();
            (0..interruption).for_each(|_| _ = scheduler.step());

            // Through a file's bytes, as checkpoints go.
            let bytes = scheduler.to_record().into_bytes().unwrap();
            let record = LrSchedulerRecord::from_bytes(bytes).unwrap();
            let mut resumed = schedule.scheduler();
            resumed.try_load_record(&record).unwrap();
            let mut sought = schedule.scheduler();
            sought.seek(interruption);
            for step in interruption..60 {
                assert_eq!(resumed.step(), schedule.value(step));
                assert_eq!(sought.step(), schedule.value(step));
            }
        }
    }
}

#[test]
fn the_last_step_is_not_the_end() {
    let mut scheduler = schedules()[0].scheduler();
    scheduler.seek(u64::MAX);
    assert_eq!(scheduler.step(), 0.0);
    assert_eq!(scheduler.step(), 0.0);
    let bytes = scheduler.to_record().into_bytes().unwrap();
    let record = LrSchedulerRecord::from_bytes(bytes).unwrap();
    let mut resumed = schedules()[0].scheduler();
    resumed.try_load_record(&record).unwrap();
    assert_eq!(resumed.position(), u64::MAX);
}

#[test]
fn a_record_of_other_settings_is_refused() {
    let schedule = CosineConfig::new(0.1, 100).try_build().unwrap();
    let mut scheduler = schedule.scheduler();
    scheduler.seek(42);
    let record = scheduler.to_record();

    // A longer run, for which burn-optim's schedulers go on at the wrong place.
    let longer = CosineConfig::new(0.1, 200).try_build().unwrap();
    let mut resumed = longer.scheduler();
    resumed.seek(7);
    let error = resumed.try_load_record(&record).unwrap_err();
    assert!(matches!(
        error,
        RecordError::OtherConfig { step: Some(42), .. }
    ));
    let message = error.to_string();
    for part in [
        r#"{"name":"cosine","peak":0.1,"#,
        r#""steps":200"#,
        "`seek`: it was at 42",
    ] {
        assert!(message.contains(part), "{message}");
    }
    // Nothing was changed by the attempt.
    assert_eq!(resumed.position(), 7);
    assert_eq!(resumed.schedule(), &longer);

    // Settings that come to the same are the same.
    let same = ScheduleConfig::from_json(r#"{"name": "cosine", "steps": "50%"}"#).unwrap();
    let mut same = same.try_build_for(0.1, 200).unwrap().scheduler();
    same.try_load_record(&record).unwrap();
    assert_eq!(same.position(), 42);
}

#[test]
fn a_foreign_record_is_refused() {
    let mut scheduler = schedules()[0].scheduler();
    let empty = LrSchedulerRecord::new();
    let linear = LinearLrSchedulerConfig::new(0.1, 0.01, 10).init().unwrap();
    // Burn's constant rate has an empty record, its linear one other keys.
    for record in [
        empty,
        linear.to_record(),
        LrSchedulerRecord::new().with_scalar("step", -1i64),
    ] {
        let error = scheduler.try_load_record(&record).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the record has no `step`: it is not of a downhill `Scheduler`; \
             load what its own `to_record` returned"
        );
    }
    let half = LrSchedulerRecord::new().with_scalar("step", 3u64);
    let error = scheduler.try_load_record(&half).unwrap_err();
    assert!(matches!(
        error,
        RecordError::Foreign {
            key: "fingerprint",
            ..
        }
    ));
    assert_eq!(scheduler.position(), 0);
}

/// Burn's way to load a record has no way to return an error.
#[test]
#[should_panic(expected = "the record has no `step`")]
fn loading_a_foreign_record_through_burn_panics() {
    let scheduler = ModuleLrScheduler::new(schedules()[0].scheduler());
    let _ = scheduler.load_record(LrSchedulerRecord::new());
}

#[test]
fn parameter_groups_have_schedules_of_their_own() {
    let [base, other, ..] = &schedules()[..] else {
        unreachable!()
    };
    let grouped = || {
        ModuleLrScheduler::new(base.scheduler())
            .with_group(ParamGroup::from_predicate("bias"), other.scheduler())
    };
    let mut scheduler = grouped();
    let id = burn::module::ParamId::new();
    for step in 0..5 {
        let rates = scheduler.step();
        assert_eq!(
            rates.lr_from_param(id, Some("layer.weight")),
            base.value(step)
        );
    }
    let mut resumed = grouped().load_record(scheduler.to_record());
    for step in 5..20 {
        let rates = resumed.step();
        assert_eq!(rates.base(), base.value(step));
    }
}

/// What burn-optim has too has the same values, as long as burn-optim's are meant to be that.
#[test]
fn burns_own_schedulers() {
    let agree = |mut burn: ModuleLrScheduler, ours: ScheduleConfig| {
        let ours = ours.try_build().unwrap();
        for step in 0..25 {
            let (burn, ours) = (burn.step().base(), ours.value(step));
            assert!(
                (burn - ours).abs() < 1e-14,
                "step {step}: {burn} and {ours}"
            );
        }
    };
    agree(
        LinearLrSchedulerConfig::new(0.1, 0.01, 10).init().unwrap(),
        LinearConfig::new(0.1, 0.01, 10).into(),
    );
    agree(
        CosineAnnealingLrSchedulerConfig::new(0.1, 10)
            .with_min_lr(0.01)
            .init()
            .unwrap(),
        CosineConfig::new(0.1, 10)
            .with_floor(0.01)
            .with_periodic(true)
            .into(),
    );
    agree(
        StepLrSchedulerConfig::new(0.1, 4)
            .with_gamma(0.5)
            .init()
            .unwrap(),
        StepConfig::new(0.1, 4).with_gamma(0.5).into(),
    );
    agree(
        NoamLrSchedulerConfig::new(0.5)
            .with_warmup_steps(10)
            .with_model_size(64)
            .init()
            .unwrap(),
        NoamConfig::new(64, 10).with_factor(0.5).into(),
    );
    agree(
        burn::lr_scheduler::exponential::ExponentialLrSchedulerConfig::new(0.1, 0.9)
            .init()
            .unwrap(),
        ExponentialConfig::new(0.1, 0.9, 1).into(),
    );
}

fn plateau() -> PlateauScheduler {
    let config = ReduceOnPlateauConfig {
        patience: 1,
        cooldown: 2,
        factor: 0.5,
        ..ReduceOnPlateauConfig::new(0.8)
    };
    config.try_build().unwrap().into()
}

const METRICS: [f64; 14] = [
    1.0,
    0.9,
    0.95,
    0.95,
    0.95,
    0.95,
    0.95,
    0.95,
    0.95,
    f64::NAN,
    0.5,
    0.5,
    0.5,
    0.5,
];

#[test]
fn plateaus_resume_anywhere() {
    let whole = plateau();
    let rates = METRICS.map(|metric| whole.observe(metric));
    assert!(rates[0] == 0.8 && rates[13] < 0.3);
    for interruption in 0..METRICS.len() {
        let before = plateau();
        METRICS[..interruption]
            .iter()
            .for_each(|metric| _ = before.observe(*metric));
        let bytes = before.to_record().into_bytes().unwrap();
        let mut after = plateau();
        after
            .try_load_record(&LrSchedulerRecord::from_bytes(bytes).unwrap())
            .unwrap();
        assert_eq!(after.plateau(), before.plateau());
        for (metric, rate) in METRICS.iter().zip(rates).skip(interruption) {
            assert_eq!(after.observe(*metric), rate);
            assert_eq!(after.step(), rate);
        }
    }
}

#[test]
fn plateaus_refuse_records_that_are_not_theirs() {
    let ours = plateau();
    let other = PlateauScheduler::from(ReduceOnPlateauConfig::new(0.8).try_build().unwrap());
    let error = ours.try_load_record(&other.to_record()).unwrap_err();
    assert!(
        matches!(error, RecordError::OtherConfig { step: None, .. }),
        "{error}"
    );
    let error = ours
        .try_load_record(&schedules()[0].scheduler().to_record())
        .unwrap_err();
    assert!(
        matches!(error, RecordError::Foreign { key: "lr", .. }),
        "{error}"
    );
    let damaged = ours.to_record().with_scalar("lr", f64::NAN);
    let error = ours.try_load_record(&damaged).unwrap_err();
    assert!(matches!(error, RecordError::Damaged(_)), "{error}");
    assert_eq!(ours.plateau(), plateau().plateau());
}
