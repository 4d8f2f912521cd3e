//! Sequence spaces: `n` symbols from an alphabet of `q`, coded as integers `0..q`.

use std::fmt;
use std::sync::Arc;

use rand::{Rng, RngExt};
use rustfft::num_complex::Complex64;

use crate::error::{Error, Result};
use crate::frequency::Sizes;
use crate::words;

/// Smallest and largest number of symbols of an alphabet.
const ALPHABET_SIZES: std::ops::RangeInclusive<usize> = 2..=64;
/// Largest number of symbols of a sequence.
const MAX_LENGTH: usize = 4096;
/// Symbols of the spaces of [`SequenceSpace::of_size`].
const DEFAULT_SYMBOLS: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+-";
/// Positions whose letters a message lists.
const SHOWN: usize = 8;
/// Code of characters that are not in the alphabet.
const UNKNOWN: u8 = u8::MAX;

/// All sequences of `n` symbols from an alphabet of `q` symbols, or those with given letters at each position.
///
/// The code of a symbol is its position in the alphabet. Batches of coded sequences are flat row-major slices of
/// `u8`, `n` codes for each sequence. If positions have letters of their own ([`SequenceSpace::with_letters`]), the
/// alphabet has the letters of all positions, so that a letter has the same code everywhere; sequences with other
/// letters at a position do not belong to the space.
///
/// ```
/// use shapsketch::SequenceSpace;
/// let space = SequenceSpace::new("ACGU", 3)?;
/// assert_eq!((space.q(), space.n(), space.size()), (4, 3, Some(64)));
/// assert_eq!(space.encode(&["GAU", "cag"])?, [2, 0, 3, 1, 0, 2]);
/// assert_eq!(space.decode(&[2, 0, 3])?, ["GAU"]);
/// # Ok::<(), shapsketch::Error>(())
/// ```
#[derive(Clone)]
pub struct SequenceSpace {
    symbols: Arc<[char]>,
    /// Codes of the ASCII characters; [`UNKNOWN`] for those outside the alphabet.
    ascii: Arc<[u8; 128]>,
    n: usize,
    /// The codes that each position may have, as bits; `None` if every position has the whole alphabet.
    letters: Option<Arc<[u64]>>,
    sizes: Sizes,
}

impl SequenceSpace {
    /// The sequences of `length` symbols from `alphabet`.
    ///
    /// # Errors
    /// If the alphabet has fewer than 2 or more than 64 symbols or repeats one, or the length is
    /// not 1 to 4096.
    pub fn new(alphabet: &str, length: usize) -> Result<Self> {
        let symbols: Vec<char> = alphabet.chars().collect();
        if !ALPHABET_SIZES.contains(&symbols.len()) {
            return Err(Error::AlphabetSize { q: symbols.len() });
        }
        for (second, &symbol) in symbols.iter().enumerate() {
            if let Some(first) = symbols[..second].iter().position(|&s| s == symbol) {
                return Err(Error::DuplicateSymbol { symbol, first, second });
            }
        }
        if length == 0 || length > MAX_LENGTH {
            return Err(Error::SequenceLength { n: length });
        }
        let mut ascii = [UNKNOWN; 128];
        for (code, &symbol) in symbols.iter().enumerate() {
            if symbol.is_ascii() {
                ascii[symbol as usize] = code as u8;
            }
        }
        // A symbol in the other case (upper or lower) is accepted if the alphabet does not contain it.
        for (code, &symbol) in symbols.iter().enumerate() {
            if symbol.is_ascii_alphabetic() {
                let other = (symbol as u8 ^ 0x20) as usize;
                if ascii[other] == UNKNOWN {
                    ascii[other] = code as u8;
                }
            }
        }
        let sizes = Sizes::Same(symbols.len());
        Ok(Self { symbols: symbols.into(), ascii: Arc::new(ascii), n: length, letters: None, sizes })
    }

    /// The sequences that have one of these letters at each position: `letters[i]` at position `i`. The alphabet
    /// has the letters of all positions, sorted. Equal letters at all positions give [`SequenceSpace::new`].
    ///
    /// # Errors
    /// If a position has no letters or repeats one, the letters of all positions are fewer than 2 or more than 64,
    /// or there are not 1 to 4096 positions.
    ///
    /// ```
    /// use shapsketch::SequenceSpace;
    /// let space = SequenceSpace::with_letters(&["AC", "G", "ACT"])?;
    /// assert_eq!((space.alphabet().as_str(), space.size()), ("ACGT", Some(6)));
    /// assert!(space.encode(&["CGT"]).is_ok() && space.encode(&["CAT"]).is_err());
    /// # Ok::<(), shapsketch::Error>(())
    /// ```
    pub fn with_letters<S: AsRef<str>>(letters: &[S]) -> Result<Self> {
        let mut symbols: Vec<char> = letters.iter().flat_map(|own| own.as_ref().chars()).collect();
        symbols.sort_unstable();
        symbols.dedup();
        let alphabet: String = symbols.into_iter().collect();
        let space = Self::new(&alphabet, letters.len())?;
        let mut sets = Vec::with_capacity(letters.len());
        for (position, own) in letters.iter().enumerate() {
            let mut set = 0_u64;
            for symbol in own.as_ref().chars() {
                let bit = alphabet.chars().position(|s| s == symbol).map_or(0, |code| 1 << code);
                if set & bit != 0 {
                    return Err(Error::PositionLetters { position, problem: format!("{symbol:?} twice") });
                }
                set |= bit;
            }
            if set == 0 {
                return Err(Error::PositionLetters { position, problem: "no letters".into() });
            }
            sets.push(set);
        }
        if sets.iter().all(|&set| set == space.all_codes()) {
            return Ok(space);
        }
        let sizes = Sizes::Each(sets.iter().map(|set| set.count_ones() as u8).collect());
        Ok(Self { letters: Some(sets.into()), sizes, ..space })
    }

    /// All codes, as bits.
    fn all_codes(&self) -> u64 {
        u64::MAX >> (64 - self.q())
    }

    /// Whether positions differ in the letters that they may have.
    #[must_use]
    pub fn has_letters(&self) -> bool {
        self.letters.is_some()
    }

    /// The codes that a position may have, as bits.
    #[must_use]
    pub fn letters_at(&self, position: usize) -> u64 {
        self.letters.as_ref().map_or_else(|| self.all_codes(), |letters| letters[position])
    }

    /// The letters of each position, if positions differ in them.
    #[must_use]
    pub fn letters(&self) -> Option<Vec<String>> {
        let listed = |&set: &u64| {
            let codes = (0..self.q()).filter(|code| set >> code & 1 == 1);
            codes.map(|code| self.symbols[code]).collect()
        };
        self.letters.as_ref().map(|letters| letters.iter().map(listed).collect())
    }

    /// Number of letters of each position.
    #[must_use]
    pub fn sizes(&self) -> &Sizes {
        &self.sizes
    }

    /// The number of a letter among those of its position, in the order of the codes.
    pub(crate) fn digit(&self, position: usize, code: u8) -> usize {
        match &self.letters {
            None => code as usize,
            Some(letters) => (letters[position] & ((1 << code) - 1)).count_ones() as usize,
        }
    }

    /// The codes of the letters of a position.
    pub(crate) fn codes_at(&self, position: usize) -> impl Iterator<Item = usize> + Clone {
        let set = self.letters_at(position);
        (0..self.q()).filter(move |code| set >> code & 1 == 1)
    }

    /// Number of letters of each position.
    pub(crate) fn radices(&self) -> impl DoubleEndedIterator<Item = usize> + ExactSizeIterator + Clone + '_ {
        (0..self.n).map(|position| self.letters_at(position).count_ones() as usize)
    }

    /// The letter of a position with this number, in the order of the codes.
    pub(crate) fn letter(&self, position: usize, number: usize) -> u8 {
        match &self.letters {
            None => number as u8,
            Some(letters) => {
                let mut rest = letters[position];
                for _ in 0..number {
                    rest &= rest - 1;
                }
                rest.trailing_zeros() as u8
            }
        }
    }

    /// Writes the sequence with this number, in lexicographic order of the codes; `row` has `n` codes.
    pub(crate) fn write_sequence(&self, number: usize, row: &mut [u8]) {
        words::write_digits(number, self.radices(), row);
        if self.letters.is_some() {
            row.iter_mut().enumerate().for_each(|(i, code)| *code = self.letter(i, *code as usize));
        }
    }

    /// The number of a sequence, as for [`Self::write_sequence`].
    pub(crate) fn number(&self, row: &[u8]) -> usize {
        words::number(row.iter().enumerate().map(|(i, &code)| self.digit(i, code)), self.radices())
    }

    /// A uniform random sequence.
    pub(crate) fn random<R: Rng>(&self, rng: &mut R) -> Vec<u8> {
        let radices = self.radices().enumerate();
        radices.map(|(i, radix)| self.letter(i, rng.random_range(0..radix as u32) as usize)).collect()
    }

    /// The sequences of `length` symbols from the first `q` of `0-9A-Za-z+-`.
    ///
    /// # Errors
    /// As for [`SequenceSpace::new`].
    pub fn of_size(q: usize, length: usize) -> Result<Self> {
        if !ALPHABET_SIZES.contains(&q) {
            return Err(Error::AlphabetSize { q });
        }
        Self::new(&DEFAULT_SYMBOLS[..q], length)
    }

    /// The sequences whose position `i` has the first `sizes[i]` of the symbols `0-9A-Za-z+-`.
    ///
    /// # Errors
    /// As for [`SequenceSpace::with_letters`].
    ///
    /// ```
    /// use shapsketch::SequenceSpace;
    /// let space = SequenceSpace::of_sizes(&[2, 4, 1])?;
    /// assert_eq!((space.size(), space.letters()), (Some(8), Some(vec!["01".into(), "0123".into(), "0".into()])));
    /// assert!(SequenceSpace::of_sizes(&[2, 65]).is_err());
    /// # Ok::<(), shapsketch::Error>(())
    /// ```
    pub fn of_sizes(sizes: &[usize]) -> Result<Self> {
        if let Some(&q) = sizes.iter().find(|&&size| size > DEFAULT_SYMBOLS.len()) {
            return Err(Error::AlphabetSize { q });
        }
        let letters: Vec<&str> = sizes.iter().map(|&size| &DEFAULT_SYMBOLS[..size]).collect();
        Self::with_letters(&letters)
    }

    /// Alphabet size.
    #[must_use]
    pub fn q(&self) -> usize {
        self.symbols.len()
    }

    /// Sequence length.
    #[must_use]
    pub fn n(&self) -> usize {
        self.n
    }

    /// The alphabet, in the order of the codes.
    #[must_use]
    pub fn alphabet(&self) -> String {
        self.symbols.iter().collect()
    }

    /// Number of sequences, `q^n` if every position has the whole alphabet; `None` if it exceeds `u128`.
    #[must_use]
    pub fn size(&self) -> Option<u128> {
        self.radices().try_fold(1, |size: u128, radix| size.checked_mul(radix as u128))
    }

    fn code(&self, symbol: char) -> Option<u8> {
        if symbol.is_ascii() {
            Some(self.ascii[symbol as usize]).filter(|&code| code != UNKNOWN)
        } else {
            self.symbols.iter().position(|&s| s == symbol).map(|code| code as u8)
        }
    }

    /// Codes of a batch of sequences, row-major. A symbol in the other case (upper or lower) is accepted if the
    /// alphabet does not contain it.
    ///
    /// # Errors
    /// If a sequence has another length or a symbol outside the alphabet; the message names the sequence and the
    /// position.
    pub fn encode<S: AsRef<str>>(&self, sequences: &[S]) -> Result<Vec<u8>> {
        let mut codes = Vec::with_capacity(sequences.len() * self.n);
        for (index, sequence) in sequences.iter().enumerate() {
            let sequence = sequence.as_ref();
            let length = sequence.chars().count();
            if length != self.n {
                return Err(Error::WrongLength { index, length, expected: self.n });
            }
            for (position, symbol) in sequence.chars().enumerate() {
                let code = self.code(symbol).ok_or_else(|| Error::UnknownSymbol {
                    index,
                    position,
                    symbol,
                    alphabet: self.alphabet(),
                    hint: self.hint(symbol),
                })?;
                self.check_letter(index, position, code)?;
                codes.push(code);
            }
        }
        Ok(codes)
    }

    /// Whether the alphabet has these four symbols and no others.
    fn has_bases(&self, bases: &str) -> bool {
        self.q() == bases.len() && bases.chars().all(|base| self.code(base).is_some())
    }

    fn hint(&self, symbol: char) -> &'static str {
        match symbol {
            'U' | 'u' if self.has_bases("ACGT") => {
                " (this space is DNA: write T for U, or make an RNA space)"
            }
            'T' | 't' if self.has_bases("ACGU") => " (this space is RNA: write U for T, or make a DNA space)",
            'N' | 'n' | 'X' | 'x' | '-' | '*' => {
                " (ambiguity codes and gaps do not stand for a single symbol: resolve them, or add the symbol to the alphabet)"
            }
            _ => "",
        }
    }

    /// Sequences of a batch of codes.
    ///
    /// # Errors
    /// If the number of codes is not a multiple of the sequence length, or a code is out of range.
    pub fn decode(&self, codes: &[u8]) -> Result<Vec<String>> {
        self.check(codes)?;
        Ok(codes
            .chunks_exact(self.n)
            .map(|row| row.iter().map(|&code| self.symbols[code as usize]).collect())
            .collect())
    }

    /// Checks a batch of codes and returns the number of its sequences.
    ///
    /// # Errors
    /// If the number of codes is not a multiple of the sequence length, a code is out of range, or a position may not
    /// have this letter.
    pub fn check(&self, codes: &[u8]) -> Result<usize> {
        if !codes.len().is_multiple_of(self.n) {
            return Err(Error::RaggedCodes { length: codes.len(), n: self.n });
        }
        let q = self.q();
        if let Some(at) = codes.iter().position(|&code| code as usize >= q) {
            return Err(Error::CodeOutOfRange {
                index: at / self.n,
                position: at % self.n,
                code: codes[at],
                q,
            });
        }
        if self.letters.is_some() {
            for (at, &code) in codes.iter().enumerate() {
                self.check_letter(at / self.n, at % self.n, code)?;
            }
        }
        Ok(codes.len() / self.n)
    }

    /// Checks that a position may have a letter.
    fn check_letter(&self, index: usize, position: usize, code: u8) -> Result<()> {
        if self.letters_at(position) >> code & 1 == 1 {
            return Ok(());
        }
        let letters = self.letters().map_or_else(String::new, |mut letters| letters.swap_remove(position));
        Err(Error::OtherLetter { index, position, symbol: self.symbols[code as usize], letters })
    }

    /// Checks that two spaces are equal.
    ///
    /// # Errors
    /// If `other` is another space.
    pub fn check_same(&self, other: &Self) -> Result<()> {
        if self == other {
            Ok(())
        } else {
            Err(Error::SpaceMismatch { expected: self.to_string(), got: other.to_string() })
        }
    }
}

impl PartialEq for SequenceSpace {
    fn eq(&self, other: &Self) -> bool {
        self.n == other.n && self.symbols == other.symbols && self.letters == other.letters
    }
}

impl Eq for SequenceSpace {}

impl fmt::Display for SequenceSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of length {}", self.alphabet(), self.n)?;
        match self.letters() {
            None => Ok(()),
            Some(letters) => write!(f, ", with the letters {} by position", listed(&letters)),
        }
    }
}

impl fmt::Debug for SequenceSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SequenceSpace({self})")
    }
}

/// Letters by position for a message: the first ones, and how many others there are.
fn listed(letters: &[String]) -> String {
    let some = letters.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if letters.len() > SHOWN { format!("{some}, and {} more,", letters.len() - SHOWN) } else { some }
}

/// The powers `ω^0 … ω^{q-1}` of `ω = e^{2πi/q}`.
pub(crate) fn roots_of_unity(q: usize) -> Vec<Complex64> {
    (0..q)
        .map(|a| {
            // Multiples of a quarter turn are exact, so that real characters are real.
            let quarter = 4 * a;
            if quarter.is_multiple_of(q) {
                let (re, im) = [(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)][quarter / q];
                Complex64::new(re, im)
            } else {
                Complex64::from_polar(1.0, std::f64::consts::TAU * a as f64 / q as f64)
            }
        })
        .collect()
}
