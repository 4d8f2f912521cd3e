//! Arithmetic of the finite fields `GF(p^m)`.
//!
//! An element is the number of its polynomial over `GF(p)` in base `p`: digit `i` is the coefficient of `x^i`. The
//! elements of `GF(p)` are therefore `0 … p-1`. `x` generates the nonzero elements.

use crate::words;

/// `GF(p^m)` with tables of powers and logarithms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    p: usize,
    m: usize,
    /// `x^0 … x^(p^m - 2)`.
    powers: Vec<u32>,
    /// For each nonzero element the exponent of `x`; the entry of 0 has no meaning.
    logarithms: Vec<u32>,
}

impl Field {
    /// The smallest field of characteristic `p`, a prime, with at least `size` elements.
    pub(super) fn with_size(p: usize, size: usize) -> Self {
        let m = degree(p, size);
        let elements = words::count(words::same(p, m));
        // A monic polynomial of degree m is primitive if x has the order p^m - 1 modulo it; one exists for every field.
        let powers =
            (1..elements).map(|tail| powers_of_x(p, m, tail)).find(|powers| powers.len() + 1 == elements);
        let powers = powers.unwrap_or_default();
        let mut logarithms = vec![0; elements];
        for (exponent, &element) in powers.iter().enumerate() {
            logarithms[element as usize] = exponent as u32;
        }
        Self { p, m, powers, logarithms }
    }

    /// The degree `m` over `GF(p)`.
    pub(super) fn degree(&self) -> usize {
        self.m
    }

    /// Digit `i` of an element: the coefficient of `x^i`.
    pub(super) fn digit(&self, element: u32, i: usize) -> usize {
        element as usize / words::count(words::same(self.p, i)) % self.p
    }

    pub(super) fn add(&self, a: u32, b: u32) -> u32 {
        if self.p == 2 { a ^ b } else { self.by_digits(a, b, |x, y| (x + y) % self.p) }
    }

    pub(super) fn sub(&self, a: u32, b: u32) -> u32 {
        if self.p == 2 { a ^ b } else { self.by_digits(a, b, |x, y| (x + self.p - y) % self.p) }
    }

    fn by_digits(&self, a: u32, b: u32, combine: impl Fn(usize, usize) -> usize) -> u32 {
        let (mut a, mut b, mut unit, mut result) = (a as usize, b as usize, 1, 0);
        for _ in 0..self.m {
            result += combine(a % self.p, b % self.p) * unit;
            (a, b, unit) = (a / self.p, b / self.p, unit * self.p);
        }
        result as u32
    }

    pub(super) fn mul(&self, a: u32, b: u32) -> u32 {
        if a == 0 || b == 0 {
            return 0;
        }
        let exponent = self.logarithms[a as usize] as usize + self.logarithms[b as usize] as usize;
        self.powers[exponent % self.powers.len()]
    }

    /// `a / b` for `b ≠ 0`.
    pub(super) fn div(&self, a: u32, b: u32) -> u32 {
        if a == 0 {
            return 0;
        }
        let order = self.powers.len();
        let exponent = self.logarithms[a as usize] as usize + order - self.logarithms[b as usize] as usize;
        self.powers[exponent % order]
    }

    /// `a^exponent`, where `0^0 = 1`.
    pub(super) fn pow(&self, a: u32, exponent: usize) -> u32 {
        match (a, exponent) {
            (_, 0) => 1,
            (0, _) => 0,
            _ => self.powers[self.logarithms[a as usize] as usize * exponent % self.powers.len()],
        }
    }

    /// The value of the polynomial with these coefficients, the constant first.
    pub(super) fn evaluate(&self, coefficients: &[u32], x: u32) -> u32 {
        coefficients.iter().rev().fold(0, |sum, &coefficient| self.add(self.mul(sum, x), coefficient))
    }
}

/// The degree `m` of the smallest field of characteristic `p` with at least `size` elements.
pub(super) fn degree(p: usize, size: usize) -> usize {
    let (mut m, mut elements) = (1, p);
    while elements < size {
        m += 1;
        elements *= p;
    }
    m
}

/// `1, x, x², …` modulo `x^m - tail`, up to the last power before 1 or 0.
fn powers_of_x(p: usize, m: usize, tail: usize) -> Vec<u32> {
    let top = words::count(words::same(p, m - 1));
    let mut powers = vec![1];
    let mut element = 1;
    while powers.len() < top * p {
        // Shift by one digit, and replace x^m by the tail.
        let lead = element / top;
        let (mut shifted, mut rest, mut unit, mut next) = (element % top * p, tail, 1, 0);
        for _ in 0..m {
            next += (shifted + lead * (rest % p)) % p * unit;
            (shifted, rest, unit) = (shifted / p, rest / p, unit * p);
        }
        if next <= 1 {
            break;
        }
        powers.push(next as u32);
        element = next;
    }
    powers
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The product of polynomials by the definition, reduced by the powers of `x`.
    fn product(field: &Field, a: u32, b: u32) -> u32 {
        let mut sum = 0;
        for i in 0..field.m {
            for j in 0..field.m {
                for _ in 0..field.digit(a, i) * field.digit(b, j) % field.p {
                    sum = field.add(sum, field.powers[(i + j) % field.powers.len()]);
                }
            }
        }
        sum
    }

    #[test]
    fn x_generates_every_nonzero_element() {
        for (p, size) in
            [(2, 2), (2, 3), (2, 256), (2, 1000), (3, 3), (3, 100), (5, 26), (7, 7), (7, 50), (61, 62)]
        {
            let field = Field::with_size(p, size);
            assert!(
                field.logarithms.len() >= size && field.logarithms.len() / p < size.max(2),
                "p={p} size={size}"
            );
            let mut powers = field.powers.clone();
            powers.sort_unstable();
            assert_eq!(powers, (1..field.logarithms.len() as u32).collect::<Vec<_>>(), "p={p} size={size}");
        }
    }

    proptest! {
        #[test]
        fn the_operations_are_those_of_polynomials(
            which in 0usize..6, a in 0u32..10_000, b in 0u32..10_000, c in 0u32..10_000, exponent in 0usize..9,
        ) {
            let (p, size) = [(2, 64), (2, 512), (3, 81), (5, 25), (7, 49), (11, 11)][which];
            let field = Field::with_size(p, size);
            let [a, b, c] = [a, b, c].map(|element| element % field.logarithms.len() as u32);
            prop_assert_eq!(field.mul(a, b), product(&field, a, b));
            prop_assert_eq!(field.sub(field.add(a, b), b), a);
            prop_assert_eq!(field.mul(a, field.add(b, c)), field.add(field.mul(a, b), field.mul(a, c)));
            if b > 0 {
                prop_assert_eq!(field.mul(field.div(a, b), b), a);
            }
            let power = (0..exponent).fold(1, |power, _| product(&field, power, a));
            prop_assert_eq!(field.pow(a, exponent), power);
            let value = field.add(field.add(a, field.mul(b, c)), product(&field, a, product(&field, c, c)));
            prop_assert_eq!(field.evaluate(&[a, b, a], c), value);
        }
    }
}
