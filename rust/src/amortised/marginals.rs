//! Marginals: for each position, a value minus its mean over the symbols of that position.

use crate::anova::{Background, Components};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::explain::Index;
use crate::predictor::{Model, Predictor};
use crate::surrogate::Surrogate;

/// Sequences whose mutants are in memory together.
const ROWS: usize = 256;

/// Marginals `(B, n)` of a predictor minus a closed form; an ensemble of networks uses one of them for each sequence.
pub(super) fn of_difference(
    predictor: &Predictor,
    closed_form: &Surrogate,
    background: &Background,
    probabilities: &[f64],
    codes: &[u8],
    cancel: &Cancel,
) -> Result<Vec<f64>> {
    let mut sum = of_closed_form(closed_form, background, probabilities, codes, cancel)?;
    sum.iter_mut().for_each(|value| *value = -*value);
    for part in predictor.parts().iter().filter(|part| part.weight != 0.0) {
        let values = match &part.model {
            Model::Networks(networks) => networks.marginals(codes, probabilities, cancel)?,
            Model::ClosedForm(form) => {
                of_closed_form(form.surrogate(), background, probabilities, codes, cancel)?
            }
            Model::Trees(trees) => {
                let predict = |mutants: &[u8]| trees.predict(mutants, cancel);
                let (q, n) = (trees.space().q(), trees.space().n());
                of_mutants(q, n, probabilities, codes, predict)?
            }
        };
        sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += part.weight * value);
    }
    Ok(sum)
}

fn of_closed_form(
    surrogate: &Surrogate,
    background: &Background,
    probabilities: &[f64],
    codes: &[u8],
    cancel: &Cancel,
) -> Result<Vec<f64>> {
    let components = Components::with_background(&surrogate.terms(), background, cancel)?;
    let (q, n) = (surrogate.space().q(), surrogate.space().n());
    // The sum of all components with a position.
    match components.interactions(Index::CoMoebius, 1) {
        Ok(interactions) => {
            let values = components.values(&interactions, codes, cancel)?;
            let supports = interactions.supports();
            let mut out = vec![0.0; codes.len()];
            for (row, values) in values.chunks_exact(supports.len().max(1)).enumerate() {
                supports
                    .iter()
                    .zip(values)
                    .for_each(|(support, value)| out[row * n + support[0] as usize] = *value);
            }
            Ok(out)
        }
        // Long terms have too many components.
        Err(Error::TooLarge { .. }) => {
            of_mutants(q, n, probabilities, codes, |mutants| components.predict(mutants, cancel))
        }
        Err(error) => Err(error),
    }
}

fn of_mutants(
    q: usize,
    n: usize,
    probabilities: &[f64],
    codes: &[u8],
    predict: impl Fn(&[u8]) -> Result<Vec<f64>>,
) -> Result<Vec<f64>> {
    let mut out = Vec::with_capacity(codes.len());
    for block in codes.chunks(ROWS * n) {
        let mut mutants = Vec::with_capacity(block.len() * (n * (q - 1) + 1));
        for sequence in block.chunks_exact(n) {
            mutants.extend_from_slice(sequence);
            for i in 0..n {
                for a in (0..q as u8).filter(|&a| a != sequence[i]) {
                    let start = mutants.len();
                    mutants.extend_from_slice(sequence);
                    mutants[start + i] = a;
                }
            }
        }
        let scores = predict(&mutants)?;
        for (sequence, scores) in block.chunks_exact(n).zip(scores.chunks_exact(n * (q - 1) + 1)) {
            for (i, others) in scores[1..].chunks_exact(q - 1).enumerate() {
                let own = usize::from(sequence[i]);
                let chances = probabilities[i * q..][..q].iter().enumerate();
                let chances = chances.filter(|&(a, _)| a != own).map(|(_, p)| p);
                // The mutants have all symbols but that of the sequence.
                out.push(chances.zip(others).map(|(p, score)| p * (scores[0] - score)).sum());
            }
        }
    }
    Ok(out)
}
