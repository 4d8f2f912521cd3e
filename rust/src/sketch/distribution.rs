//! The distribution of the queries of a sketch, to which its R² refers.

use serde::{Deserialize, Serialize};

use super::tensors::{Reason, Tensor, Tensors};
use crate::anova::Background;
use crate::error::{Error, Result};
use crate::space::SequenceSpace;

/// Names of the tensors.
const PROBABILITIES: &str = "distribution.probabilities";
const REFERENCES: &str = "distribution.references";

/// The background of explanations, unless the user chooses one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefaultBackground {
    /// Every sequence equally likely.
    Uniform,
    /// Independent positions, with the probabilities of the distribution.
    Product,
    /// Equally likely sequences, row-major codes; a single one is a reference, such as a wild type.
    References(Vec<u8>),
    /// The user must choose one.
    None,
}

impl DefaultBackground {
    /// The name used in files and in Python.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Product => "product",
            Self::References(_) => "references",
            Self::None => "none",
        }
    }

    /// The background with this name. Only `"references"` uses the codes.
    ///
    /// # Errors
    /// [`Error::UnknownName`] if there is none.
    pub fn from_name(name: &str, references: Vec<u8>) -> Result<Self> {
        let all = [Self::Uniform, Self::Product, Self::References(references), Self::None];
        let names = ["uniform", "product", "references", "none"];
        Error::choose("background", name, &names, |name| name)?;
        Ok(all.into_iter().find(|background| background.name() == name).unwrap_or(Self::None))
    }
}

/// The distribution of queries that were not uniform.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// What it is, in words.
    pub text: String,
    /// Probability of each symbol at each position, row-major `(n, q)`.
    pub probabilities: Vec<f64>,
    /// Smallest log-likelihood of a query, if positions had these probabilities and were independent, divided by
    /// the length. Sequences with a smaller one are far from the queries.
    pub least_log_likelihood: f64,
    /// The background of explanations.
    pub background: DefaultBackground,
}

impl Distribution {
    /// Checks that the distribution belongs to a space.
    ///
    /// # Errors
    /// If probabilities are not valid, the number is not finite, or references are not sequences of the space.
    pub fn check(&self, space: &SequenceSpace) -> Result<()> {
        Background::product(space, self.probabilities.clone())?;
        if !(self.least_log_likelihood.is_finite() && self.least_log_likelihood <= 0.0) {
            return Err(Error::Parameter {
                name: "least_log_likelihood",
                expected: "a number up to 0",
                got: self.least_log_likelihood.to_string(),
            });
        }
        if let DefaultBackground::References(codes) = &self.background {
            Background::references(space, codes)?;
        }
        Ok(())
    }

    /// The tensors of a file.
    pub(super) fn tensors(&self, space: &SequenceSpace) -> Vec<Tensor> {
        let mut tensors = vec![Tensor::f64s(PROBABILITIES, &self.probabilities).with_columns(space.q())];
        if let DefaultBackground::References(codes) = &self.background {
            tensors.push(Tensor::u8s(REFERENCES, codes.clone()).with_columns(space.n()));
        }
        tensors
    }
}

/// A [`Distribution`] in the metadata of a file, without its arrays.
#[derive(Serialize, Deserialize)]
pub(super) struct DistributionRecord {
    text: String,
    least_log_likelihood: f64,
    background: String,
}

impl From<&Distribution> for DistributionRecord {
    fn from(distribution: &Distribution) -> Self {
        Self {
            text: distribution.text.clone(),
            least_log_likelihood: distribution.least_log_likelihood,
            background: distribution.background.name().into(),
        }
    }
}

impl DistributionRecord {
    /// The distribution with the arrays of a file.
    pub(super) fn into_distribution(
        self,
        space: &SequenceSpace,
        tensors: &Tensors<'_>,
    ) -> Reason<Distribution> {
        let references = match self.background.as_str() {
            "references" => tensors.u8s(REFERENCES)?,
            _ => Vec::new(),
        };
        let background =
            DefaultBackground::from_name(&self.background, references).map_err(|e| e.to_string())?;
        let distribution = Distribution {
            text: self.text,
            probabilities: tensors.f64s(PROBABILITIES)?,
            least_log_likelihood: self.least_log_likelihood,
            background,
        };
        distribution.check(space).map_err(|e| e.to_string())?;
        Ok(distribution)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::sketch::Sketch;
    use crate::surrogate::{Spectrum, Surrogate};

    fn space() -> SequenceSpace {
        SequenceSpace::new("ACG", 2).unwrap()
    }

    fn distribution(background: DefaultBackground) -> Distribution {
        Distribution {
            text: "mutants of AC".into(),
            probabilities: vec![0.9, 0.05, 0.05, 0.0, 1.0, 0.0],
            least_log_likelihood: -1.5,
            background,
        }
    }

    fn sketch(distribution: Distribution) -> Result<Sketch> {
        let zero = Spectrum::new(space(), Vec::new())?;
        Sketch::from(Surrogate::Spectrum(zero)).with_distribution(distribution)
    }

    #[test]
    fn files_keep_the_distribution() {
        let references = DefaultBackground::References(vec![0, 1, 2, 2]);
        for background in
            [DefaultBackground::Uniform, DefaultBackground::Product, references, DefaultBackground::None]
        {
            let expected = distribution(background);
            let bytes = sketch(expected.clone()).unwrap().to_bytes().unwrap();
            assert_eq!(Sketch::from_bytes(&bytes).unwrap().distribution, Some(expected));
        }
    }

    #[test]
    fn impossible_distributions_are_refused() {
        let message = |change: &dyn Fn(&mut Distribution)| {
            let mut distribution = distribution(DefaultBackground::References(vec![0, 1]));
            change(&mut distribution);
            sketch(distribution).unwrap_err().to_string()
        };
        assert!(message(&|d| d.probabilities[0] = 0.5).contains("add up to 1"));
        assert!(message(&|d| d.probabilities.truncate(5)).contains("5 numbers"));
        assert!(message(&|d| d.least_log_likelihood = f64::NAN).contains("a number up to 0"));
        assert!(message(&|d| d.background = DefaultBackground::References(vec![0, 3])).contains('3'));
        assert!(DefaultBackground::from_name("flat", Vec::new()).unwrap_err().to_string().contains("flat"));
    }
}
