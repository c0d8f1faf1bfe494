//! Every operation of `Value` on every carrier: a number in a pass, and a tensor on each backend.

use crate::common::{Subject, TestDevice, devices};
use burn::tensor::DType;
use downhill::optim::RuleOptimizer;
use downhill::rule::{Clock, Numbers, Rule, Slot, Step, Value};

type Operation = (&'static str, fn(f64, f64) -> f64, fn() -> RuleOptimizer);

/// Rules whose direction is an operation of the gradient and the parameter.
macro_rules! operations {
    ($($rule:ident: |$x:ident, $y:ident| $result:expr;)*) => {
        $(
            #[derive(Clone)]
            struct $rule;

            impl Numbers for $rule {}

            impl Rule for $rule {
                type State<V: Value> = [V; 0];
                type Coefs = ();

                fn slots(&self) -> Vec<Slot> {
                    Vec::new()
                }

                fn prepare(&self, clock: &mut Clock) -> Step<()> {
                    Step::new(clock.lr, ())
                }

                fn direction<V: Value>(_: &(), param: &V, $x: V, state: [V; 0]) -> (V, [V; 0]) {
                    let $y = param.clone();
                    ($result, state)
                }
            }
        )*

        fn operations() -> Vec<Operation> {
            vec![$((
                stringify!($rule),
                |grad, param| $rule::direction(&(), &param, grad, []).0,
                || RuleOptimizer::new($rule),
            ),)*]
        }
    };
}

operations! {
    Sum: |x, y| x + y;
    Difference: |x, y| x - y;
    Product: |x, y| x * y;
    Quotient: |x, y| x / y.offset(8.0);
    Scale: |x, _y| x.scale(-1.75);
    Offset: |x, _y| x.offset(0.25);
    AddScaled: |x, y| x.add_scaled(&y, 0.5);
    Square: |x, _y| x.square();
    Recip: |x, _y| x.offset(8.0).recip();
    Sqrt: |x, _y| x.abs().sqrt();
    Abs: |x, _y| x.abs();
    Sign: |x, _y| x.sign();
    Heaviside: |x, _y| x.heaviside();
    Maximum: |x, y| x.maximum(y);
    Minimum: |x, y| x.minimum(y);
    Select: |x, y| x.select(y.clone().scale(2.0), y.scale(-3.0));
    Root: |x, _y| x.abs().powf(0.75);
    Cube: |x, _y| x.powf(3.0);
    Exp: |x, _y| x.exp();
    Cbrt: |x, _y| x.cbrt();
    ClampMin: |x, _y| x.clamp_min(0.5);
    ClampMax: |x, _y| x.clamp_max(0.5);
}

const GRADS: [f64; 8] = [-2.0, -1.0, -0.375, 0.0, 0.125, 0.5, 1.0, 2.5];
const PARAMS: [f64; 8] = [1.5, -2.0, -0.375, 0.75, -0.25, 0.5, 3.0, -1.0];

/// Calls `check` with what each carrier makes of these gradients, for each operation.
fn on_all(grads: &[f64], check: impl Fn(&str, &Operation, f64, &[f64])) {
    for device in devices() {
        for dtype in [DType::F32, DType::F64] {
            if !device.dtypes.contains(&dtype) {
                continue;
            }
            for operation in operations() {
                // What takes them away from the pass is a gradient in f64.
                for as_tensors in [false, dtype == DType::F32] {
                    let moved = moved(&operation, &device, dtype, grads, as_tensors);
                    let how = if as_tensors { "as tensors" } else { "as it is" };
                    let label = format!("{} on {} in {dtype:?}, {how}", operation.0, device.name);
                    let exact = dtype == DType::F64;
                    check(&label, &operation, if exact { 1e-12 } else { 2e-6 }, &moved);
                }
            }
        }
    }
}

fn moved(
    operation: &Operation,
    device: &TestDevice,
    dtype: DType,
    grads: &[f64],
    as_tensors: bool,
) -> Vec<f64> {
    let subject = Subject::new(operation.2(), &device.device, dtype, &[8], &PARAMS);
    let mut subject = match as_tensors {
        true => subject.with_tensor_operations(),
        false => subject,
    };
    subject.step(1.0, grads);
    let ends = subject.param();
    PARAMS
        .iter()
        .zip(ends)
        .map(|(start, end)| start - end)
        .collect()
}

#[test]
fn operations_are_the_same_on_every_carrier() {
    on_all(&GRADS, |label, (_, exact, _), tolerance, found| {
        for ((grad, param), found) in GRADS.iter().zip(&PARAMS).zip(found) {
            let exact = exact(*grad, *param);
            // The parameter is rounded too.
            let close = (found - exact).abs() <= tolerance * (exact.abs() + 4.0);
            assert!(
                close,
                "{label} of {grad}, {param}: {found}, exactly {exact}"
            );
        }
    });
}

/// On a GPU the shader compiler may assume that there is none.
#[test]
fn a_nan_gets_through_wherever_the_operation_says_so() {
    on_all(&[f64::NAN; 8], |label, (name, ..), _, found| {
        // One that is chosen by has to be carried on by what is chosen.
        if label.contains("wgpu") || ["Select", "Heaviside", "Maximum", "Minimum"].contains(name) {
            return;
        }
        assert!(found.iter().all(|x| x.is_nan()), "{label}: {found:?}");
    });
}
