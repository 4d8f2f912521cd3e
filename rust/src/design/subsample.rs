//! Subsampling matrices `M ∈ Z_q^{n×b}` whose map `ℓ → Mℓ (mod q)` is injective.
//!
//! If positions differ in their numbers of letters, each column belongs to one number `s`: it has entries in `Z_s` at the
//! positions with `s` letters, and 0 at the others.
//!
//! Erginbas et al., arXiv 2301.06200, section 3 and appendix C.

use std::collections::HashMap;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::allocation::Share;
use crate::error::{Error, Result};
use crate::frequency::Frequency;
use crate::words;

/// How the subsampling matrices are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubsamplingFamily {
    /// Random entries ("complex" in the published code), drawn so that frequencies of low order have different bins, and
    /// redrawn until the map is injective.
    Random,
    /// The identity on `b` consecutive positions, a different block for each group ("simple").
    Simple,
}

impl SubsamplingFamily {
    /// All families.
    pub const ALL: [Self; 2] = [Self::Random, Self::Simple];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Simple => "simple",
        }
    }

    /// The family with this name.
    ///
    /// # Errors
    /// [`Error::UnknownName`] if there is none.
    pub fn from_name(name: &str) -> Result<Self> {
        Error::choose("subsampling", name, &Self::ALL, Self::name)
    }
}

/// One matrix `M`, row-major `n × b`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubsamplingMatrix {
    /// The size of each column: its entries are modulo this number.
    sizes: Vec<usize>,
    rows: Vec<u8>,
}

/// Largest number of draws of a random matrix; each draw is injective with probability > 0.28.
const MAX_DRAWS: usize = 1000;
/// Largest number of draws of a row; the one that separates low orders best is used.
const MAX_ROW_DRAWS: usize = 64;
/// Number of different rows modulo a prime from which on none of them may be zero.
const FEW: usize = 8;
/// Largest number of combinations of rows that are stored; if there are more, fewer rows are combined.
const MAX_COMBINATIONS: usize = 1 << 17;

impl SubsamplingMatrix {
    /// A random injective matrix that complements the matrices of the groups before it.
    ///
    /// Two frequencies share a bin in every group if their difference `δ` has `M_c^T δ = 0` for all
    /// `c`; they are then inseparable. With uniform matrices this happens often for composite `q`: `δ = 2 e_i` at
    /// `q = 4` vanishes for every even row. So several rows are drawn. For each prime `p` that divides `q`, the
    /// chosen row is not zero modulo `p` (no `δ` of order 1). Concatenated with the same row of the groups before,
    /// it does not depend linearly modulo `p` on one, two or three other rows (no `δ` of order 2, 3 or 4). If no
    /// draw achieves this, the best one is used.
    ///
    /// If `few` columns are one of several parts of a matrix, the row may be zero modulo `p` if `p^b` is less than
    /// [`FEW`], unless it was so in all groups before: with one column modulo 2, all rows would be equal otherwise.
    fn random(
        (q, n, b): (usize, usize, usize),
        few: bool,
        before: &[&Self],
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        for _ in 0..MAX_DRAWS {
            let mut matrix = Self { sizes: vec![q; b], rows: Vec::with_capacity(n * b) };
            let span = |p: usize| Span::new(p, n, !few || p.pow(b as u32) >= FEW);
            let mut spans: Vec<Span> = prime_factors(q).into_iter().map(span).collect();
            for i in 0..n {
                let joint = |row: &[u8]| -> Vec<u8> {
                    before.iter().flat_map(|matrix| matrix.row(i)).chain(row).copied().collect()
                };
                let (mut best, mut row) = (None, Vec::new());
                for _ in 0..MAX_ROW_DRAWS {
                    let draw: Vec<u8> = (0..b).map(|_| rng.random_range(0..q as u32) as u8).collect();
                    let distance = spans.iter().map(|span| span.distance(&draw, &joint(&draw))).min();
                    if best.is_none() || distance > best {
                        (best, row) = (distance, draw);
                    }
                    if best == Some(usize::MAX) {
                        break;
                    }
                }
                for span in &mut spans {
                    span.insert(&joint(&row));
                }
                matrix.rows.extend(row);
            }
            if matrix.is_injective_over(q) {
                return Ok(matrix);
            }
        }
        Err(Error::Design(format!(
            "no injective {n}x{b} matrix over Z_{q} in {MAX_DRAWS} draws; use another seed or a lower b"
        )))
    }

    fn row(&self, i: usize) -> &[u8] {
        let b = self.sizes.len();
        &self.rows[i * b..(i + 1) * b]
    }

    /// A matrix with a random matrix for each number of letters, from the matrices of the groups before.
    pub(super) fn of_shares(n: usize, parts: &[(Share, Self)]) -> Self {
        let sizes: Vec<usize> = parts.iter().flat_map(|(_, part)| part.sizes.iter().copied()).collect();
        let mut rows = vec![0; n * sizes.len()];
        let mut first = 0;
        for (share, part) in parts {
            for (row, &i) in share.positions.iter().enumerate() {
                rows[i as usize * sizes.len() + first..][..share.columns].copy_from_slice(part.row(row));
            }
            first += share.columns;
        }
        Self { sizes, rows }
    }

    /// A random matrix for the positions of each share; `before` has those of the groups before.
    pub(super) fn random_parts(
        shares: Vec<Share>,
        before: &[Vec<(Share, Self)>],
        rng: &mut ChaCha8Rng,
    ) -> Result<Vec<(Share, Self)>> {
        let few = shares.len() > 1;
        let parts = shares.into_iter().enumerate().map(|(index, share)| {
            if share.columns == 0 {
                return Ok((share, Self { sizes: Vec::new(), rows: Vec::new() }));
            }
            let before: Vec<&Self> =
                before.iter().map(|parts| &parts[index].1).filter(|part| !part.sizes.is_empty()).collect();
            let shape = (share.size, share.positions.len(), share.columns);
            let part = Self::random(shape, few, &before, rng)?;
            Ok((share, part))
        });
        parts.collect()
    }

    /// The identity on these positions, whose numbers of letters are `sizes`.
    pub(super) fn simple(n: usize, positions: &[u16], sizes: Vec<usize>) -> Self {
        let b = sizes.len();
        let mut rows = vec![0; n * b];
        positions.iter().enumerate().for_each(|(t, &i)| rows[i as usize * b + t] = 1);
        Self { sizes, rows }
    }

    /// Entries, row-major `n × b`.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.rows
    }

    /// Column `t`, of length `n`.
    pub(crate) fn column(&self, t: usize) -> Vec<u8> {
        self.rows.iter().skip(t).step_by(self.sizes.len()).copied().collect()
    }

    /// The size of each column, modulo which its entries are; `b` numbers.
    #[must_use]
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// Number of queries in a block, `q^b`.
    #[must_use]
    pub fn block_len(&self) -> usize {
        words::count(self.sizes.iter().copied())
    }

    /// Whether `ℓ → Mℓ (mod q)` is injective. Columns of different sizes have no position in common, so each size is tested
    /// by itself.
    #[must_use]
    pub fn is_injective(&self) -> bool {
        let mut distinct = self.sizes.clone();
        distinct.sort_unstable();
        distinct.dedup();
        distinct.into_iter().all(|size| {
            let of_size = |entries: &[u8]| {
                let columns = entries.iter().zip(&self.sizes).filter(move |(_, s)| **s == size);
                columns.map(|(&entry, _)| entry).collect::<Vec<u8>>()
            };
            let rows = self.rows.chunks_exact(self.sizes.len()).flat_map(of_size).collect();
            let sizes = self.sizes.iter().copied().filter(|s| *s == size).collect();
            Self { sizes, rows }.is_injective_over(size)
        })
    }

    /// Whether `ℓ → Mℓ (mod q)` is injective, for columns of the same size: exactly when `M mod p` has rank `b` for every prime
    /// `p` that divides `q` (a kernel vector over `Z_{p^e}` is `p^j w` with `w ≢ 0 (mod p)`, and then
    /// `Mw ≡ 0 (mod p)`).
    fn is_injective_over(&self, q: usize) -> bool {
        prime_factors(q).into_iter().all(|p| self.rank_mod(p) == self.sizes.len())
    }

    fn rank_mod(&self, p: usize) -> usize {
        let b = self.sizes.len();
        let n = self.rows.len() / b;
        let mut a: Vec<usize> = self.rows.iter().map(|&v| v as usize % p).collect();
        let mut rank = 0;
        for column in 0..b {
            let Some(pivot) = (rank..n).find(|&row| a[row * b + column] != 0) else { continue };
            for t in 0..b {
                a.swap(rank * b + t, pivot * b + t);
            }
            let inverse = inverse_mod(a[rank * b + column], p);
            for row in rank + 1..n {
                let factor = a[row * b + column] * inverse % p;
                if factor != 0 {
                    for t in column..b {
                        a[row * b + t] = (a[row * b + t] + (p - factor) * a[rank * b + t]) % p;
                    }
                }
            }
            rank += 1;
        }
        rank
    }

    /// Index of the bin `j = M^T k`, the first digit most significant.
    #[must_use]
    pub fn bin(&self, k: &Frequency) -> usize {
        words::number((0..self.sizes.len()).map(|t| self.digit(k, t)), self.sizes.iter().copied())
    }

    /// Whether `j` is the bin of `k`. If it is not, one or two digits mostly tell.
    pub(crate) fn has_bin(&self, k: &Frequency, j: usize) -> bool {
        let mut rest = j;
        self.sizes.iter().enumerate().rev().all(|(t, size)| {
            let digit = rest % size;
            rest /= size;
            self.digit(k, t) == digit
        })
    }

    /// Digit `t` of the bin of `k`.
    fn digit(&self, k: &Frequency, t: usize) -> usize {
        let b = self.sizes.len();
        let products =
            k.iter().map(|(position, label)| label as usize * self.rows[position as usize * b + t] as usize);
        products.sum::<usize>() % self.sizes[t]
    }

    /// The number of the bin `-j`.
    pub(crate) fn negated(&self, j: usize) -> usize {
        let (mut rest, mut power, mut negated) = (j, 1, 0);
        for &size in self.sizes.iter().rev() {
            if rest == 0 {
                break;
            }
            negated += (size - rest % size) % size * power;
            rest /= size;
            power *= size;
        }
        negated
    }
}

/// Linear combinations of up to three rows modulo a prime.
struct Span {
    p: usize,
    /// Whether a row must not be zero in its own group.
    strict: bool,
    /// Combinations of exactly 1, 2, … rows, up to a factor.
    combinations: Vec<Vec<Vec<u8>>>,
    /// For each direction, the smallest number of rows that combine to it.
    weights: HashMap<Vec<u8>, usize>,
}

impl Span {
    fn new(p: usize, n: usize, strict: bool) -> Self {
        // C(n, w) (p-1)^{w-1} combinations of w rows.
        let counts = [n, n * (n - 1) / 2 * (p - 1), n * n * n / 6 * (p - 1) * (p - 1)];
        let depth = counts.iter().take_while(|&&count| count <= MAX_COMBINATIONS).count().max(1);
        Self { p, strict, combinations: vec![Vec::new(); depth], weights: HashMap::new() }
    }

    /// The smallest number of rows that combine to `joint`; `usize::MAX` if none do, 0 if `row` is zero, or `joint` if that
    /// is enough.
    fn distance(&self, row: &[u8], joint: &[u8]) -> usize {
        if direction(if self.strict { row } else { joint }, self.p).is_empty() {
            return 0;
        }
        self.weights.get(&direction(joint, self.p)).copied().unwrap_or(usize::MAX)
    }

    fn insert(&mut self, row: &[u8]) {
        let row = direction(row, self.p);
        for weight in (1..=self.combinations.len()).rev() {
            let fresh: Vec<Vec<u8>> = if weight == 1 {
                vec![row.clone()]
            } else {
                let factors = 1..self.p;
                self.combinations[weight - 2]
                    .iter()
                    .flat_map(|other| factors.clone().map(|factor| self.sum(other, factor, &row)))
                    .collect()
            };
            for combination in &fresh {
                let least = self.weights.entry(direction(combination, self.p)).or_insert(weight);
                *least = weight.min(*least);
            }
            self.combinations[weight - 1].extend(fresh);
        }
    }

    fn sum(&self, a: &[u8], factor: usize, b: &[u8]) -> Vec<u8> {
        a.iter().zip(b).map(|(&x, &y)| ((x as usize + factor * y as usize) % self.p) as u8).collect()
    }
}

/// A row modulo `p`, scaled to start with 1; empty for zero. Equal for proportional rows.
fn direction(row: &[u8], p: usize) -> Vec<u8> {
    match row.iter().map(|&v| v as usize % p).find(|&v| v != 0) {
        Some(lead) => {
            let scale = inverse_mod(lead, p);
            row.iter().map(|&v| (v as usize % p * scale % p) as u8).collect()
        }
        None => Vec::new(),
    }
}

fn inverse_mod(a: usize, p: usize) -> usize {
    (1..p).find(|x| a * x % p == 1).unwrap_or(1)
}

pub(crate) fn prime_factors(q: usize) -> Vec<usize> {
    (2..=q).filter(|&p| q.is_multiple_of(p) && (2..p).all(|d| !p.is_multiple_of(d))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use std::collections::HashSet;

    fn image_size(matrix: &SubsamplingMatrix, n: usize) -> usize {
        let (q, b) = (matrix.sizes[0], matrix.sizes.len());
        (0..q.pow(b as u32))
            .map(|l| {
                let digits: Vec<usize> = (0..b).map(|t| l / q.pow((b - 1 - t) as u32) % q).collect();
                (0..n)
                    .map(|i| (0..b).map(|t| matrix.rows[i * b + t] as usize * digits[t]).sum::<usize>() % q)
                    .collect::<Vec<_>>()
            })
            .collect::<HashSet<_>>()
            .len()
    }

    #[test]
    fn is_injective_agrees_with_the_size_of_the_image() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut seen = [0, 0];
        for q in [2, 3, 4, 6, 8, 9, 12, 20] {
            for (n, b) in [(2, 1), (2, 2), (3, 2), (4, 2)] {
                for _ in 0..40 {
                    let rows = (0..n * b).map(|_| rng.random_range(0..q as u32) as u8).collect();
                    let matrix = SubsamplingMatrix { sizes: vec![q; b], rows };
                    let injective = image_size(&matrix, n) == q.pow(b as u32);
                    assert_eq!(matrix.is_injective(), injective, "q={q} {:?}", matrix.rows);
                    seen[usize::from(injective)] += 1;
                }
            }
        }
        assert!(seen[0] > 50 && seen[1] > 50, "both cases must occur: {seen:?}");
    }

    #[test]
    fn frequencies_that_differ_in_up_to_three_positions_do_not_share_all_bins() {
        let (n, b) = (12, 4);
        for q in [2, 4, 6, 20] {
            let mut rng = ChaCha8Rng::seed_from_u64(q as u64);
            let mut matrices: Vec<SubsamplingMatrix> = Vec::new();
            for _ in 0..3 {
                let before: Vec<&SubsamplingMatrix> = matrices.iter().collect();
                let matrix = SubsamplingMatrix::random((q, n, b), false, &before, &mut rng).unwrap();
                matrices.push(matrix);
            }
            for triple in 0..n.pow(3) {
                let (h, i, j) = (triple / n / n, triple / n % n, triple % n);
                if !(h < i && i < j) {
                    continue;
                }
                for labels in 1..q.pow(3) {
                    let labels = [labels / q / q, labels / q % q, labels % q];
                    let pairs = [h, i, j].into_iter().zip(labels).filter(|(_, label)| *label != 0);
                    let delta: Frequency = pairs.map(|(i, label)| (i as u16, label as u8)).collect();
                    assert!(matrices.iter().any(|matrix| matrix.bin(&delta) != 0), "q={q} {delta:?}");
                }
            }
        }
    }

    #[test]
    fn drawn_matrices_are_injective() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for q in 2..=20 {
            let matrix = SubsamplingMatrix::random((q, 3, 2), false, &[], &mut rng).unwrap();
            assert_eq!(image_size(&matrix, 3), q * q);
            assert!(SubsamplingMatrix::simple(6, &[4, 5], vec![q; 2]).is_injective());
        }
    }
}
