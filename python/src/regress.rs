//! Sparse regression.

use std::time::Duration;

use pyo3::prelude::*;
use shapsketch::design::Observations;
use shapsketch::regress::{Atoms, Loss, PenaltyFactors, RunKind, Sample, SparseRegression, strongest_runs};

use crate::arrays::{self, Codes, Values, Vector};
use crate::design::Design;
use crate::sketch::Sketch;
use crate::space::Space;
use crate::surrogate::{self, Relation, Run};
use crate::work::{interruptible, short};

/// The supports of a regression.
#[pyclass(frozen, from_py_object, module = "shapsketch._core")]
#[derive(Clone)]
pub(crate) struct Dictionary(shapsketch::regress::Dictionary);

#[pymethods]
impl Dictionary {
    #[new]
    #[pyo3(signature = (*, windows, orders, gapped, supports, screened))]
    fn new(
        windows: usize,
        orders: usize,
        gapped: Option<(usize, usize)>,
        supports: Vec<Vec<u16>>,
        screened: usize,
    ) -> Self {
        Self(shapsketch::regress::Dictionary { windows, orders, gapped, supports, screened })
    }
}

/// Regresses values on sequences, or on the queries of a design. `uniform`: the sequences are distinct uniform queries.
#[pyfunction]
#[pyo3(signature = (
    space, codes, values, weights, design, *, dictionary, relations, basis, strengths, penalty, loss,
    growth, refit, tolerance, memory, seed, uniform, seconds=None
))]
#[expect(clippy::too_many_arguments, reason = "each is an argument of the Python class")]
pub(crate) fn regress(
    py: Python<'_>,
    space: Space,
    codes: Codes<'_>,
    values: Values<'_>,
    weights: Option<Values<'_>>,
    design: Option<Design>,
    dictionary: Option<Dictionary>,
    relations: Option<Vec<(Relation, bool)>>,
    basis: &str,
    strengths: Option<(f64, f64, f64, Option<f64>)>,
    penalty: Option<f64>,
    loss: &str,
    growth: bool,
    refit: bool,
    tolerance: f64,
    memory: u64,
    seed: u64,
    uniform: bool,
    seconds: Option<f64>,
) -> PyResult<Sketch> {
    let (codes, values) = (arrays::codes(&codes), arrays::values(&values));
    let weights = weights.map(|weights| arrays::values(&weights));
    let regression = SparseRegression {
        dictionary: dictionary.map(|dictionary| dictionary.0),
        relations: relations.map(|relations| relations.into_iter().map(run_kind).collect()),
        basis: short(py, || Atoms::choice_from_name(basis))?,
        penalty_factors: strengths.map(penalty_factors),
        lambda: penalty,
        loss: short(py, || Loss::from_name(loss))?,
        growth,
        refit,
        tolerance,
        memory: memory.into(),
        time: time_limit(seconds),
        seed,
    };
    interruptible(py, |cancel| {
        let sample = match design {
            Some(design) => Sample::from(Observations::new(design.0, values)?),
            None if uniform => sample(space, codes, values, weights)?.deterministic(),
            None => sample(space, codes, values, weights)?,
        };
        Ok(shapsketch::Sketch::from_regression(regression.fit(&sample, cancel)?, &sample, seed))
    })
    .map(Sketch::from)
}

/// Refuses what [`regress`] would refuse for any values of this number of distinct sequences.
#[pyfunction]
#[pyo3(signature = (space, sequences, *, dictionary, relations, strengths, memory))]
pub(crate) fn check_regression(
    py: Python<'_>,
    space: Space,
    sequences: usize,
    dictionary: Option<Dictionary>,
    relations: Option<Vec<(Relation, bool)>>,
    strengths: Option<(f64, f64, f64, Option<f64>)>,
    memory: u64,
) -> PyResult<()> {
    let regression = SparseRegression {
        dictionary: dictionary.map(|dictionary| dictionary.0),
        relations: relations.map(|relations| relations.into_iter().map(run_kind).collect()),
        penalty_factors: strengths.map(penalty_factors),
        memory: memory.into(),
        ..SparseRegression::default()
    };
    // The memory depends on the number of threads, so this runs on the same pool.
    interruptible(py, |_| regression.check_size(&space.0, sequences))
}

/// The time of a regression; `None` for no limit, which infinite seconds are too.
pub(crate) fn time_limit(seconds: Option<f64>) -> Option<Duration> {
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok())
}

/// A relation, and whether it is that of a stem.
fn run_kind((relation, reversed): (Relation, bool)) -> RunKind {
    RunKind { relation: relation.0, reversed }
}

/// Pairs of positions whose symbols depend on each other in these sequences.
#[pyfunction]
pub(crate) fn dependent_positions(
    py: Python<'_>,
    space: Space,
    codes: Codes<'_>,
) -> PyResult<Vec<(usize, usize)>> {
    let codes = arrays::codes(&codes);
    interruptible(py, |cancel| shapsketch::regress::dependent_positions(&space.0, &codes, cancel))
}

/// Variances of the Shapley values of each position, from residuals at held-out sequences; `None` if these are not
/// uniform.
#[pyfunction]
pub(crate) fn position_variances<'py>(
    py: Python<'py>,
    space: Space,
    codes: Codes<'_>,
    residuals: Values<'_>,
    weights: Option<Values<'_>>,
) -> PyResult<Option<Vector<'py, f64>>> {
    let (codes, residuals) = (arrays::codes(&codes), arrays::values(&residuals));
    let weights = weights.as_ref().map(arrays::values);
    let uncertainty = interruptible(py, |cancel| {
        let residuals = Sample::of_residuals(space.0, codes, residuals, weights)?;
        shapsketch::regress::uncertainty_from_residuals(&residuals, cancel)
    })?;
    Ok(uncertainty.map(|uncertainty| arrays::vector(py, uncertainty.positions)))
}

/// The relations of runs that are tried automatically for this number of sequences, each with whether it is that of a
/// stem.
#[pyfunction]
pub(crate) fn run_kinds(space: Space, sequences: usize) -> Vec<(Relation, bool)> {
    RunKind::auto(&space.0, sequences)
        .into_iter()
        .map(|kind| (Relation(kind.relation), kind.reversed))
        .collect()
}

/// The `most` runs that are most correlated with values.
#[pyfunction]
#[pyo3(signature = (space, codes, values, weights, *, kinds, most))]
pub(crate) fn strong_runs(
    py: Python<'_>,
    space: Space,
    codes: Codes<'_>,
    values: Values<'_>,
    weights: Option<Values<'_>>,
    kinds: Vec<(Relation, bool)>,
    most: usize,
) -> PyResult<Vec<Run>> {
    let (codes, values) = (arrays::codes(&codes), arrays::values(&values));
    let weights = weights.map(|weights| arrays::values(&weights));
    let kinds: Vec<RunKind> = kinds.into_iter().map(run_kind).collect();
    let memory = SparseRegression::default().memory;
    let runs = interruptible(py, |cancel| {
        strongest_runs(&sample(space, codes, values, weights)?, &kinds, most, memory, cancel)
    })?;
    Ok(runs.iter().map(|(run, _)| surrogate::run(run)).collect())
}

fn sample(
    space: Space,
    codes: Vec<u8>,
    values: Vec<f64>,
    weights: Option<Vec<f64>>,
) -> shapsketch::Result<Sample> {
    let sample = Sample::new(space.0, codes, values)?;
    weights.map_or(Ok(sample.clone()), |weights| sample.with_weights(weights))
}

fn penalty_factors((pairs, higher, scattered, growth): (f64, f64, f64, Option<f64>)) -> PenaltyFactors {
    PenaltyFactors { pairs, higher, scattered, growth, runs: None }
}
