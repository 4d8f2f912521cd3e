//! Scores along walks from one sequence to another: each step changes only the components of one position.

use rayon::prelude::*;

use super::block_tables::BlockTable;
use super::components::{ComponentList, Components, Form};
use crate::cancel::Cancel;
use crate::error::Result;
use crate::walks::Walks;

impl Components {
    /// The predicted scores along walks; shape `(count, n + 1)`.
    ///
    /// # Errors
    /// If the walks do not belong to the space, or the caller cancels.
    pub fn walks(&self, walks: &Walks<'_>, cancel: &Cancel) -> Result<Vec<f64>> {
        walks.space().check_same(self.space())?;
        self.prepare(cancel)?;
        let Form::Listed(list) = &self.form else {
            return walks.each(|codes| self.predict(codes, cancel), cancel);
        };
        let mut out = list.of_blocks_along(walks, self.base_value, cancel)?;
        if !self.runs.is_empty() || list.unblocked().next().is_some() {
            let rest = |codes: &[u8]| {
                let mut out = vec![0.0; codes.len() / list.n];
                list.add_unblocked(codes, &mut out, cancel)?;
                self.runs.add_scores(codes, &mut out, cancel)?;
                Ok(out)
            };
            out.iter_mut().zip(walks.each(rest, cancel)?).for_each(|(sum, value)| *sum += value);
        }
        Ok(out)
    }
}

impl ComponentList {
    /// The base value plus the components of all blocks, along walks.
    fn of_blocks_along(&self, walks: &Walks<'_>, base_value: f64, cancel: &Cancel) -> Result<Vec<f64>> {
        let blocks = self.blocks();
        // The blocks of each position, with the change of the word by a symbol there that is larger by 1.
        let mut at_position = vec![Vec::new(); self.n];
        for (index, block) in blocks.iter().enumerate() {
            let strides = std::iter::successors(Some(1), |stride| Some(stride * self.q));
            for (&i, stride) in block.positions.iter().rev().zip(strides) {
                at_position[i as usize].push((index, stride));
            }
        }
        let mut out = walks.zeros()?;
        out.par_chunks_mut(walks.width()).enumerate().try_for_each(|(walk, out)| {
            cancel.check()?;
            let start = walks.start(walk);
            // The word of each block, and its part of the score.
            let of_start = |block: &BlockTable| {
                let word = self.word(&block.positions, start);
                (word, block.score(word))
            };
            let mut parts: Vec<(usize, f64)> = blocks.iter().map(of_start).collect();
            let mut value = base_value + parts.iter().map(|part| part.1).sum::<f64>();
            out.fill(value);
            for (step, position, symbol) in walks.steps(walk) {
                let (new, old) = (usize::from(symbol), usize::from(start[position]));
                for &(index, stride) in &at_position[position] {
                    let (word, score) = &mut parts[index];
                    *word = *word + new * stride - old * stride;
                    value -= *score;
                    *score = blocks[index].score(*word);
                    value += *score;
                }
                out[step..].fill(value);
            }
            Ok(())
        })?;
        Ok(out)
    }
}
