#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;
use rand::SeedableRng;

proptest! {
    #[test]
    fn signatures_are_the_roots_of_the_inner_products(
        seed in 0u64..1000, q in 2usize..=20, sizes in prop::collection::vec(1usize..=21, 1..8),
        repeats in 1usize..4, kind in 0usize..5, equal: bool,
    ) {
        // A code needs long sequences of the same letters.
        let equal = equal || kind == 4;
        let sizes = if equal { vec![q; sizes.len() + if kind == 4 { 30 } else { 0 }] } else { sizes };
        let Ok(space) = SequenceSpace::of_sizes(&sizes) else { return Ok(()) };
        prop_assert!(!equal || !space.has_letters());
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let family = [
            DelayFamily::Zero,
            DelayFamily::Identity,
            DelayFamily::Random { count: repeats },
            DelayFamily::Nso { repeats },
            DelayFamily::Coded { max_order: 1 + repeats % 2, repeats },
        ][kind];
        let code = match family {
            DelayFamily::Coded { max_order, .. } => {
                Some(Arc::new(Code::new(q, space.n(), max_order, &mut rng).unwrap()))
            }
            _ => None,
        };
        let delays = Delays::draw(family, code.as_ref(), &space, &mut rng);
        prop_assert_eq!(delays.count(), family.count(&space).unwrap());
        let dense: Vec<u8> = sizes.iter().map(|&size| rng.random_range(0..size as u32) as u8).collect();
        let k = Frequency::from_dense(&dense);
        let roots = Roots::new(space.sizes());
        let mut signature = vec![Complex64::ZERO; delays.count()];
        delays.signature(&k, &roots, |p, root| signature[p] = root);
        for (p, root) in signature.iter().enumerate() {
            let row = delays.row(p);
            prop_assert!(row.iter().zip(&sizes).all(|(&d, &size)| usize::from(d) < size));
            let products = row.iter().zip(&dense).zip(&sizes);
            let turns: f64 = products.map(|((&d, &v), &size)| f64::from(d) * f64::from(v) / size as f64).sum();
            prop_assert!((root - Complex64::cis(std::f64::consts::TAU * turns)).norm() < 1e-12);
        }
        let sum = delays.signature_sum(&k, &roots, &mut Vec::new());
        prop_assert!((sum - signature.iter().sum::<Complex64>()).norm() < 1e-12 * signature.len() as f64);
    }
}

#[test]
fn unit_steps_determine_every_frequency() {
    let space = SequenceSpace::with_letters(&["AC", "G", "ACGTU", "GT", "ACG"]).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for family in [DelayFamily::Identity, DelayFamily::Nso { repeats: 2 }] {
        let delays = Delays::draw(family, None, &space, &mut rng);
        let k = Frequency::from_dense(&[1, 0, 3, 0, 2]);
        let mut signature = Vec::new();
        delays.signature(&k, &Roots::new(space.sizes()), |_, root| signature.push(root));
        let phases: Vec<u8> = (1..delays.stride())
            .map(|step| {
                let turn = (signature[step] / signature[0]).arg() / std::f64::consts::TAU;
                let size = space.sizes().at(delays.position_of_step(step - 1)) as f64;
                (turn * size).round().rem_euclid(size) as u8
            })
            .collect();
        assert_eq!(delays.frequency(&phases), Some(k));
    }
}
