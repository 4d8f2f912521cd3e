//! Amortised Shapley values of a predictor: those of the closed form, plus the outputs of a network.
//!
//! The network learns the Shapley values of the difference between the predictor and the closed form, from marginals of
//! that difference at random sequences; see [`crate::networks::values`]. It explains a sequence in one pass, while sampling
//! needs thousands of predictions.

mod marginals;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::anova::Background;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::networks::values::{Marginals, ValueNetwork, ValuesTraining};
use crate::predictor::{Model, Predictor};
use crate::space::SequenceSpace;
use crate::surrogate::Surrogate;

/// Mutants that are predicted to train the network: if all parts of the predictor are fast, and otherwise.
const MUTANTS: (usize, usize) = (3_600_000, 600_000);
/// Bounds of the number of sequences with these mutants.
const SEQUENCES: (usize, usize) = (1_000, 40_000);
/// Tolerance: the probabilities of a position may add up to 1 with at most this error.
const SLACK: f64 = 1e-6;

/// How close amortised values are to the Shapley values of the predictor, on held-out random sequences.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Accuracy {
    /// Root mean squared error of the values.
    pub error: f64,
    /// Root mean square of the Shapley values of the predictor.
    pub size: f64,
    /// The error of sampled values.
    pub sampling: f64,
}

/// A network that adds the Shapley values of a predictor to those of the closed form, for one background.
#[derive(Clone, Debug, PartialEq)]
pub struct Amortised {
    network: ValueNetwork,
    background: Vec<f64>,
    base_value: f64,
    accuracy: Accuracy,
}

impl Amortised {
    /// Amortised values under the background with these probabilities `(n, q)`, with the mean of the predictor.
    ///
    /// # Errors
    /// If there are not `n q` probabilities, those of a position do not add up to 1, or a number is out of range.
    pub fn new(
        network: ValueNetwork,
        background: Vec<f64>,
        base_value: f64,
        accuracy: Accuracy,
    ) -> Result<Self> {
        let (q, n) = (network.space().q(), network.space().n());
        let bad = |expected, got| Err(Error::Parameter { name: "amortised values", expected, got });
        if background.len() != n * q {
            return bad("one probability for each symbol at each position", format!("{}", background.len()));
        }
        for (position, row) in background.chunks_exact(q).enumerate() {
            let sum: f64 = row.iter().sum();
            if row.iter().any(|p| *p < 0.0) || !sum.is_finite() || (sum - 1.0).abs() > SLACK {
                return bad("probabilities that add up to 1", format!("{row:?} at position {position}"));
            }
        }
        let Accuracy { error, size, sampling } = accuracy;
        if let Some(value) = [error, size, sampling].into_iter().find(|v| !(v.is_finite() && *v >= 0.0)) {
            return bad("errors that are finite and at least 0", value.to_string());
        }
        if !base_value.is_finite() {
            return bad("a finite base value", base_value.to_string());
        }
        Ok(Self { network, background, base_value, accuracy })
    }

    /// The sequence space.
    #[must_use]
    pub const fn space(&self) -> &SequenceSpace {
        self.network.space()
    }

    /// The network; it adds to the Shapley values of the closed form.
    #[must_use]
    pub const fn network(&self) -> &ValueNetwork {
        &self.network
    }

    /// What the network adds to the Shapley values of the closed form, `(B, n)`, for row-major codes. The letter of a position
    /// that has probability 1 under the background has the value 0, and the network adds nothing.
    ///
    /// # Errors
    /// If the codes do not belong to the space, or the caller cancels.
    pub fn values(&self, codes: &[u8], cancel: &Cancel) -> Result<Vec<f64>> {
        let (q, n) = (self.space().q(), self.space().n());
        let mut values = self.network.values(codes, cancel)?;
        for (row, values) in codes.chunks_exact(n).zip(values.chunks_exact_mut(n)) {
            for (i, (&code, value)) in row.iter().zip(values).enumerate() {
                if self.background[i * q + usize::from(code)] >= 1.0 - SLACK {
                    *value = 0.0;
                }
            }
        }
        Ok(values)
    }

    /// Probability of each symbol at each position under the background, `(n, q)`.
    #[must_use]
    pub fn background(&self) -> &[f64] {
        &self.background
    }

    /// Mean of the predictor over the background.
    #[must_use]
    pub const fn base_value(&self) -> f64 {
        self.base_value
    }

    /// How close the values are to those of the predictor.
    #[must_use]
    pub const fn accuracy(&self) -> Accuracy {
        self.accuracy
    }
}

/// Trains a network on the difference between a predictor and a closed form. It starts from the layers of the first
/// networks of the predictor.
///
/// # Errors
/// If the positions of the background are not independent, the spaces differ, the predictor is equal to the closed form,
/// an option is out of range, or the caller cancels.
pub fn train(
    predictor: &Predictor,
    closed_form: &Surrogate,
    background: &Background,
    training: &ValuesTraining,
    cancel: &Cancel,
) -> Result<ValueNetwork> {
    let space = predictor.space();
    space.check_same(closed_form.space())?;
    space.check_same(background.space())?;
    let Some(probabilities) = background.probabilities() else {
        let (name, expected) =
            ("background", "independent positions: uniform, probabilities, or one reference");
        return Err(Error::Parameter { name, expected, got: background.to_string() });
    };
    let slow = predictor.parts().iter().any(|part| matches!(part.model, Model::Trees(_)));
    let mutants = if slow { MUTANTS.1 } else { MUTANTS.0 };
    let count = (mutants / (space.n() * (space.q() - 1))).clamp(SEQUENCES.0, SEQUENCES.1);
    let (codes, kept) = sequences(space, &probabilities, training, count);
    let values =
        marginals::of_difference(predictor, closed_form, background, &probabilities, &codes, cancel)?;
    let start = predictor.parts().iter().find_map(|part| match &part.model {
        Model::Networks(networks) => Some(networks),
        _ => None,
    });
    let marginals = Marginals { codes: &codes, values: &values, kept: &kept, background: &probabilities };
    ValueNetwork::train(space, marginals, start, training, cancel)
}

/// Random sequences for [`Marginals`], and how many symbols each keeps.
fn sequences(
    space: &SequenceSpace,
    probabilities: &[f64],
    training: &ValuesTraining,
    count: usize,
) -> (Vec<u8>, Vec<f64>) {
    let (q, n) = (space.q(), space.n());
    let mut rng = ChaCha8Rng::seed_from_u64(training.seed);
    rng.set_stream(u64::MAX - 1);
    let (mut codes, mut kept) = (Vec::with_capacity(count * n), Vec::with_capacity(count));
    for _ in 0..count {
        let t = training.discount + (1.0 - training.discount) * rng.random::<f64>();
        kept.push(t);
        for (i, row) in probabilities.chunks_exact(q).enumerate() {
            let size = space.sizes().at(i as u16) as u32;
            let uniform = space.letter(i, rng.random_range(0..size) as usize);
            let (same, mut left) = (rng.random::<f64>() < t, rng.random::<f64>());
            let drawn = row.iter().position(|p| {
                left -= p;
                left < 0.0
            });
            // A sum of probabilities may be less than 1 by rounding.
            let last = || row.iter().rposition(|p| *p > 0.0).unwrap_or(q - 1);
            codes.push(if same { uniform } else { drawn.unwrap_or_else(last) as u8 });
        }
    }
    (codes, kept)
}
