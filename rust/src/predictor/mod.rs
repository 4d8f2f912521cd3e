//! The best predictor that the queries allow: a weighted sum of models, of which some have no closed form.
//!
//! A closed form explains in microseconds, but often leaves out what the same queries can tell. A [`Predictor`] adds boosted
//! trees that count k-mers, and networks, with weights that were chosen on held-out values (stacking: Breiman
//! 1996). It costs no evaluation of the model.

mod curve;

pub use curve::Curve;

use crate::anova::Components;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::networks;
use crate::space::SequenceSpace;
use crate::surrogate::Surrogate;
use crate::trees::CountingTrees;
use crate::validation::RSquared;
use crate::walks::Walks;

/// Largest number of parts.
const MOST_PARTS: usize = 64;

/// A weighted sum of models and a constant, with its R² on held-out values.
#[derive(Clone, Debug)]
pub struct Predictor {
    space: SequenceSpace,
    constant: f64,
    parts: Vec<Part>,
    r2: RSquared,
    variances: Option<Vec<f64>>,
}

/// A model in a [`Predictor`].
#[derive(Clone, Debug)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its weight.
    pub weight: f64,
    /// R² of this model alone on the held-out values.
    pub r2: f64,
    /// The model.
    pub model: Model,
}

/// The kinds of models.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Model {
    /// A closed form, ready for evaluation.
    ClosedForm(Box<ClosedForm>),
    /// A closed form on a latent scale, and a monotone curve from there to the scale of the predictor (global
    /// epistasis).
    Monotone(Box<ClosedForm>, Curve),
    /// Boosted trees on patterns and counts.
    Trees(CountingTrees),
    /// Convolutional networks.
    Networks(networks::Ensemble),
}

/// A surrogate and its components.
#[derive(Clone, Debug)]
pub struct ClosedForm {
    surrogate: Surrogate,
    components: Components,
}

impl ClosedForm {
    /// A surrogate, ready for evaluation.
    ///
    /// # Errors
    /// If its terms do not belong to its space.
    pub fn new(surrogate: Surrogate) -> Result<Self> {
        let components = Components::new(&surrogate.terms())?;
        Ok(Self { surrogate, components })
    }

    /// The surrogate.
    #[must_use]
    pub const fn surrogate(&self) -> &Surrogate {
        &self.surrogate
    }
}

impl Model {
    /// The kind of model: "closed form", "monotone", "trees" or "networks".
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::ClosedForm(_) => "closed form",
            Self::Monotone(..) => "monotone",
            Self::Trees(_) => "trees",
            Self::Networks(_) => "networks",
        }
    }

    fn space(&self) -> &SequenceSpace {
        match self {
            Self::ClosedForm(form) | Self::Monotone(form, _) => form.surrogate.space(),
            Self::Trees(trees) => trees.space(),
            Self::Networks(networks) => networks.space(),
        }
    }

    /// Predictions for sequences, row-major codes.
    ///
    /// # Errors
    /// If the codes do not belong to the space, or the caller cancels.
    pub fn predict(&self, codes: &[u8], cancel: &Cancel) -> Result<Vec<f64>> {
        match self {
            Self::ClosedForm(form) => form.components.predict(codes, cancel),
            Self::Monotone(form, curve) => {
                let latent = form.components.predict(codes, cancel)?;
                Ok(latent.into_iter().map(|value| curve.at(value)).collect())
            }
            Self::Trees(trees) => trees.predict(codes, cancel),
            Self::Networks(networks) => networks.predict(codes, cancel),
        }
    }

    fn walks(&self, walks: &Walks<'_>, draws: &[u32], cancel: &Cancel) -> Result<Vec<f64>> {
        match self {
            Self::ClosedForm(form) => form.components.walks(walks, cancel),
            Self::Monotone(form, curve) => {
                let latent = form.components.walks(walks, cancel)?;
                Ok(latent.into_iter().map(|value| curve.at(value)).collect())
            }
            Self::Trees(trees) => walks.each(|codes| trees.predict(codes, cancel), cancel),
            Self::Networks(networks) => networks.walks(walks, draws, cancel),
        }
    }
}

impl Predictor {
    /// A predictor, and the R² that it has on held-out values.
    ///
    /// # Errors
    /// If there are too many parts, a part belongs to another space, or a number is not finite.
    ///
    /// ```
    /// use shapsketch::frequency::Frequency;
    /// use shapsketch::predictor::{ClosedForm, Model, Part, Predictor};
    /// use shapsketch::surrogate::{Spectrum, Surrogate};
    /// use shapsketch::validation::RSquared;
    /// use shapsketch::{Cancel, Complex64, SequenceSpace};
    /// let space = SequenceSpace::new("01", 2)?;
    /// let terms = vec![(Frequency::from_dense(&[1, 0]), Complex64::new(0.5, 0.0))];
    /// let form = Box::new(ClosedForm::new(Surrogate::Spectrum(Spectrum::new(space.clone(), terms)?))?);
    /// let part = Part { name: "regress".into(), weight: 0.5, r2: 0.9, model: Model::ClosedForm(form) };
    /// let r2 = RSquared::new(&[1.0, 2.0], &[1.0, 1.8])?;
    /// let predictor = Predictor::new(space, 1.0, vec![part], r2)?;
    /// assert_eq!(predictor.predict(&[0, 1, 1, 1], &Cancel::new())?, [1.25, 0.75]);
    /// # Ok::<(), shapsketch::Error>(())
    /// ```
    pub fn new(space: SequenceSpace, constant: f64, parts: Vec<Part>, r2: RSquared) -> Result<Self> {
        let bad = |expected, got| Err(Error::Parameter { name: "predictor", expected, got });
        if parts.len() > MOST_PARTS {
            return bad("of at most 64 parts", format!("{} parts", parts.len()));
        }
        if !constant.is_finite() {
            return bad("with a finite constant", constant.to_string());
        }
        for Part { name, weight, r2, model } in &parts {
            space.check_same(model.space())?;
            if !weight.is_finite() || *weight < 0.0 {
                return bad("with finite weights of at least 0", format!("{weight} for {name:?}"));
            }
            if *r2 > 1.0 {
                return bad("of parts with R² up to 1", format!("{r2} for {name:?}"));
            }
        }
        Ok(Self { space, constant, parts, r2, variances: None })
    }

    /// The predictor with these variances of its Shapley values, one for each position; see [`Predictor::variances`].
    ///
    /// # Errors
    /// If there is not one for each position, or one is negative or not finite.
    pub fn with_variances(self, variances: Vec<f64>) -> Result<Self> {
        let bad = |expected, got| Err(Error::Parameter { name: "variances", expected, got });
        if variances.len() != self.space.n() {
            return bad("one for each position", format!("{} for {}", variances.len(), self.space.n()));
        }
        if let Some(variance) = variances.iter().find(|v| !(v.is_finite() && **v >= 0.0)) {
            return bad("finite and at least 0", variance.to_string());
        }
        Ok(Self { variances: Some(variances), ..self })
    }

    /// The sequence space.
    #[must_use]
    pub const fn space(&self) -> &SequenceSpace {
        &self.space
    }

    /// The number that is added to the weighted sum.
    #[must_use]
    pub const fn constant(&self) -> f64 {
        self.constant
    }

    /// The models.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// R² on held-out values, and its interval.
    #[must_use]
    pub const fn r2(&self) -> &RSquared {
        &self.r2
    }

    /// For each position, the mean squared difference between the Shapley value of the predictor and that of the model,
    /// over uniform sequences and under the uniform background; `None` if it is not known.
    #[must_use]
    pub fn variances(&self) -> Option<&[f64]> {
        self.variances.as_deref()
    }

    /// Predictions for sequences, row-major codes.
    ///
    /// # Errors
    /// If the codes do not belong to the space, or the caller cancels.
    pub fn predict(&self, codes: &[u8], cancel: &Cancel) -> Result<Vec<f64>> {
        let count = self.space.check(codes)?;
        let mut sum = vec![self.constant; count];
        for part in &self.parts {
            let predictions = part.model.predict(codes, cancel)?;
            sum.iter_mut().zip(predictions).for_each(|(sum, value)| *sum += part.weight * value);
        }
        Ok(sum)
    }

    /// Predictions along walks, shape `(count, n + 1)`. Rows `2k` and `2k + 1` have one network of each ensemble, which
    /// `draws[k]` chooses, see [`networks::Ensemble::walks`]. All other models are exact.
    ///
    /// # Errors
    /// If the walks do not belong to the space, there is not one draw for each pair of rows, or the caller cancels.
    pub fn walks(&self, walks: &Walks<'_>, draws: &[u32], cancel: &Cancel) -> Result<Vec<f64>> {
        walks.space().check_same(&self.space)?;
        let mut sum = walks.zeros()?;
        sum.fill(self.constant);
        for part in &self.parts {
            let values = part.model.walks(walks, draws, cancel)?;
            sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += part.weight * value);
        }
        Ok(sum)
    }
}
