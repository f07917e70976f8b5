//! Who may: decided as the registry decides, remembered for seconds, and nothing leaked.

mod audit_log;
mod caller_isolation;
mod decision_cache;
mod htpasswd;
mod information_leaks;
mod local_decisions;
mod misconfigured_open;
mod path_confusion;
mod path_confusion_by_token;
mod probe;
mod revocation;
mod revoked_grants;
mod secrets;
mod secrets_in_responses;
mod token_chains;
mod token_forms;
mod token_json;
mod token_jwk;
mod token_keys;
mod token_rules;
mod upstream_confirmations;
mod upstream_mode;
mod upstream_mode_tokens;
