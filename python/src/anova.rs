//! Backgrounds, the components of a surrogate, and all results that are computed from components.

use pyo3::prelude::*;

use crate::arrays::{self, Codes, Column, Matrix, Values, Vector};
use crate::explain::{Interactions, Motif, motif};
use crate::sketch::Sketch;
use crate::space::Space;
use crate::surrogate::Relation;
use crate::walks;
use crate::work::{interruptible, short};

/// The distribution of missing positions.
#[pyclass(frozen, from_py_object, module = "shapsketch._core")]
#[derive(Clone)]
pub(crate) struct Background(pub(crate) shapsketch::Background);

#[pymethods]
impl Background {
    #[staticmethod]
    fn uniform(space: Space) -> Self {
        Self(shapsketch::Background::uniform(&space.0))
    }

    /// Probabilities of the symbols at each position, row-major.
    #[staticmethod]
    fn product(py: Python<'_>, space: Space, probabilities: Values<'_>) -> PyResult<Self> {
        let probabilities = arrays::values(&probabilities);
        short(py, || shapsketch::Background::product(&space.0, probabilities)).map(Self)
    }

    #[staticmethod]
    fn references(py: Python<'_>, space: Space, codes: Codes<'_>) -> PyResult<Self> {
        let codes = arrays::codes(&codes);
        short(py, || shapsketch::Background::references(&space.0, &codes)).map(Self)
    }

    /// The probability of each symbol at each position, row by row; `None` if positions are not independent.
    #[getter]
    fn probabilities<'py>(&self, py: Python<'py>) -> Option<Vector<'py, f64>> {
        self.0.probabilities().map(|probabilities| arrays::vector(py, probabilities))
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }
}

/// The components of a surrogate.
#[pyclass(frozen, module = "shapsketch._core")]
pub(crate) struct Components(shapsketch::Components);

impl Components {
    /// A `(rows, width)` array of the results of `work` for these codes.
    fn table<'py>(
        &self,
        py: Python<'py>,
        codes: &[u8],
        width: usize,
        work: impl FnOnce(&shapsketch::Cancel) -> shapsketch::Result<Vec<f64>> + Send,
    ) -> PyResult<Matrix<'py, f64>> {
        let values = interruptible(py, work)?;
        arrays::matrix(py, values, codes.len() / self.0.space().n(), width)
    }
}

#[pymethods]
impl Components {
    #[new]
    #[pyo3(signature = (sketch, background = None))]
    fn new(py: Python<'_>, sketch: Sketch, background: Option<Background>) -> PyResult<Self> {
        interruptible(py, |cancel| {
            let terms = sketch.0.surrogate.terms();
            let background =
                background.map_or_else(|| shapsketch::Background::uniform(&terms.space), |b| b.0);
            shapsketch::Components::with_background(&terms, &background, cancel)
        })
        .map(Self)
    }

    #[getter]
    fn base_value(&self) -> f64 {
        self.0.base_value()
    }

    #[getter]
    fn supports(&self, py: Python<'_>) -> PyResult<Vec<Vec<u16>>> {
        interruptible(py, |cancel| {
            self.0.list_components(cancel)?;
            self.0.supports().map(<[_]>::to_vec)
        })
    }

    fn predict<'py>(&self, py: Python<'py>, codes: Codes<'_>) -> PyResult<Vector<'py, f64>> {
        let codes = arrays::codes(&codes);
        interruptible(py, |cancel| self.0.predict(&codes, cancel)).map(|values| arrays::vector(py, values))
    }

    /// Scores along walks.
    fn walks<'py>(
        &self,
        py: Python<'py>,
        starts: Codes<'_>,
        targets: Codes<'_>,
        orders: Column<'_, u32>,
    ) -> PyResult<Matrix<'py, f64>> {
        walks::along(py, self.0.space(), (&starts, &targets), &orders, |walks, cancel| {
            self.0.walks(walks, cancel)
        })
    }

    fn shapley_values<'py>(&self, py: Python<'py>, codes: Codes<'_>) -> PyResult<Matrix<'py, f64>> {
        let codes = arrays::codes(&codes);
        self.table(py, &codes, self.0.space().n(), |cancel| self.0.shapley_values(&codes, cancel))
    }

    /// The same with background sequences `(B * R, n)`, `R` for each sequence.
    fn shapley_values_with_references<'py>(
        &self,
        py: Python<'py>,
        codes: Codes<'_>,
        references: Codes<'_>,
    ) -> PyResult<Matrix<'py, f64>> {
        let (codes, references) = (arrays::codes(&codes), arrays::codes(&references));
        self.table(py, &codes, self.0.space().n(), |cancel| {
            self.0.shapley_values_with_references(&codes, &references, cancel)
        })
    }

    /// An index by its name; `with_references` for [`Self::values_with_references`].
    #[pyo3(signature = (index, max_order, *, with_references))]
    fn interactions(
        &self,
        py: Python<'_>,
        index: &str,
        max_order: usize,
        with_references: bool,
    ) -> PyResult<Interactions> {
        interruptible(py, |cancel| {
            let index = shapsketch::Index::from_name(index)?;
            self.0.list_components(cancel)?;
            if with_references {
                self.0.interactions_with_references(index, max_order)
            } else {
                self.0.interactions(index, max_order)
            }
        })
        .map(|interactions| Interactions(interactions.into()))
    }

    fn values<'py>(
        &self,
        py: Python<'py>,
        interactions: Interactions,
        codes: Codes<'_>,
    ) -> PyResult<Matrix<'py, f64>> {
        let codes = arrays::codes(&codes);
        let width = interactions.0.supports().len();
        self.table(py, &codes, width, |cancel| self.0.values(&interactions.0, &codes, cancel))
    }

    fn values_with_references<'py>(
        &self,
        py: Python<'py>,
        interactions: Interactions,
        codes: Codes<'_>,
        references: Codes<'_>,
    ) -> PyResult<Matrix<'py, f64>> {
        let (codes, references) = (arrays::codes(&codes), arrays::codes(&references));
        let width = interactions.0.supports().len();
        self.table(py, &codes, width, |cancel| {
            self.0.values_with_references(&interactions.0, &codes, &references, cancel)
        })
    }

    /// Effects `(B, n * q)` of single substitutions.
    fn mutation_effects<'py>(&self, py: Python<'py>, codes: Codes<'_>) -> PyResult<Matrix<'py, f64>> {
        let codes = arrays::codes(&codes);
        let width = self.0.space().n() * self.0.space().q();
        self.table(py, &codes, width, |cancel| self.0.mutation_effects(&codes, cancel))
    }

    #[getter]
    fn pairs(&self, py: Python<'_>) -> PyResult<Vec<(u16, u16)>> {
        let pairs = interruptible(py, |cancel| self.0.pairs(cancel))?;
        Ok(pairs.into_iter().map(|[i, j]| (i, j)).collect())
    }

    /// Epistasis `(B, pairs * q * q)` of two substitutions.
    fn epistasis<'py>(&self, py: Python<'py>, codes: Codes<'_>) -> PyResult<Matrix<'py, f64>> {
        let codes = arrays::codes(&codes);
        let q = self.0.space().q();
        let width = interruptible(py, |cancel| self.0.pairs(cancel))?.len() * q * q;
        self.table(py, &codes, width, |cancel| self.0.epistasis(&codes, cancel))
    }

    /// The variance of each component.
    fn variances<'py>(&self, py: Python<'py>) -> PyResult<Vector<'py, f64>> {
        interruptible(py, |cancel| self.0.variances(cancel)).map(|values| arrays::vector(py, values))
    }

    /// The relations of runs.
    #[getter]
    fn relations(&self) -> Vec<Relation> {
        self.0.relations().iter().cloned().map(Relation).collect()
    }

    fn motifs(&self, py: Python<'_>, count: usize, max_order: usize) -> PyResult<Vec<Motif>> {
        let motifs = interruptible(py, |cancel| self.0.motifs(count, max_order, cancel))?;
        Ok(motifs.into_iter().map(motif).collect())
    }
}
