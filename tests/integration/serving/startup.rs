//! A process that cannot start says why in one line, at once.

use crate::{needs, support};
use std::fs;
use std::net::TcpListener;
use support::program_run::{GOOD, Home, refuses, run};
use support::sidecar::{BINARY, command};
use support::tools;

#[test]
fn a_wrong_key_is_named_with_its_line() {
    let home = Home::new();
    for (text, key, line) in [
        (format!("{GOOD}stor: 1\n"), "stor", "line 6"),
        (GOOD.replace("access:", "acess:"), "acess", "line 5"),
        (
            format!("{GOOD}mount:\n  time_budget: 1s\n  dry-run: true\n"),
            "dry-run",
            "line 8",
        ),
        (
            GOOD.replace(
                "{url: 'http://127.0.0.1:1'}",
                "\n  url: http://127.0.0.1:1\n  timeouts:\n    raed: 1s",
            ),
            "raed",
            "line 6",
        ),
        (GOOD.replace("rootdirectory", "root"), "root", "line 4"),
        (format!("{GOOD}port: 5000\n"), "port", "line 6"),
        (
            format!("{GOOD}log: {{level: info, colour: red}}\n"),
            "colour",
            "line 6",
        ),
    ] {
        for verb in ["serve", "check"] {
            refuses(home.with(verb, &text), &[key, line]);
        }
    }
}

#[test]
fn a_file_that_is_not_a_configuration_is_refused() {
    let home = Home::new();
    refuses(home.with("serve", "listen: [\n"), &["crossmount.yml"]);
    refuses(home.with("serve", "just words"), &[]);
    refuses(
        home.with("serve", &format!("{GOOD}access: {{mode: none}}\n")),
        &["access"],
    );
    let mut missing = command(BINARY);
    missing.args(["serve", "--config", "/nowhere/crossmount.yml"]);
    refuses(missing, &["/nowhere/crossmount.yml"]);
}

#[test]
fn a_missing_store_or_a_file_in_its_place_is_refused() {
    let home = Home::new();
    let text = GOOD.replace("ROOT", "ROOT/missing");
    let missing = home.root().join("missing");
    refuses(home.with("serve", &text), &[&missing.to_string_lossy()]);
    fs::write(&missing, "a file").unwrap();
    refuses(home.with("serve", &text), &[&missing.to_string_lossy()]);
}

#[test]
fn a_store_of_another_user_is_refused() {
    let home = Home::new();
    if tools::is_root() {
        std::os::unix::fs::chown(home.root(), Some(12345), Some(12345)).unwrap();
        let root = home.root();
        refuses(
            home.with("serve", GOOD),
            &[&root.to_string_lossy(), "12345"],
        );
    } else {
        refuses(home.with("serve", &GOOD.replace("ROOT", "/usr")), &["/usr"]);
    }
}

#[test]
fn directories_of_another_user_inside_the_store_are_refused() {
    if !tools::is_root() {
        return tools::skip("only root gives folders away");
    }
    let home = Home::new();
    let inner = home.root().join("docker/registry/v2/repositories");
    fs::create_dir_all(&inner).unwrap();
    std::os::unix::fs::chown(&inner, Some(12345), Some(12345)).unwrap();
    refuses(home.with("serve", GOOD), &["repositories", "12345"]);
}

#[test]
fn a_port_in_use_is_named() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for which in ["listen", "admin"] {
        let good = format!("{which}: {{address: '127.0.0.1:0'}}");
        let text = GOOD.replace(&good, &format!("{which}: {{address: '{address}'}}"));
        refuses(home.with("serve", &text), &[&address]);
    }
    let same = GOOD.replace(
        "127.0.0.1:0",
        &format!("127.0.0.1:{}", support::free_port()),
    );
    refuses(home.with("serve", &same), &[]);
}

#[test]
fn bad_tls_files_are_refused() {
    needs!("openssl");
    let home = Home::new();
    let [key, certificate, other] =
        ["key.pem", "cert.pem", "other.pem"].map(|name| home.0.path().join(name));
    support::token_issuer::self_signed(&key, &certificate);
    support::token_issuer::self_signed(&other, &home.0.path().join("unused.pem"));
    let nonsense = home.0.path().join("nonsense.pem");
    fs::write(&nonsense, "nonsense").unwrap();
    let missing = home.0.path().join("missing.pem");
    for (certificate, key, bad) in [
        (&missing, &key, Some(&missing)),
        (&certificate, &missing, Some(&missing)),
        (&nonsense, &key, Some(&nonsense)),
        (&certificate, &nonsense, Some(&nonsense)),
        (&certificate, &other, None),
    ] {
        let tls = format!(
            "listen: {{address: '127.0.0.1:0', tls: {{certificate: '{}', key: '{}'}}}}",
            certificate.display(),
            key.display()
        );
        let text = GOOD.replace("listen: {address: '127.0.0.1:0'}", &tls);
        let bad = bad.map(|file| file.to_string_lossy().into_owned());
        let words: Vec<&str> = bad.as_deref().into_iter().collect();
        refuses(home.with("serve", &text), &words);
    }
    for bad in [&missing, &nonsense] {
        let upstream = format!("upstream: {{ca_certificate: '{}', ", bad.display());
        let text = GOOD
            .replace("upstream: {", &upstream)
            .replace("http://", "https://");
        refuses(home.with("serve", &text), &[&bad.to_string_lossy()]);
    }
}

#[test]
fn no_arguments_and_wrong_ones_explain_themselves() {
    for args in [&[] as &[&str], &["serve", "--what"], &["dance"]] {
        let mut wrong = command(BINARY);
        wrong.args(args);
        let ended = run(wrong);
        assert_ne!(ended.code, Some(0), "{args:?}");
        assert!(
            ended.err.contains("Usage") || ended.out.contains("Usage"),
            "{}",
            ended.err
        );
        assert!(!ended.err.contains("panicked"));
    }
    let mut version = command(BINARY);
    version.arg("--version");
    let ended = run(version);
    assert_eq!(ended.code, Some(0));
    assert_eq!(
        ended.out,
        concat!("crossmount ", env!("CARGO_PKG_VERSION"), "\n")
    );
    let mut help = command(BINARY);
    help.args(["serve", "--help"]);
    let ended = run(help);
    assert_eq!(ended.code, Some(0));
    for flag in ["--config", "--listen", "--admin", "--upstream", "--root"] {
        assert!(ended.out.contains(flag), "{flag}");
    }
}
