//! Between NumPy arrays and the flat row-major slices of the core: the one file that knows NumPy.

use numpy::{Complex64, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;

/// Codes `(B, n)`, uint8.
pub(crate) type Codes<'py> = PyReadonlyArray2<'py, u8>;
/// Values `(B,)`, float64.
pub(crate) type Values<'py> = PyReadonlyArray1<'py, f64>;
/// Coefficients `(s,)`, complex128.
pub(crate) type Coefficients<'py> = PyReadonlyArray1<'py, Complex64>;

pub(crate) fn codes(array: &Codes<'_>) -> Vec<u8> {
    array.as_slice().map_or_else(|_| array.as_array().iter().copied().collect(), <[u8]>::to_vec)
}

pub(crate) fn values(array: &Values<'_>) -> Vec<f64> {
    array.as_slice().map_or_else(|_| array.as_array().iter().copied().collect(), <[f64]>::to_vec)
}

pub(crate) fn coefficients(array: &Coefficients<'_>) -> Vec<Complex64> {
    array.as_array().iter().copied().collect()
}

pub(crate) fn vector<T: numpy::Element>(py: Python<'_>, data: Vec<T>) -> Bound<'_, PyArray1<T>> {
    PyArray1::from_vec(py, data)
}

/// A `(rows, width)` array of row-major data.
pub(crate) fn matrix<T: numpy::Element>(
    py: Python<'_>,
    data: Vec<T>,
    rows: usize,
    width: usize,
) -> PyResult<Bound<'_, PyArray2<T>>> {
    PyArray1::from_vec(py, data).reshape([rows, width])
}
