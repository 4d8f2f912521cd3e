//! Walks from one sequence to another.

use pyo3::prelude::*;
use shapsketch::walks::Walks;
use shapsketch::{Cancel, Result, SequenceSpace};

use crate::arrays::{self, Codes, Column, Matrix};
use crate::work::interruptible;

/// Values `(R, n + 1)` along walks from starts to targets, both `(R, n)`; orders of the positions one after another.
pub(crate) fn along<'py>(
    py: Python<'py>,
    space: &SequenceSpace,
    ends: (&Codes<'_>, &Codes<'_>),
    orders: &Column<'_, u32>,
    work: impl FnOnce(&Walks<'_>, &Cancel) -> Result<Vec<f64>> + Send,
) -> PyResult<Matrix<'py, f64>> {
    let (starts, targets) = (arrays::codes(ends.0), arrays::codes(ends.1));
    let orders = arrays::column(orders);
    let values = interruptible(py, |cancel| work(&Walks::new(space, &starts, &targets, &orders)?, cancel))?;
    let width = space.n() + 1;
    let rows = values.len() / width;
    arrays::matrix(py, values, rows, width)
}
