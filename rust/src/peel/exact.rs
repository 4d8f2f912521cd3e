//! The exact transform: the design has every sequence, and each bin is one frequency.

use rayon::prelude::*;
use rustfft::num_complex::Complex64;

use super::bins::Bins;
use super::{FLOOR, Peeling, PeelingStatus};
use crate::cancel::Cancel;
use crate::design::free_positions;
use crate::error::Result;
use crate::frequency::Frequency;
use crate::surrogate::Spectrum;
use crate::words;

/// Bins that one task reads.
const CHUNK: usize = 1 << 14;

/// A bin, in the order of its frequency: by order, then by support (`u32::MAX` minus a mask in which the first position
/// with several letters is the highest bit), then by its number.
type Key = (u32, u32, u32);

/// All coefficients above the rounding errors, from the transform of the values of all sequences after their
/// mean was subtracted.
///
/// # Errors
/// If the caller cancels.
pub(super) fn exact(bins: &Bins<'_>, cancel: &Cancel) -> Result<Peeling> {
    let design = &bins.design;
    let (free, block) = (free_positions(design.space()), bins.len(0));
    let sizes = || free.iter().map(|&i| design.space().sizes().at(i));
    let mean = bins.offset;
    let rounding = (4.0 * f64::EPSILON * mean).powi(2) / block as f64;
    let floor = FLOOR * bins.total_energy() + rounding;
    let value = |j: usize| if bins.energy(0, j) > floor { bins.bin(0, j)[0] } else { Complex64::ZERO };
    let key = |j: usize| -> Option<Key> {
        let negated = bins.negated(0, j);
        if negated < j || (value(j) == Complex64::ZERO && value(negated) == Complex64::ZERO) {
            return None;
        }
        let mut mask = 0_u32;
        let digits = words::digits::<u8>(j, sizes());
        digits.iter().enumerate().filter(|(_, digit)| **digit != 0).for_each(|(i, _)| mask |= 1 << (31 - i));
        Some((mask.count_ones(), !mask, j as u32))
    };
    let mut keys = (0..block.div_ceil(CHUNK))
        .into_par_iter()
        .map(|chunk| {
            cancel.check()?;
            Ok((chunk * CHUNK..block.min((chunk + 1) * CHUNK)).filter_map(key).collect())
        })
        .collect::<Result<Vec<Vec<Key>>>>()?
        .concat();
    cancel.sort(&mut keys)?;
    let constant = if mean * mean > floor { mean } else { 0.0 };
    let mut coefficients = vec![(Frequency::default(), Complex64::from(constant))];
    for (index, (.., j)) in keys.into_iter().enumerate() {
        if index.is_multiple_of(CHUNK) {
            cancel.check()?;
        }
        let (j, negated) = (j as usize, bins.negated(0, j as usize));
        // The function is real: the coefficients of k and -k are conjugate up to rounding.
        let real_part = match j == negated {
            true => Complex64::from(value(j).re),
            false => value(j) / 2.0 + (value(negated) / 2.0).conj(),
        };
        let labels = free.iter().copied().zip(words::digits::<u8>(j, sizes()));
        coefficients.push((labels.filter(|&(_, label)| label != 0).collect(), real_part));
    }
    Ok(Peeling {
        spectrum: Spectrum::from_representatives(design.space().clone(), coefficients),
        status: PeelingStatus::Converged,
        unexplained: 0.0,
        noise: 0.0,
        rounds: 0,
        open_bins: 0,
    })
}
