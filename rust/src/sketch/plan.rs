//! Plans: how a budget of model evaluations is spent.

use std::sync::Arc;

use super::provenance::Method;
use super::queries::{Queries, Source};
use crate::cancel::Cancel;
use crate::design::{
    DelayFamily, DesignConfig, MAX_QUERIES, QueryDesign, SubsamplingFamily, block_lengths, free_positions,
    groups_for_all_sizes, held_out, uniform,
};
use crate::error::{Error, Result};
use crate::regress::{Dictionary, FEWEST};
use crate::space::SequenceSpace;
use crate::words;

/// Smallest number of groups for peeling: two groups may agree by chance, so a third one is needed.
const MIN_GROUPS: usize = 3;
/// Largest number of repeats of the delays in a group. Further queries add groups instead.
const GOOD_REPEATS: usize = 3;
/// Smallest number of bins of a group.
const MIN_BINS: usize = 16;
/// Highest order of coded delays. Terms of higher orders are rare, and each order costs `log n` more delays.
const CODED_ORDER: usize = 5;
/// Lowest order of coded delays, which small budgets need.
const LEAST_CODED_ORDER: usize = 3;
/// Largest number of bins of a designed group for regression. Larger blocks raise the error of the regression.
const MOST_REGRESSED_BINS: usize = 64;
/// Largest number of designed groups for regression. Further queries are uniform.
const MOST_REGRESSED_GROUPS: usize = 6;
/// Test queries: a tenth of the budget, within these bounds.
const TEST: (usize, usize) = (100, 2000);
/// Validation queries: a twentieth of the budget, within these bounds.
const VALIDATION: (usize, usize) = (50, 1000);
/// Smallest number of queries of a regression, unless the space has fewer sequences.
const LEAST_REGRESSED: usize = 100;
/// Largest number of queries of a regression; more would make the fit slow.
const MOST_REGRESSED: u128 = 1 << 18;

/// How a plan chooses its method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// The exact transform if every sequence fits the budget and a design, else regression. If a design with coded
    /// delays fits the budget, its queries are among those of the regression, and [`Queries::peel`] can peel them too.
    Auto,
    /// The exact transform.
    Exact,
    /// Peeling.
    Peel,
    /// Regression.
    Regress,
}

impl Strategy {
    /// All strategies.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Regress, Self::Peel, Self::Exact];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Exact => "exact",
            Self::Peel => "peel",
            Self::Regress => "regress",
        }
    }

    /// The strategy with this name.
    ///
    /// # Errors
    /// [`Error::UnknownName`] if there is none.
    pub fn from_name(name: &str) -> Result<Self> {
        Error::choose("method", name, &Self::ALL, Self::name)
    }
}

/// How a budget of model evaluations is spent.
#[derive(Clone, Debug)]
pub struct Plan {
    space: SequenceSpace,
    budget: usize,
    seed: u64,
    kind: Kind,
}

/// The method of a plan, with its queries.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// All sequences are evaluated.
    Exact { n_sequences: usize },
    /// Designed queries, and held-out queries.
    Peel(PeelPlan),
    /// Uniform queries; some of them may be those of a design, which can also be peeled unless it is cut to one group.
    Regress { n_queries: usize, n_atoms: u128, memory: u128, design: Option<DesignConfig>, cut: bool },
}

#[derive(Clone, Copy, Debug)]
struct PeelPlan {
    design: DesignConfig,
    /// The largest number of queries of the design; repeated queries are evaluated once.
    design_queries: usize,
    validation_queries: usize,
    test_queries: usize,
    next_budget: Option<u128>,
}

impl Plan {
    /// Plans a sketch with at most `budget` distinct model evaluations.
    ///
    /// # Errors
    /// [`Error::BudgetTooSmall`] if the method needs more; [`Error::Design`] if it does not suit a space of this size.
    pub fn new(space: SequenceSpace, budget: usize, strategy: Strategy, seed: u64) -> Result<Self> {
        let fits = space.size().is_some_and(|size| size <= MAX_QUERIES.min(budget as u128));
        let kind = match strategy {
            Strategy::Auto if fits => exact(&space, budget)?,
            Strategy::Exact => exact(&space, budget)?,
            Strategy::Auto => regress(&space, budget, |n_queries| coded(&space, n_queries, seed))?,
            Strategy::Regress => regress(&space, budget, |_| None)?,
            Strategy::Peel => Kind::Peel(peel(&space, budget, seed).map_err(|e| cheaper(e, &space, budget))?),
        };
        Ok(Self { space, budget, seed, kind })
    }

    /// The sequence space.
    #[must_use]
    pub fn space(&self) -> &SequenceSpace {
        &self.space
    }

    /// The method: exact, peel or regress.
    #[must_use]
    pub fn method(&self) -> Method {
        match self.kind {
            Kind::Exact { .. } => Method::Exact,
            Kind::Peel(_) => Method::Peel,
            Kind::Regress { .. } => Method::Regress,
        }
    }

    /// The budget.
    #[must_use]
    pub fn budget(&self) -> usize {
        self.budget
    }

    /// The seed of all random choices.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The query design; `None` if all queries are uniform. A regression also has uniform queries besides.
    #[must_use]
    pub fn design(&self) -> Option<DesignConfig> {
        match self.kind {
            Kind::Exact { .. } => Some(DesignConfig::complete(&self.space)),
            Kind::Peel(plan) => Some(plan.design),
            Kind::Regress { design, cut, .. } => design.filter(|_| !cut),
        }
    }

    /// The plan for values without a sparse spectrum: see [`Queries::is_sparse`]. Its queries are those of the first group
    /// of the design of a regression, and uniform ones. Other plans stay the same.
    #[must_use]
    pub fn without_peeling(&self) -> Self {
        let mut plan = self.clone();
        if let Kind::Regress { design: Some(design), cut, .. } = &mut plan.kind {
            (design.groups, *cut) = (1, true);
        }
        plan
    }

    /// Number of queries for the fit. For a design this is an upper limit, because repeated queries are evaluated
    /// once.
    #[must_use]
    pub fn design_queries(&self) -> usize {
        match self.kind {
            Kind::Exact { n_sequences } => n_sequences,
            Kind::Peel(plan) => plan.design_queries,
            Kind::Regress { n_queries, .. } => n_queries,
        }
    }

    /// Number of queries to choose the noise level of peeling; 0 for other methods. Regression uses cross-validation.
    #[must_use]
    pub fn validation_queries(&self) -> usize {
        if let Kind::Peel(plan) = self.kind { plan.validation_queries } else { 0 }
    }

    /// Number of queries to measure R²; 0 for other methods. Regression uses cross-validation.
    #[must_use]
    pub fn test_queries(&self) -> usize {
        if let Kind::Peel(plan) = self.kind { plan.test_queries } else { 0 }
    }

    /// The smallest budget for blocks that are `q` times as large; `None` if there are no larger blocks.
    #[must_use]
    pub fn next_budget(&self) -> Option<u128> {
        if let Kind::Peel(plan) = self.kind { plan.next_budget } else { None }
    }

    /// Number of atoms of the dictionary of a regression.
    #[must_use]
    pub fn n_atoms(&self) -> Option<u128> {
        if let Kind::Regress { n_atoms, .. } = self.kind { Some(n_atoms) } else { None }
    }

    /// Predicted memory of a regression, in bytes.
    #[must_use]
    pub fn memory(&self) -> Option<u128> {
        if let Kind::Regress { memory, .. } = self.kind { Some(memory) } else { None }
    }

    /// The largest number of model evaluations of this plan.
    #[must_use]
    pub fn total_queries(&self) -> usize {
        self.design_queries() + self.validation_queries() + self.test_queries()
    }

    /// The queries.
    ///
    /// # Errors
    /// If the design cannot be built, or the caller cancels.
    pub fn queries(&self, cancel: &Cancel) -> Result<Queries> {
        let (source, rows) = match self.kind {
            Kind::Exact { .. } => {
                let design = QueryDesign::complete(self.space.clone(), cancel)?;
                (Source::Exact(Arc::new(design)), Vec::new())
            }
            Kind::Peel(PeelPlan { design, validation_queries, test_queries, .. }) => {
                let design = Arc::new(QueryDesign::new(self.space.clone(), design, cancel)?);
                let rows = held_out(&design, validation_queries + test_queries, self.seed, cancel)?;
                (Source::Peel { design, validation_queries }, rows)
            }
            Kind::Regress { n_queries, design: None, .. } => {
                (Source::Regress(None), uniform(&self.space, n_queries, self.seed, cancel)?)
            }
            Kind::Regress { n_queries, design: Some(config), cut, .. } => {
                let design = Arc::new(QueryDesign::new(self.space.clone(), config, cancel)?);
                let rows = held_out(&design, n_queries - design.len(), self.seed, cancel)?;
                match cut {
                    true => (Source::Regress(None), [design.queries(0..design.len()), rows].concat()),
                    false => (Source::Regress(Some(design)), rows),
                }
            }
        };
        Ok(Queries::new(self.clone(), source, rows))
    }
}

fn exact(space: &SequenceSpace, budget: usize) -> Result<Kind> {
    let reason = match space.has_letters() {
        true => "the exact transform evaluates all sequences".into(),
        false => format!("the exact transform evaluates all {}^{} sequences", space.q(), space.n()),
    };
    match space.size().filter(|&size| size <= MAX_QUERIES).map(|size| size as usize) {
        Some(n_sequences) if n_sequences <= budget => Ok(Kind::Exact { n_sequences }),
        Some(needed) => Err(Error::BudgetTooSmall { budget, needed, reason }),
        None => Err(Error::Design(format!(
            "{reason}, more than the 2^28 queries that a design may have; use another method"
        ))),
    }
}

/// `design` chooses a design for a number of queries.
fn regress(
    space: &SequenceSpace,
    budget: usize,
    design: impl FnOnce(usize) -> Option<DesignConfig>,
) -> Result<Kind> {
    let all = space.size().unwrap_or(u128::MAX);
    if budget < LEAST_REGRESSED && (budget as u128) < all {
        return Err(Error::BudgetTooSmall {
            budget,
            needed: LEAST_REGRESSED.min(usize::try_from(all).unwrap_or(usize::MAX)),
            reason: match all < LEAST_REGRESSED as u128 {
                true => format!("the exact method evaluates all {all} sequences"),
                false => "cross-validation needs sequences to fit and sequences to test".into(),
            },
        });
    }
    if all < FEWEST as u128 {
        return Err(Error::Design(format!(
            "regression needs at least {FEWEST} sequences, the space has {all}; use the exact method"
        )));
    }
    let n_queries = (budget as u128).min(all).min(MOST_REGRESSED) as usize;
    let dictionary = Dictionary::auto(space, n_queries);
    let n_atoms = dictionary.n_atoms(space.q(), space.n());
    let memory = dictionary.memory(space, n_queries);
    Ok(Kind::Regress { n_queries, n_atoms, memory, design: design(n_queries), cut: false })
}

/// The largest design with coded delays and small blocks among so many queries. The others are for validation and test of
/// the peeling; all are for regression.
fn coded(space: &SequenceSpace, n_queries: usize, seed: u64) -> Option<DesignConfig> {
    let available = n_queries.checked_sub((n_queries / 10).max(TEST.0 + VALIDATION.0))?;
    let block = |b: usize| words::checked_count(words::same(space.q(), b));
    let mut options = (LEAST_CODED_ORDER..=CODED_ORDER).rev().flat_map(|max_order| {
        let delays = DelayFamily::Coded { max_order, repeats: 1 };
        let blocks = (1..=space.n()).map_while(|b| Some((b, block(b)?)));
        let blocks = blocks.take_while(|&(_, bins)| bins <= MOST_REGRESSED_BINS).collect::<Vec<_>>();
        blocks.into_iter().rev().filter(|&(_, bins)| bins >= MIN_BINS).map(move |(b, bins)| (delays, b, bins))
    });
    options.find_map(|(delays, b, bins)| {
        let groups = available / (delays.count(space).ok()? * bins);
        let subsampling = SubsamplingFamily::Random;
        let groups = (groups >= MIN_GROUPS).then_some(groups.min(MOST_REGRESSED_GROUPS))?;
        Some(DesignConfig { b, groups, subsampling, delays, seed })
    })
}

fn peel(space: &SequenceSpace, budget: usize, seed: u64) -> Result<PeelPlan> {
    let n = free_positions(space).len();
    let coded = |max_order| DelayFamily::Coded { max_order, repeats: 1 };
    let n_delays = |delays: DelayFamily| delays.count(space).unwrap_or(usize::MAX) as u128;
    let bins = |b: usize, groups: usize| n_bins(space, b, groups);
    // Each size needs as many groups that subsample its positions.
    let least = |b: usize| groups_for_all_sizes(space, b, MIN_GROUPS);
    let cost = |delays: DelayFamily, b: usize| Some(bins(b, least(b))?.saturating_mul(n_delays(delays)));
    let test_queries = (budget / 10).clamp(TEST.0, TEST.1);
    let validation_queries = (budget / 20).clamp(VALIDATION.0, VALIDATION.1);
    // A design cannot use more queries than the space has sequences, or than `MAX_QUERIES`.
    let usable = (budget as u128).min(space.size().unwrap_or(u128::MAX)).min(MAX_QUERIES);
    let available = usable.saturating_sub((test_queries + validation_queries) as u128);
    let enough = |b: &usize| {
        let mut blocks = block_lengths(space, *b).take(MIN_GROUPS);
        blocks.all(|block| block.is_none_or(|block| block >= MIN_BINS))
    };
    let least_b = (1..=n).find(enough).unwrap_or(n);
    let largest = |delays: DelayFamily| {
        let affordable = |b: usize| cost(delays, b).filter(|&cost| cost <= available);
        (least_b..=n).map_while(|b| affordable(b).map(|_| (b, delays))).last()
    };
    // Unit steps find terms of every order, coded delays allow larger blocks.
    let full = [DelayFamily::Nso { repeats: 1 }, coded(CODED_ORDER)];
    let larger =
        |best: (usize, DelayFamily), next: (usize, DelayFamily)| if next.0 > best.0 { next } else { best };
    let best = full.into_iter().filter_map(largest).reduce(larger);
    let lower = (LEAST_CODED_ORDER..CODED_ORDER).rev().map(coded);
    let Some((b, delays)) = best.or_else(|| lower.clone().find_map(largest)).filter(|_| n > 0) else {
        let cheapest = full.into_iter().chain(lower).map(n_delays).min().unwrap_or(0);
        let design =
            cheapest.saturating_mul(bins(least_b, least(least_b)).unwrap_or(u128::MAX)).min(u128::MAX / 8);
        let (over, queries) = match space.has_letters() {
            true => ("letters by position".to_owned(), format!("at least {MIN_BINS}")),
            false => (format!("{} symbols", space.q()), (bins(least_b, 1).unwrap_or(u128::MAX)).to_string()),
        };
        return Err(Error::BudgetTooSmall {
            budget,
            needed: usize::try_from(with_held_out(design)).unwrap_or(usize::MAX),
            reason: format!(
                "peeling sequences over {over} of length {} needs {} groups of {cheapest} delays of \
                 {queries} queries, and held-out queries for validation and test",
                space.n(),
                least(least_b)
            ),
        });
    };
    let unit = n_delays(delays);
    let total = |groups: usize, repeats: usize| {
        bins(b, groups).map_or(u128::MAX, |bins| bins.saturating_mul(unit).saturating_mul(repeats as u128))
    };
    let repeats = (1..=GOOD_REPEATS).take_while(|&repeats| total(least(b), repeats) <= available).last();
    let repeats = repeats.unwrap_or(1);
    let groups = most_groups(space, b, available / (unit * repeats as u128)).max(least(b));
    let delays = match delays {
        DelayFamily::Coded { max_order, .. } => DelayFamily::Coded { max_order, repeats },
        _ => DelayFamily::Nso { repeats },
    };
    let next = full.into_iter().filter_map(|delays| cost(delays, b + 1)).min();
    Ok(PeelPlan {
        design: DesignConfig { b, groups, subsampling: SubsamplingFamily::Random, delays, seed },
        design_queries: total(groups, repeats) as usize,
        validation_queries,
        test_queries,
        next_budget: next
            .map(with_held_out)
            .filter(|&next| b < n && next <= MAX_QUERIES && space.size().is_none_or(|size| next <= size)),
    })
}

/// The bins of so many groups of random matrices; `None` if one has more than `usize::MAX`.
fn n_bins(space: &SequenceSpace, b: usize, groups: usize) -> Option<u128> {
    if !space.has_letters() {
        let block = words::checked_count(words::same(space.q(), b))?;
        return Some((block as u128).saturating_mul(groups as u128));
    }
    block_lengths(space, b)
        .take(groups)
        .try_fold(0_u128, |sum, block| Some(sum.saturating_add(block? as u128)))
}

/// The largest number of groups with at most so many bins.
fn most_groups(space: &SequenceSpace, b: usize, most: u128) -> usize {
    if !space.has_letters() {
        return (most / n_bins(space, b, 1).unwrap_or(u128::MAX)) as usize;
    }
    let mut sum = 0_u128;
    let within = |block: &Option<usize>| {
        sum = sum.saturating_add(block.map_or(u128::MAX, |block| block as u128));
        sum <= most
    };
    block_lengths(space, b).take_while(within).count()
}

/// The error of peeling, with the advice to use the exact transform if it needs fewer evaluations.
fn cheaper(error: Error, space: &SequenceSpace, budget: usize) -> Error {
    let fits = space.size().is_some_and(|size| size <= MAX_QUERIES.min(budget as u128));
    match (error, space.size()) {
        (Error::BudgetTooSmall { reason, .. }, Some(size)) if fits => Error::Design(format!(
            "{reason}: more than the {size} sequences of this space; use the exact method"
        )),
        (Error::BudgetTooSmall { needed, reason, .. }, Some(size)) if size < needed as u128 => {
            let reason = format!("{reason}; the exact method evaluates all {size} sequences");
            Error::BudgetTooSmall { budget, needed: size as usize, reason }
        }
        (error, _) => error,
    }
}

/// The smallest budget with `design` queries besides the queries for validation and test.
fn with_held_out(design: u128) -> u128 {
    let fraction = |budget: u128, divisor: u128, (low, high): (usize, usize)| {
        (budget / divisor).clamp(low as u128, high as u128)
    };
    let mut budget = design;
    loop {
        let held = fraction(budget, 10, TEST) + fraction(budget, 20, VALIDATION);
        if budget >= design.saturating_add(held) {
            return budget;
        }
        budget = design.saturating_add(held);
    }
}
