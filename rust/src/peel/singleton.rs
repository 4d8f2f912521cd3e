//! Reading one frequency off a bin.
//!
//! A bin that holds `F[k]` alone is `U_p = F[k] ω^{<d_p,k>}`: with delays `o_r`, `o_r ± e_1 … o_r ± e_n`
//! the ratios of the delays of one repeat spell out `k` (arXiv 2301.06200, sections 3.2 and 4). The
//! model is real, so a bin `j = -j` always holds `k` and `-k` together: a real signal
//! `2 Re(F[k] ω^{<d_p,k>})`, read by [`pair`].

use rustfft::num_complex::Complex64;

use super::bins::{Bins, mean_energy};
use crate::design::{Group, Sign};
use crate::frequency::Frequency;

/// What a bin was found to hold.
#[derive(Clone, Debug)]
pub(crate) struct Singleton {
    pub(crate) k: Frequency,
    pub(crate) value: Complex64,
}

/// The frequency that a bin holds alone: its signature must explain the bin to within `cutoff`, and
/// it must belong there.
pub(crate) fn singleton(bins: &Bins, group: usize, j: usize, cutoff: f64) -> Option<Singleton> {
    let Singleton { k, value } = dominant(bins, group, j, cutoff)?;
    let design = bins.design.groups().get(group)?;
    let alone = residual(bins, design, bins.bin(group, j), &k, value) <= cutoff;
    alone.then_some(Singleton { k, value })
}

/// The frequency that comes nearest to a bin and belongs there, whatever else the bin holds: in need
/// of the other groups' word.
pub(crate) fn dominant(bins: &Bins, group: usize, j: usize, _cutoff: f64) -> Option<Singleton> {
    let design = bins.design.groups().get(group)?;
    let k = nearest(bins, design, bins.bin(group, j))?;
    let reads_pairs = bins.negated(j) == j && !k.is_self_conjugate(bins.design.space().q());
    if reads_pairs || design.matrix.bin(&k) != j {
        return None;
    }
    let value = bins.project(group, &k);
    Some(Singleton { k, value })
}

/// Number of delays of one repeat.
fn stride(bins: &Bins) -> usize {
    bins.design.space().n() + 1
}

/// The frequency whose signature comes nearest: `k_i` from the angle of `Σ_r conj(U_{r,0}) U_{r,i}`
/// (the sign of the steps decides which of the two is conjugated).
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

/// `‖U - F s_k‖²/P`.
fn residual(bins: &Bins, group: &Group, bin: &[Complex64], k: &Frequency, value: Complex64) -> f64 {
    let mut left = bin.to_vec();
    group.delays.phases(k, |p, phase| left[p] -= value * bins.roots[phase]);
    mean_energy(&left)
}

/// The pair `k, -k` of a bin `j = -j`.
///
/// With `Z_r = 2 F[k] ω^{<o_r,k>}` the bin is `Re Z_r` at the offset and `Re(Z_r ω^{±k_i})` at step
/// `i`. A step `i` with `2 k_i ≠ 0` gives the missing `Im Z_r` once its `k_i` is guessed; there are
/// `q/2` guesses (`k` and `-k` are one answer), each decides all other `k_i`, and must explain the
/// bin. Two different answers are no answer. Two real coefficients can look like a pair, so this is
/// for bins where nothing else helps.
pub(crate) fn pair(bins: &Bins, group: usize, j: usize, cutoff: f64) -> Option<Singleton> {
    if bins.negated(j) != j {
        return None;
    }
    let bin = bins.bin(group, j);
    let group = bins.design.groups().get(group)?;
    let sign = if group.delays.steps()? == Sign::Plus { 1.0 } else { -1.0 };
    let q = bins.design.space().q();
    let stride = stride(bins);
    let repeats: Vec<&[Complex64]> = bin.chunks_exact(stride).collect();
    // The step farthest from both k_i = 0 and k_i = q/2.
    let distance = |i: usize| {
        let from = |s: f64| repeats.iter().map(|r| (r[i].re - s * r[0].re).powi(2)).sum::<f64>();
        if q.is_multiple_of(2) { from(1.0).min(from(-1.0)) } else { from(1.0) }
    };
    let pivot = (1..stride).max_by(|&a, &b| distance(a).total_cmp(&distance(b)))?;
    let mut found: Option<Singleton> = None;
    for guess in (1..q).take_while(|guess| 2 * guess < q) {
        let root = bins.roots[guess];
        let z: Vec<Complex64> = repeats
            .iter()
            .map(|r| Complex64::new(r[0].re, sign * (r[0].re * root.re - r[pivot].re) / root.im))
            .collect();
        let misfit = |i: usize, label: usize| -> f64 {
            let root = Complex64::new(bins.roots[label].re, sign * bins.roots[label].im);
            repeats.iter().zip(&z).map(|(r, z)| (r[i].re - (z * root).re).powi(2)).sum()
        };
        let k: Frequency = (1..stride)
            .filter_map(|i| {
                let label = (0..q).min_by(|&a, &b| misfit(i, a).total_cmp(&misfit(i, b)))?;
                (label != 0).then_some(((i - 1) as u16, label as u8))
            })
            .collect();
        // One repeat and one step are two numbers: any pair explains them, so they prove none.
        let provable = repeats.len() * (1 + k.order()) > 2;
        if !provable || k.is_self_conjugate(q) || group.matrix.bin(&k) != j {
            continue;
        }
        let Some(value) = pair_value(bins, group, bin, &k) else { continue };
        let mut left = bin.to_vec();
        group.delays.phases(&k, |p, phase| left[p] -= 2.0 * (value * bins.roots[phase]).re);
        if mean_energy(&left) <= cutoff {
            let (k, negated) = k.representative(q);
            let value = if negated { value.conj() } else { value };
            if found.as_ref().is_some_and(|found| found.k != k) {
                return None;
            }
            found = Some(Singleton { k, value });
        }
    }
    found
}

/// Least squares of `2 Re(F ω^{<d_p,k>})` against a bin, for the real and imaginary part of `F`.
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
    (determinant > 1e-12 * (aa + bb).powi(2))
        .then(|| Complex64::new((bb * ay - ab * by) / determinant, (aa * by - ab * ay) / determinant))
}
