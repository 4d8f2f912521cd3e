//! The functions that a regression selects.

use crate::error::{Error, Result};

/// The functions that a regression selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Atoms {
    /// Letter patterns: symbols at positions.
    Letters,
    /// Characters: Fourier basis functions.
    Characters,
}

impl Atoms {
    /// All kinds of atoms.
    pub const ALL: [Self; 2] = [Self::Letters, Self::Characters];

    /// The atoms with this name.
    ///
    /// # Errors
    /// [`Error::UnknownName`] if there are none.
    pub fn from_name(name: &str) -> Result<Self> {
        Error::choose("basis", name, &Self::ALL, Self::name)
    }

    /// The atoms with this name, `None` for "auto": cross-validation chooses.
    ///
    /// # Errors
    /// [`Error::UnknownName`] if there are none.
    pub fn choice_from_name(name: &str) -> Result<Option<Self>> {
        let choices = [None, Some(Self::Letters), Some(Self::Characters)];
        Error::choose("basis", name, &choices, |choice| choice.map_or("auto", Self::name))
    }

    /// The name used in files and in Python.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Letters => "letters",
            Self::Characters => "characters",
        }
    }
}
