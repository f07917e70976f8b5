//! The page's chart, tables and texts in a real browser, over figures that a test writes.

use crate::{needs, support};
use serde_json::{Value, json};
use support::browser::Browser;
use support::scripted_page::{ScriptedPage, buckets};
use support::wait_until;

const DESKTOP: u32 = 1280;
const GB: u64 = 1_000_000_000;

/// The steps of a path: left, right, and height, as they stand in its `d`.
const STEPS: &str = r"(path => {
  let [x, y] = [null, null];
  const steps = [];
  for (const [, letter, first, second] of path.matchAll(/([MVHZ])([\d.]+)?(?: ([\d.]+))?/g)) {
    if (letter === 'M') [x, y] = [first, second];
    if (letter === 'V') y = first;
    if (letter === 'H') { steps.push([x, first, y]); x = first; }
  }
  return steps;
})";

/// Where the text of an axis stands.
fn label(browser: &mut Browser, class: &str, text: &str, at: &str) -> String {
    let found = format!(
        "[...document.querySelectorAll('#chart text.{class}')]
           .find(label => label.textContent === '{text}')?.getAttribute('{at}') ?? null"
    );
    let found = browser.value(&found);
    found
        .as_str()
        .unwrap_or_else(|| panic!("{text}"))
        .to_owned()
}

fn steps(browser: &mut Browser, path: &str) -> Value {
    browser.value(&format!(
        "{STEPS}(document.querySelector('#chart path.{path}').getAttribute('d'))"
    ))
}

/// The texts of a table's cells, row by row.
fn cells(browser: &mut Browser, id: &str) -> Value {
    browser.value(&format!(
        "[...document.getElementById('{id}').rows].map(row => [...row.cells].map(cell => cell.innerText))"
    ))
}

/// An afternoon with a gap: the host slept from half past twelve to two.
fn afternoon(status: &mut Value) {
    status["time"] = json!("2026-01-31T14:03:10Z");
    status["history"]["buckets"] = buckets(&[
        // Older than a day.
        ("2026-01-30T14:00:00Z", 9 * GB, 0),
        ("2026-01-31T12:00:00Z", GB, 2 * GB),
        ("2026-01-31T12:05:00Z", 4 * GB, 0),
        ("2026-01-31T14:00:00Z", 0, GB),
    ]);
}

#[test]
fn the_chart_draws_the_bytes_of_every_bucket() {
    needs!("chromium", "mkfifo");
    let page = ScriptedPage::start(afternoon);
    let mut browser = Browser::start(DESKTOP, "light");
    browser.visit_page(&page.url());
    let mut y = |text: &str| label(&mut browser, "y-label", text, "y");
    let [none, one, two, four] = ["0", "1.0 GB", "2.0 GB", "4.0 GB"].map(&mut y);
    let noon = label(&mut browser, "x-label", "12:00", "x");
    let saved = steps(&mut browser, "saved");
    let uploaded = steps(&mut browser, "uploaded");
    let heights = |steps: &Value| -> Vec<String> {
        let steps = steps.as_array().unwrap().iter();
        steps
            .map(|step| step[2].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(heights(&saved), [&*one, &*four, &*none], "{saved}");
    assert_eq!(heights(&uploaded), [&*two, &*none, &*one], "{uploaded}");
    for steps in [&saved, &uploaded] {
        assert_eq!(steps[0][0], noon.as_str(), "{steps}");
        assert_eq!(steps[1][0], steps[0][1], "{steps}");
        // Nothing is drawn where nothing is known.
        assert_ne!(steps[2][0], steps[1][1], "{steps}");
    }
    assert_eq!(browser.text("chart-saved"), "5.0 GB");
    assert_eq!(browser.text("chart-uploaded"), "3.0 GB");
    let names = browser
        .value("[...document.querySelectorAll('#chart .axis-name')].map(name => name.textContent)");
    assert_eq!(names, json!(["Bytes per 5 min", "Time (UTC)"]));
    // What a screen reader says of it.
    let image = "document.querySelector('#chart svg')";
    let said = browser.value(&format!(
        "{image}.getAttribute('aria-labelledby').split(' ')
           .map(id => document.getElementById(id).textContent).join(': ')"
    ));
    let expected = "Bytes saved and uploaded: 5.0 GB saved and 3.0 GB uploaded \
                    in the last 24 hours. The values are in the table below.";
    assert_eq!(said, expected);

    // It draws itself anew.
    page.change(|status| {
        status["history"]["buckets"] = buckets(&[("2026-01-31T12:00:00Z", 0, 100)]);
    });
    wait_until("the page draws the other bucket", || {
        browser.text("chart-uploaded") == "100 bytes"
    });
    let [none, hundred] = ["0", "100 bytes"].map(|text| label(&mut browser, "y-label", text, "y"));
    assert_eq!(steps(&mut browser, "saved")[0][2], none.as_str());
    assert_eq!(steps(&mut browser, "uploaded")[0][2], hundred.as_str());
}

#[test]
fn a_bucket_is_read_by_pointer_keyboard_or_table() {
    needs!("chromium", "mkfifo");
    let page = ScriptedPage::start(afternoon);
    let mut browser = Browser::start(DESKTOP, "light");
    browser.visit_page(&page.url());
    let hint = browser.text("readout");
    assert!(hint.contains("arrow keys"), "{hint}");
    let place = browser.value(
        "(() => { const box = document.querySelector('#chart svg').getBoundingClientRect();
                  return [box.left, box.top]; })()",
    );
    let noon: f64 = label(&mut browser, "x-label", "12:00", "x")
        .parse()
        .unwrap();
    let mut point = |x: f64| {
        let (left, top) = (place[0].as_f64().unwrap(), place[1].as_f64().unwrap());
        let at = json!({"type": "mouseMoved", "x": left + x, "y": top + 100.0});
        browser.call("Input.dispatchMouseEvent", &at);
        browser.text("readout")
    };
    let wanted = "12:00–12:05 UTC: 1.0 GB saved, 2.0 GB uploaded";
    assert_eq!(point(noon + 1.0), wanted);
    // Between the last two buckets nothing is known.
    assert_eq!(point(noon + 50.0), hint);
    browser.value("document.getElementById('chart').focus()");
    let mut press = |key: &str| {
        let press = json!({"type": "keyDown", "key": key, "code": key});
        browser.call("Input.dispatchKeyEvent", &press);
        browser.text("readout")
    };
    let last = "14:00–14:05 UTC: 0 bytes saved, 1.0 GB uploaded";
    let before = "12:05–12:10 UTC: 4.0 GB saved, 0 bytes uploaded";
    let read = ["ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowRight"].map(&mut press);
    assert_eq!(read, [last, before, wanted, before]);
    // A refresh keeps the place.
    page.change(|status| status["time"] = json!("2026-01-31T14:03:13Z"));
    wait_until("the page is refreshed", || {
        browser.text("time") == "2026-01-31 14:03:13 UTC"
    });
    assert_eq!(browser.text("readout"), before);

    browser.value("document.getElementById('values').open = true");
    let newest = json!(["2026-01-31 14:00", "0 bytes", "1.0 GB"]);
    let values = cells(&mut browser, "chart-values");
    assert_eq!(values[0], newest);
    assert_eq!(values[1], json!(["2026-01-31 12:05", "4.0 GB", "0 bytes"]));
}

#[test]
fn without_data_the_chart_says_so() {
    needs!("chromium", "mkfifo");
    let page = ScriptedPage::start(|_| ());
    let mut browser = Browser::start(DESKTOP, "light");
    browser.visit_page(&page.url());
    let empty = "document.querySelector('#chart .empty')?.textContent";
    assert_eq!(browser.value(empty), "No data yet");
    assert_eq!(browser.text("chart-saved"), "0 bytes");
    assert_eq!(browser.text("hit-rate"), "–");
    assert_eq!(browser.text("no-mounts"), "No mounts yet.");
    assert_eq!(browser.text("readout"), "");
    page.change(afternoon);
    wait_until("the chart has data", || browser.value(empty).is_null());
    assert!(browser.text("readout").contains("arrow keys"));
}

#[test]
fn figures_health_and_mounts_are_what_the_status_says() {
    needs!("chromium", "mkfifo");
    let page = ScriptedPage::start(|status| {
        status["time"] = json!("2026-01-31T14:03:10Z");
        status["ready"] = json!(true);
        status["day"] = json!("2026-01-31");
        status["uptime_seconds"] = json!(90_000);
        status["dry_run"] = json!(true);
        status["saved_bytes"] = json!({"today": 1_234_567, "since_start": 9_876_543_210_u64});
        status["hit_rate"] = json!(0.9999);
        status["rates"] = json!({
            "window_seconds": 304.2, "requests_per_second": 12.34, "mounts_per_second": 0.5,
        });
        let row = |count, outcome: &str, reason: &str| {
            json!({
                "count": count, "outcome": outcome, "reason": reason,
                "outcome_meaning": format!("Meaning of {outcome}."),
                "reason_meaning": format!("Meaning of {reason}."),
            })
        };
        status["mounts"] = json!([row(2, "native", "none"), row(1998, "mounted", "none")]);
        status["latency_seconds"] = json!({
            "mounts": {"count": 2000, "p50": 0.0018, "p95": 0.025, "p99": 600.0},
            "requests": {"count": 0, "p50": null, "p95": null, "p99": null},
        });
        status["health"] = json!({
            "registry": {"healthy": false, "reason": "the registry cannot be reached"},
            "store": {"healthy": true, "reason": null, "verified": false},
            "certificates": [
                {"place": "listener", "expires": "2026-02-02T15:03:10Z"},
                {"place": "upstream_client", "expires": "2026-01-31T14:03:09Z"},
            ],
            "webhooks": [
                {"endpoint": "audit", "queue_length": 3, "sent": 12, "failed": 1, "dropped": 0},
            ],
            "token_cache": {"hits": 3, "misses": 1},
        });
    });
    let mut browser = Browser::start(DESKTOP, "light");
    browser.visit_page(&page.url());
    for (id, text) in [
        ("ready", "Ready"),
        ("saved-today", "1.2 MB"),
        ("saved-today-note", "Since 00:00 UTC"),
        ("saved-total", "9.9 GB"),
        ("saved-total-note", "9,876,543,210 bytes"),
        ("hit-rate", "99.9%"),
        ("hit-rate-note", "Of 2,000 mounts, no upload needed"),
        ("requests-rate", "12.3"),
        ("mounts-rate", "0.50"),
        ("mounts-rate-note", "Over the last 5 min"),
    ] {
        assert_eq!(browser.text(id), text, "{id}");
    }
    let process = browser.text("process");
    assert!(process.ends_with(", up 1 d 1 h"), "{process}");
    assert!(browser.text("dry-run").starts_with("Dry run: "));
    let mounts = json!([
        [
            "mounted\nMeaning of mounted.",
            "none\nMeaning of none.",
            "1,998"
        ],
        ["native\nMeaning of native.", "none\nMeaning of none.", "2"],
    ]);
    assert_eq!(cells(&mut browser, "mounts"), mounts);
    let latency = json!([
        ["Mounts", "1.8 ms", "25 ms", "over 10 min", "2,000"],
        ["All requests", "–", "–", "–", "0"],
    ]);
    assert_eq!(cells(&mut browser, "latency"), latency);
    let parts = cells(&mut browser, "parts");
    for (row, wanted) in [
        ["Registry", "Unhealthy", "the registry cannot be reached"],
        [
            "Store",
            "Not verified",
            "crossmount writes no links until it sees one that the registry has just written.",
        ],
        [
            "Listener certificate",
            "Expires soon",
            "Expires on 2026-02-02, in 2 d 1 h.",
        ],
        ["Client certificate", "Expired", "Expired on 2026-01-31."],
        [
            "Webhook: audit",
            "Queue: 3",
            "Since start: 12 sent, 1 failed attempt, 0 dropped.",
        ],
        [
            "Token cache",
            "Hits: 75%",
            "3 of 4 token requests since start.",
        ],
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(parts[row], json!(wanted));
    }
    assert_eq!(browser.complaints(), Vec::<Value>::new());
}

#[test]
fn no_value_becomes_markup() {
    const HOSTILE: &str = "<img src=x onerror=\"document.title='broken'\"><script>1</script>";
    needs!("chromium", "mkfifo");
    let page = ScriptedPage::start(|status| {
        for key in ["reason", "version", "settings"] {
            status[key] = json!(HOSTILE);
        }
        status["health"]["registry"]["reason"] = json!(HOSTILE);
        status["health"]["certificates"] =
            json!([{"place": HOSTILE, "expires": "2026-02-02T15:03:10Z"}]);
        status["health"]["webhooks"] = json!([
            {"endpoint": HOSTILE, "queue_length": 0, "sent": 0, "failed": 0, "dropped": 0},
        ]);
        status["mounts"] = json!([{
            "count": 1, "outcome": HOSTILE, "reason": HOSTILE,
            "outcome_meaning": HOSTILE, "reason_meaning": HOSTILE,
        }]);
    });
    let mut browser = Browser::start(DESKTOP, "light");
    browser.visit_page(&page.url());
    assert_eq!(browser.text("ready"), format!("Not ready: {HOSTILE}"));
    let shown = browser.value("document.body.textContent");
    let times = shown.as_str().unwrap().matches(HOSTILE).count();
    // Reason, version, registry, certificate, webhook, four texts of a mount, and settings.
    assert_eq!(times, 10, "{shown}");
    assert_eq!(browser.value("document.title"), "crossmount");
    let made = browser.value("document.querySelectorAll('body img, body script').length");
    assert_eq!(made, 0);
    assert_eq!(browser.complaints(), Vec::<Value>::new());
}

#[test]
fn another_version_brings_its_own_page() {
    needs!("chromium", "mkfifo");
    let page = ScriptedPage::start(|_| ());
    let mut browser = Browser::start(DESKTOP, "light");
    browser.visit_page(&page.url());
    browser.value("window.mark = 'this very page'; undefined");
    page.change(|status| status["uptime_seconds"] = json!(0));
    wait_until("a restart is seen", || {
        browser.text("process").ends_with("up 0 s")
    });
    assert_eq!(browser.value("window.mark"), "this very page");
    page.change(|status| status["version"] = json!("99.0.0"));
    wait_until("the page is loaded again", || {
        browser.value("window.mark ?? null").is_null()
    });
}

#[test]
fn numbers_and_times_are_short() {
    needs!("chromium", "mkfifo");
    let page = ScriptedPage::start(|_| ());
    let mut browser = Browser::start(DESKTOP, "light");
    browser.visit_page(&page.url());
    for (call, text) in [
        ("bytes(0)", "0 bytes"),
        ("bytes(1)", "1 byte"),
        ("bytes(999)", "999 bytes"),
        ("bytes(1000)", "1.0 kB"),
        ("bytes(99940)", "99.9 kB"),
        ("bytes(123456)", "123 kB"),
        ("bytes(999600)", "1.0 MB"),
        ("bytes(1234e6)", "1.2 GB"),
        ("bytes(5e12)", "5.0 TB"),
        ("bytes(2**64)", "18447 PB"),
        ("whole(1234567)", "1,234,567"),
        ("plural(1, 'mount')", "1 mount"),
        ("latency(null)", "–"),
        ("latency(0.00025)", "0.25 ms"),
        ("latency(0.0032)", "3.2 ms"),
        ("latency(0.25)", "250 ms"),
        ("latency(2)", "2.0 s"),
        ("latency(600)", "over 10 min"),
        ("span(59)", "59 s"),
        ("span(61)", "1 min 1 s"),
        ("span(7260)", "2 h 1 min"),
        ("span(90000)", "1 d 1 h"),
        ("about(7.4)", "7 s"),
        ("about(309)", "5 min"),
        ("rate(0)", "0"),
        ("rate(0.001)", "< 0.01"),
        ("rate(3.14159)", "3.14"),
        ("rate(31.4159)", "31.4"),
        ("rate(3141.59)", "3,142"),
        ("percent(null)", "–"),
        ("percent(0.29)", "29%"),
        ("percent(0.9999)", "99.9%"),
        ("percent(1)", "100%"),
    ] {
        let call = format!("import('/format.js').then(format => format.{call})");
        assert_eq!(browser.value(&call), text, "{call}");
    }
}
