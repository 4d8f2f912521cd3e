//! The part of an ensemble that carries its variance.
//!
//! With `1[P] = μ + (1[P] - μ)` a split is `f = [μ f_yes + (1-μ) f_no] + (1[P] - μ)·(f_yes - f_no)`. So a tree is
//! a sum, over sets of splits on one way down, of products of centred indicators; taking for `μ` the chance
//! of `P` given the way there makes products of few splits carry nearly all, and each one's own variance
//! tells whether it counts. Those that do are multiplied out, added up over all trees, and taken apart into
//! components, which are orthogonal: what is left out of them costs just its variance.

use rayon::prelude::*;

use super::{Ensemble, Node};
use crate::anova::Components;
use crate::cancel::Cancel;
use crate::design::uniform;
use crate::error::{Error, Result};
use crate::space::SequenceSpace;
use crate::surrogate::{CentredSum, Keep, ProductTerms};
use crate::validation::RSquared;

/// Splits in one product, at most.
const SPLITS: usize = 6;
/// Positions of one product, at most.
const PLACES: usize = 6;
/// Variances, relative to the ensemble's, from which on a product counts: of up to two splits, and of more, which have
/// components of their own where pairs of motifs share theirs. The first that give no more components than can be
/// handled.
const LEAST: [(f64, f64); 7] = [
    (1e-9, 1e-7),
    (1e-9, 1e-5),
    (1e-9, 1e-3),
    (1e-9, f64::INFINITY),
    (1e-7, f64::INFINITY),
    (1e-5, f64::INFINITY),
    (1e-3, f64::INFINITY),
];
/// Spaces of up to this many sequences are tabulated.
const TABULATED: u128 = 1 << 18;
const TABULATED_LENGTH: usize = 15;
/// Sequences that measure what is kept.
const SAMPLE: usize = 4000;
const SAMPLE_SEED: u64 = 0x7265_6573;
/// Words that the sets of letters of one product may make.
const WORDS: usize = 1 << 12;
/// The same of all products together.
const ALL_WORDS: usize = 1 << 20;
/// Trees taken apart together: sums are then the same for any number of threads.
const TREES: usize = 8;
/// Products gathered before equal ones are added up.
const GATHERED: usize = 1 << 24;

/// Conditions whose product is meant, ascending; the last ones may be [`NONE`].
type Key = [u32; SPLITS];
const NONE: u32 = u32::MAX;

/// A truncated ensemble.
#[derive(Clone, Debug)]
pub struct Truncated {
    /// What is kept, in centred letters.
    pub terms: ProductTerms,
    /// Part of the ensemble's variance that this has, measured on uniform sequences; 1 is all.
    pub share: f64,
}

/// Variance above which a product counts: of up to two splits, and of more.
#[derive(Clone, Copy)]
struct Least {
    short: f64,
    long: f64,
}

/// A split on the way down.
#[derive(Clone, Copy)]
struct Step {
    condition: u32,
    mean: f64,
    /// Whether the way goes on where the condition holds.
    yes: bool,
}

impl Step {
    fn chance(&self) -> f64 {
        if self.yes { self.mean } else { 1.0 - self.mean }
    }

    /// Factor of a product's coefficient if this split joins it.
    fn joining(&self) -> f64 {
        if self.yes { 1.0 / self.mean } else { -1.0 / (1.0 - self.mean) }
    }

    /// Factor of a product's variance if this split joins it.
    fn variance(&self) -> f64 {
        self.mean * (1.0 - self.mean) * self.joining().powi(2)
    }
}

/// One tree with the chances of its splits.
struct Chances<'a> {
    ensemble: &'a Ensemble,
    tree: &'a [Node],
    /// Chance that a split's condition holds, given the way to it.
    means: Vec<f64>,
    /// Mean value from a node on.
    values: Vec<f64>,
}

impl<'a> Chances<'a> {
    fn new(ensemble: &'a Ensemble, tree: &'a [Node]) -> Self {
        let mut chances =
            Self { ensemble, tree, means: vec![0.0; tree.len()], values: vec![0.0; tree.len()] };
        let mut allowed = vec![ensemble.all(); ensemble.space.n()];
        chances.descend(0, &mut allowed, &mut Vec::new());
        chances
    }

    /// Chance of a condition where positions have only these letters.
    fn chance(&self, condition: u32, allowed: &[u64]) -> f64 {
        let places = &self.ensemble.conditions[condition as usize];
        let share = |&(i, set): &(u16, u64)| {
            let allowed = allowed[i as usize];
            f64::from((allowed & set).count_ones()) / f64::from(allowed.count_ones())
        };
        places.iter().map(share).product()
    }

    /// Chance of a condition given the letters allowed and motifs known to be absent: to first order in
    /// those that share a position with it.
    fn given(&self, condition: u32, allowed: &mut [u64], absent: &[u32]) -> f64 {
        let conditions = &self.ensemble.conditions;
        let places = &conditions[condition as usize];
        let alone = self.chance(condition, allowed);
        if alone == 0.0 || alone == 1.0 {
            return alone;
        }
        let (mut with, mut all) = (alone, 1.0);
        for &other in absent {
            let shares = conditions[other as usize].iter().any(|(i, _)| places.iter().any(|(j, _)| i == j));
            if shares {
                let before: Vec<u64> = places.iter().map(|&(i, _)| allowed[i as usize]).collect();
                let chance = self.chance(other, allowed);
                places.iter().for_each(|&(i, set)| allowed[i as usize] &= set);
                with -= alone * self.chance(other, allowed);
                places.iter().zip(before).for_each(|(&(i, _), before)| allowed[i as usize] = before);
                all -= chance;
            }
        }
        if with <= 1e-12 * alone { 0.0 } else { (with / all.max(with)).min(1.0) }
    }

    fn descend(&mut self, at: usize, allowed: &mut [u64], absent: &mut Vec<u32>) {
        let Node::Split { condition, yes, no } = self.tree[at] else {
            if let Node::Leaf(value) = self.tree[at] {
                self.values[at] = value;
            }
            return;
        };
        let mean = self.given(condition, allowed, absent);
        self.means[at] = mean;
        let places = self.ensemble.conditions[condition as usize].clone();
        if mean > 0.0 {
            let before: Vec<u64> = places.iter().map(|&(i, _)| allowed[i as usize]).collect();
            places.iter().for_each(|&(i, set)| allowed[i as usize] &= set);
            self.descend(yes as usize, allowed, absent);
            places.iter().zip(before).for_each(|(&(i, _), before)| allowed[i as usize] = before);
        }
        if mean < 1.0 {
            if let [(i, set)] = places[..] {
                let before = allowed[i as usize];
                allowed[i as usize] = before & !set;
                self.descend(no as usize, allowed, absent);
                allowed[i as usize] = before;
            } else {
                absent.push(condition);
                self.descend(no as usize, allowed, absent);
                absent.pop();
            }
        }
        self.values[at] = mix(mean, self.values[yes as usize], self.values[no as usize]);
    }

    /// Hands every product of variance above `least` to `emit`: its conditions with their means, and its
    /// coefficient.
    fn products(&self, least: Least, emit: &mut impl FnMut(&[(u32, f64)], f64)) {
        self.products_from(0, 1.0, &mut Vec::new(), least, emit);
    }

    fn products_from(
        &self,
        at: usize,
        reach: f64,
        way: &mut Vec<Step>,
        least: Least,
        emit: &mut impl FnMut(&[(u32, f64)], f64),
    ) {
        let Node::Split { condition, yes, no } = self.tree[at] else { return };
        let mean = self.means[at];
        if mean > 0.0 && mean < 1.0 {
            let coefficient = reach * (self.values[yes as usize] - self.values[no as usize]);
            let variance = coefficient.powi(2) * mean * (1.0 - mean);
            let mut others = way.clone();
            others.sort_by(|a, b| b.variance().total_cmp(&a.variance()));
            join(&others, &mut vec![(condition, mean)], coefficient, variance, least, emit);
        }
        for (next, holds) in [(yes, true), (no, false)] {
            let step = Step { condition, mean, yes: holds };
            let chance = step.chance();
            if chance == 1.0 {
                self.products_from(next as usize, reach, way, least, emit);
            } else if chance > 0.0 {
                way.push(step);
                self.products_from(next as usize, reach * chance, way, least, emit);
                way.pop();
            }
        }
    }
}

/// Products of those chosen with some of the others, which come in falling order of what they do to the
/// variance.
fn join(
    others: &[Step],
    chosen: &mut Vec<(u32, f64)>,
    coefficient: f64,
    variance: f64,
    least: Least,
    emit: &mut impl FnMut(&[(u32, f64)], f64),
) {
    let needed = if chosen.len() > 2 { least.long } else { least.short };
    if variance > needed {
        emit(chosen, coefficient);
    }
    let room = SPLITS - chosen.len();
    for (at, step) in others.iter().enumerate() {
        // The most that this one and those after it can make of it.
        let more = others[at + 1..].iter().take(room.saturating_sub(1));
        let most: f64 = step.variance() * more.map(|step| step.variance().max(1.0)).product::<f64>();
        let needed = if chosen.len() < 2 { least.short } else { least.long };
        if room == 0 || variance * most <= needed {
            break;
        }
        chosen.push((step.condition, step.mean));
        join(
            &others[at + 1..],
            chosen,
            coefficient * step.joining(),
            variance * step.variance(),
            least,
            emit,
        );
        chosen.pop();
    }
}

fn mix(mean: f64, yes: f64, no: f64) -> f64 {
    // A branch that is never taken has no value.
    if mean == 0.0 {
        no
    } else if mean == 1.0 {
        yes
    } else {
        mean * yes + (1.0 - mean) * no
    }
}

/// All sequences, the first position most significant.
fn every(space: &SequenceSpace) -> Vec<u8> {
    let (q, n) = (space.q(), space.n());
    let digit = |number: usize, i: usize| (number / q.pow((n - 1 - i) as u32) % q) as u8;
    (0..q.pow(n as u32)).flat_map(|number| (0..n).map(move |i| digit(number, i))).collect()
}

/// Adds up equal products.
fn merge(products: &mut Vec<(Key, f64)>) {
    products.sort_by_key(|product| product.0);
    products.dedup_by(|next, first| {
        let same = next.0 == first.0;
        if same {
            first.1 += next.1;
        }
        same
    });
}

impl Ensemble {
    /// Products of splits whose variance is above `least`, multiplied out and added up.
    fn products(&self, least: Least, cancel: &Cancel) -> Result<(f64, Vec<(Key, f64)>)> {
        let parts: Vec<(f64, Vec<(Key, f64)>)> = self
            .trees
            .par_chunks(TREES)
            .map(|trees| {
                let (mut constant, mut products) = (0.0, Vec::new());
                for tree in trees {
                    cancel.check()?;
                    let chances = Chances::new(self, tree);
                    constant += chances.values[0];
                    chances.products(least, &mut |chosen, coefficient| {
                        if !self.manageable(chosen) {
                            return;
                        }
                        for subset in 0..1_usize << chosen.len() {
                            let mut key = [NONE; SPLITS];
                            let (mut count, mut factor) = (0, coefficient);
                            for (i, &(condition, mean)) in chosen.iter().enumerate() {
                                if subset >> i & 1 == 1 {
                                    key[count] = condition;
                                    count += 1;
                                } else {
                                    factor *= -mean;
                                }
                            }
                            if count == 0 {
                                constant += factor;
                            } else {
                                key.sort_unstable();
                                products.push((key, factor));
                            }
                        }
                    });
                }
                merge(&mut products);
                Ok((constant, products))
            })
            .collect::<Result<_>>()?;
        let mut all = Vec::new();
        let mut constant = self.constant;
        for (part, products) in parts {
            constant += part;
            all.extend(products);
            if all.len() > GATHERED {
                merge(&mut all);
            }
            if all.len() > GATHERED {
                return Err(Error::TooLarge {
                    what: "the products of these trees",
                    bytes: (all.len() * size_of::<(Key, f64)>()) as u128,
                    advice: "keep less of their variance",
                });
            }
        }
        merge(&mut all);
        Ok((constant, all))
    }

    /// The components that carry the ensemble's variance, and how much of it they have.
    ///
    /// # Errors
    /// If even the strongest products have too many components, or the caller cancels.
    pub fn truncated(&self, keep: Keep, cancel: &Cancel) -> Result<Truncated> {
        let count = self.space.size().map_or(SAMPLE, |size| size.min(SAMPLE as u128) as usize);
        let sample = uniform(&self.space, count, SAMPLE_SEED, cancel)?;
        let values = self.predict(&sample, cancel)?;
        let small = self.space.size().is_some_and(|size| size <= TABULATED);
        // Every subset of positions has a component.
        let mut anova = if small && self.space.n() <= TABULATED_LENGTH {
            let mut anova = CentredSum::of_table(&self.space, self.predict(&every(&self.space), cancel)?)?;
            anova.centre(cancel)?;
            anova
        } else {
            let count = values.len() as f64;
            let mean = values.iter().sum::<f64>() / count;
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
            self.strongest(variance, cancel)?
        };
        anova.keep(keep);
        let terms = anova.into_terms();
        let predictions = Components::new(&terms)?.predict(&sample, cancel)?;
        let share = RSquared::new(&values, &predictions)?.value;
        Ok(Truncated { terms, share })
    }

    fn strongest(&self, variance: f64, cancel: &Cancel) -> Result<CentredSum> {
        let mut outcome = Err(Error::Interrupted);
        for (short, long) in LEAST {
            let least = Least { short: short * variance, long: long * variance };
            outcome = self.multiplied_out(least, cancel);
            if !matches!(outcome, Err(Error::TooLarge { .. })) {
                break;
            }
        }
        outcome
    }

    fn multiplied_out(&self, least: Least, cancel: &Cancel) -> Result<CentredSum> {
        let (constant, products) = self.products(least, cancel)?;
        let mut anova = CentredSum::new(self.space.clone());
        anova.add(&[], constant)?;
        let mut words = 0;
        for (index, (key, coefficient)) in products.into_iter().enumerate() {
            if index % 1024 == 0 {
                cancel.check()?;
            }
            if let Some(places) = self.intersection(&key) {
                words += places.iter().map(|&(_, set)| self.words(set)).product::<usize>();
                if words > ALL_WORDS {
                    return Err(Error::TooLarge {
                        what: "the words of these products",
                        bytes: words as u128 * 8,
                        advice: "keep less of the variance",
                    });
                }
                anova.add(&places, coefficient)?;
            }
        }
        anova.centre(cancel)?;
        Ok(anova)
    }

    /// Letters, or letters outside and one for all, that a set is written in.
    fn words(&self, set: u64) -> usize {
        let letters = set.count_ones() as usize;
        letters.min(self.space.q() - letters + 1)
    }

    /// Whether the conditions have few enough positions, and sets of letters that make few enough words.
    fn manageable(&self, chosen: &[(u32, f64)]) -> bool {
        let conditions = chosen.iter().map(|&(condition, _)| &self.conditions[condition as usize]);
        let mut places: Vec<(u16, usize)> =
            conditions.flatten().map(|&(position, set)| (position, self.words(set))).collect();
        places.sort_unstable();
        places.dedup_by_key(|place| place.0);
        places.len() <= PLACES && places.iter().map(|place| place.1).product::<usize>() <= WORDS
    }

    /// The letters that all of these conditions allow; `None` if there are none at some position.
    fn intersection(&self, key: &Key) -> Option<Vec<(u16, u64)>> {
        let mut places: Vec<(u16, u64)> = Vec::new();
        for &condition in key.iter().take_while(|&&condition| condition != NONE) {
            for &(position, set) in &self.conditions[condition as usize] {
                match places.binary_search_by_key(&position, |place| place.0) {
                    Ok(at) => {
                        places[at].1 &= set;
                        if places[at].1 == 0 {
                            return None;
                        }
                    }
                    Err(at) => places.insert(at, (position, set)),
                }
            }
        }
        Some(places)
    }
}
