//! What optimizers of matrices cost: `cargo bench --bench matrices`, `-- --json` for machines.
//!
//! Timed are steps of one weight in f32 on Flex, beside the matrix products of Muon's step alone, which are the same
//! calls, and AdamW. All of them take turns.

use std::time::Instant;

use burn::module::{Module, Param};
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Distribution, Tensor};
use clap::Parser;
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use downhill_lab::bench::interleaved;
use downhill_optim::OptimizerConfig;
use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatRef, Par};
use serde::Serialize;

/// Compare optimizers of matrices with Muon's products and with AdamW.
#[derive(Parser)]
struct Args {
    /// Repetitions.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Rows and columns, as 1024x1024; the matrices of a model are a sum, as 16*256x256+4*256x1024.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "512x512,1024x1024,4096x1024,16*256x256+4*256x1024+4*1024x256"
    )]
    shapes: Vec<String>,
    /// Not these: bases of long sides take minutes.
    #[arg(long, value_delimiter = ',')]
    without: Vec<String>,
    /// JSON lines instead of a table.
    #[arg(long)]
    json: bool,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Serialize)]
struct Row {
    shapes: String,
    what: String,
    /// Milliseconds per step.
    ms: f64,
    /// Times Muon's products.
    products: f64,
    /// Times AdamW.
    adamw: f64,
}

/// A configuration, as JSON, and the steps that a time is the mean of.
const OPTIMIZERS: [(&str, usize); 6] = [
    (r#"{"name": "adamw"}"#, 20),
    (r#"{"name": "muon"}"#, 1),
    (r#"{"name": "normuon"}"#, 1),
    (r#"{"name": "adamuon"}"#, 1),
    (r#"{"name": "soap", "precondition_frequency": 10}"#, 10),
    (
        r#"{"name": "shampoo", "grafting": "adam", "beta_2": 0.999, "precondition_frequency": 10}"#,
        10,
    ),
];

#[derive(Module, Debug)]
struct Layer {
    weights: Vec<Param<Tensor<2>>>,
}

struct Steps {
    optimizer: ModuleOptimizer,
    layer: Option<Layer>,
    /// Of each step, and each weight.
    grads: Vec<Vec<Tensor<2>>>,
}

impl Steps {
    fn new(config: &str, steps: usize, shapes: &[[usize; 2]], device: &Device) -> Self {
        let config = OptimizerConfig::from_json(config).expect("a configuration of this library");
        let random = |device: &Device| -> Vec<Tensor<2>> {
            let normal = |shape| Tensor::random(shape, Distribution::Normal(0.0, 1.0), device);
            shapes.iter().copied().map(normal).collect()
        };
        let weights = random(&device.clone().autodiff()).into_iter();
        Self {
            optimizer: config.try_init().expect("checked"),
            layer: Some(Layer {
                weights: weights.map(Param::from_tensor).collect(),
            }),
            grads: (0..steps).map(|_| random(device)).collect(),
        }
    }

    /// Seconds per step.
    fn time(&mut self) -> f64 {
        let mut layer = self.layer.take().expect("put back after each round");
        let grads = self.grads.iter().map(|grad| {
            let mut grads = GradientsParams::new();
            for (weight, grad) in layer.weights.iter().zip(grad) {
                grads.register(weight.id, grad.clone());
            }
            grads
        });
        let grads: Vec<_> = grads.collect();
        let steps = grads.len() as f64;
        let start = Instant::now();
        for grads in grads {
            layer = self.optimizer.step(1e-3, layer, grads);
        }
        let seconds = start.elapsed().as_secs_f64();
        self.layer = Some(layer);
        seconds / steps
    }
}

/// The products of Muon's step of a matrix.
struct Products {
    x: Mat<f32>,
    square: [Mat<f32>; 3],
    out: Mat<f32>,
}

impl Products {
    fn new([rows, cols]: [usize; 2]) -> Self {
        let (short, long) = (rows.min(cols), rows.max(cols));
        let filled = |rows: usize, cols: usize| {
            Mat::from_fn(rows, cols, |row, col| {
                ((row * 31 + col * 17) % 97) as f32 * 1e-4
            })
        };
        Self {
            x: filled(short, long),
            square: [(); 3].map(|()| filled(short, short)),
            out: filled(short, long),
        }
    }

    fn symmetric(to: &mut Mat<f32>, a: MatRef<'_, f32>, b: MatRef<'_, f32>) {
        triangular::matmul(
            to.as_mut(),
            BlockStructure::TriangularLower,
            Accum::Replace,
            a,
            BlockStructure::Rectangular,
            b,
            BlockStructure::Rectangular,
            1.0,
            Par::rayon(0),
        );
    }

    fn time(&mut self) -> f64 {
        let Self {
            x,
            square: [a, b, c],
            out,
        } = self;
        let last = |out: &mut Mat<f32>, a: &Mat<f32>, x: &Mat<f32>| {
            let (a, x) = (a.as_ref(), x.as_ref());
            matmul(out.as_mut(), Accum::Replace, a, x, 1.0, Par::rayon(0));
        };
        let start = Instant::now();
        if 2 * x.ncols() >= 3 * x.nrows() {
            Self::symmetric(a, x.as_ref(), x.transpose());
            for step in 0..5 {
                Self::symmetric(b, a.as_ref(), a.as_ref());
                for _ in 0..if step < 4 { 2 } else { 0 } + usize::from(step > 0) {
                    Self::symmetric(c, a.as_ref(), b.as_ref());
                }
            }
            last(out, a, x);
        } else {
            for _ in 0..5 {
                Self::symmetric(a, x.as_ref(), x.transpose());
                Self::symmetric(b, a.as_ref(), a.as_ref());
                last(out, b, x);
            }
        }
        start.elapsed().as_secs_f64()
    }
}

/// An optimizer's name.
fn name(config: &str) -> String {
    let config = OptimizerConfig::from_json(config).expect("checked");
    config.name().to_string()
}

fn measure(text: &str, shapes: &[[usize; 2]], args: &Args) -> Vec<Row> {
    let device = Device::flex();
    let mut products: Vec<_> = shapes.iter().copied().map(Products::new).collect();
    let optimizers = OPTIMIZERS
        .iter()
        .filter(|(config, _)| !args.without.contains(&name(config)));
    let optimizers: Vec<_> = optimizers.collect();
    let mut subjects: Vec<_> = optimizers
        .iter()
        .map(|(config, steps)| Steps::new(config, *steps, shapes, &device))
        .collect();
    let mut of_products =
        || Ok::<_, core::convert::Infallible>(products.iter_mut().map(Products::time).sum());
    let mut of_subjects: Vec<_> = subjects
        .iter_mut()
        .map(|subject| || Ok(subject.time()))
        .collect();
    let mut timed: Vec<&mut dyn FnMut() -> Result<f64, _>> = vec![&mut of_products];
    timed.extend(
        of_subjects
            .iter_mut()
            .map(|time| time as &mut dyn FnMut() -> Result<f64, _>),
    );
    let Ok(times) = interleaved(&mut timed, args.rounds, &mut |_| ());
    let names = optimizers.iter().map(|(config, _)| name(config));
    let names = core::iter::once("muon's products".to_string()).chain(names);
    let rows = names.zip(&times).map(|(what, seconds)| Row {
        shapes: text.to_string(),
        what,
        ms: seconds * 1e3,
        products: seconds / times[0],
        adamw: seconds / times[1],
    });
    rows.collect()
}

/// The shapes of a sum.
fn shapes(text: &str) -> Option<Vec<[usize; 2]>> {
    let mut shapes = Vec::new();
    for term in text.split('+') {
        let (count, shape) = term.split_once('*').unwrap_or(("1", term));
        let (rows, cols) = shape.split_once('x')?;
        let sides = [rows.parse().ok()?, cols.parse().ok()?];
        let count = count.parse().ok().filter(|_| !sides.contains(&0))?;
        shapes.extend(core::iter::repeat_n(sides, count));
    }
    Some(shapes)
}

fn main() {
    let args = Args::parse();
    let mut rows = Vec::new();
    for text in &args.shapes {
        let Some(shapes) = shapes(text) else {
            eprintln!("error: a shape is two numbers, as 1024x1024, and not `{text}`");
            std::process::exit(2);
        };
        rows.extend(measure(text, &shapes, &args));
    }
    if args.json {
        for row in &rows {
            println!("{}", serde_json::to_string(row).expect("numbers and text"));
        }
        return;
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header([
        "shape",
        "",
        "ms per step",
        "times the products",
        "times AdamW",
    ]);
    for row in &rows {
        table.add_row([
            row.shapes.replace('x', " × ").replace('+', " + "),
            row.what.clone(),
            format!("{:.2}", row.ms),
            format!("{:.2}", row.products),
            format!("{:.1}", row.adamw),
        ]);
    }
    for column in 2..5 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("{table}");
}
