//! Draws the pictures of the documentation of `downhill-schedule`. For who changes a schedule:
//!
//! ```text
//! cargo run --example schedule_pictures -- crates/downhill-schedule/docs
//! ```
#![forbid(unsafe_code)]

use anyhow::{Context, Result, anyhow};
use downhill_lab::figure::{Line, Page, Panel, marks};
use downhill_plot::PlotFile;
use downhill_schedule::*;

const LR: f64 = 0.1;
const STEPS: u64 = 1_000;

fn main() -> Result<()> {
    let folder = std::env::args()
        .nth(1)
        .context("usage: schedule_pictures FOLDER")?;
    for (name, page) in pictures()? {
        let path = format!("{folder}/{name}.svg");
        let file: PlotFile = path.parse().map_err(|error| anyhow!("{path}: {error}"))?;
        file.draw_figure(&page)
            .map_err(|error| anyhow!("{path}: {error}"))?;
    }
    Ok(())
}

/// A picture of schedules over `end` steps.
fn over(end: u64, schedules: &[(&str, ScheduleConfig)]) -> Result<Page> {
    let lines = schedules.iter().map(|(name, config)| {
        let schedule = config.try_build_for(LR, end)?;
        Ok(Line::of(name, &schedule, end))
    });
    let lines = lines.collect::<Result<_>>()?;
    Ok(page(vec![panel(end, lines)]))
}

fn drawn(schedules: &[(&str, ScheduleConfig)]) -> Result<Page> {
    over(STEPS, schedules)
}

/// A picture of one schedule, with its restarts.
fn restarting(schedule: ScheduleConfig) -> Result<Page> {
    let mut page = drawn(&[("", schedule.clone())])?;
    page.panels[0].marks = marks(&schedule.try_build_for(LR, STEPS)?, STEPS);
    Ok(page)
}

/// The deck's schedule on top of the right one.
fn beside(
    step: &'static str,
    end: u64,
    right: ScheduleConfig,
    deck: ScheduleConfig,
) -> Result<Page> {
    let mut page = over(end, &[("right", right), ("the deck's", deck)])?;
    page.panels[0].x = step;
    page.panels[0].lines[0].below = true;
    Ok(page)
}

fn panel(end: u64, lines: Vec<Line>) -> Panel {
    Panel {
        title: String::new(),
        x: "step",
        y: "",
        end,
        lines,
        marks: Vec::new(),
    }
}

fn page(panels: Vec<Panel>) -> Page {
    Page {
        size: (480, if panels.len() > 1 { 320 } else { 220 }),
        panels,
        small: true,
    }
}

fn pictures() -> Result<Vec<(&'static str, Page)>> {
    let whole = percent(100.0);
    let cosine = || CosineConfig::default().schedule();
    let linear = || LinearConfig::default().schedule();
    let polynomial = |power| {
        let config = PolynomialConfig::default().with_power(power);
        config.schedule()
    };
    let interpolated = |interpolation| {
        let points = [
            (percent(0.0), percent(20.0)),
            (percent(30.0), percent(100.0)),
            (percent(60.0), percent(40.0)),
            (percent(90.0), percent(10.0)),
        ];
        let config = PiecewiseConfig::new(points);
        config.with_interpolation(interpolation).schedule()
    };
    let cyclic = CyclicConfig::default;
    let one_cycle = OneCycleConfig::default;
    let decaying = |shape| {
        let config = WsdConfig::default().with_decay(percent(40.0));
        let config = config.with_floor(percent(2.0)).with_warmup(percent(10.0));
        config.with_decay_shape(shape).schedule()
    };
    let warm = |warmup: Warmup| cosine().warmup(warmup);

    Ok(vec![
        (
            "constant",
            drawn(&[("", ScheduleConfig::constant(percent(70.0)))])?,
        ),
        (
            "linear",
            drawn(&[
                ("down", linear()),
                (
                    "up",
                    LinearConfig::new(percent(10.0), percent(60.0), percent(50.0)).schedule(),
                ),
            ])?,
        ),
        (
            "step",
            drawn(&[
                ("gamma = 0.1", StepConfig::default().schedule()),
                (
                    "gamma = 0.5",
                    StepConfig::default().with_gamma(0.5).schedule(),
                ),
            ])?,
        ),
        (
            "multi_step",
            drawn(&[
                ("gamma = 0.1", MultiStepConfig::default().schedule()),
                (
                    "gamma = 0.5",
                    MultiStepConfig::default().with_gamma(0.5).schedule(),
                ),
            ])?,
        ),
        (
            "piecewise",
            drawn(&[
                ("constant", interpolated(Interpolation::Constant)),
                ("linear", interpolated(Interpolation::Linear)),
                ("cosine", interpolated(Interpolation::Cosine)),
            ])?,
        ),
        (
            "exponential",
            drawn(&[
                ("gamma = 0.01", ExponentialConfig::default().schedule()),
                (
                    "gamma = 0.1",
                    ExponentialConfig::default().with_gamma(0.1).schedule(),
                ),
                (
                    "gamma = 0.5",
                    ExponentialConfig::default().with_gamma(0.5).schedule(),
                ),
            ])?,
        ),
        (
            "polynomial",
            drawn(&[
                ("power = 0.5", polynomial(0.5)),
                ("power = 1", polynomial(1.0)),
                ("power = 2", polynomial(2.0)),
            ])?,
        ),
        ("cosine", {
            let half = CosineConfig::default().with_steps(percent(40.0));
            let half = half.with_floor(percent(5.0));
            let mut page = drawn(&[
                ("by default", half.clone().schedule()),
                ("periodic", half.with_periodic(true).schedule()),
            ])?;
            page.panels[0].lines[0].below = true;
            page
        }),
        ("cosine_restarts", {
            let config = CosineRestartsConfig::default().with_period(percent(28.0));
            let longer = config.clone().with_period(percent(15.0)).with_t_mul(2.0);
            drawn(&[
                ("t_mul = 1", config.schedule()),
                ("t_mul = 2, m_mul = 0.5", longer.with_m_mul(0.5).schedule()),
            ])?
        }),
        (
            "one_cycle",
            drawn(&[
                ("two phases", one_cycle().schedule()),
                (
                    "three phases",
                    one_cycle().with_three_phase(true).schedule(),
                ),
                (
                    "three, linear",
                    one_cycle()
                        .with_three_phase(true)
                        .with_anneal(Anneal::Linear)
                        .schedule(),
                ),
            ])?,
        ),
        (
            "cyclic",
            drawn(&[
                ("triangular", cyclic().schedule()),
                (
                    "triangular2",
                    cyclic().with_mode(CyclicMode::Triangular2).schedule(),
                ),
                (
                    "exp_range",
                    cyclic()
                        .with_mode(CyclicMode::ExpRange)
                        .with_gamma(0.998)
                        .schedule(),
                ),
            ])?,
        ),
        (
            "inverse_sqrt",
            drawn(&[
                ("by default", InverseSqrtConfig::default().schedule()),
                (
                    "after a warmup",
                    InverseSqrtConfig::default()
                        .schedule()
                        .warmup(percent(10.0)),
                ),
            ])?,
        ),
        (
            "noam",
            over(
                20_000,
                &[
                    ("model_size = 512", NoamConfig::default().schedule()),
                    (
                        "model_size = 1024",
                        NoamConfig::default().with_model_size(1024).schedule(),
                    ),
                ],
            )?,
        ),
        (
            "wsd",
            drawn(&[
                ("1-sqrt", decaying(DecayShape::OneMinusSqrt)),
                ("linear", decaying(DecayShape::Linear)),
                ("cosine", decaying(DecayShape::Cosine)),
                ("exponential", decaying(DecayShape::Exponential)),
            ])?,
        ),
        (
            "wsd_repeated",
            restarting(WsdRepeatedConfig::default().schedule())?,
        ),
        (
            "rex",
            drawn(&[
                ("rex", RexConfig::default().schedule()),
                ("linear", linear()),
                ("cosine", cosine()),
            ])?,
        ),
        (
            "warmup",
            drawn(&[
                ("linear", warm(Warmup::linear(percent(25.0)))),
                (
                    "exponential",
                    warm(Warmup::exponential(percent(25.0), percent(1.0))),
                ),
                ("cosine", warm(Warmup::cosine(percent(25.0)))),
            ])?,
        ),
        (
            "then",
            drawn(&[(
                "",
                ScheduleConfig::constant(whole)
                    .then(
                        percent(30.0),
                        LinearConfig::new(percent(80.0), percent(40.0), whole).schedule(),
                    )
                    .then(
                        percent(60.0),
                        CosineConfig::new(percent(40.0), whole).schedule(),
                    ),
            )])?,
        ),
        (
            "product",
            drawn(&[
                ("cosine", cosine()),
                (
                    "cosine · step",
                    cosine() * StepConfig::default().with_gamma(0.5).multiplier(),
                ),
            ])?,
        ),
        ("repeat", restarting(linear().repeat(percent(30.0)))?),
        (
            "shift",
            drawn(&[
                ("cosine", cosine()),
                (
                    "shift(200)",
                    CosineConfig::new(whole, STEPS).schedule().shift(200),
                ),
                (
                    "shift(-200)",
                    CosineConfig::new(whole, STEPS).schedule().shift(-200),
                ),
            ])?,
        ),
        (
            "per_epoch",
            drawn(&[
                ("cosine", cosine()),
                ("per_epoch(100)", cosine().per_epoch(100)),
            ])?,
        ),
        (
            "scale",
            drawn(&[("cosine", cosine()), ("scale(0.5)", cosine().scale(0.5))])?,
        ),
        ("clamp", {
            let mut page = drawn(&[
                ("cosine", cosine()),
                (
                    "between 20 % and 80 %",
                    cosine().clamp(percent(20.0), percent(80.0)),
                ),
            ])?;
            page.panels[0].lines[0].below = true;
            page
        }),
        (
            "slides_step",
            beside(
                "epoch",
                50,
                StepConfig::new(LR, 10).with_gamma(0.5).schedule(),
                slides::StepConfig::default().schedule(),
            )?,
        ),
        (
            "slides_exponential",
            beside(
                "epoch",
                50,
                ExponentialConfig::new(LR, (-0.1f64).exp(), 1).schedule(),
                slides::ExponentialConfig::default().schedule(),
            )?,
        ),
        (
            "slides_cosine",
            beside(
                "epoch",
                200,
                CosineConfig::new(LR, 100).schedule(),
                slides::CosineConfig::new(LR, 100).schedule(),
            )?,
        ),
        (
            "slides_warmup",
            beside(
                "step",
                3_000,
                ScheduleConfig::constant(LR).warmup(1_000),
                slides::WarmupConfig::default().schedule(),
            )?,
        ),
        ("slides_restarts", {
            let right = CosineRestartsConfig::new(LR, 5_000).with_floor(1e-6);
            let right = right.with_t_mul(2.0).with_m_mul(0.5);
            beside(
                "step",
                20_000,
                right.schedule(),
                slides::RestartsConfig::default().schedule(),
            )?
        }),
        ("reduce_on_plateau", plateau()?),
    ])
}

/// A loss that stops to improve, goes on at a lower rate, and stops again.
fn plateau() -> Result<Page> {
    let mut plateau = ReduceOnPlateauConfig::new(LR).try_build()?;
    let (mut losses, mut rates) = (Vec::new(), Vec::new());
    for epoch in 0..=60u32 {
        let x = f64::from(epoch);
        // Whoever reads the rate at an epoch has not seen its loss yet.
        rates.push((x, plateau.lr()));
        let stages = [(0.0, 0.55), (22.0, 0.25), (44.0, 0.05)];
        let falls = stages.map(|(start, size)| {
            let left = (-(x - start).max(0.0) / 2.5).exp();
            size * left.max(0.02)
        });
        let loss = 0.1 + falls.iter().sum::<f64>();
        losses.push((x, loss));
        plateau.observe(loss);
    }
    let line = |name: &str, points| Line {
        name: name.to_string(),
        points,
        below: false,
    };
    let mut panels = vec![
        panel(60, vec![line("loss", losses)]),
        panel(60, vec![line("rate", rates)]),
    ];
    for (panel, y) in panels.iter_mut().zip(["loss", "rate"]) {
        (panel.x, panel.y) = ("epoch", y);
    }
    Ok(page(panels))
}
