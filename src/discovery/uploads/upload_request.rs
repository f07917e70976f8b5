//! A request that sends a part of an upload for which HEADs may wait.

use std::sync::Arc;

use crate::discovery::uploads::UploadsInFlight;
use crate::discovery::uploads::leader::Progress;

/// The upload that a request is a part of.
#[derive(Debug)]
pub(super) struct UploadPart {
    pub(super) session: Box<str>,
    pub(super) progress: Arc<Progress>,
}

/// A request of an upload. If it is dropped without a good response, the upload has broken off.
#[derive(Debug)]
pub(crate) struct UploadRequest {
    uploads: Arc<UploadsInFlight>,
    part: UploadPart,
    is_body_complete: bool,
    is_answered: bool,
}

impl UploadRequest {
    pub(super) fn new(uploads: Arc<UploadsInFlight>, part: UploadPart) -> Self {
        Self {
            uploads,
            part,
            is_body_complete: false,
            is_answered: false,
        }
    }

    /// Bytes of the body came.
    pub(crate) fn add(&self, bytes: u64) {
        self.part.progress.add(bytes);
    }

    /// The body is complete.
    pub(crate) fn complete_body(&mut self) {
        if !self.is_body_complete {
            self.is_body_complete = true;
            self.part.progress.complete_body();
        }
    }

    /// The registry took the part, and the upload goes on or is complete.
    pub(crate) fn record_success(&mut self) {
        self.is_answered = true;
    }
}

impl Drop for UploadRequest {
    fn drop(&mut self) {
        if self.is_body_complete {
            self.part.progress.end_body();
        }
        if !self.is_answered {
            self.uploads.table.lock().abort(&self.part.session);
        }
    }
}
