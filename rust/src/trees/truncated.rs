//! The components of an ensemble that carry its variance.
//!
//! Each tree is a sum of products of centred conditions (see [`super::products`]). The products with enough
//! variance are multiplied out, added up over all trees, and decomposed into components. Components are
//! orthogonal, so leaving one out costs exactly its variance.

use rayon::prelude::*;

use super::Ensemble;
use super::products::{Centred, MAX_SPLITS, MinVariance, TreeMeans};
use crate::anova::Components;
use crate::cancel::Cancel;
use crate::design::uniform;
use crate::error::{Error, Result};
use crate::space::SequenceSpace;
use crate::surrogate::{CentredSum, Keep, ProductTerms};
use crate::validation::RSquared;
use crate::words;

/// Largest number of positions in one product.
const MAX_POSITIONS: usize = 6;
/// Smallest variances of a product, as fractions of the ensemble's variance: of up to two splits, and of more
/// splits. The first pair that gives a manageable number of components is used. The second number rises
/// first, because products of more splits add separate components, while products of two splits often have the
/// same components.
const MIN_VARIANCES: [(f64, f64); 7] = [
    (1e-9, 1e-7),
    (1e-9, 1e-5),
    (1e-9, 1e-3),
    (1e-9, f64::INFINITY),
    (1e-7, f64::INFINITY),
    (1e-5, f64::INFINITY),
    (1e-3, f64::INFINITY),
];
/// Largest space (number of sequences) and largest sequence length for which all sequences are tabulated.
const MAX_TABULATED: u128 = 1 << 18;
const MAX_TABULATED_LENGTH: usize = 15;
/// Number of sequences on which the kept fraction of the variance is measured, and the seed of their choice.
const SAMPLE: usize = 4000;
const SAMPLE_SEED: u64 = 0x7265_6573;
/// Largest number of letter patterns in one product of sets.
const MAX_PATTERNS: usize = 1 << 12;
/// Largest number of letter patterns in all products together.
const MAX_ALL_PATTERNS: usize = 1 << 20;
/// Trees processed by one task; fixed, so that sums do not depend on the number of threads.
const TREES: usize = 8;
/// Number of products in memory above which equal products are added up.
const MAX_PRODUCTS: usize = 1 << 24;
/// Number of products between two checks of the cancel flag.
const CHECKED: usize = 1024;

/// The conditions of a product, ascending; the last ones may be [`NONE`].
type Key = [u32; MAX_SPLITS];
/// Fills the unused entries of a [`Key`].
const NONE: u32 = u32::MAX;

/// A truncated ensemble.
#[derive(Clone, Debug)]
pub struct Truncated {
    /// The kept components, in centred indicators.
    pub terms: ProductTerms,
    /// Kept fraction of the ensemble's variance, up to 1, measured on uniform sequences.
    pub kept_fraction: f64,
}

/// A sum of products: a constant, and coefficients by conditions.
#[derive(Default)]
struct Sum {
    constant: f64,
    products: Vec<(Key, f64)>,
}

impl Sum {
    /// Multiplies out a product of centred conditions, and adds all its parts.
    fn add_expanded(&mut self, factors: &[Centred], coefficient: f64) {
        for subset in 0..1_usize << factors.len() {
            let mut key = [NONE; MAX_SPLITS];
            let (mut count, mut value) = (0, coefficient);
            for (i, &(condition, mean)) in factors.iter().enumerate() {
                if subset >> i & 1 == 1 {
                    key[count] = condition;
                    count += 1;
                } else {
                    value *= -mean;
                }
            }
            if count == 0 {
                self.constant += value;
            } else {
                key.sort_unstable();
                self.products.push((key, value));
            }
        }
    }

    /// Adds up equal products.
    fn merge(&mut self) {
        self.products.sort_by_key(|product| product.0);
        self.products.dedup_by(|next, first| {
            let same = next.0 == first.0;
            if same {
                first.1 += next.1;
            }
            same
        });
    }
}

/// All sequences of a space, in lexicographic order.
fn all_sequences(space: &SequenceSpace) -> Vec<u8> {
    let (q, n) = (space.q(), space.n());
    let radices = words::same(q, n);
    (0..words::count(radices.clone()))
        .flat_map(|number| words::digits::<u8>(number, radices.clone()))
        .collect()
}

impl Ensemble {
    /// The components that carry the ensemble's variance, and the fraction of the variance that they carry.
    ///
    /// # Errors
    /// If even the products with the largest variances have too many components, or the caller cancels.
    pub fn truncated(&self, keep: Keep, cancel: &Cancel) -> Result<Truncated> {
        let count = self.space.size().map_or(SAMPLE, |size| size.min(SAMPLE as u128) as usize);
        let sample = uniform(&self.space, count, SAMPLE_SEED, cancel)?;
        let values = self.predict(&sample, cancel)?;
        // The table has all words of the alphabet.
        let small = words::saturating_count(words::same(self.space.q(), self.space.n())) <= MAX_TABULATED;
        // A table has a component for each subset of positions, so the length is limited as well.
        let mut anova = if small && self.space.n() <= MAX_TABULATED_LENGTH {
            let table = self.predict(&all_sequences(&self.space), cancel)?;
            let mut anova = CentredSum::of_table(&self.space, table)?;
            anova.centre(cancel)?;
            anova
        } else {
            let count = values.len() as f64;
            let mean = values.iter().sum::<f64>() / count;
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
            self.largest_components(variance, cancel)?
        };
        anova.keep(keep);
        let terms = anova.into_terms();
        let predictions = Components::new(&terms)?.predict(&sample, cancel)?;
        let kept_fraction = RSquared::new(&values, &predictions)?.value;
        Ok(Truncated { terms, kept_fraction })
    }

    /// The components of the products with the largest variances: as many as are manageable.
    fn largest_components(&self, variance: f64, cancel: &Cancel) -> Result<CentredSum> {
        let mut result = Err(Error::Interrupted);
        for (short, long) in MIN_VARIANCES {
            let min_variance = MinVariance { short: short * variance, long: long * variance };
            result = self.components_above(min_variance, cancel);
            if !matches!(result, Err(Error::TooLarge { .. })) {
                break;
            }
        }
        result
    }

    /// The components of the products with a larger variance than this.
    fn components_above(&self, min_variance: MinVariance, cancel: &Cancel) -> Result<CentredSum> {
        let sum = self.products_above(min_variance, cancel)?;
        let mut anova = CentredSum::new(self.space.clone());
        anova.add(&[], sum.constant)?;
        let mut patterns = 0;
        for (index, (key, coefficient)) in sum.products.into_iter().enumerate() {
            if index % CHECKED == 0 {
                cancel.check()?;
            }
            if let Some(sets) = self.intersection(&key) {
                patterns += sets.iter().map(|&(_, set)| self.n_indicators(set)).product::<usize>();
                if patterns > MAX_ALL_PATTERNS {
                    return Err(Error::TooLarge {
                        what: "the letter patterns of these trees",
                        bytes: patterns as u128 * 8,
                        advice: "keep a smaller fraction of the variance",
                    });
                }
                anova.add(&sets, coefficient)?;
            }
        }
        anova.centre(cancel)?;
        Ok(anova)
    }

    /// The products of all trees with a larger variance than this, multiplied out and added up.
    fn products_above(&self, min_variance: MinVariance, cancel: &Cancel) -> Result<Sum> {
        let chunks: Vec<Sum> = self
            .trees
            .par_chunks(TREES)
            .map(|trees| {
                let mut sum = Sum::default();
                for tree in trees {
                    cancel.check()?;
                    let means = TreeMeans::new(self, tree);
                    sum.constant += means.mean();
                    means.products(min_variance, &mut |factors, coefficient| {
                        if self.is_manageable(factors) {
                            sum.add_expanded(factors, coefficient);
                        }
                    });
                }
                sum.merge();
                Ok(sum)
            })
            .collect::<Result<_>>()?;
        let mut all = Sum { constant: self.constant, products: Vec::new() };
        for chunk in chunks {
            all.constant += chunk.constant;
            all.products.extend(chunk.products);
            if all.products.len() > MAX_PRODUCTS {
                all.merge();
            }
            if all.products.len() > MAX_PRODUCTS {
                return Err(Error::TooLarge {
                    what: "the products of these trees",
                    bytes: (all.products.len() * size_of::<(Key, f64)>()) as u128,
                    advice: "keep a smaller fraction of the variance",
                });
            }
        }
        all.merge();
        Ok(all)
    }

    /// Number of indicators in which a set is written: of its symbols, or of the other symbols and one for all
    /// symbols.
    fn n_indicators(&self, set: u64) -> usize {
        let symbols = set.count_ones() as usize;
        symbols.min(self.space.q() - symbols + 1)
    }

    /// Whether a product is on at most [`MAX_POSITIONS`] positions, and has at most [`MAX_PATTERNS`] letter
    /// patterns.
    fn is_manageable(&self, factors: &[Centred]) -> bool {
        let conditions = factors.iter().map(|&(condition, _)| &self.conditions[condition as usize]);
        let mut sizes: Vec<(u16, usize)> =
            conditions.flatten().map(|&(position, set)| (position, self.n_indicators(set))).collect();
        sizes.sort_unstable();
        sizes.dedup_by_key(|(position, _)| *position);
        sizes.len() <= MAX_POSITIONS && sizes.iter().map(|(_, size)| size).product::<usize>() <= MAX_PATTERNS
    }

    /// The symbols that satisfy all of these conditions, at each of their positions; `None` if no symbol does
    /// at some position.
    fn intersection(&self, key: &Key) -> Option<Vec<(u16, u64)>> {
        let mut sets: Vec<(u16, u64)> = Vec::new();
        for &condition in key.iter().take_while(|&&condition| condition != NONE) {
            for &(position, set) in &self.conditions[condition as usize] {
                match sets.binary_search_by_key(&position, |&(other, _)| other) {
                    Ok(index) => {
                        sets[index].1 &= set;
                        if sets[index].1 == 0 {
                            return None;
                        }
                    }
                    Err(index) => sets.insert(index, (position, set)),
                }
            }
        }
        Some(sets)
    }
}
