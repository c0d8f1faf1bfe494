//! The mathematics of optimizers as small pure rules over an abstract number.
//!
//! A [`Rule`] says how one parameter element moves, given its gradient and its state. It is
//! written once, over any [`Value`]:
//!
//! * with `f64`, it is the oracle that tests compare with PyTorch and the papers;
//! * with `f32` inside a loop over memory, it is one fused pass;
//! * with a tensor, it runs on every backend that tensor library has.
//!
//! This crate has no dependency on a tensor library; `downhill-optim` turns rules into
//! optimizers of the Burn framework.
//!
//! ```
//! use downhill_rule::{Descent, HeavyBall, Trajectory};
//!
//! // Minimise x^2 from 2 with momentum, one number at a time.
//! let mut x = vec![2.0];
//! let mut momentum = Trajectory::new(HeavyBall { rule: Descent, momentum: 0.5 }, x.len());
//! for _ in 0..400 {
//!     let grad = vec![2.0 * x[0]];
//!     momentum.step(0.05, &mut x, &grad);
//! }
//! assert!(x[0].abs() < 1e-3);
//! ```
//!
//! # A rule of your own
//!
//! ```
//! use downhill_rule::{Clock, Numbers, Rule, Slot, Step, Value, ema};
//!
//! /// Signum: the sign of a running mean of the gradient (arXiv 1802.04434).
//! #[derive(Clone)]
//! struct Signum {
//!     momentum: f64,
//! }
//!
//! impl Numbers for Signum {
//!     fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
//!         (name == "momentum").then_some(&mut self.momentum)
//!     }
//! }
//!
//! impl Rule for Signum {
//!     type State<V: Value> = [V; 1];
//!     type Coefs = f64;
//!
//!     fn slots(&self) -> Vec<Slot> {
//!         vec![Slot::zeros("momentum_buffer")]
//!     }
//!     fn prepare(&self, clock: &mut Clock) -> Step<f64> {
//!         Step::new(clock.lr, self.momentum)
//!     }
//!     #[inline(always)]
//!     fn direction<V: Value>(&beta: &f64, _param: &V, grad: V, [buf]: [V; 1]) -> (V, [V; 1]) {
//!         let buf = ema(buf, grad, beta);
//!         (buf.clone().sign(), [buf])
//!     }
//! }
//! ```
#![forbid(unsafe_code)]

mod descent;
mod look;
mod masked;
mod record;
mod rule;
pub mod tape;
mod trajectory;
mod value;
mod vocabulary;
mod wrap;

pub use descent::Descent;
pub use look::{Field, Fold, Frame, Look, MAX_KNOWN, MAX_SUMS, Over, Scope, Size, over};
pub use masked::Masked;
pub use record::{LookRecording, StepRecording};
pub use rule::{Clock, Numbers, Optional, Rule, Scalar, Slot, Slots, Start, Step};
pub use trajectory::Trajectory;
pub use value::{Real, Value};
pub use vocabulary::{Debiased, Epsilon, bias_correction, ema};
pub use wrap::{Adjusted, Cautious, HeavyBall, WeightDecay};
