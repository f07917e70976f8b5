//! Detects the version of distribution.

use http::{HeaderMap, header};

use crate::config::DistributionVersion;

/// The version whose response at the base of the API has these headers; `None` if they show none.
///
/// 2.8 sends a charset with all of its JSON, and 3 does not (`registry/handlers/app.go` and
/// `registry/api/errcode/handler.go`).
pub(crate) fn from_headers(headers: &HeaderMap) -> Option<DistributionVersion> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if text("docker-distribution-api-version") != Some("registry/2.0") {
        return None;
    }
    match text(header::CONTENT_TYPE.as_str())? {
        "application/json; charset=utf-8" => Some(DistributionVersion::Two),
        "application/json" => Some(DistributionVersion::Three),
        _ => None,
    }
}

/// The warning for the operator if the registry's version is not the configured one.
pub(crate) fn version_mismatch(
    configured: DistributionVersion,
    shown: Option<DistributionVersion>,
) -> Option<String> {
    let shown = shown.filter(|shown| *shown != configured)?.number();
    let configured = configured.number();
    Some(format!(
        "the registry answers as distribution {shown}, but upstream.version is {configured}: \
         set upstream.version to {shown}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_distribution_itself_shows_a_version() {
        let api = ("docker-distribution-api-version", "registry/2.0");
        let json = |value| ("content-type", value);
        for (headers, version) in [
            (&[api, json("application/json; charset=utf-8")][..], Some(2)),
            (&[api, json("application/json")][..], Some(3)),
            (&[api, json("text/plain")][..], None),
            (&[api, json("application/json;charset=utf-8")][..], None),
            (&[api][..], None),
            (&[json("application/json")][..], None),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(*name, value.parse().unwrap());
            }
            let shown = from_headers(&map).map(DistributionVersion::number);
            assert_eq!(shown, version, "{headers:?}");
        }
    }

    #[test]
    fn an_unknown_version_is_no_mismatch() {
        let two = DistributionVersion::Two;
        assert_eq!(version_mismatch(two, None), None);
        assert_eq!(version_mismatch(two, Some(two)), None);
        let message = version_mismatch(two, Some(DistributionVersion::Three)).unwrap();
        assert!(message.ends_with("set upstream.version to 3"), "{message}");
    }
}
