use downhill_rule::{
    Clock, Field, Frame, Look, MAX_KNOWN, MAX_SUMS, Numbers, Over, Size, Slot, Step, Value, ema, over,
};

use crate::decay::Decay;
use crate::declare::optimizer;
use crate::program::Program;

optimizer! {
    /// CAME: [`Adafactor`](crate::Adafactor) with a momentum of which those parts count less that changed a lot.
    ///
    /// ```text
    /// row, col ← beta_2·(row, col) + (1 - beta_2)·means over columns, rows of (g² + epsilon_1)
    /// U = g/sqrt(row·col/mean(row)),   U ← U/max(1, RMS(U)/clip_threshold)
    /// m ← beta_1·m + (1 - beta_1)·U
    /// res_row, res_col ← beta_3·(…) + (1 - beta_3)·means of ((U - m)² + epsilon_2)
    /// u = m/sqrt(res_row·res_col/mean(res_row)),   m for vectors, whose second moment is whole
    /// ```
    ///
    /// Rows and columns are the last two dimensions. No bias is corrected: the first step is 11 times the rate long,
    /// and steps grow while gradients stay the same, so it wants a warmup. State: `exp_avg`; `exp_avg_sq_row`,
    /// `exp_avg_sq_col`, `exp_avg_res_row`, `exp_avg_res_col`, of vectors `exp_avg_sq`. Source: Luo et al., arXiv
    /// 2307.02047.
    Came as CameConfig, "came" {
        learning_rate: 2e-4,
        state: "n + 2r + 2c, 2n for vectors",
        paper: "Luo et al., arXiv 2307.02047",
        description: "adafactor with a momentum that trusts what is steady",
        decay: Decay::decoupled(0.0),
        example: ".with_weight_decay(0.01)",
    }
    /// Decay of the mean of the scaled gradient.
    beta_1, with_beta_1: f64 = 0.9, DECAY;
    /// Decay of the second moment.
    beta_2, with_beta_2: f64 = 0.999, DECAY;
    /// Decay of the mean of the residual.
    beta_3, with_beta_3: f64 = 0.9999, DECAY;
    /// Added to the squared gradient.
    epsilon_1, with_epsilon_1: f64 = 1e-30, POSITIVE;
    /// Added to the squared residual.
    epsilon_2, with_epsilon_2: f64 = 1e-16, POSITIVE;
    /// Largest root mean square of the scaled gradient.
    clip_threshold, with_clip_threshold: f64 = 1.0, POSITIVE;
    => |rule, shared| {
        let programs = [shared.look(Full(rule))?, shared.look(Factored(rule))?];
        Ok(Program::by_shape(|shape| usize::from(shape.len() >= 2), programs))
    }
}

impl Came {
    /// What brings the scaled gradient below the threshold.
    fn clip<V: Field>(&self, sum: V, size: &Size) -> V {
        let root_mean = sum.scale(size.whole.recip()).sqrt();
        root_mean.scale(self.clip_threshold.recip()).clamp_min(1.0).recip()
    }
}

macro_rules! numbers {
    ($($rule:ident),*) => {$(
        impl Numbers for $rule {
            fn number_mut(&mut self, name: &str) -> Option<&mut f64> {
                self.0.number_mut(name)
            }
        }
    )*};
}

/// Of matrices.
#[derive(Clone)]
struct Factored(Came);

/// Of vectors.
#[derive(Clone)]
struct Full(Came);

numbers!(Factored, Full);

/// `1/sqrt(row·col/mean(row))` as a factor for rows and one for columns.
fn factors<V: Field>(row: &V, col: &V) -> [V; 2] {
    let all = row.clone().mean().sqrt();
    [all / row.clone().sqrt(), col.clone().sqrt().recip()]
}

impl Look for Factored {
    type State<V: Value> = [V; 1];
    type Kept<V: Value> = [V; 4];
    type Sums<V: Value> = [V; 2];
    /// The factors of the second moment, those of the residual, and the clipping.
    type Known<V: Value> = [V; 5];
    type Coefs = Came;
    const LOOKS: usize = 3;
    const KEPT: [Over; MAX_KNOWN] = over([Over::Rows, Over::Cols, Over::Rows, Over::Cols]);
    const KNOWN: [Over; MAX_KNOWN] = over([Over::Rows, Over::Cols, Over::Rows, Over::Cols]);

    fn frame(&self, shape: &[usize]) -> Frame {
        Frame::last_two(shape.len())
    }

    fn sums(look: usize) -> usize {
        if look == 1 { 1 } else { 2 }
    }

    fn over(look: usize) -> [Over; MAX_SUMS] {
        if look == 1 { over([]) } else { over([Over::Rows, Over::Cols]) }
    }

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg")]
    }

    fn kept(&self) -> Vec<Slot> {
        ["exp_avg_sq_row", "exp_avg_sq_col", "exp_avg_res_row", "exp_avg_res_col"].map(Slot::zeros).to_vec()
    }

    fn prepare(&self, clock: &mut Clock, _: &[usize]) -> Step<Came> {
        Step::new(clock.lr, self.0)
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        rule: &Came, [row, col, _, _, clip]: &[V; 5], _: &V, grad: V, [m]: [V; 1],
    ) -> [V; 2] {
        if LOOK == 0 {
            let square = grad.square();
            return [square.clone(), square];
        }
        let scaled = row.clone() * col.clone() * grad;
        if LOOK == 1 {
            let square = scaled.square();
            return [square.clone(), square];
        }
        let scaled = scaled * clip.clone();
        let m = ema(m, scaled.clone(), rule.beta_1);
        let square = (scaled - m).square();
        [square.clone(), square]
    }

    fn settle<const LOOK: usize, V: Field>(
        rule: &Came, [first, second]: [V; 2], size: &Size,
        [row, col, res_row, res_col, clip]: [V; 5], [r, c, rr, rc]: [V; 4],
    ) -> ([V; 5], [V; 4]) {
        if LOOK == 1 {
            return ([row, col, res_row, res_col, rule.clip(first, size)], [r, c, rr, rc]);
        }
        let mean = |sum: V, count: f64, epsilon: f64| sum.scale(count.recip()).offset(epsilon);
        if LOOK == 0 {
            let r = ema(r, mean(first, size.row, rule.epsilon_1), rule.beta_2);
            let c = ema(c, mean(second, size.col, rule.epsilon_1), rule.beta_2);
            let [row, col] = factors(&r, &c);
            return ([row, col, res_row, res_col, clip], [r, c, rr, rc]);
        }
        let rr = ema(rr, mean(first, size.row, rule.epsilon_2), rule.beta_3);
        let rc = ema(rc, mean(second, size.col, rule.epsilon_2), rule.beta_3);
        let [res_row, res_col] = factors(&rr, &rc);
        ([row, col, res_row, res_col, clip], [r, c, rr, rc])
    }

    #[inline(always)]
    fn direction<V: Value>(
        rule: &Came, [row, col, res_row, res_col, clip]: &[V; 5], _: &V, grad: V, [m]: [V; 1],
    ) -> (V, [V; 1]) {
        let scaled = row.clone() * col.clone() * grad * clip.clone();
        let m = ema(m, scaled, rule.beta_1);
        (m.clone() * (res_row.clone() * res_col.clone()), [m])
    }
}

impl Look for Full {
    type State<V: Value> = [V; 2];
    type Kept<V: Value> = [V; 0];
    type Sums<V: Value> = [V; 1];
    type Known<V: Value> = [V; 1];
    type Coefs = Came;

    fn slots(&self) -> Vec<Slot> {
        vec![Slot::zeros("exp_avg"), Slot::zeros("exp_avg_sq")]
    }

    fn prepare(&self, clock: &mut Clock, _: &[usize]) -> Step<Came> {
        Step::new(clock.lr, self.0)
    }

    #[inline(always)]
    fn terms<const LOOK: usize, V: Value>(
        rule: &Came, _: &[V; 1], _: &V, grad: V, [_, v]: [V; 2],
    ) -> [V; 1] {
        let v = ema(v, grad.clone().square().offset(rule.epsilon_1), rule.beta_2);
        [(grad / v.sqrt()).square()]
    }

    fn settle<const LOOK: usize, V: Field>(
        rule: &Came, [sum]: [V; 1], size: &Size, _: [V; 1], kept: [V; 0],
    ) -> ([V; 1], [V; 0]) {
        ([rule.clip(sum, size)], kept)
    }

    #[inline(always)]
    fn direction<V: Value>(rule: &Came, [clip]: &[V; 1], _: &V, grad: V, [m, v]: [V; 2]) -> (V, [V; 2]) {
        let v = ema(v, grad.clone().square().offset(rule.epsilon_1), rule.beta_2);
        let scaled = grad / v.clone().sqrt() * clip.clone();
        let m = ema(m, scaled, rule.beta_1);
        (m.clone(), [m, v])
    }
}
