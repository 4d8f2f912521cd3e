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
use crate::cancel::Cancel;
use crate::error::Result;
use crate::surrogate::ProductTerms;

/// Product terms with real factors, ready for evaluation.
#[derive(Clone, Debug)]
pub(crate) struct Multilinear {
    q: usize,
    n: usize,
    constant: f64,
    /// `g(l, a)`, row `l`, and their means under each part of the background.
    factors: Arc<[Complex64]>,
    means: Vec<Means>,
    groups: Arc<[Group]>,
}

/// The terms of one support.
#[derive(Clone, Debug)]
struct Group {
    support: Vec<u16>,
    labels: Vec<u16>,
    coefficients: Vec<f64>,
    /// Number of nodes of the quadrature rule for these terms.
    rule: usize,
}

/// Nodes and weights on `[0, 1]`.
pub(super) type Rule = Vec<(f64, f64)>;

impl Multilinear {
    pub(crate) fn new(terms: &ProductTerms, means: Vec<Means>) -> Self {
        let q = terms.space.q();
        let groups = terms
            .supports
            .iter()
            .map(|group| Group {
                support: group.support.clone(),
                labels: group.labels.clone(),
                coefficients: group.coefficients.iter().map(|c| c.re).collect(),
                rule: group.support.len().div_ceil(2),
            })
            .collect();
        Self {
            q,
            n: terms.space.n(),
            constant: terms.constant,
            factors: terms.basis.factors(q).into(),
            means,
            groups,
        }
    }

    /// The same terms under a background of these equally likely sequences.
    pub(crate) fn with_references(&self, references: &[u8]) -> Self {
        let means = |row: &[u8]| Means::Reference { q: self.q, row: row.to_vec() };
        Self { means: references.chunks_exact(self.n).map(means).collect(), ..self.clone() }
    }

    /// Number of components of all terms, counted separately for each term.
    pub(crate) fn parts(&self) -> f64 {
        let parts =
            |group: &Group| group.coefficients.len() as f64 * 2.0_f64.powi(group.support.len() as i32);
        self.groups.iter().map(parts).sum()
    }

    /// The mean over the background.
    pub(crate) fn base_value(&self, cancel: &Cancel) -> Result<f64> {
        let mut sum = 0.0;
        for means in &self.means {
            for Group { support, labels, coefficients, .. } in self.groups.iter() {
                cancel.check()?;
                for (labels, coefficient) in labels.chunks_exact(support.len()).zip(coefficients) {
                    let labels = labels.iter().zip(support);
                    sum += coefficient
                        * labels.map(|(&l, &i)| means.of(&self.factors, i, l).re).product::<f64>();
                }
            }
        }
        Ok(self.constant + sum / self.means.len() as f64)
    }

    fn factor(&self, label: u16, symbol: u8) -> f64 {
        self.factors[label as usize * self.q + symbol as usize].re
    }

    pub(crate) fn scores(&self, codes: &[u8], out: &mut [f64], cancel: &Cancel) -> Result<()> {
        out.fill(self.constant);
        for Group { support, labels, coefficients, .. } in self.groups.iter() {
            for (row, out) in codes.chunks_exact(self.n).zip(&mut *out) {
                cancel.check()?;
                for (labels, coefficient) in labels.chunks_exact(support.len()).zip(coefficients) {
                    let factors = labels.iter().zip(support).map(|(&l, &i)| self.factor(l, row[i as usize]));
                    *out += coefficient * factors.product::<f64>();
                }
            }
        }
        Ok(())
    }

    pub(crate) fn shapley_values(&self, codes: &[u8], out: &mut [f64], cancel: &Cancel) -> Result<()> {
        let longest = self.groups.iter().map(|group| group.rule).max().unwrap_or(0);
        let rules: Vec<Rule> = (0..=longest).map(gauss_legendre).collect();
        let weight_of_part = 1.0 / self.means.len() as f64;
        for Group { support, labels, coefficients, rule } in self.groups.iter() {
            let order = support.len();
            let mut values = vec![(0.0, 0.0); order];
            let mut before = vec![1.0; order];
            for (row, out) in codes.chunks_exact(self.n).zip(out.chunks_exact_mut(self.n)) {
                cancel.check()?;
                for ((labels, coefficient), means) in labels
                    .chunks_exact(order)
                    .zip(coefficients)
                    .flat_map(|term| self.means.iter().map(move |means| (term, means)))
                {
                    for ((value, &label), &i) in values.iter_mut().zip(labels).zip(support) {
                        *value = (self.factor(label, row[i as usize]), means.of(&self.factors, i, label).re);
                    }
                    for &(t, weight) in &rules[*rule] {
                        // The product of all factors except one is the product before it times the product after it.
                        let mut product = weight * coefficient * weight_of_part;
                        for (before, (z, u)) in before.iter_mut().zip(&values) {
                            *before = product;
                            product *= t * z + (1.0 - t) * u;
                        }
                        let mut after = 1.0;
                        for ((&(z, u), &i), before) in values.iter().zip(support).zip(&before).rev() {
                            out[i as usize] += before * after * (z - u);
                            after *= t * z + (1.0 - t) * u;
                        }
                    }
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
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::anova::{Background, Components};
    use crate::cancel::Cancel;
    use crate::space::SequenceSpace;
    use crate::surrogate::{Basis, RunTerms, SupportTerms};

    /// Probabilities of the symbols of one position, one of them 0.
    fn chances(q: usize) -> Vec<f64> {
        (0..q).map(|symbol| 2.0 * symbol as f64 / (q * (q - 1)) as f64).collect()
    }

    proptest! {
        #[test]
        fn terms_and_their_components_have_the_same_shapley_values(
            q in 2usize..=20, n in 1usize..=9, terms in 0usize..20, letters: bool, seed: u64,
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut draw = |most: u64| rng.random_range(0..most);
            let all = u64::MAX >> (64 - q);
            let basis = match letters {
                true => Basis::Letters,
                false => Basis::Sets((0..7).map(|_| 1 + draw(all)).collect::<Vec<_>>().into()),
            };
            let supports = (0..terms)
                .map(|_| {
                    let support: Vec<u16> = (0..n as u16).filter(|_| draw(3) > 0).collect();
                    let labels = support.iter().map(|_| draw(basis.labels(q) as u64) as u16).collect();
                    SupportTerms { support, labels, coefficients: vec![(draw(1000) as f64 - 500.0).into()] }
                })
                .filter(|group| !group.support.is_empty())
                .collect();
            let space = SequenceSpace::of_size(q, n).unwrap();
            let row: Vec<u8> = (0..n).map(|_| draw(q as u64) as u8).collect();
            let background = match draw(3) {
                0 => Background::uniform(&space),
                1 => Background::product(&space, chances(q).repeat(n)).unwrap(),
                _ => Background::references(&space, &(0..3 * n).map(|_| draw(q as u64) as u8).collect::<Vec<_>>()).unwrap(),
            };
            let terms = ProductTerms { space, basis, constant: 2.0, supports, runs: RunTerms::default() };
            let means = background.means(&terms.basis, &terms.basis.factors(q));
            let multilinear = Multilinear::new(&terms, means);
            let components = Components::with_background(&terms, &background, &Cancel::new()).unwrap();
            let (mut score, mut values) = (vec![0.0], vec![0.0; n]);
            multilinear.scores(&row, &mut score, &Cancel::new()).unwrap();
            multilinear.shapley_values(&row, &mut values, &Cancel::new()).unwrap();
            let cancel = Cancel::new();
            prop_assert!((multilinear.base_value(&Cancel::new()).unwrap() - components.base_value()).abs() < 1e-9);
            prop_assert!((score[0] - components.predict(&row, &cancel).unwrap()[0]).abs() < 1e-9);
            for (a, b) in values.iter().zip(components.shapley_values(&row, &cancel).unwrap()) {
                prop_assert!((a - b).abs() < 1e-9, "{a} {b}");
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
