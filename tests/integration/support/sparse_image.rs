//! What a disk holds, in memory: pages that were never written take no place, and copies share
//! pages until one of them is written to.

use std::sync::Arc;

pub const PAGE: usize = 4096;

type Page = Arc<[u8; PAGE]>;

#[derive(Clone)]
pub struct SparseImage {
    pages: Vec<Option<Page>>,
}

impl SparseImage {
    /// Zeroes.
    pub fn of_size(bytes: usize) -> Self {
        assert_eq!(bytes % PAGE, 0, "whole pages");
        Self {
            pages: vec![None; bytes / PAGE],
        }
    }

    pub fn size(&self) -> usize {
        self.pages.len() * PAGE
    }

    /// Up to the end of the image.
    pub fn read(&self, offset: usize, length: usize) -> Vec<u8> {
        let end = self.size().min(offset + length);
        let mut bytes = Vec::with_capacity(length);
        for (page, within) in Self::pieces(offset, end) {
            match &self.pages[page] {
                Some(held) => bytes.extend_from_slice(&held[within]),
                None => bytes.resize(bytes.len() + within.len(), 0),
            }
        }
        bytes
    }

    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        let mut rest = bytes;
        for (page, within) in Self::pieces(offset, offset + bytes.len()) {
            let (now, later) = rest.split_at(within.len());
            rest = later;
            let place = &mut self.pages[page];
            if place.is_none() && now.iter().all(|byte| *byte == 0) {
                continue;
            }
            let held = place.get_or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(held)[within].copy_from_slice(now);
        }
    }

    /// The pages that a range touches, and which part of each.
    fn pieces(start: usize, end: usize) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> {
        let pages = if start < end {
            start / PAGE..end.div_ceil(PAGE)
        } else {
            0..0
        };
        pages.map(move |page| {
            let begin = page * PAGE;
            let from = start.max(begin) - begin;
            (page, from..end.min(begin + PAGE) - begin)
        })
    }
}
