//! What the sequence numbers of one flow say: what is missing, what came twice, what came late.

/// How far behind the newest a packet may come and still be told apart from one that came before.
const WINDOW: u64 = 64;

/// What is known of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Flow {
    /// One more than the highest number seen.
    next: u64,
    /// Bit *n* is set when number `next - 1 - n` has come.
    seen: u64,
    /// Different numbers that came.
    received: u64,
}

/// What came, over all flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Tally {
    /// Different packets.
    pub(super) received: u64,
    /// Numbers passed over and not seen since.
    pub(super) missing: u64,
    /// Packets that had come already.
    pub(super) duplicates: u64,
    /// Packets that came after one with a higher number; they are among those received.
    pub(super) reordered: u64,
    /// Packets too far behind to be told from duplicates; they stay missing.
    pub(super) stale: u64,
}

impl Flow {
    /// Takes note of number `sequence`.
    #[inline]
    pub(super) fn note(&mut self, sequence: u64, tally: &mut Tally) {
        if sequence >= self.next {
            let ahead = sequence - self.next;
            self.seen = if ahead + 1 < WINDOW { self.seen << (ahead + 1) | 1 } else { 1 };
            self.next = sequence + 1;
            tally.missing += ahead;
            tally.received += 1;
            self.received += 1;
            return;
        }
        let behind = self.next - 1 - sequence;
        if behind >= WINDOW {
            tally.stale += 1;
        } else if self.seen >> behind & 1 == 1 {
            tally.duplicates += 1;
        } else {
            self.seen |= 1 << behind;
            tally.received += 1;
            self.received += 1;
            tally.reordered += 1;
            tally.missing -= 1;
        }
    }

    /// Different numbers that came.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Of `sent` packets, those behind the last that came; `None` when more came than were sent.
    pub(super) fn tail(&self, sent: u64) -> Option<u64> {
        sent.checked_sub(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(received: u64, missing: u64, duplicates: u64, reordered: u64, stale: u64) -> Tally {
        Tally { received, missing, duplicates, reordered, stale }
    }

    #[test]
    fn each_story_has_its_numbers() {
        let cases: &[(&str, &[u64], Tally)] = &[
            ("nothing", &[], tally(0, 0, 0, 0, 0)),
            ("in order", &[0, 1, 2, 3], tally(4, 0, 0, 0, 0)),
            ("one lost", &[0, 1, 3], tally(3, 1, 0, 0, 0)),
            ("the first lost", &[2], tally(1, 2, 0, 0, 0)),
            ("one twice", &[0, 1, 1, 2], tally(3, 0, 1, 0, 0)),
            ("an old one twice", &[0, 1, 2, 0], tally(3, 0, 1, 0, 0)),
            ("two swapped", &[0, 2, 1, 3], tally(4, 0, 0, 1, 0)),
            ("late, then twice", &[0, 2, 1, 1], tally(3, 0, 1, 1, 0)),
            ("the last of the window", &[0, 64, 1], tally(3, 62, 0, 1, 0)),
            ("one beyond the window", &[0, 65, 1], tally(2, 64, 0, 0, 1)),
            ("a jump of a whole window", &[0, 63, 0], tally(2, 62, 1, 0, 0)),
            ("a long jump", &[0, 1000, 1000, 999], tally(3, 998, 1, 1, 0)),
            ("backwards", &[3, 2, 1, 0], tally(4, 0, 0, 3, 0)),
        ];
        for (story, numbers, want) in cases {
            let (mut flow, mut got) = (Flow::default(), Tally::default());
            numbers.iter().for_each(|n| flow.note(*n, &mut got));
            assert_eq!(got, *want, "{story}");
            let highest = numbers.iter().max().map_or(0, |n| n + 1);
            assert_eq!(got.received + got.missing, highest, "{story}: every number is accounted for");
            assert_eq!(flow.received(), got.received, "{story}");
            assert_eq!((flow.tail(highest + 5), flow.tail(highest)), (Some(5), Some(0)), "{story}");
        }
    }

    #[test]
    fn more_than_was_sent_is_no_number() {
        let (mut flow, mut tally) = (Flow::default(), Tally::default());
        flow.note(7, &mut tally);
        assert_eq!(flow.tail(7), None);
    }
}
