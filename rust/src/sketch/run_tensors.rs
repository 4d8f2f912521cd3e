//! Terms with runs as tensors of a sketch file.
//!
//! A surrogate of the kind `patterns+runs`, `centred+runs` or `sets+runs` has these tensors beside those of the kind
//! without runs: `relations` (u64, one row for each relation and one entry for each symbol, with the related symbols as
//! bits; the names are in the metadata), `run_coefficients` (f64, one entry for each term), `run_counts` (u16, the
//! numbers of runs and of sets of each term), `runs` (u16, rows of relation, first, second, length, reversed),
//! `run_positions` (u16) and `run_sets` (u64), concatenated over the terms. Terms are ascending by runs, then sets. With
//! standard errors, `run_variances` (f64) has the variance of each coefficient.

use super::tensors::{Reason, Tensor, Tensors};
use crate::space::SequenceSpace;
use crate::surrogate::{Relation, Run, RunTerm, RunTerms};

/// Entries of a row of the tensor `runs`.
const WIDTH: usize = 5;
/// What is wrong with tensors of other lengths.
const SIZES: &str = "the sizes of their tensors do not match";

/// The tensors of these terms.
pub(super) fn tensors(space: &SequenceSpace, runs: &RunTerms) -> Vec<Tensor> {
    let counts: Vec<u16> =
        runs.terms.iter().flat_map(|term| [term.runs.len() as u16, term.sets.len() as u16]).collect();
    let coefficients: Vec<f64> = runs.terms.iter().map(|term| term.coefficient).collect();
    let numbers: Vec<u16> = runs
        .terms
        .iter()
        .flat_map(|term| &term.runs)
        .flat_map(|run| [run.relation, run.first, run.second, run.length, run.reversed.into()])
        .collect();
    let (positions, sets): (Vec<u16>, Vec<u64>) =
        runs.terms.iter().flat_map(|term| &term.sets).copied().unzip();
    vec![
        of_relations("relations", &runs.relations, space.q()),
        Tensor::f64s("run_coefficients", &coefficients),
        Tensor::u16s("run_counts", &counts).with_columns(2),
        Tensor::u16s("run_positions", &positions),
        Tensor::u64s("run_sets", sets.into_iter()),
        Tensor::u16s("runs", &numbers).with_columns(WIDTH),
    ]
}

/// The tensor of relations between `q` symbols.
pub(super) fn of_relations(name: impl Into<String>, relations: &[Relation], q: usize) -> Tensor {
    Tensor::u64s(name, relations.iter().flat_map(|relation| relation.rows()).copied()).with_columns(q)
}

/// The relations in a tensor, with these names.
pub(super) fn relations(
    tensor: &str,
    tensors: &Tensors<'_>,
    names: &[String],
    space: &SequenceSpace,
) -> Reason<Vec<Relation>> {
    let rows = tensors.u64s(tensor)?;
    if rows.len() != names.len() * space.q() {
        return Err(damaged(SIZES));
    }
    let relation = |(name, row): (&String, &[u64])| {
        Relation::new(space, name, row.to_vec()).map_err(|error| damaged(&error.to_string()))
    };
    names.iter().zip(rows.chunks_exact(space.q())).map(relation).collect()
}

fn damaged(what: &str) -> String {
    format!("its runs are damaged: {what}")
}

/// The terms in these tensors, with relations of these names.
pub(super) fn read(tensors: &Tensors<'_>, names: &[String], space: &SequenceSpace) -> Reason<RunTerms> {
    let relations = relations("relations", tensors, names, space)?;
    let coefficients = tensors.f64s("run_coefficients")?;
    let counts = tensors.u16s("run_counts")?;
    let numbers = tensors.u16s("runs")?;
    let (positions, sets) = (tensors.u16s("run_positions")?, tensors.u64s("run_sets")?);
    let total = |at: usize| counts.iter().skip(at).step_by(2).map(|&count| usize::from(count)).sum::<usize>();
    if counts.len() != 2 * coefficients.len()
        || numbers.len() != WIDTH * total(0)
        || positions.len() != total(1)
        || sets.len() != total(1)
    {
        return Err(damaged(SIZES));
    }
    let run = |row: &[u16]| match *row {
        [relation, first, second, length, reversed @ 0..=1] => {
            Ok(Run { relation, first, second, length, reversed: reversed == 1 })
        }
        _ => Err(damaged(&format!("the run {row:?}"))),
    };
    let mut runs = numbers.chunks_exact(WIDTH).map(run);
    let mut pairs = positions.into_iter().zip(sets);
    let terms = coefficients
        .into_iter()
        .zip(counts.chunks_exact(2))
        .map(|(coefficient, count)| {
            Ok(RunTerm {
                runs: runs.by_ref().take(count[0].into()).collect::<Reason<_>>()?,
                sets: pairs.by_ref().take(count[1].into()).collect(),
                coefficient,
            })
        })
        .collect::<Reason<_>>()?;
    Ok(RunTerms { relations, terms })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::{Sketch, digest};
    use super::*;
    use crate::anova::Components;
    use crate::cancel::Cancel;
    use crate::surrogate::{Basis, ProductTerms, Surrogate};

    fn sketch() -> Sketch {
        let space = SequenceSpace::new("ACGU", 9).unwrap();
        let run =
            |relation, first, second, length, reversed| Run { relation, first, second, length, reversed };
        let relations = vec![Relation::wobble(&space).unwrap(), Relation::equal(&space)];
        let term = |runs, sets, coefficient| RunTerm { runs, sets, coefficient };
        let terms = vec![
            term(vec![run(0, 0, 8, 3, true)], vec![(4, 5)], 1.5),
            term(vec![run(0, 1, 7, 1, true), run(1, 0, 5, 2, false)], Vec::new(), -1.0),
        ];
        let runs = RunTerms { relations, terms };
        Surrogate::Terms(ProductTerms {
            space,
            basis: Basis::Letters,
            constant: 0.5,
            supports: Vec::new(),
            runs,
        })
        .into()
    }

    /// Loads a file with the digest of its own bytes, predicts and explains.
    fn use_of(bytes: &[u8]) -> crate::Result<Vec<f64>> {
        let mut bytes = bytes.to_vec();
        let zeros = bytes.windows(32).position(|window| window == digest::ZEROS.as_bytes()).unwrap();
        assert!(bytes[zeros - 3..zeros].ends_with(b"\""));
        digest::seal(&mut bytes).unwrap();
        let terms = Sketch::from_bytes(&bytes)?.surrogate.terms();
        let components = Components::new(&terms)?;
        components.predict(&[0; 9], &Cancel::new())?;
        components.shapley_values(&[0; 9], &Cancel::new())
    }

    #[test]
    fn hostile_tensors_are_refused_or_valid_but_never_panic() {
        let mut bytes = sketch().to_bytes().unwrap();
        let known = digest_of(&bytes);
        bytes[known..known + 32].copy_from_slice(digest::ZEROS.as_bytes());
        assert!(use_of(&bytes).is_ok());
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let mut refused = 0;
        for at in header..bytes.len() {
            for value in [0, 1, 7, 128, 255] {
                let mut hostile = bytes.clone();
                hostile[at] = value;
                refused += usize::from(use_of(&hostile).is_err());
            }
        }
        assert!(refused > 100, "{refused}");
    }

    /// Where the digest of a file starts.
    fn digest_of(bytes: &[u8]) -> usize {
        let field = br#"\"digest\":\""#;
        bytes.windows(field.len()).position(|window| window == field).unwrap() + field.len()
    }

    #[test]
    fn tensors_of_wrong_sizes_or_orders_are_refused_with_the_reason() {
        let reason = |change: &dyn Fn(&mut RunTerms)| {
            let mut sketch = sketch();
            let Surrogate::Terms(terms) = &mut sketch.surrogate else { unreachable!() };
            change(&mut terms.runs);
            Sketch::from_bytes(&sketch.to_bytes().unwrap()).unwrap_err().to_string()
        };
        assert!(
            reason(&|runs| runs.terms.swap(0, 1))
                .contains("terms are damaged: terms with runs must be ascending")
        );
        assert!(reason(&|runs| drop(runs.relations.pop())).contains("relation 1 of 1"));
        assert!(reason(&|runs| runs.terms[0].runs[0].length = 5).contains("for length 9"));
        assert!(reason(&|runs| runs.terms[0].coefficient = f64::INFINITY).contains("inf"));
        assert!(reason(&|runs| runs.terms[0].sets[0].1 = 0).contains("0b0 at position 4"));
        let other = SequenceSpace::new("AC", 9).unwrap();
        let two = |runs: &mut RunTerms| runs.relations[1] = Relation::equal(&other);
        assert!(reason(&two).contains("the sizes of their tensors do not match"));
    }
}
