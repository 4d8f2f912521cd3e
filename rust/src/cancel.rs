//! A flag that stops long computations.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

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
}
