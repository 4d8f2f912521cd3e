//! Between NumPy arrays and the flat row-major slices of the core. No other file uses the `numpy` crate.

use numpy::{Element, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;

pub(crate) use numpy::Complex64;

/// Codes `(B, n)`, uint8, as an argument.
pub(crate) type Codes<'py> = PyReadonlyArray2<'py, u8>;
/// Numbers `(N,)` as an argument.
pub(crate) type Column<'py, T> = PyReadonlyArray1<'py, T>;
/// Values `(B,)`, float64, as an argument.
pub(crate) type Values<'py> = Column<'py, f64>;
/// Coefficients `(s,)`, complex128, as an argument.
pub(crate) type Coefficients<'py> = PyReadonlyArray1<'py, Complex64>;
/// Parameters `(members, P)`, float32, as an argument.
pub(crate) type Parameters<'py> = PyReadonlyArray2<'py, f32>;
/// A result of one dimension.
pub(crate) type Vector<'py, T> = Bound<'py, PyArray1<T>>;
/// A vector in a field of a class.
pub(crate) type OwnedVector<T> = Py<PyArray1<T>>;
/// A result of two dimensions.
pub(crate) type Matrix<'py, T> = Bound<'py, PyArray2<T>>;

pub(crate) fn codes(array: &Codes<'_>) -> Vec<u8> {
    array.as_slice().map_or_else(|_| array.as_array().iter().copied().collect(), <[u8]>::to_vec)
}

pub(crate) fn column<T: Element + Copy>(array: &Column<'_, T>) -> Vec<T> {
    array.as_slice().map_or_else(|_| array.as_array().iter().copied().collect(), <[T]>::to_vec)
}

pub(crate) fn values(array: &Values<'_>) -> Vec<f64> {
    column(array)
}

/// Calls `work` with the numbers of an array, which `work` may overwrite. If they cannot be overwritten where they are, it
/// receives a copy.
pub(crate) fn overwriting<T>(
    array: &Vector<'_, f64>,
    work: impl FnOnce(&mut [f64]) -> PyResult<T>,
) -> PyResult<T> {
    if let Ok(mut array) = array.try_readwrite()
        && let Ok(numbers) = array.as_slice_mut()
    {
        return work(numbers);
    }
    work(&mut column(&array.readonly()))
}

pub(crate) fn rows(array: &Parameters<'_>) -> Vec<Vec<f32>> {
    array.as_array().rows().into_iter().map(|row| row.to_vec()).collect()
}

pub(crate) fn coefficients(array: &Coefficients<'_>) -> Vec<Complex64> {
    array.as_array().iter().copied().collect()
}

/// Loads the parts of NumPy that arrays need. Otherwise the numpy crate loads them for the first array that is made or
/// read, and panics if an interrupt is pending then.
pub(crate) fn initialise(py: Python<'_>) {
    vector::<u8>(py, Vec::new()).readonly();
}

pub(crate) fn vector<T: Element>(py: Python<'_>, data: Vec<T>) -> Vector<'_, T> {
    PyArray1::from_vec(py, data)
}

/// A `(rows, width)` array of row-major data.
pub(crate) fn matrix<T: Element>(
    py: Python<'_>,
    data: Vec<T>,
    rows: usize,
    width: usize,
) -> PyResult<Matrix<'_, T>> {
    PyArray1::from_vec(py, data).reshape([rows, width])
}
