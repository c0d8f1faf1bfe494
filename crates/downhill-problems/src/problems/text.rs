use std::{io::Read, ops::Range, sync::LazyLock};

use burn::tensor::{Device, Int, Tensor, TensorData};
use flate2::read::GzDecoder;

use crate::problem::{Evaluation, Info, Measure, Metric, Part, ProblemError, Target};

/// Windows that a part is evaluated on at most.
const EVALUATED: usize = 256;

/// A text whose next character is to be predicted, in windows that do not overlap.
///
/// A sample is a window of `context` characters and the one that follows each of them. Of the text the
/// first 80 % are trained on, the next 10 % are the validation part and the last 10 % the test part.
#[derive(Clone, Debug)]
pub(super) struct Text {
    vocabulary: Vec<char>,
    /// The text as indices into the vocabulary.
    characters: Vec<i64>,
    context: usize,
}

impl Text {
    /// The book that is part of the crate.
    pub fn alice(context: usize) -> Self {
        static ALICE: LazyLock<Text> = LazyLock::new(|| {
            // The file is part of the crate, and a test reads it, so this cannot fail on a user's machine.
            let compressed = include_bytes!("../../data/alice.txt.gz").as_slice();
            let mut text = String::new();
            GzDecoder::new(compressed)
                .read_to_string(&mut text)
                .expect("the embedded text is sound");
            Text::new("alice", &text, 1).expect("the embedded text is long enough")
        });
        Self {
            context,
            ..ALICE.clone()
        }
    }

    pub fn new(name: &str, text: &str, context: usize) -> Result<Self, ProblemError> {
        let invalid = |reason| ProblemError::Invalid {
            name: name.into(),
            reason,
        };
        let mut vocabulary: Vec<char> = text.chars().collect();
        let length = vocabulary.len();
        if length < 1000 {
            return Err(invalid("expected a text of at least 1000 characters"));
        }
        if context == 0 || context >= length / 10 {
            return Err(invalid(
                "expected a context of at least one character, and shorter than a tenth of the text",
            ));
        }
        vocabulary.sort_unstable();
        vocabulary.dedup();
        if vocabulary.len() < 2 {
            return Err(invalid("expected a text of different characters"));
        }
        let index = |c| vocabulary.partition_point(|&other| other < c) as i64;
        Ok(Self {
            characters: text.chars().map(index).collect(),
            vocabulary,
            context,
        })
    }

    /// The characters of the text, in ascending order.
    pub fn vocabulary(&self) -> &[char] {
        &self.vocabulary
    }

    /// The same description with what the text decides: the samples and the metric.
    pub fn complete(&self, info: Info) -> Info {
        Info {
            samples: self.windows(Part::Train),
            metric: Some(Metric {
                name: "bits per character".into(),
                higher_is_better: false,
            }),
            ..info
        }
    }

    fn range(&self, part: Part) -> Range<usize> {
        let n = self.characters.len();
        match part {
            Part::Train => 0..n * 8 / 10,
            Part::Validation => n * 8 / 10..n * 9 / 10,
            Part::Test => n * 9 / 10..n,
        }
    }

    /// How many windows there are; the last one's last character has a successor in the part.
    fn windows(&self, part: Part) -> usize {
        (self.range(part).len() - 1) / self.context
    }

    /// Characters and their successors, each of shape `[windows, context]`.
    pub fn batch(&self, part: Part, windows: &[usize], device: &Device) -> [Tensor<2, Int>; 2] {
        let begin = self.range(part).start;
        [0, 1].map(|offset| {
            let characters = windows.iter().flat_map(|window| {
                let first = begin + window * self.context + offset;
                &self.characters[first..first + self.context]
            });
            let data: Vec<i64> = characters.copied().collect();
            Tensor::from_data(TensorData::new(data, [windows.len(), self.context]), device)
        })
    }

    /// How many windows of a part are evaluated: as many of the training part as of the test part, and of none more
    /// than [`EVALUATED`].
    pub fn evaluated(&self, part: Part) -> usize {
        let windows = self.windows(part).min(self.windows(Part::Test));
        windows.min(EVALUATED)
    }

    /// The mean loss over the [evaluated](Self::evaluated) windows of a part, which are evenly spaced, `chunk` at once,
    /// and the same in bits.
    pub fn evaluate(
        &self,
        part: Part,
        chunk: usize,
        device: &Device,
        loss: impl Fn(&[Tensor<2, Int>; 2]) -> Tensor<1>,
    ) -> Evaluation {
        let windows = self.windows(part);
        let evaluated = self.evaluated(part);
        let chosen: Vec<usize> = (0..evaluated).map(|i| i * windows / evaluated).collect();
        let losses = chosen.chunks(chunk).map(|chunk| {
            let loss: f64 = loss(&self.batch(part, chunk, device)).into_scalar();
            loss * chunk.len() as f64
        });
        let loss = losses.sum::<f64>() / evaluated as f64;
        Evaluation {
            loss,
            metric: Some(loss / std::f64::consts::LN_2),
        }
    }
}

/// A target in bits per character of the validation part.
pub(super) fn validation_bits(value: f64) -> Target {
    Target {
        part: Part::Validation,
        measure: Measure::Metric,
        value,
    }
}

/// Checks that logits of shape `[windows * context, vocabulary]` depend on earlier characters and on their
/// own, and on no later one.
#[cfg(test)]
pub(super) fn assert_looks_back_and_never_ahead(
    text: &Text,
    logits: impl Fn(Tensor<2, Int>) -> Tensor<2>,
) {
    let (context, vocabulary) = (text.context, text.vocabulary.len());
    let logits = |changed: usize| {
        let mut window = text.characters[..context].to_vec();
        window[changed] = (window[changed] + 1) % vocabulary as i64;
        let window = TensorData::new(window, [1, context]);
        let logits = logits(Tensor::from_data(window, &Device::flex())).into_data_as::<f32>();
        logits.try_into_vec::<f32>().unwrap()
    };
    let early = context / 2;
    let (one, other) = (logits(early), logits(context - 2));
    let at = |position: usize| position * vocabulary..(position + 1) * vocabulary;
    assert_eq!(one[..early * vocabulary], other[..early * vocabulary]);
    for position in [early, early + 1, context - 2] {
        assert_ne!(one[at(position)], other[at(position)], "{position}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_book_is_complete() {
        let text = Text::alice(32);
        let characters = |range: Range<usize>| {
            let indices = text.characters[range].iter();
            indices
                .map(|&i| text.vocabulary[i as usize])
                .collect::<String>()
        };
        let n = text.characters.len();
        assert_eq!(n, 148_265);
        assert_eq!(characters(0..9), "CHAPTER I");
        assert_eq!(characters(n - 13..n), "summer days.\n");
    }

    #[test]
    fn targets_are_the_next_characters_and_windows_stay_in_their_part() {
        let device = Device::flex();
        for context in [16, 32] {
            let text = Text::alice(context);
            for part in [Part::Train, Part::Validation, Part::Test] {
                let last = text.windows(part) - 1;
                let range = text.range(part);
                let batch = text.batch(part, &[0, last], &device);
                let [characters, next] = batch.map(|tensor| {
                    assert_eq!(tensor.dims(), [2, context]);
                    let data = tensor.into_data_as::<i64>();
                    data.try_into_vec::<i64>().unwrap()
                });
                let begin = range.start;
                let from = |begin: usize| &text.characters[begin..begin + context];
                assert_eq!(characters[..context], *from(begin));
                assert_eq!(next[..context], *from(begin + 1));
                let begin = range.start + last * context;
                assert!(begin + context < range.end);
                assert_eq!(next[context..], *from(begin + 1));
                assert!(
                    begin + 2 * context >= range.end,
                    "another window would not fit"
                );
            }
        }
    }

    #[test]
    fn every_part_has_a_window() {
        let text = "ab".repeat(500);
        let longest = Text::new("ab", &text, 99).unwrap();
        for part in [Part::Train, Part::Validation, Part::Test] {
            assert!(longest.windows(part) > 0);
        }
        for context in [0, 100] {
            let error = Text::new("ab", &text, context).unwrap_err().to_string();
            assert!(error.starts_with("problem 'ab': expected a context"));
        }
    }
}
