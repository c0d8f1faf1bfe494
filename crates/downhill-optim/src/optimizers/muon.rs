use downhill_rule::{Clock, Descent, Numbers, Slot, Value};

use crate::OptimizerConfig;
use crate::decay::{Decay, OnGradient};
use crate::declare::{Scope, preset};
use crate::matrix::{Blocks, Formula, NewtonSchulz, NsCoefficients, Of, Side};
use crate::program::Program;
use crate::settings::choice;
use crate::wrapped::{Around, Field, Stage};

/// Declares an optimizer that orthogonalises a momentum: one with the settings of that.
macro_rules! muon_optimizer {
    (
        $(#[$doc:meta])*
        $rule:ident as $config:ident, $name:literal { $($about:tt)* }
        $(
            $(#[doc = $field_doc:literal])*
            $field:ident, $with:ident: $type:ty = $default:expr, $range:ident
            $(, needs $needs:ident)? $(, shown_with $shown:literal)?;
        )*
        => |$self:ident, $shared:ident| $program:expr
    ) => {
        $crate::declare::matrix_optimizer! {
            $(#[$doc])*
            $rule as $config, $name { $($about)* }
            /// Decay of the momentum.
            momentum, with_momentum: f64 = 0.95, DECAY;
            /// Whether the momentum is a mean of the gradients, or a sum, which is larger. The direction is the same.
            ema_momentum, with_ema_momentum: bool = true, ANY;
            /// Nesterov's momentum: the gradient counts once more.
            nesterov, with_nesterov: bool = true, ANY;
            /// The coefficients of the iteration.
            ns_coefficients, with_ns_coefficients: $crate::NsCoefficients = $crate::NsCoefficients::Original, ANY;
            /// Steps of the iteration.
            ns_steps, with_ns_steps: usize = 5, AT_LEAST_ONE;
            /// The least norm that the momentum is divided by.
            epsilon, with_epsilon: f64 = 1e-7, POSITIVE;
            /// Multiplies that norm, so that no singular value starts above one.
            safety_factor, with_safety_factor: f64 = 1.0, AT_LEAST_ONE;
            /// Whether the iteration rounds to bfloat16, as PyTorch's does.
            bfloat16, with_bfloat16: bool = false, ANY;
            $(
                $(#[doc = $field_doc])*
                $field, $with: $type = $default, $range $(, needs $needs)? $(, shown_with $shown)?;
            )*
            /// Where inputs and outputs of a weight are.
            layout, with_layout: $crate::MatrixLayout = $crate::MatrixLayout::Auto, ANY;
            /// Equal parts of the outputs that are matrices of their own: 3 for a layer that gives query, key and
            /// value at once. A weight whose outputs cannot be cut so is one.
            parts, with_parts: usize = 1, AT_LEAST_ONE;
            => |$self, $shared| $program
        }

        impl $crate::optimizers::muon::Orthogonalising for $rule {
            fn outputs(&self, rank: usize) -> $crate::matrix::Side {
                self.layout.outputs(rank)
            }

            fn blocks(&self, shape: &[usize]) -> $crate::matrix::Blocks {
                $crate::matrix::Blocks::parts(shape, self.layout.outputs(shape.len()), self.parts)
            }

            fn mixed(&self) -> $crate::optimizers::muon::Mixed {
                $crate::optimizers::muon::Mixed::new(self.momentum, self.ema_momentum, self.nesterov)
            }

            fn iteration(&self, scale: f64) -> $crate::matrix::NewtonSchulz {
                $crate::matrix::NewtonSchulz {
                    coefficients: self.ns_coefficients,
                    steps: self.ns_steps,
                    epsilon: self.epsilon,
                    safety_factor: self.safety_factor,
                    bfloat16: self.bfloat16,
                    scale,
                }
            }
        }
    };
}
pub(super) use muon_optimizer;

muon_optimizer! {
    /// Muon: a momentum whose singular values are all brought to about one.
    ///
    /// ```text
    /// B ← momentum·B + (1 - momentum)·g,    U = (1 - momentum)·g + momentum·B
    /// X = U/max(|U|, epsilon),    ns_steps times  X ← a·X + (b·XXᵀ + c·(XXᵀ)²)·X
    /// p ← (1 - lr·weight_decay)·p - lr·scale·X
    /// ```
    ///
    /// `scale` follows the outputs and inputs of a layer: see [`AdjustLr`]. Those of Burn's linear layers are columns
    /// and rows, those of a convolution its first dimension and all others, which are one matrix. A transposed
    /// convolution needs the `layout`. What is no matrix is stepped by `fallback`: vectors, what has one row or one
    /// column, depthwise convolutions, and in the optimizer of a whole module what `no_matrix` names: embeddings and
    /// heads.
    ///
    /// A step needs two buffers of the parameter's size, and a few as large as the square of its shorter side. State:
    /// `momentum_buffer`, or the fallback's. Source: Jordan, <https://kellerjordan.github.io/posts/muon/>;
    /// `torch.optim.Muon`, which takes nothing but matrices and iterates in bfloat16, so that it differs in the third
    /// digit from what this does without `bfloat16`. Keller Jordan and Moonlight add `epsilon` to the norm instead.
    Muon as MuonConfig, "muon" {
        learning_rate: 1e-3,
        state: "n, the fallback's for what is no matrix",
        paper: "Jordan 2024",
        description: "a momentum with all its singular values brought to one",
        decay: Decay::decoupled(0.1),
        example: ".with_no_matrix([\"*embed*\", \"output\"].into())",
    }
    /// How the length of a step follows the shape.
    adjust_lr, with_adjust_lr: AdjustLr = AdjustLr::Original, ANY;
    => |muon, shared| {
        let (on_gradient, on_step) = shared.split()?;
        let scale = Scale::Adjusted(muon.adjust_lr);
        let turned = Orthogonalised { method: muon.clone(), on_gradient, of_signs: false, scale };
        Ok(Program::wrapped(turned, on_step.run(Descent)?))
    }
}

choice! {
    /// How far an orthogonalised step of a layer with so many outputs and inputs goes.
    AdjustLr {
        /// `sqrt(max(1, outputs/inputs))`
        Original = "original",
        /// `0.2·sqrt(max(outputs, inputs))`: about as far as AdamW's, so that the same rate is right for both
        /// (Moonlight, arXiv 2502.16982).
        MatchRmsAdamW = "match_rms_adamw",
        /// `sqrt(outputs/inputs)` (Scion, arXiv 2502.07529).
        SpectralUnclamped = "spectral_unclamped",
    }
}

impl AdjustLr {
    pub(super) fn scale(self, blocks: &Blocks, outputs: Side) -> f64 {
        let [rows, cols] = blocks.piece.map(|len| len as f64);
        let [outputs, inputs] = match outputs {
            Side::Rows => [rows, cols],
            Side::Cols => [cols, rows],
        };
        match self {
            Self::Original => (outputs / inputs).max(1.0).sqrt(),
            Self::MatchRmsAdamW => 0.2 * outputs.max(inputs).sqrt(),
            Self::SpectralUnclamped => (outputs / inputs).sqrt(),
        }
    }
}

/// AdamW as it goes beside Muon.
fn beside(epsilon: f64, weight_decay: f64) -> OptimizerConfig {
    let adamw = super::AdamWConfig::new().with_beta_2(0.95).with_epsilon(epsilon);
    adamw.with_weight_decay(weight_decay).into()
}

preset! {
    /// [`Muon`] as its author runs it, with an AdamW at 0.015 of its rate beside it. Source: Jordan,
    /// <https://github.com/KellerJordan/Muon>.
    MuonKellerJordan as MuonKellerJordanConfig of Muon, "muon_keller_jordan" {
        learning_rate: 2e-2,
        state: "n, the fallback's for what is no matrix",
        paper: "Jordan 2024",
        description: "muon with its author's settings",
        decay: Decay::decoupled(0.0),
        settings: Muon { fallback: beside(1e-10, 0.0), fallback_rate: 0.015, ..Muon::default() },
    }
}

preset! {
    /// [`Muon`] with steps as long as AdamW's, which goes beside it at the same rate. Source: Liu et al., arXiv
    /// 2502.16982.
    MuonMoonlight as MuonMoonlightConfig of Muon, "muon_moonlight" {
        learning_rate: 1e-3,
        state: "n, the fallback's for what is no matrix",
        paper: "Liu et al., arXiv 2502.16982",
        description: "muon with steps as long as adamw's",
        decay: Decay::decoupled(0.1),
        settings: Muon {
            ema_momentum: false,
            adjust_lr: AdjustLr::MatchRmsAdamW,
            fallback: beside(1e-8, 0.1),
            ..Muon::default()
        },
    }
}

preset! {
    /// [`Muon`] as timm has it: without Nesterov's momentum, and with another iteration. Source: timm 1.0.31,
    /// `timm.optim.Muon`.
    MuonTimm as MuonTimmConfig of Muon, "muon_timm" {
        learning_rate: 2e-2,
        state: "n, the fallback's for what is no matrix",
        paper: "timm 1.0.31",
        description: "muon with timm's settings",
        decay: Decay::decoupled(0.0),
        settings: Muon {
            nesterov: false,
            ns_coefficients: NsCoefficients::Quintic,
            adjust_lr: AdjustLr::MatchRmsAdamW,
            fallback: beside(1e-7, 0.0),
            ..Muon::default()
        },
    }
}

/// The settings of an optimizer that orthogonalises a momentum.
pub(super) trait Orthogonalising: Numbers + Clone + Send + Sync + 'static {
    /// Where the outputs are.
    fn outputs(&self, rank: usize) -> Side;
    fn blocks(&self, shape: &[usize]) -> Blocks;
    fn mixed(&self) -> Mixed;
    fn iteration(&self, scale: f64) -> NewtonSchulz;
}

/// Multiplies what is orthogonal.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scale {
    One,
    Adjusted(AdjustLr),
    /// That of the spectral norm between root mean squares, over the positions of a kernel.
    Spectral,
}

impl Scale {
    fn of(self, shape: &[usize], blocks: &Blocks, outputs: Side) -> f64 {
        match self {
            Self::One => 1.0,
            Self::Adjusted(adjust) => adjust.scale(blocks, outputs),
            Self::Spectral => {
                let kernel = shape[2..].iter().product::<usize>() as f64;
                // The kernel is among what the columns count.
                let mut piece = blocks.piece.map(|len| len as f64);
                piece[1] /= kernel;
                let [outputs, inputs] = match outputs {
                    Side::Rows => piece,
                    Side::Cols => [piece[1], piece[0]],
                };
                (outputs / inputs).sqrt() / kernel
            }
        }
    }
}

/// In the place of the gradient of another program: what is orthogonal.
#[derive(Clone)]
pub(super) struct Orthogonalised<M> {
    pub method: M,
    pub on_gradient: OnGradient,
    /// Whether only the signs of the momentum are orthogonalised.
    pub of_signs: bool,
    pub scale: Scale,
}

impl<M: Numbers> Numbers for Orthogonalised<M> {
    fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
        match name {
            "momentum" | "epsilon" | "safety_factor" => self.method.number_mut(name),
            name => self.on_gradient.number_mut(name),
        }
    }
}

impl<M: Orthogonalising> Around for Orthogonalised<M> {
    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("momentum_buffer")]
    }

    fn sight(&self) -> (Scope, usize) {
        (Scope::Matrix, 1)
    }

    fn step(&self, clock: &mut Clock, stage: &mut impl Stage) {
        let step = self.on_gradient.step(clock, self.method.mixed());
        match self.of_signs {
            false => stage.direct::<Of<Momentum<false>>>(&step),
            true => stage.direct::<Of<Momentum<true>>>(&step),
        }
        let shape = stage.shape();
        let (blocks, outputs) = (self.method.blocks(&shape), self.method.outputs(shape.len()));
        let scale = self.scale.of(&shape, &blocks, outputs);
        stage.turn(&blocks, &[], &self.method.iteration(scale));
        stage.inner(Field::Param);
    }
}

/// What a momentum is made of, and what direction of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mixed {
    decay: f64,
    /// Of the gradient in the momentum.
    share: f64,
    /// Of the gradient and of the momentum in the direction.
    ahead: [f64; 2],
}

impl Mixed {
    pub fn new(decay: f64, ema: bool, nesterov: bool) -> Self {
        let share = if ema { 1.0 - decay } else { 1.0 };
        let ahead = if nesterov { [share, decay] } else { [0.0, 1.0] };
        Self { decay, share, ahead }
    }
}

/// A momentum as a direction, or its signs.
#[derive(Clone)]
struct Momentum<const SIGNS: bool>;

impl<const SIGNS: bool> Formula for Momentum<SIGNS> {
    type State<V: Value> = [V; 1];
    type Coefs = Mixed;

    #[inline(always)]
    fn result<V: Value>(mixed: &Mixed, _: &V, grad: V, [buffer]: [V; 1]) -> (V, [V; 1]) {
        let buffer = buffer.scale(mixed.decay).add_scaled(&grad, mixed.share);
        let [of_grad, of_buffer] = mixed.ahead;
        let direction = buffer.clone().scale(of_buffer).add_scaled(&grad, of_grad);
        (if SIGNS { direction.sign() } else { direction }, [buffer])
    }
}
