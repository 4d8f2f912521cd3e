//! From plans and values to sketches: queries, regression, ensembles of trees.

use std::sync::Arc;

use numpy::{PyArray1, PyArray2};
use pyo3::prelude::*;

use crate::arrays::{self, Codes, Values};
use crate::design::{Design, Space};
use crate::sketch::Sketch;
use crate::work::{interruptible, short};

/// What a budget is spent on.
#[pyclass(frozen, from_py_object, module = "shapsketch._core")]
#[derive(Clone)]
pub(crate) struct Plan(shapsketch::Plan);

#[pymethods]
impl Plan {
    #[new]
    #[pyo3(signature = (space, budget, *, method, seed))]
    fn new(py: Python<'_>, space: Space, budget: usize, method: &str, seed: u64) -> PyResult<Self> {
        // The names are checked in Python; "auto" leaves the choice to the core.
        let method = shapsketch::sketch::Method::of_name(method);
        short(py, || shapsketch::Plan::new(space.0, budget, method, seed)).map(Self)
    }

    #[getter]
    fn method(&self) -> &'static str {
        self.0.method.name()
    }

    #[getter]
    fn budget(&self) -> usize {
        self.0.budget
    }

    /// Subsampling dimension, groups and delays of each; `None` for uniform queries.
    #[getter]
    fn design(&self) -> Option<(usize, usize, usize)> {
        self.0.design.map(|design| (design.b, design.groups, design.delays.count(self.0.space().n())))
    }

    #[getter]
    fn design_queries(&self) -> usize {
        self.0.design_queries
    }

    #[getter]
    fn validation_queries(&self) -> usize {
        self.0.validation_queries
    }

    #[getter]
    fn test_queries(&self) -> usize {
        self.0.test_queries
    }

    #[getter]
    fn next_budget(&self) -> Option<u128> {
        self.0.next_budget
    }

    /// Candidate atoms of a regression, and bytes it will take.
    #[getter]
    fn candidates(&self) -> Option<(u128, u128)> {
        self.0.candidates
    }

    fn queries(&self, py: Python<'_>) -> PyResult<Queries> {
        interruptible(py, |cancel| self.0.queries(cancel)).map(Queries)
    }
}

/// All queries of a plan: those of the design, then validation, then test.
#[pyclass(frozen, module = "shapsketch._core")]
pub(crate) struct Queries(shapsketch::Queries);

#[pymethods]
impl Queries {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn batch<'py>(&self, py: Python<'py>, start: usize, stop: usize) -> PyResult<Bound<'py, PyArray2<u8>>> {
        let n = self.0.space().n();
        let rows = interruptible(py, |_| Ok(self.0.batch(start..stop)))?;
        let count = rows.len() / n;
        arrays::matrix(py, rows, count, n)
    }

    fn sketch(&self, py: Python<'_>, values: Values<'_>) -> PyResult<Sketch> {
        let values = arrays::values(&values);
        interruptible(py, |cancel| self.0.sketch(&values, cancel)).map(|sketch| Sketch(Arc::new(sketch)))
    }
}

/// Which supports a regression may use.
#[pyclass(frozen, from_py_object, module = "shapsketch._core")]
#[derive(Clone)]
pub(crate) struct Dictionary(shapsketch::regress::Dictionary);

#[pymethods]
impl Dictionary {
    #[new]
    #[pyo3(signature = (*, windows, orders, gapped, supports))]
    fn new(windows: usize, orders: usize, gapped: Option<(usize, usize)>, supports: Vec<Vec<u16>>) -> Self {
        Self(shapsketch::regress::Dictionary { windows, orders, gapped, supports })
    }
}

/// Regresses values on sequences, or on those of a design.
#[pyfunction]
#[pyo3(signature = (
    space, codes, values, design, *, dictionary, basis, strengths, penalty, growth, refit, tolerance, memory, seed
))]
#[expect(clippy::too_many_arguments, reason = "each is an argument of the Python class")]
pub(crate) fn regress(
    py: Python<'_>,
    space: Space,
    codes: Codes<'_>,
    values: Values<'_>,
    design: Option<Design>,
    dictionary: Option<Dictionary>,
    basis: &str,
    strengths: Option<(f64, f64, f64, Option<f64>)>,
    penalty: Option<f64>,
    growth: bool,
    refit: bool,
    tolerance: f64,
    memory: u64,
    seed: u64,
) -> PyResult<Sketch> {
    use shapsketch::design::Observations;
    use shapsketch::regress::{Atoms, PenaltyFactors, Sample};
    let (codes, values) = (arrays::codes(&codes), arrays::values(&values));
    let regression = shapsketch::regress::SparseRegression {
        dictionary: dictionary.map(|dictionary| dictionary.0),
        // The names are checked in Python.
        basis: match basis {
            "letters" => Some(Atoms::Letters),
            "characters" => Some(Atoms::Characters),
            _ => None,
        },
        penalty_factors: strengths.map(|(pairs, higher, scattered, growth)| PenaltyFactors {
            pairs,
            higher,
            scattered,
            growth,
        }),
        lambda: penalty,
        growth,
        refit,
        tolerance,
        memory: memory.into(),
        seed,
    };
    interruptible(py, |cancel| {
        let sample = match design {
            Some(design) => Sample::from(Observations::new(design.0, values)?),
            None => Sample::new(space.0, codes, values)?,
        };
        let fitted = regression.fit(&sample, cancel)?;
        Ok(shapsketch::Sketch::of_regression(fitted, &sample, seed))
    })
    .map(|sketch| Sketch(Arc::new(sketch)))
}

/// A sum of trees.
#[pyclass(frozen, module = "shapsketch._core")]
pub(crate) struct Ensemble(shapsketch::trees::Ensemble);

#[pymethods]
impl Ensemble {
    /// Conditions: places from `starts` on, each a position and a set. Trees: nodes from `roots` on;
    /// a leaf has condition -1.
    #[new]
    #[pyo3(signature = (space, *, constant, starts, positions, sets, roots, conditions, yes, no, values))]
    #[expect(clippy::too_many_arguments, reason = "flat arrays of all trees")]
    fn new(
        py: Python<'_>,
        space: Space,
        constant: f64,
        starts: Vec<usize>,
        positions: Vec<u16>,
        sets: Vec<u64>,
        roots: Vec<usize>,
        conditions: Vec<i64>,
        yes: Vec<u32>,
        no: Vec<u32>,
        values: Values<'_>,
    ) -> PyResult<Self> {
        use shapsketch::trees::{Condition, Node};
        let values = arrays::values(&values);
        interruptible(py, |_| {
            let places: Vec<(u16, u64)> = positions.into_iter().zip(sets).collect();
            let listed: Vec<Condition> = starts.windows(2).map(|w| places[w[0]..w[1]].to_vec()).collect();
            let node = |at: usize| match u32::try_from(conditions[at]) {
                Ok(condition) => Node::Split { condition, yes: yes[at], no: no[at] },
                Err(_) => Node::Leaf(values[at]),
            };
            let trees = roots.windows(2).map(|w| (w[0]..w[1]).map(node).collect()).collect();
            shapsketch::trees::Ensemble::new(space.0, constant, listed, trees)
        })
        .map(Self)
    }

    fn predict<'py>(&self, py: Python<'py>, codes: Codes<'_>) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let codes = arrays::codes(&codes);
        interruptible(py, |cancel| self.0.predict(&codes, cancel)).map(|values| arrays::vector(py, values))
    }

    /// A sketch of the same function.
    fn exact(&self, py: Python<'_>, max_terms: usize) -> PyResult<Sketch> {
        let terms = interruptible(py, |cancel| self.0.exact(max_terms, cancel))?;
        Ok(Sketch(Arc::new(shapsketch::Surrogate::Terms(terms).into())))
    }

    /// A sketch of all but a part of its variance, and the part of the variance that this has.
    fn truncated(&self, py: Python<'_>, dropped: f64, max_terms: Option<usize>) -> PyResult<(Sketch, f64)> {
        let keep = shapsketch::surrogate::Keep { dropped, max_terms };
        let truncated = interruptible(py, |cancel| self.0.truncated(keep, cancel))?;
        Ok((Sketch(Arc::new(shapsketch::Surrogate::Terms(truncated.terms).into())), truncated.kept_fraction))
    }
}
