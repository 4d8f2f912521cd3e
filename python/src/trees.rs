//! Ensembles of trees.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use shapsketch::trees::{CountingArrays, RunCount};

use crate::arrays::{self, Codes, Column, Matrix, Values, Vector};
use crate::sketch::Sketch;
use crate::space::Space;
use crate::surrogate::Relation;
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

/// A sum of trees that test symbols at positions and counts of k-mers and runs.
#[pyclass(frozen, module = "shapsketch._core")]
pub(crate) struct CountingTrees(pub(crate) shapsketch::trees::CountingTrees);

#[pymethods]
impl CountingTrees {
    /// The trees of flat arrays.
    #[new]
    #[pyo3(signature = (space, *, constant, starts, positions, sets, lengths, firsts, lasts, steps, kmers, relations, runs, roots, conditions, thresholds, yes, no, values))]
    #[expect(clippy::too_many_arguments, reason = "flat arrays of all trees")]
    fn new(
        py: Python<'_>,
        space: Space,
        constant: f64,
        starts: Column<'_, u64>,
        positions: Column<'_, u16>,
        sets: Column<'_, u64>,
        lengths: Column<'_, u16>,
        firsts: Column<'_, u16>,
        lasts: Column<'_, u16>,
        steps: Column<'_, u16>,
        kmers: Column<'_, u8>,
        relations: Vec<Relation>,
        runs: Column<'_, u16>,
        roots: Column<'_, u64>,
        conditions: Column<'_, i64>,
        thresholds: Column<'_, u32>,
        yes: Column<'_, u32>,
        no: Column<'_, u32>,
        values: Column<'_, f64>,
    ) -> PyResult<Self> {
        let arrays = CountingArrays {
            constant,
            starts: arrays::column(&starts),
            positions: arrays::column(&positions),
            sets: arrays::column(&sets),
            lengths: arrays::column(&lengths),
            firsts: arrays::column(&firsts),
            lasts: arrays::column(&lasts),
            steps: arrays::column(&steps),
            kmers: arrays::column(&kmers),
            relations: relations.into_iter().map(|relation| relation.0).collect(),
            runs: arrays::column(&runs),
            roots: arrays::column(&roots),
            conditions: arrays::column(&conditions),
            thresholds: arrays::column(&thresholds),
            yes: arrays::column(&yes),
            no: arrays::column(&no),
            values: arrays::column(&values),
        };
        interruptible(py, |_| shapsketch::trees::CountingTrees::from_arrays(space.0, arrays)).map(Self)
    }

    /// The arguments of the constructor after the space.
    fn arrays<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let arrays = self.0.to_arrays();
        let named = PyDict::new(py);
        named.set_item("constant", arrays.constant)?;
        named.set_item("starts", arrays::vector(py, arrays.starts))?;
        named.set_item("positions", arrays::vector(py, arrays.positions))?;
        named.set_item("sets", arrays::vector(py, arrays.sets))?;
        named.set_item("lengths", arrays::vector(py, arrays.lengths))?;
        named.set_item("firsts", arrays::vector(py, arrays.firsts))?;
        named.set_item("lasts", arrays::vector(py, arrays.lasts))?;
        named.set_item("steps", arrays::vector(py, arrays.steps))?;
        named.set_item("kmers", arrays::vector(py, arrays.kmers))?;
        named.set_item("relations", arrays.relations.into_iter().map(Relation).collect::<Vec<_>>())?;
        named.set_item("runs", arrays::vector(py, arrays.runs))?;
        named.set_item("roots", arrays::vector(py, arrays.roots))?;
        named.set_item("conditions", arrays::vector(py, arrays.conditions))?;
        named.set_item("thresholds", arrays::vector(py, arrays.thresholds))?;
        named.set_item("yes", arrays::vector(py, arrays.yes))?;
        named.set_item("no", arrays::vector(py, arrays.no))?;
        named.set_item("values", arrays::vector(py, arrays.values))?;
        Ok(named)
    }

    fn predict<'py>(&self, py: Python<'py>, codes: Codes<'_>) -> PyResult<Vector<'py, f64>> {
        let codes = arrays::codes(&codes);
        interruptible(py, |cancel| self.0.predict(&codes, cancel)).map(|values| arrays::vector(py, values))
    }
}

/// How often each sequence has runs, one row for each sequence. A count is a row of seven numbers, as in the arrays of
/// [`CountingTrees`].
#[pyfunction]
pub(crate) fn count_runs<'py>(
    py: Python<'py>,
    space: Space,
    codes: Codes<'_>,
    relations: Vec<Relation>,
    runs: Column<'_, u16>,
) -> PyResult<Matrix<'py, u32>> {
    let (codes, runs) = (arrays::codes(&codes), arrays::column(&runs));
    let (rows, width, counts) = interruptible(py, |cancel| {
        let relations = relations.into_iter().map(|relation| relation.0).collect();
        let counts = shapsketch::trees::RunCounts { relations, counts: RunCount::of_rows(&runs)? };
        Ok((space.0.check(&codes)?, counts.counts.len(), counts.count(&space.0, &codes, cancel)?))
    })?;
    arrays::matrix(py, counts, rows, width)
}
