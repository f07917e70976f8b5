//! An event holds the values that it was made from, as JSON for any parser.

use serde_json::Value;

use crate::fuzz_targets::input::Input;
use crate::notifications::event::{Envelope, EventSource};
use crate::notifications::{Event, EventRequest};
use crate::oci::{BlobRef, Digest, RepositoryName};

/// The parts of an event that a client may choose, a line each.
pub(crate) fn events(input: &[u8]) -> bool {
    let mut input = Input::new(input);
    let choice = input.byte();
    let size = u64::from_be_bytes(std::array::from_fn(|_| input.byte()));
    let digest = format!("sha256:{}", "0f".repeat(32));
    let names = [input.text(), input.text()];
    let [Some(Ok(target)), Some(Ok(source))] = names.map(|name| name.map(RepositoryName::parse))
    else {
        return false;
    };
    let Ok(digest) = Digest::parse(&digest) else {
        return false;
    };
    let mut line = || String::from_utf8_lossy(input.line()).into_owned();
    let event = Event {
        target: BlobRef {
            repository: target,
            digest,
        },
        source,
        size,
        url: line(),
        user: (choice & 1 != 0).then(&mut line),
        request: EventRequest {
            id: line(),
            addr: line(),
            host: line(),
            method: line(),
            user_agent: line(),
        },
    };
    let source = EventSource::new(&line());
    let written = serde_json::to_vec(&Envelope::of(&event, &source)).unwrap_or_default();
    assert!(!written.contains(&b'\n'));
    let read: Value = serde_json::from_slice(&written).unwrap_or_default();
    let only = &read["events"][0];
    let text = |path: &str| only.pointer(path).and_then(Value::as_str);
    // distribution omits empty ones.
    let or_none =
        |text: &'static str, value: &str| (text, (!value.is_empty()).then(|| value.to_owned()));
    let some = |text: &'static str, value: &str| (text, Some(value.to_owned()));
    for (path, value) in [
        some("/action", "mount"),
        some("/target/digest", event.target.digest.as_str()),
        some("/target/repository", event.target.repository.as_str()),
        some("/target/fromRepository", event.source.as_str()),
        some("/target/url", &event.url),
        ("/actor/name", event.user.clone()),
        some("/request/id", &event.request.id),
        or_none("/request/addr", &event.request.addr),
        or_none("/request/host", &event.request.host),
        some("/request/method", &event.request.method),
        some("/request/useragent", &event.request.user_agent),
    ] {
        assert_eq!(text(path), value.as_deref(), "{path}");
    }
    assert_eq!(only["target"]["size"], size);
    assert_eq!(read["events"].as_array().map(Vec::len), Some(1));
    true
}
