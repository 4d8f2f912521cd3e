//! Components `a_x(S)` of a sum of product terms under a background, ready for evaluation.

use std::sync::OnceLock;

use rayon::prelude::*;

use super::background::Background;
use super::block_tables::BlockTable;
use super::decompose::{Component, Decomposition, Factors, Listed, decompose};
use super::multilinear::{Multilinear, parts};
use super::run_products::RunProducts;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::memory;
use crate::space::SequenceSpace;
use crate::surrogate::{Basis, ProductTerms, RunTerms, Spectrum};
use crate::words;

/// Sequences evaluated by one task.
const ROWS: usize = 256;
/// Largest number of words of a component whose table is computed on demand.
const LARGEST: u128 = 1 << 24;
/// Largest number of table entries, over the components of all supports, for which terms of sets are listed in advance.
/// With more, the terms themselves are faster, and need no preparation.
const LISTED: u128 = 1 << 20;

/// The components of a surrogate under a background, ready for evaluation.
///
/// ```
/// use shapsketch::frequency::Frequency;
/// use shapsketch::surrogate::Spectrum;
/// use shapsketch::{Cancel, Components, SequenceSpace};
/// # use rustfft::num_complex::Complex64;
/// let space = SequenceSpace::new("01", 2)?;
/// let terms = [([0, 0], 1.0), ([1, 0], 0.5), ([1, 1], 0.25)]
///     .map(|(k, value)| (Frequency::from_dense(&k), Complex64::new(value, 0.0)));
/// let components = Components::new(&Spectrum::new(space, terms.to_vec())?.terms())?;
/// let cancel = Cancel::new();
/// assert_eq!(components.base_value(), 1.0);
/// assert_eq!(components.shapley_values(&[0, 1], &cancel)?, [0.5 - 0.125, -0.125]);
/// assert_eq!(components.predict(&[0, 1], &cancel)?, [1.25]);
/// # Ok::<(), shapsketch::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Components {
    background: Background,
    /// The mean of the terms without runs.
    pub(super) base_value: f64,
    /// The mean of the terms with runs.
    base_of_runs: f64,
    pub(crate) form: Form,
    /// The terms with runs.
    pub(crate) runs: RunProducts,
    /// The supports of all components, if they have been listed.
    pub(super) supports: OnceLock<Vec<Vec<u16>>>,
}

/// How components are evaluated.
#[derive(Clone, Debug)]
pub(crate) enum Form {
    /// Each component by its table or its terms.
    Listed(ComponentList),
    /// From the terms themselves. Components are listed if they are needed, and not too many.
    Multilinear {
        /// The terms, ready for evaluation.
        multilinear: Multilinear,
        /// The same terms without those with runs.
        terms: ProductTerms,
        /// Their components, if that was tried.
        list: OnceLock<Option<Box<ComponentList>>>,
    },
}

/// All components, by order, then position.
#[derive(Clone, Debug)]
pub(crate) struct ComponentList {
    pub(crate) q: usize,
    pub(crate) n: usize,
    pub(crate) supports: Vec<Vec<u16>>,
    /// The component of each support. A table is stored as its offset in `tables`.
    pub(super) components: Vec<Component<usize>>,
    /// The entries of all tables.
    pub(super) tables: Vec<f64>,
    factors: Factors,
    pub(super) blocks: OnceLock<Option<Vec<BlockTable>>>,
}

impl Components {
    /// Prepares the components of a sum of product terms under the uniform background.
    ///
    /// # Errors
    /// If a term does not belong to its space, or a coefficient is not finite.
    pub fn new(terms: &ProductTerms) -> Result<Self> {
        Self::with_background(terms, &Background::uniform(&terms.space), &Cancel::new())
    }

    /// Prepares the components of a sum of product terms under a background.
    ///
    /// # Errors
    /// If a term does not belong to its space, a coefficient is not finite, the background has another space, or the
    /// caller cancels; [`Error::TooLarge`] if long characters have too many components.
    pub fn with_background(terms: &ProductTerms, background: &Background, cancel: &Cancel) -> Result<Self> {
        terms.check()?;
        terms.space.check_same(background.space())?;
        let factors = Factors::new(terms, background);
        let background = background.clone();
        let runs = RunProducts::new(terms, &background, cancel)?;
        let (base_of_runs, supports) = (runs.base_value(cancel)?, OnceLock::new());
        let list = OnceLock::new();
        if !is_long(terms) {
            if let Some(Decomposition { base_value, components }) =
                decompose(terms, &background, &factors, cancel)?
            {
                let form = Form::Listed(ComponentList::new(terms.space.n(), factors, components));
                return Ok(Self { background, base_value, base_of_runs, form, runs, supports });
            }
            let _ = list.set(None);
        }
        if terms.basis.is_characters() {
            return Err(Error::TooLarge {
                what: "the components of this spectrum under that background",
                bytes: (parts(terms) as u128).saturating_mul(32 * background.parts() as u128),
                advice: "truncate the spectrum to lower orders, or use fewer background sequences",
            });
        }
        let multilinear = Multilinear::new(terms, &factors.factors, factors.means);
        let base_value = multilinear.base_value(cancel)?;
        let terms = ProductTerms { runs: RunTerms::default(), ..terms.clone() };
        let form = Form::Multilinear { multilinear, terms, list };
        Ok(Self { background, base_value, base_of_runs, form, runs, supports })
    }

    /// The sequence space.
    #[must_use]
    pub fn space(&self) -> &SequenceSpace {
        self.background.space()
    }

    /// The background.
    #[must_use]
    pub fn background(&self) -> &Background {
        &self.background
    }

    /// `a(∅)`, the mean of the surrogate over the background.
    #[must_use]
    pub fn base_value(&self) -> f64 {
        self.base_value + self.base_of_runs
    }

    /// The predicted score of each sequence, `Σ_S a(S)`; shape `(B,)`.
    ///
    /// # Errors
    /// If the codes are not sequences of the space, or the caller cancels.
    pub fn predict(&self, codes: &[u8], cancel: &Cancel) -> Result<Vec<f64>> {
        self.prepare(cancel)?;
        self.map_tiles(codes, ROWS, 1, cancel, |codes, out| self.scores(codes, out, cancel))
    }

    /// The score of each sequence of a tile.
    pub(crate) fn scores(&self, codes: &[u8], out: &mut [f64], cancel: &Cancel) -> Result<()> {
        match &self.form {
            Form::Listed(list) => list.scores(self.base_value, codes, out, cancel)?,
            Form::Multilinear { multilinear, .. } => multilinear.scores(codes, out, cancel)?,
        }
        self.runs.add_scores(codes, out, cancel)
    }

    /// Lists the components, if that is not done. Interactions, supports, variances and epistasis need the list. Scores,
    /// Shapley values and effects of single substitutions do not.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if long terms have too many components to list, or the caller cancels.
    pub fn list_components(&self, cancel: &Cancel) -> Result<()> {
        self.list(cancel).map(|_| ())
    }

    /// # Errors
    /// As for [`Components::list_components`].
    pub(crate) fn list(&self, cancel: &Cancel) -> Result<&ComponentList> {
        let (terms, list) = match &self.form {
            Form::Listed(list) => return Ok(list),
            Form::Multilinear { terms, list, .. } => (terms, list),
        };
        if list.get().is_none() {
            let factors = Factors::new(terms, &self.background);
            let decomposition = decompose(terms, &self.background, &factors, cancel)?;
            // If two threads list them, the lists are equal, and the first one is kept.
            let _ = list.set(
                decomposition
                    .map(|listed| ComponentList::new(terms.space.n(), factors, listed.components).into()),
            );
        }
        list.get().and_then(Option::as_deref).ok_or_else(|| Error::TooLarge {
            what: "the list of components of these terms",
            bytes: (parts(terms) as u128).saturating_mul(32),
            advice: "truncate the surrogate; scores and Shapley values do not need this list",
        })
    }

    /// Prepares tables that scores and Shapley values need.
    ///
    /// # Errors
    /// If the caller cancels.
    pub(crate) fn prepare(&self, cancel: &Cancel) -> Result<()> {
        match &self.form {
            Form::Listed(list) => list.prepare_blocks(cancel),
            Form::Multilinear { .. } => Ok(()),
        }
    }

    /// Fills `width` numbers for each sequence, tile by tile, in parallel. `fill` must check the cancel flag at least
    /// once for each component and sequence.
    pub(crate) fn map_tiles(
        &self,
        codes: &[u8],
        rows: usize,
        width: usize,
        cancel: &Cancel,
        fill: impl Fn(&[u8], &mut [f64]) -> Result<()> + Sync,
    ) -> Result<Vec<f64>> {
        let count = self.space().check(codes)?;
        let n = self.space().n();
        let mut out = result(count, width)?;
        if width > 0 {
            out.par_chunks_mut(rows * width).zip(codes.par_chunks(rows * n)).try_for_each(
                |(out, codes)| {
                    cancel.check()?;
                    fill(codes, out)
                },
            )?;
        }
        Ok(out)
    }
}

/// Whether terms are evaluated themselves, not by tables of their components. The rule: terms of sets, the leaves of trees,
/// whose tables would have more than [`LISTED`] entries. The components of a support of `d` positions have
/// `(q + 1)^d` entries.
fn is_long(terms: &ProductTerms) -> bool {
    let q = terms.space.q();
    let entries =
        terms.supports.iter().map(|group| words::saturating_count(words::same(q + 1, group.support.len())));
    matches!(terms.basis, Basis::Sets(_)) && entries.fold(0, u128::saturating_add) > LISTED
}

/// Zeros `(count, width)` for a result.
///
/// # Errors
/// [`Error::Memory`] if they exceed the memory.
pub(crate) fn result(count: usize, width: usize) -> Result<Vec<f64>> {
    memory::zeros(count as u128 * width as u128, "the result", "explain fewer sequences at a time")
}

impl Spectrum {
    /// `f̂` at a batch of coded sequences.
    ///
    /// # Errors
    /// If the codes are not sequences of the space.
    pub fn predict(&self, codes: &[u8]) -> Result<Vec<f64>> {
        Components::new(&self.terms())?.predict(codes, &Cancel::new())
    }
}

impl ComponentList {
    fn new(n: usize, factors: Factors, decomposed: Listed) -> Self {
        let (mut supports, mut tables) = (Vec::new(), Vec::new());
        let components = decomposed
            .into_iter()
            .map(|(support, component)| {
                supports.push(support);
                match component {
                    Component::Table(entries) => {
                        let offset = tables.len();
                        tables.extend(entries);
                        Component::Table(offset)
                    }
                    Component::Terms(terms) => Component::Terms(terms),
                }
            })
            .collect();
        Self { q: factors.q, n, supports, components, tables, factors, blocks: OnceLock::new() }
    }

    /// Number of the word that a sequence has at a support.
    #[inline]
    pub(super) fn word(&self, support: &[u16], row: &[u8]) -> usize {
        words::number(support.iter().map(|&i| row[i as usize] as usize), std::iter::repeat(self.q))
    }

    /// The value of component number `index` at one sequence.
    #[inline]
    pub(crate) fn value(&self, index: usize, row: &[u8]) -> f64 {
        let support = &self.supports[index];
        match &self.components[index] {
            Component::Table(offset) => self.tables[offset + self.word(support, row)],
            Component::Terms(terms) => self.factors.value(support, terms, row),
        }
    }

    /// Calls `add(position, symbol, change)` with the change of a component for every substitution.
    pub(crate) fn substitutions(&self, index: usize, row: &[u8], mut add: impl FnMut(usize, usize, f64)) {
        let q = self.q;
        let support = &self.supports[index];
        match &self.components[index] {
            Component::Table(offset) => {
                let word = self.word(support, row);
                let before = self.tables[offset + word];
                let mut stride = 1;
                for &i in support.iter().rev() {
                    let first = offset + word - row[i as usize] as usize * stride;
                    for symbol in 0..q {
                        add(i as usize, symbol, self.tables[first + symbol * stride] - before);
                    }
                    stride *= q;
                }
            }
            Component::Terms(terms) => {
                let mut mutant = row.to_vec();
                let before = self.factors.value(support, terms, row);
                for &i in support {
                    for symbol in 0..q {
                        mutant[i as usize] = symbol as u8;
                        add(i as usize, symbol, self.factors.value(support, terms, &mutant) - before);
                    }
                    mutant[i as usize] = row[i as usize];
                }
            }
        }
    }

    /// The table of a component; computed if it is not stored.
    ///
    /// # Errors
    /// If it has more words than fit into memory, or the caller cancels.
    pub(crate) fn table(&self, index: usize, cancel: &Cancel) -> Result<std::borrow::Cow<'_, [f64]>> {
        let support = &self.supports[index];
        let radices = || words::same(self.q, support.len());
        match &self.components[index] {
            Component::Table(offset) => Ok(self.tables[*offset..][..words::count(radices())].into()),
            Component::Terms(terms) => {
                let entries = words::saturating_count(radices());
                if entries > LARGEST {
                    return Err(Error::TooLarge {
                        what: "the table of one component",
                        bytes: entries.saturating_mul(8),
                        advice: "truncate the surrogate to lower orders",
                    });
                }
                Ok(self.factors.table(support, terms, cancel)?.into())
            }
        }
    }

    /// Supports whose components are stored as sums of terms, without a table.
    pub(crate) fn long(&self) -> impl Iterator<Item = &Vec<u16>> {
        self.supports
            .iter()
            .zip(&self.components)
            .filter(|(_, component)| matches!(component, Component::Terms(_)))
            .map(|(support, _)| support)
    }
}
