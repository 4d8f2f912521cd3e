//! The exact form of an ensemble, leaf by leaf: a leaf is a product of sets of symbols.
//!
//! The complement of a set of symbols at one position is again a set, so splits on one position add no
//! products. The complement of a condition on several positions is not a product. The branch for sequences
//! that do not satisfy it is therefore added for all sequences, and subtracted for those that do. If all but
//! one of its positions are already known to satisfy the condition, it is a split on the remaining position.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::{Ensemble, Node, with_condition, with_symbols};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::surrogate::{Basis, ProductTerms, RunTerms, SupportTerms};

/// Trees processed by one task; fixed, so that sums do not depend on the number of threads.
const TREES: usize = 16;
/// Memory of one term, in bytes, for the error about too many terms.
const TERM_BYTES: u128 = 64;

/// Coefficients of products of sets of symbols: `(position, set)` for each factor.
type Products = BTreeMap<Vec<(u16, u64)>, f64>;
/// Labels and coefficients of each support, low orders first.
type Groups = BTreeMap<(usize, Vec<u16>), Vec<(Vec<u16>, f64)>>;

impl Ensemble {
    /// The ensemble as a sum of products of sets: the same function, up to rounding.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if this takes more than `max_terms` terms, or if the caller cancels.
    pub fn exact(&self, max_terms: usize, cancel: &Cancel) -> Result<ProductTerms> {
        let mut products = self.leaf_products(max_terms, cancel)?;
        let constant = self.constant + products.remove(&Vec::new()).unwrap_or(0.0);
        products.retain(|_, value| *value != 0.0);
        let mut sets: Vec<u64> = products.keys().flatten().map(|&(_, set)| set).collect();
        sets.sort_unstable();
        sets.dedup();
        if sets.len() > usize::from(u16::MAX) {
            return Err(Error::TooLarge {
                what: "the sets of symbols of these trees",
                bytes: sets.len() as u128 * 8,
                advice: "fit smaller trees, or use the truncated form (Ensemble::truncated in Rust)",
            });
        }
        let label = |set: u64| sets.binary_search(&set).unwrap_or(0) as u16;
        let mut groups = Groups::new();
        for (factors, value) in products {
            let (support, factor_sets): (Vec<u16>, Vec<u64>) = factors.into_iter().unzip();
            let labels = factor_sets.into_iter().map(label).collect();
            groups.entry((support.len(), support)).or_default().push((labels, value));
        }
        let supports = groups
            .into_iter()
            .map(|((_, support), mut terms)| {
                terms.sort_by(|a, b| a.0.cmp(&b.0));
                SupportTerms {
                    support,
                    labels: terms.iter().flat_map(|(labels, _)| labels.iter().copied()).collect(),
                    coefficients: terms.iter().map(|(_, value)| (*value).into()).collect(),
                }
            })
            .collect();
        let basis = Basis::Sets(sets.into());
        Ok(ProductTerms { space: self.space.clone(), basis, constant, supports, runs: RunTerms::default() })
    }

    /// The products of all leaves of all trees.
    fn leaf_products(&self, max_terms: usize, cancel: &Cancel) -> Result<Products> {
        let chunks: Vec<Products> = self
            .trees
            .par_chunks(TREES)
            .map(|trees| {
                let mut products = Products::new();
                for tree in trees {
                    let mut leaves =
                        Leaves { ensemble: self, tree, products: &mut products, max_terms, cancel };
                    leaves.descend(0, &mut vec![self.all_symbols(); self.space.n()], 1.0)?;
                }
                Ok(products)
            })
            .collect::<Result<_>>()?;
        let mut all = Products::new();
        for products in chunks {
            for (factors, value) in products {
                *all.entry(factors).or_insert(0.0) += value;
            }
            check_count(all.len(), max_terms)?;
        }
        Ok(all)
    }
}

fn check_count(terms: usize, max_terms: usize) -> Result<()> {
    if terms > max_terms {
        return Err(Error::TooLarge {
            what: "the exact form of these trees",
            bytes: terms as u128 * TERM_BYTES,
            advice: "allow more terms, or fit smaller trees",
        });
    }
    Ok(())
}

/// The leaves of one tree, and the products to which they are added.
struct Leaves<'a> {
    ensemble: &'a Ensemble,
    tree: &'a [Node],
    products: &'a mut Products,
    max_terms: usize,
    cancel: &'a Cancel,
}

impl Leaves<'_> {
    /// Adds `sign` times the leaves below a node, for sequences with allowed symbols only.
    fn descend(&mut self, node: usize, allowed: &mut [u64], sign: f64) -> Result<()> {
        let (condition, yes, no) = match self.tree[node] {
            Node::Leaf(value) => return self.add(allowed, sign * value),
            Node::Split { condition, yes, no } => (condition, yes as usize, no as usize),
        };
        let condition = &self.ensemble.conditions[condition as usize];
        let possible = condition.iter().all(|&(i, set)| allowed[i as usize] & set != 0);
        // Positions at which some allowed symbols satisfy the condition and others do not.
        let mut undecided = condition.iter().filter(|&&(i, set)| allowed[i as usize] & !set != 0);
        match (possible, undecided.next(), undecided.next()) {
            (false, ..) => self.descend(no, allowed, sign),
            (true, None, _) => self.descend(yes, allowed, sign),
            (true, Some(&(i, set)), None) => {
                let before = allowed[i as usize];
                with_symbols(allowed, i, before & set, |allowed| self.descend(yes, allowed, sign))?;
                with_symbols(allowed, i, before & !set, |allowed| self.descend(no, allowed, sign))
            }
            _ => {
                self.descend(no, allowed, sign)?;
                with_condition(allowed, condition, |allowed| {
                    self.descend(yes, allowed, sign)?;
                    self.descend(no, allowed, -sign)
                })
            }
        }
    }

    fn add(&mut self, allowed: &[u64], value: f64) -> Result<()> {
        self.cancel.check()?;
        let all = self.ensemble.all_symbols();
        let factors = (0_u16..).zip(allowed.iter().copied()).filter(|&(_, set)| set != all).collect();
        *self.products.entry(factors).or_insert(0.0) += value;
        check_count(self.products.len(), self.max_terms)
    }
}
