//! From a budget of model evaluations to a sketch: plan the queries, decode, choose, test.
//!
//! The caller evaluates the model; nothing here knows what a model is:
//! [`Plan`] → [`Queries`] → values → [`Sketch`].

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cancel::Cancel;
use crate::design::{DelayFamily, DesignConfig, MAX_QUERIES, QueryDesign, SubsamplingFamily, held_out};
use crate::error::{Error, Result};
use crate::explain::Components;
use crate::fidelity::RSquared;
use crate::frequency::Frequency;
use crate::observations::{Observations, check_values};
use crate::peel::{Peeling, PeelingDecoder};
use crate::space::SequenceSpace;
use crate::surrogate::{Spectrum, Surrogate};

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
/// Noise levels tried, as multiples of the one estimated.
const NOISE_FACTORS: [f64; 4] = [0.5, 2.0, 4.0, 8.0];

/// How a sketch is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Method {
    /// Every sequence is evaluated and transformed.
    Exact,
    /// Designed queries are peeled.
    Peel,
}

/// What a budget will be spent on.
#[derive(Clone, Debug)]
pub struct Plan {
    space: SequenceSpace,
    /// How the sketch will be made.
    pub method: Method,
    /// The budget.
    pub budget: usize,
    /// The query design.
    pub design: DesignConfig,
    /// Most queries the design can take; repeated ones are asked once.
    pub design_queries: usize,
    /// Queries that choose between noise levels.
    pub validation_queries: usize,
    /// Queries that report R², used for nothing else.
    pub test_queries: usize,
    /// The least budget that would allow blocks `q` times as large; `None` where there are none.
    pub next_budget: Option<u128>,
}

impl Plan {
    /// Plans a sketch with at most `budget` distinct model evaluations. Without a method, the exact
    /// transform is taken if every sequence fits the budget and a design, else peeling.
    ///
    /// # Errors
    /// [`Error::BudgetTooSmall`] if the method needs more to mean anything; [`Error::Design`] if it does
    /// not suit a space of this size.
    pub fn new(space: SequenceSpace, budget: usize, method: Option<Method>, seed: u64) -> Result<Self> {
        let size = space.size();
        let fits = size.is_some_and(|size| size <= MAX_QUERIES.min(budget as u128));
        match method.unwrap_or(if fits { Method::Exact } else { Method::Peel }) {
            Method::Exact if fits => Ok(Self::exact(space, budget)),
            Method::Exact => {
                let reason =
                    format!("the exact transform evaluates all {}^{} sequences", space.q(), space.n());
                Err(match size.filter(|&size| size <= MAX_QUERIES) {
                    Some(size) => Error::BudgetTooSmall { budget, needed: size as usize, reason },
                    None => {
                        Error::Design(format!("{reason}, more than the 2^28 a design may have; peel instead"))
                    }
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

    fn exact(space: SequenceSpace, budget: usize) -> Self {
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
            design,
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
            design,
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
        let design = Arc::new(QueryDesign::new(self.space.clone(), self.design, cancel)?);
        let held = held_out(&design, self.validation_queries + self.test_queries, self.design.seed, cancel)?;
        let (validation, test) = held.split_at(self.validation_queries * self.space.n());
        Ok(Queries { validation: validation.to_vec(), test: test.to_vec(), design, plan: self.clone() })
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

/// All queries of a plan; validation and test queries are distinct from those of the design.
#[derive(Clone, Debug)]
pub struct Queries {
    plan: Plan,
    /// The designed queries.
    pub design: Arc<QueryDesign>,
    /// Validation queries, row-major codes.
    pub validation: Vec<u8>,
    /// Test queries, row-major codes.
    pub test: Vec<u8>,
}

impl Queries {
    /// Number of queries: the model evaluations to pay for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.design.len() + (self.validation.len() + self.test.len()) / self.plan.space.n()
    }

    /// Never: a plan has queries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Queries `range`, in the order design, validation, test; row-major codes. What lies beyond the
    /// last query is cut off.
    #[must_use]
    pub fn batch(&self, range: Range<usize>) -> Vec<u8> {
        let n = self.plan.space.n();
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        let designed = self.design.len();
        let mut rows = self.design.queries(start..end);
        let held = [self.validation.as_slice(), self.test.as_slice()].concat();
        if end > designed {
            rows.extend_from_slice(&held[(start.max(designed) - designed) * n..(end - designed) * n]);
        }
        rows
    }

    /// Decodes the values of all queries - those of the design, then validation, then test - into a
    /// sketch.
    ///
    /// Noise levels around the estimated one are tried, and the spectrum that predicts the validation
    /// values best is kept; a constant, if none predicts better than that.
    ///
    /// # Errors
    /// If there is not one finite value for each query, or the caller cancels.
    pub fn sketch(&self, values: &[f64], cancel: &Cancel) -> Result<Sketch> {
        check_values("query", values, self.len())?;
        let n = self.plan.space.n();
        let (design_values, held) = values.split_at(self.design.len());
        let (validation_values, test_values) = held.split_at(self.validation.len() / n);
        let observations = Observations::new(self.design.clone(), design_values.to_vec())?;
        let peeling = match self.plan.method {
            Method::Exact => PeelingDecoder::default().decode(&observations, cancel)?,
            Method::Peel => self.choose(&observations, validation_values, cancel)?,
        };
        let surrogate = Surrogate::Spectrum(peeling.spectrum);
        let (judged, truth) = match self.plan.method {
            // There is nothing else to test on: every sequence is in the design.
            Method::Exact => (self.design.queries(0..self.design.len()), design_values),
            Method::Peel => (self.test.clone(), test_values),
        };
        let predictions = Components::new(&surrogate.terms())?.predict(&judged, cancel)?;
        let info = SketchInfo {
            method: self.plan.method,
            status: match self.plan.method {
                Method::Exact => "exact".into(),
                Method::Peel => peeling.status.name().into(),
            },
            unexplained: peeling.unexplained,
            noise: peeling.noise,
            budget: self.plan.budget,
            n_queries: self.len(),
            seed: self.plan.design.seed,
            r2: RSquared::new(truth, &predictions)?,
        };
        Ok(Sketch { surrogate, info: Some(info) })
    }

    fn choose(&self, observations: &Observations, truth: &[f64], cancel: &Cancel) -> Result<Peeling> {
        let error = |spectrum: &Spectrum| -> Result<f64> {
            let predictions = spectrum.predict(&self.validation)?;
            Ok(truth.iter().zip(predictions).map(|(y, p)| (y - p).powi(2)).sum())
        };
        let mut best = PeelingDecoder::default().decode(observations, cancel)?;
        let mut least = error(&best.spectrum)?;
        let estimated = best.noise;
        for factor in NOISE_FACTORS {
            let decoder = PeelingDecoder { noise: Some(factor * estimated), ..PeelingDecoder::default() };
            let peeling = decoder.decode(observations, cancel)?;
            let next = error(&peeling.spectrum)?;
            if next < least {
                (best, least) = (peeling, next);
            }
        }
        let values = observations.values();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let constant = Spectrum::from_representatives(
            self.plan.space.clone(),
            vec![(Frequency::default(), mean.into())],
        );
        if error(&constant)? < least {
            best = Peeling { spectrum: constant, unexplained: 1.0, ..best };
        }
        Ok(best)
    }
}

/// How a sketch was made, and how well it predicts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SketchInfo {
    /// How it was made.
    pub method: Method,
    /// Why the decoder stopped.
    pub status: String,
    /// Fraction of the variance left unexplained on the design itself.
    pub unexplained: f64,
    /// Standard deviation of one value's noise, as the decoder saw it.
    pub noise: f64,
    /// The budget.
    pub budget: usize,
    /// Distinct model evaluations spent.
    pub n_queries: usize,
    /// The seed of all random choices.
    pub seed: u64,
    /// R² on the test queries; for an exact sketch, on all sequences.
    pub r2: RSquared,
}

/// A surrogate, and how it was made where that is known.
#[derive(Clone, Debug)]
pub struct Sketch {
    /// The closed form that stands in for the model.
    pub surrogate: Surrogate,
    /// How it was made.
    pub info: Option<SketchInfo>,
}
