//! Least squares fit of the coefficients of given frequencies to all bins.
//!
//! The transform of a block is unitary up to scale, so this is the least squares fit to the values. Two frequencies
//! interact only if they share a bin, so the Gram matrix
//! `G[k,k'] = (1/CP) Σ_c 1[M_c^T(k-k') = 0] Σ_p ω^{<d_{c,p}, k'-k>}` is sparse. Its entries follow from the structure
//! of the delays, without a sum over all of them. The system is solved by conjugate gradients.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;
use rustfft::num_complex::Complex64;

use super::bins::Bins;
use crate::cancel::Cancel;
use crate::error::Result;
use crate::frequency::Frequency;

/// Relative residual of the normal equations at which conjugate gradients stop.
const TOLERANCE: f64 = 1e-14;
/// Largest number of iterations of conjugate gradients.
const MAX_ITERATIONS: usize = 500;

/// The changes of the coefficients of `frequencies` (one of each pair `k, -k`) that minimise the energy of the
/// bins.
pub(crate) fn corrections(
    bins: &Bins<'_>,
    frequencies: &[Frequency],
    cancel: &Cancel,
) -> Result<Vec<Complex64>> {
    let q = bins.design.space().sizes();
    let groups = bins.design.groups().len();
    // With both frequencies of each pair, the solution is conjugate symmetric because the bins are.
    let mut all: Vec<Frequency> = frequencies.to_vec();
    all.extend(frequencies.iter().filter(|k| !k.is_self_conjugate(q)).map(|k| k.negated(q)));
    let rhs: Vec<Complex64> = all
        .par_iter()
        .map(|k| (0..groups).map(|c| bins.project(c, k)).sum::<Complex64>() / groups as f64)
        .collect();
    let gram = gram(bins, &all, cancel)?;
    let solution = conjugate_gradients(&gram, &rhs, cancel)?;
    Ok(solution[..frequencies.len()]
        .iter()
        .zip(frequencies)
        .map(|(&value, k)| if k.is_self_conjugate(q) { value.re.into() } else { value })
        .collect())
}

/// For each row of a sparse matrix, columns and entries.
type SparseRows = Vec<Vec<(usize, Complex64)>>;

fn gram(bins: &Bins<'_>, all: &[Frequency], cancel: &Cancel) -> Result<SparseRows> {
    let q = bins.design.space().sizes();
    let design_groups = bins.design.groups();
    let scale = 1.0 / (design_groups.len() * bins.design.delays_per_group()) as f64;
    let bins_of: Vec<Vec<usize>> =
        design_groups.iter().map(|group| all.par_iter().map(|k| group.matrix.bin(k)).collect()).collect();
    let members: Vec<HashMap<usize, Vec<usize>>> = bins_of
        .iter()
        .map(|numbers| {
            let mut members: HashMap<usize, Vec<usize>> = HashMap::new();
            for (index, &j) in numbers.iter().enumerate() {
                members.entry(j).or_default().push(index);
            }
            members
        })
        .collect();
    (0..all.len())
        .into_par_iter()
        .map(|a| {
            cancel.check()?;
            let mut row: BTreeMap<usize, Complex64> = BTreeMap::new();
            let mut counts = Vec::new();
            for (c, group) in design_groups.iter().enumerate() {
                for &b in members[c].get(&bins_of[c][a]).into_iter().flatten() {
                    let difference = all[b].minus(&all[a], q);
                    let sum = group.delays.signature_sum(&difference, &bins.roots, &mut counts);
                    *row.entry(b).or_default() += sum * scale;
                }
            }
            Ok(row.into_iter().collect())
        })
        .collect()
}

fn conjugate_gradients(rows: &SparseRows, rhs: &[Complex64], cancel: &Cancel) -> Result<Vec<Complex64>> {
    let dot =
        |a: &[Complex64], b: &[Complex64]| -> f64 { a.iter().zip(b).map(|(a, b)| (a.conj() * b).re).sum() };
    let mut solution = vec![Complex64::ZERO; rhs.len()];
    let mut residual = rhs.to_vec();
    let mut direction = residual.clone();
    let start = dot(rhs, rhs);
    let mut energy = start;
    for _ in 0..MAX_ITERATIONS {
        if energy <= start * TOLERANCE * TOLERANCE {
            break;
        }
        cancel.check()?;
        let image: Vec<Complex64> =
            rows.par_iter().map(|row| row.iter().map(|&(b, g)| g * direction[b]).sum()).collect();
        let curvature = dot(&direction, &image);
        if curvature <= 0.0 {
            break;
        }
        let step = energy / curvature;
        for i in 0..rhs.len() {
            solution[i] += direction[i] * step;
            residual[i] -= image[i] * step;
        }
        let next = dot(&residual, &residual);
        for (d, r) in direction.iter_mut().zip(&residual) {
            *d = r + *d * (next / energy);
        }
        energy = next;
    }
    Ok(solution)
}
