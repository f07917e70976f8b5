//! `/drained`: responds once the registry behind may end.
//!
//! For the `preStop` hook of the registry's container on Kubernetes: the kubelet ends the registry
//! after the response. So a pod with nothing in flight ends at once, and a request in flight is
//! finished first. Meanwhile connections of clients are closed after a response, and no HEAD is held.
//! Nothing else changes, and nothing lasts longer than the request.

use std::sync::Arc;
use std::time::Duration;

use crate::config::ShutdownConfig;
use crate::server::drain::Drain;

/// The longest time that a pod may need to end. While a request waits, clients keep no connection.
const LONGEST: Duration = Duration::from_secs(10 * 60);

/// Lets requests wait until the registry may end.
#[derive(Debug)]
pub(crate) struct Drained {
    drain: Arc<Drain>,
    settings: ShutdownConfig,
}

/// A query that cannot be understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QueryError {
    /// A parameter that does not exist.
    #[error("the parameters are after and within, not {0:?}")]
    Unknown(String),
    /// A value that is no duration.
    #[error("{0} must be a duration such as 5s, not {1:?}")]
    NoDuration(&'static str, String),
}

impl Drained {
    pub(crate) fn new(drain: Arc<Drain>, settings: ShutdownConfig) -> Self {
        Self { drain, settings }
    }

    /// Waits, and says what for.
    pub(crate) async fn wait(&self, query: &str) -> Result<&'static str, QueryError> {
        let (after, within) = times(query, self.settings)?;
        Ok(if self.drain.registry_may_end(after, within).await {
            "drained\n"
        } else {
            "the time is up\n"
        })
    }
}

/// How long to wait at least and at most: as the query says, or else the settings.
fn times(query: &str, settings: ShutdownConfig) -> Result<(Duration, Duration), QueryError> {
    let (mut after, mut within) = (settings.drain_delay, settings.timeout);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, place) = match key {
            "after" => ("after", &mut after),
            "within" => ("within", &mut within),
            key => return Err(QueryError::Unknown(key.to_owned())),
        };
        *place = humantime::parse_duration(value)
            .map_err(|_| QueryError::NoDuration(name, value.to_owned()))?;
    }
    let within = within.min(LONGEST);
    Ok((after.min(within), within))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_wins_over_the_settings() {
        let read = |query| times(query, ShutdownConfig::default());
        let seconds = Duration::from_secs;
        assert_eq!(read(""), Ok((seconds(5), seconds(25))));
        assert_eq!(read("after=1s"), Ok((seconds(1), seconds(25))));
        assert_eq!(read("within=1s"), Ok((seconds(1), seconds(1))));
        assert_eq!(read("within=9days"), Ok((seconds(5), LONGEST)));
        let both = Ok((seconds(90), seconds(120)));
        assert_eq!(read("within=2m&after=90s"), both);
        let unknown = QueryError::Unknown("delay".to_owned());
        assert_eq!(read("delay=1s"), Err(unknown));
        for wrong in ["", "5", "-5s", "soon"] {
            let error = QueryError::NoDuration("after", wrong.to_owned());
            let query = format!("after={wrong}");
            assert_eq!(times(&query, ShutdownConfig::default()), Err(error));
        }
    }
}
