//! [`RandomState`] and the deck's data against NumPy itself (`numpy.json`, made by
//! `tools/golden/deck_data.py`).

use downhill_problems::{data, numpy::RandomState};
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("numpy.json")).unwrap()
}

fn floats(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap())
        .collect()
}

fn integers(value: &Value) -> Vec<i64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_i64().unwrap())
        .collect()
}

/// Normal deviates contain one logarithm of the platform's C library, and the golden ones glibc's.
const SAME_LIBM: bool = cfg!(all(target_os = "linux", target_env = "gnu"));

#[track_caller]
fn assert_normals(ours: &[f64], golden: &Value) {
    let golden = floats(golden);
    if SAME_LIBM {
        assert_eq!(ours, golden);
    } else {
        assert_eq!(ours.len(), golden.len());
        for (x, y) in ours.iter().zip(golden) {
            assert!((x - y).abs() <= 4.0 * f64::EPSILON * y.abs(), "{x} != {y}");
        }
    }
}

#[test]
fn every_method_in_turn_takes_numpys_outputs() {
    let golden = &golden()["stream"];
    let mut random = RandomState::new(42);
    assert_normals(&random.randn(5), &golden["randn"]);
    assert_eq!(random.rand(4), floats(&golden["rand"]));
    assert_eq!(
        random.randint(0, 3, 12).unwrap(),
        integers(&golden["randint"])
    );
    assert_normals(&random.randn(3), &golden["randn_again"]);
    assert_eq!(
        random.randint(-5, 6, 12).unwrap(),
        integers(&golden["randint_negative"])
    );
    assert_eq!(
        random.randint(7, 8, 3).unwrap(),
        integers(&golden["randint_one_choice"])
    );
    assert_eq!(
        random.randint(0, 1 << 32, 3).unwrap(),
        integers(&golden["randint_32_bits"])
    );
    assert_eq!(
        random.randint(-(1 << 62), (1 << 62) + 12345, 3).unwrap(),
        integers(&golden["randint_64_bits"])
    );
    let order: Vec<i64> = random.permutation(20).iter().map(|&i| i as i64).collect();
    assert_eq!(order, integers(&golden["permutation"]));
    assert_eq!(random.rand(1), floats(&golden["rand_after"]));
}

#[test]
fn every_seed_is_numpys() {
    for case in golden()["seeds"].as_array().unwrap() {
        let seed = case[0].as_u64().unwrap() as u32;
        let expected = [case[1].as_f64().unwrap(), case[2].as_f64().unwrap()];
        assert_eq!(RandomState::new(seed).rand(2), expected, "seed {seed}");
    }
}

#[test]
fn the_whole_range_of_integers_can_be_drawn() {
    let drawn = RandomState::new(1)
        .randint(i64::MIN, i64::MAX, 1000)
        .unwrap();
    assert!(drawn.iter().any(|&x| x < i64::MIN / 2) && drawn.iter().any(|&x| x > i64::MAX / 2));
}

#[test]
fn an_empty_range_is_an_error() {
    for (low, high) in [(0, 0), (3, 2), (i64::MAX, i64::MIN)] {
        assert!(RandomState::new(0).randint(low, high, 1).is_err());
        assert!(RandomState::new(0).randint(low, high, 0).is_err());
    }
}

#[test]
fn the_deck_is_slide_12s_data_bit_for_bit() {
    let golden = &golden()["deck"];
    let deck = data::deck();
    assert_eq!(
        (deck.samples(), deck.inputs(), deck.classes()),
        (1000, 20, 3)
    );

    assert_normals(&deck.features()[..20], &golden["first_row"]);
    assert_normals(&deck.features()[20 * 999..], &golden["last_row"]);
    if SAME_LIBM {
        let checksum = deck
            .features()
            .iter()
            .fold(0u64, |sum, x| sum.wrapping_add(x.to_bits()));
        assert_eq!(checksum, golden["features_checksum"].as_u64().unwrap());
    }

    let labels: Vec<i64> = deck.labels().iter().map(|&label| label as i64).collect();
    assert_eq!(labels[..20], integers(&golden["first_labels"]));
    for (class, count) in integers(&golden["class_counts"]).into_iter().enumerate() {
        let found = deck.labels().iter().filter(|&&label| label == class);
        assert_eq!(found.count() as i64, count);
    }
    let weighted: i64 = labels.iter().zip(1..).map(|(label, i)| label * i).sum();
    assert_eq!(weighted, golden["labels_checksum"].as_i64().unwrap());
}
