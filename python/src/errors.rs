//! From the core's errors to Python's exceptions: the one place that maps them.

use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError};
use pyo3::prelude::*;
use shapsketch::Error;

/// The Python exception for an error of the core; the classes live in `shapsketch.errors`.
pub(crate) fn to_python(py: Python<'_>, error: &Error) -> PyErr {
    let class = match error {
        Error::Interrupted => return PyKeyboardInterrupt::new_err(error.to_string()),
        Error::BudgetTooSmall { .. } => "BudgetError",
        Error::File { .. } | Error::Io { .. } => "FileError",
        _ => "InputError",
    };
    let raise = || -> PyResult<PyErr> {
        let class = py.import("shapsketch.errors")?.getattr(class)?;
        Ok(PyErr::from_value(class.call1((error.to_string(),))?))
    };
    raise().unwrap_or_else(|failed| failed)
}

/// The exception for a panic of the core, which is a defect of shapsketch.
pub(crate) fn from_panic() -> PyErr {
    PyRuntimeError::new_err(
        "shapsketch failed internally; this is a defect, please report it with the input that caused it",
    )
}
