//! Integration tests. They are one program, which compiles and runs faster than one for each file.

#![allow(clippy::unwrap_used)]

mod brute_force;
mod by_position;
mod files;
mod inputs;
mod oracles;
mod predictor;
mod promises;
mod provenance;
mod recovery;
mod runs;
mod trees;
