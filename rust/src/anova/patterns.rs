//! Shapley values of product terms whose factors have two values, for a tile of sequences under independent positions.
//!
//! The Shapley values of a term depend on the sequence only through the pattern of its factors: which of them have a symbol
//! of their set. For each term, the sequences of a tile are sorted into classes of equal patterns. Quadrature gives the
//! values of a class once, for all of its sequences.

use std::collections::HashMap;

use super::flat_terms::FlatTerms;
use crate::cancel::Cancel;
use crate::error::Result;

/// Factors that one table of words covers.
const BITS: usize = 14;
/// Marks a word that no sequence has had so far.
const UNSEEN: u16 = u16::MAX;
/// Classes that are integrated together, so that the compiler uses vector instructions: for many sequences, and for at
/// most [`FEW`].
const LANES: [usize; 2] = [8, 2];
/// Few sequences.
const FEW: usize = 2;
/// Largest number of bytes that the columns of a tile take.
const COLUMNS: usize = 1 << 24;

/// Adds `scale` times the Shapley values of each sequence of a tile, for the means of all distinct factors.
pub(super) fn add_shapley_values(
    terms: &FlatTerms,
    means: &[f64],
    scale: f64,
    (codes, out): (&[u8], &mut [f64]),
    cancel: &Cancel,
) -> Result<()> {
    // At least 16 sequences share the work for a term.
    let most = (COLUMNS / terms.distinct.len().max(1)).clamp(16, usize::from(UNSEEN));
    for (codes, out) in codes.chunks(most * terms.n).zip(out.chunks_mut(most * terms.n)) {
        let tile = (codes, out);
        match tile.0.len() / terms.n {
            ..=FEW => add_tile::<{ LANES[1] }>(terms, means, scale, tile, cancel)?,
            _ => add_tile::<{ LANES[0] }>(terms, means, scale, tile, cancel)?,
        }
    }
    Ok(())
}

fn add_tile<const L: usize>(
    terms: &FlatTerms,
    means: &[f64],
    scale: f64,
    (codes, out): (&[u8], &mut [f64]),
    cancel: &Cancel,
) -> Result<()> {
    let rows = codes.len() / terms.n;
    let columns = columns(terms, codes, rows);
    let mut sums = vec![0.0; terms.n * rows];
    let mut classes = Classes::new(rows);
    let mut work = Work::<L>::default();
    for term in 0..terms.len() {
        cancel.check()?;
        let factors = terms.indices(term);
        classes.sort(factors, &columns);
        work.integrate(terms, term, means, scale, (&classes, &columns));
        for (&factor, values) in factors.iter().zip(work.values.chunks_exact(classes.len())) {
            let position = usize::from(terms.distinct[factor as usize].position);
            let sums = &mut sums[position * rows..][..rows];
            for (sum, &class) in sums.iter_mut().zip(&classes.of) {
                *sum += values[usize::from(class)];
            }
        }
    }
    for (index, out) in out.chunks_exact_mut(terms.n).enumerate() {
        out.iter_mut().enumerate().for_each(|(i, out)| *out += sums[i * rows + index]);
    }
    Ok(())
}

/// For each distinct factor and each sequence, whether the sequence has a symbol of the set: 1, else 0.
fn columns(terms: &FlatTerms, codes: &[u8], rows: usize) -> Vec<u8> {
    let by_position: Vec<u8> =
        (0..terms.n).flat_map(|i| codes.iter().skip(i).step_by(terms.n).copied()).collect();
    let mut columns = Vec::with_capacity(terms.distinct.len() * rows);
    for factor in &terms.distinct {
        let symbols = &by_position[usize::from(factor.position) * rows..][..rows];
        columns.extend(symbols.iter().map(|&symbol| (factor.set >> symbol & 1) as u8));
    }
    columns
}

/// The classes of sequences that have the same pattern of a term's factors.
struct Classes {
    /// The class of each sequence.
    of: Vec<u16>,
    /// The first sequence of each class.
    first: Vec<u16>,
    /// The class of each word of the first [`BITS`] factors.
    table: Vec<u16>,
    /// For each sequence, the word that it has at some factors.
    words: Vec<u16>,
}

impl Classes {
    fn new(rows: usize) -> Self {
        Self {
            of: vec![0; rows],
            first: Vec::with_capacity(rows),
            table: vec![UNSEEN; 1 << BITS],
            words: vec![0; rows],
        }
    }

    fn len(&self) -> usize {
        self.first.len()
    }

    /// Sorts the sequences by their patterns of these factors.
    fn sort(&mut self, factors: &[u32], columns: &[u8]) {
        let (head, tail) = factors.split_at(factors.len().min(BITS));
        self.read(head, columns);
        self.first.clear();
        for (row, (class, &word)) in self.of.iter_mut().zip(&self.words).enumerate() {
            let entry = &mut self.table[usize::from(word)];
            if *entry == UNSEEN {
                *entry = self.first.len() as u16;
                self.first.push(row as u16);
            }
            *class = *entry;
        }
        self.first.iter().for_each(|&row| self.table[usize::from(self.words[usize::from(row)])] = UNSEEN);
        // Terms of higher order are rare. Their classes are divided by the words of further factors.
        for factors in tail.chunks(BITS) {
            self.read(factors, columns);
            self.first.clear();
            let mut numbers: HashMap<(u16, u16), u16> = HashMap::new();
            for (row, (class, &word)) in self.of.iter_mut().zip(&self.words).enumerate() {
                *class = *numbers.entry((*class, word)).or_insert_with(|| {
                    self.first.push(row as u16);
                    self.first.len() as u16 - 1
                });
            }
        }
    }

    /// Reads the words of all sequences at these factors.
    fn read(&mut self, factors: &[u32], columns: &[u8]) {
        let rows = self.words.len();
        self.words.fill(0);
        for &factor in factors {
            let column = &columns[factor as usize * rows..][..rows];
            self.words.iter_mut().zip(column).for_each(|(word, &bit)| *word = *word << 1 | u16::from(bit));
        }
    }
}

/// Quadrature over the classes of a term.
#[derive(Default)]
struct Work<const L: usize> {
    /// The value of each class, factor by factor.
    values: Vec<f64>,
    /// For each factor: its value at some classes, the same at a node, the product of the factors before it, and its sum
    /// over nodes.
    lanes: Vec<[[f64; L]; 4]>,
}

impl<const L: usize> Work<L> {
    /// `c ∫ (z_i - u_i) Π_{j≠i} (t z_j + (1-t) u_j) dt` of each factor and class.
    fn integrate(
        &mut self,
        terms: &FlatTerms,
        term: usize,
        means: &[f64],
        scale: f64,
        (classes, columns): (&Classes, &[u8]),
    ) {
        let (factors, rows) = (terms.indices(term), classes.of.len());
        let rule = terms.rule(factors.len());
        let scaled = scale * terms.coefficients[term];
        self.values.clear();
        self.values.resize(factors.len() * classes.len(), 0.0);
        self.lanes.resize(factors.len(), [[0.0; L]; 4]);
        for (block, first) in classes.first.chunks(L).enumerate() {
            for ([z, _, _, sum], &factor) in self.lanes.iter_mut().zip(factors) {
                let column = &columns[factor as usize * rows..][..rows];
                *sum = [0.0; L];
                for (z, &row) in z.iter_mut().zip(first) {
                    *z = terms.outside + f64::from(column[usize::from(row)]);
                }
            }
            for &(t, weight) in rule {
                // The product of all factors except one is the product before it times the product after it.
                let mut product = [weight * scaled; L];
                for ([z, value, before, _], &factor) in self.lanes.iter_mut().zip(factors) {
                    let missing = (1.0 - t) * means[factor as usize];
                    for lane in 0..L {
                        value[lane] = missing + t * z[lane];
                        before[lane] = product[lane];
                        product[lane] *= value[lane];
                    }
                }
                let mut after = [1.0; L];
                for [_, value, before, sum] in self.lanes.iter_mut().rev() {
                    for lane in 0..L {
                        sum[lane] += before[lane] * after[lane];
                        after[lane] *= value[lane];
                    }
                }
            }
            for (index, (&factor, [z, _, _, sum])) in factors.iter().zip(&self.lanes).enumerate() {
                let values = &mut self.values[index * classes.len() + block * L..][..first.len()];
                for ((value, z), sum) in values.iter_mut().zip(z).zip(sum) {
                    *value = (z - means[factor as usize]) * sum;
                }
            }
        }
    }
}
