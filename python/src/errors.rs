//! From errors of the core to exceptions of Python. No other file names the variants of an error.

use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError};
use pyo3::prelude::*;
use shapsketch::Error;

/// The Python module of the exception classes.
const MODULE: &str = "shapsketch.errors";

/// The exception for an error of the core. Its attributes `index`, `position` and `option` are `None` if the
/// error does not concern one. Its attribute `detail` is the message without the number of the sequence.
pub(crate) fn to_python(py: Python<'_>, error: &Error) -> PyErr {
    let class = match error {
        Error::Interrupted => return PyKeyboardInterrupt::new_err(error.to_string()),
        Error::BudgetTooSmall { .. } => "BudgetError",
        Error::File { .. } | Error::Io { .. } | Error::Bytes { .. } => "FileError",
        _ => "InputError",
    };
    let exception = || -> PyResult<PyErr> {
        let exception = py.import(MODULE)?.getattr(class)?.call1((error.to_string(),))?;
        exception.setattr("index", error.index())?;
        exception.setattr("position", error.position())?;
        exception.setattr("option", error.option())?;
        exception.setattr("detail", error.detail())?;
        Ok(PyErr::from_value(exception))
    };
    exception().unwrap_or_else(|failed| failed)
}

/// The exception for a pool of threads that cannot start.
pub(crate) fn from_pool(py: Python<'_>, error: &rayon::ThreadPoolBuildError) -> PyErr {
    let message = format!(
        "cannot start the threads for this computation: {error}; set the environment variable RAYON_NUM_THREADS to a \
         smaller number, or raise the limit on threads of this process"
    );
    let exception = || py.import(MODULE)?.getattr("ShapsketchError")?.call1((message,));
    exception().map_or_else(|failed| failed, PyErr::from_value)
}

/// The exception for a panic of the core, which is a defect of shapsketch.
pub(crate) fn from_panic() -> PyErr {
    PyRuntimeError::new_err(
        "shapsketch failed internally; this is a defect, please report it with the input that caused it",
    )
}
