//! Plans, queries and sketches.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::anova::Components;
use crate::cancel::Cancel;
use crate::design::Observations;
use crate::design::{
    DelayFamily, DesignConfig, MAX_QUERIES, QueryDesign, SubsamplingFamily, held_out, uniform,
};
use crate::error::{Error, Result};
use crate::frequency::Frequency;
use crate::peel::{Peeling, PeelingDecoder};
use crate::regress::{Dictionary, FEWEST, PenaltyFactors, Regression, Sample, SparseRegression};
use crate::space::SequenceSpace;
use crate::surrogate::{Spectrum, Surrogate, Uncertainty};
use crate::validation::RSquared;
use crate::validation::check_values;

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
    /// Uniform queries are explained by few atoms of a dictionary.
    Regress,
    /// Trees were boosted on uniform queries.
    Trees,
    /// A predictor of features without a place was fitted to uniform queries, and its answers sketched.
    Distill,
    /// Several of these, each with a weight.
    Average,
    /// An ensemble of trees that somebody else had fitted.
    Converted,
}

impl Method {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Peel => "peel",
            Self::Regress => "regress",
            Self::Trees => "trees",
            Self::Distill => "distill",
            Self::Average => "average",
            Self::Converted => "converted",
        }
    }

    /// The method of a name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let all = [
            Self::Exact,
            Self::Peel,
            Self::Regress,
            Self::Trees,
            Self::Distill,
            Self::Average,
            Self::Converted,
        ];
        all.into_iter().find(|method| method.name() == name)
    }
}

/// What a budget will be spent on.
#[derive(Clone, Debug)]
pub struct Plan {
    space: SequenceSpace,
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

/// All queries of a plan, each once.
#[derive(Clone, Debug)]
pub struct Queries {
    plan: Plan,
    /// The designed queries, if the plan has a design.
    design: Option<Arc<QueryDesign>>,
    /// What follows them, row-major codes: validation and test queries, or uniform ones.
    rows: Vec<u8>,
}

impl Queries {
    /// Number of queries: the model evaluations to pay for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.designed() + self.rows.len() / self.plan.space.n()
    }

    /// Never: a plan has queries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sequence space.
    #[must_use]
    pub fn space(&self) -> &SequenceSpace {
        &self.plan.space
    }

    fn designed(&self) -> usize {
        self.design.as_ref().map_or(0, |design| design.len())
    }

    /// Queries `range`, in the order design, validation, test; row-major codes. What lies beyond the
    /// last query is cut off.
    #[must_use]
    pub fn batch(&self, range: Range<usize>) -> Vec<u8> {
        let n = self.plan.space.n();
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        let designed = self.designed();
        let mut rows = self.design.as_ref().map_or_else(Vec::new, |design| design.queries(start..end));
        if end > designed {
            rows.extend_from_slice(&self.rows[(start.max(designed) - designed) * n..(end - designed) * n]);
        }
        rows
    }

    /// Makes a sketch of the values of all queries, in their order.
    ///
    /// Peeling tries noise levels around the estimated one and keeps the spectrum that predicts the
    /// validation values best; a constant, if none predicts better than that. Regression is
    /// cross-validated.
    ///
    /// # Errors
    /// If there is not one finite value for each query, or the caller cancels.
    pub fn sketch(&self, values: &[f64], cancel: &Cancel) -> Result<Sketch> {
        check_values("query", values, self.len())?;
        let Some(design) = &self.design else {
            let sample =
                Sample::new(self.plan.space.clone(), self.rows.clone(), values.to_vec())?.deterministic();
            let regression = SparseRegression { seed: self.plan.seed, ..SparseRegression::default() };
            let mut sketch = Sketch::of_regression(regression.fit(&sample, cancel)?, &sample, self.plan.seed);
            if let Some(info) = &mut sketch.info {
                info.budget = self.plan.budget;
            }
            return Ok(sketch);
        };
        let (design_values, held) = values.split_at(design.len());
        let observations = Observations::new(design.clone(), design_values.to_vec())?;
        let validated = self.plan.validation_queries;
        let (peeling, judged, truth) = match self.plan.method {
            // There is nothing else to test on: every sequence is in the design.
            Method::Exact => {
                let peeling = PeelingDecoder::default().decode(&observations, cancel)?;
                (peeling, design.queries(0..design.len()), design_values)
            }
            _ => {
                let (validation, test) = self.rows.split_at(validated * self.plan.space.n());
                let peeling = self.choose(&observations, validation, &held[..validated], cancel)?;
                (peeling, test.to_vec(), &held[validated..])
            }
        };
        let surrogate = Surrogate::Spectrum(peeling.spectrum);
        let predictions = Components::new(&surrogate.terms())?.predict(&judged, cancel)?;
        let exact = self.plan.method == Method::Exact;
        let info = SketchInfo {
            method: self.plan.method,
            status: if exact { "exact".into() } else { peeling.status.name().into() },
            unexplained: peeling.unexplained,
            noise: peeling.noise,
            budget: self.plan.budget,
            n_queries: self.len(),
            seed: self.plan.seed,
            r2: RSquared::new(truth, &predictions)?,
            regression: None,
            link: Link::default(),
            candidates: Vec::new(),
            teacher: None,
        };
        let held_out = Some((truth.to_vec(), predictions));
        Ok(Sketch { surrogate, uncertainty: None, info: Some(info), held_out })
    }

    fn choose(
        &self,
        observations: &Observations,
        validation: &[u8],
        truth: &[f64],
        cancel: &Cancel,
    ) -> Result<Peeling> {
        let error = |spectrum: &Spectrum| -> Result<f64> {
            let predictions = spectrum.predict(validation)?;
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
    /// R² on the test queries; of a regression by cross-validation; for an exact sketch, on all sequences.
    pub r2: RSquared,
    /// How the regression went, if it was one.
    #[serde(default)]
    pub regression: Option<RegressionInfo>,
    /// The scale on which the sketch lives.
    #[serde(default)]
    pub link: Link,
    /// What was tried, where several methods were.
    #[serde(default)]
    pub candidates: Vec<Candidate>,
    /// R² of the teacher, where the sketch is a student's.
    #[serde(default)]
    pub teacher: Option<RSquared>,
}

/// One of several methods that were tried on the same queries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// What it is.
    pub name: String,
    /// R² on the validation queries.
    pub r2: f64,
    /// Seconds it took; not in a file, which is the same for the same run.
    #[serde(skip)]
    pub seconds: Option<f64>,
    /// Its weight in the sketch; 0 if it was not taken.
    pub weight: f64,
}

/// The scale on which a sketch lives: the link's, where `link(score)` is what the surrogate predicts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// R² on the model's own scale, where that is another and was measured.
    pub response_r2: Option<RSquared>,
}

impl Default for Link {
    fn default() -> Self {
        Self { name: "identity".into(), response_r2: None }
    }
}

/// How a regression went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegressionInfo {
    /// What was fitted: "letters" or "characters".
    pub basis: String,
    /// Penalty strength; `None` if the constant alone predicts best.
    pub lambda: Option<f64>,
    /// Strength of the refit relative to it; 1 is no refit.
    pub refit: f64,
    /// Relative strengths of orders and parts.
    pub strengths: PenaltyFactors,
    /// Duality gap relative to half the sum of squares.
    pub gap: f64,
    /// Candidate atoms of the dictionary.
    pub candidates: u64,
    /// Letters that no sequence has at a position.
    pub unseen: Vec<(usize, u8)>,
}

/// A surrogate, and how it was made where that is known.
#[derive(Clone, Debug)]
pub struct Sketch {
    /// The closed form that stands in for the model.
    pub surrogate: Surrogate,
    /// Standard errors of its terms, where it has any.
    pub uncertainty: Option<Uncertainty>,
    /// How it was made.
    pub info: Option<SketchInfo>,
    /// Values and predictions that its R² rests on; not saved.
    pub held_out: Option<(Vec<f64>, Vec<f64>)>,
}

impl From<Surrogate> for Sketch {
    /// A sketch of no known origin.
    fn from(surrogate: Surrogate) -> Self {
        Self { surrogate, uncertainty: None, info: None, held_out: None }
    }
}

impl Sketch {
    /// A sketch of what a regression found in a sample.
    #[must_use]
    pub fn of_regression(regression: Regression, sample: &Sample, seed: u64) -> Self {
        let Regression { surrogate, uncertainty, r2, held_out_predictions, .. } = regression;
        let count = sample.values().len();
        let info = SketchInfo {
            method: Method::Regress,
            status: "cross-validated".into(),
            unexplained: 1.0 - r2.value,
            noise: regression.noise,
            budget: count,
            n_queries: count,
            seed,
            r2,
            regression: Some(RegressionInfo {
                basis: regression.basis.name().into(),
                lambda: Some(regression.lambda).filter(|lambda| lambda.is_finite()),
                refit: regression.refit,
                strengths: regression.penalty_factors,
                gap: regression.gap,
                candidates: u64::try_from(regression.n_atoms).unwrap_or(u64::MAX),
                unseen: regression.unseen,
            }),
            link: Link::default(),
            candidates: Vec::new(),
            teacher: None,
        };
        let held_out = Some((sample.values().to_vec(), held_out_predictions));
        Self { surrogate, uncertainty, info: Some(info), held_out }
    }
}
