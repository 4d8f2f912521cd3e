//! One error type for the crate: each variant carries the offending numbers.

use std::path::PathBuf;

/// Similarity of names, from 0 to 1, above which the one is suggested for the other.
const SIMILAR: f64 = 0.6;

/// All errors, with the offending values.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The alphabet is too small or too large.
    #[error("an alphabet needs 2 to 64 symbols, this one has {q}")]
    AlphabetSize {
        /// Number of symbols given.
        q: usize,
    },
    /// The alphabet repeats a symbol.
    #[error(
        "the alphabet lists {symbol:?} twice, at positions {first} and {second}; symbols must be distinct"
    )]
    DuplicateSymbol {
        /// The repeated symbol.
        symbol: char,
        /// Its first position.
        first: usize,
        /// Its second position.
        second: usize,
    },
    /// The sequence length is out of range.
    #[error("sequence length must be 1 to 4096, got {n}")]
    SequenceLength {
        /// The requested length.
        n: usize,
    },
    /// A symbol of a sequence is not in the alphabet.
    #[error("sequence {index}: {}", unknown_symbol(*symbol, *position, alphabet, hint))]
    UnknownSymbol {
        /// Which sequence of the batch.
        index: usize,
        /// Which position of the sequence.
        position: usize,
        /// The symbol.
        symbol: char,
        /// The alphabet.
        alphabet: String,
        /// Advice, or empty; starts with a separator.
        hint: &'static str,
    },
    /// A position may not have this letter.
    #[error("sequence {index}: {}", other_letter(*symbol, *position, letters))]
    OtherLetter {
        /// Which sequence of the batch.
        index: usize,
        /// Which position of the sequence.
        position: usize,
        /// The letter.
        symbol: char,
        /// The letters of the position.
        letters: String,
    },
    /// The letters of a position of a space are wrong.
    #[error(
        "the letters of position {position}: {problem}; pass each letter of a position once, at least one"
    )]
    PositionLetters {
        /// Which position.
        position: usize,
        /// What is wrong.
        problem: String,
    },
    /// A sequence has the wrong number of symbols.
    #[error("sequence {index} {}", wrong_length(*length, *expected))]
    WrongLength {
        /// Which sequence of the batch.
        index: usize,
        /// Its length.
        length: usize,
        /// The length of the space.
        expected: usize,
    },
    /// A code is not below the alphabet size.
    #[error("sequence {index}: {}", code_out_of_range(*code, *position, *q))]
    CodeOutOfRange {
        /// Which sequence of the batch.
        index: usize,
        /// Which position of the sequence.
        position: usize,
        /// The code.
        code: u8,
        /// Alphabet size.
        q: usize,
    },
    /// The length of a flat buffer of codes is not a multiple of the sequence length.
    #[error("{length} codes: the number of codes is not a multiple of the sequence length {n}")]
    RaggedCodes {
        /// Number of codes.
        length: usize,
        /// Sequence length.
        n: usize,
    },
    /// Two things belong to different sequence spaces.
    #[error("expected sequences over {expected}, got {got}")]
    SpaceMismatch {
        /// The space expected.
        expected: String,
        /// The space of the argument.
        got: String,
    },
    /// A query design is impossible.
    #[error("query design: {0}")]
    Design(String),
    /// A function returned too few or too many values for a batch of queries.
    #[error(
        "the function returned {got} values for queries {first} to {last}; return one value for each query of the batch"
    )]
    BatchValues {
        /// Index of the first query of the batch.
        first: usize,
        /// Index of the last one.
        last: usize,
        /// Number of values.
        got: usize,
    },
    /// The number of values is not the number of queries.
    #[error(
        "{what}: {got} values for {expected} queries; give one value per query, in the order of the queries"
    )]
    ValueCount {
        /// What the values belong to.
        what: &'static str,
        /// Number of values.
        got: usize,
        /// Expected number of values.
        expected: usize,
    },
    /// A value is NaN or infinite.
    #[error(
        "{what}: value {value} at index {index} is not finite; fix the model for this sequence, or exclude such sequences from the space"
    )]
    NotFinite {
        /// What the value belongs to.
        what: &'static str,
        /// Its index.
        index: usize,
        /// The value.
        value: f64,
    },
    /// Values are so large or small that their squares overflow or underflow.
    #[error(
        "{what}: values with magnitudes up to {largest:e} cannot be squared without loss; rescale the model to magnitudes from 1e-120 to 1e120"
    )]
    Scale {
        /// What the values belong to.
        what: &'static str,
        /// The largest magnitude among them.
        largest: f64,
    },
    /// A weight of a sample is not positive.
    #[error("weight {value} at index {index} is not above 0; leave out rows that should not count")]
    Weight {
        /// Its index.
        index: usize,
        /// The weight.
        value: f64,
    },
    /// Values differ by rounding only: a common offset is so large that it hides the signal.
    #[error(
        "{what}: all values are from {low} to {high}, which differ by rounding only; subtract a constant in the model, before it rounds its scores"
    )]
    SignalLost {
        /// What the values belong to.
        what: &'static str,
        /// The smallest value.
        low: f64,
        /// The largest value.
        high: f64,
    },
    /// The budget is too small for the method.
    #[error("a budget of {budget} is too small: {reason}; at least {needed} model evaluations are needed")]
    BudgetTooSmall {
        /// The budget.
        budget: usize,
        /// The smallest sufficient budget.
        needed: usize,
        /// Why the method needs more.
        reason: String,
    },
    /// Too few sequences to fit and to test.
    #[error("{got} distinct sequences are too few to split into folds; at least {needed} are needed")]
    TooFew {
        /// Number of distinct sequences.
        got: usize,
        /// Number of sequences needed.
        needed: usize,
    },
    /// A dictionary is too large.
    #[error(
        "the dictionary lists {n_atoms} atoms and would take {bytes} bytes, {limit} are allowed; orders up to \
         {highest} would fit in {fitting} bytes, and growth extends letter patterns in use to higher orders"
    )]
    Dictionary {
        /// Number of atoms of the dictionary.
        n_atoms: u128,
        /// Predicted bytes.
        bytes: u128,
        /// Limit on the bytes.
        limit: u128,
        /// The highest order that fits.
        highest: usize,
        /// Bytes needed for these orders.
        fitting: u128,
    },
    /// A frequency does not belong to the space.
    #[error("frequency {index}: {reason}")]
    BadFrequency {
        /// Which frequency.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The function of the spectrum is not real.
    #[error(
        "the coefficient of frequency {index} is not the conjugate of the coefficient of the negative frequency (relative difference {difference:.3e}), so the function is not real; use its real part if this is intended"
    )]
    NotHermitian {
        /// Which frequency.
        index: usize,
        /// `|F[k] - conj F[-k]|` over the largest coefficient.
        difference: f64,
    },
    /// An option has no choice of this name.
    #[error("{option} must be one of {}, got '{got}'{}", quoted(known), nearest(got, known))]
    UnknownName {
        /// The option.
        option: &'static str,
        /// The name that it was set to.
        got: String,
        /// The names of all choices.
        known: Vec<&'static str>,
    },
    /// A parameter is out of its range.
    #[error("{name} must be {expected}, got {got}")]
    Parameter {
        /// Name of the parameter.
        name: &'static str,
        /// Its valid values.
        expected: &'static str,
        /// Its value.
        got: String,
    },
    /// A computation would not fit into memory or into an index.
    #[error("{what} would need {}; {advice}", size(*bytes))]
    TooLarge {
        /// What would be too large.
        what: &'static str,
        /// Predicted size.
        bytes: u128,
        /// What to do instead.
        advice: &'static str,
    },
    /// A computation would take more memory than the machine can give.
    #[error("{what} would need {}, more than the {} that are allowed on this machine; {advice}", size(*bytes), gib(*limit))]
    Memory {
        /// What would be too large.
        what: &'static str,
        /// Predicted size.
        bytes: u128,
        /// Largest size that is allowed.
        limit: u128,
        /// What to do instead.
        advice: &'static str,
    },
    /// Interactions are evaluated with components that they were not built from.
    #[error(
        "these interactions do not match these components (built from {got} components, evaluated with {expected}); \
         build them from the same `Components`, with `interactions`, or with `interactions_with_references` if each \
         sequence has its own background sequences"
    )]
    ForeignInteractions {
        /// Number of components to evaluate.
        expected: usize,
        /// Number of components that the interactions were built from.
        got: usize,
    },
    /// This version cannot read a file as a sketch.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Bytes are not those of a sketch, or a sketch cannot be written as bytes.
    #[error("bytes of a sketch: {reason}")]
    Bytes {
        /// What is wrong with them.
        reason: String,
    },
    /// The operating system refused to read or write a file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The caller canceled the computation.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// The sequence, value or frequency of a batch that the error is about.
    #[must_use]
    pub fn index(&self) -> Option<usize> {
        match self {
            Self::UnknownSymbol { index, .. }
            | Self::WrongLength { index, .. }
            | Self::CodeOutOfRange { index, .. }
            | Self::OtherLetter { index, .. }
            | Self::NotFinite { index, .. }
            | Self::Weight { index, .. }
            | Self::BadFrequency { index, .. }
            | Self::NotHermitian { index, .. } => Some(*index),
            _ => None,
        }
    }

    /// The position of the sequence that the error is about.
    #[must_use]
    pub fn position(&self) -> Option<usize> {
        match self {
            Self::UnknownSymbol { position, .. }
            | Self::CodeOutOfRange { position, .. }
            | Self::OtherLetter { position, .. }
            | Self::PositionLetters { position, .. } => Some(*position),
            _ => None,
        }
    }

    /// The name of the parameter or option that the error is about.
    #[must_use]
    pub fn option(&self) -> Option<&'static str> {
        match self {
            Self::Parameter { name, .. } => Some(name),
            Self::UnknownName { option, .. } => Some(option),
            Self::BudgetTooSmall { .. } => Some("budget"),
            _ => None,
        }
    }

    /// The message without the number of the sequence, for callers that add the name of the sequence.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::UnknownSymbol { position, symbol, alphabet, hint, .. } => {
                unknown_symbol(*symbol, *position, alphabet, hint)
            }
            Self::CodeOutOfRange { position, code, q, .. } => code_out_of_range(*code, *position, *q),
            Self::OtherLetter { position, symbol, letters, .. } => other_letter(*symbol, *position, letters),
            Self::WrongLength { length, expected, .. } => format!("it {}", wrong_length(*length, *expected)),
            other => other.to_string(),
        }
    }

    /// Looks a name up among the choices of an option.
    ///
    /// # Errors
    /// [`Error::UnknownName`] if there is no such choice.
    pub(crate) fn choose<T: Copy>(
        option: &'static str,
        name: &str,
        choices: &[T],
        name_of: impl Fn(T) -> &'static str,
    ) -> Result<T> {
        choices.iter().copied().find(|&choice| name_of(choice) == name).ok_or_else(|| Self::UnknownName {
            option,
            got: name.into(),
            known: choices.iter().copied().map(name_of).collect(),
        })
    }
}

fn unknown_symbol(symbol: char, position: usize, alphabet: &str, hint: &str) -> String {
    format!("symbol {symbol:?} at position {position} is not in the alphabet {alphabet:?}{hint}")
}

fn other_letter(symbol: char, position: usize, letters: &str) -> String {
    format!("letter {symbol:?} at position {position}, which has one of {letters:?} in this space")
}

fn code_out_of_range(code: u8, position: usize, q: usize) -> String {
    format!("code {code} at position {position} is out of range, codes must be 0 to {}", q - 1)
}

fn wrong_length(length: usize, expected: usize) -> String {
    format!("has {length} symbols, the space has length {expected}")
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}

/// A suggestion of the most similar choice, as the end of a message; empty if no choice is similar.
fn nearest(got: &str, choices: &[&'static str]) -> String {
    let got = got.to_lowercase();
    let similarity = |name: &str| strsim::normalized_damerau_levenshtein(&got, &name.to_lowercase());
    choices
        .iter()
        .map(|name| (similarity(name), name))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        // If several are equally similar, the first one.
        .rev()
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(_, name)| format!("; did you mean '{name}'?"))
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

fn size(bytes: u128) -> String {
    // Numbers beyond every address space are not informative.
    if bytes < 1 << 60 {
        format!("{} of memory", gib(bytes))
    } else {
        "more memory than can be addressed".into()
    }
}

/// A number of bytes in MiB or GiB, rounded up to one decimal.
fn gib(bytes: u128) -> String {
    let (unit, name) = if bytes < 1 << 30 { (1 << 20, "MiB") } else { (1 << 30, "GiB") };
    let tenths = (bytes * 10).div_ceil(unit);
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}
