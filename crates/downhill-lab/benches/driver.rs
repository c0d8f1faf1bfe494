//! What a driver costs beside the bare step: `cargo bench --bench driver`, `-- --json` for machines.
//!
//! Timed are [`ModuleOptimizer::step`] and [`Driver::step`] with AdamW, with a module that is moved in and
//! gradients that are fresh tensors, whose release is part of the step. All of them take turns.
//!
//! [`ModuleOptimizer::step`]: burn::optim::ModuleOptimizer::step

use std::time::Instant;

use burn::grad_clipping::GradientClippingConfig;
use burn::module::{Module, Param};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use clap::Parser;
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use downhill_lab::bench::interleaved;
use downhill_optim::AdamWConfig;
use downhill_problems::data::{self, Batch};
use downhill_problems::mlp::{Mlp, MlpConfig};
use downhill_train::{Averaging, Clipping, Driver, DriverBuilder, NonFinite};
use serde::Serialize;

/// Compare a driver's step with the bare one.
#[derive(Parser)]
struct Args {
    /// Repetitions; of the small model 50 times as many.
    #[arg(long, default_value_t = 41)]
    rounds: usize,
    /// Only the small model, `mlp`, or only the large one, `matrix`.
    #[arg(long, value_parser = ["mlp", "matrix"])]
    model: Option<String>,
    /// JSON lines instead of a table.
    #[arg(long)]
    json: bool,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Serialize)]
struct Row {
    model: &'static str,
    parameters: usize,
    driver: &'static str,
    /// Microseconds per step.
    us: f64,
    /// Times the bare step.
    ratio: f64,
}

type With = fn(DriverBuilder) -> DriverBuilder;

const DRIVERS: [(&str, With); 5] = [
    ("no guard", |driver| {
        driver.with_non_finite(NonFinite::Ignore)
    }),
    ("guard", |driver| driver),
    ("guard, global norm", |driver| {
        driver.with_clipping(Clipping::global_norm(1e-3))
    }),
    ("guard, value", |driver| {
        driver.with_clipping(Clipping::value(1e-3))
    }),
    ("guard, global norm, EMA", |driver| {
        driver
            .with_clipping(Clipping::global_norm(1e-3))
            .with_averaging(Averaging::ema(0.999))
    }),
];

/// A step, as the loop sees it.
enum Stepper {
    Bare(ModuleOptimizer),
    Driven(Box<Driver>),
}

impl Stepper {
    fn step<M: Module>(&mut self, model: M, grads: GradientsParams) -> M {
        match self {
            Self::Bare(optim) => optim.step(1e-4, model, grads),
            Self::Driven(driver) => driver.step(model, grads).expect("the gradients are good").0,
        }
    }
}

struct Subject<'a, M> {
    stepper: Stepper,
    model: Option<M>,
    grads: &'a dyn Fn(&M) -> GradientsParams,
    steps: usize,
}

impl<M: Module> Subject<'_, M> {
    /// Seconds per step.
    fn time(&mut self) -> Result<f64, core::convert::Infallible> {
        let mut model = self.model.take().expect("put back after each round");
        let grads: Vec<_> = (0..self.steps).map(|_| (self.grads)(&model)).collect();
        let start = Instant::now();
        for grads in grads {
            model = self.stepper.step(model, grads);
        }
        let seconds = start.elapsed().as_secs_f64();
        self.model = Some(model);
        Ok(seconds / self.steps as f64)
    }
}

fn measure<M: Module>(
    name: &'static str,
    make: impl Fn() -> M,
    grads: &dyn Fn(&M) -> GradientsParams,
    steps: usize,
    rounds: usize,
) -> Vec<Row> {
    let subject = |driver: Option<With>| {
        let model = make();
        let optim = AdamWConfig::new().init();
        let stepper = match driver {
            None => Stepper::Bare(optim),
            Some(with) => {
                let driver = with(Driver::builder(optim, 1e-4)).bind(&model);
                Stepper::Driven(Box::new(driver.expect("the model is sound")))
            }
        };
        Subject {
            stepper,
            model: Some(model),
            grads,
            steps,
        }
    };
    let drivers = DRIVERS.map(|(name, with)| (name, subject(Some(with))));
    let mut clipped = subject(None);
    let clipping = GradientClippingConfig::Norm(1e-3);
    let optim = AdamWConfig::new().with_grad_clipping(Some(clipping));
    clipped.stepper = Stepper::Bare(optim.init());
    let bare = [
        ("bare", subject(None)),
        ("bare, Burn's norm of each tensor", clipped),
    ];
    let (names, mut subjects): (Vec<_>, Vec<_>) = bare.into_iter().chain(drivers).unzip();
    let mut timed: Vec<_> = subjects
        .iter_mut()
        .map(|subject| || subject.time())
        .collect();
    let mut timed: Vec<&mut dyn FnMut() -> Result<f64, _>> =
        timed.iter_mut().map(|time| time as _).collect();
    let Ok(times) = interleaved(&mut timed, rounds, &mut |_| ());
    let parameters = make().num_params();
    let rows = names.into_iter().zip(&times);
    rows.map(|(driver, seconds)| Row {
        model: name,
        parameters,
        driver,
        us: seconds * 1e6,
        ratio: seconds / times[0],
    })
    .collect()
}

#[derive(Module, Debug)]
struct Matrix {
    weight: Param<Tensor<2>>,
}

fn main() {
    let args = Args::parse();
    let device = Device::flex();
    let autodiff = device.clone().autodiff();

    let digits = data::digits();
    let all = digits.train.batch(&autodiff);
    let batch = Batch {
        inputs: all.inputs.narrow(0, 0, 32),
        targets: all.targets.narrow(0, 0, 32),
    };
    let mlp = MlpConfig::new(digits.train.inputs(), 64, digits.train.classes());
    let chosen = |name: &str| args.model.as_ref().is_none_or(|model| model == name);
    let mut rows = Vec::new();
    if chosen("mlp") {
        rows.extend(measure(
            "digits mlp",
            || mlp.init(42, &autodiff),
            &|mlp: &Mlp| GradientsParams::from_grads(mlp.loss(&batch).backward(), mlp),
            // One, which finds gradients, caches and branches as a backward pass leaves them.
            1,
            // It takes microseconds.
            50 * args.rounds,
        ));
    }

    let shape = [2048, 2048];
    let random = || Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &device);
    let source = random().into_data();
    if chosen("matrix") {
        rows.extend(measure(
            "matrix",
            || Matrix {
                weight: Param::from_data(random().into_data(), &autodiff),
            },
            &|matrix: &Matrix| {
                // A clone would share its buffer with the original.
                let data = TensorData::from_bytes_vec(
                    source.as_bytes().to_vec(),
                    source.shape().clone(),
                    source.dtype(),
                );
                let mut grads = GradientsParams::new();
                grads.register(matrix.weight.id, Tensor::<2>::from_data(data, &device));
                grads
            },
            2,
            args.rounds,
        ));
    }

    if args.json {
        for row in &rows {
            println!("{}", serde_json::to_string(row).expect("a row is plain"));
        }
        return;
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["Model", "Parameters", "Step", "us", "Times the bare step"]);
    for column in [1, 3, 4] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for row in &rows {
        table.add_row([
            row.model.to_string(),
            row.parameters.to_string(),
            row.driver.to_string(),
            format!("{:.2}", row.us),
            format!("{:.2}", row.ratio),
        ]);
    }
    println!("{table}");
}
