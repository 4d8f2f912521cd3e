//! The memory of this machine.

use pyo3::prelude::*;

/// Largest number of bytes that one result or one computation may take.
#[pyfunction]
pub(crate) fn memory_limit() -> u128 {
    shapsketch::memory::limit()
}
