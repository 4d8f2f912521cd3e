//! Relations between symbols, such as complementary or equal.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::space::SequenceSpace;

/// Largest number of characters of the name of a relation.
const LONGEST_NAME: usize = 64;

/// A symmetric relation between the symbols of an alphabet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Relation {
    name: Arc<str>,
    /// For each symbol, the symbols that it is related to, as bits.
    rows: Arc<[u64]>,
}

impl Relation {
    /// The names of the relations that need no matrix.
    pub const NAMES: [&'static str; 4] = ["equal", "complement", "wobble", "strong"];

    /// The relation with these bits for each symbol: bit `b` of row `a` says whether `a` and `b` are related.
    ///
    /// # Errors
    /// If there is not one row for each symbol, no symbols are related, the relation is not symmetric, or the name is
    /// empty, longer than 64 characters, or not printable.
    pub fn new(space: &SequenceSpace, name: &str, rows: Vec<u64>) -> Result<Self> {
        let q = space.q();
        let bad = |expected, got| Err(Error::Parameter { name: "relations", expected, got });
        if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
            return bad("named by 1 to 64 printable characters", format!("the name {name:?}"));
        }
        if rows.len() != q {
            return bad(
                "of one row for each symbol of the alphabet",
                format!("{} rows of the relation {name:?} for {q} symbols", rows.len()),
            );
        }
        let symbols: Vec<char> = space.alphabet().chars().collect();
        for (a, &row) in rows.iter().enumerate() {
            if row & !(u64::MAX >> (64 - q)) != 0 {
                return bad(
                    "between symbols of the alphabet",
                    format!("row {a} of the relation {name:?}: {row:#b}"),
                );
            }
            let lonely = (0..q).find(|&b| row >> b & 1 == 1 && rows[b] >> a & 1 == 0);
            if let Some(b) = lonely {
                let (a, b) = (symbols[a], symbols[b]);
                return bad(
                    "symmetric",
                    format!("{name:?}, which relates {a:?} to {b:?}, but not {b:?} to {a:?}"),
                );
            }
        }
        if rows.iter().all(|&row| row == 0) {
            return bad("between at least two symbols", format!("{name:?}, which relates no symbols"));
        }
        Ok(Self { name: name.into(), rows: rows.into() })
    }

    /// Equal symbols.
    #[must_use]
    pub fn equal(space: &SequenceSpace) -> Self {
        Self { name: "equal".into(), rows: (0..space.q()).map(|a| 1 << a).collect() }
    }

    /// Complementary symbols of DNA or RNA.
    ///
    /// # Errors
    /// If the alphabet does not consist of A, C, G, and T or U.
    pub fn complement(space: &SequenceSpace) -> Result<Self> {
        Self::between(space, "complement", &["AU", "CG"])
    }

    /// Complementary symbols of DNA or RNA, and G with U or T.
    ///
    /// # Errors
    /// As for [`Relation::complement`].
    pub fn wobble(space: &SequenceSpace) -> Result<Self> {
        Self::between(space, "wobble", &["AU", "CG", "GU"])
    }

    /// C with G: the complementary symbols of DNA or RNA with three hydrogen bonds.
    ///
    /// # Errors
    /// As for [`Relation::complement`].
    pub fn strong(space: &SequenceSpace) -> Result<Self> {
        Self::between(space, "strong", &["CG"])
    }

    /// The relation with this name: `equal`, `complement`, `wobble` or `strong`.
    ///
    /// # Errors
    /// If there is none, or the alphabet has no complementary symbols.
    pub fn named(space: &SequenceSpace, name: &str) -> Result<Self> {
        match Error::choose("relation", name, &Self::NAMES, |name| name)? {
            "complement" => Self::complement(space),
            "wobble" => Self::wobble(space),
            "strong" => Self::strong(space),
            _ => Ok(Self::equal(space)),
        }
    }

    fn between(space: &SequenceSpace, name: &str, pairs: &[&str]) -> Result<Self> {
        let alphabet: Vec<char> =
            space.alphabet().to_ascii_uppercase().chars().map(|s| if s == 'T' { 'U' } else { s }).collect();
        let code = |symbol: char| alphabet.iter().position(|&s| s == symbol);
        if alphabet.len() != 4 || "ACGU".chars().any(|symbol| code(symbol).is_none()) {
            return Err(Error::Parameter {
                name: "relations",
                expected: "'repeats' or a relation of your own for this alphabet, because only DNA (A, C, G, T) and RNA \
                           (A, C, G, U) have complementary symbols",
                got: format!("stems for the alphabet {:?}", space.alphabet()),
            });
        }
        let mut rows = [0; 4];
        for pair in pairs {
            let codes: Vec<usize> = pair.chars().filter_map(code).collect();
            rows[codes[0]] |= 1 << codes[1];
            rows[codes[1]] |= 1 << codes[0];
        }
        Ok(Self { name: name.into(), rows: rows.into() })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// For each symbol, the symbols that it is related to, as bits.
    #[must_use]
    pub fn rows(&self) -> &[u64] {
        &self.rows
    }

    /// Whether two symbols are related.
    #[must_use]
    pub fn relates(&self, a: u8, b: u8) -> bool {
        self.rows[a as usize] >> b & 1 == 1
    }
}
