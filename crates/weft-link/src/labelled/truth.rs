//! Who is who.

use std::collections::HashMap;

use super::{Csv, Record};

/// The true cluster of each record, as small numbers.
#[derive(Debug, Clone)]
pub struct Truth {
    /// By place of the record.
    pub clusters: Vec<u32>,
}

/// Why nothing says who is who.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TruthError {
    /// Not two columns.
    #[error("truth: a file of pairs needs two columns of record identifiers; this one has {0}")]
    NotPairs(usize),
    /// A pair of which one is no record.
    #[error("truth: line {line}: no record has this identifier in column {column}")]
    NoRecord {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// A record without the label.
    #[error("truth: {file}: line {line} has nothing in its column")]
    NoLabel {
        /// Name of the file.
        file: String,
        /// Counted from 1.
        line: usize,
    },
}

impl Truth {
    /// Records that carry the same label are one person.
    ///
    /// # Errors
    /// [`TruthError::NoLabel`].
    pub fn from_labels(records: &[Record]) -> Result<Self, TruthError> {
        let mut numbers: HashMap<&str, u32> = HashMap::new();
        let mut clusters = Vec::with_capacity(records.len());
        for record in records {
            let label = record.label.as_str();
            if label.is_empty() {
                return Err(TruthError::NoLabel { file: record.file.clone(), line: record.line });
            }
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            clusters.push(*numbers.entry(label).or_insert(next));
        }
        Ok(Self { clusters })
    }

    /// Records that a file of pairs joins, also through others, are one person; the rest are persons of their own.
    ///
    /// # Errors
    /// [`TruthError::NotPairs`], [`TruthError::NoRecord`].
    pub fn from_pairs(records: &[Record], pairs: &Csv) -> Result<Self, TruthError> {
        if pairs.header.len() < 2 {
            return Err(TruthError::NotPairs(pairs.header.len()));
        }
        let places: HashMap<&str, usize> = records.iter().enumerate().map(|(n, r)| (r.id.as_str(), n)).collect();
        let mut parents: Vec<usize> = (0..records.len()).collect();
        for (line, cells) in &pairs.rows {
            let mut roots = [0; 2];
            for ((column, cell), root) in (1..).zip(cells).zip(&mut roots) {
                let place = places.get(cell.as_str()).ok_or(TruthError::NoRecord { line: *line, column })?;
                *root = find(&mut parents, *place);
            }
            let [one, other] = roots;
            if let Some(parent) = parents.get_mut(one.max(other)) {
                *parent = one.min(other);
            }
        }
        let clusters = (0..records.len()).map(|n| u32::try_from(find(&mut parents, n)).unwrap_or(u32::MAX)).collect();
        Ok(Self { clusters })
    }
}

fn find(parents: &mut [usize], mut n: usize) -> usize {
    while let Some(parent) = parents.get(n).copied().filter(|parent| *parent != n) {
        let above = parents.get(parent).copied().unwrap_or(parent);
        if let Some(held) = parents.get_mut(n) {
            *held = above;
        }
        n = parent;
    }
    n
}
