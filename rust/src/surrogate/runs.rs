//! Runs: consecutive pairs of positions whose symbols are related.
//!
//! A stem of an RNA is a run of complementary symbols at `i + k` and `j - k`; a repeat is a run of equal symbols at
//! `i + k` and `j + k`. A [`RunTerm`] is 1 if a sequence has all of its runs, and at some further positions a symbol of
//! a set. Positions that are connected by pairs form a block, so that a term is a product of one table for each block.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use rustfft::num_complex::Complex64;

use super::by_position;
use super::relation::Relation;
use super::spectrum::LARGEST;
use super::terms::{frequency, transform};
use crate::error::{Error, Result};
use crate::frequency::Frequency;
use crate::space::SequenceSpace;
use crate::words;

/// Largest number of cells of the table of a block that also has a cell for each missing symbol.
const MAX_CELLS: usize = 1 << 18;
/// A Fourier coefficient of a table of zeros and ones below this absolute value is a rounding error.
const ROUNDING: f64 = 1e-13;

/// Pairs of positions whose symbols are related: `first + k` with `second + k`, or with `second - k` if `reversed`, for
/// `k` from 0 to `length - 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Run {
    /// Index of the relation among those of the terms.
    pub relation: u16,
    /// A position.
    pub first: u16,
    /// The position that it is related to, above `first`.
    pub second: u16,
    /// Number of pairs.
    pub length: u16,
    /// Whether the second positions descend, as in a stem.
    pub reversed: bool,
}

impl Run {
    /// The pairs of positions.
    pub fn pairs(self) -> impl Iterator<Item = (u16, u16)> {
        let second = move |k| if self.reversed { self.second - k } else { self.second + k };
        (0..self.length).map(move |k| (self.first + k, second(k)))
    }

    /// Whether all pairs are in a sequence of `n` positions, and the first position of each is below the second one.
    #[must_use]
    pub fn fits(self, n: usize) -> bool {
        let (first, second, more) =
            (usize::from(self.first), usize::from(self.second), usize::from(self.length).wrapping_sub(1));
        self.length > 0
            && first < second
            && if self.reversed { second < n && 2 * more < second - first } else { second + more < n }
    }

    /// Whether the table of each block of positions that its pairs connect is small enough.
    #[must_use]
    pub fn is_tabulated(self, q: usize) -> bool {
        let (distance, length) = (usize::from(self.second - self.first), usize::from(self.length));
        // In a repeat, positions at multiples of the distance are connected.
        let longest = if self.reversed { 2 } else { (length - 1) / distance + 2 };
        words::saturating_count(words::same(q + 1, longest)) <= MAX_CELLS as u128
    }

    /// Whether a sequence has the run.
    #[must_use]
    pub fn occurs(self, relation: &Relation, row: &[u8]) -> bool {
        self.pairs().all(|(i, j)| relation.relates(row[i as usize], row[j as usize]))
    }
}

/// A term that is its coefficient if a sequence has all runs, and a symbol of each set at its position; else 0.
#[derive(Clone, Debug, PartialEq)]
pub struct RunTerm {
    /// The runs, ascending; at least one.
    pub runs: Vec<Run>,
    /// Further positions, ascending, each with a set of symbols as bits. They may also be positions of the runs.
    pub sets: Vec<(u16, u64)>,
    /// The coefficient.
    pub coefficient: f64,
}

/// A sum of terms with runs, ascending by runs, then sets. Each conjunction occurs once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunTerms {
    /// The relations of the runs.
    pub relations: Vec<Relation>,
    /// The terms.
    pub terms: Vec<RunTerm>,
}

/// Positions that are connected by pairs, and whether each of their words has all pairs and sets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RunBlock {
    /// Positions, ascending.
    pub(crate) positions: Vec<u16>,
    /// One entry for each word.
    pub(crate) holds: Vec<bool>,
}

impl RunTerm {
    /// All positions, ascending.
    #[must_use]
    pub fn support(&self) -> Vec<u16> {
        let pairs = self.runs.iter().flat_map(|run| run.pairs()).flat_map(|(i, j)| [i, j]);
        let all: BTreeSet<u16> = pairs.chain(self.sets.iter().map(|&(i, _)| i)).collect();
        all.into_iter().collect()
    }

    /// The positions of each block, ascending.
    fn connected(&self) -> Vec<Vec<u16>> {
        let mut blocks: Vec<BTreeSet<u16>> = Vec::new();
        let pairs = self.runs.iter().flat_map(|run| run.pairs()).map(|(i, j)| vec![i, j]);
        for linked in pairs.chain(self.sets.iter().map(|&(i, _)| vec![i])) {
            let (joined, mut rest): (Vec<_>, Vec<_>) =
                blocks.into_iter().partition(|block| linked.iter().any(|i| block.contains(i)));
            rest.push(joined.into_iter().flatten().chain(linked).collect());
            blocks = rest;
        }
        blocks.sort_unstable();
        blocks.into_iter().map(|block| block.into_iter().collect()).collect()
    }

    /// The blocks; the term is its coefficient if the words of all of them hold. The caller has checked the term.
    pub(crate) fn blocks(&self, relations: &[Relation], q: usize) -> Vec<RunBlock> {
        let table = |positions: Vec<u16>| {
            let at = |i: u16| positions.partition_point(|&p| p < i);
            let inside = |i: u16| positions.binary_search(&i).is_ok();
            let runs = self.runs.iter().flat_map(|run| run.pairs().map(|pair| (run.relation, pair)));
            let pairs: Vec<(&Relation, usize, usize)> = runs
                .filter(|&(_, (i, _))| inside(i))
                .map(|(relation, (i, j))| (&relations[relation as usize], at(i), at(j)))
                .collect();
            let sets: Vec<(usize, u64)> =
                self.sets.iter().filter(|&&(i, _)| inside(i)).map(|&(i, set)| (at(i), set)).collect();
            let radices = words::same(q, positions.len());
            let mut word = vec![0_u8; positions.len()];
            let holds = (0..words::count(radices.clone()))
                .map(|number| {
                    words::write_digits(number, radices.clone(), &mut word);
                    pairs.iter().all(|&(relation, i, j)| relation.relates(word[i], word[j]))
                        && sets.iter().all(|&(i, set)| set >> word[i] & 1 == 1)
                })
                .collect();
            RunBlock { positions, holds }
        };
        self.connected().into_iter().map(table).collect()
    }

    /// # Errors
    /// If the term does not belong to the space, or a block has too many positions. `index` is its number.
    fn check(&self, index: usize, relations: &[Relation], space: &SequenceSpace) -> Result<()> {
        let (q, n) = (space.q(), space.n());
        let bad = |expected, got: String| {
            Err(Error::Parameter { name: "terms with runs", expected, got: format!("term {index}: {got}") })
        };
        if self.runs.is_empty() {
            return bad("of at least one run", "no runs".into());
        }
        if !self.runs.is_sorted_by(|a, b| a < b) || !self.sets.is_sorted_by(|a, b| a.0 < b.0) {
            return bad("ascending", format!("{:?} and {:?}", self.runs, self.sets));
        }
        if let Some(run) = self.runs.iter().find(|run| run.relation as usize >= relations.len()) {
            return bad(
                "of relations that are listed",
                format!("relation {} of {}", run.relation, relations.len()),
            );
        }
        if let Some(run) = self.runs.iter().find(|run| !run.fits(n)) {
            return bad(
                "of at least one pair, each with its second position after the first, within the sequence",
                format!("{run:?} for length {n}"),
            );
        }
        let all = u64::MAX >> (64 - q);
        if let Some(set) = self.sets.iter().find(|set| set.0 as usize >= n || set.1 == 0 || set.1 & !all != 0)
        {
            return bad(
                "over non-empty sets of symbols at positions of the space",
                format!("{:#b} at position {}", set.1, set.0),
            );
        }
        if self.coefficient.is_nan() || self.coefficient.abs() > LARGEST {
            return bad("at most 1e140 in magnitude and finite", self.coefficient.to_string());
        }
        let size = |block: &&Vec<u16>| words::saturating_count(words::same(q + 1, block.len()));
        if let Some(block) = self.connected().iter().find(|block| size(block) > MAX_CELLS as u128) {
            let most = (1..).take_while(|&m| (q + 1).pow(m) <= MAX_CELLS).count();
            return bad(
                "of runs that connect few positions with each other, because all these words are tabulated; use \
                 shorter runs, or runs that do not overlap",
                format!("positions {block:?} are connected, at most {most} can be for {q} symbols"),
            );
        }
        Ok(())
    }
}

impl RunTerms {
    /// These terms, in order. Terms with the same runs and sets become one.
    ///
    /// # Errors
    /// If a term does not belong to the space, or connects too many positions.
    pub fn new(space: &SequenceSpace, relations: Vec<Relation>, mut terms: Vec<RunTerm>) -> Result<Self> {
        for (index, term) in terms.iter_mut().enumerate() {
            term.runs.sort_unstable();
            term.runs.dedup();
            term.sets.sort_unstable();
            term.check(index, &relations, space)?;
        }
        let mut sum = Self { relations: relations.clone(), terms: Vec::new() };
        sum.add(&Self { relations, terms }, 1.0);
        sum.check(space)?;
        Ok(sum)
    }

    /// Number of terms.
    #[must_use]
    pub fn len(&self) -> usize {
        self.terms.len()
    }

    /// Whether there are no terms.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Number of terms with runs of each relation, by its name.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for term in &self.terms {
            let names: BTreeSet<&str> =
                term.runs.iter().map(|run| self.relations[run.relation as usize].name()).collect();
            names.into_iter().for_each(|name| *counts.entry(name).or_default() += 1);
        }
        counts
    }

    pub(super) fn scale(&mut self, factor: f64) {
        self.terms.iter_mut().for_each(|term| term.coefficient *= factor);
    }

    /// The frequency of each term in uniform sequences over an alphabet of `q` symbols.
    #[must_use]
    pub fn frequencies(&self, q: usize) -> Vec<f64> {
        let fraction = |block: RunBlock| {
            block.holds.iter().filter(|&&holds| holds).count() as f64 / block.holds.len() as f64
        };
        let blocks = |term: &RunTerm| term.blocks(&self.relations, q).into_iter();
        self.terms.par_iter().map(|term| blocks(term).map(fraction).product()).collect()
    }

    /// The variance of each term over uniform sequences.
    pub(super) fn variances(&self, q: usize) -> Vec<f64> {
        let coefficients = self.terms.iter().map(|term| term.coefficient);
        coefficients.zip(self.frequencies(q)).map(|(c, p)| c * c * p * (1.0 - p)).collect()
    }

    /// For each term and each of its blocks, the Fourier coefficients of the block that are not 0.
    pub(super) fn transformed(
        &self,
        space: &SequenceSpace,
        roots: &[Complex64],
    ) -> Vec<Vec<Vec<(Frequency, Complex64)>>> {
        let q = space.q();
        let of_block = |RunBlock { positions, holds }: RunBlock| {
            let order = positions.len();
            let table: Vec<Complex64> =
                holds.iter().map(|&holds| f64::from(u8::from(holds)).into()).collect();
            let coefficients = match space.has_letters() {
                true => by_position::of_table(space, &positions, &table),
                false => transform(table, q, order, roots),
            };
            let sizes = positions.iter().map(|&i| space.sizes().at(i));
            let nonzero = coefficients.into_iter().enumerate().filter(|(_, value)| value.norm() > ROUNDING);
            nonzero
                .map(|(word, value)| {
                    (frequency(&positions, &words::digits::<u16>(word, sizes.clone())), value)
                })
                .collect()
        };
        let of_term = |term: &RunTerm| term.blocks(&self.relations, q).into_iter().map(of_block).collect();
        self.terms.iter().map(of_term).collect()
    }

    /// Adds terms times a weight; equal conjunctions become one term.
    pub(crate) fn add(&mut self, other: &Self, weight: f64) {
        let numbers: Vec<u16> = other.relations.iter().map(|relation| self.number(relation)).collect();
        type Conjunction = (Vec<Run>, Vec<(u16, u64)>);
        let mut sums: BTreeMap<Conjunction, f64> = BTreeMap::new();
        let mut insert = |mut runs: Vec<Run>, sets, coefficient| {
            runs.sort_unstable();
            *sums.entry((runs, sets)).or_insert(0.0) += coefficient;
        };
        std::mem::take(&mut self.terms).into_iter().for_each(|t| insert(t.runs, t.sets, t.coefficient));
        for term in &other.terms {
            let renumbered = |run: &Run| Run { relation: numbers[run.relation as usize], ..*run };
            let runs = term.runs.iter().map(renumbered).collect();
            insert(runs, term.sets.clone(), weight * term.coefficient);
        }
        self.terms =
            sums.into_iter().map(|((runs, sets), coefficient)| RunTerm { runs, sets, coefficient }).collect();
    }

    /// The number of a relation, which is added if it is not listed.
    fn number(&mut self, relation: &Relation) -> u16 {
        let found = self.relations.iter().position(|r| r == relation);
        found.unwrap_or_else(|| {
            self.relations.push(relation.clone());
            self.relations.len() - 1
        }) as u16
    }

    /// # Errors
    /// If a term does not belong to the space, or a block has too many positions.
    pub(crate) fn check(&self, space: &SequenceSpace) -> Result<()> {
        for relation in &self.relations {
            Relation::new(space, relation.name(), relation.rows().to_vec())?;
        }
        let key = |term: &RunTerm| (term.runs.clone(), term.sets.clone());
        if let Some(index) = self.terms.windows(2).position(|pair| key(&pair[0]) >= key(&pair[1])) {
            let got = format!("term {} before term {index}", index + 1);
            return Err(Error::Parameter {
                name: "terms with runs",
                expected: "ascending and different",
                got,
            });
        }
        self.terms.iter().enumerate().try_for_each(|(index, term)| term.check(index, &self.relations, space))
    }
}
