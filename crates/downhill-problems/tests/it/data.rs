//! Data sets, their split and batches, and everything that can be wrong with a CSV file.

use std::{fs, path::PathBuf};

use burn::tensor::Device;
use downhill_problems::{
    data::{self, Classification, DataSource},
    numpy::RandomState,
};

/// A file that is removed again.
struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str, contents: impl AsRef<[u8]>) -> Self {
        let path =
            std::env::temp_dir().join(format!("downhill-data-{}-{name}", std::process::id()));
        fs::write(&path, contents).unwrap();
        Self(path)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[track_caller]
fn read(name: &str, contents: impl AsRef<[u8]>) -> Classification {
    data::csv(&TempFile::new(name, contents).0).unwrap()
}

/// The message about a bad file, without the file's name.
#[track_caller]
fn complaint(name: &str, contents: impl AsRef<[u8]>) -> String {
    let file = TempFile::new(name, contents);
    let message = data::csv(&file.0).unwrap_err().to_string();
    message
        .strip_prefix(&file.0.display().to_string())
        .unwrap_or_else(|| panic!("the message does not begin with the file: {message}"))
        .to_string()
}

#[test]
fn digits_are_complete_and_in_order() {
    let digits = data::digits();
    for part in [&digits.train, &digits.test] {
        assert_eq!((part.inputs(), part.classes()), (64, 10));
        assert_eq!(part.features().len(), part.samples() * 64);
    }
    assert_eq!((digits.train.samples(), digits.test.samples()), (1435, 362));

    // The first image of the file, a zero: its first class member, so it is for training.
    let first = &digits.train.features()[..8];
    assert_eq!(
        first,
        [0., 0., 5., 13., 9., 1., 0., 0.].map(|pixel| pixel / 16.0)
    );
    // scikit-learn's `load_digits()`: sum of all pixels, and of all labels.
    let total = |part: &Classification| part.features().iter().sum::<f64>() * 16.0;
    assert_eq!(total(&digits.train) + total(&digits.test), 561_718.0);
    let labels = digits.train.labels().iter().chain(digits.test.labels());
    assert_eq!(labels.sum::<usize>(), 8_070);
}

#[test]
fn the_split_takes_a_fifth_of_each_class_and_nothing_twice() {
    let features: Vec<f64> = (0..23).map(f64::from).collect();
    let labels: Vec<usize> = (0..23).map(|i| i % 2).collect();
    let split = Classification::new(1, features, labels)
        .unwrap()
        .split()
        .unwrap();
    // Class 0 is 0, 2, 4, ...; class 1 is 1, 3, 5, ...: the 2nd, 7th and 12th of each.
    assert_eq!(split.test.features(), [2., 3., 12., 13., 22.]);
    assert_eq!(split.test.labels(), [0, 1, 0, 1, 0]);
    assert_eq!(split.train.samples(), 18);
    let in_both = |x: &f64| split.test.features().contains(x);
    assert!(!split.train.features().iter().any(in_both));
}

#[test]
fn a_class_of_one_sample_is_trained_on_and_stays_a_class_of_the_test() {
    let data = Classification::new(1, vec![0., 1., 2.], vec![0, 0, 1]).unwrap();
    let split = data.split().unwrap();
    assert_eq!(split.train.labels(), [0, 1]);
    assert_eq!((split.test.samples(), split.test.classes()), (1, 2));
}

#[test]
fn without_a_second_sample_of_any_class_there_is_no_split() {
    let data = Classification::new(1, vec![0., 1., 2.], vec![0, 1, 2]).unwrap();
    assert_eq!(
        data.split().unwrap_err().to_string(),
        "3 samples of 3 different classes; at least one class needs two samples, one to train on and one \
         to test (is the label in the last column?)"
    );
}

#[test]
fn standardizing_uses_the_training_samples_only() {
    let features = vec![1., 7., 100., 7., 3., 7., 5., 7.];
    let data = Classification::new(2, features, vec![0, 0, 1, 0]).unwrap();
    let mut split = data.split().unwrap();
    assert_eq!(split.test.features(), [100., 7.]);
    split.standardize();
    let deviation = (8f64 / 3.0).sqrt();
    for (x, expected) in split.train.features().iter().zip([-2., 0., 0., 0., 2., 0.]) {
        assert!((x - expected / deviation).abs() < 1e-15);
    }
    assert!((split.test.features()[0] - 97.0 / deviation).abs() < 1e-12);
    assert_eq!(split.test.features()[1], 0.0); // constant: shifted only
}

#[test]
fn a_shape_that_does_not_add_up_is_an_error() {
    for (inputs, features, labels) in [
        (2, 3, 2),
        (0, 0, 2),
        (1, 0, 0),
        (0, 0, 0),
        (usize::MAX, 3, 2),
    ] {
        let data = Classification::new(inputs, vec![0.0; features], vec![0; labels]);
        let message = data.unwrap_err().to_string();
        assert!(
            message.contains(&format!("{features} features for {labels} labels")),
            "{message}"
        );
    }
}

#[test]
fn an_epoch_is_every_sample_once_in_an_order_of_its_own() {
    let device = Device::flex();
    let deck = data::deck();
    let epoch = |random: &mut RandomState| {
        let mut inputs = Vec::new();
        let mut targets = Vec::new();
        for batch in deck.batches(32, random, &device) {
            let [samples, _] = batch.inputs.dims();
            assert!(samples == 32 || (samples == 8 && inputs.len() == 992 * 20));
            inputs.extend(
                batch
                    .inputs
                    .into_data_as::<f32>()
                    .try_into_vec::<f32>()
                    .unwrap(),
            );
            targets.extend(
                batch
                    .targets
                    .into_data_as::<i64>()
                    .try_into_vec::<i64>()
                    .unwrap(),
            );
        }
        (inputs, targets)
    };

    let mut random = RandomState::new(3);
    let first = epoch(&mut random);
    let second = epoch(&mut random);
    assert_eq!(
        first,
        epoch(&mut RandomState::new(3)),
        "the seed decides the order"
    );
    assert_ne!(first.0, second.0, "each epoch has its own");
    assert_ne!(first.0, epoch(&mut RandomState::new(4)).0);

    // Sample by sample, the features with their label: the same multiset as the data.
    let rows = |inputs: &[f32], targets: &[i64]| {
        let mut rows: Vec<(Vec<u32>, i64)> = inputs
            .chunks(20)
            .map(|row| row.iter().map(|x| x.to_bits()).collect())
            .zip(targets.iter().copied())
            .collect();
        rows.sort();
        rows
    };
    let features: Vec<f32> = deck.features().iter().map(|&x| x as f32).collect();
    let labels: Vec<i64> = deck.labels().iter().map(|&label| label as i64).collect();
    assert_eq!(rows(&first.0, &first.1), rows(&features, &labels));
}

#[test]
fn a_batch_size_of_zero_or_beyond_the_data_still_gives_every_sample() {
    let data = Classification::new(1, vec![0., 1., 2.], vec![0, 1, 1]).unwrap();
    for (size, batches) in [(0, 3), (1, 3), (2, 2), (3, 1), (usize::MAX, 1)] {
        let mut random = RandomState::new(0);
        assert_eq!(
            data.batches(size, &mut random, &Device::flex()).count(),
            batches
        );
    }
}

#[test]
fn csv_with_and_without_a_header() {
    let plain = read("plain.csv", "1,2.5,0\n-3e1, 4 ,1\n");
    assert_eq!(plain.features(), [1., 2.5, -30., 4.]);
    assert_eq!(plain.labels(), [0, 1]);
    assert_eq!((plain.inputs(), plain.classes()), (2, 2));

    assert_eq!(read("header.csv", "a,b,label\n1,2.5,0\n-30,4,1\n"), plain);
    // As data frames are written: features that are called by their number.
    assert_eq!(read("frame.csv", "0,1,y\n1,2.5,0\n-30,4,1\n"), plain);
    // As spreadsheets write: a byte-order mark, CR LF, quotes, a blank line, no end of line.
    let sheet = "\u{feff}\"a\",\"b\",\"label\"\r\n1,2.5,0\r\n\r\n\"-30\",4,1";
    assert_eq!(read("sheet.csv", sheet), plain);
    // As NumPy's savetxt writes.
    assert_eq!(
        read(
            "numpy.csv",
            "1.00e+00,2.5e+00,0.000e+00\n-3e+01,4,1.000e+00"
        ),
        plain
    );
}

#[test]
fn csv_labels_are_numbered_in_ascending_order() {
    let data = read("labels.csv", "0,30\n0,10\n0,9007199254740992\n0,10\n");
    assert_eq!(data.labels(), [1, 0, 2, 0]);
    assert_eq!(data.classes(), 3);
}

#[test]
fn csv_errors_name_the_line_the_column_and_what_would_be_right() {
    assert_eq!(
        complaint("ragged.csv", "a,b,label\n1,2,0\n\n1,2,3,0\n"),
        ", line 4: expected 3 fields as in the first row, found 4"
    );
    assert_eq!(
        complaint("short.csv", "1,2,0\n1,0\n"),
        ", line 2: expected 3 fields as in the first row, found 2"
    );
    assert_eq!(
        complaint("text.csv", "1,2,0\n1,two,1\n"),
        ", line 2, column 2: expected a number, found 'two'"
    );
    assert_eq!(
        complaint("first.csv", "1,2O,0\n1,2,1\n"),
        ", line 1, column 2: expected a number, found '2O'",
        "a slip in the first row does not make it a header"
    );
    assert_eq!(
        complaint("missing.csv", "1,2,0\n1,,1\n"),
        ", line 2, column 2: expected a number, found ''"
    );
    for text in ["nan", "-inf", "1e39", "1e999"] {
        assert_eq!(
            complaint("finite.csv", format!("1,2,0\n{text},2,1\n")),
            format!(
                ", line 2, column 1: expected a finite number of at most 3.4e38 in magnitude, found '{text}'"
            )
        );
    }
    for label in ["-1", "0.5", "cat", "", "nan", "inf", "1e17"] {
        assert_eq!(
            complaint("label.csv", format!("1,2,0\n1,2,{label}\n")),
            format!(
                ", line 2, column 3: expected a class label, an integer of 0 or greater, in the last \
                 column, found '{label}'"
            )
        );
    }
    assert_eq!(
        complaint("semicolon.csv", "1;2;0\n3;4;1\n"),
        // The only field is not a number, so the first row passes for a header.
        ", line 2: only one field; expected at least one number and then the class label, separated by \
         commas"
    );
    assert_eq!(
        complaint("oneclass.csv", "1,4\n2,4\n"),
        ": every row has the label 4; a classifier needs at least two classes (is the label in the last \
         column?)"
    );
    for empty in ["", "\n\n", "a,b,label\n"] {
        assert_eq!(
            complaint("empty.csv", empty),
            ": no rows of data; expected numbers separated by commas, with the class label in the last \
             column"
        );
    }
    let long = complaint("long.csv", format!("1,2,0\n{},2,1\n", "é".repeat(5000)));
    assert_eq!(
        long,
        format!(
            ", line 2, column 1: expected a number, found '{}…'",
            "é".repeat(40)
        )
    );
    let binary = complaint("binary.csv", b"1,2,0\n\xff\xfe,2,1\n");
    assert!(
        binary.contains("line 2") && binary.contains("UTF-8"),
        "{binary}"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let message = data::csv("no/such/file.csv").unwrap_err().to_string();
    assert!(
        message.starts_with("cannot read no/such/file.csv: "),
        "{message}"
    );
    let directory = std::env::temp_dir();
    let message = data::csv(&directory).unwrap_err().to_string();
    assert!(
        message.contains(&directory.display().to_string()),
        "{message}"
    );
}

#[test]
fn sources_by_name() {
    for name in ["digits", "deck", "csv:a/b.csv", "csv:deck"] {
        let source: DataSource = name.parse().unwrap();
        assert_eq!(source.to_string(), name);
    }
    let message = |name: &str| name.parse::<DataSource>().unwrap_err().to_string();
    assert_eq!(
        message("digit"),
        "unknown data 'digit'; expected digits, deck or csv:PATH"
    );
    assert_eq!(
        message("csv:"),
        "'csv:' needs the path of a file, as in csv:train.csv"
    );
    assert!(message("iris.CSV").ends_with("(did you mean csv:iris.CSV?)"));

    let deck = DataSource::Deck.load().unwrap();
    assert_eq!(deck, data::deck().split().unwrap(), "not scaled");
    assert_eq!(DataSource::Digits.load().unwrap(), data::digits());
}

#[test]
fn a_csv_source_is_split_and_standardized() {
    let text: String = (0..40)
        .map(|i| format!("{},{}\n", 1000 + i, i % 2))
        .collect();
    let file = TempFile::new("source.csv", text);
    let split = DataSource::Csv(file.0.clone()).load().unwrap();
    assert_eq!((split.train.samples(), split.test.samples()), (32, 8));
    let features = split.train.features();
    let mean = features.iter().sum::<f64>() / 32.0;
    let variance = features.iter().map(|x| x * x).sum::<f64>() / 32.0;
    assert!(mean.abs() < 1e-12 && (variance - 1.0).abs() < 1e-12);
}
