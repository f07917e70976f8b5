//! The trace to which a client's request belongs (W3C Trace Context).
//!
//! The registry's spans for crossmount's own requests belong to it too, and log lines name it.
//! crossmount makes no spans: the parent of those in the registry is the client's.
//!
//! The trace travels with the task that handles the request, not as a parameter. A probe is sent
//! ten calls below the request, through verifiers and caches of decisions. As a parameter the trace
//! would be in the type of all of them, and sooner or later part of a decision or of a cache key. A
//! probe that several requests share is sent by the task of one of them, and carries that one's
//! trace.

use std::future::Future;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The length of version, trace, parent and flags; a later version may have more.
const PARENT: usize = 55;
/// The longest `traceparent` of a later version that is accepted.
const LONGEST_PARENT: usize = 256;
/// The longest `tracestate` that is accepted: the specification wants so much to be passed on.
const LONGEST_STATE: usize = 512;

tokio::task_local! {
    static CURRENT: Option<Trace>;
}

/// A client's trace, cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Trace(Arc<VisibleHeaders>);

#[derive(Debug)]
struct VisibleHeaders {
    id: String,
    parent: HeaderValue,
    state: Option<HeaderValue>,
}

impl Trace {
    /// The trace in a request's headers, if they hold exactly one well-formed trace.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let parent = parents.next().filter(|_| parents.next().is_none())?;
        Some(Self(Arc::new(VisibleHeaders {
            id: id_in(parent.to_str().ok()?)?.to_owned(),
            parent: parent.clone(),
            state: state(headers),
        })))
    }

    /// The trace of the request that this task handles.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok().flatten()
    }

    /// Runs the future that handles a request of this trace.
    pub(crate) fn scope<F: Future>(
        trace: Option<Self>,
        handling: F,
    ) -> impl Future<Output = F::Output> {
        CURRENT.scope(trace, handling)
    }

    /// The identifier in the log: 32 hexadecimal digits.
    pub(crate) fn id(&self) -> &str {
        &self.0.id
    }

    /// The headers for a request of crossmount's own that belongs to it.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let state = self.0.state.clone().map(|state| (TRACESTATE, state));
        std::iter::once((TRACEPARENT, self.0.parent.clone())).chain(state)
    }
}

/// The trace's identifier in a well-formed `traceparent`.
fn id_in(parent: &str) -> Option<&str> {
    let known = parent.get(..PARENT)?;
    let more = parent.get(PARENT..)?;
    let mut parts = known.split('-');
    let mut next = |length: usize| {
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let part = parts.next()?;
        (part.len() == length && part.bytes().all(is_hex)).then_some(part)
    };
    let (version, trace, span, _flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
    let is_known = match version {
        "00" => more.is_empty(),
        "ff" => false,
        _ => (more.is_empty() || more.starts_with('-')) && parent.len() <= LONGEST_PARENT,
    };
    let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    (is_known && !is_zero(trace) && !is_zero(span)).then_some(trace)
}

/// All lines of `tracestate` as one, if it is not too long.
fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let lines = headers.get_all(TRACESTATE).iter();
    let lines: Result<Vec<&str>, _> = lines.map(HeaderValue::to_str).collect();
    let lines = lines.ok()?.join(",");
    let is_taken = (1..=LONGEST_STATE).contains(&lines.len());
    HeaderValue::from_str(&lines).ok().filter(|_| is_taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn trace(lines: &[(&'static str, &str)]) -> Option<Trace> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        Trace::from_headers(&headers)
    }

    #[test]
    fn only_one_well_formed_parent_is_taken() {
        let good = format!("00-{ID}-{SPAN}-01");
        let later = format!("cc-{ID}-{SPAN}-01-what");
        for parent in [&good, &later, &format!("cc-{ID}-{SPAN}-00")] {
            let found = trace(&[("traceparent", parent)]).unwrap();
            assert_eq!(found.id(), ID);
            let headers: Vec<_> = found.headers().collect();
            assert_eq!(headers, [(TRACEPARENT, parent.parse().unwrap())]);
        }
        for parent in [
            "",
            "nonsense",
            &format!("00-{ID}-{SPAN}"),
            &format!("00-{ID}-{SPAN}-01-what"),
            &format!("00-{ID}-{SPAN}-01x"),
            &format!("cc-{ID}-{SPAN}-01x"),
            &format!("cc-{ID}-{SPAN}-01-{}", "x".repeat(LONGEST_PARENT)),
            &format!("ff-{ID}-{SPAN}-01"),
            &format!("00-{}-{SPAN}-01", ID.to_uppercase()),
            &format!("00-{}-{SPAN}-01", "0".repeat(32)),
            &format!("00-{ID}-{}-01", "0".repeat(16)),
            &format!("00-{ID}-{SPAN}-0g"),
            &format!("00_{ID}_{SPAN}_01"),
            &format!("00-{ID}0-{}-01", &SPAN[1..]),
            &format!(" 00-{ID}-{SPAN}-0"),
        ] {
            assert!(trace(&[("traceparent", parent)]).is_none(), "{parent:?}");
        }
        assert!(trace(&[]).is_none());
        let twice = [("traceparent", &*good), ("traceparent", &*good)];
        assert!(trace(&twice).is_none());
    }

    #[test]
    fn a_state_goes_with_its_parent_alone_and_has_a_bound() {
        let parent = format!("00-{ID}-{SPAN}-01");
        let state = |lines: &[&str]| {
            let states = lines.iter().map(|line| ("tracestate", *line));
            let all: Vec<_> = [("traceparent", &*parent)]
                .into_iter()
                .chain(states)
                .collect();
            let headers: Vec<_> = trace(&all).unwrap().headers().skip(1).collect();
            headers
                .first()
                .map(|(_, value)| value.to_str().unwrap().to_owned())
        };
        assert_eq!(state(&["a=1"]).as_deref(), Some("a=1"));
        assert_eq!(state(&["a=1", "b=2,c=3"]).as_deref(), Some("a=1,b=2,c=3"));
        let longest = "x".repeat(LONGEST_STATE);
        assert_eq!(state(&[&longest]), Some(longest.clone()));
        assert_eq!(state(&[&longest, "a=1"]), None);
        assert_eq!(state(&[""]), None);
        assert_eq!(state(&["a=\u{e9}"]), None);
        assert!(trace(&[("tracestate", "a=1")]).is_none());
    }

    #[tokio::test]
    async fn it_goes_where_the_task_goes_and_no_further() {
        let given = trace(&[("traceparent", &format!("00-{ID}-{SPAN}-01"))]);
        let id = || Trace::current().map(|trace| trace.id().to_owned());
        assert_eq!(id(), None);
        let inside = Trace::scope(given, async {
            tokio::task::yield_now().await;
            id()
        });
        let (inside, beside) = tokio::join!(inside, async { id() });
        assert_eq!(inside.as_deref(), Some(ID));
        assert_eq!(beside, None);
    }
}
