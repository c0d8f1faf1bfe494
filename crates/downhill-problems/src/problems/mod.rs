//! The problems that come with the crate.

mod autoencoder;
mod bandit;
mod char_rnn;
mod char_transformer;
mod classifier;
mod conv_net;
mod function;
mod linear_regression;
mod matrix_factorization;
mod pinn;
mod res_net;
mod text;

pub use autoencoder::Autoencoder;
pub use bandit::Bandit;
pub use char_rnn::CharRnn;
pub use char_transformer::{CharTransformer, TransformerSizes};
pub use classifier::{Architecture, Classifier, SoftmaxRegression};
pub use conv_net::ConvNet;
pub use function::FunctionProblem;
pub use linear_regression::LinearRegression;
pub use matrix_factorization::MatrixFactorization;
pub use pinn::Pinn;
pub use res_net::ResNet;

use std::sync::LazyLock;

use downhill_setting::nearest;

use crate::{
    data::{self, Split},
    functions::{self, FunctionError},
    mlp::MlpConfig,
    problem::{AnyProblem, Info, Measure, Part, Problem, ProblemError, Target},
};

/// Every problem of the [front page](crate#problems), in its order.
///
/// ```
/// let problems = downhill_problems::all();
/// for problem in &problems {
///     println!("{:20} {}", problem.info().name, problem.info().about);
/// }
/// assert!(problems.len() >= 24);
/// ```
pub fn all() -> Vec<AnyProblem> {
    let functions = functions::all().into_iter().map(FunctionProblem::new);
    let mut problems: Vec<_> = functions.map(sound).collect();
    problems.extend([
        sound(LinearRegression::new(256, 20, 100.0).expect("the sizes are in their ranges")),
        sound(LinearRegression::ill_conditioned()),
        sound(MatrixFactorization::new(100, 80, 4).expect("the rank is low")),
        sound(Pinn::poisson()),
        sound(digits_logistic()),
        sound(deck_mlp()),
        sound(digits_mlp()),
        sound(digits_conv()),
        sound(digits_resnet()),
        sound(digits_autoencoder()),
        sound(digits_bandit()),
        sound(CharRnn::alice()),
        sound(CharTransformer::alice_small()),
        sound(CharTransformer::alice()),
    ]);
    problems
}

/// A problem of [`all`] by its name, or any [test function](mod@crate::functions) by its own, such as
/// `rosenbrock-50`.
///
/// # Errors
/// [`ProblemError::UnknownName`] with the nearest name, or what is wrong with a function's numbers.
///
/// ```
/// use downhill_problems::by_name;
///
/// assert_eq!(by_name("digits-conv")?.info().name, "digits-conv");
/// assert_eq!(by_name("ackley-30")?.info().name, "ackley-30");
/// assert_eq!(
///     by_name("digit-mlp").unwrap_err().to_string(),
///     "unknown problem `digit-mlp`; did you mean `digits-mlp`?"
/// );
/// # Ok::<(), downhill_problems::ProblemError>(())
/// ```
pub fn by_name(name: &str) -> Result<AnyProblem, ProblemError> {
    match functions::by_name(name) {
        Ok(function) => Ok(sound(FunctionProblem::new(function))),
        Err(FunctionError::UnknownName { .. }) => {
            let problems = all();
            let names = problems.iter().map(|problem| problem.info().name.clone());
            let nearest = nearest(name, names);
            let found = problems.into_iter().find(|p| p.info().name == name);
            found.ok_or_else(|| ProblemError::UnknownName {
                name: name.into(),
                nearest,
            })
        }
        Err(wrong_numbers) => Err(wrong_numbers.into()),
    }
}

/// The crate's own problems are checked by tests.
fn sound(problem: impl Problem) -> AnyProblem {
    AnyProblem::new(problem).expect("the problem describes itself well")
}

static DIGITS: LazyLock<Split> = LazyLock::new(data::digits);

fn digits_logistic() -> Classifier<SoftmaxRegression> {
    let architecture = SoftmaxRegression {
        inputs: 64,
        classes: 10,
    };
    let info = classification("digits-logistic", "logistic regression on digits, convex");
    digits(info, architecture, 20, train_loss(0.1))
}

fn digits_mlp() -> Classifier<MlpConfig> {
    let info = classification("digits-mlp", "a 64-64-10 perceptron on digits");
    digits(info, MlpConfig::new(64, 64, 10), 20, accuracy(0.965))
}

fn digits_conv() -> Classifier<ConvNet> {
    let architecture = ConvNet {
        side: 8,
        classes: 10,
    };
    let info = classification("digits-conv", "two convolutional layers on digits");
    digits(info, architecture, 12, accuracy(0.97))
}

fn digits_resnet() -> Classifier<ResNet> {
    let architecture = ResNet {
        side: 8,
        classes: 10,
    };
    let info = classification("digits-resnet", "a residual net of two blocks on digits");
    digits(info, architecture, 8, accuracy(0.965))
}

fn digits_autoencoder() -> Autoencoder {
    let info = Info {
        epochs: 30,
        target: Target {
            part: Part::Validation,
            measure: Measure::Loss,
            value: 0.025,
        },
        ..classification("digits-autoencoder", "digits through a layer of 8 units")
    };
    Autoencoder::new(info, &DIGITS, &[48, 24, 8]).expect("every class has many samples")
}

fn digits_bandit() -> Bandit<MlpConfig> {
    let info = Info {
        epochs: 40,
        target: accuracy(0.9),
        ..classification(
            "digits-bandit",
            "a perceptron is told whether its guess is right",
        )
    };
    let architecture = MlpConfig::new(64, 64, 10);
    Bandit::new(info, &DIGITS, architecture).expect("every class has many samples")
}

fn digits<A: Architecture>(
    info: Info,
    architecture: A,
    epochs: usize,
    target: Target,
) -> Classifier<A> {
    let info = Info {
        epochs,
        target,
        ..info
    };
    Classifier::new(info, &DIGITS, architecture).expect("every class has many samples")
}

fn deck_mlp() -> Classifier<MlpConfig> {
    let split = data::deck().split().expect("every class has many samples");
    let info = Info {
        epochs: 60,
        target: train_loss(0.5),
        ..classification("deck-mlp", "a 20-64-3 perceptron learns noise by heart")
    };
    Classifier::new(info, &split, MlpConfig::new(20, 64, 3)).expect("every class has many samples")
}

fn accuracy(value: f64) -> Target {
    Target {
        part: Part::Validation,
        measure: Measure::Metric,
        value,
    }
}

fn train_loss(value: f64) -> Target {
    Target {
        part: Part::Train,
        measure: Measure::Loss,
        value,
    }
}

/// Samples and metric are [`Classifier::new`]'s.
fn classification(name: &str, about: &str) -> Info {
    Info {
        name: name.into(),
        about: about.into(),
        metric: None,
        samples: 0,
        batch_size: 32,
        epochs: 20,
        target: accuracy(0.0),
    }
}
