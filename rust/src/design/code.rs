//! Linear codes whose parity checks are delays: `O(t log n)` phases determine a frequency of order up to `t`.
//!
//! The phases of the delays `h_1 … h_r ∈ Z_q^n` are the syndrome `<h_i, k> mod q` of `k`, which a decoder turns into
//! `k` if `|k| ≤ t`. For a prime `p` the checks are those of an alternant code over `GF(p)`: position `i` has the
//! locator `x_i ∈ GF(p^m)`, all of them different, and the syndromes are `S_j = Σ_i k_i x_i^j`, `j = 0 … 2t-1`. Any `2t`
//! columns of this Vandermonde matrix are independent, so the distance is `2t + 1`. This is a Reed–Solomon code if
//! `m = 1`, and a lengthened BCH code otherwise. `S_{pj} = S_j^p`, so a BCH code needs `m` checks only for each `j` that
//! `p` does not divide. The Berlekamp–Massey algorithm gives the locators of the support (Massey, IEEE Trans. Inf. Theory
//! 15, 1969).
//!
//! A composite `q = p^a …` uses the same entries of the checks in `Z_{p^a}`. A phase modulo `p` is the syndrome of `k
//! mod p`, the first digit of `k` in base `p`. After its part is subtracted, the phase divided by `p` is the syndrome of
//! the second digit, and so on. The Chinese remainder theorem joins the checks of all primes to one set of delays, and the
//! decoded residues to `k`.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::field::{self, Field};
use super::subsample::prime_factors;
use crate::error::{Error, Result};
use crate::frequency::Frequency;
use crate::words;

/// Random checks are added until at most one of this number of wrong frequencies passes all of them by chance.
const RANDOM_SYNDROMES: usize = 16;

/// A code over `Z_q` of length `n` that decodes the frequencies of order up to `t`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Code {
    q: usize,
    n: usize,
    max_order: usize,
    primes: Vec<PrimeCode>,
    /// The checks `h_i`, row-major `r × n`: those that are decoded, then random ones.
    rows: Vec<u8>,
}

impl Code {
    /// Number of checks `r`.
    ///
    /// # Errors
    /// [`Error::Parameter`] if the order is 0; [`Error::Design`] if unit steps are not more.
    pub(crate) fn n_checks(q: usize, n: usize, max_order: usize) -> Result<usize> {
        if max_order == 0 {
            return Err(Error::Parameter { name: "max_order", expected: "at least 1", got: "0".into() });
        }
        // From t = n/2 on, the checks are as many as the positions.
        let n_checks = (max_order < n.div_ceil(2)).then(|| {
            let of_primes = prime_factors(q).into_iter().map(|p| n_prime_checks(p, n, max_order));
            of_primes.max().unwrap_or(0) + n_random_checks(q)
        });
        n_checks.filter(|&n_checks| n_checks < n).ok_or_else(|| {
            Error::Design(format!(
                "no coded delays for orders up to {max_order} over {q} symbols at length {n}: they would not be fewer \
                 than the {} of delays 'nso'; use these, or a lower max_order",
                n + 1
            ))
        })
    }

    /// The code, with random checks from `rng`.
    ///
    /// # Errors
    /// As for [`Self::n_checks`].
    pub(crate) fn new(q: usize, n: usize, max_order: usize, rng: &mut ChaCha8Rng) -> Result<Self> {
        let n_checks = Self::n_checks(q, n, max_order)?;
        Ok(Self::with_checks(q, n, max_order, n_checks, rng))
    }

    fn with_checks(q: usize, n: usize, max_order: usize, n_checks: usize, rng: &mut ChaCha8Rng) -> Self {
        let primes: Vec<PrimeCode> =
            prime_factors(q).into_iter().map(|p| PrimeCode::new(q, p, n, max_order)).collect();
        let mut rows: Vec<u8> = (0..n_checks * n).map(|_| rng.random_range(0..q as u32) as u8).collect();
        for prime in &primes {
            for (entry, &check) in rows.iter_mut().zip(&prime.checks) {
                // The entry modulo p^a becomes the check; the other residues stay.
                let change = usize::from(check) + prime.modulus - usize::from(*entry) % prime.modulus;
                *entry = ((usize::from(*entry) + change * prime.idempotent) % q) as u8;
            }
        }
        Self { q, n, max_order, primes, rows }
    }

    /// Number of checks `r`.
    pub(crate) fn len(&self) -> usize {
        self.rows.len() / self.n
    }

    /// Check `h_i`, of length `n`.
    pub(crate) fn row(&self, i: usize) -> &[u8] {
        &self.rows[i * self.n..(i + 1) * self.n]
    }

    /// `<h_i, k> mod q`.
    pub(crate) fn phase(&self, i: usize, k: &Frequency) -> usize {
        let row = self.row(i);
        k.iter().map(|(position, label)| row[position as usize] as usize * label as usize).sum::<usize>()
            % self.q
    }

    /// The frequency of order up to `t` whose checks that are decoded have these phases; `None` if there is none. The
    /// phases of the random checks are not used.
    pub(crate) fn decode(&self, phases: &[u8]) -> Option<Frequency> {
        let mut dense: Vec<(u16, usize)> = Vec::new();
        for prime in &self.primes {
            for (position, residue) in prime.residues(phases, self.max_order)? {
                let value = residue * prime.idempotent;
                match dense.iter_mut().find(|(other, _)| *other == position) {
                    Some((_, sum)) => *sum = (*sum + value) % self.q,
                    None => dense.push((position, value % self.q)),
                }
            }
        }
        dense.sort_unstable();
        (dense.len() <= self.max_order)
            .then(|| dense.into_iter().map(|(position, label)| (position, label as u8)).collect())
    }
}

/// Number of checks for a prime: one for `S_0`, and `m` for each `j = 1 … 2t-1` that `p` does not divide.
fn n_prime_checks(p: usize, n: usize, max_order: usize) -> usize {
    1 + field::degree(p, n) * (1..2 * max_order).filter(|j| !j.is_multiple_of(p)).count()
}

fn n_random_checks(q: usize) -> usize {
    let mut count = 1;
    while words::count(words::same(q, count)) < RANDOM_SYNDROMES {
        count += 1;
    }
    count
}

/// The code for one prime `p` that divides `q`, over `Z_{p^a}`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PrimeCode {
    p: usize,
    n: usize,
    /// `p^a`, the highest power that divides `q`.
    modulus: usize,
    /// The number that is 1 modulo `p^a` and 0 modulo `q / p^a`.
    idempotent: usize,
    /// Position `i` has the element `i` as its locator.
    field: Field,
    /// The exponents `j` of the checks that are not conjugates of others; `S_0` is not among them.
    exponents: Vec<usize>,
    /// Entries of the checks, row-major.
    checks: Vec<u8>,
}

impl PrimeCode {
    fn new(q: usize, p: usize, n: usize, max_order: usize) -> Self {
        let mut modulus = p;
        while q.is_multiple_of(modulus * p) {
            modulus *= p;
        }
        let idempotent = (0..q).step_by(q / modulus).find(|e| e % modulus == 1).unwrap_or(1);
        let field = Field::with_size(p, n);
        let exponents: Vec<usize> = (1..2 * max_order).filter(|j| !j.is_multiple_of(p)).collect();
        let mut checks = vec![1; n];
        for &j in &exponents {
            let powers: Vec<u32> = (0..n as u32).map(|locator| field.pow(locator, j)).collect();
            for digit in 0..field.degree() {
                checks.extend(powers.iter().map(|&power| field.digit(power, digit) as u8));
            }
        }
        Self { p, n, modulus, idempotent, field, exponents, checks }
    }

    /// The nonzero residues `k mod p^a`, from the phases of the checks.
    fn residues(&self, phases: &[u8], max_order: usize) -> Option<Vec<(u16, usize)>> {
        let mut rest: Vec<usize> = phases
            .iter()
            .take(self.checks.len() / self.n)
            .map(|&phase| usize::from(phase) % self.modulus)
            .collect();
        let mut residues: Vec<(u16, usize)> = Vec::new();
        let mut unit = 1;
        while unit < self.modulus {
            let syndromes = self.syndromes(&rest, unit, 2 * max_order);
            let digits = self.decode(&syndromes, max_order)?;
            for (row, phase) in self.checks.chunks_exact(self.n).zip(&mut rest) {
                for &(position, digit) in &digits {
                    let part = unit * usize::from(row[position as usize]) * digit % self.modulus;
                    *phase = (*phase + self.modulus - part) % self.modulus;
                }
            }
            for (position, digit) in digits {
                match residues.iter_mut().find(|(other, _)| *other == position) {
                    Some((_, residue)) => *residue += unit * digit,
                    None => residues.push((position, unit * digit)),
                }
            }
            unit *= self.p;
        }
        Some(residues)
    }

    /// `S_0 … S_{2t-1}` of one digit, from phases that are multiples of `unit`.
    fn syndromes(&self, phases: &[usize], unit: usize, count: usize) -> Vec<u32> {
        let digit = |phase: usize| (phase / unit % self.p) as u32;
        let mut syndromes = vec![0; count];
        syndromes[0] = digit(phases[0]);
        for (&j, phases) in self.exponents.iter().zip(phases[1..].chunks_exact(self.field.degree())) {
            syndromes[j] = phases.iter().rev().fold(0, |sum, &phase| sum * self.p as u32 + digit(phase));
        }
        for j in (self.p..count).step_by(self.p) {
            syndromes[j] = self.field.pow(syndromes[j / self.p], self.p);
        }
        syndromes
    }

    /// The positions and values in `GF(p)` with these syndromes, if there are at most `max_order`.
    fn decode(&self, syndromes: &[u32], max_order: usize) -> Option<Vec<(u16, usize)>> {
        if syndromes.iter().all(|&syndrome| syndrome == 0) {
            return Some(Vec::new());
        }
        let (polynomial, length) = self.locator_polynomial(syndromes);
        let degree = polynomial.len() - 1;
        // The locator 0 contributes to S_0 only, so the polynomial does not have it as a root.
        if length > max_order || degree + 1 < length {
            return None;
        }
        let mut locators: Vec<u32> = if degree < length { vec![0] } else { Vec::new() };
        // Reversed, the polynomial has the locators as roots rather than their inverses.
        let reversed: Vec<u32> = polynomial.iter().rev().copied().collect();
        locators.extend((1..self.n as u32).filter(|&x| self.field.evaluate(&reversed, x) == 0));
        if locators.len() != length {
            return None;
        }
        let values: Vec<u32> = (0..length).map(|i| self.value(&locators, i, syndromes)).collect();
        let agrees = |(j, &syndrome): (usize, &u32)| {
            let terms =
                locators.iter().zip(&values).map(|(&x, &value)| self.field.mul(value, self.field.pow(x, j)));
            terms.fold(0, |sum, term| self.field.add(sum, term)) == syndrome
        };
        let valid = values.iter().all(|&value| value > 0 && (value as usize) < self.p)
            && syndromes.iter().enumerate().all(agrees);
        valid.then(|| locators.iter().zip(values).map(|(&x, value)| (x as u16, value as usize)).collect())
    }

    /// The shortest recurrence `Σ_i c_i S_{j-i} = 0`, `c_0 = 1`, and its length, by Berlekamp and Massey.
    fn locator_polynomial(&self, syndromes: &[u32]) -> (Vec<u32>, usize) {
        let field = &self.field;
        let (mut current, mut before) = (vec![1], vec![1]);
        let (mut length, mut shift, mut discrepancy_before) = (0, 1, 1);
        for j in 0..syndromes.len() {
            let discrepancy = (0..current.len().min(j + 1))
                .fold(0, |sum, i| field.add(sum, field.mul(current[i], syndromes[j - i])));
            if discrepancy == 0 {
                shift += 1;
                continue;
            }
            let factor = field.div(discrepancy, discrepancy_before);
            let mut next = current.clone();
            next.resize(current.len().max(before.len() + shift), 0);
            for (i, &coefficient) in before.iter().enumerate() {
                next[i + shift] = field.sub(next[i + shift], field.mul(factor, coefficient));
            }
            if 2 * length <= j {
                (before, discrepancy_before, length, shift) = (current, discrepancy, j + 1 - length, 1);
            } else {
                shift += 1;
            }
            current = next;
        }
        while current.len() > 1 && current.last() == Some(&0) {
            current.pop();
        }
        (current, length)
    }

    /// The value at locator `i`: the syndromes' combination with the coefficients of the Lagrange polynomial, which is 1
    /// at this locator and 0 at the others.
    fn value(&self, locators: &[u32], i: usize, syndromes: &[u32]) -> u32 {
        let field = &self.field;
        let mut polynomial = vec![1];
        let mut scale = 1;
        for (other, &x) in locators.iter().enumerate() {
            if other == i {
                continue;
            }
            // Multiply by (z - x).
            polynomial.push(0);
            for degree in (0..polynomial.len()).rev() {
                let lower = if degree > 0 { polynomial[degree - 1] } else { 0 };
                polynomial[degree] = field.sub(lower, field.mul(x, polynomial[degree]));
            }
            scale = field.mul(scale, field.sub(locators[i], x));
        }
        let sum = polynomial
            .iter()
            .zip(syndromes)
            .fold(0, |sum, (&coefficient, &syndrome)| field.add(sum, field.mul(coefficient, syndrome)));
        field.div(sum, scale)
    }
}

#[cfg(test)]
#[path = "code_tests.rs"]
mod tests;
