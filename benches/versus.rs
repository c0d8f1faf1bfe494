//! Step times of this library beside burn-optim's, in one interleaved run.
//!
//! Timed is `ModuleOptimizer::step` with a module that is moved in, including the release of the
//! gradients, which are fresh tensors at every step. Each round times both libraries in turn, so that
//! a machine that slows down slows both; the medians are reported.

use std::time::Instant;

use burn::module::{Module, Param};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Distribution, Tensor};
use clap::Parser;
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use downhill::optim::{OptimizerConfig, SgdConfig};
use downhill::problems::data;
use downhill::problems::mlp::MlpConfig;
use serde::Serialize;

/// Compare step times with burn-optim's.
#[derive(Parser)]
struct Args {
    /// Print one JSON object per row instead of a table.
    #[arg(long)]
    json: bool,
    /// Only these optimizers (comma-separated).
    #[arg(long, value_delimiter = ',')]
    optimizer: Vec<String>,
    /// Only these sizes (comma-separated); squares are timed best.
    #[arg(long, value_delimiter = ',')]
    parameters: Vec<usize>,
    /// Rounds of each measurement.
    #[arg(long, default_value_t = 21)]
    rounds: usize,
    /// Passed by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Module, Debug)]
struct Layer {
    weight: Param<Tensor<2>>,
}

/// An optimizer in both libraries.
struct Pair {
    name: &'static str,
    /// Bytes that a step must at least read and write per parameter, in f32.
    bytes: f64,
    downhill: fn() -> ModuleOptimizer,
    burn: Option<fn() -> ModuleOptimizer>,
}

fn by_name(name: &str) -> ModuleOptimizer {
    let config = OptimizerConfig::by_name(name).expect("a name of the table");
    config.try_init().expect("defaults are valid")
}

const PAIRS: &[Pair] = &[
    Pair {
        name: "sgd",
        bytes: 12.0,
        downhill: || by_name("sgd"),
        burn: Some(|| burn::optim::SgdConfig::new().init()),
    },
    Pair {
        name: "momentum",
        bytes: 20.0,
        downhill: || SgdConfig::new().with_momentum(0.9).init(),
        burn: Some(|| {
            let momentum = MomentumConfig::new().with_dampening(0.0);
            burn::optim::SgdConfig::new()
                .with_momentum(Some(momentum))
                .init()
        }),
    },
    Pair {
        name: "adagrad",
        bytes: 20.0,
        downhill: || by_name("adagrad"),
        burn: Some(|| burn::optim::AdaGradConfig::new().init()),
    },
    Pair {
        name: "rmsprop",
        bytes: 20.0,
        downhill: || by_name("rmsprop"),
        burn: Some(|| burn::optim::RmsPropConfig::new().with_momentum(0.0).init()),
    },
    Pair {
        name: "adam",
        bytes: 28.0,
        downhill: || by_name("adam"),
        burn: Some(|| burn::optim::AdamConfig::new().init()),
    },
    Pair {
        name: "adamw",
        bytes: 28.0,
        downhill: || by_name("adamw"),
        burn: Some(|| burn::optim::AdamWConfig::new().init()),
    },
    Pair {
        name: "nadam",
        bytes: 28.0,
        downhill: || by_name("nadam"),
        burn: None,
    },
    Pair {
        name: "adafactor",
        bytes: 24.0,
        downhill: || by_name("adafactor"),
        burn: Some(|| burn::optim::AdafactorConfig::new().init()),
    },
];

const SIZES: [usize; 5] = [64, 1 << 16, 1 << 20, 1 << 22, 1 << 24];

/// Steps of the deck's MLP are a row of their own: four small tensors.
const MLP: [usize; 3] = [20, 64, 3];
const MLP_PARAMETERS: usize = 20 * 64 + 64 + 64 * 3 + 3;

#[derive(Serialize)]
struct Row {
    optimizer: &'static str,
    /// "matrix", or "mlp" for the deck's model.
    model: &'static str,
    parameters: usize,
    /// Nanoseconds per parameter.
    downhill_ns: f64,
    /// Nanoseconds per parameter, if burn-optim has the optimizer.
    burn_ns: Option<f64>,
    /// How many times faster than burn-optim.
    ratio: Option<f64>,
    /// Minimum traffic over time, in GB/s.
    downhill_gb_per_s: f64,
}

/// A module under training, with a supply of gradients.
trait Subject {
    /// Seconds per step, over a few steps with fresh gradients.
    fn time(&mut self) -> f64;
}

struct Training<M> {
    optim: ModuleOptimizer,
    module: Option<M>,
    grads: Box<dyn Fn(&M) -> GradientsParams>,
    steps: usize,
}

impl<M: Module> Subject for Training<M> {
    fn time(&mut self) -> f64 {
        let mut module = self.module.take().expect("put back after each round");
        let grads: Vec<_> = (0..self.steps).map(|_| (self.grads)(&module)).collect();
        let start = Instant::now();
        for grads in grads {
            module = self.optim.step(1e-4, module, grads);
        }
        let seconds = start.elapsed().as_secs_f64();
        self.module = Some(module);
        seconds / self.steps as f64
    }
}

fn matrix(parameters: usize, optim: ModuleOptimizer) -> Box<dyn Subject> {
    let device = Device::flex();
    let rows = (parameters as f64).sqrt() as usize;
    let shape = [rows, parameters / rows];
    let random = move || Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &device);
    // Buffers are copied to be fresh, because a clone would be shared with the original.
    let source = random().into_data();
    let layer = Layer {
        weight: Param::from_tensor(Tensor::from_data(
            random().into_data(),
            &Device::flex().autodiff(),
        )),
    };
    Box::new(Training {
        optim,
        module: Some(layer),
        grads: Box::new(move |layer: &Layer| {
            let mut grads = GradientsParams::new();
            let bytes = source.as_bytes().to_vec();
            let data = burn::tensor::TensorData::from_bytes_vec(
                bytes,
                source.shape().clone(),
                source.dtype(),
            );
            grads.register(
                layer.weight.id,
                Tensor::<2>::from_data(data, &Device::flex()),
            );
            grads
        }),
        steps: ((1 << 18) / parameters).clamp(1, 256),
    })
}

fn mlp(optim: ModuleOptimizer) -> Box<dyn Subject> {
    let device = Device::flex().autodiff();
    let [inputs, hidden, classes] = MLP;
    let all = data::deck().batch(&device);
    let batch = data::Batch {
        inputs: all.inputs.narrow(0, 0, 32),
        targets: all.targets.narrow(0, 0, 32),
    };
    Box::new(Training {
        optim,
        module: Some(MlpConfig::new(inputs, hidden, classes).init(42, &device)),
        grads: Box::new(move |mlp| GradientsParams::from_grads(mlp.loss(&batch).backward(), mlp)),
        steps: 50,
    })
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn measure(
    pair: &Pair,
    model: &'static str,
    parameters: usize,
    rounds: usize,
    subject: impl Fn(ModuleOptimizer) -> Box<dyn Subject>,
) -> Row {
    let mut ours = subject((pair.downhill)());
    let mut burns = pair.burn.map(|make| subject(make()));
    let (mut our_times, mut burn_times) = (Vec::new(), Vec::new());
    for round in 0..rounds + 2 {
        let (our_time, burn_time) = (ours.time(), burns.as_mut().map(|burns| burns.time()));
        // The first rounds allocate the state and warm the caches.
        if round >= 2 {
            our_times.push(our_time);
            burn_times.extend(burn_time);
        }
    }
    let per_parameter = |times| median(times) * 1e9 / parameters as f64;
    let downhill_ns = per_parameter(our_times);
    let burn_ns = (!burn_times.is_empty()).then(|| per_parameter(burn_times));
    Row {
        optimizer: pair.name,
        model,
        parameters,
        downhill_ns,
        burn_ns,
        ratio: burn_ns.map(|burn_ns| burn_ns / downhill_ns),
        downhill_gb_per_s: pair.bytes / downhill_ns,
    }
}

fn print(row: &Row, args: &Args, table: &mut Table) {
    if args.json {
        println!("{}", serde_json::to_string(row).expect("numbers serialise"));
        return;
    }
    let or_dash = |number: Option<f64>| number.map_or("-".to_string(), |x| format!("{x:.2}"));
    table.add_row([
        row.optimizer.to_string(),
        match row.model {
            "mlp" => format!("{} (mlp)", row.parameters),
            _ => row.parameters.to_string(),
        },
        format!("{:.2}", row.downhill_ns * row.parameters as f64 / 1e3),
        format!("{:.2}", row.downhill_ns),
        or_dash(row.burn_ns),
        or_dash(row.ratio),
        format!("{:.1}", row.downhill_gb_per_s),
    ]);
    eprintln!("{} {}: done", row.optimizer, row.parameters);
}

fn main() {
    let args = Args::parse();
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header([
        "optimizer",
        "parameters",
        "us/step",
        "ns/param",
        "burn ns/param",
        "times faster",
        "GB/s",
    ]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for pair in PAIRS {
        if !args.optimizer.is_empty() && !args.optimizer.iter().any(|name| name == pair.name) {
            continue;
        }
        let sizes = match args.parameters.is_empty() {
            true => SIZES.to_vec(),
            false => args.parameters.clone(),
        };
        for parameters in sizes.into_iter().filter(|size| *size != MLP_PARAMETERS) {
            let row = measure(pair, "matrix", parameters, args.rounds, |optim| {
                matrix(parameters, optim)
            });
            print(&row, &args, &mut table);
        }
        if args.parameters.is_empty() || args.parameters.contains(&MLP_PARAMETERS) {
            let row = measure(pair, "mlp", MLP_PARAMETERS, args.rounds, mlp);
            print(&row, &args, &mut table);
        }
    }
    if !args.json {
        println!("{table}");
    }
}
