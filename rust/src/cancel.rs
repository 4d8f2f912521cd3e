//! A flag that stops long computations.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

/// Values that are sorted, or compared with a pivot, between two checks of the flag.
const SORTED: usize = 1 << 16;
/// Values whose median is the pivot of a sort.
const SAMPLES: usize = 255;

/// A shared flag. After any thread sets it, computations that check it return [`Error::Interrupted`].
///
/// ```
/// use shapsketch::Cancel;
/// let cancel = Cancel::new();
/// assert!(cancel.check().is_ok());
/// cancel.set();
/// assert!(cancel.check().is_err());
/// ```
#[derive(Debug, Default)]
pub struct Cancel(AtomicBool);

impl Cancel {
    /// A flag that is not set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops the computations that check this flag.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Returns an error if the flag is set.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if the flag is set.
    pub fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Sorts distinct values in parallel. The sorts of the standard library and of rayon cannot be canceled, and take
    /// many seconds for the largest lists.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if the flag is set.
    pub(crate) fn sort<T: Copy + Ord + Send>(&self, values: &mut [T]) -> Result<()> {
        if values.len() <= SORTED {
            self.check()?;
            values.sort_unstable();
            return Ok(());
        }
        let step = values.len() / SAMPLES;
        let mut samples: Vec<T> = values.iter().copied().step_by(step).collect();
        samples.sort_unstable();
        let pivot = samples[samples.len() / 2];
        // Values below the pivot come first.
        let mut below = 0;
        for index in 0..values.len() {
            if index.is_multiple_of(SORTED) {
                self.check()?;
            }
            if values[index] < pivot {
                values.swap(index, below);
                below += 1;
            }
        }
        let (low, high) = values.split_at_mut(below);
        let (low, high) = rayon::join(|| self.sort(low), || self.sort(high));
        low.and(high)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn sorting_gives_the_sorted_values_or_is_canceled() {
        // Multiplication by an odd number permutes the numbers modulo a power of two.
        for count in [0, 1, SORTED, 4 * SORTED] {
            let mut values: Vec<u32> = (0..count as u32).map(|i| i.wrapping_mul(0x9E37_79B1)).collect();
            let mut expected = values.clone();
            expected.sort_unstable();
            Cancel::new().sort(&mut values).unwrap();
            assert_eq!(values, expected);
        }
        let canceled = Cancel::new();
        canceled.set();
        assert!(canceled.sort(&mut [2, 1]).is_err());
    }
}
