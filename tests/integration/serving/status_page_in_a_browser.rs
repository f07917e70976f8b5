//! The page in a real browser: it follows along by itself, fits on a phone, and keeps to its port.

use crate::{needs, support};
use serde_json::{Value, json};
use std::path::Path;
use support::browser::Browser;
use support::bytes_from;
use support::registry::Registry;
use support::sidecar::Sidecar;
use support::wait_until;

/// A phone's width.
const PHONE: u32 = 360;

/// The least contrast of a text with what is behind it: 4.5 is what WCAG's level AA asks for.
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
  const texts = [...document.body.querySelectorAll('*')].filter(element =>
    [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim()));
  return Math.min(...texts.filter(element => element.tagName !== 'NOSCRIPT').map(element => {
    const both = [light(getComputedStyle(element).color), light(ground(element))];
    return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
  }));
})()";

/// Elements that reach over the window's right side.
const TOO_WIDE: &str = r"[...document.body.querySelectorAll('*')]
  .filter(element => element.getBoundingClientRect().right > innerWidth + 0.5)
  .map(element => element.outerHTML.slice(0, 80))";

/// Whether the script's rows are those that the server renders.
const ROWS_AGREE: &str = r"fetch('/').then(answer => answer.text()).then(text =>
  new DOMParser().parseFromString(text, 'text/html').getElementById('mounts').innerHTML
    === document.getElementById('mounts').innerHTML)";

fn url(sidecar: &Sidecar) -> String {
    format!("http://127.0.0.1:{}/", sidecar.admin)
}

/// What the browser holds against the page.
fn complaints(browser: &mut Browser) -> Vec<Value> {
    [
        "Runtime.exceptionThrown",
        "Runtime.consoleAPICalled",
        "Log.entryAdded",
    ]
    .into_iter()
    .flat_map(|name| browser.events(name))
    .collect()
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
    browser.visit(&url(&sidecar));
    assert_eq!(browser.text("total-exact"), "1,500 bytes");
    assert_eq!(browser.text("health"), "ready");
    browser.value("window.mark = 'this very page'; undefined");
    mount("other");
    wait_until("the page shows the second mount", || {
        browser.text("total-exact") == "3,000 bytes"
    });
    assert_eq!(browser.text("mounts-sum"), "2 came since the start.");
    assert_eq!(browser.value("window.mark"), "this very page");
    assert_eq!(browser.value(ROWS_AGREE), true);

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
    assert_eq!((asked("page.js"), asked("page.css")), (1, 1));
    for sent in &requests {
        let to = sent["request"]["url"].as_str().unwrap();
        assert!(to.starts_with(&url(&sidecar)), "{to}");
    }
    assert_eq!(complaints(&mut browser), Vec::<Value>::new());

    drop(sidecar);
    wait_until("the page says that nobody answers", || {
        browser.text("health") == "No answer from crossmount: the figures below are old"
    });
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
        browser.visit(&url(&sidecar));
        assert_eq!(browser.value("innerWidth"), PHONE);
        assert_eq!(browser.value("document.documentElement.scrollWidth"), PHONE);
        assert_eq!(browser.value(TOO_WIDE), json!([]), "{scheme}");
        let contrast = browser.value(LEAST_CONTRAST).as_f64().unwrap();
        assert!(contrast >= 4.5, "{contrast} in the {scheme}");
        let is_dark = "matchMedia('(prefers-color-scheme: dark)').matches";
        assert_eq!(browser.value(is_dark), scheme == "dark");
    }
}

#[test]
fn it_can_be_read_without_javascript() {
    needs!("docker-registry", "chromium", "mkfifo");
    let registry = Registry::start();
    let sidecar = Sidecar::with_verified_store(&registry);
    let digest = registry.client().upload("source", &[7; 1500]);
    sidecar.client().mount("one", &digest, "source").expect(201);
    let mut browser = Browser::start(PHONE, "light");
    browser.call(
        "Emulation.setScriptExecutionDisabled",
        &json!({"value": true}),
    );
    browser.visit(&url(&sidecar));
    assert_eq!(browser.text("total-exact"), "1,500 bytes");
    let footer = browser.value("document.querySelector('footer').innerText");
    let footer = footer.as_str().unwrap();
    assert!(
        footer.contains("Without JavaScript this page stands still"),
        "{footer}"
    );
    assert_eq!(browser.value("document.documentElement.scrollWidth"), PHONE);
}

/// Makes the documentation's picture, where `PAGE_PICTURE` says into which file.
#[test]
fn the_picture_in_the_documentation_is_the_page() {
    const WIDTH: u32 = 960;
    let Some(file) = std::env::var_os("PAGE_PICTURE") else {
        return;
    };
    needs!("docker-registry", "chromium", "mkfifo");
    let registry = Registry::start();
    let sidecar = Sidecar::with_verified_store(&registry);
    let client = sidecar.client();
    let layers: Vec<_> = (0..4)
        .map(|at| bytes_from(&format!("layer {at}"), 3_000_000 * (at + 1)))
        .map(|bytes| registry.client().upload("base/images", &bytes))
        .collect();
    for repository in 0..12 {
        for layer in &layers {
            let target = format!("team/app-{repository}");
            client.mount(&target, layer, "base/images").expect(201);
        }
    }
    client
        .mount("team/app-0", &layers[0], "base/images")
        .expect(201);
    client
        .mount("team/app-0", &layers[0], "base/others")
        .expect(202);
    let mut browser = Browser::start(WIDTH, "light");
    browser.visit(&url(&sidecar));
    // Without the configuration, which shows a folder of the test's.
    let end = "document.getElementById('config').parentElement.getBoundingClientRect().top";
    let height = browser
        .value(&format!("Math.floor({end})"))
        .as_u64()
        .unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    browser.screenshot(&file, WIDTH, height);
    assert!(file.metadata().unwrap().len() < 150_000);
}
