//! Who may: decided as the registry decides, remembered for seconds, and nothing leaked.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

#[path = "../support/mod.rs"]
mod support;

mod access_by_token;
mod access_said_wrongly;
mod agreement;
mod asked;
mod audit;
mod htpasswd;
mod neighbours;
mod no_oracle;
mod path_confusion;
mod path_confusion_by_token;
mod probe;
mod remembered;
mod revocation;
mod secrets;
mod secrets_in_answers;
mod token_chains;
mod token_forms;
mod token_json;
mod token_jwk;
mod token_keys;
mod token_rules;
mod vouchers;
mod withdrawn;
