//! The specification's error bodies: written and read.

use serde::Deserialize;

#[derive(Deserialize)]
struct ErrorBody {
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    code: String,
}

/// Whether a body is an OCI error that carries `code`.
pub(crate) fn has_error_code(body: &[u8], code: &str) -> bool {
    serde_json::from_slice::<ErrorBody>(body)
        .is_ok_and(|parsed| parsed.errors.iter().any(|entry| entry.code == code))
}

/// An OCI error body with one entry.
pub(crate) fn error_body(code: &str, message: &str) -> Vec<u8> {
    serde_json::json!({"errors": [{"code": code, "message": message}]})
        .to_string()
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_decides_and_not_the_text() {
        let body = br#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"m","detail":{}}]}"#;
        assert!(has_error_code(body, "BLOB_UPLOAD_UNKNOWN"));
        assert!(!has_error_code(body, "NAME_UNKNOWN"));
        assert!(!has_error_code(
            b"404 page not found",
            "BLOB_UPLOAD_UNKNOWN"
        ));
        assert!(!has_error_code(
            b"BLOB_UPLOAD_UNKNOWN",
            "BLOB_UPLOAD_UNKNOWN"
        ));
    }

    #[test]
    fn a_body_of_ours_reads_back() {
        assert!(has_error_code(
            &error_body("UNAVAILABLE", "x"),
            "UNAVAILABLE"
        ));
    }
}
