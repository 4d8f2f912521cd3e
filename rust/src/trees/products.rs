//! One tree as a sum of products of centred conditions.
//!
//! With `1[P] = μ + (1[P] - μ)` a split is `f = [μ f_yes + (1-μ) f_no] + (1[P] - μ)·(f_yes - f_no)`. Applied
//! to all splits, this makes a tree a sum of products of centred conditions `1[P] - μ`, one product for each
//! set of splits on a path from the root. If `μ` is the probability of `P` given the path to the split, the
//! products of few splits carry nearly all of the variance.

use super::{Ensemble, Node, with_condition, with_symbols};

/// Largest number of splits in one product.
pub(super) const MAX_SPLITS: usize = 6;
/// A conditional probability is 0 if it is at most this fraction of the unconditional one: it is then a
/// rounding error.
const ROUNDING: f64 = 1e-12;

/// A factor of a product: a condition, and the mean `μ` that is subtracted from its indicator.
pub(super) type Centred = (u32, f64);

/// The smallest variance that a product must have to be kept.
#[derive(Clone, Copy)]
pub(super) struct MinVariance {
    /// For products of one or two splits.
    pub(super) short: f64,
    /// For products of more splits.
    pub(super) long: f64,
}

impl MinVariance {
    fn of(&self, splits: usize) -> f64 {
        if splits > 2 { self.long } else { self.short }
    }
}

/// A split on the path from the root, and the branch that the path takes.
#[derive(Clone, Copy)]
struct Ancestor {
    condition: u32,
    /// Probability `μ` of the condition, given the path to the split.
    mean: f64,
    /// Whether the path takes the branch for sequences that satisfy the condition.
    holds: bool,
}

impl Ancestor {
    /// Probability of the branch.
    fn probability(&self) -> f64 {
        if self.holds { self.mean } else { 1.0 - self.mean }
    }

    /// The factor by which the coefficient of a product changes if this split becomes a factor of it.
    fn coefficient_ratio(&self) -> f64 {
        if self.holds { 1.0 / self.mean } else { -1.0 / (1.0 - self.mean) }
    }

    /// The factor by which the variance of a product changes if this split becomes a factor of it.
    fn variance_ratio(&self) -> f64 {
        self.mean * (1.0 - self.mean) * self.coefficient_ratio().powi(2)
    }
}

/// A tree with the conditional probabilities of its splits and the conditional means of its values, over
/// uniform sequences.
pub(super) struct TreeMeans<'a> {
    ensemble: &'a Ensemble,
    tree: &'a [Node],
    /// For each split: probability of its condition, given the path to it.
    probabilities: Vec<f64>,
    /// For each node: mean value of the tree, given the path to the node.
    values: Vec<f64>,
}

impl<'a> TreeMeans<'a> {
    pub(super) fn new(ensemble: &'a Ensemble, tree: &'a [Node]) -> Self {
        let mut means =
            Self { ensemble, tree, probabilities: vec![0.0; tree.len()], values: vec![0.0; tree.len()] };
        let mut allowed = vec![ensemble.all_symbols(); ensemble.space.n()];
        means.descend(0, &mut allowed, &mut Vec::new());
        means
    }

    /// Mean value of the tree.
    pub(super) fn mean(&self) -> f64 {
        self.values[0]
    }

    /// Probability of a condition if each position has an allowed symbol.
    fn probability(&self, condition: u32, allowed: &[u64]) -> f64 {
        let fraction = |&(i, set): &(u16, u64)| {
            let allowed = allowed[i as usize];
            f64::from((allowed & set).count_ones()) / f64::from(allowed.count_ones())
        };
        self.ensemble.conditions[condition as usize].iter().map(fraction).product()
    }

    /// Probability of a condition if each position has an allowed symbol and none of the `violated`
    /// conditions holds. Only violated conditions on a common position count, to first order.
    fn conditional_probability(&self, condition: u32, allowed: &mut [u64], violated: &[u32]) -> f64 {
        let conditions = &self.ensemble.conditions;
        let sets = &conditions[condition as usize];
        let probability = self.probability(condition, allowed);
        if probability == 0.0 || probability == 1.0 {
            return probability;
        }
        // The probability that the condition holds and no violated condition does, and the probability that no
        // violated condition holds.
        let (mut joint, mut total) = (probability, 1.0);
        for &other in violated {
            let overlaps = conditions[other as usize].iter().any(|(i, _)| sets.iter().any(|(j, _)| i == j));
            if overlaps {
                let unconditional = self.probability(other, allowed);
                let conditional = with_condition(allowed, sets, |allowed| self.probability(other, allowed));
                joint -= probability * conditional;
                total -= unconditional;
            }
        }
        if joint <= ROUNDING * probability { 0.0 } else { (joint / total.max(joint)).min(1.0) }
    }

    fn descend(&mut self, node: usize, allowed: &mut [u64], violated: &mut Vec<u32>) {
        let (condition, yes, no) = match self.tree[node] {
            Node::Leaf(value) => {
                self.values[node] = value;
                return;
            }
            Node::Split { condition, yes, no } => (condition, yes as usize, no as usize),
        };
        let mean = self.conditional_probability(condition, allowed, violated);
        self.probabilities[node] = mean;
        let sets = &self.ensemble.conditions[condition as usize];
        if mean > 0.0 {
            with_condition(allowed, sets, |allowed| self.descend(yes, allowed, violated));
        }
        if mean < 1.0 {
            if let [(i, set)] = sets[..] {
                let others = allowed[i as usize] & !set;
                with_symbols(allowed, i, others, |allowed| self.descend(no, allowed, violated));
            } else {
                violated.push(condition);
                self.descend(no, allowed, violated);
                violated.pop();
            }
        }
        self.values[node] = mixture(mean, self.values[yes], self.values[no]);
    }

    /// Calls `emit(factors, coefficient)` for each product whose variance is above `min_variance`.
    pub(super) fn products(&self, min_variance: MinVariance, emit: &mut impl FnMut(&[Centred], f64)) {
        self.products_below(0, 1.0, &mut Vec::new(), min_variance, emit);
    }

    /// The products whose last split is at or below a node. `reach` is the probability of the path.
    fn products_below(
        &self,
        node: usize,
        reach: f64,
        path: &mut Vec<Ancestor>,
        min_variance: MinVariance,
        emit: &mut impl FnMut(&[Centred], f64),
    ) {
        let Node::Split { condition, yes, no } = self.tree[node] else { return };
        let mean = self.probabilities[node];
        if mean > 0.0 && mean < 1.0 {
            let coefficient = reach * (self.values[yes as usize] - self.values[no as usize]);
            let variance = coefficient.powi(2) * mean * (1.0 - mean);
            let mut ancestors = path.clone();
            ancestors.sort_by(|a, b| b.variance_ratio().total_cmp(&a.variance_ratio()));
            extend(&ancestors, &mut vec![(condition, mean)], coefficient, variance, min_variance, emit);
        }
        for (child, holds) in [(yes, true), (no, false)] {
            let ancestor = Ancestor { condition, mean, holds };
            let probability = ancestor.probability();
            if probability == 1.0 {
                self.products_below(child as usize, reach, path, min_variance, emit);
            } else if probability > 0.0 {
                path.push(ancestor);
                self.products_below(child as usize, reach * probability, path, min_variance, emit);
                path.pop();
            }
        }
    }
}

/// Emits a product with these factors, and all its products with some of the ancestors. The ancestors are
/// sorted by falling [`Ancestor::variance_ratio`].
fn extend(
    ancestors: &[Ancestor],
    factors: &mut Vec<Centred>,
    coefficient: f64,
    variance: f64,
    min_variance: MinVariance,
    emit: &mut impl FnMut(&[Centred], f64),
) {
    if variance > min_variance.of(factors.len()) {
        emit(factors, coefficient);
    }
    let room = MAX_SPLITS - factors.len();
    for (index, ancestor) in ancestors.iter().enumerate() {
        // The largest ratio that this ancestor and those after it can reach together.
        let more = ancestors[index + 1..].iter().take(room.saturating_sub(1));
        let largest: f64 =
            ancestor.variance_ratio() * more.map(|a| a.variance_ratio().max(1.0)).product::<f64>();
        if room == 0 || variance * largest <= min_variance.of(factors.len() + 1) {
            break;
        }
        factors.push((ancestor.condition, ancestor.mean));
        extend(
            &ancestors[index + 1..],
            factors,
            coefficient * ancestor.coefficient_ratio(),
            variance * ancestor.variance_ratio(),
            min_variance,
            emit,
        );
        factors.pop();
    }
}

/// `μ·yes + (1-μ)·no`. A branch with probability 0 has no value.
fn mixture(mean: f64, yes: f64, no: f64) -> f64 {
    if mean == 0.0 {
        no
    } else if mean == 1.0 {
        yes
    } else {
        mean * yes + (1.0 - mean) * no
    }
}
