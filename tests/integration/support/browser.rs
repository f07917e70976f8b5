//! A headless Chromium, driven through its debugging pipe: JSON messages that end in a zero byte.

use super::{PATIENCE, wait_until};
use ::base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// File descriptors 3 and 4 are the pipe; a shell can open them.
const SCRIPT: &str = r#"exec "$0" "$@" 3<"$PIPES/in" 4>"$PIPES/out""#;
const FLAGS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
];

pub struct Browser {
    process: Child,
    to: File,
    from: Receiver<Value>,
    /// The page's session.
    session: Option<String>,
    next: u64,
    /// What the browser told without being asked.
    events: Vec<Value>,
    home: TempDir,
}

impl Browser {
    /// A blank page in a window of `width` pixels; `scheme` is `light` or `dark`.
    pub fn start(width: u32, scheme: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let pipes = home.path();
        super::tools::run(Command::new("mkfifo").args([pipes.join("in"), pipes.join("out")]));
        let process = Command::new("sh")
            .args(["-c", SCRIPT, "chromium"])
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", pipes.join("data").display()))
            .env("PIPES", pipes)
            .env("HOME", pipes)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(pipes.join("log")).unwrap())
            .spawn()
            .unwrap();
        // In the shell's order: each waits for the other side.
        let to = File::options().write(true).open(pipes.join("in")).unwrap();
        let out = File::open(pipes.join("out")).unwrap();
        let (sender, from) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(out).split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).unwrap();
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            process,
            to,
            from,
            session: None,
            next: 0,
            events: Vec::new(),
            home,
        };
        browser.open(width, scheme);
        browser
    }

    fn open(&mut self, width: u32, scheme: &str) {
        let target = self.call("Target.createTarget", &json!({"url": "about:blank"}));
        let which = json!({"targetId": target["targetId"], "flatten": true});
        let attached = self.call("Target.attachToTarget", &which);
        self.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(&format!("{domain}.enable"), &json!({}));
        }
        let screen =
            json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", &screen);
        let scheme = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", &json!({"features": scheme}));
    }

    /// The answer to a command of the protocol.
    #[track_caller]
    pub fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.next += 1;
        let mut message = json!({"id": self.next, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).unwrap();
        let start = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(start.elapsed());
            let message = self.from.recv_timeout(left);
            let message = message.unwrap_or_else(|error| panic!("{method}: {error}"));
            if message["id"] == self.next {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    /// The value of an expression on the page.
    #[track_caller]
    pub fn value(&mut self, expression: &str) -> Value {
        let question =
            json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", &question);
        let thrown = &answer["exceptionDetails"];
        assert!(thrown.is_null(), "{expression}: {thrown}");
        answer["result"]["value"].clone()
    }

    /// What stands in the element with this id.
    #[track_caller]
    pub fn text(&mut self, id: &str) -> String {
        let text = self.value(&format!("document.getElementById('{id}').innerText"));
        text.as_str().unwrap().to_owned()
    }

    /// Loads a page and waits until it is there.
    #[track_caller]
    pub fn visit(&mut self, url: &str) {
        let answer = self.call("Page.navigate", &json!({"url": url}));
        assert!(answer["errorText"].is_null(), "{answer}");
        wait_until("the page is there", || {
            let is_there =
                format!("document.readyState === 'complete' && location.href === '{url}'");
            self.value(&is_there) == true
        });
    }

    /// Loads the admin page and waits until it shows figures.
    #[track_caller]
    pub fn visit_page(&mut self, url: &str) {
        self.visit(url);
        wait_until("the page shows figures", || {
            self.value("document.body.dataset.ready !== undefined") == true
        });
    }

    /// What came without a question: every event with this name.
    pub fn events(&mut self, method: &str) -> Vec<Value> {
        while let Ok(message) = self.from.recv_timeout(Duration::from_millis(50)) {
            self.events.push(message);
        }
        let events = self.events.iter();
        events
            .filter(|event| event["method"] == method)
            .map(|event| event["params"].clone())
            .collect()
    }

    /// What the browser holds against the page.
    pub fn complaints(&mut self) -> Vec<Value> {
        [
            "Runtime.exceptionThrown",
            "Runtime.consoleAPICalled",
            "Log.entryAdded",
        ]
        .into_iter()
        .flat_map(|name| self.events(name))
        .collect()
    }

    /// Writes the upper `height` pixels of the page, below the window too, as PNG.
    #[track_caller]
    pub fn screenshot(&mut self, file: &Path, width: u32, height: u64) {
        let clip = json!({"x": 0, "y": 0, "width": width, "height": height, "scale": 1});
        let whole = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let shot = self.call("Page.captureScreenshot", &whole);
        let picture = BASE64_STANDARD.decode(shot["data"].as_str().unwrap());
        std::fs::write(file, picture.unwrap()).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.home.path().join("log"));
            eprintln!("--- the browser's log:\n{}", log.unwrap_or_default());
        }
    }
}
