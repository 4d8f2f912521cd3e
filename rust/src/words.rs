//! Few sets of positions that contain all supports of a list.

use std::collections::HashMap;

/// Positions whose words serve several supports at once.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) positions: Vec<u16>,
    /// Indices of the supports, all of them among the positions.
    pub(crate) supports: Vec<usize>,
}

/// Covers the supports by blocks: each starts with a support not covered yet and takes in the position
/// that covers most others, as long as the table of its words has at most `cells` cells.
pub(crate) fn cover(supports: &[Vec<u16>], q: usize, n: usize, cells: usize) -> Vec<Block> {
    let mut left: HashMap<&[u16], usize> =
        supports.iter().enumerate().map(|(index, support)| (support.as_slice(), index)).collect();
    let longest = supports.iter().map(Vec::len).max().unwrap_or(0);
    let mut starts: Vec<usize> = (0..supports.len()).collect();
    starts.sort_by_key(|&index| std::cmp::Reverse(supports[index].len()));
    let mut blocks = Vec::new();
    for start in starts {
        if !left.contains_key(supports[start].as_slice()) {
            continue;
        }
        let mut positions = supports[start].clone();
        while positions.len() < n && q.pow(positions.len() as u32 + 1) <= cells {
            let others = (0..n as u16).filter(|i| !positions.contains(i));
            let gains = others.map(|i| {
                let mut wider = positions.clone();
                wider.insert(wider.partition_point(|&p| p < i), i);
                (among(&wider, longest, Some(i), &left).len(), std::cmp::Reverse(i), wider)
            });
            match gains.max() {
                Some((gain, _, wider)) if gain > 0 => positions = wider,
                _ => break,
            }
        }
        let covered = among(&positions, longest, None, &left);
        for &index in &covered {
            left.remove(supports[index].as_slice());
        }
        blocks.push(Block { positions, supports: covered });
    }
    // Blocks that begin alike share the words of their beginnings.
    blocks.sort_by(|a, b| a.positions.cmp(&b.positions));
    blocks
}

/// The positions whose bits a mask has.
pub(crate) fn subset(positions: &[u16], mask: usize) -> Vec<u16> {
    positions.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1).map(|(_, &i)| i).collect()
}

/// The supports of a list that lie among some positions, and have one of them if that is asked.
fn among(positions: &[u16], longest: usize, with: Option<u16>, left: &HashMap<&[u16], usize>) -> Vec<usize> {
    let mut found = Vec::new();
    let needed = positions.iter().position(|&i| Some(i) == with).map_or(0, |at| 1 << at);
    for bits in 1_usize..1 << positions.len() {
        if bits & needed == needed && bits.count_ones() as usize <= longest {
            found.extend(left.get(subset(positions, bits).as_slice()));
        }
    }
    found.sort_unstable();
    found
}
