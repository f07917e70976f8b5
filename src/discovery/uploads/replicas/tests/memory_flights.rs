//! What replicas share, without a server.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::discovery::redis::{Flight, FlightId, FlightState};
use crate::discovery::uploads::SharedFlights;
use crate::discovery::uploads::sharing::Fetched;
use crate::oci::Digest;
use crate::util::Fingerprints;

type Flights = Vec<(FlightId, Flight)>;

/// What replicas share, without a server.
#[derive(Debug, Default)]
pub(super) struct MemoryFlights {
    pub(super) flights: Mutex<HashMap<[u8; 32], Flights>>,
    /// What it was asked and told, in order.
    pub(super) log: Mutex<Vec<&'static str>>,
    pub(super) key: Option<&'static str>,
    pub(super) is_down: Mutex<bool>,
}

impl MemoryFlights {
    pub(super) fn add(&self, digest: [u8; 32], id: FlightId, flight: Flight) {
        let mut flights = self.flights.lock();
        let of_layer = flights.entry(digest).or_default();
        match of_layer.iter_mut().find(|(other, _)| *other == id) {
            Some((_, there)) => *there = flight,
            None => of_layer.push((id, flight)),
        }
    }

    fn answer(&self, digest: [u8; 32]) -> Fetched<'_> {
        let flights = self.flights.lock().get(&digest).cloned();
        let answer = (!*self.is_down.lock()).then(|| flights.unwrap_or_default());
        Box::pin(async { answer })
    }

    /// The states of a layer's uploads.
    pub(super) fn states(&self, layer: &str) -> Vec<FlightState> {
        let digest = Digest::of(layer.as_bytes()).bytes();
        let flights = self.flights.lock();
        let of_layer = flights.get(&digest).map_or(&[][..], Vec::as_slice);
        of_layer.iter().map(|(_, flight)| flight.state).collect()
    }

    pub(super) fn log(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.log.lock())
    }
}

impl SharedFlights for MemoryFlights {
    fn fingerprints(&self) -> Option<Fingerprints> {
        self.key.map(Fingerprints::with_key)
    }

    fn fetch(&self, digest: [u8; 32]) -> Fetched<'_> {
        self.log.lock().push("fetch");
        self.answer(digest)
    }

    fn claim(&self, digest: [u8; 32], id: FlightId, claim: Flight) -> Fetched<'_> {
        self.log.lock().push("claim");
        if !*self.is_down.lock() {
            self.add(digest, id, claim);
        }
        self.answer(digest)
    }

    fn record(&self, digest: [u8; 32], id: FlightId, flight: Flight) {
        self.log.lock().push("record");
        self.add(digest, id, flight);
    }

    fn forget(&self, digest: [u8; 32], id: FlightId) {
        self.log.lock().push("forget");
        if let Some(flights) = self.flights.lock().get_mut(&digest) {
            flights.retain(|(other, _)| *other != id);
        }
    }
}
