use super::*;
use crate::telemetry::outcome::{Outcome, Reason};

fn status(health: Result<(), String>, is_dry_run: bool) -> Status {
    let metrics = Metrics::new(None).unwrap();
    let took = Duration::from_millis(3);
    metrics.mount(Outcome::Mounted, Reason::None, took);
    metrics.mount(Outcome::Forwarded, Reason::Denied, took);
    let moment = Moment {
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(90_061),
        started: SystemTime::UNIX_EPOCH + Duration::from_secs(90_000),
        uptime: Duration::from_secs(61),
        health,
        is_dry_run,
        saved_bytes: SavedBytes {
            today: 1_234_567,
            since_start: 9_876_543_210,
        },
    };
    Status::new(moment, &metrics)
}

#[test]
fn every_place_on_the_page_is_filled_and_every_text_has_its_place() {
    let status = status(Ok(()), false);
    let mut asked = Vec::new();
    fill(TEMPLATE, |name, _| asked.push(name.to_owned()));
    let rendered = [
        "ready",
        "started",
        "version",
        "saved-title",
        "saved-note",
        "mount-rows",
        "config",
    ];
    for name in &asked {
        let is_text = status.texts.contains_key(&**name);
        assert!(is_text || rendered.contains(&&**name), "{name}");
    }
    for (id, text) in &status.texts {
        // The script finds the server's elements by their id.
        let place = format!(" id=\"{id}\"");
        let element = TEMPLATE.split('<').find(|element| element.contains(&place));
        let element = element.unwrap_or_else(|| panic!("{id}"));
        assert!(element.ends_with(&format!(">{{{{{id}}}}}")), "{element}");
        assert!(!text.is_empty(), "{id}");
    }
}

#[test]
fn the_numbers_stand_on_the_page_before_any_script_runs() {
    let page = render(&status(Ok(()), false), "mount:\n  dry_run: false\n");
    for words in [
        "<body data-ready=\"yes\" data-started=\"90000\">",
        "role=\"status\">ready</p>",
        "<strong id=\"today\">1.2 MB</strong>",
        "<span id=\"today-exact\">1,234,567 bytes</span>",
        "<strong id=\"total\">9.9 GB</strong>",
        "<span id=\"day\">1970-01-02</span>",
        "<p id=\"mounts-sum\">2 came since the start.</p>",
        "<code>forwarded</code></td><td>This caller may not push there, or not pull from there.",
        "<span id=\"uptime\">1 min 1 s</span>",
        "<time id=\"as-of\">1970-01-02 01:01:01 UTC</time>",
        "<pre>mount:\n  dry_run: false\n</pre>",
    ] {
        assert!(page.contains(words), "{words} in\n{page}");
    }
}

#[test]
fn no_text_from_outside_is_markup() {
    let health = Err("<script>alert(1)</script>".to_owned());
    let page = render(&status(health, false), "url: \"</pre><img src=x>\"");
    assert!(page.contains(">not ready: &lt;script&gt;alert(1)&lt;/script&gt;</p>"));
    assert!(page.contains("<pre>url: &#34;&lt;/pre&gt;&lt;img src=x&gt;&#34;</pre>"));
    assert!(page.contains("data-ready=\"no\""));
}

#[test]
fn a_dry_run_is_called_one() {
    let page = render(&status(Ok(()), true), "");
    assert!(page.contains("A dry run: not sent, if it were none"));
    assert!(page.contains("nothing is linked"));
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    for text in [TEMPLATE, STYLE, SCRIPT] {
        assert!(!text.contains("//") || text == SCRIPT, "an address");
        assert!(!text.contains("http:") && !text.contains("https:"));
        assert!(!text.contains(" style=") && !text.contains(" onclick="));
    }
    // The content security policy allows no inline script.
    assert_eq!(TEMPLATE.matches("<script").count(), 1);
    assert!(TEMPLATE.contains("<script src=\"page.js\" defer></script>"));
}

#[test]
fn a_value_that_looks_like_a_place_is_left_alone() {
    let page = fill("<p>{{one}}</p>{{two}}.", |name, page| match name {
        "one" => page.push_str("{{two}}"),
        _ => page.push_str(name),
    });
    assert_eq!(page, "<p>{{two}}</p>two.");
    assert_eq!(fill("a {{b", |_, _| ()), "a b");
}

#[test]
fn nothing_in_a_text_is_markup() {
    let mut page = String::new();
    escape("<b a=\"1\" c='2'>&amp;", &mut page);
    assert_eq!(page, "&lt;b a=&#34;1&#34; c=&#39;2&#39;&gt;&amp;amp;");
}
