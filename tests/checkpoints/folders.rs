//! Folders of checkpoints: what is in them besides, going back, and other trainings.

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;

use super::*;

/// An empty folder of a test's own.
pub fn empty(name: &str) -> PathBuf {
    let folder = file(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name != ".lock").collect();
    names.sort();
    names
}

fn named(step: u64) -> String {
    format!("step-{step:012}.ckpt")
}

fn is_named(path: &Path, step: u64) -> bool {
    path.ends_with(named(step))
}

#[test]
fn after_going_back_the_new_checkpoints_are_the_last() {
    let folder = empty("back");
    let kept = Checkpoints::new(&folder)
        .keep_last(2)
        .keep_best(1, Goal::Lowest);
    let mut net = Net::new(1, &device(), DType::F32);
    let mut driver = plain(&net);
    for t in 0..6 {
        net = train(&mut driver, net, t..t + 1, &device(), DType::F32);
        let loss = if t == 1 { 0.1 } else { 5.0 + t as f64 };
        kept.save(&driver, &net, Some(loss)).unwrap();
    }
    assert_eq!(names(&folder), [2, 5, 6].map(named));
    let best = kept.best().unwrap().unwrap();
    let mut net = driver.load(net, best).unwrap();
    for (t, left) in [(3, [2, 3, 6]), (4, [2, 3, 4])] {
        net = train(&mut driver, net, t..t + 1, &device(), DType::F32);
        let saved = kept.save(&driver, &net, Some(3.0)).unwrap();
        assert!(is_named(&saved, t as u64) && saved.exists());
        assert_eq!(kept.latest().unwrap().unwrap(), saved);
        assert_eq!(names(&folder), left.map(named));
    }
}

#[test]
fn what_is_no_checkpoint_is_left_alone_and_is_not_the_last() {
    let folder = empty("foreign");
    let foreign = [
        "step-+7.ckpt",
        "step-7.ckpt",
        "step-99999999999999999999999.ckpt",
        "step-00000000000000000000000018446744073709551615.ckpt",
        "step-notes.ckpt-ideas.tmp",
        "step-000000000001.ckpt.tmp",
        "step-000000000001.ckpt.1-x.tmp",
        "notes.txt",
        // By their names they could be.
        "step-18446744073709551615.ckpt",
        "step-000000000009.ckpt",
    ];
    for name in foreign {
        fs::write(folder.join(name), "somebody's").unwrap();
    }
    let folders = ["step-000000000008.ckpt", "step-000000000007.ckpt.1-1"];
    for name in folders {
        fs::create_dir(folder.join(name)).unwrap();
    }
    let kept = Checkpoints::new(&folder).keep_last(1);
    assert_eq!(kept.latest().unwrap(), None);
    let mut net = Net::new(1, &device(), DType::F32);
    let mut driver = plain(&net);
    for t in 0..2 {
        net = train(&mut driver, net, t..t + 1, &device(), DType::F32);
        let saved = kept.save(&driver, &net, Some(1.0)).unwrap();
        assert!(saved.exists());
        assert_eq!(kept.latest().unwrap(), Some(saved.clone()));
        assert_eq!(kept.best().unwrap(), Some(saved));
        assert_eq!(kept.list().unwrap().len(), 1);
    }
    let left = names(&folder);
    for name in foreign.iter().chain(&folders) {
        assert!(left.contains(&name.to_string()), "{name} is gone");
    }
}

/// Whoever opens one waits for somebody who writes into it.
#[cfg(unix)]
#[test]
fn a_pipe_with_the_name_of_a_checkpoint_is_not_waited_for() {
    let folder = empty("pipe");
    let pipe = folder.join(named(3));
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let net = Net::new(1, &device(), DType::F32);
    let kept = Checkpoints::new(&folder).keep_last(1);
    let saved = kept.save(&plain(&net), &net, None).unwrap();
    assert_eq!(kept.latest().unwrap(), Some(saved));
    assert_eq!(kept.best().unwrap(), None);
    assert!(pipe.exists());
}

#[test]
fn a_damaged_last_checkpoint_is_named_and_an_older_one_does_not_matter() {
    let folder = empty("damaged");
    let kept = Checkpoints::new(&folder).keep_last(3);
    let mut net = Net::new(1, &device(), DType::F32);
    let mut driver = plain(&net);
    let mut save = |t: usize| {
        let taken = std::mem::replace(&mut net, Net::new(1, &device(), DType::F32));
        net = train(&mut driver, taken, t..t + 1, &device(), DType::F32);
        kept.save(&driver, &net, None).unwrap()
    };
    let first = save(0);
    let second = save(1);
    // Its header is damaged.
    let damage = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[40..60].fill(0xff);
        fs::write(path, bytes).unwrap();
    };
    damage(&second);
    let error = kept.latest().unwrap_err().to_string();
    assert!(
        error.contains("step-000000000002.ckpt may be the last"),
        "{error}"
    );
    let third = save(2);
    assert_eq!(kept.latest().unwrap(), Some(third.clone()));
    assert_eq!(kept.best().unwrap(), None);
    damage(&first);
    assert_eq!(kept.latest().unwrap(), Some(third));
    // What is damaged is not counted and not removed.
    for t in 3..7 {
        save(t);
    }
    assert_eq!(names(&folder), [1, 2, 5, 6, 7].map(named));
}

#[test]
fn a_second_training_in_a_folder_is_refused_until_the_first_ends() {
    let folder = empty("shared");
    let net = Net::new(1, &device(), DType::F32);
    let driver = plain(&net);
    let first = Checkpoints::new(&folder);
    let second = Checkpoints::new(&folder);
    first.save(&driver, &net, None).unwrap();
    // Somebody else may read.
    assert_eq!(second.list().unwrap().len(), 1);
    let error = second.save(&driver, &net, None).unwrap_err();
    assert!(matches!(error, CheckpointError::InUse { .. }));
    assert!(
        error
            .to_string()
            .contains("another training saves its checkpoints into")
    );
    // A clone is the same training.
    let clone = first.clone();
    drop(first);
    clone.save(&driver, &net, None).unwrap();
    second.save(&driver, &net, None).unwrap_err();
    drop(clone);
    second.save(&driver, &net, None).unwrap();
}

#[test]
fn a_training_in_another_process_is_not_disturbed_and_its_lock_dies_with_it() {
    let folder = empty("processes");
    let mut child = child_process("folder", &folder).spawn().unwrap();
    let kept = Checkpoints::new(&folder);
    while kept.latest().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let net = Net::new(1, &device(), DType::F32);
    let driver = plain(&net);
    for _ in 0..20 {
        let error = kept.save(&driver, &net, None).unwrap_err();
        assert!(matches!(error, CheckpointError::InUse { .. }), "{error}");
        std::thread::sleep(Duration::from_millis(10));
        assert_eq!(child.try_wait().unwrap(), None, "the other one died");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // Also what a process of the same number has left, as in containers where each is the first.
    let left = format!("{}.{}-7.tmp", named(1), std::process::id());
    fs::write(folder.join(&left), "half").unwrap();
    kept.save(&driver, &net, None).unwrap();
    assert_eq!(names(&folder), [named(0)]);
}

/// What happens to a folder.
#[derive(Clone, Debug)]
enum Event {
    /// An update, and a save with this metric.
    Save(Option<f64>),
    /// The training goes on from one of the checkpoints.
    Back(prop::sample::Index),
    /// Somebody puts a file there.
    Foreign(u64, Vec<u8>),
    Folder(u64),
    /// The training is started again.
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => prop::option::of(-3..3i8).prop_map(|metric| Event::Save(metric.map(f64::from))),
        2 => any::<prop::sample::Index>().prop_map(Event::Back),
        1 => (0..12u64, prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(step, bytes)| Event::Foreign(100 * step, bytes)),
        1 => (0..12u64).prop_map(|step| Event::Folder(100 * step + 50)),
        1 => Just(Event::Restart),
    ]
}

/// The weights of small models, and the driver that goes with them.
fn tiny() -> (Driver, Linear) {
    let model: Linear = LinearConfig::new(1, 1).init(&device().autodiff());
    let driver = Driver::builder(SgdConfig::new().init(), 0.1);
    (driver.bind(&model).unwrap(), model)
}

fn update(driver: &mut Driver, model: Linear) -> Linear {
    let loss = model.forward(Tensor::<2>::ones([1, 1], &device().autodiff()));
    let grads = GradientsParams::from_grads(loss.sum().backward(), &model);
    driver.step(model, grads).unwrap().0
}

proptest! {
    #![proptest_config(common::cases(24))]

    #[test]
    fn a_folder_keeps_what_it_must_whatever_happens_to_it(
        last in 1..4_usize,
        best in 0..3_usize,
        highest in any::<bool>(),
        events in prop::collection::vec(event(), 1..24),
    ) {
        let folder = empty("events");
        let goal = if highest { Goal::Highest } else { Goal::Lowest };
        let open = || Checkpoints::new(&folder).keep_last(last).keep_best(best, goal);
        let mut kept = open();
        let (mut driver, mut model) = tiny();
        // Steps in the order of their saves, and their metrics.
        let mut saves: Vec<u64> = Vec::new();
        let mut metrics: BTreeMap<u64, Option<f64>> = BTreeMap::new();
        let mut foreign: BTreeMap<String, Option<Vec<u8>>> = BTreeMap::new();
        for event in events {
            match event {
                Event::Save(metric) => {
                    model = update(&mut driver, model);
                    let step = driver.updates();
                    let path = kept.save(&driver, &model, metric).unwrap();
                    prop_assert!(path.exists() && is_named(&path, step));
                    prop_assert_eq!(kept.latest().unwrap(), Some(path));
                    saves.retain(|other| *other != step);
                    saves.push(step);
                    metrics.insert(step, metric);
                }
                Event::Back(to) => {
                    let list = kept.list().unwrap();
                    if !list.is_empty() {
                        let (step, path) = to.get(&list);
                        model = driver.load(model, path).unwrap();
                        prop_assert_eq!(driver.updates(), *step);
                    }
                }
                Event::Foreign(step, bytes) => {
                    // Nobody writes over a checkpoint.
                    let path = folder.join(named(step));
                    if step >= 100 && !path.exists() {
                        fs::write(path, &bytes).unwrap();
                        foreign.insert(named(step), Some(bytes));
                    }
                }
                Event::Folder(step) => {
                    let _ = fs::create_dir(folder.join(named(step)));
                    foreign.insert(named(step), None);
                }
                Event::Restart => {
                    kept = open();
                    (driver, model) = tiny();
                    if let Some(path) = kept.latest().unwrap() {
                        model = driver.load(model, path).unwrap();
                        prop_assert_eq!(Some(&driver.updates()), saves.last());
                    }
                }
            }
            // The last and the best of those that are there, and no others.
            let there: Vec<u64> = kept.list().unwrap().iter().map(|(step, _)| *step).collect();
            saves.retain(|step| there.contains(step));
            prop_assert_eq!(&saves, &there, "in the order of the saves");
            prop_assert!(there.len() <= last + best);
            if best > 0 && let Some(path) = kept.best().unwrap() {
                let better = |a: f64, b: f64| if highest { a > b } else { a < b };
                let step = there.iter().copied().find(|step| is_named(&path, *step)).unwrap();
                let own = metrics[&step].unwrap();
                for metric in there.iter().filter_map(|step| metrics[step]) {
                    prop_assert!(!better(metric, own));
                }
            }
            for (name, bytes) in &foreign {
                let path = folder.join(name);
                match bytes {
                    Some(bytes) => prop_assert_eq!(&fs::read(path).unwrap(), bytes),
                    None => prop_assert!(path.is_dir()),
                }
            }
        }
    }
}
