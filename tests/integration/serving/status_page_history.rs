//! The page's chart in a real browser, over figures that a test writes.

use crate::{needs, support};
use serde_json::{Value, json};
use support::browser::Browser;
use support::scripted_page::{ScriptedPage, buckets, cells};
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
    assert_eq!(browser.text("hit-rate-note"), "No mounts yet");
    assert_eq!(browser.text("no-mounts"), "No mounts yet.");
    assert_eq!(browser.text("readout"), "");
    page.change(afternoon);
    wait_until("the chart has data", || browser.value(empty).is_null());
    assert!(browser.text("readout").contains("arrow keys"));
}
