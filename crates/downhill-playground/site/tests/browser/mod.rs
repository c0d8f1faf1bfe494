//! Chromium by its DevTools protocol, as far as the tests need it.

use std::cell::{Cell, RefCell};
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};

pub fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut programs = std::env::split_paths(&path).map(|folder| folder.join("chromium"));
    programs.find(|program| program.is_file())
}

/// A browser, which ends with this value.
pub struct Browser {
    process: Child,
    /// Where it listens.
    address: String,
}

impl Browser {
    /// With windows of this size, and nothing of an earlier one.
    pub fn start(chromium: &Path, width: u32, height: u32) -> Self {
        let profile = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser");
        let _ = std::fs::remove_dir_all(&profile);
        let mut command = Command::new(chromium);
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
        ]);
        command.args(["--no-first-run", "--disable-background-networking"]);
        command.args([
            "--disable-component-update",
            "--disable-sync",
            "--remote-debugging-port=0",
        ]);
        command.arg(format!("--window-size={width},{height}"));
        command.arg(format!("--user-data-dir={}", profile.display()));
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = lines.find_map(|line| {
            let line = line.ok()?;
            Some(line.strip_prefix("DevTools listening on ")?.to_string())
        });
        // Whatever else it says, or it would wait to be heard.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            process,
            address: address.expect("the browser tells where it listens"),
        }
    }

    /// A page in a window of its own, loaded.
    pub fn page(&self, address: &str) -> Page {
        let (socket, _) = tungstenite::connect(&self.address).unwrap();
        let mut page = Page {
            socket: RefCell::new(socket),
            address: address.to_string(),
            session: None,
            calls: Cell::new(0),
            complaints: RefCell::default(),
        };
        let target = page.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = page.call("Target.attachToTarget", attach);
        page.session = session["sessionId"].as_str().map(str::to_string);
        for part in ["Page", "Runtime", "Log"] {
            page.call(&format!("{part}.enable"), json!({}));
        }
        page.go("");
        page
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A page, and what its console complained of.
pub struct Page {
    socket: RefCell<WebSocket<MaybeTlsStream<TcpStream>>>,
    address: String,
    session: Option<String>,
    calls: Cell<u64>,
    complaints: RefCell<Vec<String>>,
}

impl Page {
    /// What a method of the protocol returns.
    pub fn call(&self, method: &str, params: Value) -> Value {
        self.calls.set(self.calls.get() + 1);
        let id = self.calls.get();
        let mut call = json!({"id": id, "method": method, "params": params});
        if let Some(session) = &self.session {
            call["sessionId"] = session.as_str().into();
        }
        let mut socket = self.socket.borrow_mut();
        socket.send(Message::text(call.to_string())).unwrap();
        loop {
            let message = socket.read().unwrap();
            let Ok(text) = message.to_text() else {
                continue;
            };
            let Ok(mut said) = serde_json::from_str::<Value>(text) else {
                continue;
            };
            if said["id"] == id {
                assert!(said["error"].is_null(), "{method}: {}", said["error"]);
                return said["result"].take();
            }
            let complaint = match said["method"].as_str() {
                Some("Log.entryAdded") => &said["params"]["entry"]["text"],
                Some("Runtime.exceptionThrown") => &said["params"]["exceptionDetails"],
                Some("Runtime.consoleAPICalled") => &said["params"]["args"],
                _ => continue,
            };
            self.complaints.borrow_mut().push(complaint.to_string());
        }
    }

    /// What was said in the console.
    pub fn complaints(&self) -> Vec<String> {
        self.complaints.borrow().clone()
    }

    /// Loads the page anew with what is behind the address.
    pub fn go(&self, hash: &str) {
        self.call("Page.navigate", json!({"url": "about:blank"}));
        self.until("location.href === 'about:blank'");
        self.call(
            "Page.navigate",
            json!({"url": format!("{}{hash}", self.address)}),
        );
        self.until("document.getElementById('loading')?.hidden === true");
    }

    pub fn js(&self, expression: &str) -> Value {
        let evaluate =
            json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut found = self.call("Runtime.evaluate", evaluate);
        let wrong = &found["exceptionDetails"];
        assert!(wrong.is_null(), "{expression}: {wrong}");
        found["result"]["value"].take()
    }

    pub fn text(&self, id: &str) -> String {
        let text = self.js(&format!("document.getElementById('{id}').textContent"));
        text.as_str().unwrap_or_default().to_string()
    }

    /// Waits for what will be true.
    pub fn until(&self, expression: &str) {
        let begun = Instant::now();
        while self.js(expression) != Value::Bool(true) {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "it never comes: {expression}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Clicks on the middle of an element.
    pub fn click(&self, selector: &str) {
        let middle = self.js(&format!(
            "{{ const one = document.querySelector({selector:?});
                one.scrollIntoView({{block: 'center', behavior: 'instant'}});
                const box = one.getBoundingClientRect();
                JSON.stringify([box.x + box.width / 2, box.y + box.height / 2]) }}"
        ));
        let middle: (f64, f64) = serde_json::from_str(middle.as_str().unwrap()).unwrap();
        self.mouse("mousePressed", middle);
        self.mouse("mouseReleased", middle);
    }

    pub fn mouse(&self, kind: &str, (x, y): (f64, f64)) {
        let event =
            json!({"type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1});
        self.call("Input.dispatchMouseEvent", event);
    }

    /// Presses a key by its name.
    pub fn press(&self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "End" => 35,
            "Home" => 36,
            "ArrowLeft" => 37,
            "ArrowRight" => 39,
            other => panic!("nobody pressed {other} yet"),
        };
        for kind in ["keyDown", "keyUp"] {
            let event =
                json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            self.call("Input.dispatchKeyEvent", event);
        }
    }

    /// Puts a value into a field, and leaves it.
    pub fn enter(&self, selector: &str, value: &str) {
        self.js(&format!(
            "{{ const field = document.querySelector({selector:?}); field.value = {value:?};
                field.dispatchEvent(new Event('change', {{bubbles: true}})); }}"
        ));
    }

    /// What is in the rows of a part of a table.
    pub fn rows(&self, selector: &str) -> Vec<Vec<String>> {
        let rows = self.js(&format!(
            "JSON.stringify([...document.querySelectorAll('{selector} tr')].map(
                row => [...row.cells].map(cell => cell.textContent)))"
        ));
        serde_json::from_str(rows.as_str().unwrap()).unwrap()
    }

    /// Where the optimizers are in the valley: title, value, step, rate and place.
    pub fn places(&self) -> Vec<Vec<String>> {
        self.rows("#places")
    }
}
