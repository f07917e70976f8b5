//! The upload by which a sidecar sees that the store is the registry's.

use super::registry_client::Client;
use super::sidecar::Sidecar;
use super::{bytes_from, wait_until};
use std::time::{Duration, Instant};

impl Sidecar {
    /// Lets the registry write a link through the sidecar, which may write its own from then on.
    #[track_caller]
    pub fn verify_store(&self) {
        self.verify_store_as(&self.client());
    }

    #[track_caller]
    pub fn verify_store_as(&self, client: &Client) {
        let client = client.at(self.port);
        self.until_verification_ends(|| {
            let seed = format!("{} at {:?}", self.port, Instant::now());
            client.upload("proof/of-store", &bytes_from(&seed, 64));
        });
    }

    /// An upload waits a quarter of a second for the store, which may be too short on a busy
    /// machine: then comes another one.
    #[track_caller]
    pub fn until_verification_ends(&self, upload: impl Fn()) {
        let count = |log: &str, all: &[&str]| -> usize {
            all.iter().map(|said| log.matches(said).count()).sum()
        };
        let late = ["store verification not finished"];
        let ended = [
            "store verified",
            "store not verified",
            "store verification failed",
        ];
        wait_until("the store is looked at", || {
            let before = [&late[..], &ended].map(|all| count(&self.log(), all));
            upload();
            let begin = Instant::now();
            // Nothing is said if the store is verified already.
            while begin.elapsed() < Duration::from_millis(500) {
                let now = [&late[..], &ended].map(|all| count(&self.log(), all));
                if now != before {
                    return now[1] > before[1];
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            true
        });
    }
}
