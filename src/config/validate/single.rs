//! Single settings: a word of a few, a duration, and what is said where one cannot be used.

use std::time::Duration;

use crate::config::ConfigError;
use crate::config::values::duration;

/// Longer spans are mistakes, and could not be added to the time of day.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// One of a few words, or the default.
pub(crate) fn choice<T: Copy>(
    setting: &'static str,
    text: Option<&str>,
    words: &[(&str, T)],
    default: T,
) -> Result<T, ConfigError> {
    let Some(text) = text else {
        return Ok(default);
    };
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        invalid(
            setting,
            format!("{text:?} is not one of: {}", known.join(", ")),
        )
    })
}

pub(crate) fn span(
    setting: &'static str,
    text: Option<&str>,
    default: Duration,
) -> Result<Duration, ConfigError> {
    let Some(text) = text else {
        return Ok(default);
    };
    match duration(text) {
        Ok(span) if span > LONGEST => Err(invalid(setting, "must not be longer than a day")),
        span => span.map_err(|reason| invalid(setting, reason)),
    }
}

pub(crate) fn positive(
    setting: &'static str,
    text: Option<&str>,
    default: Duration,
) -> Result<Duration, ConfigError> {
    match span(setting, text, default)? {
        Duration::ZERO => Err(invalid(setting, "must be longer than nothing")),
        span => Ok(span),
    }
}

pub(crate) fn invalid(setting: &'static str, reason: impl Into<String>) -> ConfigError {
    ConfigError::Invalid {
        setting,
        reason: reason.into(),
    }
}
