//! Predictors: weighted sums of models, of which some have no closed form.

use std::sync::Arc;

use pyo3::prelude::*;
use shapsketch::predictor::{self, ClosedForm, Curve, Model};

use crate::arrays::{self, Codes, Column, Matrix, Values, Vector};
use crate::networks::Networks;
use crate::sketch::Sketch;
use crate::space::Space;
use crate::trees::CountingTrees;
use crate::validation::RSquared;
use crate::walks;
use crate::work::{interruptible, short};

/// A model of a predictor.
#[derive(FromPyObject)]
pub(crate) enum PartModel<'py> {
    #[pyo3(transparent)]
    ClosedForm(Sketch),
    #[pyo3(transparent)]
    Monotone(PyRef<'py, Monotone>),
    #[pyo3(transparent)]
    Trees(PyRef<'py, CountingTrees>),
    #[pyo3(transparent)]
    Networks(PyRef<'py, Networks>),
}

impl PartModel<'_> {
    fn model(&self) -> shapsketch::Result<Model> {
        Ok(match self {
            Self::ClosedForm(sketch) => {
                Model::ClosedForm(Box::new(ClosedForm::new(sketch.0.surrogate.clone())?))
            }
            Self::Monotone(monotone) => monotone.0.clone(),
            Self::Trees(trees) => Model::Trees(trees.0.clone()),
            Self::Networks(networks) => Model::Networks(networks.0.clone()),
        })
    }
}

/// A closed form on a latent scale, and a monotone curve.
#[pyclass(frozen, module = "shapsketch._core")]
pub(crate) struct Monotone(Model);

#[pymethods]
impl Monotone {
    #[new]
    fn new(py: Python<'_>, sketch: Sketch, knots: Values<'_>, values: Values<'_>) -> PyResult<Self> {
        let (knots, values) = (arrays::values(&knots), arrays::values(&values));
        short(py, || {
            let form = ClosedForm::new(sketch.0.surrogate.clone())?;
            Ok(Self(Model::Monotone(Box::new(form), Curve::new(knots, values)?)))
        })
    }

    fn predict<'py>(&self, py: Python<'py>, codes: Codes<'_>) -> PyResult<Vector<'py, f64>> {
        let codes = arrays::codes(&codes);
        interruptible(py, |cancel| self.0.predict(&codes, cancel)).map(|values| arrays::vector(py, values))
    }
}

#[pyclass(frozen, from_py_object, module = "shapsketch._core")]
#[derive(Clone)]
pub(crate) struct Predictor(pub(crate) Arc<predictor::Predictor>);

#[pymethods]
impl Predictor {
    /// Parts are names, weights, R² and models.
    #[new]
    #[pyo3(signature = (space, *, constant, parts, r2, variances=None))]
    fn new(
        py: Python<'_>,
        space: Space,
        constant: f64,
        parts: Vec<(String, f64, f64, PartModel<'_>)>,
        r2: RSquared,
        variances: Option<Values<'_>>,
    ) -> PyResult<Self> {
        let variances = variances.as_ref().map(arrays::values);
        short(py, || {
            let parts = parts.into_iter().map(|(name, weight, r2, model)| {
                Ok(predictor::Part { name, weight, r2, model: model.model()? })
            });
            let parts = parts.collect::<shapsketch::Result<Vec<_>>>()?;
            let predictor = predictor::Predictor::new(space.0, constant, parts, r2.into())?;
            variances.map_or(Ok(predictor.clone()), |variances| predictor.with_variances(variances))
        })
        .map(|predictor| Self(Arc::new(predictor)))
    }

    fn predict<'py>(&self, py: Python<'py>, codes: Codes<'_>) -> PyResult<Vector<'py, f64>> {
        let codes = arrays::codes(&codes);
        interruptible(py, |cancel| self.0.predict(&codes, cancel)).map(|values| arrays::vector(py, values))
    }

    /// Predictions along walks; `draws` choose the network of each pair of rows.
    fn walks<'py>(
        &self,
        py: Python<'py>,
        starts: Codes<'_>,
        targets: Codes<'_>,
        orders: Column<'_, u32>,
        draws: Column<'_, u32>,
    ) -> PyResult<Matrix<'py, f64>> {
        let draws = arrays::column(&draws);
        walks::along(py, self.0.space(), (&starts, &targets), &orders, |walks, cancel| {
            self.0.walks(walks, &draws, cancel)
        })
    }

    /// Variances of the Shapley values, one for each position, if they are known.
    #[getter]
    fn variances<'py>(&self, py: Python<'py>) -> Option<Vector<'py, f64>> {
        self.0.variances().map(|variances| arrays::vector(py, variances.to_vec()))
    }

    #[getter]
    fn r2(&self) -> RSquared {
        (*self.0.r2()).into()
    }

    #[getter]
    fn constant(&self) -> f64 {
        self.0.constant()
    }

    /// Name, kind, weight and R² of each part.
    #[getter]
    fn parts(&self) -> Vec<(String, &'static str, f64, f64)> {
        let parts = self.0.parts().iter();
        parts.map(|part| (part.name.clone(), part.model.kind(), part.weight, part.r2)).collect()
    }
}
