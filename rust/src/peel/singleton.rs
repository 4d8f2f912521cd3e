//! Reading one frequency from a bin.
//!
//! A bin with one coefficient is `U_p = F[k] ω^{<d_p,k>}`. With delays `o_r`, `o_r ± e_1 … o_r ± e_n`, the
//! ratios of the values of one repeat `r` give the labels of `k` (arXiv 2301.06200, sections 3.2 and 4). With coded
//! delays `o_r + h_i` they give the syndrome `<h_i, k>`, from which the code decodes `k`. The model is real, so a bin `j =
//! -j` contains both `k` and `-k`: a real signal `2 Re(F[k] ω^{<d_p,k>})`, which [`pair`] reads.
//!
//! One wrong phase makes a syndrome useless. So with noise, if the nearest phases do not give a frequency that explains
//! the bin, the phases that are least certain are replaced by the second nearest in all combinations (Chase, IEEE Trans. Inf.
//! Theory 18, 1972, algorithm 2).

use rustfft::num_complex::Complex64;

use super::bins::{Bins, mean_energy};
use crate::design::{Delays, Group};
use crate::frequency::Frequency;

/// Smallest determinant of the normal equations of [`pair_value`], relative to their squared trace.
const MIN_DETERMINANT: f64 = 1e-12;

/// Number of phases that are replaced by the second nearest in all combinations.
const UNCERTAIN: usize = 6;

/// Phases are nearly equal if their projections differ by up to this fraction of a sum: far more than their rounding errors.
const NEARLY_EQUAL: f64 = 1e-9;

/// A frequency with its coefficient.
#[derive(Clone, Debug)]
pub(crate) struct Term {
    pub(crate) k: Frequency,
    pub(crate) value: Complex64,
}

/// What counts as noise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Level {
    /// Energy up to which a bin, or the rest of a bin after a singleton is subtracted, is noise.
    pub(crate) cutoff: f64,
    /// Whether there is noise beyond rounding errors.
    pub(crate) noisy: bool,
}

/// The only term of a bin: it explains the bin to within the cutoff, and its frequency belongs to the bin.
pub(crate) fn singleton(bins: &Bins<'_>, group: usize, j: usize, level: Level) -> Option<Term> {
    let Term { k, value } = dominant(bins, group, j, level)?;
    let design = bins.design.groups().get(group)?;
    let explained = residual(bins, design, &bins.bin(group, j), &k, value) <= level.cutoff;
    explained.then_some(Term { k, value })
}

/// The term that is closest to a bin and belongs to it. The bin may contain other terms, so the other groups
/// must confirm it.
pub(crate) fn dominant(bins: &Bins<'_>, group: usize, j: usize, level: Level) -> Option<Term> {
    let design = bins.design.groups().get(group)?;
    let bin = bins.bin(group, j);
    let steps = || read_steps(bins, &design.delays, &bin);
    let nearest: Vec<u8> = steps().map(nearest_phase).collect();
    let belongs = |k: &Frequency| {
        let needs_pair = bins.negated(group, j) == j && !k.is_self_conjugate(bins.design.space().sizes());
        !needs_pair && design.matrix.has_bin(k, j)
    };
    let mut k = design.delays.frequency(&nearest).filter(belongs);
    let explains = |k: &Frequency| residual(bins, design, &bin, k, bins.project(group, k)) <= level.cutoff;
    if level.noisy && design.delays.are_coded() && !k.as_ref().is_some_and(explains) {
        let seconds: Vec<Second> =
            steps().zip(&nearest).map(|(step, &nearest)| Second::new(step, nearest)).collect();
        let others =
            replaced(&seconds, nearest).filter_map(|phases| design.delays.frequency(&phases).filter(belongs));
        let energy = |k: &Frequency| bins.project(group, k).norm_sqr();
        k = k.into_iter().chain(others).max_by(|a, b| energy(a).total_cmp(&energy(b)));
    }
    let k = k?;
    let value = bins.project(group, &k);
    Some(Term { k, value })
}

/// `Σ_r conj(U_{r,0}) U_{r,i}` of one step `i` from its offset, and the roots of unity of the step.
type Step<'a> = (Complex64, &'a [Complex64]);

/// All steps of a bin.
fn read_steps<'a>(
    bins: &'a Bins<'_>,
    delays: &'a Delays,
    bin: &'a [Complex64],
) -> impl Iterator<Item = Step<'a>> {
    let stride = delays.stride();
    (1..stride).map(move |i| {
        let sum: Complex64 = bin.chunks_exact(stride).map(|repeat| repeat[0].conj() * repeat[i]).sum();
        (sum, bins.roots.at(delays.position_of_step(i - 1)))
    })
}

/// The angle of a sum of a step, in phases.
fn turn((sum, roots): Step<'_>) -> f64 {
    sum.arg() / std::f64::consts::TAU * roots.len() as f64
}

/// The phase that is equal to a whole number of phases.
fn phase(turn: f64, roots: &[Complex64]) -> u8 {
    (turn as i64).rem_euclid(roots.len() as i64) as u8
}

/// The phase that is nearest to the angle of a step.
fn nearest_phase((sum, roots): Step<'_>) -> u8 {
    let (re, im) = (sum.re.abs(), sum.im.abs());
    // For 2 and 4 phases, comparisons are faster than the angle, which decides if two phases are nearly equal.
    let margin = if roots.len() == 2 { re } else { (re - im).abs() };
    if matches!(roots.len(), 2 | 4) && margin > NEARLY_EQUAL * (re + im) {
        let odd = roots.len() == 4 && im > re;
        let opposite = if odd { sum.im < 0.0 } else { sum.re < 0.0 };
        return u8::from(odd) + u8::from(opposite) * (roots.len() / 2) as u8;
    }
    phase(turn((sum, roots)).round(), roots)
}

/// The second nearest phase of a step.
struct Second {
    phase: u8,
    /// By how much the nearest phase fits better.
    margin: f64,
}

impl Second {
    fn new((sum, roots): Step<'_>, nearest: u8) -> Self {
        let turn = turn((sum, roots));
        let second = phase(if turn > turn.round() { turn.round() + 1.0 } else { turn.round() - 1.0 }, roots);
        let fit = |phase: u8| (sum * roots[phase as usize].conj()).re;
        Self { phase: second, margin: fit(nearest) - fit(second) }
    }
}

/// All combinations in which some of the least certain phases are the second nearest.
fn replaced(steps: &[Second], nearest: Vec<u8>) -> impl Iterator<Item = Vec<u8>> {
    let mut order: Vec<usize> = (0..steps.len()).collect();
    order.sort_by(|&a, &b| steps[a].margin.total_cmp(&steps[b].margin));
    order.truncate(UNCERTAIN);
    let seconds: Vec<(usize, u8)> = order.into_iter().map(|i| (i, steps[i].phase)).collect();
    (1_usize..1 << seconds.len()).map(move |mask| {
        let mut phases = nearest.clone();
        let chosen = seconds.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1);
        chosen.for_each(|(_, &(i, second))| phases[i] = second);
        phases
    })
}

/// `‖U - F s_k‖²/P`, where `s_k` is the signature of `k`.
fn residual(bins: &Bins<'_>, group: &Group, bin: &[Complex64], k: &Frequency, value: Complex64) -> f64 {
    let mut rest = bin.to_vec();
    group.delays.signature(k, &bins.roots, |p, root| rest[p] -= value * root);
    mean_energy(&rest)
}

/// The pair of terms `k, -k` of a bin `j = -j`.
///
/// With `Z_r = 2 F[k] ω^{<o_r,k>}` the bin is `Re Z_r` at the offset and `Re(Z_r ω^{φ_i})` at a step with phase `φ_i`.
/// One step with `2 φ_i ≠ 0` gives `Im Z_r` if its phase is known. This function tries the phases below `q/2` for
/// it (`k` and `-k` are the same pair). Each of them determines all other phases, and the resulting pair must
/// explain the bin. If several pairs explain it, none is returned. Two real coefficients can look like a pair, so
/// this is only for bins that are not singletons.
pub(crate) fn pair(bins: &Bins<'_>, group: usize, j: usize, level: Level) -> Option<Term> {
    if bins.negated(group, j) != j {
        return None;
    }
    let bin = &bins.bin(group, j)[..];
    let group = bins.design.groups().get(group)?;
    let q = bins.design.space().sizes();
    let repeats: Vec<&[Complex64]> = bin.chunks_exact(group.delays.stride()).collect();
    let roots: Vec<&[Complex64]> = (0..group.delays.stride() - 1)
        .map(|step| bins.roots.at(group.delays.position_of_step(step)))
        .collect();
    let pivot = pivot(&repeats, &roots)?;
    let size = roots[pivot - 1].len();
    let mut result: Option<Term> = None;
    for phase in (1..size).take_while(|phase| 2 * phase < size) {
        let phases = pair_phases(&roots, &repeats, pivot, phase);
        // One repeat with one step gives only two numbers, which every pair explains.
        let stepped = phases.iter().filter(|phase| **phase != 0).count();
        let Some(k) = group.delays.frequency(&phases) else { continue };
        if repeats.len() * (1 + stepped) <= 2 || k.is_self_conjugate(q) || group.matrix.bin(&k) != j {
            continue;
        }
        let Some(value) = pair_value(bins, group, bin, &k) else { continue };
        let mut rest = bin.to_vec();
        group.delays.signature(&k, &bins.roots, |p, root| rest[p] -= 2.0 * (value * root).re);
        if mean_energy(&rest) <= level.cutoff {
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

/// The step whose values differ most from the values of both phases 0 and `q/2`, and which has other phases.
fn pivot(repeats: &[&[Complex64]], roots: &[&[Complex64]]) -> Option<usize> {
    let distance = |i: usize| {
        let q = roots[i - 1].len();
        let from = |s: f64| repeats.iter().map(|r| (r[i].re - s * r[0].re).powi(2)).sum::<f64>();
        if q.is_multiple_of(2) { from(1.0).min(from(-1.0)) } else { from(1.0) }
    };
    (1..repeats.first()?.len())
        .filter(|i| roots[i - 1].len() > 2)
        .max_by(|&a, &b| distance(a).total_cmp(&distance(b)))
}

/// The phases of all steps of a pair for which step `pivot` has this phase.
fn pair_phases(roots: &[&[Complex64]], repeats: &[&[Complex64]], pivot: usize, phase: usize) -> Vec<u8> {
    let root = roots[pivot - 1][phase];
    let z: Vec<Complex64> = repeats
        .iter()
        .map(|r| Complex64::new(r[0].re, (r[0].re * root.re - r[pivot].re) / root.im))
        .collect();
    let misfit = |i: usize, phase: usize| -> f64 {
        repeats.iter().zip(&z).map(|(r, z)| (r[i].re - (z * roots[i - 1][phase]).re).powi(2)).sum()
    };
    let steps = 1..repeats.first().map_or(1, |repeat| repeat.len());
    steps
        .map(|i| {
            (0..roots[i - 1].len()).min_by(|&a, &b| misfit(i, a).total_cmp(&misfit(i, b))).unwrap_or(0) as u8
        })
        .collect()
}

/// The coefficient `F` for which `2 Re(F ω^{<d_p,k>})` fits a bin best (least squares in the real and
/// imaginary part of `F`).
fn pair_value(bins: &Bins<'_>, group: &Group, bin: &[Complex64], k: &Frequency) -> Option<Complex64> {
    let (mut aa, mut ab, mut bb, mut ay, mut by) = (0.0, 0.0, 0.0, 0.0, 0.0);
    group.delays.signature(k, &bins.roots, |p, root| {
        let (a, b, y) = (2.0 * root.re, -2.0 * root.im, bin[p].re);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use super::*;
    use crate::cancel::Cancel;
    use crate::design::{DelayFamily, DesignConfig, QueryDesign, SubsamplingFamily};
    use crate::space::SequenceSpace;
    use crate::surrogate::Spectrum;

    #[test]
    fn the_nearest_phase_is_that_of_the_angle() {
        for q in 2..=12 {
            let roots = crate::space::roots_of_unity(q);
            // Angles in the middle of two phases, near it, and others.
            for (index, offset) in (0..40 * q).flat_map(|i| [(i, 0.0), (i, 1e-15), (i, -1e-12), (i, 1e-7)]) {
                let angle = index as f64 / 40.0 * std::f64::consts::TAU / q as f64 + offset;
                let sum = Complex64::from_polar(0.1 + index as f64, angle);
                let expected = phase(turn((sum, &roots)).round(), &roots);
                assert_eq!(nearest_phase((sum, &roots)), expected, "q={q} {sum}");
            }
            assert_eq!(nearest_phase((Complex64::ZERO, &roots)), 0);
        }
    }

    #[test]
    fn uncertain_phases_are_replaced_if_there_is_noise() {
        let space = SequenceSpace::of_size(2, 64).unwrap();
        let config = DesignConfig {
            b: 2,
            groups: 1,
            subsampling: SubsamplingFamily::Random,
            delays: DelayFamily::Coded { max_order: 3, repeats: 1 },
            seed: 1,
        };
        let design = Arc::new(QueryDesign::new(space.clone(), config, &Cancel::new()).unwrap());
        let block = design.block_len(0);
        assert_eq!(
            design.len(),
            design.delays_per_group() * block,
            "queries are numbered as in their blocks"
        );
        let k: Frequency = [(3, 1), (20, 1), (41, 1)].into_iter().collect();
        let j = design.groups()[0].matrix.bin(&k);
        let truth = Spectrum::real_part(space, vec![(k.clone(), 2.0.into())]).unwrap();
        let values = truth.predict(&design.queries(0..design.len())).unwrap();
        let read = |values: &[f64], noisy| {
            let (mut values, mut rest) = (values.to_vec(), Vec::new());
            let bins = Bins::new(design.clone(), &mut values, &mut rest, 0.0, &Cancel::new()).unwrap();
            singleton(&bins, 0, j, Level { cutoff: 0.5, noisy }).map(|term| term.k)
        };
        assert_eq!(read(&values, false).as_ref(), Some(&k));
        // At delay 14 the nearest phases give another frequency of this bin.
        for delay in 1..19 {
            // Noise changes the sign of the values of one check, which are small then.
            let mut changed = values.clone();
            changed[delay * block..(delay + 1) * block].iter_mut().for_each(|value| *value *= -0.1);
            assert_ne!(read(&changed, false).as_ref(), Some(&k), "delay {delay}");
            assert_eq!(read(&changed, true).as_ref(), Some(&k), "delay {delay}");
        }
    }
}
