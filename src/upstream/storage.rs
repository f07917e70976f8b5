//! The storage service to which a registry redirects the readers of its blobs.
//!
//! Its requests carry neither the caller's credentials nor any header of the client's: the URL
//! alone permits the read. No redirect is followed, and no proxy of the environment is used.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use reqwest::{Client, Url};
use tokio::sync::OnceCell;

use crate::config::UpstreamConfig;
use crate::upstream::client::USER_AGENT;
use crate::upstream::client::read_roots;
use crate::upstream::first_byte::{FIRST_BYTE, FirstByte, blob_size};

/// Reads single bytes of blobs from storage.
#[derive(Debug)]
pub(crate) struct StorageClient {
    /// Trusted in addition to the system's own roots.
    roots: Option<PathBuf>,
    connect_timeout: Duration,
    /// Built for the first redirect: most registries never redirect, and the system's roots cost
    /// memory.
    client: OnceCell<Client>,
}

impl StorageClient {
    /// For the registry of `upstream`; nothing is read or connected yet.
    pub(crate) fn new(upstream: &UpstreamConfig) -> Self {
        Self {
            roots: upstream.ca_certificate.clone(),
            connect_timeout: upstream.timeouts.connect,
            client: OnceCell::new(),
        }
    }

    /// Reads a byte from this URL. The connection is dropped after the first one.
    pub(crate) async fn first_byte(&self, url: Url) -> FirstByte {
        let Some(client) = self.client().await else {
            return FirstByte::Absent;
        };
        let range = HeaderValue::from_static(FIRST_BYTE);
        let sent = client.get(url).header(header::RANGE, range).send().await;
        let mut answer = match sent {
            Ok(answer) => answer,
            // Only the kind of error: the URL may be signed.
            Err(error) => {
                let reason = crate::upstream::client::root_cause(&error);
                tracing::warn!(reason, "the storage service gave no answer");
                return FirstByte::Absent;
            }
        };
        if !matches!(
            answer.status(),
            StatusCode::OK | StatusCode::PARTIAL_CONTENT
        ) {
            let status = answer.status().as_u16();
            tracing::debug!(status, "the storage service gave no blob");
            return FirstByte::Absent;
        }
        let size = blob_size(answer.status(), answer.headers());
        while let Ok(Some(piece)) = answer.chunk().await {
            if !piece.is_empty() {
                return FirstByte::Read(size);
            }
        }
        FirstByte::Absent
    }

    async fn client(&self) -> Option<&Client> {
        let built = self.client.get_or_try_init(async || {
            let (roots, connect_timeout) = (self.roots.clone(), self.connect_timeout);
            // Roots are read from files.
            let build = move || build(roots, connect_timeout);
            tokio::task::spawn_blocking(build)
                .await
                .ok()
                .flatten()
                .ok_or(())
        });
        built.await.ok()
    }
}

fn build(roots: Option<PathBuf>, connect_timeout: Duration) -> Option<Client> {
    let builder = || {
        Client::builder()
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .http1_only()
            .connect_timeout(connect_timeout)
            // Each connection is dropped with its body unread.
            .pool_max_idle_per_host(0)
    };
    let roots = match roots.map(|path| read_roots(&path)).transpose() {
        Ok(roots) => roots.unwrap_or_default(),
        Err(error) => {
            tracing::warn!(%error, "no client for the storage service");
            return None;
        }
    };
    // A system may have no roots at all.
    let client = builder().tls_certs_merge(roots.clone()).build();
    let client = client.or_else(|_| builder().tls_certs_only(roots).build());
    client
        .inspect_err(|error| {
            let reason = crate::upstream::client::root_cause(error);
            tracing::warn!(reason, "no client for the storage service");
        })
        .ok()
}
