//! Product terms as flat arrays, for evaluation without a list of their components.

use std::collections::HashMap;

use super::multilinear::{Rule, gauss_legendre};
use crate::surrogate::{Basis, ProductTerms};

/// Product terms whose factors have two values: one for the symbols of a set, one for the others.
#[derive(Clone, Debug)]
pub(super) struct FlatTerms {
    pub(super) q: usize,
    pub(super) n: usize,
    pub(super) coefficients: Vec<f64>,
    /// Start of each term in `factors`, and their end.
    starts: Vec<usize>,
    /// Factors of all terms, as indices of `distinct`.
    factors: Vec<u32>,
    /// Distinct factors, in the order in which the terms use them.
    pub(super) distinct: Vec<Factor>,
    /// Value of a factor outside its set. Inside it is larger by 1.
    pub(super) outside: f64,
    /// The quadrature rule for terms of each order; empty if there is no such term.
    rules: Vec<Rule>,
}

/// A factor of product terms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Factor {
    pub(super) position: u16,
    pub(super) label: u16,
    /// Symbols, as bits.
    pub(super) set: u64,
}

impl Factor {
    /// Whether the sequence has a symbol of the set at the position: 1, else 0.
    #[inline]
    pub(super) fn bit(self, row: &[u8]) -> u64 {
        self.set >> row[self.position as usize] & 1
    }
}

impl FlatTerms {
    /// The terms over a basis of indicators, centred or not.
    pub(super) fn new(terms: &ProductTerms) -> Self {
        let (q, n) = (terms.space.q(), terms.space.n());
        let mut numbers: HashMap<(u16, u16), u32> = HashMap::new();
        let (mut distinct, mut factors, mut coefficients) = (Vec::new(), Vec::new(), Vec::new());
        let mut starts = vec![0];
        let mut rules: Vec<Rule> = Vec::new();
        for (support, labels, coefficient) in terms.iter() {
            for (&position, &label) in support.iter().zip(labels) {
                factors.push(*numbers.entry((position, label)).or_insert_with(|| {
                    distinct.push(Factor { position, label, set: terms.basis.set(label) });
                    distinct.len() as u32 - 1
                }));
            }
            starts.push(factors.len());
            coefficients.push(coefficient.re);
            let order = support.len();
            rules.resize(rules.len().max(order + 1), Rule::new());
            if rules[order].is_empty() {
                // The integrand has degree `order - 1`.
                rules[order] = gauss_legendre(order.div_ceil(2));
            }
        }
        let outside = if terms.basis == Basis::Centred { -1.0 / q as f64 } else { 0.0 };
        Self { q, n, coefficients, starts, factors, distinct, outside, rules }
    }

    /// Number of terms.
    pub(super) fn len(&self) -> usize {
        self.coefficients.len()
    }

    /// The factors of a term, as indices of `distinct`.
    #[inline]
    pub(super) fn indices(&self, term: usize) -> &[u32] {
        &self.factors[self.starts[term]..self.starts[term + 1]]
    }

    /// The factors of a term.
    #[inline]
    pub(super) fn factors(&self, term: usize) -> impl Iterator<Item = Factor> {
        self.indices(term).iter().map(|&factor| self.distinct[factor as usize])
    }

    /// The rule that integrates polynomials of one degree less than the order exactly.
    pub(super) fn rule(&self, order: usize) -> &Rule {
        &self.rules[order]
    }
}
