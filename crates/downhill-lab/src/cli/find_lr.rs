//! `downhill find-lr`: which learning rates a problem can be trained with.

use std::error::Error;
use std::io::{self, Write};

use comfy_table::CellAlignment;
use downhill_optim::OptimizerConfig;
use downhill_plot::{Figure, PlotFile, color};
use downhill_problems::AnyProblem;
use downhill_train::find_lr::{RangeEnd, RangePoint, RangeTest, RangeTestConfig, sweep};
use downhill_train::{DriverConfig, MicroBatch, NonFinite};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde::Serialize;

use super::device::{self, DeviceName};
use super::{Failure, failed, json, number, problem, table, usage};

/// Find a learning rate: the loss while the rate rises
///
/// The range test of L. N. Smith (arXiv:1506.01186), section 3.3, with the range and the end of
/// fastai's lr_find. The rate rises exponentially from one update to the next. Suggested is the rate at
/// which the smoothed loss falls fastest; a tenth of the rate where it is lowest is another common choice.
#[derive(clap::Args)]
#[command(allow_negative_numbers = true, after_help = AFTER_HELP)]
pub struct Args {
    /// What is trained (`downhill list problems`)
    #[arg(long, value_name = "NAME", value_parser = problem)]
    problem: AnyProblem,

    /// The optimizer (`downhill list optimizers`)
    #[arg(long, value_name = "NAME", value_parser = OptimizerConfig::by_name)]
    optimizer: OptimizerConfig,

    /// The first rate
    #[arg(long, value_name = "X", default_value = "1e-7")]
    from: f64,

    /// The last rate
    #[arg(long, value_name = "X", default_value_t = 10.0)]
    to: f64,

    /// Updates
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u64).range(RangeTestConfig::STEPS))]
    steps: u64,

    /// Time constant of the smoothing, as a part of the updates
    #[arg(long, value_name = "X", default_value_t = 0.03)]
    smoothing: f64,

    /// Decides the initial weights and the order of the samples
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u32,

    /// What to compute on [default: the first that was compiled in]
    #[arg(long, value_name = "NAME", value_enum)]
    device: Option<DeviceName>,

    /// Draw the losses over the rates into this file
    #[arg(long, value_name = "FILE.svg|png")]
    plot: Option<PlotFile>,

    /// Print a JSON object instead of a table, and nothing else
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
The test ends early where the loss is not finite, or where its mean is four times
the lowest one and above the first loss.

JSON keys:
  problem, optimizer, device, seed
  config            the range, and how it is gone through
  suggested         the rate where the smoothed loss falls fastest, or null
  minimum           the rate where the smoothed loss is lowest, or null
  tenth_of_minimum  a tenth of it
  end               finished, diverged or not_finite
  points            of each update the rate, the loss before it, and the smoothed loss";

#[derive(Serialize)]
struct Report<'a> {
    problem: &'a str,
    optimizer: &'a OptimizerConfig,
    device: String,
    seed: u32,
    config: RangeTestConfig,
    suggested: Option<f64>,
    minimum: Option<f64>,
    tenth_of_minimum: Option<f64>,
    end: RangeEnd,
    points: &'a [RangePoint],
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let config = RangeTestConfig::new()
        .with_from(args.from)
        .with_to(args.to)
        .with_steps(args.steps)
        .with_smoothing(args.smoothing);
    config.rates().map_err(usage)?;
    let (device_name, device) = device::open(args.device)?;
    let name = &args.problem.info().name;

    let bar = ProgressBar::with_draw_target(Some(config.steps), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} updates, {eta} left");
    bar.set_style(style.map_err(failed)?);
    bar.set_message(name.clone());
    let mut training = args.problem.start(args.seed, &device);
    let mut settings = DriverConfig::new(args.optimizer.clone());
    settings.non_finite = NonFinite::Ignore;
    let mut driver = settings.bind(training.model()).map_err(usage)?;
    let mut failure = None;
    let test = sweep(&config, |lr| {
        let (loss, gradients) = training.next_batch().gradients(training.model());
        let batch = MicroBatch::new(gradients).with_loss(loss);
        if let Err(error) = driver.set_learning_rate(lr) {
            failure = Some(error.to_string());
            return f64::NAN;
        }
        training.update(|model| match driver.step(model, batch) {
            Ok((model, _)) => model,
            Err(error) => {
                failure = Some(error.cause.to_string());
                error.model
            }
        });
        bar.inc(1);
        loss
    });
    bar.finish_and_clear();
    if let Some(failure) = failure {
        return Err(failed(failure));
    }
    let test = test.map_err(usage)?;
    if test.points.is_empty() {
        return Err(failed(format!("{name}: the first loss is not finite")));
    }

    let mut stdout = io::stdout().lock();
    if args.json {
        let report = Report {
            problem: name,
            optimizer: &args.optimizer,
            device: device_name.to_string(),
            seed: args.seed,
            config,
            suggested: test.steepest().map(|point| point.lr),
            minimum: test.minimum().map(|point| point.lr),
            tenth_of_minimum: test.tenth_of_minimum(),
            end: test.end,
            points: &test.points,
        };
        let json = json(&report)?;
        writeln!(stdout, "{json}")?;
    } else {
        print(&mut stdout, args, &test)?;
    }
    if let Some(file) = &args.plot {
        let title = format!("Range test of {} on {name}", args.optimizer.name());
        file.draw_figure(&Page { title, test: &test })
            .map_err(|error| failed(format!("cannot write {file}: {error}")))?;
    }
    Ok(())
}

fn print(stdout: &mut impl Write, args: &Args, test: &RangeTest) -> io::Result<()> {
    let mut table = table(["", "Rate", "Loss", "Smoothed"]);
    let mut row = |what: &str, point: &RangePoint| {
        table.add_row([
            what.to_string(),
            number(point.lr),
            number(point.loss),
            number(point.smoothed),
        ]);
    };
    let steepest = test.steepest();
    let minimum = test.minimum();
    row("first", &test.points[0]);
    if let Some(point) = &steepest {
        row("falls fastest", point);
    }
    if let Some(point) = &minimum {
        row("lowest", point);
    }
    let last = match test.end {
        RangeEnd::Finished => "last",
        RangeEnd::Diverged => "diverges",
        RangeEnd::NotFinite => "last that is finite",
    };
    row(last, &test.points[test.points.len() - 1]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(stdout, "{table}")?;
    match (steepest, test.tenth_of_minimum()) {
        (Some(steepest), Some(tenth)) => writeln!(
            stdout,
            "Suggested learning rate: {}, where the loss falls fastest.\n\
             A tenth of the rate where it is lowest is {}.",
            number(steepest.lr),
            number(tenth)
        )?,
        _ => writeln!(
            stdout,
            "No suggestion: the loss has not fallen. A lower --from, or more --steps, may help."
        )?,
    }
    if test.ended_too_early() {
        writeln!(
            stdout,
            "The loss still falls at the highest rate, {}: a higher --to shows more.",
            number(args.to)
        )?;
    }
    Ok(())
}

struct Page<'a> {
    title: String,
    test: &'a RangeTest,
}

impl Figure for Page<'_> {
    const FINE: u32 = 10;
    const DENSE: u32 = 2;

    fn size(&self) -> (u32, u32) {
        (820, 480)
    }

    fn draw<B: DrawingBackend>(
        &self,
        root: DrawingArea<B, Shift>,
        unit: u32,
    ) -> Result<(), Box<dyn Error>>
    where
        B::ErrorType: 'static,
    {
        root.fill(&WHITE)?;
        let px = |pixels: f64| (pixels * f64::from(unit)).round() as i32;
        // The backends take 1.24 of it for the height of a line.
        let font = |size: f64| ("sans-serif", px(1.24 * size));
        let stroke = |color: RGBAColor, pixels: f64| color.stroke_width(px(pixels).max(1) as u32);
        let text = |text: &str, x: i32, y: i32, size: f64| {
            let style = font(size).into_text_style(&root);
            let style = style.pos(Pos::new(HPos::Left, VPos::Center));
            // The bitmap backend leaves the gap between lines below the text.
            let is_bitmap = unit < Self::FINE;
            let y = if is_bitmap { y + px(0.17 * size) } else { y };
            root.draw(&Text::new(text.to_string(), (x, y), style))
        };
        let left = px(76.0);
        text(&self.title, left, px(22.0), 16.0)?;

        let points = &self.test.points;
        // A diverging loss would leave no room for the others.
        let lowest = self.test.minimum().map_or(f64::INFINITY, |point| point.lr);
        let [low, high] = points.iter().fold(
            [points[0].loss, points[0].loss],
            |[low, high],
             RangePoint {
                 lr, loss, smoothed, ..
             }| {
                let highest = if *lr <= lowest { *loss } else { *smoothed };
                [low.min(*loss).min(*smoothed), high.max(highest)]
            },
        );
        let room = (0.06 * (high - low)).max(1e-12);
        let [low, high] = [low - room, high + room];
        let rates = [points[0].lr.log10(), points[points.len() - 1].lr.log10()];
        let rates = rates[0]..rates[1].max(rates[0] + 1e-3);
        let mut chart = ChartBuilder::on(&root)
            .margin_top(px(72.0))
            .margin_right(px(26.0))
            .margin_bottom(px(8.0))
            .margin_left(px(8.0))
            .x_label_area_size(px(48.0))
            .y_label_area_size(left - px(8.0))
            .build_cartesian_2d(rates, low..high)?;
        chart
            .configure_mesh()
            .x_desc("Learning rate (log scale)")
            .y_desc("Loss")
            .x_labels(10)
            .y_labels(8)
            .x_label_formatter(&|x| number(10f64.powf(*x)))
            .y_label_formatter(&|y| number(*y))
            .label_style(font(12.0))
            .axis_desc_style(font(13.0))
            .axis_style(stroke(BLACK.mix(0.5), 1.0))
            .bold_line_style(stroke(BLACK.mix(0.12), 1.0))
            .light_line_style(TRANSPARENT)
            .set_all_tick_mark_size(px(5.0))
            .draw()?;
        let dots = points
            .iter()
            .filter(|point| point.loss <= high && point.loss >= low);
        let dot = color(0).mix(0.4);
        chart.draw_series(
            dots.map(|point| Circle::new((point.lr.log10(), point.loss), px(2.5), dot.filled())),
        )?;
        let line = points
            .iter()
            .map(|point| (point.lr.log10(), point.smoothed));
        chart.draw_series(LineSeries::new(line, stroke(color(0).to_rgba(), 2.2)))?;

        let mut x = left;
        let y = px(52.0);
        root.draw(&Circle::new((x + px(5.0), y), px(2.5), dot.filled()))?;
        text("loss", x + px(14.0), y, 12.0)?;
        x += px(62.0);
        let dash = [(x, y), (x + px(24.0), y)];
        root.draw(&PathElement::new(dash, stroke(color(0).to_rgba(), 2.2)))?;
        text("smoothed", x + px(30.0), y, 12.0)?;
        x += px(120.0);
        let marks = [
            (
                self.test.steepest().map(|point| point.lr),
                "falls fastest",
                color(1),
            ),
            (self.test.tenth_of_minimum(), "lowest / 10", color(2)),
        ];
        for (lr, what, color) in marks {
            let Some(lr) = lr.filter(|lr| *lr >= points[0].lr) else {
                continue;
            };
            let at = lr.log10();
            let style = stroke(color.to_rgba(), 1.6);
            chart.draw_series(DashedLineSeries::new(
                [(at, low), (at, high)],
                px(5.0),
                px(4.0),
                style,
            ))?;
            // The line between the nearest points.
            let after = points.partition_point(|point| point.lr < lr).max(1);
            let (a, b) = (points[after - 1], points[after.min(points.len() - 1)]);
            let part = if b.lr > a.lr {
                (lr / a.lr).ln() / (b.lr / a.lr).ln()
            } else {
                0.0
            };
            let height = a.smoothed + part * (b.smoothed - a.smoothed);
            chart.draw_series([
                Circle::new((at, height), px(6.0), WHITE.filled()),
                Circle::new((at, height), px(4.6), color.filled()),
            ])?;
            root.draw(&Circle::new((x + px(5.0), y), px(4.6), color.filled()))?;
            text(&format!("{what}: {}", number(lr)), x + px(15.0), y, 12.0)?;
            x += px(190.0);
        }
        root.present()?;
        Ok(())
    }
}
