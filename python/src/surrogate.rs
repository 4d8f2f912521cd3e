//! Surrogates: spectra, terms with runs, and weighted sums of surrogates.

use pyo3::prelude::*;
use shapsketch::surrogate;

use crate::arrays::{self, Codes, Coefficients, Column, Complex64, Matrix, Vector};
use crate::sketch::Sketch;
use crate::space::Space;
use crate::work::{abandonable, interruptible, short};

/// Frequencies `(s, n)` and coefficients `(s,)`.
pub(crate) type Terms<'py> = (Matrix<'py, u8>, Vector<'py, Complex64>);

#[pyclass(frozen, eq, from_py_object, module = "shapsketch._core")]
#[derive(Clone, PartialEq)]
pub(crate) struct Spectrum(pub(crate) shapsketch::surrogate::Spectrum);

#[pymethods]
impl Spectrum {
    #[new]
    fn new(
        py: Python<'_>,
        space: Space,
        frequencies: Codes<'_>,
        coefficients: Coefficients<'_>,
        real_part: bool,
    ) -> PyResult<Self> {
        let (rows, values) = (arrays::codes(&frequencies), arrays::coefficients(&coefficients));
        abandonable(py, move || {
            let keys = rows.chunks_exact(space.0.n()).map(shapsketch::frequency::Frequency::from_dense);
            let terms = keys.zip(values).collect();
            if real_part {
                shapsketch::surrogate::Spectrum::real_part(space.0, terms)
            } else {
                shapsketch::surrogate::Spectrum::new(space.0, terms)
            }
        })
        .map(Self)
    }

    #[getter]
    fn space(&self) -> Space {
        Space(self.0.space().clone())
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    /// Frequencies `(s, n)` and coefficients `(s,)`.
    fn terms<'py>(&self, py: Python<'py>) -> PyResult<Terms<'py>> {
        let n = self.0.space().n();
        let (rows, values): (Vec<u8>, Vec<Complex64>) = interruptible(py, |cancel| self.0.dense(cancel))?;
        let count = values.len();
        Ok((arrays::matrix(py, rows, count, n)?, arrays::vector(py, values)))
    }

    /// Number of coefficients of each order.
    fn orders(&self) -> Vec<usize> {
        self.0.orders()
    }

    fn order_energy<'py>(&self, py: Python<'py>) -> Vector<'py, f64> {
        arrays::vector(py, self.0.order_energy())
    }

    fn truncate(
        &self,
        py: Python<'_>,
        max_terms: Option<usize>,
        max_order: Option<usize>,
        energy: Option<f64>,
    ) -> PyResult<Self> {
        let keep = shapsketch::surrogate::Truncation { max_terms, max_order, energy };
        interruptible(py, |cancel| self.0.truncate(keep, cancel)).map(Self)
    }
}

/// A symmetric relation between symbols.
#[pyclass(frozen, from_py_object, module = "shapsketch._core")]
#[derive(Clone)]
pub(crate) struct Relation(pub(crate) shapsketch::surrogate::Relation);

#[pymethods]
impl Relation {
    /// Row `a` has the symbols that symbol `a` is related to, as bits.
    #[new]
    fn new(py: Python<'_>, space: Space, name: &str, rows: Vec<u64>) -> PyResult<Self> {
        short(py, || shapsketch::surrogate::Relation::new(&space.0, name, rows)).map(Self)
    }

    /// The relation of the core with this name.
    #[staticmethod]
    fn named(py: Python<'_>, space: Space, name: &str) -> PyResult<Self> {
        short(py, || shapsketch::surrogate::Relation::named(&space.0, name)).map(Self)
    }

    #[getter]
    fn name(&self) -> &str {
        self.0.name()
    }

    #[getter]
    fn rows(&self) -> Vec<u64> {
        self.0.rows().to_vec()
    }
}

/// Number of the relation, first, second, length, reversed.
pub(crate) type Run = (u16, u16, u16, u16, bool);
/// Runs, sets of symbols at positions, coefficient.
pub(crate) type RunTerm = (Vec<Run>, Vec<(u16, u64)>, f64);

pub(crate) fn run(run: &surrogate::Run) -> Run {
    (run.relation, run.first, run.second, run.length, run.reversed)
}

/// A sum of terms with runs, as a sketch without provenance.
#[pyfunction]
pub(crate) fn run_terms(
    py: Python<'_>,
    space: Space,
    relations: Vec<Relation>,
    terms: Vec<RunTerm>,
) -> PyResult<Sketch> {
    let relations = relations.into_iter().map(|relation| relation.0).collect();
    let run = |(relation, first, second, length, reversed): Run| surrogate::Run {
        relation,
        first,
        second,
        length,
        reversed,
    };
    let term = |(runs, sets, coefficient): RunTerm| {
        let runs = runs.into_iter().map(run).collect();
        surrogate::RunTerm { runs, sets, coefficient }
    };
    interruptible(py, |_| {
        surrogate::RunTerms::new(&space.0, relations, terms.into_iter().map(term).collect())
    })
    .map(|runs| shapsketch::Surrogate::of_runs(space.0, runs).into())
}

/// A sum of letter patterns, as a sketch without provenance. Supports and symbols are concatenated.
#[pyfunction]
pub(crate) fn letter_terms(
    py: Python<'_>,
    space: Space,
    constant: f64,
    orders: Column<'_, u16>,
    supports: Column<'_, u16>,
    symbols: Column<'_, u16>,
    coefficients: Column<'_, f64>,
) -> PyResult<Sketch> {
    let (orders, coefficients) = (arrays::column(&orders), arrays::column(&coefficients));
    let (supports, symbols) = (arrays::column(&supports), arrays::column(&symbols));
    interruptible(py, |_| {
        let mut rest = (&supports[..], &symbols[..]);
        let patterns = orders.iter().zip(&coefficients).map(|(&order, &coefficient)| {
            let order = usize::from(order);
            let ((support, others), (letters, more)) =
                (rest.0.split_at(order.min(rest.0.len())), rest.1.split_at(order.min(rest.1.len())));
            rest = (others, more);
            (support, letters, coefficient)
        });
        surrogate::ProductTerms::letters(space.0, constant, patterns)
    })
    .map(|terms| shapsketch::Surrogate::Terms(terms).into())
}

/// A weighted sum of sketches, as a sketch without provenance.
#[pyfunction]
#[pyo3(signature = (sketches, weights, *, constant, dropped, max_terms))]
pub(crate) fn combine(
    py: Python<'_>,
    sketches: Vec<Sketch>,
    weights: Vec<f64>,
    constant: f64,
    dropped: f64,
    max_terms: Option<usize>,
) -> PyResult<Sketch> {
    let keep = shapsketch::surrogate::Keep { dropped, max_terms };
    interruptible(py, |cancel| {
        let parts: Vec<_> = sketches.iter().map(|s| &s.0.surrogate).zip(weights).collect();
        shapsketch::Surrogate::combine(&parts, constant, keep, cancel)
    })
    .map(Sketch::from)
}
