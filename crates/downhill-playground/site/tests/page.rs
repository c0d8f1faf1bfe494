//! The playground in a browser, as somebody uses it.
//!
//! It is built first, which takes minutes the first time. Without Chromium there is nothing to see, and the test says so;
//! `DOWNHILL_CHROMIUM=required` makes that a failure.

mod browser;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use browser::{Browser, Page, chromium};
use downhill_playground_site::serve;
use serde_json::{Value, json};

#[test]
fn the_page_as_somebody_uses_it() {
    let Some(chromium) = chromium() else {
        assert!(
            std::env::var_os("DOWNHILL_CHROMIUM").is_none(),
            "there is no chromium"
        );
        println!("skipped: there is no chromium");
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
    takes_settings(&page);
    starts_elsewhere(&page);
    goes_on_the_tour(&page);
    links_lead_back(&page);
    says_what_is_wrong(&page);
    draws_schedules(&page);
    can_be_used_without_a_mouse(&page);
    names_everything(&page);
    fits_a_phone(&page);

    let elsewhere = page.js(
        "performance.getEntriesByType('resource').map(one => one.name)
            .filter(name => !name.startsWith(location.origin)).join(' ')",
    );
    assert_eq!(elsewhere, "", "nothing comes from the network");
    let complaints = page.complaints();
    assert!(complaints.is_empty(), "{complaints:?}");
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

    page.enter("#of", "3");
    let lines = page.text("lines");
    assert!(
        lines.contains("AdamConfig::new().with_beta_1(0.8).init()"),
        "{lines}"
    );
    assert!(lines.contains("optim.step(0.1, model, grads)"), "{lines}");
    page.click("#as-json");
    let json: Value = serde_json::from_str(&page.text("lines")).unwrap();
    assert_eq!(
        json,
        json!({"name": "adam", "learning_rate": 0.1, "beta_1": 0.8})
    );
    page.click("#as-rust");

    page.enter("#rates", "linear");
    assert_ne!(page.places()[0][3], "0.5", "the rate follows the schedule");
    assert!(page.text("lines").contains("schedule.value(step)"));
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

fn can_be_used_without_a_mouse(page: &Page) {
    page.go("");
    page.js("document.getElementById('tab-valleys').focus()");
    page.press("ArrowRight");
    assert_eq!(page.js("document.activeElement.id"), "tab-schedules");
    assert_eq!(
        page.js("document.getElementById('schedules').hidden"),
        false
    );
    page.press("Home");
    assert_eq!(page.js("document.activeElement.id"), "tab-valleys");
    page.press("Tab");
    assert_eq!(page.js("document.activeElement.id"), "play");
}

/// What a screen reader calls it.
fn names_everything(page: &Page) {
    page.js("document.querySelectorAll('details').forEach(one => one.open = true)");
    let mut seen = 0;
    for tab in ["#tab-valleys", "#tab-schedules"] {
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
    assert!(seen > 40, "{seen}");
}

fn fits_a_phone(page: &Page) {
    for width in [360, 1920] {
        let screen =
            json!({"width": width, "height": 800, "deviceScaleFactor": 2, "mobile": width < 800});
        page.call("Emulation.setDeviceMetricsOverride", screen);
        page.go("");
        for tab in ["#tab-valleys", "#tab-schedules"] {
            page.click(tab);
            let wide = page.js("document.documentElement.scrollWidth <= window.innerWidth");
            assert_eq!(wide, true, "{tab} at {width}");
        }
    }
}
