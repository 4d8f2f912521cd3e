//! Marginals: for each position, a value minus its mean over the symbols of that position.

use crate::anova::{Background, Components};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::explain::Index;
use crate::predictor::{Model, Predictor};
use crate::space::SequenceSpace;
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
            model => {
                let predict = |mutants: &[u8]| model.predict(mutants, cancel);
                of_mutants(predictor.space(), probabilities, codes, predict)?
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
    let (space, n) = (surrogate.space(), surrogate.space().n());
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
            of_mutants(space, probabilities, codes, |mutants| components.predict(mutants, cancel))
        }
        Err(error) => Err(error),
    }
}

fn of_mutants(
    space: &SequenceSpace,
    probabilities: &[f64],
    codes: &[u8],
    predict: impl Fn(&[u8]) -> Result<Vec<f64>>,
) -> Result<Vec<f64>> {
    let (q, n) = (space.q(), space.n());
    let mut out = Vec::with_capacity(codes.len());
    for block in codes.chunks(ROWS * n) {
        let mut mutants = Vec::with_capacity(block.len() * (n * (q - 1) + 1));
        for sequence in block.chunks_exact(n) {
            mutants.extend_from_slice(sequence);
            for i in 0..n {
                for a in (0..q as u8).filter(|&a| a != sequence[i]) {
                    let start = mutants.len();
                    mutants.extend_from_slice(sequence);
                    // A letter that the position cannot have has the probability 0; the sequence stands for it.
                    if space.letters_at(i) >> a & 1 == 1 {
                        mutants[start + i] = a;
                    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::design::uniform;
    use crate::frequency::Frequency;
    use crate::networks::{Ensemble, Training};
    use crate::predictor::{ClosedForm, Part};
    use crate::surrogate::Spectrum;
    use crate::trees::{Count, CountingTrees, Node, RunCounts, Test};
    use crate::validation::RSquared;
    use crate::{Complex64, SequenceSpace};

    const N: usize = 5;

    fn spectrum(space: &SequenceSpace, seed: usize) -> Surrogate {
        let terms = (0..6).map(|k| {
            let size = |i: usize| space.sizes().at(i as u16);
            let dense: Vec<u8> = (0..N).map(|i| ((seed + 5 * k + 2 * i * k) % size(i)) as u8).collect();
            let (k, scale) = (Frequency::from_dense(&dense), 0.3 + k as f64);
            let conjugate = k.negated(space.sizes());
            let value = Complex64::new(scale, if k == conjugate { 0.0 } else { 0.5 });
            [(k, value), (conjugate, value.conj())]
        });
        let terms: std::collections::BTreeMap<_, _> = terms.flatten().collect();
        Surrogate::Spectrum(Spectrum::new(space.clone(), terms.into_iter().collect()).unwrap())
    }

    #[test]
    fn marginals_are_those_of_predicted_mutants() {
        let weights = [0.2, 0.5, 0.3];
        check(&SequenceSpace::new("ABC", N).unwrap(), weights.repeat(N));
        let letters = ["ABC", "AC", "ABC", "ABC", "ABC"];
        let of_two = [&weights[..], &[0.4, 0.0, 0.6], &weights.repeat(N - 2)].concat();
        check(&SequenceSpace::with_letters(&letters).unwrap(), of_two);
    }

    fn check(space: &SequenceSpace, weights: Vec<f64>) {
        let (space, cancel) = (space.clone(), Cancel::new());
        let codes = uniform(&space, 120, 1, &cancel).unwrap();
        let values: Vec<f64> = codes.chunks(N).map(|word| f64::from(word[0] * word[3])).collect();
        let training = Training { members: 1, channels: 5, hidden: 4, epochs: 2, ..Training::default() };
        let networks = Ensemble::train(&space, &codes, &values, None, &training, &cancel).unwrap();
        let counts = vec![Count { kmer: vec![2, 1], first: 0, last: 2, step: 1 }];
        let test = Test::AtMost { count: 0, threshold: 0 };
        let nodes = vec![Node::Split { condition: test, yes: 1, no: 2 }, Node::Leaf(0.5), Node::Leaf(2.0)];
        let trees = CountingTrees::new(space.clone(), 0.1, vec![], counts, RunCounts::default(), vec![nodes])
            .unwrap();
        let form = Box::new(ClosedForm::new(spectrum(&space, 1)).unwrap());
        let models = [Model::Networks(networks), Model::Trees(trees), Model::ClosedForm(form)];
        let parts = models.map(|model| Part { name: "part".into(), weight: 0.4, r2: 0.5, model });
        let r2 = RSquared::new(&[1.0, 2.0, 4.0], &[1.0, 2.5, 4.0]).unwrap();
        let predictor = Predictor::new(space.clone(), 3.0, parts.into(), r2).unwrap();
        let closed_form = spectrum(&space, 2);
        let components = Components::new(&closed_form.terms()).unwrap();
        for background in [
            Background::uniform(&space),
            Background::product(&space, weights).unwrap(),
            Background::references(&space, &codes[..N]).unwrap(),
        ] {
            let chances = background.probabilities().unwrap();
            let marginals =
                of_difference(&predictor, &closed_form, &background, &chances, &codes, &cancel).unwrap();
            for (word, marginals) in codes.chunks(N).zip(marginals.chunks(N)) {
                for (i, marginal) in marginals.iter().enumerate() {
                    let letters: Vec<usize> = space.codes_at(i).collect();
                    let mut mutants = word.repeat(letters.len());
                    letters.iter().enumerate().for_each(|(row, &a)| mutants[row * N + i] = a as u8);
                    let predicted = predictor.predict(&mutants, &cancel).unwrap();
                    let explained = components.predict(&mutants, &cancel).unwrap();
                    let scores: Vec<f64> = predicted.iter().zip(explained).map(|(p, e)| p - e).collect();
                    let mean: f64 = scores.iter().zip(&letters).map(|(s, &a)| s * chances[i * 3 + a]).sum();
                    let own = letters.iter().position(|&a| a == word[i] as usize).unwrap();
                    // Networks compute in single precision.
                    assert!((marginal - scores[own] + mean).abs() < 1e-5);
                }
            }
        }
    }
}
