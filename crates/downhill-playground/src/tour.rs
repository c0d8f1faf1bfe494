//! Scenes that show one thing each.

use serde_json::{Value, json};

use crate::scene::Scene;

/// A stop of the tour.
#[derive(Clone, Debug)]
pub struct Stop {
    /// What it is about.
    pub title: &'static str,
    /// What there is to be seen.
    pub text: &'static str,
    /// The scene.
    pub scene: Scene,
}

/// All stops, in their order.
pub fn stops() -> Vec<Stop> {
    let stop = |title, text, function: &str, steps, optimizers: Value, schedule: Option<Value>| {
        let Value::Array(optimizers) = optimizers else {
            unreachable!("a list is given")
        };
        Stop {
            title,
            text,
            scene: Scene {
                function: function.to_string(),
                start: None,
                steps,
                optimizers,
                schedule,
            },
        }
    };
    vec![
        stop(
            "Momentum",
            "A hundred times as steep one way as the other: plain descent may take no longer steps than the steep way \
             bears, and creeps along the other. Momentum adds up what all steps agree on.",
            "quadratic-2-100",
            200,
            json!([
                {"name": "sgd", "learning_rate": 0.5},
                {"name": "sgd", "learning_rate": 0.5, "momentum": 0.9},
                {"name": "sgd", "learning_rate": 0.5, "momentum": 0.9, "nesterov": true},
            ]),
            None,
        ),
        stop(
            "Adaptive rates",
            "In this valley the gradient is hundreds at its walls and next to nothing on its floor. Adam divides each \
             element by the root mean square of its gradients and goes on where descent, whose rate must be small enough \
             for the walls, hardly moves.",
            "rosenbrock",
            600,
            json!([
                {"name": "sgd", "learning_rate": 0.001},
                {"name": "rmsprop", "learning_rate": 0.02},
                {"name": "adam", "learning_rate": 0.1},
            ]),
            None,
        ),
        stop(
            "Bias correction",
            "Averages that begin at zero are too small at first. RMSprop divides by the root of such an average, so that its \
             first step is ten times its rate; Adam with a beta_1 of 0 is the same but for the correction, and its first \
             step is one rate long.",
            "saddle",
            60,
            json!([
                {"name": "rmsprop", "learning_rate": 0.05},
                {"name": "adam", "learning_rate": 0.05, "beta_1": 0.0, "beta_2": 0.99},
            ]),
            None,
        ),
        stop(
            "Warmup and decay",
            "The same rates, rising over a tenth of the steps and then falling to nothing along a cosine: who leaps back and \
             forth at a constant rate comes to rest at the minimum.",
            "himmelblau",
            200,
            json!([
                {"name": "lion", "learning_rate": 0.1},
                {"name": "adam", "learning_rate": 0.3},
            ]),
            Some(json!({"name": "warmup_cosine", "warmup": "10%"})),
        ),
        stop(
            "Decoupled weight decay",
            "Weight decay pulls to the origin. In Adam it goes through the division by the gradient's size and loses its \
             measure; AdamW takes it beside the step. Both have the same decay, and end in different places.",
            "styblinski-tang-2",
            300,
            json!([
                {"name": "adam", "learning_rate": 0.05},
                {"name": "adam", "learning_rate": 0.05, "weight_decay": 4.0},
                {"name": "adamw", "learning_rate": 0.05, "weight_decay": 4.0},
            ]),
            None,
        ),
        stop(
            "Signs",
            "Lion and signSGD take the sign alone: every step is as long as any other in each direction, far from the \
             minimum and near it. They need a small rate, or one that falls.",
            "saddle",
            150,
            json!([
                {"name": "signsgd", "learning_rate": 0.02},
                {"name": "lion", "learning_rate": 0.02},
                {"name": "sgd", "learning_rate": 0.1},
            ]),
            None,
        ),
        stop(
            "A slide's NAdam",
            "The deck that this library began with divides NAdam's first moment by 1 - beta_1^t twice, so that its first \
             step is ten rates long instead of one. The right one is beside it.",
            "rosenbrock",
            400,
            json!([
                {"name": "nadam", "learning_rate": 0.05},
                {"name": "slides_nadam", "learning_rate": 0.05},
            ]),
            None,
        ),
        stop(
            "A slide's Adafactor",
            "Its Adafactor corrects no average and divides by sums that begin at zero: on numbers that are no matrix the \
             first step is 31 rates long. The paper's is one rate at most.",
            "quadratic-2-100",
            300,
            json!([
                {"name": "adafactor", "learning_rate": 0.02},
                {"name": "slides_adafactor", "learning_rate": 0.02},
            ]),
            None,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::race::Race;

    fn run(title: &str) -> Race {
        let stop = stops()
            .into_iter()
            .find(|stop| stop.title == title)
            .unwrap();
        let mut race = Race::new(&stop.scene).unwrap();
        while race.step() {}
        race
    }

    /// What the texts say is what is seen.
    #[test]
    fn a_stop_shows_what_it_says() {
        let last = |race: &Race, at: usize| {
            let runner = &race.runners[at];
            runner.values[runner.values.len() - 1] - race.function.least()
        };
        let first = |race: &Race, at: usize| race.runners[at].lengths[0] / race.runners[at].rate(0);

        let race = run("Momentum");
        assert!(last(&race, 1) < 1e-3 * last(&race, 0) && last(&race, 2) < 1e-3 * last(&race, 0));
        let race = run("Adaptive rates");
        assert!(last(&race, 2) < 0.1 * last(&race, 0));
        // In both directions one of them.
        let race = run("Bias correction");
        let (wrong, right) = (first(&race, 0), first(&race, 1));
        assert!(
            (wrong / right - 10.0).abs() < 1e-3 && right < 2f64.sqrt() + 1e-6,
            "{wrong} {right}"
        );
        let race = run("Warmup and decay");
        let constant = |at: usize| {
            let mut scene = stops()[3].scene.clone();
            scene.schedule = None;
            let mut race = Race::new(&scene).unwrap();
            while race.step() {}
            last(&race, at)
        };
        assert!(
            last(&race, 0) < 0.1 * constant(0),
            "{} {}",
            last(&race, 0),
            constant(0)
        );
        let race = run("Decoupled weight decay");
        let end = |at: usize| race.runners[at].path[race.runners[at].path.len() - 1];
        let apart = |a: [f64; 2], b: [f64; 2]| (a[0] - b[0]).hypot(a[1] - b[1]);
        assert!(
            apart(end(0), end(1)) > 0.01 && apart(end(1), end(2)) > 0.01,
            "{:?} {:?} {:?}",
            end(0),
            end(1),
            end(2)
        );
        let race = run("Signs");
        let lengths = &race.runners[0].lengths;
        assert!(
            lengths[1..40]
                .iter()
                .all(|length| (length - lengths[1]).abs() < 0.01),
            "{lengths:?}"
        );
        assert!(last(&race, 2) < last(&race, 0));
        let race = run("A slide's NAdam");
        assert!(
            first(&race, 1) > 6.0 * first(&race, 0),
            "{} {}",
            first(&race, 1),
            first(&race, 0)
        );
        let race = run("A slide's Adafactor");
        assert!(
            first(&race, 1) > 10.0 * first(&race, 0),
            "{} {}",
            first(&race, 1),
            first(&race, 0)
        );
    }
}
