//! The health of each part in `/status.json`.

use serde::Serialize;

use crate::admin::health::{HealthReport, StoreHealth};
use crate::admin::status::body::rfc3339;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::summary::{HeldSummary, WebhookSummary};

/// The health of each part.
#[derive(Debug, Serialize)]
pub(crate) struct PartsHealth {
    pub registry: PartHealth,
    /// `null` if crossmount uses no store.
    pub store: Option<StorePart>,
    pub certificates: Vec<Certificate>,
    pub webhooks: Vec<WebhookSummary>,
    /// `null` if the token cache is off.
    pub token_cache: Option<TokenCacheCounts>,
    /// `null` if no HEAD waits for uploads.
    pub held_requests: Option<HeldSummary>,
}

/// Which parts the configuration turns on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PartsInUse {
    pub token_cache: bool,
    /// HEADs may wait for uploads.
    pub waiting: bool,
}

/// Whether a part is healthy, and why not.
#[derive(Debug, Serialize)]
pub(crate) struct PartHealth {
    pub healthy: bool,
    pub reason: Option<String>,
}

/// The store's health, and whether it is verified to be this registry's.
#[derive(Debug, Serialize)]
pub(crate) struct StorePart {
    #[serde(flatten)]
    pub health: PartHealth,
    pub verified: bool,
}

/// When a certificate expires.
#[derive(Debug, Serialize)]
pub(crate) struct Certificate {
    pub place: String,
    pub expires: String,
}

/// How often the token cache had the response.
#[derive(Debug, Serialize)]
pub(crate) struct TokenCacheCounts {
    pub hits: u64,
    pub misses: u64,
}

impl PartHealth {
    fn new(checked: Result<(), String>) -> Self {
        Self {
            healthy: checked.is_ok(),
            reason: checked.err(),
        }
    }
}

impl PartsHealth {
    pub(crate) fn new(report: HealthReport, metrics: &Metrics, in_use: PartsInUse) -> Self {
        let store = |store: StoreHealth| StorePart {
            health: PartHealth::new(store.usable),
            verified: store.is_verified,
        };
        let certificates = metrics.certificates().into_iter();
        let (hits, misses) = metrics.token_cache();
        Self {
            registry: PartHealth::new(report.registry),
            store: report.store.map(store),
            certificates: certificates
                .map(|(place, expires)| Certificate {
                    place,
                    expires: rfc3339(u64::try_from(expires).unwrap_or(0)),
                })
                .collect(),
            webhooks: metrics.webhooks(),
            token_cache: in_use
                .token_cache
                .then_some(TokenCacheCounts { hits, misses }),
            held_requests: in_use.waiting.then(|| metrics.held_requests()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_is_not_configured_is_null_or_absent() {
        let metrics = Metrics::new(None).unwrap();
        let report = HealthReport {
            is_draining: false,
            registry: Err("gone".to_owned()),
            store: None,
        };
        let parts = |is_in_use| PartsInUse {
            token_cache: is_in_use,
            waiting: is_in_use,
        };
        let health = PartsHealth::new(report.clone(), &metrics, parts(false));
        let health = serde_json::to_value(&health).unwrap();
        let unhealthy = serde_json::json!({"healthy": false, "reason": "gone"});
        let expected = serde_json::json!({
            "registry": unhealthy, "store": null, "certificates": [], "webhooks": [],
            "token_cache": null, "held_requests": null,
        });
        assert_eq!(health, expected);

        metrics.certificate_expiry("listener", 1_700_000_000);
        let store = Some(StoreHealth {
            usable: Ok(()),
            is_verified: true,
        });
        let health = PartsHealth::new(HealthReport { store, ..report }, &metrics, parts(true));
        let health = serde_json::to_value(&health).unwrap();
        let store = serde_json::json!({"healthy": true, "reason": null, "verified": true});
        assert_eq!(health["store"], store);
        let expires = &health["certificates"][0]["expires"];
        assert_eq!(expires, "2023-11-14T22:13:20Z");
        let counts = serde_json::json!({"hits": 0, "misses": 0});
        assert_eq!(health["token_cache"], counts);
        let counts = serde_json::json!({
            "now": 0, "linked": 0, "timed_out": 0, "released": 0, "abandoned": 0,
        });
        assert_eq!(health["held_requests"], counts);
    }
}
