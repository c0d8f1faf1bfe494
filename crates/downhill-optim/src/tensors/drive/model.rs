use std::sync::Arc;

use burn::tensor::{DType, Tensor};
use downhill_rule::Clock;

use super::directive::{Directive, Directives, directed, looking};
use crate::RuleOptimizer;
use crate::pass::Sums;
use crate::program::{Driven, OfModel};

/// What an optimizer that looks at the whole model keeps of it, between two updates.
#[derive(Clone, Debug)]
pub struct ModelState {
    optimizer: RuleOptimizer,
    updates: u64,
    kept: Vec<f64>,
}

impl ModelState {
    /// That before the first update; none for an optimizer that looks at no more than the tensor that it moves.
    pub fn new(optimizer: &RuleOptimizer) -> Option<Self> {
        let kept = optimizer.program().0.of_model()?.kept().into_iter();
        Some(Self {
            kept: kept
                .map(|slot| slot.start.number().unwrap_or_default())
                .collect(),
            optimizer: optimizer.clone(),
            updates: 0,
        })
    }

    /// Whose it is.
    pub fn optimizer(&self) -> &RuleOptimizer {
        &self.optimizer
    }

    /// How many updates made it.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// What is kept, by its name.
    pub fn numbers(&self) -> Vec<(&'static str, f64)> {
        let names = self.of_model().kept().into_iter().map(|slot| slot.name);
        names.zip(self.kept.iter().copied()).collect()
    }

    /// The state after as many updates, with these numbers; none if they are not all that are kept.
    pub fn restored(&self, updates: u64, number: impl Fn(&str) -> Option<f64>) -> Option<Self> {
        let numbers = self.numbers().into_iter().map(|(name, _)| number(name));
        Some(Self {
            optimizer: self.optimizer.clone(),
            updates,
            kept: numbers.collect::<Option<_>>()?,
        })
    }

    fn of_model(&self) -> &dyn OfModel {
        let model = self.optimizer.program().0.of_model();
        model.expect("made of one that looks at the model")
    }

    /// What is told to a [look](super::looking).
    pub fn told(&self) -> ToldOfModel {
        ToldOfModel {
            optimizer: self.optimizer.clone(),
            numbers: self.kept.as_slice().into(),
        }
    }

    /// A step of `what` (a model, say) that one optimizer makes alone: `look` and `step` both step it with the same
    /// gradients, and in the first nothing moves. Where there are several optimizers, or gradients are missing,
    /// that is a driver's work.
    pub fn step<T>(
        &mut self,
        learning_rate: f64,
        directive: &Directive,
        what: T,
        look: impl FnOnce(T) -> T,
        step: impl FnOnce(T) -> T,
    ) -> T {
        let with = |told: ToldOfModel| {
            Directives::All(Directive {
                of_model: [told].into(),
                ..directive.clone()
            })
        };
        let (what, seen) = looking(with(self.told()), || look(what));
        let (told, settled) = self.settled(learning_rate, directive.loss, &directive.driven, &seen);
        let what = directed(with(told), || step(what));
        *self = settled;
        what
    }

    /// What is told to the step that follows, and the state after it, from what was seen of all parameters.
    pub fn settled(
        &self,
        learning_rate: f64,
        loss: Option<f64>,
        driven: &Driven,
        seen: &[Seen],
    ) -> (ToldOfModel, Self) {
        let mut sums = Sums::default();
        let mut elements = 0.0;
        for seen in seen
            .iter()
            .filter(|seen| seen.optimizer.is(&self.optimizer))
        {
            elements += seen.elements as f64;
            for (sum, part) in sums.iter_mut().zip(seen.sums) {
                *sum += part;
            }
        }
        let updates = self.updates.saturating_add(1);
        let mut clock = Clock::new(learning_rate, updates, &mut []);
        clock.loss = loss;
        clock.known = Some(&self.kept);
        let driven = self.optimizer.program().driven(driven);
        let program = driven.as_ref().unwrap_or(self.optimizer.program());
        let model = program.0.of_model();
        let model = model.expect("made of one that looks at the model");
        let (known, kept) = model.settle(&mut clock, &sums, elements);
        let told = ToldOfModel {
            optimizer: self.optimizer.clone(),
            numbers: known.into(),
        };
        let optimizer = self.optimizer.clone();
        (
            told,
            Self {
                optimizer,
                updates,
                kept,
            },
        )
    }
}

/// What an optimizer is told of the whole model.
#[derive(Clone, Debug)]
pub struct ToldOfModel {
    optimizer: RuleOptimizer,
    numbers: Arc<[f64]>,
}

impl PartialEq for ToldOfModel {
    fn eq(&self, other: &Self) -> bool {
        self.optimizer.is(&other.optimizer) && self.numbers == other.numbers
    }
}

impl ToldOfModel {
    /// What `optimizer` is told among these.
    pub(crate) fn find<'a>(all: &'a [Self], optimizer: &RuleOptimizer) -> Option<&'a [f64]> {
        let told = all.iter().find(|told| told.optimizer.is(optimizer))?;
        Some(&told.numbers)
    }
}

/// What was seen of one parameter.
#[derive(Clone, Debug)]
pub struct Seen {
    optimizer: RuleOptimizer,
    elements: usize,
    sums: Sums,
}

/// What was seen of a parameter, whose sums may still be on its device.
pub(crate) struct Looked {
    pub optimizer: RuleOptimizer,
    pub elements: usize,
    pub sums: LookedSums,
}

pub(crate) enum LookedSums {
    Host(Sums),
    /// Each as a tensor of one element.
    Device(Vec<Tensor<1>>),
}

/// Reads back what is on devices, at once.
pub(crate) fn read(looked: Vec<Looked>) -> Vec<Seen> {
    let on_device = looked.iter().flat_map(|looked| match &looked.sums {
        LookedSums::Host(_) => &[][..],
        LookedSums::Device(sums) => sums,
    });
    let mut on_device: Vec<Tensor<1>> = on_device.cloned().collect();
    let together = on_device
        .windows(2)
        .all(|two| two[0].device() == two[1].device() && two[0].dtype() == two[1].dtype());
    if together && on_device.len() > 1 {
        on_device = vec![Tensor::cat(on_device, 0)];
    }
    let numbers = on_device.into_iter().flat_map(|tensor| {
        let data = tensor.into_data().convert_dtype(DType::F64);
        data.try_to_vec::<f64>().expect("converted to f64")
    });
    let mut numbers = numbers.collect::<Vec<_>>().into_iter();
    let seen = looked.into_iter().map(|looked| Seen {
        sums: match looked.sums {
            LookedSums::Host(sums) => sums,
            LookedSums::Device(on_device) => {
                let mut sums = Sums::default();
                for (sum, number) in sums.iter_mut().zip(numbers.by_ref().take(on_device.len())) {
                    *sum = number;
                }
                sums
            }
        },
        optimizer: looked.optimizer,
        elements: looked.elements,
    });
    seen.collect()
}
