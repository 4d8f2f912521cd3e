//! Frequencies `k ∈ Z_q^n`, stored by their support.

use std::cmp::Ordering;
use std::sync::Arc;

use rustfft::num_complex::Complex64;

use crate::space::roots_of_unity;

/// Order up to which the memory of a frequency is requested at once.
const USUAL_ORDER: usize = 32;

/// The number of letters of each position of a space: the group `Z_{q_0} × … × Z_{q_{n-1}}` of its frequencies.
///
/// The character of a frequency `k` is `Π_i w_i^{k_i x_i}`, `w_i = e^{2πi/q_i}`, where `x_i` is the number of a letter
/// among those of its position, in the order of the alphabet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// The same at every position.
    Same(usize),
    /// One for each position.
    Each(Arc<[u8]>),
}

impl Sizes {
    /// The number of letters of a position.
    #[must_use]
    #[inline]
    pub fn at(&self, position: u16) -> usize {
        match self {
            Self::Same(q) => *q,
            Self::Each(sizes) => sizes[position as usize] as usize,
        }
    }
}

/// The roots of unity of the letters of each position.
#[derive(Clone, Debug)]
pub(crate) enum Roots {
    /// The powers `ω^0 … ω^{q-1}`, the same at every position.
    Same(Vec<Complex64>),
    /// For each position, those of its number of letters.
    Each(Vec<Arc<[Complex64]>>),
}

impl Roots {
    pub(crate) fn new(sizes: &Sizes) -> Self {
        match sizes {
            Sizes::Same(q) => Self::Same(roots_of_unity(*q)),
            Sizes::Each(sizes) => {
                let largest = sizes.iter().copied().max().unwrap_or(1);
                let all: Vec<Arc<[Complex64]>> =
                    (1..=usize::from(largest)).map(|size| roots_of_unity(size).into()).collect();
                Self::Each(sizes.iter().map(|&size| all[usize::from(size) - 1].clone()).collect())
            }
        }
    }

    /// Those of a position.
    #[inline]
    pub(crate) fn at(&self, position: u16) -> &[Complex64] {
        match self {
            Self::Same(roots) => roots,
            Self::Each(roots) => &roots[position as usize],
        }
    }
}

/// The number of letters of each position, modulo which its labels are computed: `q` if it is the same everywhere.
pub trait Moduli: Copy {
    /// The number of letters of a position.
    fn at(self, position: u16) -> usize;
}

impl Moduli for usize {
    fn at(self, _: u16) -> usize {
        self
    }
}

impl Moduli for &Sizes {
    fn at(self, position: u16) -> usize {
        Sizes::at(self, position)
    }
}

/// A frequency `k ∈ Z_q^n` as its support and the nonzero values there; `k ∈ Z_{q_0} × … × Z_{q_{n-1}}` if positions
/// differ in their numbers of letters.
///
/// Sorted by order `|k|`, then support, then values, so that frequencies of one support are adjacent.
///
/// ```
/// use shapsketch::frequency::Frequency;
/// let k = Frequency::from_dense(&[0, 3, 0, 1]);
/// assert_eq!(k.order(), 2);
/// assert_eq!(k.support(), [1, 3]);
/// assert_eq!(k.negated(4), Frequency::from_dense(&[0, 1, 0, 3]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Frequency {
    support: Vec<u16>,
    labels: Vec<u8>,
}

impl Frequency {
    /// The frequency with these `n` values.
    #[must_use]
    pub fn from_dense(values: &[u8]) -> Self {
        values.iter().enumerate().filter(|(_, v)| **v != 0).map(|(i, &v)| (i as u16, v)).collect()
    }

    /// Positions with `k_i ≠ 0`, ascending.
    #[must_use]
    pub fn support(&self) -> &[u16] {
        &self.support
    }

    /// The values `k_i` on the support.
    #[must_use]
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// Number of nonzero values, `|k|`.
    #[must_use]
    pub fn order(&self) -> usize {
        self.support.len()
    }

    /// Positions and values of the support.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u8)> + '_ {
        self.support.iter().copied().zip(self.labels.iter().copied())
    }

    /// `-k (mod q)`.
    #[must_use]
    pub fn negated(&self, q: impl Moduli) -> Self {
        Self {
            support: self.support.clone(),
            labels: self.iter().map(|(i, v)| (q.at(i) - v as usize) as u8).collect(),
        }
    }

    /// `k` or `-k`, whichever comes first in the order, and whether that is `-k`.
    #[must_use]
    pub fn representative(self, q: impl Moduli) -> (Self, bool) {
        let negated = self.negated(q);
        if negated < self { (negated, true) } else { (self, false) }
    }

    /// Whether `k` does not come after `-k` in the order.
    pub(crate) fn is_representative(&self, q: impl Moduli) -> bool {
        self.labels.iter().map(|&v| v as usize).le(self.iter().map(|(i, v)| q.at(i) - v as usize))
    }

    /// Whether `k = -k (mod q)`.
    #[must_use]
    pub fn is_self_conjugate(&self, q: impl Moduli) -> bool {
        self.iter().all(|(i, v)| 2 * v as usize == q.at(i))
    }

    /// The `n` values.
    #[must_use]
    pub fn to_dense(&self, n: usize) -> Vec<u8> {
        let mut dense = vec![0; n];
        for (position, label) in self.iter() {
            dense[position as usize] = label;
        }
        dense
    }

    /// The frequency with the values of both, which have no position in common.
    pub(crate) fn joined(&self, other: &Self) -> Self {
        let mut all: Vec<(u16, u8)> = self.iter().chain(other.iter()).collect();
        all.sort_unstable();
        all.into_iter().collect()
    }

    /// `self - other (mod q)`.
    pub(crate) fn minus(&self, other: &Self, q: impl Moduli) -> Self {
        let (mut a, mut b) = (self.iter().peekable(), other.iter().peekable());
        std::iter::from_fn(|| {
            Some(match (a.peek().copied(), b.peek().copied()) {
                (None, None) => return None,
                (Some((i, x)), Some((j, y))) if i == j => {
                    a.next();
                    b.next();
                    (i, ((x as usize + q.at(i) - y as usize) % q.at(i)) as u8)
                }
                (Some((i, x)), None) => {
                    a.next();
                    (i, x)
                }
                (Some((i, x)), Some((j, _))) if i < j => {
                    a.next();
                    (i, x)
                }
                (_, Some((j, y))) => {
                    b.next();
                    (j, (q.at(j) - y as usize) as u8)
                }
            })
        })
        .filter(|&(_, label)| label != 0)
        .collect()
    }
}

impl FromIterator<(u16, u8)> for Frequency {
    /// From ascending positions and nonzero values.
    fn from_iter<I: IntoIterator<Item = (u16, u8)>>(pairs: I) -> Self {
        let pairs = pairs.into_iter();
        let capacity = pairs.size_hint().1.unwrap_or(0).min(USUAL_ORDER);
        let mut frequency =
            Self { support: Vec::with_capacity(capacity), labels: Vec::with_capacity(capacity) };
        for (position, label) in pairs {
            frequency.support.push(position);
            frequency.labels.push(label);
        }
        frequency
    }
}

impl Ord for Frequency {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.order(), &self.support, &self.labels).cmp(&(other.order(), &other.support, &other.labels))
    }
}

impl PartialOrd for Frequency {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn difference_is_the_dense_one(
            (q, a, b) in (2usize..=20).prop_flat_map(|q| {
                let dense = proptest::collection::vec(0..q as u8, 7);
                (Just(q), dense.clone(), dense)
            })
        ) {
            let dense: Vec<u8> =
                a.iter().zip(&b).map(|(&x, &y)| ((x as usize + q - y as usize) % q) as u8).collect();
            let difference = Frequency::from_dense(&a).minus(&Frequency::from_dense(&b), q);
            prop_assert_eq!(difference, Frequency::from_dense(&dense));
        }
    }
}
