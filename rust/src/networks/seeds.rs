//! The first filters of the networks of long sequences: words whose presence goes with the values.
//!
//! A random filter has its largest sum at a random place of a long sequence, so that its gradient is mostly noise. A word
//! that belongs to a motif finds the motif.

use super::shape::{Block, Shape};
use super::train::Standardised;

/// Largest number of words.
const MOST_WORDS: usize = 4_096;
/// Fewest sequences that have a word.
const FEWEST: usize = 5;
/// One of this many channels, at most, begins with a word.
const FRACTION: usize = 2;
/// Weight of the symbols of a word; the other symbols together have its negative.
const WEIGHT: f32 = 0.3;
/// The random weights of a channel with a word are multiplied by this number.
const RANDOM: f32 = 0.3;
/// Words that are another one of the list moved by up to this many positions are not listed.
const MOVED: usize = 2;

/// The length of words, at most `width`.
pub(super) fn word_length(q: usize, width: usize) -> usize {
    (1..=width)
        .take_while(|&k| q.checked_pow(k as u32).is_some_and(|words| words <= MOST_WORDS))
        .last()
        .unwrap_or(1)
}

/// The words whose presence is correlated most with the residuals of rows, beyond noise, as symbols.
pub(super) fn words(data: &Standardised<'_>, rows: &[u32], residuals: &[f64], most: usize) -> Vec<Vec<u8>> {
    let Shape { n, q, .. } = data.shape;
    let k = word_length(q, data.shape.first_width().min(n));
    let count = q.pow(k as u32);
    let weight = |row: u32| f64::from(data.weight(row));
    let total: f64 = rows.iter().map(|&row| weight(row)).sum();
    let squares: f64 = rows.iter().map(|&row| weight(row).powi(2)).sum();
    let mean = rows.iter().zip(residuals).map(|(&row, r)| weight(row) * r).sum::<f64>() / total;
    let terms = rows.iter().zip(residuals).map(|(&row, r)| weight(row) * (r - mean).powi(2));
    let variance = terms.sum::<f64>() / total;
    let mut sums = vec![(0.0, 0.0, 0_usize); count];
    let mut last = vec![usize::MAX; count];
    for (at, (&row, residual)) in rows.iter().zip(residuals).enumerate() {
        let mut word = 0;
        for (i, &symbol) in data.codes_of(row).iter().enumerate() {
            word = (word * q + usize::from(symbol)) % count;
            if i + 1 >= k && last[word] != at {
                last[word] = at;
                let (sum, present, number) = &mut sums[word];
                *sum += weight(row) * (residual - mean);
                *present += weight(row);
                *number += 1;
            }
        }
    }
    let score = |&(sum, present, number): &(f64, f64, usize)| {
        let fraction = present / total;
        let error = (variance * squares * fraction * (1.0 - fraction)).sqrt();
        if number < FEWEST || number + FEWEST > rows.len() || error == 0.0 {
            0.0
        } else {
            f64::abs(sum) / error
        }
    };
    let least = (2.0 * (count as f64).ln()).sqrt();
    let scores = sums.iter().map(score).enumerate();
    let mut ranked: Vec<(usize, f64)> = scores.filter(|&(_, score)| score > least).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let mut listed: Vec<Vec<u8>> = Vec::new();
    for (word, _) in ranked {
        let symbols: Vec<u8> = (0..k).rev().map(|j| (word / q.pow(j as u32) % q) as u8).collect();
        if !listed.iter().any(|other| alike(other, &symbols)) {
            listed.push(symbols);
        }
        if listed.len() >= most {
            break;
        }
    }
    listed
}

/// Whether words differ in one symbol, or one is the other moved.
fn alike(a: &[u8], b: &[u8]) -> bool {
    let k = a.len();
    let different = a.iter().zip(b).filter(|(a, b)| a != b).count();
    let moved = |by: usize| k > by + 2 && (a[by..] == b[..k - by] || b[by..] == a[..k - by]);
    different <= usize::from(k > 1) || (1..=MOVED).any(moved)
}

/// Lets the first channels begin with words; the others stay random.
pub(super) fn plant(data: &Standardised<'_>, rows: &[u32], residuals: &[f64], parameters: &mut [f32]) {
    let shape = data.shape;
    let Shape { q, channels, .. } = shape;
    let weights = &mut parameters[shape.range(Block::First)];
    for (channel, word) in words(data, rows, residuals, channels / FRACTION).iter().enumerate() {
        weights[channel..].iter_mut().step_by(channels).for_each(|weight| *weight *= RANDOM);
        let start = (shape.first_width() - word.len()) / 2;
        for (j, &own) in word.iter().enumerate() {
            for symbol in 0..q {
                let weight = if symbol == usize::from(own) { WEIGHT } else { -WEIGHT / (q - 1) as f32 };
                weights[((start + j) * q + symbol) * channels + channel] += weight;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::tests::random_codes;

    #[test]
    fn the_first_words_are_those_that_go_with_the_values() {
        let shape = Shape { n: 60, q: 4, channels: 4, hidden: 1, pool: 2 };
        let codes = random_codes(4, 60 * 4_000, 2);
        let has = |word: &[u8], wanted: &[u8]| word.windows(wanted.len()).any(|part| part == wanted);
        let (first, second) = ([0, 3, 1, 1, 2, 0], [2, 2, 0, 1, 3, 3]);
        let value = |word: &[u8]| f32::from(has(word, &first)) - 0.8 * f32::from(has(word, &second));
        let values: Vec<f32> = codes.chunks(60).map(value).collect();
        let data = Standardised { shape, codes: &codes, values: &values, weights: None };
        let rows: Vec<u32> = (0..4_000).collect();
        let residuals: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
        assert_eq!(words(&data, &rows, &residuals, 2), [first, second]);
        let mut parameters = shape.random(0, 0);
        plant(&data, &rows, &residuals, &mut parameters);
        let weights = shape.matrix(&parameters, Block::First);
        for (channel, word) in [first, second].iter().enumerate() {
            for (j, &symbol) in word.iter().enumerate() {
                let at = (3 + j) * 4;
                let best =
                    (0..4).max_by(|&a, &b| weights[(at + a, channel)].total_cmp(&weights[(at + b, channel)]));
                assert_eq!(best, Some(usize::from(symbol)));
            }
        }
        // Noise has no words.
        let noise: Vec<f64> = random_codes(2, 4_000, 9).into_iter().map(f64::from).collect();
        assert!(words(&data, &rows, &noise, 2).len() < 2);
    }

    #[test]
    fn words_have_a_length_that_keeps_them_few() {
        for (q, width, expected) in [(4, 13, 6), (20, 13, 2), (2, 13, 12), (4, 3, 3), (200, 13, 1)] {
            assert_eq!(word_length(q, width), expected, "{q}");
        }
    }
}
