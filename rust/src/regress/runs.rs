//! Runs as atoms of a regression: each is a support with one cell.
//!
//! The rows with a pair of related symbols are stored as bits for each pair of positions. A scan goes from each first
//! pair to longer runs, and keeps only the bits that all pairs so far have in common.

use std::sync::Arc;

use rayon::prelude::*;

use super::columns::for_each_bit;
use super::patterns::FEWEST_ROWS;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::space::SequenceSpace;
use crate::surrogate::{Relation, Run};

/// Largest number of pairs of a run.
const LONGEST: u16 = 6;
/// Largest number of pairs of positions times sequences at which runs are tried automatically.
const AUTO_WORK: usize = 1 << 26;
/// First pairs scanned by one task.
const STARTS: usize = 16;
/// Rows in a word of bits.
const BITS: usize = 64;

/// Which runs a regression may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunKind {
    /// The relation of each pair.
    pub relation: Relation,
    /// Whether second positions descend, as in a stem.
    pub reversed: bool,
}

impl RunKind {
    /// The kinds that an alphabet has: repeats, and stems of DNA and RNA. None if sequences are so long or so many that
    /// the work is large.
    #[must_use]
    pub fn auto(space: &SequenceSpace, sequences: usize) -> Vec<Self> {
        let stems = [Relation::complement, Relation::wobble, Relation::strong];
        let stems = stems.into_iter().filter_map(|relation| relation(space).ok());
        let mut kinds: Vec<Self> = stems.map(|relation| Self { relation, reversed: true }).collect();
        kinds.push(Self { relation: Relation::equal(space), reversed: false });
        let work = (space.n() * space.n()).saturating_mul(sequences);
        if work > AUTO_WORK { Vec::new() } else { kinds }
    }
}

/// All runs of some kinds on a set of sequences.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunAtoms {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    relations: Vec<Relation>,
    n: usize,
    /// Words of bits of each pair.
    words: usize,
    /// Rows in which a pair is related, for each relation and pair `i < j`: index `(relation * n + i) * n + j`.
    pairs: Vec<Vec<u64>>,
    /// All runs with the same first pair are adjacent, shorter ones first.
    runs: Vec<Run>,
    /// Start in `runs` of each first pair, and the end.
    starts: Vec<usize>,
    /// Standard deviation of each run if pairs are independent; 0 for runs in too few rows.
    scales: Vec<f64>,
}

impl RunAtoms {
    /// The runs of these kinds in sequences, given the codes at each position and the frequencies of the symbols.
    pub(super) fn new(
        space: (usize, usize),
        kinds: &[RunKind],
        columns: &[Vec<u8>],
        frequencies: &[f64],
    ) -> Self {
        if kinds.is_empty() {
            return Self::default();
        }
        let (q, n) = space;
        let rows = columns[0].len();
        let mut relations: Vec<Relation> = Vec::new();
        for kind in kinds {
            if !relations.contains(&kind.relation) {
                relations.push(kind.relation.clone());
            }
        }
        let pairs: Vec<(usize, usize, usize)> = (0..relations.len())
            .flat_map(|relation| (0..n).flat_map(move |i| (0..n).map(move |j| (relation, i, j))))
            .collect();
        let bits = |&(relation, i, j): &(usize, usize, usize)| {
            let relation = &relations[relation];
            let mut bits = vec![0_u64; if i < j { rows.div_ceil(BITS) } else { 0 }];
            if i < j {
                for (row, (&a, &b)) in columns[i].iter().zip(&columns[j]).enumerate() {
                    bits[row / BITS] |= u64::from(relation.relates(a, b)) << (row % BITS);
                }
            }
            bits
        };
        let pairs: Vec<Vec<u64>> = pairs.par_iter().map(bits).collect();
        let chance = |relation: &Relation, (i, j): (u16, u16)| -> f64 {
            let of = |i: u16| &frequencies[i as usize * q..][..q];
            let related = |a: u8, b: u8| relation.relates(a, b);
            let second = |a: u8| of(j).iter().zip(0..).filter(move |(_, b)| related(a, *b)).map(|(f, _)| f);
            of(i).iter().zip(0..).map(|(f, a)| f * second(a).sum::<f64>()).sum()
        };
        let number = |kind: &RunKind| relations.iter().take_while(|r| **r != kind.relation).count();
        let (mut runs, mut starts, mut scales) = (Vec::new(), Vec::new(), Vec::new());
        for kind in kinds {
            for (i, j) in (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j))) {
                starts.push(runs.len());
                let mut p = 1.0;
                for length in 1..=LONGEST {
                    let run = Run {
                        relation: number(kind) as u16,
                        first: i as u16,
                        second: j as u16,
                        length,
                        reversed: kind.reversed,
                    };
                    if !run.fits(n) || !run.is_tabulated(q) {
                        break;
                    }
                    p *= run.pairs().last().map_or(0.0, |pair| chance(&kind.relation, pair));
                    runs.push(run);
                    scales.push((p * (1.0 - p)).max(0.0).sqrt());
                }
            }
        }
        starts.push(runs.len());
        let words = rows.div_ceil(BITS);
        let mut shared = Shared { relations, n, words, pairs, runs, starts, scales };
        let counts: Vec<usize> = shared.runs.par_iter().map(|&run| shared.rows(run).len()).collect();
        shared.scales.iter_mut().zip(counts).filter(|(_, c)| *c < FEWEST_ROWS).for_each(|(s, _)| *s = 0.0);
        Self { shared: Arc::new(shared) }
    }

    /// # Errors
    /// [`Error::TooLarge`] if the runs of these kinds need more than `limit` bytes.
    pub(super) fn check(kinds: &[RunKind], space: &SequenceSpace, rows: usize, limit: u128) -> Result<()> {
        let pairs = (space.n() * space.n() / 2 * kinds.len()) as u128;
        let bytes = pairs * (rows as u128 / 8 + u128::from(LONGEST) * 64);
        if bytes > limit {
            return Err(Error::TooLarge {
                what: "the pairs of positions of these relations",
                bytes,
                advice: "use fewer relations, or raise memory_limit",
            });
        }
        Ok(())
    }

    pub(crate) fn runs(&self) -> &[Run] {
        &self.shared.runs
    }

    pub(crate) fn scale(&self, run: usize) -> f64 {
        self.shared.scales[run]
    }

    /// The rows that have a run.
    pub(crate) fn rows(&self, run: usize) -> Vec<u32> {
        self.shared.rows(self.shared.runs[run])
    }

    /// Sums the values of the rows of each run that `include` accepts, and calls `visit(run, sum, output)`. Returns each
    /// run that has outputs.
    pub(super) fn scan<const L: usize, T: Send>(
        &self,
        values: &[[f64; L]],
        cancel: &Cancel,
        include: impl Fn(usize) -> bool + Sync,
        visit: impl Fn(usize, [f64; L], &mut Vec<T>) + Sync,
    ) -> Result<Vec<(usize, Vec<T>)>> {
        let Shared { starts, runs, .. } = &*self.shared;
        let groups: Vec<(usize, usize)> = starts.windows(2).map(|pair| (pair[0], pair[1])).collect();
        let outputs = groups.par_chunks(STARTS).map(|groups| {
            cancel.check()?;
            let mut outputs = Vec::new();
            let mut all = vec![0; self.shared.words];
            for &(start, end) in groups {
                let Some(last) = (start..end).rev().find(|&run| include(run)) else { continue };
                all.fill(u64::MAX);
                for (run, pair) in (start..=last).zip(runs[last].pairs()) {
                    keep_common(&mut all, self.shared.bits(runs[run], pair));
                    if include(run) {
                        let mut sum = [0.0; L];
                        for_each_bit(&all, |row| (0..L).for_each(|l| sum[l] += values[row][l]));
                        let mut output = Vec::new();
                        visit(run, sum, &mut output);
                        if !output.is_empty() {
                            outputs.push((run, output));
                        }
                    }
                }
            }
            Ok(outputs)
        });
        Ok(outputs.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// The relations of the runs.
    pub(super) fn relations(&self) -> &[Relation] {
        &self.shared.relations
    }
}

impl Shared {
    fn bits(&self, run: Run, (i, j): (u16, u16)) -> &[u64] {
        &self.pairs[(run.relation as usize * self.n + i as usize) * self.n + j as usize]
    }

    fn rows(&self, run: Run) -> Vec<u32> {
        let mut all = vec![u64::MAX; self.words];
        for pair in run.pairs() {
            keep_common(&mut all, self.bits(run, pair));
        }
        let mut rows = Vec::new();
        for_each_bit(&all, |row| rows.push(row as u32));
        rows
    }
}

fn keep_common(all: &mut [u64], bits: &[u64]) {
    all.iter_mut().zip(bits).for_each(|(all, bits)| *all &= bits);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::super::gather::GatherOperator;
    use super::super::operator::{AtomId, Correlations, Operator};
    use super::super::{Atoms, Sample, SparseRegression};
    use super::*;

    fn kinds(space: &SequenceSpace) -> Vec<RunKind> {
        let relation = Relation::equal(space);
        [false, true].map(|reversed| RunKind { relation: relation.clone(), reversed }).into()
    }

    proptest! {
        #[test]
        fn scans_and_columns_are_those_of_the_definition(
            q in 2_usize..=4, n in 2_usize..=9, rows in 3_usize..200, weighted: bool, seed: u64,
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let space = SequenceSpace::of_size(q, n).unwrap();
            let codes: Vec<u8> = (0..rows * n).map(|_| rng.random_range(0..q as u32) as u8).collect();
            let mut draw = || (0..rows).map(|_| rng.random_range(0.5..2.0_f64)).collect::<Vec<f64>>();
            let (values, weights, residual) = (draw(), draw(), draw());
            let supports: Vec<Vec<u16>> = (0..n as u16).map(|i| vec![i]).collect();
            let weights = weighted.then_some(weights);
            let kinds = kinds(&space);
            let operator = GatherOperator::new((q, n), Atoms::Letters, &codes, &values, weights.as_deref(), supports)
                .with_runs(&kinds);
            let root = |row: usize| weights.as_ref().map_or(1.0, |weights| weights[row].sqrt());
            let lanes: Vec<[f64; 1]> = residual.iter().map(|&r| [r]).collect();
            let visit = |support: usize, run: Correlations<'_, 1>, out: &mut Vec<_>| out.push((support, run.sums[0][0], run.scales[0]));
            let sums = operator.scan(&lanes, &Cancel::new(), |support| support >= n, visit).unwrap();
            let mut expected = 0;
            for each in &kinds {
                for (i, j, length) in (0..n).flat_map(|i| (i + 1..n).flat_map(move |j| (1..=6).map(move |l| (i, j, l)))) {
                    let run = Run {
                        relation: 0, first: i as u16, second: j as u16, length, reversed: each.reversed,
                    };
                    expected += usize::from(run.fits(n) && run.is_tabulated(q));
                }
            }
            prop_assert_eq!(sums.len(), expected);
            for (support, sum, scale) in sums {
                let run = operator.run(support).unwrap();
                let has = |row: &usize| run.occurs(&kinds[0].relation, &codes[row * n..][..n]);
                let matching: Vec<usize> = (0..rows).filter(has).collect();
                let by_definition: f64 = matching.iter().map(|&row| root(row) * residual[row]).sum();
                prop_assert!((sum - by_definition).abs() < 1e-10);
                let mut column = vec![0.0; rows];
                operator.column(AtomId::new(support, 0)).for_each(|row, value| column[row] = value);
                let by_definition = |row| if has(&row) { root(row) } else { 0.0 };
                prop_assert!((0..rows).all(|row| (column[row] - by_definition(row)).abs() < 1e-12));
                // The scale is that of independent positions: it is 0 if none of them varies.
                let varies = |i: u16| (0..rows).any(|row| codes[row * n + i as usize] != codes[i as usize]);
                let constant = !run.pairs().any(|(i, j)| varies(i) || varies(j));
                prop_assert_eq!(scale == 0.0, matching.len() < FEWEST_ROWS || constant);
            }
        }
    }

    #[test]
    fn a_stem_and_a_repeat_are_found() {
        let (n, rows) = (14, 1500);
        let space = SequenceSpace::new("ACGU", n).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let codes: Vec<u8> = (0..rows * n).map(|_| rng.random_range(0..4_u32) as u8).collect();
        let stem = Run { relation: 0, first: 1, second: 11, length: 3, reversed: true };
        let repeat = Run { relation: 0, first: 4, second: 8, length: 2, reversed: false };
        let (complement, equal) = (Relation::complement(&space).unwrap(), Relation::equal(&space));
        let one = |holds: bool| f64::from(u8::from(holds));
        let value = |row: &[u8]| {
            4.0 * one(stem.occurs(&complement, row)) - 2.0 * one(repeat.occurs(&equal, row))
                + 0.5 * one(row[0] == 2)
        };
        let values: Vec<f64> = codes.chunks(n).map(value).collect();
        let sample = Sample::new(space.clone(), codes, values).unwrap();
        let fitted = SparseRegression::default().fit(&sample, &Cancel::new()).unwrap();
        assert!(fitted.r2.value > 0.97, "{:?}", fitted.r2);
        let runs = fitted.surrogate.terms().runs;
        let coefficient = |name: &str, run: Run| {
            let term = runs.terms.iter().find(|term| {
                let first = term.runs[0];
                runs.relations[first.relation as usize].name() == name && Run { relation: 0, ..first } == run
            });
            term.map_or(0.0, |term| term.coefficient)
        };
        assert!(coefficient("complement", stem) > 2.0);
        assert!(coefficient("equal", repeat) < -1.0);
    }
}
