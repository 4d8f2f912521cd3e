//! Shapley values: each component is divided equally between its positions, `SV_i = Σ_{S∋i} a(S)/|S|`.

use crate::anova::{ComponentList, Components, Form};
use crate::cancel::Cancel;
use crate::error::Result;

use super::interactions::check_subsets;
use crate::anova::moebius;

/// Sequences explained by one task.
const ROWS: usize = 256;

impl Components {
    /// Shapley values `SV_i = Σ_{S∋i} a(S)/|S|` of each sequence; shape `(B, n)`. Together with the base value they
    /// sum to the predicted score.
    ///
    /// # Errors
    /// If the codes are not sequences of the space, or the caller cancels.
    pub fn shapley_values(&self, codes: &[u8], cancel: &Cancel) -> Result<Vec<f64>> {
        self.prepare(cancel)?;
        self.map_tiles(codes, ROWS, self.space().n(), cancel, |codes, out| {
            match &self.form {
                Form::Listed(list) => add_tile(list, codes, out, cancel)?,
                Form::Multilinear { multilinear, .. } => multilinear.shapley_values(codes, out, cancel)?,
            }
            self.runs.add_shapley_values(codes, out, cancel)
        })
    }

    /// Shapley values of each sequence under a background of its own; see
    /// [`Components::values_with_references`]. Shape `(B, n)`.
    ///
    /// # Errors
    /// As for [`Components::values_with_references`].
    pub fn shapley_values_with_references(
        &self,
        codes: &[u8],
        references: &[u8],
        cancel: &Cancel,
    ) -> Result<Vec<f64>> {
        if let Form::Listed(list) = &self.form {
            check_subsets(list.long(), |t| 2.0_f64.powi(t as i32))?;
        }
        self.prepare(cancel)?;
        let n = self.space().n();
        self.map_with_references(codes, references, n, cancel, |row, references, out| {
            match &self.form {
                Form::Listed(list) => add_with_references(list, row, references, out, cancel)?,
                Form::Multilinear { multilinear, .. } => {
                    multilinear.with_references(references).shapley_values(row, out, cancel)?;
                }
            }
            self.runs.with_references(references).add_shapley_values(row, out, cancel)
        })
    }
}

/// Adds the Shapley values of each sequence of a tile.
fn add_tile(list: &ComponentList, codes: &[u8], out: &mut [f64], cancel: &Cancel) -> Result<()> {
    let n = list.n;
    for index in list.unblocked() {
        let support = &list.supports[index];
        for (row, out) in codes.chunks_exact(n).zip(out.chunks_exact_mut(n)) {
            cancel.check()?;
            let contribution = list.value(index, row) / support.len() as f64;
            support.iter().for_each(|&i| out[i as usize] += contribution);
        }
    }
    list.each_block(codes, cancel, |block, words| {
        for (&word, out) in words.iter().zip(out.chunks_exact_mut(n)) {
            for (&i, contribution) in block.positions.iter().zip(block.row(word as usize)) {
                out[i as usize] += contribution;
            }
        }
    })
}

/// Adds the Shapley values of one sequence under a background of these sequences, each equally likely.
///
/// Each block, and each support that is not in a block, is a game. Its players are its positions at which the two
/// sequences differ.
fn add_with_references(
    list: &ComponentList,
    row: &[u8],
    references: &[u8],
    out: &mut [f64],
    cancel: &Cancel,
) -> Result<()> {
    let weight = list.n as f64 / references.len() as f64;
    let (mut players, mut words, mut game) = (Vec::new(), Vec::new(), Vec::new());
    let mut mixed = row.to_vec();
    for reference in references.chunks_exact(list.n) {
        cancel.check()?;
        for block in list.blocks() {
            coalitions(list, &block.positions, row, reference, &mut players, &mut words);
            game.clear();
            game.extend(words.iter().map(|&word| block.score(word)));
            add_game(&mut game, &players, weight, out);
        }
        for index in list.unblocked() {
            cancel.check()?;
            let support = &list.supports[index];
            players.clear();
            players.extend(support.iter().filter(|&&i| row[i as usize] != reference[i as usize]));
            support.iter().for_each(|&i| mixed[i as usize] = row[i as usize]);
            game.clear();
            for mask in 0..1_usize << players.len() {
                for (bit, &i) in players.iter().enumerate() {
                    let from = if mask >> bit & 1 == 1 { row } else { reference };
                    mixed[i as usize] = from[i as usize];
                }
                game.push(list.value(index, &mixed));
            }
            add_game(&mut game, &players, weight, out);
        }
    }
    Ok(())
}

/// Computes the players, the positions at which two sequences differ (the last one first). Computes also, for each
/// coalition of players, the number of the word with the symbols of `row` in the coalition and of `reference`
/// elsewhere.
#[inline]
fn coalitions(
    list: &ComponentList,
    positions: &[u16],
    row: &[u8],
    reference: &[u8],
    players: &mut Vec<u16>,
    words: &mut Vec<usize>,
) {
    players.clear();
    words.clear();
    words.push(0_usize);
    let mut stride = 1;
    for &i in positions.iter().rev() {
        let (present, missing) = (row[i as usize] as usize, reference[i as usize] as usize);
        let count = words.len();
        if present != missing {
            players.push(i);
            words.extend_from_within(..);
            words[count..].iter_mut().for_each(|word| *word += present * stride);
        }
        words[..count].iter_mut().for_each(|word| *word += missing * stride);
        stride *= list.q;
    }
}

/// Adds the Shapley values of a game. `game` has the scores of all coalitions, which are replaced with the
/// components.
fn add_game(game: &mut [f64], players: &[u16], weight: f64, out: &mut [f64]) {
    moebius(game);
    for (mask, component) in game.iter().enumerate().skip(1) {
        let contribution = weight * component / f64::from(mask.count_ones());
        for (_, &i) in players.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1) {
            out[i as usize] += contribution;
        }
    }
}
