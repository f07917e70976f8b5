//! The process: from its configuration to its end, and everything that passes through it.

mod access_log;
mod broken_streams;
mod check_command;
mod client_certificates;
mod command_line;
mod dual_stack;
mod early_responses;
mod health;
mod http2;
mod location_scheme;
mod notifications;
mod passthrough;
mod prometheus;
mod reload;
mod report_command;
mod self_signed_upstream;
mod settings;
mod shutdown;
mod startup;
mod status_page;
mod status_page_in_a_browser;
mod streaming;
mod tls_and_sockets;
mod trace_context;
mod upstream_version;
