//! The page in a real browser: it follows along by itself, fits on a phone, and keeps to its port.

use crate::{needs, support};
use serde_json::{Value, json};
use support::browser::Browser;
use support::program_run::Home;
use support::registry::Registry;
use support::sidecar::{Sidecar, config};
use support::wait_until;

/// A phone's width.
const PHONE: u32 = 360;

/// The least contrast of a text, and of the chart's lines, with what is behind them: 4.5 and 3 are
/// what WCAG's level AA asks for.
const LEAST_CONTRAST: &str = r"(() => {
  const numbers = color => color.match(/[\d.]+/g).map(Number);
  const light = color => numbers(color).slice(0, 3)
    .map(part => part / 255)
    .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = element => {
    const color = getComputedStyle(element).backgroundColor;
    return numbers(color)[3] === 0 ? ground(element.parentElement) : color;
  };
  const ink = element => {
    const style = getComputedStyle(element);
    const isDrawn = element.namespaceURI.endsWith('svg');
    return !isDrawn ? style.color : style.fill === 'none' ? style.stroke : style.fill;
  };
  const texts = [...document.body.querySelectorAll('*')].filter(element =>
    [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim()));
  const least = elements => Math.min(...elements.map(element => {
    const both = [light(ink(element)), light(ground(element))];
    return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
  }));
  const lines = [...document.querySelectorAll('#chart path.saved, #chart path.uploaded')];
  return [least(texts.filter(element => element.checkVisibility())), least(lines)];
})()";

/// Elements that reach over the window's right side.
const TOO_WIDE: &str = r"[...document.body.querySelectorAll('*')]
  .filter(element => element.getBoundingClientRect().right > innerWidth + 0.5)
  .map(element => element.outerHTML.slice(0, 80))";

fn url(sidecar: &Sidecar) -> String {
    format!("http://127.0.0.1:{}/", sidecar.admin)
}

#[test]
fn it_follows_along_without_being_loaded_again() {
    needs!("docker-registry", "chromium", "mkfifo");
    let registry = Registry::start();
    let sidecar = Sidecar::with_verified_store(&registry);
    let digest = registry.client().upload("source", &[7; 1500]);
    let mount = |target: &str| {
        sidecar
            .client()
            .mount(target, &digest, "source")
            .expect(201)
    };
    mount("one");
    let mut browser = Browser::start(PHONE, "light");
    browser.visit_page(&url(&sidecar));
    assert_eq!(browser.text("saved-total-note"), "1,500 bytes");
    assert_eq!(browser.text("ready"), "Ready");
    browser.value("window.mark = 'this very page'; undefined");
    mount("other");
    wait_until("the page shows the second mount", || {
        browser.text("saved-total-note") == "3,000 bytes"
    });
    assert_eq!(
        browser.text("hit-rate-note"),
        "Of 2 mounts, no upload needed"
    );
    assert_eq!(browser.text("chart-saved"), "3.0 kB");
    let row = "document.getElementById('mounts').rows[0].innerText";
    let row = browser.value(row);
    let row = row.as_str().unwrap();
    for words in [
        "mounted",
        "crossmount wrote the layer link.",
        "All checks passed.",
        "2",
    ] {
        assert!(row.contains(words), "{row}");
    }
    let settings = browser.value("document.getElementById('settings').textContent");
    assert!(settings.as_str().unwrap().contains("kind: distribution"));
    assert_eq!(browser.value("window.mark"), "this very page");

    // Nothing but its own port was asked, and nothing was complained about.
    let requests = browser.events("Network.requestWillBeSent");
    let asked = |path: &str| {
        let of = format!("{}{path}", url(&sidecar));
        requests
            .iter()
            .filter(|sent| sent["request"]["url"] == of)
            .count()
    };
    assert!(asked("status.json") > 0, "{requests:?}");
    for file in [
        "page.js",
        "parts.js",
        "chart.js",
        "format.js",
        "page.css",
        "chart.css",
    ] {
        assert_eq!(asked(file), 1, "{file}");
    }
    for sent in &requests {
        let to = sent["request"]["url"].as_str().unwrap();
        assert!(to.starts_with(&url(&sidecar)), "{to}");
    }
    assert_eq!(browser.complaints(), Vec::<Value>::new());

    drop(sidecar);
    wait_until("the page says that crossmount is gone", || {
        let shown = browser.text("ready");
        shown.starts_with("crossmount does not respond. These figures are of 20")
    });
}

#[test]
fn a_stopped_registry_is_unhealthy_after_a_refresh() {
    needs!("docker-registry", "chromium", "mkfifo");
    let mut registry = Registry::start();
    let sidecar = Sidecar::with_verified_store(&registry);
    let mut browser = Browser::start(PHONE, "light");
    browser.visit_page(&url(&sidecar));
    let parts = |browser: &mut Browser| {
        let rows = "[...document.getElementById('parts').rows].slice(0, 2)
          .map(row => row.cells[1].innerText).join()";
        browser.value(rows)
    };
    assert_eq!(parts(&mut browser), "Healthy,Healthy");
    registry.kill();
    wait_until("the page shows that the registry is gone", || {
        parts(&mut browser) != "Healthy,Healthy"
    });
    assert!(
        parts(&mut browser)
            .as_str()
            .unwrap()
            .starts_with("Unhealthy,")
    );
    let ready = browser.text("ready");
    let reason = "Not ready: the registry cannot be reached";
    assert!(ready.starts_with(reason), "{ready}");
    let color = "getComputedStyle(document.getElementById('ready')).color";
    let bad = "getComputedStyle(document.querySelector('#parts .bad')).color";
    assert_eq!(browser.value(color), browser.value(bad));
}

#[test]
fn it_fits_on_a_phone_and_can_be_read_in_the_light_and_in_the_dark() {
    needs!("docker-registry", "chromium", "mkfifo");
    let registry = Registry::start();
    let sidecar = Sidecar::with(&registry, |config| {
        let long = format!("https://registry.{}.example.com", "long".repeat(12));
        config["upstream"]["external_url"] = json!(long);
    });
    sidecar.verify_store();
    let digest = registry.client().upload("source", &[7; 1500]);
    sidecar.client().mount("one", &digest, "source").expect(201);
    sidecar
        .client()
        .mount("one", &digest, "elsewhere")
        .expect(202);
    for scheme in ["light", "dark"] {
        let mut browser = Browser::start(PHONE, scheme);
        browser.visit_page(&url(&sidecar));
        browser.value("for (const part of document.querySelectorAll('details')) part.open = true");
        assert_eq!(browser.value("innerWidth"), PHONE);
        assert_eq!(browser.value("document.documentElement.scrollWidth"), PHONE);
        assert_eq!(browser.value(TOO_WIDE), json!([]), "{scheme}");
        let contrast = browser.value(LEAST_CONTRAST);
        let [text, line] = [0, 1].map(|at| contrast[at].as_f64().unwrap());
        assert!(text >= 4.5, "{text} in the {scheme}");
        assert!(line >= 3.0, "{line} in the {scheme}");
        let is_dark = "matchMedia('(prefers-color-scheme: dark)').matches";
        assert_eq!(browser.value(is_dark), scheme == "dark");
        let ground = browser.value("getComputedStyle(document.body).backgroundColor");
        let ground = ground.as_str().unwrap();
        let parts = ground.split(|letter: char| !letter.is_ascii_digit());
        let brightest = parts.filter_map(|part| part.parse().ok()).max();
        let is_dark = brightest < Some(0x40_u32);
        assert_eq!(is_dark, scheme == "dark", "{ground} in the {scheme}");
    }
}

#[test]
fn without_javascript_it_links_to_its_figures() {
    needs!("chromium", "mkfifo");
    let home = Home::new();
    let sidecar = Sidecar::from(&config("http://127.0.0.1:1", &home.root()));
    let mut browser = Browser::start(PHONE, "light");
    browser.call(
        "Emulation.setScriptExecutionDisabled",
        &json!({"value": true}),
    );
    browser.visit(&url(&sidecar));
    let shown = browser.value("document.querySelector('noscript').innerText");
    let shown = shown.as_str().unwrap();
    assert!(shown.starts_with("This page needs JavaScript."), "{shown}");
    let links = browser.value(
        "[...document.querySelectorAll('noscript a')].map(link => link.getAttribute('href'))",
    );
    assert_eq!(links, json!(["status.json", "metrics"]));
    assert_eq!(browser.value("document.documentElement.scrollWidth"), PHONE);
}
