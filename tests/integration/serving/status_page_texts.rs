//! The page's texts and tables in a real browser, over figures that a test writes.

use crate::{needs, support};
use serde_json::{Value, json};
use support::browser::Browser;
use support::scripted_page::{ScriptedPage, cells};
use support::wait_until;

const DESKTOP: u32 = 1280;

#[test]
fn figures_and_mounts_are_what_the_status_says() {
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
    assert_eq!(browser.complaints(), Vec::<Value>::new());
}

#[test]
fn each_part_has_its_state_and_details() {
    needs!("chromium", "mkfifo");
    let page = ScriptedPage::start(|status| {
        status["time"] = json!("2026-01-31T14:03:10Z");
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
            "held_requests": {
                "now": 7, "linked": 1234, "timed_out": 2, "released": 3, "abandoned": 1,
            },
        });
    });
    let mut browser = Browser::start(DESKTOP, "light");
    browser.visit_page(&page.url());
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
        [
            "HEADs that wait for an upload",
            "Held: 7",
            "Since start: 1,234 ended with the layer, 2 timed out, 3 went on, 1 disconnected.",
        ],
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(parts[row], json!(wanted));
    }
    page.change(|status| {
        let health = &mut status["health"];
        health["registry"]["healthy"] = json!(true);
        health["store"]["verified"] = json!(true);
        health["certificates"] = json!([{"place": "listener", "expires": "2026-02-28T15:03:10Z"}]);
    });
    wait_until("the registry is healthy again", || {
        cells(&mut browser, "parts")[0][1] == "Healthy"
    });
    let parts = cells(&mut browser, "parts");
    assert_eq!(
        (&parts[1][1], &parts[2][1]),
        (&json!("Healthy"), &json!("Healthy"))
    );
    page.change(|status| {
        status["health"]["store"] = Value::Null;
        status["health"]["certificates"] = json!([]);
    });
    wait_until("the store is not used", || {
        cells(&mut browser, "parts")[1][1] == "Not used"
    });
    assert_eq!(cells(&mut browser, "parts")[2][1], "None");
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
