//! Parameters that do not lie in memory in the order of their dimensions, and such as are made of others: what
//! is saved is what goes on, and averages are of what the model computes with.

use burn::module::{Lora, QLora, Quantizer};
use burn::nn::LinearLayout;
use burn::tensor::activation::tanh;
use burn::tensor::quantization::{Calibration, QuantScheme};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// How a layer comes into a model.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Plain,
    /// Burn's own column-major layer.
    Columns,
    /// Transposed in memory, as pretrained weights from PyTorch come.
    Turned,
    /// The left columns of a wider matrix.
    Cut,
    Lora,
    QLora,
}

const FORMS: [Form; 6] = [
    Form::Plain,
    Form::Columns,
    Form::Turned,
    Form::Cut,
    Form::Lora,
    Form::QLora,
];

/// A layer, in a form of its own.
#[derive(Clone, Copy, Debug)]
struct Layer {
    form: Form,
    frozen: bool,
}

#[derive(Module, Debug)]
struct Stack {
    layers: Vec<Linear>,
}

/// Quantised layers have blocks of 32 elements.
const WIDTH: usize = 32;

fn column(shape: &[usize], seed: usize, on: &Device) -> Tensor<2> {
    make::<2>(seed, shape, on, DType::F32)
}

impl Stack {
    fn new(layers: &[Layer], seed: usize, on: &Device) -> Self {
        let plain = on.clone();
        let on = &on.clone().autodiff();
        let layer = |(at, layer): (usize, &Layer)| {
            let seed = 10 * seed + at;
            let layout = match layer.form {
                Form::Columns => LinearLayout::Col,
                _ => LinearLayout::Row,
            };
            let config = LinearConfig::new(WIDTH, WIDTH).with_layout(layout);
            let mut linear: Linear = config.init(on);
            // Burn's own random numbers come from a seed that all threads share.
            let shape = [WIDTH, WIDTH];
            if layer.form != Form::Columns {
                linear.weight = linear.weight.map(|_| {
                    let weight = match layer.form {
                        Form::Turned => column(&shape, seed, &plain).transpose(),
                        Form::Cut => {
                            let wide = column(&[WIDTH, WIDTH + 3], seed, &plain);
                            wide.slice([0..WIDTH, 0..WIDTH])
                        }
                        _ => column(&shape, seed, &plain),
                    };
                    Tensor::from_inner(weight).require_grad()
                });
            }
            linear.weight = linear.weight.set_require_grad(!layer.frozen);
            match layer.form {
                Form::Lora => linear.apply_lora(Lora::new(2, 4.0)),
                Form::QLora => {
                    let quantizer = Quantizer::new(Calibration::MinMax, QuantScheme::default());
                    linear.apply_qlora(QLora::new(Lora::new(2, 4.0), quantizer))
                }
                _ => linear,
            }
        };
        let layers = layers.iter().enumerate().map(layer).collect();
        Self { layers }
    }

    fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        let layers = self.layers.iter();
        layers.fold(input, |x, layer| tanh(layer.forward(x)))
    }

    /// The bits of what it computes.
    fn bits(&self, rows: usize, on: &Device) -> Vec<u32> {
        let device = match self.layers[0].bias.as_ref().unwrap().val().is_autodiff() {
            true => on.clone().autodiff(),
            false => on.clone(),
        };
        let input = make::<2>(77, &[rows, WIDTH], &device, DType::F32);
        let output = self.forward(input).into_data();
        output.iter::<f32>().map(f32::to_bits).collect()
    }

    fn step(self, driver: &mut Driver, t: usize, rows: usize, on: &Device) -> Self {
        let input = make::<2>(t, &[rows, WIDTH], &on.clone().autodiff(), DType::F32);
        let loss = self.forward(input).square().mean();
        let grads = GradientsParams::from_grads(loss.backward(), &self);
        driver.step(self, grads).unwrap().0
    }
}

fn driver_of(stack: &Stack, averaging: &Averaging) -> Driver {
    Driver::builder(AdamConfig::new().init(), 0.05)
        .with_clipping(Clipping::global_norm(1.0))
        .with_averaging(averaging.clone())
        .bind(stack)
        .unwrap()
}

/// Stops after `before` steps, and compares the steps after that with those of a training that goes on.
fn going_on_is_not_having_stopped(
    layers: &[Layer],
    averaging: &Averaging,
    rows: usize,
    before: usize,
    on: &Device,
) {
    let label = format!("{layers:?}, {rows} rows, after {before}");
    let mut stack = Stack::new(layers, 1, on);
    let mut whole = driver_of(&stack, averaging);
    for t in 0..before {
        stack = stack.step(&mut whole, t, rows, on);
    }
    let saved = bytes(&whole, &stack);
    let checkpoint = Checkpoint::from_bytes(saved.clone()).unwrap();

    let other = Stack::new(layers, 2, on);
    let mut resumed = driver_of(&other, averaging);
    let mut other = resumed.resume(other, &checkpoint).unwrap();
    assert!(saved == bytes(&resumed, &other), "{label}: saved again");
    assert_eq!(stack.bits(rows, on), other.bits(rows, on), "{label}");
    let averaged = whole.averaged(&stack).bits(rows, on);
    assert_eq!(
        averaged,
        resumed.averaged(&other).bits(rows, on),
        "{label}: averaged"
    );
    let of_file = checkpoint.averaged(Stack::new(layers, 3, on)).unwrap();
    // Without averages these are the parameters, and lie as they did.
    if before > 0 {
        let of_file = of_file.valid().bits(rows, on);
        assert_eq!(averaged, of_file, "{label}: averages of the file");
    }
    for t in before..before + 3 {
        stack = stack.step(&mut whole, t, rows, on);
        other = other.step(&mut resumed, t, rows, on);
        assert_eq!(
            stack.bits(rows, on),
            other.bits(rows, on),
            "{label}: step {t}"
        );
    }
    assert!(bytes(&whole, &stack) == bytes(&resumed, &other), "{label}");
}

/// Of the CPU backends, whose products of matrices are the same for the same layout.
fn exact_devices() -> Vec<Device> {
    let exact = devices().into_iter().filter(|device| device.exact);
    exact.map(|device| device.device).collect()
}

#[test]
fn parameters_of_every_form_go_on_where_they_were() {
    for on in exact_devices() {
        for form in FORMS {
            // NdArray keeps no such thing.
            if form == Form::QLora && format!("{on:?}").contains("NdArray") {
                continue;
            }
            for frozen in [false, true] {
                let layers = [
                    Layer { form, frozen },
                    Layer {
                        form: Form::Plain,
                        frozen: false,
                    },
                ];
                for before in [0, 1, 5] {
                    let averaging = Averaging::ema(0.5);
                    going_on_is_not_having_stopped(&layers, &averaging, 1, before, &on);
                }
            }
        }
    }
}

fn layers() -> impl Strategy<Value = Vec<Layer>> {
    let layer = (select(FORMS.to_vec()), any::<bool>());
    let layer = layer.prop_map(|(form, frozen)| Layer { form, frozen });
    prop::collection::vec(layer, 1..4)
}

proptest! {
    // `PROPTEST_CASES` asks for more.
    #![proptest_config(common::cases(12))]

    #[test]
    fn stacks_of_any_forms_go_on_where_they_were(
        mut layers in layers(),
        mean in any::<bool>(),
        rows in 1..4_usize,
        before in 0..4_usize,
    ) {
        layers.push(Layer { form: Form::Plain, frozen: false });
        let averaging = match mean {
            true => Averaging::mean(),
            false => Averaging::ema(0.7),
        };
        going_on_is_not_having_stopped(&layers, &averaging, rows, before, &device());
    }
}

/// A layer of Burn's that turns its weight when it is initialised, saved and loaded.
fn columns(inputs: usize, outputs: usize) -> Linear {
    let config = LinearConfig::new(inputs, outputs).with_layout(LinearLayout::Col);
    config.init(&device().autodiff())
}

fn output(linear: &Linear) -> Vec<f32> {
    let input = make::<2>(1, &[2, 4], &linear.weight.device(), DType::F32);
    linear.forward(input).into_data().iter().collect()
}

#[test]
fn averages_of_column_major_layers_are_not_turned() {
    for outputs in [4, 2] {
        let mut model = columns(4, outputs);
        let mut driver = plain(&model);
        for t in 0..4 {
            let input = make::<2>(t, &[2, 4], &device().autodiff(), DType::F32);
            let loss = model.forward(input).square().mean();
            let grads = GradientsParams::from_grads(loss.backward(), &model);
            (model, _) = driver.step(model, grads).unwrap();
        }
        let saved = driver.checkpoint(&model).unwrap();
        let averaged = saved.averaged(columns(4, outputs)).unwrap();
        assert_eq!(averaged.weight.dims(), [4, outputs]);
        assert!(averaged.weight.is_require_grad());
        assert_eq!(output(&averaged), output(&driver.averaged(&model)));
    }
}

#[test]
fn averages_of_another_shape_are_refused() {
    let net = Net::new(1, &device(), DType::F32);
    let mut driver = plain(&net);
    let net = train(&mut driver, net, 0..2, &device(), DType::F32);
    let saved = bytes(&driver, &net);
    let turned = |name: &str, shape: [usize; 2]| {
        forged::changed(&saved, |tensors| {
            let values: Vec<f32> = tensors[name].iter::<f32>().collect();
            let values = burn::tensor::TensorData::new(values, shape);
            tensors.insert(name.to_string(), values);
        })
    };
    for (name, shape, expected) in [
        (
            "average/weight",
            [3, 4],
            "`average/weight` has the shape [3, 4] in F32, and here it is [4, 3] in F32",
        ),
        (
            "average/weight",
            [12, 1],
            "`average/weight` has the shape [12, 1] in F32, and here it is [4, 3] in F32",
        ),
    ] {
        let checkpoint = Checkpoint::from_bytes(turned(name, shape)).unwrap();
        let other = Net::new(2, &device(), DType::F32);
        let values = other.values();
        let Rejected { model, cause } = checkpoint.averaged(other).unwrap_err();
        assert_eq!(cause.to_string(), expected);
        assert_eq!(model.values(), values);
    }
}

#[test]
fn an_order_in_memory_that_is_none_is_damage() {
    let layers = [Layer {
        form: Form::Turned,
        frozen: true,
    }];
    let layers = [
        layers[0],
        Layer {
            form: Form::Plain,
            frozen: false,
        },
    ];
    let stack = Stack::new(&layers, 1, &device());
    let driver = driver_of(&stack, &Averaging::mean());
    let saved = bytes(&driver, &stack);
    let header = Checkpoint::from_bytes(saved.clone()).unwrap();
    let orders = header.header().parameters.iter();
    let orders: Vec<_> = orders
        .filter_map(|entry| entry.memory_order.clone())
        .collect();
    assert_eq!(orders, [vec![1, 0]]);
    for order in [
        vec![0],
        vec![],
        vec![1, 1],
        vec![0, 2],
        vec![usize::MAX, 0],
        vec![0, 1, 2],
    ] {
        let forged = forged::with_header(&saved, |header| {
            let entries = header["parameters"].as_array_mut().unwrap();
            let entry = entries
                .iter_mut()
                .find(|entry| !entry["memory_order"].is_null());
            entry.unwrap()["memory_order"] = serde_json::json!(order);
        });
        let checkpoint = Checkpoint::from_bytes(forged).unwrap();
        let other = Stack::new(&layers, 2, &device());
        let mut driver = driver_of(&other, &Averaging::mean());
        let text = refused(&mut driver, other, &checkpoint);
        assert!(
            text.starts_with("it is damaged: the dimensions of `layers.0.weight` in memory are ["),
            "{text}"
        );
    }
}
