//! The printed configuration has the same effect as the original, and an error is one line.

use crate::config::{Config, Overrides, Secret, effective};
use crate::fuzz_targets::input::Input;

/// Stands for a secret in inputs.
const SECRET: &str = "hunter2";

/// Environment variables, a line each down to an empty one, and a file.
pub(crate) fn configurations(input: &[u8]) -> bool {
    let mut input = Input::new(input);
    let mut variables = Vec::new();
    while let Some(line) = input.text() {
        let Some((name, value)) = line.split_once('=') else {
            break;
        };
        variables.push((format!("CROSSMOUNT_{name}"), value.to_owned()));
    }
    let Ok(file) = std::str::from_utf8(input.rest()) else {
        return false;
    };
    let config = match Config::parse(file, None, variables, Overrides::default()) {
        Ok(config) => config,
        Err(error) => {
            let said = error.to_string();
            assert!(!said.is_empty() && !said.contains('\n'), "{said:?}");
            return false;
        }
    };
    let shown = effective(&config);
    let again = Config::parse(&shown, None, [], Overrides::default());
    let again = match again {
        Ok(again) => again,
        Err(error) => {
            assert_eq!(shown, error.to_string());
            return false;
        }
    };
    assert_eq!(effective(&again), shown);
    let headers = &config.upstream.response_headers;
    let is_secret = |text: &Secret<String>| text.expose().contains(SECRET);
    let is_masked = shown.contains("(masked)");
    if file.matches(SECRET).count() == 1
        && headers
            .iter()
            .any(|(_, values)| values.iter().any(is_secret))
    {
        assert!(!shown.contains(SECRET), "{shown}");
    }
    if !is_masked {
        let (mut config, mut again) = (config, again);
        config.warnings.clear();
        again.warnings.clear();
        assert_eq!(format!("{again:?}"), format!("{config:?}"), "{shown}");
    }
    true
}
