//! "Did you mean": the one of a few legal words that was probably intended.

/// The candidate nearest to `word`, if it is near enough to be a slip of the hand: one edit for a short word, one in
/// three letters for a longer one.
pub(crate) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let letters = word.chars().count();
    if letters > 64 {
        return None; // no legal word is so long, and the distance costs the product of both lengths
    }
    let allowed = (letters / 3).max(1);
    candidates
        .into_iter()
        .take(1000) // a hundred thousand peers may all have mistaken the name of one of many overlays
        .filter(|c| *c != word)
        .map(|c| (strsim::damerau_levenshtein(&word.to_lowercase(), &c.to_lowercase()), c))
        .filter(|(distance, _)| *distance <= allowed)
        .min() // of equals the first in the alphabet, so that two runs say the same
        .map(|(_, c)| c)
}

/// `; did you mean …?` to end a sentence with, or nothing.
pub(crate) fn did_you_mean<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> String {
    nearest(word, candidates).map(|c| format!("; did you mean `{c}`?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let words = ["name", "vni", "udp_port", "local"];
        for (typed, meant) in [("nmae", "name"), ("vnii", "vni"), ("udpport", "udp_port"), ("Local", "local")] {
            assert_eq!(nearest(typed, words), Some(meant), "{typed}");
        }
        for stranger in ["", "colour", "x", "tunnel_identifier"] {
            assert_eq!(nearest(stranger, words), None, "{stranger}");
        }
        assert_eq!(nearest(&"v".repeat(100_000), words), None);
    }
}
