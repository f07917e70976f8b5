//! The chart and the other ways to deploy: taken by the real tools, held against schemas, and their
//! configurations run.

mod alerts_and_dashboard;
mod bypass;
mod compose;
mod configurations;
mod helm_install;
mod kustomize;
mod object_storage;
mod optional_features;
mod other_charts;
mod pod_spec;
mod shared_knowledge;
mod systemd;
mod valkey_secret;
mod valkey_server;
mod values;
mod values_docs;
