//! Which sequences blocks have in common, from their matrices.
//!
//! The blocks `{Aℓ + d}` and `{Bℓ' + d'}` have a sequence in common if `d' - d` is in the span of the columns of `A` and `B`.
//! Over `Z_s` this is solved for each prime power `p^e` of `s` by itself (Chinese remainder theorem). Over `Z_{p^e}`
//! elimination works if each pivot is an entry that the fewest powers of `p` divide, because it then divides all other
//! entries. The columns become `p^k c` with `c = 1` at the pivot, and each vector has one representative modulo
//! their span: the entry at a pivot is reduced to `0 … p^k - 1`, one pivot after the other. So equal representatives are
//! found by hashing, and the cost does not depend on the number of queries.

use super::SubsamplingMatrix;
use super::subsample::prime_factors;
use crate::frequency::Sizes;

/// The span of the columns of some matrices.
pub(super) struct Cosets {
    parts: Vec<Part>,
    /// The size of each column.
    sizes: Vec<usize>,
}

/// The span modulo one prime power of one size.
struct Part {
    modulus: usize,
    /// 1 modulo the prime power, 0 modulo the other prime powers of the size.
    idempotent: usize,
    /// The positions of this size.
    positions: Vec<u16>,
    /// The columns of this size.
    columns: Vec<usize>,
    pivots: Vec<Pivot>,
    /// Combinations of the columns that are 0, and the number of different multiples of each.
    kernel: Vec<(Vec<u8>, usize)>,
}

/// A column of the echelon form.
struct Pivot {
    /// Index of the position at which the columns after it are 0.
    row: usize,
    /// The power of the prime at this position; it divides the column.
    divisor: usize,
    column: Vec<u8>,
    /// The combination of the columns of the matrices that it is.
    combination: Vec<u8>,
}

impl Cosets {
    pub(super) fn new(sizes: &Sizes, n: usize, matrices: &[&SubsamplingMatrix]) -> Self {
        let column_sizes: Vec<usize> =
            matrices.iter().flat_map(|matrix| matrix.sizes().iter().copied()).collect();
        let columns: Vec<Vec<u8>> =
            matrices.iter().flat_map(|matrix| (0..matrix.sizes().len()).map(|t| matrix.column(t))).collect();
        let mut distinct: Vec<usize> = (0..n).map(|i| sizes.at(i as u16)).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let parts = distinct.into_iter().flat_map(|size| {
            let positions: Vec<u16> = (0..n as u16).filter(|&i| sizes.at(i) == size).collect();
            let own: Vec<usize> = (0..columns.len()).filter(|&t| column_sizes[t] == size).collect();
            let vectors: Vec<Vec<u8>> =
                own.iter().map(|&t| positions.iter().map(|&i| columns[t][i as usize]).collect()).collect();
            let part = move |p: usize| Part::new(size, p, positions.clone(), own.clone(), &vectors);
            prime_factors(size).into_iter().map(part).collect::<Vec<_>>()
        });
        Self { parts: parts.collect(), sizes: column_sizes }
    }

    /// The representative of a vector modulo the span: equal for two vectors if their difference is in the span.
    pub(super) fn representative(&self, vector: &[u8]) -> Vec<u8> {
        self.parts.iter().flat_map(|part| part.reduced(vector).0).collect()
    }

    /// Multiples of the columns of the matrices whose sum is a vector of the span.
    pub(super) fn solution(&self, vector: &[u8]) -> Vec<u8> {
        let mut digits = vec![0; self.sizes.len()];
        for part in &self.parts {
            let (_, multiples) = part.reduced(vector);
            for (pivot, multiple) in part.pivots.iter().zip(multiples) {
                part.add(&pivot.combination, multiple, &self.sizes, &mut digits);
            }
        }
        digits
    }

    /// Combinations of the columns that are 0, with the number of different multiples of each: the sums of their multiples
    /// are all such combinations, each once.
    pub(super) fn kernel(&self) -> Vec<(Vec<u8>, usize)> {
        let mut kernel = Vec::new();
        for part in &self.parts {
            for (combination, count) in &part.kernel {
                let mut digits = vec![0; self.sizes.len()];
                part.add(combination, 1, &self.sizes, &mut digits);
                kernel.push((digits, *count));
            }
        }
        kernel
    }
}

impl Part {
    fn new(size: usize, p: usize, positions: Vec<u16>, columns: Vec<usize>, vectors: &[Vec<u8>]) -> Self {
        let mut modulus = p;
        while (size / modulus).is_multiple_of(p) {
            modulus *= p;
        }
        let cofactor = size / modulus;
        let idempotent = (0..modulus).map(|i| i * cofactor).find(|i| i % modulus == 1).unwrap_or(0);
        let width = vectors.len();
        // Columns that are left, with the combinations that they are.
        let mut rest: Vec<(Vec<u8>, Vec<u8>)> = vectors
            .iter()
            .enumerate()
            .map(|(t, vector)| {
                let unit = (0..width).map(|other| u8::from(other == t)).collect();
                (vector.iter().map(|&x| (x as usize % modulus) as u8).collect(), unit)
            })
            .collect();
        let mut pivots = Vec::new();
        while let Some((t, row, divisor)) = least_divisible(&rest, p, modulus) {
            let (mut column, mut combination) = rest.swap_remove(t);
            let unit = column[row] as usize / divisor;
            let inverse = (1..modulus).find(|x| unit * x % modulus == 1).unwrap_or(1);
            scale(&mut column, inverse, modulus);
            scale(&mut combination, inverse, modulus);
            for (other, its) in &mut rest {
                let factor = modulus - other[row] as usize / divisor;
                add_multiple(other, &column, factor, modulus);
                add_multiple(its, &combination, factor, modulus);
            }
            pivots.push(Pivot { row, divisor, column, combination });
        }
        let mut kernel: Vec<(Vec<u8>, usize)> = rest.into_iter().map(|(_, zero)| (zero, modulus)).collect();
        for pivot in pivots.iter().filter(|pivot| pivot.divisor > 1) {
            let mut combination = pivot.combination.clone();
            scale(&mut combination, modulus / pivot.divisor, modulus);
            kernel.push((combination, pivot.divisor));
        }
        Self { modulus, idempotent, positions, columns, pivots, kernel }
    }

    /// The representative of a vector of all positions, and the multiples of the pivots that were subtracted.
    fn reduced(&self, vector: &[u8]) -> (Vec<u8>, Vec<usize>) {
        let modulo = |&i: &u16| (vector[i as usize] as usize % self.modulus) as u8;
        let mut rest: Vec<u8> = self.positions.iter().map(modulo).collect();
        let multiples = self.pivots.iter().map(|pivot| {
            let multiple = rest[pivot.row] as usize / pivot.divisor;
            add_multiple(&mut rest, &pivot.column, self.modulus - multiple, self.modulus);
            multiple
        });
        let multiples = multiples.collect();
        (rest, multiples)
    }

    /// Adds a multiple of a combination modulo the prime power to digits modulo the sizes of the columns.
    fn add(&self, combination: &[u8], multiple: usize, sizes: &[usize], digits: &mut [u8]) {
        for (&t, &entry) in self.columns.iter().zip(combination) {
            let change = entry as usize * multiple % self.modulus * self.idempotent;
            digits[t] = ((digits[t] as usize + change) % sizes[t]) as u8;
        }
    }
}

/// The column and row of an entry that the fewest powers of `p` divide, with their product; `None` if all entries are 0.
fn least_divisible(
    columns: &[(Vec<u8>, Vec<u8>)],
    p: usize,
    modulus: usize,
) -> Option<(usize, usize, usize)> {
    let mut divisor = 1;
    while divisor < modulus {
        let divides = |&x: &u8| !(x as usize).is_multiple_of(divisor * p);
        for (t, (column, _)) in columns.iter().enumerate() {
            if let Some(row) = column.iter().position(divides) {
                return Some((t, row, divisor));
            }
        }
        divisor *= p;
    }
    None
}

fn scale(vector: &mut [u8], factor: usize, modulus: usize) {
    vector.iter_mut().for_each(|x| *x = (*x as usize * factor % modulus) as u8);
}

fn add_multiple(vector: &mut [u8], other: &[u8], factor: usize, modulus: usize) {
    if !factor.is_multiple_of(modulus) {
        let sums = vector.iter_mut().zip(other);
        // At most 63 + 64 * 63.
        sums.for_each(|(x, &y)| *x = ((u16::from(*x) + factor as u16 * u16::from(y)) % modulus as u16) as u8);
    }
}
