//! Interaction indices as weighted sums of components.
//!
//! With `a(T)` the Möbius transform of the game, `t = |T|`, `s = |S|` and the highest order `ℓ`, every index here
//! is `I(S) = Σ_{T⊇S} w(s, t) a(T)`: Grabisch & Roubens 1999 (SII, BII), Lundberg et al. 2020 and Bordt & von
//! Luxburg 2023 (k-SII), Sundararajan et al. 2020 (STII), Tsai et al. 2023 (FSII, FBII). The names are those of
//! `shapiq`.

use std::collections::{BTreeSet, HashMap};

use rayon::prelude::*;

use crate::anova::{Components, Form, moebius};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::words::subset;

/// Sequences explained by one task, and numbers it may hold.
const ROWS: usize = 64;
const HELD: usize = 1 << 16;
/// Subsets of all supports, at most.
const MAX_SUBSETS: f64 = (1 << 21) as f64;

/// Which interaction index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Index {
    /// Shapley values: order 1.
    Sv,
    /// Banzhaf values: order 1.
    Bv,
    /// Shapley interaction index.
    Sii,
    /// k-Shapley values: SII aggregated so that all orders add up to the score.
    KSii,
    /// Shapley-Taylor interaction index.
    Stii,
    /// Faithful Shapley interaction index.
    Fsii,
    /// Faithful Banzhaf interaction index.
    Fbii,
    /// Banzhaf interaction index.
    Bii,
    /// Möbius transform, the interactions that the SHAP zero paper calls Faith-Shap (FSII of order `n`).
    Moebius,
    /// Co-Möbius transform: all components that contain the support.
    CoMoebius,
}

impl Index {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Sv,
        Self::Bv,
        Self::Sii,
        Self::KSii,
        Self::Stii,
        Self::Fsii,
        Self::Fbii,
        Self::Bii,
        Self::Moebius,
        Self::CoMoebius,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sv => "SV",
            Self::Bv => "BV",
            Self::Sii => "SII",
            Self::KSii => "k-SII",
            Self::Stii => "STII",
            Self::Fsii => "FSII",
            Self::Fbii => "FBII",
            Self::Bii => "BII",
            Self::Moebius => "Moebius",
            Self::CoMoebius => "Co-Moebius",
        }
    }

    /// The index of a name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|index| index.name() == name)
    }

    /// Weight of a component of `t` positions in the interaction of `s <= t` of them, `s <= most`.
    #[must_use]
    pub fn weight(self, s: usize, t: usize, most: usize) -> f64 {
        let same = if s == t { 1.0 } else { 0.0 };
        let half = |power: usize| 0.5_f64.powi(power as i32);
        let sign = if (most - s).is_multiple_of(2) { 1.0 } else { -1.0 };
        match self {
            Self::Sv => 1.0 / t as f64,
            Self::Sii => 1.0 / (t - s + 1) as f64,
            Self::Bv | Self::Bii => half(t - s),
            Self::Moebius => same,
            Self::CoMoebius => 1.0,
            // All orders of a component that are within the highest add up to it alone.
            Self::KSii if t <= most => same,
            Self::KSii => {
                let sum: f64 =
                    (s..=most).map(|r| bernoulli(r - s) * binomial(t - s, r - s) / (t - r + 1) as f64).sum();
                // What is 0 but for rounding errors, as odd Bernoulli numbers are, is no interaction.
                if sum.abs() < 1e-12 { 0.0 } else { sum }
            }
            Self::Stii if s == most => 1.0 / binomial(t, most),
            Self::Stii => same,
            Self::Fsii | Self::Fbii if t <= most => same,
            Self::Fsii => {
                sign * s as f64 / (most + s) as f64 * binomial(most, s) * binomial(t - 1, most)
                    / binomial(t + most - 1, most + s)
            }
            Self::Fbii => sign * half(t - s) * binomial(t - s - 1, most - s),
        }
    }
}

fn binomial(n: usize, k: usize) -> f64 {
    (0..k).map(|i| (n as f64 - i as f64) / (i + 1) as f64).product()
}

/// Bernoulli numbers, `B_1 = -1/2`.
fn bernoulli(m: usize) -> f64 {
    let mut all = vec![1.0];
    for k in 1..=m {
        let sum: f64 = all.iter().enumerate().map(|(j, b)| binomial(k + 1, j) * b).sum();
        all.push(-sum / (k + 1) as f64);
    }
    all[m]
}

/// An index of a game, ready for evaluation: its supports, and the weights of components.
#[derive(Clone, Debug)]
pub struct Interactions {
    supports: Vec<Vec<u16>>,
    /// Where the weights of each component begin; outputs and weights.
    starts: Vec<usize>,
    weights: Vec<(u32, f64)>,
    /// Of a game whose background differs by sequence: the number of each subset of each component of the
    /// surrogate, by mask.
    subsets: Option<Vec<Vec<u32>>>,
}

impl Interactions {
    fn new(components: &[Vec<u16>], index: Index, most: usize, subsets: Option<Vec<Vec<u32>>>) -> Self {
        let longest = components.iter().map(Vec::len).max().unwrap_or(0);
        let weights: Vec<Vec<f64>> = (0..=longest)
            .map(|t| {
                (0..=t).map(|s| if s == 0 || s > most { 0.0 } else { index.weight(s, t, most) }).collect()
            })
            .collect();
        // Of most indices, subsets of higher order have no weight: they are not even listed.
        let chosen = |support: &[u16]| -> Vec<(Vec<u16>, f64)> {
            let t = support.len();
            (1..=t)
                .filter(|&s| weights[t][s] != 0.0)
                .flat_map(|s| combinations(support, s).into_iter().map(move |subset| (subset, s)))
                .map(|(subset, s)| (subset, weights[t][s]))
                .collect()
        };
        let listed: Vec<Vec<(Vec<u16>, f64)>> = components.iter().map(|support| chosen(support)).collect();
        let supports: BTreeSet<(usize, &Vec<u16>)> =
            listed.iter().flatten().map(|(subset, _)| (subset.len(), subset)).collect();
        let supports: Vec<Vec<u16>> = supports.into_iter().map(|(_, subset)| subset.clone()).collect();
        let number: HashMap<&[u16], u32> = supports.iter().map(Vec::as_slice).zip(0..).collect();
        let mut starts = vec![0];
        let mut all = Vec::new();
        for subsets in &listed {
            all.extend(subsets.iter().map(|(subset, weight)| (number[subset.as_slice()], *weight)));
            starts.push(all.len());
        }
        Self { supports, starts, weights: all, subsets }
    }

    /// Supports that can have an interaction, by order, then position.
    #[must_use]
    pub fn supports(&self) -> &[Vec<u16>] {
        &self.supports
    }

    fn of(&self, component: usize) -> &[(u32, f64)] {
        &self.weights[self.starts[component]..self.starts[component + 1]]
    }
}

/// # Errors
/// [`Error::TooLarge`] if supports have more subsets than can be listed.
fn few<'a>(supports: impl IntoIterator<Item = &'a Vec<u16>>, subsets: impl Fn(usize) -> f64) -> Result<()> {
    let all: f64 = supports.into_iter().map(|support| subsets(support.len())).sum();
    if all > MAX_SUBSETS {
        return Err(Error::TooLarge {
            what: "the list of subsets of these supports",
            bytes: (all as u128).saturating_mul(64),
            advice: "truncate the surrogate to lower orders, or take another background or a lower max_order",
        });
    }
    Ok(())
}

/// All subsets of `size` positions.
fn combinations(support: &[u16], size: usize) -> Vec<Vec<u16>> {
    if size == 0 {
        return vec![Vec::new()];
    }
    let mut found = Vec::new();
    for (at, &first) in support.iter().enumerate().take((support.len() + 1).saturating_sub(size)) {
        for mut rest in combinations(&support[at + 1..], size - 1) {
            rest.insert(0, first);
            found.push(rest);
        }
    }
    found
}

impl Components {
    fn order(&self, index: Index, max_order: usize) -> Result<usize> {
        let n = self.space().n();
        if !(1..=n).contains(&max_order) {
            return Err(Error::Parameter {
                name: "max_order",
                expected: "from 1 to the length of the sequences",
                got: format!("{max_order} for length {n}"),
            });
        }
        Ok(if matches!(index, Index::Sv | Index::Bv) { 1 } else { max_order })
    }

    /// An index up to an order, for [`Components::values`].
    ///
    /// # Errors
    /// If the order is 0 or above the length; [`Error::TooLarge`] if long terms have too many components to
    /// list.
    pub fn interactions(&self, index: Index, max_order: usize) -> Result<Interactions> {
        let most = self.order(index, max_order)?;
        let supports = self.supports()?;
        let highest = if index == Index::Moebius { 0 } else { most };
        few(supports, |t| (1..=highest.min(t)).map(|s| binomial(t, s)).sum::<f64>() + 1.0)?;
        Ok(Interactions::new(supports, index, most, None))
    }

    /// The same for [`Components::values_against`].
    ///
    /// # Errors
    /// As for [`Components::interactions`].
    pub fn interactions_against(&self, index: Index, max_order: usize) -> Result<Interactions> {
        let most = self.order(index, max_order)?;
        let supports = self.supports()?;
        few(supports, |t| 2.0_f64.powi(t as i32))?;
        let mut number: HashMap<Vec<u16>, u32> = HashMap::new();
        let mut closure = Vec::new();
        let mut subsets = Vec::with_capacity(supports.len());
        for support in supports {
            let numbers = (0..1_usize << support.len())
                .map(|mask| {
                    *number.entry(subset(support, mask)).or_insert_with_key(|subset| {
                        closure.push(subset.clone());
                        closure.len() as u32 - 1
                    })
                })
                .collect();
            subsets.push(numbers);
        }
        Ok(Interactions::new(&closure, index, most, Some(subsets)))
    }

    /// The index of each sequence, for every support of `interactions`; shape `(B, supports)`.
    ///
    /// # Errors
    /// If the codes are not sequences of the space, the interactions are not those of these components, or
    /// the result would exceed the address space.
    pub fn values(&self, interactions: &Interactions, codes: &[u8], cancel: &Cancel) -> Result<Vec<f64>> {
        let compiled = self.compiled()?;
        if interactions.starts.len() != compiled.supports.len() + 1 || interactions.subsets.is_some() {
            return Err(strange());
        }
        let width = interactions.supports.len();
        let n = self.space().n();
        let rows = (HELD / width.max(1)).clamp(1, ROWS);
        self.map_tiles(codes, rows, width, cancel, |codes, out| {
            let count = codes.len() / n;
            // Columns first: the sums of a tile run along its sequences.
            let mut columns = vec![0.0; width * count];
            let mut values = vec![0.0; count];
            for component in 0..compiled.supports.len() {
                let weights = interactions.of(component);
                if weights.is_empty() {
                    continue;
                }
                for (value, row) in values.iter_mut().zip(codes.chunks_exact(n)) {
                    *value = compiled.value(component, row);
                }
                for &(to, weight) in weights {
                    let column = &mut columns[to as usize * count..][..count];
                    column.iter_mut().zip(&values).for_each(|(sum, value)| *sum += weight * value);
                }
            }
            for (row, out) in out.chunks_exact_mut(width).enumerate() {
                out.iter_mut().enumerate().for_each(|(to, out)| *out = columns[to * count + row]);
            }
        })
    }

    /// The index of each sequence, with background sequences of its own, each equally likely: `references`
    /// has the same number of them for each sequence, `(B, R, n)`. For components under the uniform
    /// background; shape `(B, supports)`.
    ///
    /// # Errors
    /// As for [`Components::values`], or if the numbers of sequences do not fit.
    pub fn values_against(
        &self,
        interactions: &Interactions,
        codes: &[u8],
        references: &[u8],
        cancel: &Cancel,
    ) -> Result<Vec<f64>> {
        let compiled = self.compiled()?;
        let Some(subsets) = interactions.subsets.as_ref().filter(|s| s.len() == compiled.supports.len())
        else {
            return Err(strange());
        };
        let width = interactions.supports.len();
        self.each_against(codes, references, width, cancel, |row, references, out| {
            let n = row.len();
            let weight = 1.0 / (references.len() / n) as f64;
            let mut game = vec![0.0; interactions.starts.len() - 1];
            let mut local = Vec::new();
            let mut mixed = row.to_vec();
            for reference in references.chunks_exact(n) {
                for (component, (support, numbers)) in compiled.supports.iter().zip(subsets).enumerate() {
                    local.clear();
                    for mask in 0..numbers.len() {
                        for (at, &i) in support.iter().enumerate() {
                            let from = if mask >> at & 1 == 1 { row } else { reference };
                            mixed[i as usize] = from[i as usize];
                        }
                        local.push(compiled.value(component, &mixed));
                    }
                    moebius(&mut local);
                    for (&number, value) in numbers.iter().zip(&local) {
                        game[number as usize] += weight * value;
                    }
                }
            }
            for (component, value) in game.into_iter().enumerate() {
                for &(to, weight) in interactions.of(component) {
                    out[to as usize] += weight * value;
                }
            }
        })
    }

    /// Shapley values of each sequence with background sequences of its own; see
    /// [`Components::values_against`]. Shape `(B, n)`.
    ///
    /// # Errors
    /// As there.
    pub fn shapley_values_against(
        &self,
        codes: &[u8],
        references: &[u8],
        cancel: &Cancel,
    ) -> Result<Vec<f64>> {
        if let Form::Compiled(compiled) = &self.form {
            few(compiled.long(), |t| 2.0_f64.powi(t as i32))?;
        }
        let n = self.space().n();
        self.each_against(codes, references, n, cancel, |row, references, out| match &self.form {
            Form::Compiled(compiled) => compiled.shapley_values_against(row, references, out),
            Form::Direct(products) => products.against(references).shapley_values(row, out),
        })
    }

    fn each_against(
        &self,
        codes: &[u8],
        references: &[u8],
        width: usize,
        cancel: &Cancel,
        fill: impl Fn(&[u8], &[u8], &mut [f64]) + Sync,
    ) -> Result<Vec<f64>> {
        let (count, given) = (self.space().check(codes)?, self.space().check(references)?);
        if count == 0 {
            return Ok(Vec::new());
        }
        if given == 0 || !given.is_multiple_of(count) {
            return Err(Error::Parameter {
                name: "references",
                expected: "the same number, at least one, for each sequence",
                got: format!("{given} for {count} sequences"),
            });
        }
        let n = self.space().n();
        let mut out = vec![0.0; count * width];
        if width > 0 {
            let rows = codes.par_chunks(n).zip(references.par_chunks(given / count * n));
            out.par_chunks_mut(width).zip(rows).try_for_each(|(out, (row, references))| {
                cancel.check()?;
                fill(row, references, out);
                Ok::<(), Error>(())
            })?;
        }
        Ok(out)
    }
}

fn strange() -> Error {
    Error::Parameter {
        name: "interactions",
        expected: "those of these components",
        got: "those of others".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bernoulli_numbers() {
        for (m, b) in [1.0, -0.5, 1.0 / 6.0, 0.0, -1.0 / 30.0, 0.0, 1.0 / 42.0].into_iter().enumerate() {
            assert!((bernoulli(m) - b).abs() < 1e-14);
        }
    }

    #[test]
    fn names_are_found_again() {
        assert!(Index::ALL.into_iter().all(|index| Index::of_name(index.name()) == Some(index)));
        assert_eq!(Index::of_name("sii"), None);
    }
}
