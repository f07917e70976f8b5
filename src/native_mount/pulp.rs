//! Reads a miss of Pulp's: it responds 404, while the specification wants the 202 of an upload.

use http::StatusCode;

use crate::oci::has_error_code;

/// What Pulp does not have (`pulp_container/app/exceptions.py`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PulpMiss {
    /// `BLOB_UNKNOWN`: the repository exists, and does not hold the blob, or not yet.
    Blob,
    /// `NAME_UNKNOWN`: there is no such repository.
    Repository,
}

/// What a response says that Pulp does not have; `None` for the 404 of another server.
pub fn read_miss(status: StatusCode, body: Option<&[u8]>) -> Option<PulpMiss> {
    let body = body.filter(|_| status == StatusCode::NOT_FOUND)?;
    if has_error_code(body, "BLOB_UNKNOWN") {
        Some(PulpMiss::Blob)
    } else if has_error_code(body, "NAME_UNKNOWN") {
        Some(PulpMiss::Repository)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_404_with_one_of_two_codes_is_a_miss() {
        let body = |code: &str| format!(r#"{{"errors":[{{"code":"{code}","message":"m"}}]}}"#);
        for (status, body, expected) in [
            (404, Some(body("BLOB_UNKNOWN")), Some(PulpMiss::Blob)),
            (404, Some(body("NAME_UNKNOWN")), Some(PulpMiss::Repository)),
            (404, Some(body("MANIFEST_UNKNOWN")), None),
            (404, Some("404 page not found".to_owned()), None),
            (404, None, None),
            (400, Some(body("BLOB_UNKNOWN")), None),
            (401, Some(body("NAME_UNKNOWN")), None),
            (503, Some(body("BLOB_UNKNOWN")), None),
        ] {
            let code = StatusCode::from_u16(status).unwrap();
            let found = read_miss(code, body.as_deref().map(str::as_bytes));
            assert_eq!(found, expected, "{status} {body:?}");
        }
    }
}
