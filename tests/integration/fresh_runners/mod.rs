//! Pushes from CI runners that have just been made, by the clients of current Debian releases:
//! what reaches the registry without crossmount, and with it.
//!
//! `CROSSMOUNT_CLIENTS` chooses the release: `trixie`, or `sid` in the long form.

mod artifacts;
mod at_once;
mod forms;
mod named_sources;
mod push;
mod readme_table;
mod scene;
mod tls_and_tokens;
