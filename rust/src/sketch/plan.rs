//! Plans: how a budget of model evaluations is spent.

use std::sync::Arc;

use super::provenance::Method;
use super::queries::Queries;
use crate::cancel::Cancel;
use crate::design::{
    DelayFamily, DesignConfig, MAX_QUERIES, QueryDesign, SubsamplingFamily, held_out, uniform,
};
use crate::error::{Error, Result};
use crate::regress::{Dictionary, FEWEST};
use crate::space::SequenceSpace;

/// Fewest groups that peeling works with: two agree by chance, a third decides.
const MIN_GROUPS: usize = 3;
/// Repeats beyond which further queries go to more groups.
const GOOD_REPEATS: usize = 3;
/// Fewest bins of a group worth decoding.
const MIN_BINS: usize = 16;
/// Test queries: a tenth of the budget within these bounds.
const TEST: (usize, usize) = (100, 2000);
/// Validation queries: a twentieth of the budget within these bounds.
const VALIDATION: (usize, usize) = (50, 1000);
/// Fewest queries of a regression, unless they are all there are.
const LEAST_REGRESSED: usize = 100;
/// Most queries of a regression: beyond, its own time is what counts.
const MOST_REGRESSED: u128 = 1 << 18;
/// What a budget will be spent on.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) space: SequenceSpace,
    /// How the sketch will be made.
    pub method: Method,
    /// The budget.
    pub budget: usize,
    /// The query design; `None` for uniform queries.
    pub design: Option<DesignConfig>,
    /// The seed of all random choices.
    pub seed: u64,
    /// Queries to learn from; of a design the most it can take, as repeated ones are asked once.
    pub design_queries: usize,
    /// Queries that choose between noise levels; regression chooses by cross-validation instead.
    pub validation_queries: usize,
    /// Queries that report R², used for nothing else; regression reports it by cross-validation.
    pub test_queries: usize,
    /// The least budget that would allow blocks `q` times as large; `None` where there are none.
    pub next_budget: Option<u128>,
    /// Atoms that a regression chooses from, and the bytes it will take.
    pub candidates: Option<(u128, u128)>,
}

impl Plan {
    /// Plans a sketch with at most `budget` distinct model evaluations. Without a method, the exact
    /// transform is taken if every sequence fits the budget and a design, else regression.
    ///
    /// # Errors
    /// [`Error::BudgetTooSmall`] if the method needs more to mean anything; [`Error::Design`] if it does
    /// not suit a space of this size.
    pub fn new(space: SequenceSpace, budget: usize, method: Option<Method>, seed: u64) -> Result<Self> {
        let size = space.size();
        let fits = size.is_some_and(|size| size <= MAX_QUERIES.min(budget as u128));
        match method.unwrap_or(if fits { Method::Exact } else { Method::Regress }) {
            Method::Regress => Self::regress(space, budget, seed),
            method @ (Method::Trees | Method::Distill | Method::Average | Method::Converted) => {
                Err(Error::Design(format!(
                    "{} is fitted outside of this crate, to the queries of a regression",
                    method.name()
                )))
            }
            Method::Exact if fits => Ok(Self::exact(space, budget, seed)),
            Method::Exact => {
                let reason =
                    format!("the exact transform evaluates all {}^{} sequences", space.q(), space.n());
                Err(match size.filter(|&size| size <= MAX_QUERIES) {
                    Some(size) => Error::BudgetTooSmall { budget, needed: size as usize, reason },
                    None => Error::Design(format!(
                        "{reason}, more than the 2^28 a design may have; take another method"
                    )),
                })
            }
            Method::Peel => Self::peel(space, budget, seed).map_err(|error| match (error, size) {
                (Error::BudgetTooSmall { reason, .. }, Some(size)) if fits => Error::Design(format!(
                    "{reason}: more than the {size} sequences of this space; take the exact method"
                )),
                // A small space may be evaluated whole for less.
                (Error::BudgetTooSmall { needed, reason, .. }, Some(size)) if size < needed as u128 => {
                    let reason = format!("{reason}; the exact method evaluates all {size} sequences");
                    Error::BudgetTooSmall { budget, needed: size as usize, reason }
                }
                (error, _) => error,
            }),
        }
    }

    fn regress(space: SequenceSpace, budget: usize, seed: u64) -> Result<Self> {
        let all = space.size().unwrap_or(u128::MAX);
        if budget < LEAST_REGRESSED && (budget as u128) < all {
            return Err(Error::BudgetTooSmall {
                budget,
                needed: LEAST_REGRESSED.min(usize::try_from(all).unwrap_or(usize::MAX)),
                reason: match all < LEAST_REGRESSED as u128 {
                    true => format!("the exact method evaluates all {all} sequences"),
                    false => "cross-validation needs something to learn from and to be tested on".into(),
                },
            });
        }
        if all < FEWEST as u128 {
            return Err(Error::Design(format!(
                "regression takes {FEWEST} sequences at least, the space has {all}; take the exact method"
            )));
        }
        let queries = (budget as u128).min(all).min(MOST_REGRESSED) as usize;
        let dictionary = Dictionary::auto(&space, queries);
        let candidates = dictionary.n_atoms(space.q(), space.n());
        Ok(Self {
            method: Method::Regress,
            budget,
            design: None,
            seed,
            design_queries: queries,
            validation_queries: 0,
            test_queries: 0,
            next_budget: None,
            candidates: Some((candidates, dictionary.memory(&space, queries))),
            space,
        })
    }

    fn exact(space: SequenceSpace, budget: usize, seed: u64) -> Self {
        let design_queries = space.q().pow(space.n() as u32);
        let design = DesignConfig {
            b: space.n(),
            groups: 1,
            subsampling: SubsamplingFamily::Simple,
            delays: DelayFamily::Zero,
            seed: 0,
        };
        Self {
            space,
            method: Method::Exact,
            budget,
            design: Some(design),
            seed,
            candidates: None,
            design_queries,
            validation_queries: 0,
            test_queries: 0,
            next_budget: None,
        }
    }

    fn peel(space: SequenceSpace, budget: usize, seed: u64) -> Result<Self> {
        let (q, n) = (space.q(), space.n());
        let cost = |b: usize| (q as u128).checked_pow(b as u32).map(|block| block * (n as u128 + 1));
        let test_queries = (budget / 10).clamp(TEST.0, TEST.1);
        let validation_queries = (budget / 20).clamp(VALIDATION.0, VALIDATION.1);
        // More queries than sequences, or than a design can hold, are of no use.
        let usable = (budget as u128).min(space.size().unwrap_or(u128::MAX)).min(MAX_QUERIES);
        let available = usable.saturating_sub((test_queries + validation_queries) as u128);
        let least_b = (1..=n).find(|&b| q.pow(b as u32) >= MIN_BINS).unwrap_or(n);
        let affordable = |b: usize| cost(b).filter(|cost| cost * MIN_GROUPS as u128 <= available);
        let Some((b, unit)) = (least_b..=n).map_while(|b| Some((b, affordable(b)?))).last() else {
            let design = cost(least_b).unwrap_or(u128::MAX / 8) * MIN_GROUPS as u128;
            let needed = with_held_out(design);
            return Err(Error::BudgetTooSmall {
                budget,
                needed: usize::try_from(needed).unwrap_or(usize::MAX),
                reason: format!(
                    "peeling sequences over {q} symbols of length {n} takes {MIN_GROUPS} groups of {} delays of \
                     {} queries, and held-out queries to choose and test by",
                    n + 1,
                    q.pow(least_b as u32)
                ),
            });
        };
        let blocks = (available / unit) as usize;
        let repeats = (blocks / MIN_GROUPS).min(GOOD_REPEATS);
        let groups = blocks / repeats;
        let design = DesignConfig {
            b,
            groups,
            subsampling: SubsamplingFamily::Random,
            delays: DelayFamily::Nso { repeats },
            seed,
        };
        Ok(Self {
            method: Method::Peel,
            budget,
            design: Some(design),
            seed,
            candidates: None,
            design_queries: unit as usize * groups * repeats,
            validation_queries,
            test_queries,
            next_budget: cost(b + 1)
                .map(|cost| with_held_out(cost * MIN_GROUPS as u128))
                .filter(|&next| b < n && next <= MAX_QUERIES && space.size().is_none_or(|size| next <= size)),
            space,
        })
    }

    /// The sequence space.
    #[must_use]
    pub fn space(&self) -> &SequenceSpace {
        &self.space
    }

    /// The most model evaluations this plan takes.
    #[must_use]
    pub fn total_queries(&self) -> usize {
        self.design_queries + self.validation_queries + self.test_queries
    }

    /// The queries themselves.
    ///
    /// # Errors
    /// If the design cannot be built, or the caller cancels.
    pub fn queries(&self, cancel: &Cancel) -> Result<Queries> {
        let Some(config) = self.design else {
            let rows = uniform(&self.space, self.design_queries, self.seed, cancel)?;
            return Ok(Queries { plan: self.clone(), design: None, rows });
        };
        let design = Arc::new(QueryDesign::new(self.space.clone(), config, cancel)?);
        let rows = held_out(&design, self.validation_queries + self.test_queries, self.seed, cancel)?;
        Ok(Queries { plan: self.clone(), design: Some(design), rows })
    }
}

/// The budget whose share beyond validation and test is `design`.
fn with_held_out(design: u128) -> u128 {
    let share = |budget: u128, part: u128, (low, high): (usize, usize)| {
        (budget / part).clamp(low as u128, high as u128)
    };
    let mut budget = design;
    loop {
        let held = share(budget, 10, TEST) + share(budget, 20, VALIDATION);
        if budget >= design.saturating_add(held) {
            return budget;
        }
        budget = design.saturating_add(held);
    }
}
