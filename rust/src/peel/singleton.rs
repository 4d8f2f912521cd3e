//! Reading one frequency from a bin.
//!
//! A bin with one coefficient is `U_p = F[k] ω^{<d_p,k>}`. With delays `o_r`, `o_r ± e_1 … o_r ± e_n`, the
//! ratios of the values of one repeat `r` give the labels of `k` (arXiv 2301.06200, sections 3.2 and 4). The
//! model is real, so a bin `j = -j` contains both `k` and `-k`: a real signal `2 Re(F[k] ω^{<d_p,k>})`,
//! which [`pair`] reads.

use rustfft::num_complex::Complex64;

use super::bins::{Bins, mean_energy};
use crate::design::{Group, Sign};
use crate::frequency::Frequency;

/// Smallest determinant of the normal equations of [`pair_value`], relative to their squared trace.
const MIN_DETERMINANT: f64 = 1e-12;

/// A frequency with its coefficient.
#[derive(Clone, Debug)]
pub(crate) struct Term {
    pub(crate) k: Frequency,
    pub(crate) value: Complex64,
}

/// The only term of a bin: it explains the bin to within `cutoff`, and its frequency belongs to the bin.
pub(crate) fn singleton(bins: &Bins, group: usize, j: usize, cutoff: f64) -> Option<Term> {
    let Term { k, value } = dominant(bins, group, j)?;
    let design = bins.design.groups().get(group)?;
    let explained = residual(bins, design, bins.bin(group, j), &k, value) <= cutoff;
    explained.then_some(Term { k, value })
}

/// The term that is closest to a bin and belongs to it. The bin may contain other terms, so the other groups
/// must confirm it.
pub(crate) fn dominant(bins: &Bins, group: usize, j: usize) -> Option<Term> {
    let design = bins.design.groups().get(group)?;
    let k = nearest(bins, design, bins.bin(group, j))?;
    let needs_pair = bins.negated(j) == j && !k.is_self_conjugate(bins.design.space().q());
    if needs_pair || design.matrix.bin(&k) != j {
        return None;
    }
    let value = bins.project(group, &k);
    Some(Term { k, value })
}

/// Number of delays of one repeat.
fn stride(bins: &Bins) -> usize {
    bins.design.space().n() + 1
}

/// The frequency whose signature is closest to a bin: `k_i` from the angle of `Σ_r conj(U_{r,0}) U_{r,i}`. For
/// negative steps the angle has the opposite sign.
fn nearest(bins: &Bins, group: &Group, bin: &[Complex64]) -> Option<Frequency> {
    let sign = group.delays.steps()?;
    let q = bins.design.space().q();
    let stride = stride(bins);
    Some(
        (1..stride)
            .filter_map(|i| {
                let sum: Complex64 =
                    bin.chunks_exact(stride).map(|repeat| repeat[0].conj() * repeat[i]).sum();
                let turn = sum.arg() / std::f64::consts::TAU * q as f64;
                let turn = if sign == Sign::Plus { turn } else { -turn };
                let label = turn.round().rem_euclid(q as f64) as usize % q;
                (label != 0).then_some(((i - 1) as u16, label as u8))
            })
            .collect(),
    )
}

/// `‖U - F s_k‖²/P`, where `s_k` is the signature of `k`.
fn residual(bins: &Bins, group: &Group, bin: &[Complex64], k: &Frequency, value: Complex64) -> f64 {
    let mut rest = bin.to_vec();
    group.delays.phases(k, |p, phase| rest[p] -= value * bins.roots[phase]);
    mean_energy(&rest)
}

/// The pair of terms `k, -k` of a bin `j = -j`.
///
/// With `Z_r = 2 F[k] ω^{<o_r,k>}` the bin is `Re Z_r` at the offset and `Re(Z_r ω^{±k_i})` at step `i`. One
/// step with `2 k_i ≠ 0` gives `Im Z_r` if its `k_i` is known. This function tries the labels below `q/2` for
/// it (`k` and `-k` are the same pair). Each of them determines all other `k_i`, and the resulting pair must
/// explain the bin. If several pairs explain it, none is returned. Two real coefficients can look like a pair, so
/// this is only for bins that are not singletons.
pub(crate) fn pair(bins: &Bins, group: usize, j: usize, cutoff: f64) -> Option<Term> {
    if bins.negated(j) != j {
        return None;
    }
    let bin = bins.bin(group, j);
    let group = bins.design.groups().get(group)?;
    let sign = if group.delays.steps()? == Sign::Plus { 1.0 } else { -1.0 };
    let q = bins.design.space().q();
    let repeats: Vec<&[Complex64]> = bin.chunks_exact(stride(bins)).collect();
    let pivot = pivot(&repeats, q)?;
    let mut result: Option<Term> = None;
    for label in (1..q).take_while(|label| 2 * label < q) {
        let k = pair_frequency(bins, &repeats, pivot, label, sign);
        // One repeat with one step gives only two numbers, which every pair explains.
        let provable = repeats.len() * (1 + k.order()) > 2;
        if !provable || k.is_self_conjugate(q) || group.matrix.bin(&k) != j {
            continue;
        }
        let Some(value) = pair_value(bins, group, bin, &k) else { continue };
        let mut rest = bin.to_vec();
        group.delays.phases(&k, |p, phase| rest[p] -= 2.0 * (value * bins.roots[phase]).re);
        if mean_energy(&rest) <= cutoff {
            let (k, negated) = k.representative(q);
            let value = if negated { value.conj() } else { value };
            if result.as_ref().is_some_and(|term| term.k != k) {
                return None;
            }
            result = Some(Term { k, value });
        }
    }
    result
}

/// The step whose values differ most from the values of both `k_i = 0` and `k_i = q/2`.
fn pivot(repeats: &[&[Complex64]], q: usize) -> Option<usize> {
    let distance = |i: usize| {
        let from = |s: f64| repeats.iter().map(|r| (r[i].re - s * r[0].re).powi(2)).sum::<f64>();
        if q.is_multiple_of(2) { from(1.0).min(from(-1.0)) } else { from(1.0) }
    };
    (1..repeats.first()?.len()).max_by(|&a, &b| distance(a).total_cmp(&distance(b)))
}

/// The frequency of a pair whose label at step `pivot` is `label`. `sign` is the sign of the steps.
fn pair_frequency(bins: &Bins, repeats: &[&[Complex64]], pivot: usize, label: usize, sign: f64) -> Frequency {
    let root = bins.roots[label];
    let z: Vec<Complex64> = repeats
        .iter()
        .map(|r| Complex64::new(r[0].re, sign * (r[0].re * root.re - r[pivot].re) / root.im))
        .collect();
    let misfit = |i: usize, label: usize| -> f64 {
        let root = Complex64::new(bins.roots[label].re, sign * bins.roots[label].im);
        repeats.iter().zip(&z).map(|(r, z)| (r[i].re - (z * root).re).powi(2)).sum()
    };
    let q = bins.roots.len();
    let labels = (1..stride(bins)).filter_map(|i| {
        let label = (0..q).min_by(|&a, &b| misfit(i, a).total_cmp(&misfit(i, b)))?;
        (label != 0).then_some(((i - 1) as u16, label as u8))
    });
    labels.collect()
}

/// The coefficient `F` for which `2 Re(F ω^{<d_p,k>})` fits a bin best (least squares in the real and
/// imaginary part of `F`).
fn pair_value(bins: &Bins, group: &Group, bin: &[Complex64], k: &Frequency) -> Option<Complex64> {
    let (mut aa, mut ab, mut bb, mut ay, mut by) = (0.0, 0.0, 0.0, 0.0, 0.0);
    group.delays.phases(k, |p, phase| {
        let (a, b, y) = (2.0 * bins.roots[phase].re, -2.0 * bins.roots[phase].im, bin[p].re);
        aa += a * a;
        ab += a * b;
        bb += b * b;
        ay += a * y;
        by += b * y;
    });
    let determinant = aa * bb - ab * ab;
    (determinant > MIN_DETERMINANT * (aa + bb).powi(2))
        .then(|| Complex64::new((bb * ay - ab * by) / determinant, (aa * by - ab * ay) / determinant))
}
