//! An ensemble leaf by leaf: a leaf is the product of the sets of letters that lead to it.
//!
//! "Not in the set" is a set as well, so splits on one position cost nothing. The complement of a motif of
//! several positions is no product, so where it is absent the branch is taken whether it is there or not, and
//! taken off again where it is. Of a motif of which all but one position are known already, the rest is a
//! split on that position.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::{Ensemble, Node};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::surrogate::{Basis, ProductTerms, SupportTerms};

/// Trees written by one task: sums are then the same for any number of threads.
const TREES: usize = 16;

type Products = BTreeMap<Vec<(u16, u64)>, f64>;
/// Labels and coefficients by support, low orders first.
type Groups = BTreeMap<(usize, Vec<u16>), Vec<(Vec<u16>, f64)>>;

impl Ensemble {
    /// The ensemble as a sum of products of sets: the same function, to rounding.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if that takes more than `max_terms` terms, or the caller cancels.
    pub fn exact(&self, max_terms: usize, cancel: &Cancel) -> Result<ProductTerms> {
        let parts: Vec<Products> = self
            .trees
            .par_chunks(TREES)
            .map(|trees| {
                let mut products = Products::new();
                for tree in trees {
                    let mut leaves =
                        Leaves { ensemble: self, tree, products: &mut products, max_terms, cancel };
                    leaves.descend(0, &mut vec![self.all(); self.space.n()], 1.0)?;
                }
                Ok(products)
            })
            .collect::<Result<_>>()?;
        let mut all = Products::new();
        for products in parts {
            for (places, value) in products {
                *all.entry(places).or_insert(0.0) += value;
            }
            enough(all.len(), max_terms)?;
        }
        let constant = self.constant + all.remove(&Vec::new()).unwrap_or(0.0);
        all.retain(|_, value| *value != 0.0);
        let mut sets: Vec<u64> = all.keys().flatten().map(|&(_, set)| set).collect();
        sets.sort_unstable();
        sets.dedup();
        if sets.len() > usize::from(u16::MAX) {
            return Err(Error::TooLarge {
                what: "the sets of letters of these trees",
                bytes: sets.len() as u128 * 8,
                advice: "fit smaller trees, or in Rust keep a part of their variance",
            });
        }
        let label = |set: u64| sets.binary_search(&set).unwrap_or(0) as u16;
        let mut groups = Groups::new();
        for (places, value) in all {
            let (support, chosen): (Vec<u16>, Vec<u64>) = places.into_iter().unzip();
            let labels = chosen.into_iter().map(label).collect();
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
        Ok(ProductTerms { space: self.space.clone(), basis, constant, supports })
    }
}

fn enough(terms: usize, max_terms: usize) -> Result<()> {
    if terms > max_terms {
        return Err(Error::TooLarge {
            what: "the exact form of these trees",
            bytes: terms as u128 * 64,
            advice: "allow more terms, or fit smaller trees",
        });
    }
    Ok(())
}

struct Leaves<'a> {
    ensemble: &'a Ensemble,
    tree: &'a [Node],
    products: &'a mut Products,
    max_terms: usize,
    cancel: &'a Cancel,
}

impl Leaves<'_> {
    /// Adds the leaves below a node, where positions have only these letters.
    fn descend(&mut self, at: usize, allowed: &mut [u64], sign: f64) -> Result<()> {
        let (condition, yes, no) = match self.tree[at] {
            Node::Leaf(value) => return self.add(allowed, sign * value),
            Node::Split { condition, yes, no } => (condition, yes as usize, no as usize),
        };
        let places = &self.ensemble.conditions[condition as usize];
        let mut open = places.iter().filter(|&&(i, set)| allowed[i as usize] & !set != 0);
        let possible = places.iter().all(|&(i, set)| allowed[i as usize] & set != 0);
        match (possible, open.next(), open.next()) {
            (false, ..) => self.descend(no, allowed, sign),
            (true, None, _) => self.descend(yes, allowed, sign),
            (true, Some(&(i, set)), None) => {
                let before = allowed[i as usize];
                for (next, letters) in [(yes, before & set), (no, before & !set)] {
                    allowed[i as usize] = letters;
                    self.descend(next, allowed, sign)?;
                }
                allowed[i as usize] = before;
                Ok(())
            }
            _ => {
                self.descend(no, allowed, sign)?;
                let before: Vec<u64> = places.iter().map(|&(i, _)| allowed[i as usize]).collect();
                places.iter().for_each(|&(i, set)| allowed[i as usize] &= set);
                self.descend(yes, allowed, sign)?;
                self.descend(no, allowed, -sign)?;
                places.iter().zip(before).for_each(|(&(i, _), before)| allowed[i as usize] = before);
                Ok(())
            }
        }
    }

    fn add(&mut self, allowed: &[u64], value: f64) -> Result<()> {
        self.cancel.check()?;
        let all = self.ensemble.all();
        let places = (0_u16..).zip(allowed.iter().copied()).filter(|&(_, set)| set != all).collect();
        *self.products.entry(places).or_insert(0.0) += value;
        enough(self.products.len(), self.max_terms)
    }
}
