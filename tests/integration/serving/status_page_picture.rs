//! Makes README's picture of the page, where `PAGE_PICTURE` says into which file.
//!
//! `PAGE_WIDTH` and `PAGE_SCHEME` make others to look at, of a phone or in the dark.

use crate::{needs, support};
use serde_json::{Value, json};
use std::path::Path;
use support::browser::Browser;
use support::digest_of;
use support::registry::Registry;
use support::scripted_page::{ScriptedPage, status};
use support::sidecar::Sidecar;

const GB: u64 = 1_000_000_000;
/// The bucket in which the picture is taken: 14:30.
const NOW: u64 = 174;

/// The rows of mounts that really were made, with the counts of a day.
fn mounts() -> Value {
    let registry = Registry::start();
    let sidecar = Sidecar::with_verified_store(&registry);
    let client = sidecar.client();
    let digest = registry.client().upload("base/images", b"a layer");
    client.mount("team/app", &digest, "base/images").expect(201);
    client.mount("team/app", &digest, "base/images").expect(201);
    let unknown = digest_of(b"unheard of");
    client
        .mount("team/app", &unknown, "base/images")
        .expect(202);
    client
        .request(
            "POST",
            &format!("/v2/team/app/blobs/uploads/?mount={digest}&mount={digest}"),
        )
        .send(sidecar.port);
    let mut rows = status(&sidecar)["mounts"].take();
    for row in rows.as_array_mut().unwrap() {
        let count = match (
            row["outcome"].as_str().unwrap(),
            row["reason"].as_str().unwrap(),
        ) {
            ("mounted", "none") => 18_204,
            ("already_linked", "none") => 2_391,
            ("forwarded", "source_missing") => 1_127,
            ("forwarded", "odd_request") => 3,
            other => panic!("{other:?}"),
        };
        row["count"] = json!(count);
    }
    rows
}

/// The same in every picture.
fn noise(seed: u64) -> u64 {
    let mixed = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed >> 40
}

/// A day of builds: few at night, many in working hours, and a new base image after nine.
fn history() -> (Value, u64) {
    /// Hundredths of the busiest hour, at the beginning of each hour.
    const BUSY: [u64; 25] = [
        6, 4, 3, 3, 3, 5, 9, 22, 55, 82, 96, 88, 60, 78, 98, 100, 90, 66, 40, 24, 18, 14, 10, 8, 6,
    ];
    let day = |index: u64| if index > NOW { 30 } else { 31 };
    let mut saved_today = 0;
    let buckets = (0..288).map(|age| (NOW + 1 + age) % 288).map(|index| {
        let (hour, part) = (index / 12, index % 12);
        let [from, to] = [0, 1].map(|later| BUSY[usize::try_from(hour + later).unwrap()]);
        let busy = (from * (12 - part) + to * part) / 12;
        // Some builds are larger than others.
        let noise = noise(index);
        let saved = busy * GB / 20 * (45 + noise % 97) / 100;
        let base_image = [0, 900, 1700, 1900, 1100, 400, 0][match index {
            110..=114 => usize::try_from(index - 109).unwrap(),
            _ => 0,
        }] * GB
            / 1000;
        let uploaded = saved * (4 + noise % 11) / 100 + base_image;
        if index <= NOW {
            saved_today += saved;
        }
        json!({
            "start": format!("2026-01-{}T{hour:02}:{:02}:00Z", day(index), part * 5),
            "saved_bytes": saved,
            "uploaded_bytes": uploaded,
        })
    });
    (buckets.collect(), saved_today)
}

fn a_working_day(status: &mut Value) {
    let (buckets, saved_today) = history();
    status["time"] = json!("2026-01-31T14:33:20Z");
    status["started"] = json!("2026-01-12T06:02:11Z");
    status["uptime_seconds"] = json!(1_672_269);
    status["ready"] = json!(true);
    status["reason"] = Value::Null;
    status["day"] = json!("2026-01-31");
    status["saved_bytes"] = json!({"today": saved_today, "since_start": 7_214_806_733_119_u64});
    status["hit_rate"] = json!(20_595.0 / 21_725.0);
    status["rates"] = json!({
        "window_seconds": 303.1, "requests_per_second": 42.7, "mounts_per_second": 3.42,
    });
    status["mounts"] = mounts();
    status["latency_seconds"] = json!({
        "mounts": {"count": 21_725, "p50": 0.0014, "p95": 0.0043, "p99": 0.0187},
        "requests": {"count": 410_662, "p50": 0.0021, "p95": 0.0874, "p99": 1.31},
    });
    status["history"]["buckets"] = buckets;
    status["health"] = json!({
        "registry": {"healthy": true, "reason": null},
        "store": {"healthy": true, "reason": null, "verified": true},
        "certificates": [{"place": "listener", "expires": "2026-04-11T00:00:00Z"}],
        "webhooks": [
            {"endpoint": "audit", "queue_length": 0, "sent": 18_204, "failed": 2, "dropped": 0},
        ],
        "token_cache": {"hits": 8_311, "misses": 467},
        "held_requests": null,
    });
}

#[test]
fn the_picture_in_the_readme_is_the_page() {
    let Some(file) = std::env::var_os("PAGE_PICTURE") else {
        return;
    };
    needs!("docker-registry", "chromium", "mkfifo");
    let width = std::env::var("PAGE_WIDTH").map_or(1280, |width| width.parse().unwrap());
    let scheme = std::env::var("PAGE_SCHEME").unwrap_or("light".to_owned());
    let page = ScriptedPage::start(a_working_day);
    let mut browser = Browser::start(width, &scheme);
    browser.visit_page(&page.url());
    let height = browser.value("document.documentElement.scrollHeight");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    browser.screenshot(&file, width, height.as_u64().unwrap());
    assert!(file.metadata().unwrap().len() < 200_000);
}
