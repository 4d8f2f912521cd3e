//! One error type for the crate: each variant carries the numbers that were wrong.

use std::path::PathBuf;

/// Everything that can go wrong, with the offending values.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The alphabet is too small or too large.
    #[error("an alphabet needs 2 to 64 symbols, this one has {q}")]
    AlphabetSize {
        /// Number of symbols given.
        q: usize,
    },
    /// A symbol stands twice in the alphabet.
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
        /// The length asked for.
        n: usize,
    },
    /// A symbol of a sequence is not in the alphabet.
    #[error(
        "sequence {index}: symbol {symbol:?} at position {position} is not in the alphabet {alphabet:?}{hint}"
    )]
    UnknownSymbol {
        /// Which sequence of the batch.
        index: usize,
        /// Which position of the sequence.
        position: usize,
        /// The symbol found there.
        symbol: char,
        /// The alphabet.
        alphabet: String,
        /// What to do, where that is known; starts with a separator.
        hint: &'static str,
    },
    /// A sequence has the wrong number of symbols.
    #[error("sequence {index} has {length} symbols, the space has length {expected}")]
    WrongLength {
        /// Which sequence of the batch.
        index: usize,
        /// Its length.
        length: usize,
        /// The length of the space.
        expected: usize,
    },
    /// A code is not below the alphabet size.
    #[error("sequence {index}: code {code} at position {position} is out of range, codes must be 0 to {}", q - 1)]
    CodeOutOfRange {
        /// Which sequence of the batch.
        index: usize,
        /// Which position of the sequence.
        position: usize,
        /// The code found there.
        code: u8,
        /// Alphabet size.
        q: usize,
    },
    /// A flat buffer of codes does not hold whole sequences.
    #[error("{length} codes are no whole number of sequences of length {n}")]
    RaggedCodes {
        /// Codes given.
        length: usize,
        /// Sequence length.
        n: usize,
    },
    /// Two things belong to different sequence spaces.
    #[error("expected sequences over {expected}, got {got}")]
    SpaceMismatch {
        /// The space expected.
        expected: String,
        /// The space given.
        got: String,
    },
    /// A query design cannot be built as asked.
    #[error("query design: {0}")]
    Design(String),
    /// The number of values is not the number of queries.
    #[error(
        "{what}: {got} values for {expected} queries; give one value per query, in the order of the queries"
    )]
    ValueCount {
        /// What the values belong to.
        what: &'static str,
        /// Values given.
        got: usize,
        /// Values expected.
        expected: usize,
    },
    /// A value is NaN or infinite.
    #[error(
        "{what}: value {value} at index {index} is not finite; mend the model there, or leave such sequences out of its domain"
    )]
    NotFinite {
        /// What the value belongs to.
        what: &'static str,
        /// Its index.
        index: usize,
        /// The value.
        value: f64,
    },
    /// Values so large or small that their squares leave the range of numbers.
    #[error(
        "{what}: values up to {largest:e} in size cannot be squared without loss; rescale the model to sizes from 1e-120 to 1e120"
    )]
    Scale {
        /// What the values belong to.
        what: &'static str,
        /// The largest size among them.
        largest: f64,
    },
    /// The budget buys no sketch worth having.
    #[error("a budget of {budget} is too small: {reason}; at least {needed} model evaluations are needed")]
    BudgetTooSmall {
        /// Budget given.
        budget: usize,
        /// Smallest budget that works.
        needed: usize,
        /// What the budget cannot pay for.
        reason: String,
    },
    /// Too few sequences to learn from and to be tested on.
    #[error("{got} distinct sequences are too few to split into folds; at least {needed} are needed")]
    TooFew {
        /// Sequences given.
        got: usize,
        /// Sequences needed.
        needed: usize,
    },
    /// A dictionary is too large.
    #[error(
        "the dictionary lists {candidates} atoms and would take {bytes} bytes, {limit} are allowed; orders up to \
         {highest} would fit in {fitting} bytes, and higher ones can be grown from what is found"
    )]
    Dictionary {
        /// Candidate atoms.
        candidates: u128,
        /// Bytes predicted.
        bytes: u128,
        /// Bytes allowed.
        limit: u128,
        /// The highest order that fits.
        highest: usize,
        /// Bytes that would take.
        fitting: u128,
    },
    /// A frequency is not one of this space.
    #[error("frequency {index}: {reason}")]
    BadFrequency {
        /// Which frequency.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The spectrum is not that of a real function.
    #[error(
        "the coefficient of frequency {index} is not the conjugate of that of its negative (relative difference {difference:.3e}), so the function is not real; ask for its real part if that is meant"
    )]
    NotHermitian {
        /// Which frequency.
        index: usize,
        /// `|F[k] - conj F[-k]|` over the largest coefficient.
        difference: f64,
    },
    /// A parameter is out of its range.
    #[error("{name} must be {expected}, got {got}")]
    Parameter {
        /// Name of the parameter.
        name: &'static str,
        /// What it must be.
        expected: &'static str,
        /// What it was.
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
    /// Interactions are evaluated with components that they were not built from.
    #[error(
        "these interactions weigh {got} components, expected {expected}: build them from the same components, by \
         `interactions`, or by `interactions_with_references` for background sequences of each sequence"
    )]
    ForeignInteractions {
        /// Number of components to evaluate.
        expected: usize,
        /// Number of components that the interactions were built from.
        got: usize,
    },
    /// A file is not a sketch that this version can read.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
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
    /// The caller asked for the computation to stop.
    #[error("interrupted")]
    Interrupted,
}

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

fn size(bytes: u128) -> String {
    // More than any address means nothing.
    if bytes < 1 << 60 { format!("about {bytes} bytes") } else { "more memory than there is".into() }
}
