//! A report as text for people.

use std::fmt;

use bytesize::ByteSize;

use crate::report::totals::{Amount, Damaged};
use crate::report::totals::{Damage, Report};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = |amount: &Amount| format!("{}, {}", amount.count, size(amount.bytes));
        writeln!(f, "repositories     {}", self.repositories)?;
        writeln!(f, "layer links      {}", self.links)?;
        writeln!(f, "blobs            {}", amount(&self.blobs))?;
        writeln!(f, "  layers         {}", amount(&self.layers))?;
        writeln!(f, "  shared layers  {}", amount(&self.shared))?;
        writeln!(
            f,
            "  other blobs    {} (manifests, and blobs without a layer link)",
            amount(&self.others)
        )?;
        writeln!(f)?;
        self.sparable(f)?;
        self.shared_layers(f)?;
        write!(f, "{}", self.damage)?;
        if let Some(calls) = self.list_calls {
            writeln!(
                f,
                "\nthis report took {calls} lists of up to a thousand objects"
            )?;
        }
        Ok(())
    }
}

impl Report {
    fn sparable(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.linked_bytes == 0 {
            return writeln!(f, "no repository has a layer");
        }
        // Exact enough for a percentage.
        #[allow(clippy::cast_precision_loss, reason = "a percentage")]
        let percent = 100.0 * self.sparable_bytes as f64 / self.linked_bytes as f64;
        writeln!(
            f,
            "layers, counted in each repository: {}\n\
             mounts would have saved at most {} ({percent:.0} %), less what was mounted already",
            size(self.linked_bytes),
            size(self.sparable_bytes),
        )
    }

    fn shared_layers(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.most_shared.is_empty() {
            return writeln!(f, "no layer is in two repositories");
        }
        writeln!(f, "\nlayers whose mounts would have saved most:")?;
        for layer in &self.most_shared {
            writeln!(
                f,
                "  {}  {:>10} in {} repositories",
                layer.digest,
                size(layer.size),
                layer.repositories
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: [(&str, &Damaged); 4] = [
            (
                "links whose content is not their digest",
                &self.broken_links,
            ),
            ("links to blobs without data", &self.dangling_links),
            ("blobs without data", &self.empty_blobs),
            ("unreadable", &self.unreadable),
        ];
        if kinds.iter().all(|(_, found)| found.count == 0) {
            return writeln!(f, "\nnothing is damaged");
        }
        for (what, found) in kinds.iter().filter(|(_, found)| found.count > 0) {
            writeln!(f, "\n{what}: {}", found.count)?;
            for example in &found.examples {
                writeln!(f, "  {example}")?;
            }
            if found.count > found.examples.len() as u64 {
                writeln!(f, "  and others")?;
            }
        }
        Ok(())
    }
}

fn size(bytes: u64) -> String {
    ByteSize::b(bytes).to_string()
}
