//! What a disk may hold after a power cut: all writes before the last flush, and of those after it
//! any.

use super::crash_harness::Random;
use crate::support::recording_disk::Event;
use crate::support::sparse_image::SparseImage;
use std::collections::BTreeSet;

/// What is kept of the writes that no flush has made safe.
#[derive(Debug, Clone, Copy)]
enum Kept {
    Nothing,
    /// As if the process had died, and not the machine.
    All,
    /// Each write whole with this chance in a hundred.
    Some(u64),
    /// Each unit of a write, by itself, with this chance in a hundred.
    Torn(u64),
}

/// A moment, as the number of events that came before it.
#[derive(Debug, Clone, Copy)]
struct Cut {
    moment: usize,
    kept: Kept,
}

/// The disk after a cut.
pub struct CutDisk {
    pub image: SparseImage,
    /// The marks before the cut.
    pub marks: BTreeSet<usize>,
    /// For a message.
    pub about: String,
}

/// Makes the disks of many cuts, one after the other.
pub struct CutDisks {
    random: Random,
    events: Vec<Event>,
    /// In the order of their moments.
    cuts: std::vec::IntoIter<Cut>,
    /// With all events before `flushed`.
    image: SparseImage,
    /// Just behind a flush.
    flushed: usize,
    /// The least that a disk writes whole.
    unit: usize,
}

impl CutDisks {
    /// A third of the cuts just after a flush, a third just after a mark, the rest anywhere.
    pub fn new(
        image: SparseImage,
        events: Vec<Event>,
        count: usize,
        unit: usize,
        mut random: Random,
    ) -> Self {
        let behind = |is_it: fn(&Event) -> bool| -> Vec<usize> {
            let all = events.iter().enumerate();
            all.filter(|(_, event)| is_it(event))
                .map(|(at, _)| at + 1)
                .collect()
        };
        let flushes = behind(|event| matches!(event, Event::Flush));
        let marks = behind(|event| matches!(event, Event::Mark(_)));
        assert!(!flushes.is_empty() && !marks.is_empty(), "nothing recorded");
        let mut cuts: Vec<_> = (0..count)
            .map(|number| {
                let turn = number / 3;
                let wanted = count / 3;
                match number % 3 {
                    0 => Cut {
                        moment: flushes[spread(turn, wanted, flushes.len())],
                        kept: Kept::Nothing,
                    },
                    1 => Cut {
                        moment: marks[spread(turn, wanted, marks.len())],
                        kept: kept(&mut random, turn.is_multiple_of(2)),
                    },
                    _ => Cut {
                        moment: below(&mut random, events.len()),
                        kept: kept(&mut random, false),
                    },
                }
            })
            .collect();
        cuts.sort_by_key(|cut| cut.moment);
        Self {
            random,
            events,
            cuts: cuts.into_iter(),
            image,
            flushed: 0,
            unit,
        }
    }

    fn disk(&mut self, cut: Cut) -> CutDisk {
        let before = &self.events[..cut.moment];
        let last_flush = before
            .iter()
            .rposition(|event| matches!(event, Event::Flush));
        let flushed = last_flush.map_or(0, |at| at + 1);
        for event in &before[self.flushed..flushed] {
            if let Event::Write { offset, bytes } = event {
                self.image.write(*offset, bytes);
            }
        }
        self.flushed = flushed;
        let mut image = self.image.clone();
        let (mut kept, mut pending) = (0, 0);
        for event in &before[flushed..] {
            let Event::Write { offset, bytes } = event else {
                continue;
            };
            let (unit, chance) = match cut.kept {
                Kept::Nothing => (bytes.len(), 0),
                Kept::All => (bytes.len(), 100),
                Kept::Some(chance) => (bytes.len(), chance),
                Kept::Torn(chance) => (self.unit, chance),
            };
            for (at, piece) in bytes.chunks(unit).enumerate() {
                pending += 1;
                if self.random.below(100) < chance {
                    kept += 1;
                    image.write(offset + at * unit, piece);
                }
            }
        }
        let marks = before.iter().filter_map(|event| match event {
            Event::Mark(mark) => Some(*mark),
            _ => None,
        });
        CutDisk {
            image,
            marks: marks.collect(),
            about: format!(
                "after event {} of {}, {kept} of {pending} pieces kept since the flush ({:?})",
                cut.moment,
                self.events.len(),
                cut.kept
            ),
        }
    }
}

impl Iterator for CutDisks {
    type Item = CutDisk;

    fn next(&mut self) -> Option<CutDisk> {
        let cut = self.cuts.next()?;
        Some(self.disk(cut))
    }
}

/// The place of one of `count` numbers among `all`.
fn spread(number: usize, count: usize, all: usize) -> usize {
    (number * all / count.max(1)).min(all - 1)
}

fn kept(random: &mut Random, is_nothing: bool) -> Kept {
    if is_nothing {
        return Kept::Nothing;
    }
    let chance = [5, 50, 95][below(random, 3)];
    match random.below(8) {
        0 => Kept::Nothing,
        1 => Kept::All,
        2..5 => Kept::Some(chance),
        _ => Kept::Torn(chance),
    }
}

fn below(random: &mut Random, end: usize) -> usize {
    usize::try_from(random.below(end as u64)).unwrap()
}
