//! Characters and Fourier coefficients of spaces whose positions have letters of their own.
//!
//! The characters of position `i` are those of `Z_{q_i}`, at the number of a letter among the letters of the position.

use std::collections::HashMap;

use rustfft::num_complex::Complex64;

use super::{Basis, SupportTerms};
use crate::error::{Error, Result};
use crate::space::{SequenceSpace, roots_of_unity};
use crate::words;

/// A tensor over labels may have this multiple of the entries of the result; otherwise terms are added one by one.
const SPARSE: usize = 4;
/// Coefficients below this fraction of the sum of the magnitudes of all terms are rounding errors.
const ROUNDING: f64 = 1e-15;

/// The labels of the characters of each position.
pub(super) enum Characters {
    /// The same characters at every position.
    Same,
    /// The sets of letters of positions, each with the label of its character 0; the sets by position.
    Each { labels: HashMap<u64, u16>, sets: Vec<u64>, listed: Vec<(u64, u8)> },
}

impl Characters {
    /// The caller has checked that the labels fit; see [`Self::check`].
    pub(super) fn new(space: &SequenceSpace) -> Self {
        if !space.has_letters() {
            return Self::Same;
        }
        let sets: Vec<u64> = (0..space.n()).map(|position| space.letters_at(position)).collect();
        let (mut labels, mut listed) = (HashMap::new(), Vec::new());
        for &set in &sets {
            labels.entry(set).or_insert_with(|| {
                let first = listed.len() as u16;
                listed.extend((0..set.count_ones() as u8).map(|k| (set, k)));
                first
            });
        }
        Self::Each { labels, sets, listed }
    }

    /// # Errors
    /// If the positions have more characters than there are labels.
    pub(super) fn check(space: &SequenceSpace) -> Result<()> {
        match Self::new(space) {
            Self::Each { listed, .. } if listed.len() > usize::from(u16::MAX) => Err(Error::TooLarge {
                what: "the list of characters of the letters of all positions",
                bytes: listed.len() as u128 * 16,
                advice: "use letter patterns, or a space with fewer different sets of letters",
            }),
            _ => Ok(()),
        }
    }

    pub(super) fn basis(&self) -> Basis {
        match self {
            Self::Same => Basis::Characters,
            Self::Each { listed, .. } => Basis::CharactersOf(listed.as_slice().into()),
        }
    }

    /// The label of the character `k` of a position.
    pub(super) fn label(&self, position: u16, k: u8) -> u16 {
        match self {
            Self::Same => u16::from(k),
            Self::Each { labels, sets, .. } => {
                labels.get(&sets[position as usize]).map_or(0, |first| first + u16::from(k))
            }
        }
    }
}

/// The Fourier coefficients of the terms of one support, over the words of its labels `k`, and a bound of their rounding
/// errors.
pub(super) fn coefficients(
    space: &SequenceSpace,
    factors: &[Complex64],
    group: &SupportTerms,
) -> (Vec<Complex64>, f64) {
    let SupportTerms { support, labels, coefficients } = group;
    let order = support.len();
    let q = space.q();
    let sizes: Vec<usize> = support.iter().map(|&i| space.sizes().at(i)).collect();
    // For each axis, the labels that occur, and the Fourier coefficients of their factors.
    let axes: Vec<(Vec<u16>, Vec<Complex64>)> = (0..order)
        .map(|axis| {
            let mut used: Vec<u16> = labels.iter().skip(axis).step_by(order).copied().collect();
            used.sort_unstable();
            used.dedup();
            let letters: Vec<usize> = space.codes_at(support[axis] as usize).collect();
            let waves = fourier(sizes[axis]);
            let transformed = used.iter().flat_map(|&label| {
                let row = &factors[label as usize * q..][..q];
                let at_letters: Vec<Complex64> = letters.iter().map(|&code| row[code]).collect();
                contract(at_letters, &[(sizes[axis], sizes[axis], &waves)])
            });
            let transformed = transformed.collect();
            (used, transformed)
        })
        .collect();
    let rounding = ROUNDING * coefficients.iter().map(|value| value.norm()).sum::<f64>();
    let size = words::count(sizes.iter().copied());
    let n_labels = || axes.iter().map(|(used, _)| used.len());
    let index = |axis: usize, label: u16| axes[axis].0.partition_point(|&used| used < label);
    let rows = labels.chunks_exact(order).zip(coefficients);
    if words::checked_count(n_labels()).is_some_and(|count| count <= SPARSE * size.max(coefficients.len())) {
        let mut tensor = vec![Complex64::ZERO; words::count(n_labels())];
        for (labels, &coefficient) in rows {
            let digits = labels.iter().enumerate().map(|(axis, &label)| index(axis, label));
            tensor[words::number(digits, n_labels())] += coefficient;
        }
        let matrices: Vec<(usize, usize, &[Complex64])> =
            axes.iter().zip(&sizes).map(|((used, rows), &size)| (used.len(), size, &rows[..])).collect();
        return (contract(tensor, &matrices), rounding);
    }
    let mut sum = vec![Complex64::ZERO; size];
    for (labels, &coefficient) in rows {
        let mut product = vec![coefficient];
        for (axis, &label) in labels.iter().enumerate() {
            let row = &axes[axis].1[index(axis, label) * sizes[axis]..][..sizes[axis]];
            product = product.iter().flat_map(|p| row.iter().map(move |factor| p * factor)).collect();
        }
        sum.iter_mut().zip(product).for_each(|(sum, p)| *sum += p);
    }
    (sum, rounding)
}

/// The Fourier coefficients of a table over the words of letters at some positions; the table has all words of the
/// alphabet.
pub(super) fn of_table(space: &SequenceSpace, positions: &[u16], table: &[Complex64]) -> Vec<Complex64> {
    let waves: Vec<(usize, Vec<Complex64>)> =
        positions.iter().map(|&i| space.sizes().at(i)).map(|size| (size, fourier(size))).collect();
    let matrices: Vec<(usize, usize, &[Complex64])> =
        waves.iter().map(|(size, waves)| (*size, *size, &waves[..])).collect();
    contract(words_of(space, positions).into_iter().map(|word| table[word]).collect(), &matrices)
}

/// The number of each word of letters at some positions, among all words of the alphabet.
fn words_of(space: &SequenceSpace, positions: &[u16]) -> Vec<usize> {
    let mut words = vec![0];
    for &i in positions {
        let codes = space.codes_at(i as usize);
        words =
            words.iter().flat_map(|word| codes.clone().map(move |code| word * space.q() + code)).collect();
    }
    words
}

/// A sum of characters at every word of letters, with the numbers of the words among those of the alphabet. The caller has
/// checked that there are not too many.
pub(super) fn values(
    space: &SequenceSpace,
    characters: &[(u64, u8)],
    group: &SupportTerms,
) -> impl Iterator<Item = (usize, f64)> + use<> {
    let SupportTerms { support, labels, coefficients } = group;
    let sizes = || support.iter().map(|&i| space.sizes().at(i));
    let mut tensor = vec![Complex64::ZERO; words::count(sizes())];
    for (labels, &coefficient) in labels.chunks_exact(support.len()).zip(coefficients) {
        let k = labels.iter().map(|&label| usize::from(characters[label as usize].1));
        tensor[words::number(k, sizes())] += coefficient;
    }
    let waves: Vec<(usize, Vec<Complex64>)> = sizes()
        .map(|size| (size, fourier(size).into_iter().map(|wave| wave.conj() * size as f64).collect()))
        .collect();
    let matrices: Vec<(usize, usize, &[Complex64])> =
        waves.iter().map(|(size, waves)| (*size, *size, &waves[..])).collect();
    words_of(space, support).into_iter().zip(contract(tensor, &matrices).into_iter().map(|value| value.re))
}

/// `w^{-k x} / size` at row `x`, column `k`.
fn fourier(size: usize) -> Vec<Complex64> {
    let roots = roots_of_unity(size);
    (0..size * size).map(|i| roots[(i / size) * (i % size) % size].conj() / size as f64).collect()
}

/// A tensor, contracted with a matrix at each axis: rows, columns and entries of the matrices.
fn contract(mut tensor: Vec<Complex64>, matrices: &[(usize, usize, &[Complex64])]) -> Vec<Complex64> {
    for &(rows, columns, matrix) in matrices {
        // Contract the first axis and move its columns to the end. After all axes the original order is restored.
        let rest = tensor.len() / rows;
        let mut next = vec![Complex64::ZERO; rest * columns];
        for (part, row) in tensor.chunks_exact(rest).zip(matrix.chunks_exact(columns)) {
            for (index, &value) in part.iter().enumerate().filter(|(_, value)| **value != Complex64::ZERO) {
                let out = &mut next[index * columns..][..columns];
                out.iter_mut().zip(row).for_each(|(out, factor)| *out += value * factor);
            }
        }
        tensor = next;
    }
    tensor
}
