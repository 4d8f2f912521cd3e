//! Sketches a closure and explains one sequence: `cargo run --release --example closure`.

#![allow(clippy::print_stdout)]

use shapsketch::sketch::Strategy;
use shapsketch::{Cancel, Components, Plan, SequenceSpace};

/// Score of a toy promoter: 0.2 for each A, 3 for "TATA" at positions 2 to 5, and 1 for G at 8 together with C at 11.
fn score(sequence: &str) -> f64 {
    let symbols = sequence.as_bytes();
    let adenines = symbols.iter().filter(|&&s| s == b'A').count() as f64;
    let motif = f64::from(u8::from(&symbols[2..6] == b"TATA"));
    let pair = f64::from(u8::from(symbols[8] == b'G' && symbols[11] == b'C'));
    0.2 * adenines + 3.0 * motif + pair
}

fn main() -> shapsketch::Result<()> {
    let cancel = Cancel::new();
    let space = SequenceSpace::new("ACGT", 12)?;

    // Plan the budget, evaluate the model, fit the sketch.
    let queries = Plan::new(space.clone(), 60_000, Strategy::Auto, 0)?.queries(&cancel)?;
    let sequences = space.decode(&queries.batch(0..queries.len()))?;
    let values: Vec<f64> = sequences.iter().map(|sequence| score(sequence)).collect();
    let sketch = queries.sketch(&values, &cancel)?;
    if let Some(info) = &sketch.info {
        println!(
            "{} queries, {} terms, R² {:.4}",
            info.provenance.n_queries,
            sketch.surrogate.len(),
            info.r2.value
        );
    }

    // Explain any sequence without further evaluations of the model.
    let components = Components::new(&sketch.surrogate.terms())?;
    let sequence = "GGTATAAAGTTC";
    let shapley = components.shapley_values(&space.encode(&[sequence])?, &cancel)?;
    println!("mean score {:.3}; {sequence} scores {:.3}, because", components.base_value(), score(sequence));
    for (position, (symbol, value)) in sequence.chars().zip(&shapley).enumerate() {
        println!("  {symbol} at {position:2}: {value:+.3}");
    }
    Ok(())
}
