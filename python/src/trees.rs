//! Ensembles of trees.

use pyo3::prelude::*;

use crate::arrays::{self, Codes, Values, Vector};
use crate::sketch::Sketch;
use crate::space::Space;
use crate::work::interruptible;

/// A sum of trees.
#[pyclass(frozen, module = "shapsketch._core")]
pub(crate) struct Ensemble(shapsketch::trees::Ensemble);

#[pymethods]
impl Ensemble {
    /// Condition `c` has the positions and sets `starts[c]` to `starts[c + 1]`; tree `t` has the nodes `roots[t]` to
    /// `roots[t + 1]`; a leaf has condition -1.
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
            let pairs: Vec<(u16, u64)> = positions.into_iter().zip(sets).collect();
            let listed: Vec<Condition> = starts.windows(2).map(|w| pairs[w[0]..w[1]].to_vec()).collect();
            let node = |index: usize| match u32::try_from(conditions[index]) {
                Ok(condition) => Node::Split { condition, yes: yes[index], no: no[index] },
                Err(_) => Node::Leaf(values[index]),
            };
            let trees = roots.windows(2).map(|w| (w[0]..w[1]).map(node).collect()).collect();
            shapsketch::trees::Ensemble::new(space.0, constant, listed, trees)
        })
        .map(Self)
    }

    fn predict<'py>(&self, py: Python<'py>, codes: Codes<'_>) -> PyResult<Vector<'py, f64>> {
        let codes = arrays::codes(&codes);
        interruptible(py, |cancel| self.0.predict(&codes, cancel)).map(|values| arrays::vector(py, values))
    }

    /// A sketch of the same function.
    fn exact(&self, py: Python<'_>, max_terms: usize) -> PyResult<Sketch> {
        let terms = interruptible(py, |cancel| self.0.exact(max_terms, cancel))?;
        Ok(shapsketch::Surrogate::Terms(terms).into())
    }

    /// A sketch that drops a fraction of the variance, and the kept fraction.
    fn truncated(&self, py: Python<'_>, dropped: f64, max_terms: Option<usize>) -> PyResult<(Sketch, f64)> {
        let keep = shapsketch::surrogate::Keep { dropped, max_terms };
        let truncated = interruptible(py, |cancel| self.0.truncated(keep, cancel))?;
        Ok((shapsketch::Surrogate::Terms(truncated.terms).into(), truncated.kept_fraction))
    }
}
