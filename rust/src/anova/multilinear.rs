//! Scores and Shapley values of long product terms without a list of their components.
//!
//! A term `c Π_i g_i(x_i)` of `d` factors has `2^d` components, too many to list for the leaves of deep trees. Its
//! Shapley values are integrals over the multilinear extension (Owen 1972). With `z_i = g_i(x_i)` and
//! `u_i = E g_i(X_i)`,
//!
//! `SV_i = c ∫_0^1 (z_i - u_i) Π_{j≠i} (t z_j + (1-t) u_j) dt`.
//!
//! The integrand is a polynomial of degree `d - 1`, so Gauss-Legendre quadrature with `⌈d/2⌉` nodes is exact.

use std::sync::Arc;

use rustfft::num_complex::Complex64;

use super::background::Means;
use super::flat_terms::FlatTerms;
use super::patterns;
use super::term_masks::TermMasks;
use crate::cancel::Cancel;
use crate::error::Result;
use crate::surrogate::ProductTerms;

/// Product terms with real factors, ready for evaluation.
#[derive(Clone, Debug)]
pub(crate) struct Multilinear {
    constant: f64,
    /// `g(l, a)`, row `l`, and their means under each part of the background.
    factors: Arc<[Complex64]>,
    means: Vec<Means>,
    terms: Arc<FlatTerms>,
    /// If all factors are 0 or 1: the terms as bits.
    masks: Option<Arc<TermMasks>>,
}

/// Nodes and weights on `[0, 1]`.
pub(super) type Rule = Vec<(f64, f64)>;

/// Number of components of all terms, counted separately for each term.
pub(super) fn parts(terms: &ProductTerms) -> f64 {
    let orders = terms.orders();
    let parts = orders.iter().enumerate().map(|(order, &count)| count as f64 * 2.0_f64.powi(order as i32));
    parts.sum()
}

impl Multilinear {
    /// The terms over a basis of indicators, centred or not.
    pub(crate) fn new(terms: &ProductTerms, factors: &[Complex64], means: Vec<Means>) -> Self {
        let flat = FlatTerms::new(terms);
        let masks = (flat.outside == 0.0).then(|| Arc::new(TermMasks::new(&flat)));
        Self { constant: terms.constant, factors: factors.into(), means, terms: Arc::new(flat), masks }
    }

    /// The same terms under a background of these equally likely sequences.
    pub(crate) fn with_references(&self, references: &[u8]) -> Self {
        let means = |row: &[u8]| Means::Reference { q: self.terms.q, row: row.to_vec() };
        Self { means: references.chunks_exact(self.terms.n).map(means).collect(), ..self.clone() }
    }

    /// The means of all distinct factors under a part of the background.
    fn means(&self, part: &Means) -> Vec<f64> {
        let distinct = self.terms.distinct.iter();
        distinct.map(|factor| part.of(&self.factors, factor.position, factor.label).re).collect()
    }

    /// The mean over the background.
    pub(crate) fn base_value(&self, cancel: &Cancel) -> Result<f64> {
        let mut sum = 0.0;
        for part in &self.means {
            let means = self.means(part);
            for (term, coefficient) in self.terms.coefficients.iter().enumerate() {
                cancel.check()?;
                let factors = self.terms.indices(term).iter().map(|&factor| means[factor as usize]);
                sum += coefficient * factors.product::<f64>();
            }
        }
        Ok(self.constant + sum / self.means.len() as f64)
    }

    pub(crate) fn scores(&self, codes: &[u8], out: &mut [f64], cancel: &Cancel) -> Result<()> {
        let terms = &*self.terms;
        out.fill(self.constant);
        if let Some(masks) = &self.masks {
            return masks.add_scores(terms, codes, out, cancel);
        }
        for (term, coefficient) in terms.coefficients.iter().enumerate() {
            for (row, out) in codes.chunks_exact(terms.n).zip(&mut *out) {
                cancel.check()?;
                let factors = terms.factors(term).map(|factor| terms.outside + factor.bit(row) as f64);
                *out += coefficient * factors.product::<f64>();
            }
        }
        Ok(())
    }

    pub(crate) fn shapley_values(&self, codes: &[u8], out: &mut [f64], cancel: &Cancel) -> Result<()> {
        let scale = 1.0 / self.means.len() as f64;
        for part in &self.means {
            match (part, &self.masks) {
                (Means::Reference { row, .. }, Some(masks)) => {
                    masks.add_shapley_values(&self.terms, row, scale, (codes, &mut *out), cancel)?;
                }
                _ => {
                    let means = self.means(part);
                    patterns::add_shapley_values(&self.terms, &means, scale, (codes, &mut *out), cancel)?;
                }
            }
        }
        Ok(())
    }
}

/// The rule with `count` nodes on `[0, 1]`, exact up to degree `2 count - 1`. Newton's method refines Tricomi's
/// estimate of the nodes.
pub(super) fn gauss_legendre(count: usize) -> Rule {
    let n = count as f64;
    (0..count)
        .map(|i| {
            let mut x = (std::f64::consts::PI * (i as f64 + 0.75) / (n + 0.5)).cos();
            let mut slope = 1.0;
            for _ in 0..100 {
                let (mut before, mut value) = (0.0, 1.0);
                for k in 1..=count {
                    let k = k as f64;
                    (before, value) = (value, ((2.0 * k - 1.0) * x * value - (k - 1.0) * before) / k);
                }
                slope = n * (x * value - before) / (x * x - 1.0);
                let step = value / slope;
                x -= step;
                if step.abs() < 1e-15 {
                    break;
                }
            }
            (0.5 * (1.0 + x), 1.0 / ((1.0 - x * x) * slope * slope))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::anova::{Background, Components, Form};
    use crate::explain::Index;
    use crate::space::SequenceSpace;
    use crate::surrogate::{Basis, RunTerms, SupportTerms};

    /// The position of a factor, its value at a sequence, and its mean.
    type Values = (u16, f64, f64);
    /// The coefficient and the factors of a term.
    type Game = (f64, Vec<Values>);

    /// Terms of up to `longest` positions over one of three bases, and a background of one of four kinds.
    fn drawn(
        (q, n, longest): (usize, usize, usize),
        count: usize,
        (basis, kind): (u8, u8),
        rng: &mut ChaCha8Rng,
    ) -> (ProductTerms, Background) {
        let mut draw = |most: u64| rng.random_range(0..most);
        let all = u64::MAX >> (64 - q);
        let basis = match basis {
            0 => Basis::Letters,
            1 => Basis::Centred,
            _ => Basis::Sets((0..7).map(|_| 1 + draw(all)).collect::<Vec<_>>().into()),
        };
        let supports = (0..count)
            .map(|_| {
                let order = 1 + draw(longest as u64);
                let mut support: Vec<u16> = (0..order).map(|_| draw(n as u64) as u16).collect();
                support.sort_unstable();
                support.dedup();
                let labels = support.iter().map(|_| draw(basis.labels(q) as u64) as u16).collect();
                SupportTerms { support, labels, coefficients: vec![(draw(1000) as f64 / 500.0 - 1.0).into()] }
            })
            .collect();
        let space = SequenceSpace::of_size(q, n).unwrap();
        let mut rows = |count: usize| (0..count * n).map(|_| draw(q as u64) as u8).collect::<Vec<_>>();
        // One symbol of each position has probability 0.
        let chances: Vec<f64> = (0..q).map(|a| 2.0 * a as f64 / (q * (q - 1)) as f64).collect();
        let background = match kind {
            0 => Background::uniform(&space),
            1 => Background::product(&space, chances.repeat(n)).unwrap(),
            2 => Background::references(&space, &rows(1)).unwrap(),
            _ => Background::references(&space, &rows(3)).unwrap(),
        };
        (ProductTerms { space, basis, constant: 2.0, supports, runs: RunTerms::default() }, background)
    }

    fn evaluated(terms: &ProductTerms, background: &Background) -> Multilinear {
        let factors = terms.basis.factors(terms.space.q());
        Multilinear::new(terms, &factors, background.means(&terms.basis, &factors))
    }

    /// The factors of each term at a sequence, and their means under each part of a background, with coefficients.
    fn games(terms: &ProductTerms, background: &Background, row: &[u8]) -> Vec<Game> {
        let (q, n) = (terms.space.q(), terms.space.n());
        let factors = terms.basis.factors(q);
        let value = |label: u16, symbol: usize| factors[usize::from(label) * q + symbol].re;
        let parts: Vec<Vec<Vec<f64>>> = match background.codes() {
            Some(codes) => codes
                .chunks(n)
                .map(|y| {
                    y.iter()
                        .map(|&b| (0..q).map(|a| f64::from(u8::from(a == usize::from(b)))).collect())
                        .collect()
                })
                .collect(),
            None => vec![(0..n as u16).map(|i| background.symbols(i)).collect()],
        };
        let mut games = Vec::new();
        for part in &parts {
            for (support, labels, coefficient) in terms.iter() {
                let factor = |(&i, &l): (&u16, &u16)| {
                    let mean = part[usize::from(i)].iter().enumerate().map(|(a, p)| p * value(l, a)).sum();
                    (i, value(l, usize::from(row[usize::from(i)])), mean)
                };
                games.push((
                    coefficient.re / parts.len() as f64,
                    support.iter().zip(labels).map(factor).collect(),
                ));
            }
        }
        games
    }

    fn factorial(n: usize) -> f64 {
        (1..=n).map(|k| k as f64).product()
    }

    /// Shapley values by the definition: every coalition of the positions.
    fn by_coalitions(games: &[Game], n: usize) -> Vec<f64> {
        let score = |mask: usize| -> f64 {
            let present = |i: u16| mask >> i & 1 == 1;
            let product = |factors: &[Values]| {
                factors.iter().map(|&(i, z, u)| if present(i) { z } else { u }).product::<f64>()
            };
            games.iter().map(|(coefficient, factors)| coefficient * product(factors)).sum()
        };
        let scores: Vec<f64> = (0..1 << n).map(score).collect();
        let weight = |size: usize| factorial(size) * factorial(n - size - 1) / factorial(n);
        let gain = |i: usize, mask: usize| {
            weight(mask.count_ones() as usize) * (scores[mask | 1 << i] - scores[mask])
        };
        (0..n)
            .map(|i| (0..1 << n).filter(|mask| mask >> i & 1 == 0).map(|mask| gain(i, mask)).sum())
            .collect()
    }

    /// Shapley values by the sums over all coalitions of equal size: the coefficients of `Π_{j≠i} (u_j + z_j y)`.
    fn by_sizes(games: &[Game], n: usize) -> Vec<f64> {
        let mut values = vec![0.0; n];
        for (coefficient, factors) in games {
            for (at, &(i, z, u)) in factors.iter().enumerate() {
                let mut sums = vec![*coefficient];
                for (_, &(_, z, u)) in factors.iter().enumerate().filter(|(other, _)| *other != at) {
                    sums.push(0.0);
                    for size in (0..sums.len()).rev() {
                        sums[size] = u * sums[size] + if size > 0 { z * sums[size - 1] } else { 0.0 };
                    }
                }
                let d = factors.len();
                let weight = |size: usize| factorial(size) * factorial(d - size - 1) / factorial(d);
                let mean: f64 = sums.iter().enumerate().map(|(size, sum)| weight(size) * sum).sum();
                values[usize::from(i)] += (z - u) * mean;
            }
        }
        values
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn terms_have_the_values_of_all_coalitions(
            q in 2_usize..=20, n in 1_usize..=7, count in 0_usize..12, basis in 0_u8..3, kind in 0_u8..4, seed: u64,
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let (terms, background) = drawn((q, n, n), count, (basis, kind), &mut rng);
            let codes: Vec<u8> = (0..3 * n).map(|_| rng.random_range(0..q as u32) as u8).collect();
            let (multilinear, cancel) = (evaluated(&terms, &background), Cancel::new());
            let (mut scores, mut values) = (vec![0.0; 3], vec![0.0; 3 * n]);
            multilinear.scores(&codes, &mut scores, &cancel).unwrap();
            multilinear.shapley_values(&codes, &mut values, &cancel).unwrap();
            let base = multilinear.base_value(&cancel).unwrap();
            for ((row, score), values) in codes.chunks(n).zip(scores).zip(values.chunks(n)) {
                let games = games(&terms, &background, row);
                let sum = |pick: fn(&Values) -> f64| -> f64 {
                    2.0 + games.iter().map(|(c, factors)| c * factors.iter().map(pick).product::<f64>()).sum::<f64>()
                };
                prop_assert!((score - sum(|factor| factor.1)).abs() < 1e-10);
                prop_assert!((base - sum(|factor| factor.2)).abs() < 1e-10);
                for (a, b) in values.iter().zip(by_coalitions(&games, n)) {
                    prop_assert!((a - b).abs() < 1e-10, "{a} {b}");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        // More terms than a mask has, and more factors than a table of words has.
        #[test]
        fn many_long_terms_have_the_values_of_all_coalition_sizes(
            q in 2_usize..=20, n in 1_usize..=60, count in 0_usize..700, basis in 0_u8..3, kind in 0_u8..4, seed: u64,
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let (terms, background) = drawn((q, n, 60), count, (basis, kind), &mut rng);
            let codes: Vec<u8> = (0..5 * n).map(|_| rng.random_range(0..q as u32) as u8).collect();
            let mut values = vec![0.0; 5 * n];
            evaluated(&terms, &background).shapley_values(&codes, &mut values, &Cancel::new()).unwrap();
            for (row, values) in codes.chunks(n).zip(values.chunks(n)) {
                for (a, b) in values.iter().zip(by_sizes(&games(&terms, &background, row), n)) {
                    prop_assert!((a - b).abs() < 1e-10, "{a} {b}");
                }
            }
        }
    }

    #[test]
    fn the_number_of_factors_bounds_the_tile() {
        // 80,000 factors: the columns of 300 sequences would take more than a tile may.
        let (q, n) = (20, 4000);
        let space = SequenceSpace::of_size(q, n).unwrap();
        let group = |i: usize| SupportTerms {
            support: vec![i as u16],
            labels: (0..q as u16).collect(),
            coefficients: (0..q).map(|a| ((i + a) as f64).into()).collect(),
        };
        let supports = (0..n).map(group).collect();
        let background = Background::uniform(&space);
        let terms =
            ProductTerms { space, basis: Basis::Letters, constant: 0.0, supports, runs: RunTerms::default() };
        let codes: Vec<u8> = (0..300 * n).map(|cell| (cell * cell % 19) as u8).collect();
        let mut values = vec![0.0; codes.len()];
        evaluated(&terms, &background).shapley_values(&codes, &mut values, &Cancel::new()).unwrap();
        for (&code, value) in codes.iter().zip(values) {
            assert!((value - (f64::from(code) - 9.5)).abs() < 1e-9);
        }
    }

    #[test]
    fn components_of_long_terms_are_listed_if_they_are_needed() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for kind in 0..4 {
            let (terms, background) = drawn((20, 9, 7), 40, (2, kind), &mut rng);
            let components = Components::with_background(&terms, &background, &Cancel::new()).unwrap();
            let unlisted =
                || matches!(&components.form, Form::Multilinear { list, .. } if list.get().is_none());
            let codes: Vec<u8> = (0..4 * 9).map(|_| rng.random_range(0..20)).collect();
            let cancel = Cancel::new();
            let values = components.shapley_values(&codes, &cancel).unwrap();
            assert!(unlisted());
            let interactions = components.interactions(Index::Sv, 1).unwrap();
            let listed = components.values(&interactions, &codes, &cancel).unwrap();
            assert!(!unlisted());
            let width = interactions.supports().len();
            for (values, listed) in values.chunks(9).zip(listed.chunks(width)) {
                for (support, value) in interactions.supports().iter().zip(listed) {
                    assert!((value - values[usize::from(support[0])]).abs() < 1e-10);
                }
            }
            let references = codes.repeat(2);
            let own = components.shapley_values_with_references(&codes, &references, &cancel).unwrap();
            let interactions = components.interactions_with_references(Index::Sv, 1).unwrap();
            let listed =
                components.values_with_references(&interactions, &codes, &references, &cancel).unwrap();
            for (values, listed) in own.chunks(9).zip(listed.chunks(interactions.supports().len())) {
                for (support, value) in interactions.supports().iter().zip(listed) {
                    assert!((value - values[usize::from(support[0])]).abs() < 1e-10);
                }
            }
        }
    }

    #[test]
    fn the_rule_integrates_powers() {
        for count in [1, 2, 3, 7, 16, 40] {
            for power in 0..2 * count as i32 {
                let sum: f64 = gauss_legendre(count).iter().map(|(t, w)| w * t.powi(power)).sum();
                assert!(
                    (sum - 1.0 / f64::from(power + 1)).abs() < 1e-14,
                    "{count} nodes, power {power}: {sum}"
                );
            }
        }
    }
}
