//! Energies of residuals on supports, if positions have letters of their own.
//!
//! The sum over all `k` with `supp k = S` of `|Σ_r e_r χ_k(x_r)|²`, with the characters `χ_k` of the product of groups, is
//! `Σ_{r,s} e_r e_s Π_{i∈S} (q_i 1[x_{r,i} = x_{s,i}] - 1)`. That is `Π_i q_i` times the sum of squares of the table of the
//! sums of residuals by word, after the mean of each axis is subtracted.

use rayon::prelude::*;

use super::folds::FOLDS;
use crate::cancel::Cancel;
use crate::error::Result;
use crate::space::SequenceSpace;
use crate::words;

/// For each support, the dimension `Π_i (q_i - 1)` of its component, and its energy in each fold.
///
/// # Errors
/// If the caller cancels.
pub(super) fn energies(
    space: &SequenceSpace,
    codes: &[u8],
    rows: &[[f64; FOLDS]],
    supports: &[Vec<u16>],
    cancel: &Cancel,
) -> Result<Vec<(f64, [f64; FOLDS])>> {
    let n = space.n();
    let digits: Vec<u8> =
        codes.iter().enumerate().map(|(at, &code)| space.digit(at % n, code) as u8).collect();
    supports
        .par_iter()
        .map(|support| {
            cancel.check()?;
            let sizes: Vec<usize> = support.iter().map(|&i| space.sizes().at(i)).collect();
            let mut table = vec![[0.0; FOLDS]; words::count(sizes.iter().copied())];
            for (row, values) in digits.chunks_exact(n).zip(rows) {
                let word =
                    words::number(support.iter().map(|&i| row[i as usize] as usize), sizes.iter().copied());
                table[word].iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            }
            let mut after = table.len();
            for &size in &sizes {
                after /= size;
                centre(&mut table, size, after);
            }
            let count = table.len() as f64;
            let energy = |fold: usize| count * table.iter().map(|sums| sums[fold] * sums[fold]).sum::<f64>();
            let cells = sizes.iter().map(|&size| (size - 1) as f64).product();
            Ok((cells, std::array::from_fn(energy)))
        })
        .collect()
}

/// Subtracts the mean over an axis of this size; the axes after it have `after` words.
fn centre(table: &mut [[f64; FOLDS]], size: usize, after: usize) {
    for block in table.chunks_exact_mut(size * after) {
        for offset in 0..after {
            let mut mean = [0.0; FOLDS];
            for letter in 0..size {
                let sums = &block[letter * after + offset];
                mean.iter_mut().zip(sums).for_each(|(mean, sum)| *mean += sum / size as f64);
            }
            for letter in 0..size {
                let sums = &mut block[letter * after + offset];
                sums.iter_mut().zip(&mean).for_each(|(sum, mean)| *sum -= mean);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};

    proptest! {
        #[test]
        fn energies_are_sums_over_pairs_of_rows(
            sizes in prop::collection::vec(1_usize..=9, 2..5), seed in 0_u64..1000,
        ) {
            let letters: Vec<&str> = sizes.iter().map(|&size| &"ABCDEFGHI"[9 - size..]).collect();
            let Ok(space) = SequenceSpace::with_letters(&letters) else { return Ok(()) };
            let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
            let codes: Vec<Vec<u8>> = (0..20).map(|_| space.random(&mut rng)).collect();
            let rows: Vec<[f64; FOLDS]> =
                (0..20).map(|_| std::array::from_fn(|_| rng.random_range(-1.0..1.0))).collect();
            let supports: Vec<Vec<u16>> = vec![vec![0], vec![0, 1], (0..sizes.len() as u16).collect()];
            let fast = energies(&space, &codes.concat(), &rows, &supports, &Cancel::new()).unwrap();
            for (support, (cells, energies)) in supports.iter().zip(fast) {
                let own = || support.iter().map(|&i| i as usize);
                prop_assert_eq!(cells, own().map(|i| sizes[i] as f64 - 1.0).product::<f64>());
                for (fold, energy) in energies.into_iter().enumerate() {
                    let mut slow = 0.0;
                    for (x, e) in codes.iter().zip(&rows) {
                        for (y, f) in codes.iter().zip(&rows) {
                            let equal = |i: usize| if x[i] == y[i] { sizes[i] as f64 - 1.0 } else { -1.0 };
                            slow += e[fold] * f[fold] * own().map(equal).product::<f64>();
                        }
                    }
                    prop_assert!((energy - slow).abs() < 1e-9 * (1.0 + slow.abs()));
                }
            }
        }
    }
}
