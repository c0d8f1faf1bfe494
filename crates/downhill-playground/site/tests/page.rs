//! The playground in a browser, as somebody uses it.
//!
//! It is built first, which takes minutes the first time. Without Chromium, or what the page is compiled with, there is
//! nothing to see, and the test says so; `DOWNHILL_CHROMIUM=required` makes that a failure.

mod browser;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use browser::{Browser, Page, chromium};
use downhill_playground::network::Lesson;
use downhill_playground::race;
use downhill_playground::scene::MOST_RUNNERS;
use downhill_playground_site::serve;
use downhill_problems::data;
use serde_json::{Value, json};

const TABS: [&str; 3] = ["#tab-valleys", "#tab-network", "#tab-schedules"];

#[test]
fn the_page_as_somebody_uses_it() {
    let target = Command::new("rustc")
        .args([
            "--print",
            "target-libdir",
            "--target",
            "wasm32-unknown-unknown",
        ])
        .output();
    let has_target = target
        .is_ok_and(|target| Path::new(String::from_utf8_lossy(&target.stdout).trim()).is_dir());
    let (Some(chromium), true) = (chromium(), has_target) else {
        assert!(
            std::env::var_os("DOWNHILL_CHROMIUM").is_none(),
            "there is no chromium, or no target wasm32-unknown-unknown"
        );
        println!("skipped: there is no chromium, or no target wasm32-unknown-unknown");
        return;
    };
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("playground");
    let mut build = Command::new(env!("CARGO_BIN_EXE_downhill-playground-site"));
    assert!(build.arg(&folder).status().unwrap().success());
    let (address, _server) = serve(&folder, 0).unwrap();
    let browser = Browser::start(&chromium, 1280, 1400);
    let page = browser.page(&address);
    let drawn = page.js("performance.getEntriesByName('drawn')[0].startTime");
    println!("the first picture is there after {drawn} ms");

    plays(&page);
    let frame = smoothness(&page);
    println!("of eight optimizers at a thousand steps a second a frame takes {frame} ms");
    takes_settings(&page);
    starts_elsewhere(&page);
    goes_on_the_tour(&page);
    links_lead_back(&page);
    says_what_is_wrong(&page);
    draws_schedules(&page);
    trains_a_network(&page);
    computes_what_the_library_does(&page);
    can_be_used_without_a_mouse(&page);
    names_everything(&page);
    fits_a_phone(&page);
    stands_still_if_asked(&page);

    let elsewhere = page.js(
        "performance.getEntriesByType('resource').map(one => one.name)
            .filter(name => !name.startsWith(location.origin)).join(' ')",
    );
    assert_eq!(elsewhere, "", "nothing comes from the network");
    let complaints = page.complaints();
    assert!(complaints.is_empty(), "{complaints:?}");
}

/// Text has the contrast that WCAG 2.2 asks for at its level AA, 4.5, and lines that of graphics, 3, light and dark.
#[test]
fn everything_can_be_told_from_its_ground() {
    let style = include_str!("../web/style.css");
    let themes: Vec<&str> = style
        .split(":root{")
        .skip(1)
        .filter_map(|theme| theme.split('}').next())
        .collect();
    assert_eq!(themes.len(), 2);
    for theme in themes {
        let luminance = |name: &str| -> f64 {
            let declared = theme.split(&format!("--{name}:#")).nth(1);
            let digits = declared.unwrap().split([';', '}']).next().unwrap().trim();
            let digits = match digits.len() {
                3 => digits.chars().flat_map(|digit| [digit; 2]).collect(),
                _ => digits.to_string(),
            };
            let of = |at: usize| {
                let channel = u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
                let channel = f64::from(channel) / 255.0;
                match channel <= 0.04045 {
                    true => channel / 12.92,
                    false => ((channel + 0.055) / 1.055).powf(2.4),
                }
            };
            0.2126 * of(0) + 0.7152 * of(2) + 0.0722 * of(4)
        };
        let contrast = |one: &str, other: &str| {
            let (one, other) = (luminance(one), luminance(other));
            (one.max(other) + 0.05) / (one.min(other) + 0.05)
        };
        for text in ["ink", "muted", "link", "warn"] {
            for ground in ["paper", "tint"] {
                assert!(contrast(text, ground) >= 4.5, "{text} on {ground}");
            }
        }
        for at in 0..MOST_RUNNERS {
            for ground in ["paper", "tint", "low", "high"] {
                let found = contrast(&format!("c{at}"), ground);
                assert!(found >= 3.0, "c{at} on {ground}: {found}");
            }
        }
    }
}

/// It plays by itself to the end, which is where the library comes to.
fn plays(page: &Page) {
    page.until("document.getElementById('at').textContent === 'Step 200 of 200'");
    assert_eq!(page.text("play"), "Play");
    let places = page.places();
    let titles: Vec<&str> = places.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(
        titles,
        [
            "sgd 0.5",
            "sgd 0.5, momentum 0.9",
            "sgd 0.5, momentum 0.9, nesterov"
        ]
    );
    // The same in double precision, by hand: the slow eigenvalue is 1/100.
    let slow = (1.0 - 0.5 * 0.01f64).powi(400);
    let value: f64 = places[0][1].parse().unwrap();
    let start = 0.5 * 0.01 * (0.5f64.powi(2) * 2.0);
    assert!(
        (value / (start * slow) - 1.0).abs() < 0.5,
        "{value} and {}",
        start * slow
    );
    page.click("#again");
    assert_eq!(page.text("at"), "Step 0 of 200");
    page.click("#once");
    assert_eq!(page.text("at"), "Step 1 of 200");
    page.click("#play");
    assert_eq!(page.text("play"), "Pause");
    page.until("Number(document.getElementById('at').textContent.split(' ')[1]) > 5");
    page.click("#play");
    let stopped = page.text("at");
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(page.text("at"), stopped);
    page.click("#end");
    assert_eq!(page.text("at"), "Step 200 of 200");
    assert_eq!(page.places(), places);
}

/// The median time between two frames while it plays, in milliseconds.
fn smoothness(page: &Page) -> Value {
    let names = [
        "sgd", "adam", "nadam", "adagrad", "rmsprop", "lion", "adan", "amsgrad",
    ];
    let optimizers = names.map(|name| json!({"name": name, "learning_rate": 0.001}));
    let scene = json!({"function": "rosenbrock", "steps": 10000, "optimizers": optimizers});
    page.go(&format!("#valleys={scene}"));
    page.enter("#speed", "3");
    page.click("#again");
    page.click("#play");
    let frame = page.js("new Promise(done => {
            const times = [];
            const next = now => {
                times.push(now);
                if (times.length < 90) return requestAnimationFrame(next);
                const gaps = times.slice(1).map((time, at) => time - times[at]);
                done(gaps.sort((a, b) => a - b)[44]);
            };
            requestAnimationFrame(next);
        })");
    page.go("");
    page.click("#end");
    frame
}

fn takes_settings(page: &Page) {
    page.enter("#add-name", "adam");
    page.click("#add");
    assert_eq!(page.places().len(), 4);
    assert_eq!(page.places()[3][0], "adam 0.001");
    page.click("#runners details:last-child summary");
    let before = page.places()[3].clone();
    let field = |name: &str| {
        page.js(&format!(
            "[...document.querySelectorAll('#runners details:last-child label')]
                .find(label => label.querySelector('span').textContent === {name:?})
                .querySelector('input').id = 'field'"
        ))
    };
    field("learning rate");
    page.enter("#field", "0.1");
    assert_eq!(page.places()[3][0], "adam 0.1");
    assert_ne!(page.places()[3][1], before[1], "the setting does something");
    page.js("document.getElementById('field').removeAttribute('id')");
    field("beta 1");
    page.enter("#field", "1.5");
    let wrong = page.js("document.querySelector('#runners details:last-child .wrong').textContent");
    assert_eq!(
        wrong,
        "adam: `beta_1` must be at least 0 and below 1, got 1.5"
    );
    assert_eq!(
        page.places()[3][0],
        "adam 0.1",
        "what is wrong changes nothing"
    );
    page.enter("#field", "0.8");
    assert_eq!(page.places()[3][0], "adam 0.1, beta 1 0.8");

    page.enter("#valley-of", "3");
    let lines = page.text("valley-lines");
    assert!(
        lines.contains("AdamConfig::new().with_beta_1(0.8).init()"),
        "{lines}"
    );
    assert!(lines.contains("optim.step(0.1, model, grads)"), "{lines}");
    page.click("#valley-as-json");
    let json: Value = serde_json::from_str(&page.text("valley-lines")).unwrap();
    assert_eq!(
        json,
        json!({"name": "adam", "learning_rate": 0.1, "beta_1": 0.8})
    );
    page.click("#valley-as-rust");

    page.enter("#rates", "linear");
    assert_ne!(page.places()[0][3], "0.5", "the rate follows the schedule");
    assert!(page.text("valley-lines").contains("schedule.value(step)"));
    page.enter("#rates", "");
    page.click("#runners details:last-child > button");
    assert_eq!(page.places().len(), 3);
}

fn starts_elsewhere(page: &Page) {
    let box_of = page.js("JSON.stringify(document.getElementById('map').getBoundingClientRect())");
    let box_of: Value = serde_json::from_str(box_of.as_str().unwrap()).unwrap();
    let of = |name: &str| box_of[name].as_f64().unwrap();
    let side = of("width").min(of("height"));
    let at = |x: f64, y: f64| {
        (
            of("x") + (of("width") - side) / 2.0 + side * x,
            of("y") + (of("height") - side) / 2.0 + side * y,
        )
    };
    let start = |id: &str| -> f64 {
        let value = page.js(&format!("document.getElementById('{id}').valueAsNumber"));
        value.as_f64().unwrap()
    };
    page.mouse("mousePressed", at(0.5, 0.5));
    page.mouse("mouseMoved", at(0.6, 0.5));
    page.mouse("mouseMoved", at(0.75, 0.25));
    page.mouse("mouseReleased", at(0.75, 0.25));
    // The domain is from -2 to 2.
    assert!((start("start-x") - 1.0).abs() < 0.02 && (start("start-y") - 1.0).abs() < 0.02);
    let x = start("start-x");
    page.js("document.getElementById('map').focus()");
    page.press("ArrowLeft");
    assert!((start("start-x") - (x - 0.02)).abs() < 1e-9);
    page.enter("#start-x", "7");
    assert!(
        page.text("wrong")
            .starts_with("the start must lie between -2 and 2")
    );
    page.enter("#start-x", "0.5");
    assert_eq!(page.text("wrong"), "");
    page.enter("#function", "beale");
    assert_eq!((start("start-x"), start("start-y")), (1.0, 1.0), "its own");
    page.enter("#steps", "0");
    assert_eq!(page.text("wrong"), "there must be 1 to 100000 steps, got 0");
    page.enter("#steps", "50");
    assert!(page.text("at").ends_with("of 50"));
}

fn goes_on_the_tour(page: &Page) {
    let stops = page.js("document.querySelectorAll('#tour button').length");
    for at in 1..=stops.as_u64().unwrap() {
        page.click(&format!("#tour li:nth-child({at}) button"));
        assert!(page.text("told").len() > 60);
        page.click("#end");
        assert!(page.places().len() >= 2 && page.text("wrong").is_empty());
    }
}

fn links_lead_back(page: &Page) {
    page.enter("#start-x", "0.25");
    page.click("#end");
    let (places, hash) = (page.places(), page.js("location.hash"));
    let hash = hash.as_str().unwrap().to_string();
    assert!(hash.starts_with("#valleys="), "{hash}");
    page.go("");
    page.go(&hash);
    assert_eq!(page.places(), places);
}

fn says_what_is_wrong(page: &Page) {
    let said = |hash: &str| {
        page.go(hash);
        page.text("problem")
    };
    assert_eq!(
        said("#tunnels=1"),
        "The link cannot be followed: there is no part `tunnels`"
    );
    assert!(said("#valleys=%7B").starts_with("The link cannot be followed: this is not a scene"));
    assert!(said("#valleys=%E0%A4%A").starts_with("The link cannot be followed"));
    let adamv =
        "#valleys={\"function\":\"beale\",\"steps\":9,\"optimizers\":[{\"name\":\"adamv\"}]}";
    assert!(said(adamv).ends_with("did you mean `adam`?"));
    assert!(
        said("#schedules={\"schedule\":{\"name\":\"cosin\"},\"rate\":1,\"steps\":9}")
            .contains("`cosine`")
    );
    assert_eq!(said(""), "");
}

fn draws_schedules(page: &Page) {
    page.click("#tab-schedules");
    assert_eq!(page.js("document.getElementById('valleys').hidden"), true);
    page.enter("#schedule-name", "linear");
    page.enter("#length", "100");
    page.js("document.getElementById('curve').focus()");
    page.press("End");
    assert!(
        page.text("read").starts_with("Step 100 of 100: "),
        "{}",
        page.text("read")
    );
    page.press("Home");
    assert_eq!(page.text("read"), "Step 0 of 100: 0.1");
    let middle = page.js(
        "{ const box = document.getElementById('curve').getBoundingClientRect();
            JSON.stringify([box.x + box.width / 2, box.y + box.height / 2]) }",
    );
    let middle = serde_json::from_str(middle.as_str().unwrap()).unwrap();
    page.mouse("mouseMoved", middle);
    let read = page.text("read");
    let step: f64 = read.split(' ').nth(1).unwrap().parse().unwrap();
    assert!((40.0..=60.0).contains(&step), "{read}");
    for around in ["warmup", "scale", "clamp", "repeat", "sequence"] {
        page.click(&format!("[data-around={around}]"));
        assert_eq!(page.text("schedule-wrong"), "", "{around}");
        let lines = page.text("schedule-lines");
        assert!(lines.contains(&format!("\"name\":\"{around}\"")), "{lines}");
    }
    page.enter("#settings", "{\"name\": \"cosine\", \"flor\": 1}");
    assert!(
        page.text("schedule-wrong")
            .contains("did you mean `floor`?"),
        "{}",
        page.text("schedule-wrong")
    );
    page.enter("#settings", "{\"name\": \"cosine\"");
    assert!(page.text("schedule-wrong").starts_with("EOF"));
    page.enter("#schedule-name", "cosine");
    assert_eq!(page.text("schedule-wrong"), "");
    let hash = page.js("location.hash").as_str().unwrap().to_string();
    page.go(&hash);
    assert_eq!(
        page.js("document.getElementById('schedules').hidden"),
        false
    );
    assert_eq!(
        page.js("document.getElementById('schedule-name').value"),
        "cosine"
    );
}

/// The network learns in the browser what it learns outside of it.
fn trains_a_network(page: &Page) {
    let lesson = Lesson {
        epochs: 6,
        seed: 7,
        ..Lesson::default()
    };
    page.go(&format!("#network={}", lesson.to_link()));
    assert_eq!(page.js("document.getElementById('network').hidden"), false);
    assert_eq!(
        page.js("document.getElementById('network-mistakes').hidden"),
        true
    );
    page.click("#network-train");
    assert_eq!(page.text("network-train"), "Stop");
    page.until("document.getElementById('network-train').textContent === 'Train'");
    assert_eq!(page.text("network-at"), "Epoch 6 of 6");
    assert_eq!(page.text("network-wrong"), "");

    let digits = data::digits();
    let rows = page.rows("#network-places");
    let trainings = lesson.begin(&digits).unwrap();
    for (row, mut training) in rows.iter().zip(trainings) {
        for _ in 0..lesson.epochs {
            training.epoch().unwrap();
        }
        let native = training.report();
        let (loss, wrong): (f64, usize) = (row[1].parse().unwrap(), row[3].parse().unwrap());
        // Sums of f32 in another order, over 270 steps, and three digits of what is shown.
        let expected = native.loss.unwrap();
        assert!((loss / expected - 1.0).abs() < 0.01, "{row:?}: {expected}");
        assert!(wrong.abs_diff(native.wrong(&digits).len()) <= 2, "{row:?}");
    }
    let accuracy = |row: &[String]| row[2].trim_end_matches(" %").parse::<f64>().unwrap();
    assert!(rows.iter().all(|row| accuracy(row) > 90.0), "{rows:?}");

    page.enter("#network-seen", "1");
    let matrix = page.rows("#network-confusion");
    let count = |cell: &String| cell.parse::<usize>().unwrap_or(0);
    let right: usize = (0..10).map(|class| count(&matrix[class][class + 1])).sum();
    let mistaken: usize = rows[1][3].parse().unwrap();
    assert_eq!(right + mistaken, 362);
    let shown = "document.querySelectorAll('#network-digits canvas').length";
    assert_eq!(page.js(shown), mistaken.min(40));

    page.enter("#network-epochs", "0");
    assert_eq!(
        page.text("network-wrong"),
        "there must be 1 to 200 epochs, got 0"
    );
    page.enter("#network-seed", "-1");
    assert_eq!(
        page.text("network-wrong"),
        "the seed must be a whole number, got `-1`"
    );
    page.enter("#network-seed", "1");
    page.enter("#network-epochs", "200");
    assert_eq!(page.text("network-wrong"), "");
    assert_eq!(
        page.rows("#network-places")[0][1],
        "–",
        "another lesson is not learned yet"
    );
    page.enter("#network-add-name", "muon");
    page.click("#network-add");
    page.enter("#network-of", "3");
    page.click("#network-as-command");
    let lines = page.text("network-lines");
    assert!(
        lines.contains("\"name\":\"muon\"") && lines.contains("--epochs 200"),
        "{lines}"
    );
    page.click("#network-train");
    page.until("document.querySelectorAll('#network-places tr')[3].cells[2].textContent !== '–'");
    page.click("#network-train");
    let stopped = page.text("network-at");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(page.text("network-at"), stopped);
}

/// The numbers in the browser are the library's: to the last bit on functions that take no more than what IEEE 754
/// says all of, and nearly where sines, exponentials and powers come in.
fn computes_what_the_library_does(page: &Page) {
    let optimizers = json!([
        {"name": "sgd", "learning_rate": 0.001, "momentum": 0.9},
        {"name": "adagrad", "learning_rate": 0.1},
        {"name": "lion", "learning_rate": 0.01},
    ]);
    let raced = |function: &str| -> (String, String) {
        let scene = json!({"function": function, "steps": 100, "optimizers": optimizers});
        let scene = scene.to_string();
        let browser = page.js(&format!(
            "import('./playground.js').then(module => module.race({scene:?}))"
        ));
        (
            browser.as_str().unwrap().to_string(),
            race::numbers(&scene).unwrap(),
        )
    };
    for function in ["quadratic-2-100", "rosenbrock", "beale", "himmelblau"] {
        let (browser, native) = raced(function);
        assert_eq!(browser, native, "{function}");
    }
    let (browser, native) = raced("ackley-2");
    let [browser, native] = [browser, native].map(|json| {
        let all: Value = serde_json::from_str(&json).unwrap();
        all[0]["values"][100].as_f64().unwrap()
    });
    assert!((browser / native - 1.0).abs() < 1e-9, "{browser} {native}");
}

fn can_be_used_without_a_mouse(page: &Page) {
    page.go("");
    page.js("document.getElementById('tab-valleys').focus()");
    for part in ["network", "schedules"] {
        page.press("ArrowRight");
        let tab = format!("tab-{part}");
        assert_eq!(page.js("document.activeElement.id"), tab.as_str());
        let hidden = page.js(&format!("document.getElementById('{part}').hidden"));
        assert_eq!(hidden, false);
    }
    page.press("Home");
    assert_eq!(page.js("document.activeElement.id"), "tab-valleys");
    page.press("Tab");
    assert_eq!(page.js("document.activeElement.id"), "play");
}

/// What a screen reader calls it.
fn names_everything(page: &Page) {
    page.js("document.querySelectorAll('details').forEach(one => one.open = true)");
    let mut seen = 0;
    for tab in TABS {
        page.click(tab);
        let tree = page.call("Accessibility.getFullAXTree", json!({}));
        for node in tree["nodes"].as_array().unwrap() {
            let role = node["role"]["value"].as_str().unwrap_or_default();
            let controls = [
                "button",
                "textbox",
                "combobox",
                "checkbox",
                "spinbutton",
                "slider",
                "tab",
                "link",
            ];
            if node["ignored"] == false && controls.contains(&role) {
                seen += 1;
                let name = node["name"]["value"].as_str().unwrap_or_default();
                assert_ne!(name, "", "a {role} without a name");
            }
        }
    }
    assert!(seen > 80, "{seen}");
}

fn fits_a_phone(page: &Page) {
    for width in [360, 1920] {
        let screen =
            json!({"width": width, "height": 800, "deviceScaleFactor": 2, "mobile": width < 800});
        page.call("Emulation.setDeviceMetricsOverride", screen);
        page.go("");
        for tab in TABS {
            page.click(tab);
            let wide = page.js("document.documentElement.scrollWidth <= window.innerWidth");
            assert_eq!(wide, true, "{tab} at {width}");
        }
    }
}

/// Nothing moves by itself where the system says that nothing should.
fn stands_still_if_asked(page: &Page) {
    let reduced = json!({"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]});
    page.call("Emulation.setEmulatedMedia", reduced);
    page.go("");
    assert_eq!(page.text("at"), "Step 200 of 200");
    assert_eq!(page.text("play"), "Play");
    page.click("#again");
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(page.text("at"), "Step 0 of 200");
}
