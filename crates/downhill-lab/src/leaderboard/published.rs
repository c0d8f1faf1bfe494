//! The leaderboard that is part of the program.

use std::io::Read;

use flate2::read::GzDecoder;

use super::Standings;

/// The leaderboard of all optimizers that this version was published with: `docs/leaderboard` of the repository.
///
/// ```
/// let standings = downhill_lab::leaderboard::published();
/// println!("of {} with {} settings each", standings.date, standings.setups);
/// ```
pub fn published() -> Standings {
    let compressed = include_bytes!("../../data/leaderboard.json.gz").as_slice();
    let mut text = String::new();
    // A test reads it, so this cannot fail on a user's machine.
    GzDecoder::new(compressed)
        .read_to_string(&mut text)
        .expect("the embedded leaderboard is sound");
    serde_json::from_str(&text).expect("the embedded leaderboard is one of this version")
}
