//! Dictionaries: the supports that a regression may use.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::space::SequenceSpace;
use crate::words::{self, saturating_binomial};

/// Largest number of supports of an automatic dictionary.
const AUTO_SUPPORTS: usize = 4096;
/// Largest number of letter patterns on one support of an automatic dictionary.
const AUTO_TABLE: usize = 200_000;
/// Largest number of letter patterns on one support for each sequence, because more cannot be distinguished.
const AUTO_TABLE_PER_SEQUENCE: usize = 40;
/// Largest number of atoms of an automatic dictionary.
const AUTO_ATOMS: usize = 1 << 21;
/// Largest number of supports times sequences if orders above 2 are listed: the work of one scan.
const AUTO_WORK: u128 = 30_000_000;
/// Highest order listed automatically; higher orders are grown.
const AUTO_ORDER: usize = 5;
/// Longest window listed automatically.
const AUTO_WINDOW: usize = 4;
/// Longest sequence for which orders above 2 are listed automatically.
const AUTO_LENGTH: usize = 16;
/// Fits that choose pairs: those of the folds, to half of the data, and to all.
const FITS: usize = 8;
/// Bytes for each support, besides its positions.
const SUPPORT_BYTES: u128 = 32;
/// Bytes for each atom: its scale, and the copies of the scale during the search for penalty factors.
const ATOM_BYTES: u128 = 24;
/// Bytes for each cell of a support's table during a scan: the sums of all lanes, in two copies.
const CELL_BYTES: u128 = 128;

/// The supports that a regression may use: the union of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dictionary {
    /// All contiguous windows of up to this length.
    pub windows: usize,
    /// All supports of up to this order.
    pub orders: usize,
    /// `(order, span)`: all supports of up to this order whose first and last positions are less than `span`
    /// apart.
    pub gapped: Option<(usize, usize)>,
    /// Further supports, each a list of ascending positions.
    pub supports: Vec<Vec<u16>>,
    /// Largest number of further pairs: those whose interaction explains most of the residuals of a fit without them. Each
    /// fit of a cross-validation chooses them by its own sequences.
    pub screened: usize,
}

impl Dictionary {
    /// A dictionary that suits most models: single positions, windows of up to four positions, all pairs or as many of
    /// them as screening may choose, and higher orders for short sequences, within fixed limits of size. Growth adds higher
    /// orders.
    #[must_use]
    pub fn auto(space: &SequenceSpace, sequences: usize) -> Self {
        let (q, n) = (space.q(), space.n());
        let table = AUTO_TABLE.min(AUTO_TABLE_PER_SEQUENCE * sequences.max(1));
        let fits = |dictionary: &Self| {
            let order = dictionary.order(n);
            words::checked_count(words::same(q, order)).is_some_and(|cells| cells <= table)
                && dictionary.n_atoms(q, n) <= AUTO_ATOMS as u128
        };
        let is_short = |dictionary: &Self| dictionary.count(n) <= AUTO_SUPPORTS as u128;
        let mut dictionary = Self { orders: 1, ..Self::default() };
        let highest = if n <= AUTO_LENGTH { AUTO_ORDER } else { 2 };
        for orders in 2..=highest.min(n) {
            let next = Self { orders, ..dictionary.clone() };
            let work = next.count(n).saturating_mul(sequences as u128);
            if fits(&next) && is_short(&next) && (orders == 2 || work <= AUTO_WORK) {
                dictionary = next;
            }
        }
        for windows in 2..=AUTO_WINDOW.min(n) {
            let next = Self { windows, ..dictionary.clone() };
            // Each length adds fewer windows than there are positions. If all pairs are listed, the limit is for both.
            if fits(&next) && (dictionary.orders < 2 || is_short(&next)) {
                dictionary = next;
            }
        }
        let remaining = (AUTO_ATOMS as u128).saturating_sub(dictionary.n_atoms(q, n));
        let pairs = usize::try_from(remaining / (q * q) as u128).unwrap_or(usize::MAX).min(AUTO_SUPPORTS);
        if dictionary.orders < 2 && n > 1 && q * q <= table {
            dictionary.screened = pairs;
        }
        dictionary
    }

    /// The highest order listed, for sequences of length `n`.
    fn order(&self, n: usize) -> usize {
        let gapped = self.gapped.map_or(0, |(order, span)| order.min(span));
        let listed = self.supports.iter().map(Vec::len).max().unwrap_or(0);
        let screened = if self.screened > 0 { 2 } else { 0 };
        self.windows.max(self.orders).max(gapped).max(screened).min(n).max(listed)
    }

    /// Number of supports of each order. A support in several fields is counted several times.
    fn counts(&self, n: usize) -> Vec<u128> {
        let mut counts = vec![0; self.order(n) + 1];
        for (order, count) in counts.iter_mut().enumerate().skip(1) {
            if order <= self.windows && order <= n {
                *count += (n - order + 1) as u128;
            }
            if order <= self.orders {
                *count += saturating_binomial(n, order);
            }
            if let Some((highest, span)) = self.gapped
                && order <= highest
                && order <= n
            {
                // Sum over the first position of the number of choices of the others within the span.
                *count += (0..n)
                    .map(|first| saturating_binomial((n - 1 - first).min(span.saturating_sub(1)), order - 1))
                    .fold(0, u128::saturating_add);
            }
            *count += self.supports.iter().filter(|support| support.len() == order).count() as u128;
            if order == 2 {
                *count += (self.screened as u128).min(saturating_binomial(n, 2));
            }
        }
        counts
    }

    /// Number of supports. A support in several fields is counted several times.
    fn count(&self, n: usize) -> u128 {
        self.counts(n).into_iter().fold(0, u128::saturating_add)
    }

    /// Number of letter patterns. A support in several fields is counted several times.
    #[must_use]
    pub fn n_atoms(&self, q: usize, n: usize) -> u128 {
        let cells = |order: usize| words::saturating_count(words::same(q, order));
        let counts = self.counts(n).into_iter().enumerate();
        counts.map(|(order, count)| count.saturating_mul(cells(order))).fold(0, u128::saturating_add)
    }

    /// Predicted memory of a regression on this number of sequences, in bytes, without active atoms.
    #[must_use]
    pub fn memory(&self, space: &SequenceSpace, sequences: usize) -> u128 {
        let (q, n) = (space.q(), space.n());
        let order = self.order(n);
        // Each fit may choose other pairs.
        let chosen = Self { screened: self.screened.saturating_mul(FITS), ..self.clone() };
        let listed = chosen.count(n).saturating_mul(SUPPORT_BYTES + 2 * order as u128);
        let threads = rayon::current_num_threads() as u128;
        let scanned = words::saturating_count(words::same(q, order)).saturating_mul(CELL_BYTES * threads);
        // Codes, the cells of all rows for each thread, and the residuals of two sets of lanes with their copies.
        let rows = sequences as u128 * (n as u128 + 4 * order as u128 * threads + 4 * 64);
        let scales = chosen.n_atoms(q, n).saturating_mul(ATOM_BYTES);
        listed.saturating_add(scales).saturating_add(scanned).saturating_add(rows)
    }

    /// The supports without those of screening, sorted by order, then by positions.
    ///
    /// # Errors
    /// If a support is not valid for the space, the dictionary is empty, or its regression on this number of
    /// sequences is predicted to take more than `limit` bytes.
    pub fn list(&self, space: &SequenceSpace, sequences: usize, limit: u128) -> Result<Vec<Vec<u16>>> {
        self.check_size(space, sequences, limit)?;
        let n = space.n();
        let mut all: BTreeSet<(usize, Vec<u16>)> = BTreeSet::new();
        let mut insert = |support: &[u16]| {
            all.insert((support.len(), support.to_vec()));
        };
        for length in 1..=self.windows.min(n) {
            for first in 0..=n - length {
                insert(&(first..first + length).map(|i| i as u16).collect::<Vec<_>>());
            }
        }
        let spans = [(self.orders, n), self.gapped.unwrap_or((0, 0))];
        for (order, span) in spans {
            insert_extensions(&mut Vec::new(), order.min(n), span, n, &mut insert);
        }
        self.supports.iter().for_each(|support| insert(support));
        Ok(all.into_iter().map(|(_, support)| support).collect())
    }

    /// # Errors
    /// As [`Self::list`].
    pub(super) fn check_size(&self, space: &SequenceSpace, sequences: usize, limit: u128) -> Result<()> {
        self.check(space.n())?;
        match self.fits(space, sequences, limit) {
            true => Ok(()),
            false => Err(self.too_large(space, sequences, limit)),
        }
    }

    fn check(&self, n: usize) -> Result<()> {
        let bad = |got: String| {
            Err(Error::Parameter { name: "dictionary", expected: "made of supports of the space", got })
        };
        for (index, support) in self.supports.iter().enumerate() {
            let ascending = support.is_sorted_by(|a, b| a < b);
            if support.is_empty() || !ascending || support.last().is_some_and(|&last| last as usize >= n) {
                return bad(format!(
                    "support {index}: {support:?}, which is not a list of ascending positions below {n}"
                ));
            }
        }
        if self.count(n) == 0 { bad("none; add windows, orders or supports".into()) } else { Ok(()) }
    }

    /// Whether a regression on this number of sequences takes at most `limit` bytes, and all atoms can be
    /// numbered.
    fn fits(&self, space: &SequenceSpace, sequences: usize, limit: u128) -> bool {
        self.memory(space, sequences) <= limit && self.n_atoms(space.q(), space.n()) <= u128::from(u32::MAX)
    }

    /// The error for a dictionary that does not fit, with the highest order that would.
    fn too_large(&self, space: &SequenceSpace, sequences: usize, limit: u128) -> Error {
        let mut fitting = self.clone();
        while !fitting.fits(space, sequences, limit) {
            let highest = fitting.order(space.n()) - 1;
            if highest == 0 {
                break;
            }
            fitting.windows = fitting.windows.min(highest);
            fitting.orders = fitting.orders.min(highest);
            fitting.gapped = fitting.gapped.map(|(order, span)| (order.min(highest), span));
            fitting.supports.retain(|support| support.len() <= highest);
            if highest < 2 {
                fitting.screened = 0;
            }
        }
        Error::Dictionary {
            n_atoms: self.n_atoms(space.q(), space.n()),
            bytes: self.memory(space, sequences),
            limit,
            highest: fitting.order(space.n()),
            fitting: fitting.memory(space, sequences),
        }
    }
}

/// Inserts a support and all its extensions by later positions, up to an order and within a span.
fn insert_extensions(
    support: &mut Vec<u16>,
    order: usize,
    span: usize,
    n: usize,
    insert: &mut impl FnMut(&[u16]),
) {
    if !support.is_empty() {
        insert(support);
    }
    if support.len() == order {
        return;
    }
    let next = support.last().map_or(0, |&last| last as usize + 1);
    let end = support.first().map_or(n, |&first| (first as usize).saturating_add(span).min(n));
    for position in next..end {
        support.push(position as u16);
        insert_extensions(support, order, span, n, insert);
        support.pop();
    }
}
