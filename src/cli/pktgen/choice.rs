//! What comes next: which flow, and how long a packet. By a generator of its own, so that runs with one seed repeat.

use rand_distr::{Distribution, Zipf};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

/// IP lengths of the mix, in the order they are sent: seven small ones, four of middle size, a large one.
const MIX: [u16; 12] = [64, 576, 64, 64, 576, 64, 1400, 64, 576, 64, 576, 64];

/// How long the packets are, as IP packets (the inner ones where there are two).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    /// All the same.
    Fixed(u16),
    /// Each length from the first to the second is as likely as any other.
    Range(u16, u16),
    /// 64, 576 and 1,400 bytes, 7:4:1; what is below the smallest possible length is raised to it.
    Mix,
}

impl Size {
    /// The longest.
    pub(super) fn longest(self) -> u16 {
        match self {
            Self::Fixed(n) | Self::Range(_, n) => n,
            Self::Mix => 1400,
        }
    }

    /// The shortest.
    pub(super) fn shortest(self) -> u16 {
        match self {
            Self::Fixed(n) | Self::Range(n, _) => n,
            Self::Mix => 64,
        }
    }
}

/// An exponent of Zipf's law, in thousandths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exponent(pub u32);

/// How packets are distributed over flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spread {
    /// Every flow is as likely as any other.
    Uniform,
    /// Flow n is 1/n^s as likely as the first.
    Zipf(Exponent),
}

/// The next flow and the next length.
pub(super) struct Choice {
    random: Xoshiro256PlusPlus,
    flows: u32,
    zipf: Option<Zipf<f64>>,
    size: Size,
    smallest: u16,
    turn: usize,
}

impl Choice {
    /// Among `flows` flows, 1 or more, and lengths from `smallest` on.
    pub(super) fn new(seed: u64, flows: u32, spread: Spread, size: Size, smallest: u16) -> Self {
        let zipf = match spread {
            Spread::Zipf(Exponent(s)) => Zipf::new(f64::from(flows), f64::from(s) / 1000.0).ok(),
            Spread::Uniform => None,
        };
        Self { random: Xoshiro256PlusPlus::seed_from_u64(seed), flows, zipf, size, smallest, turn: 0 }
    }

    /// Even over 0 to `below` − 1 (multiplied, not divided: the error is below 2⁻³²).
    #[inline]
    fn even(&mut self, below: u32) -> u32 {
        ((u64::from((self.random.next_u64() >> 32) as u32) * u64::from(below)) >> 32) as u32
    }

    #[inline]
    pub(super) fn flow(&mut self) -> u32 {
        match &self.zipf {
            _ if self.flows == 1 => 0,
            None => self.even(self.flows),
            Some(zipf) => (zipf.sample(&mut self.random) as u32).clamp(1, self.flows) - 1,
        }
    }

    /// Bytes of the next IP packet.
    #[inline]
    pub(super) fn length(&mut self) -> u16 {
        match self.size {
            Size::Fixed(n) => n,
            Size::Range(a, b) => a + self.even(u32::from(b - a) + 1) as u16,
            Size::Mix => {
                self.turn = if self.turn + 1 < MIX.len() { self.turn + 1 } else { 0 };
                MIX[self.turn].max(self.smallest)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(flows: u32, spread: Spread, size: Size) -> Choice {
        Choice::new(1, flows, spread, size, 60)
    }

    fn count(flows: u32, spread: Spread) -> Vec<u32> {
        let (mut choice, mut counts) = (choice(flows, spread, Size::Mix), vec![0u32; flows as usize]);
        (0..100_000).for_each(|_| counts[choice.flow() as usize] += 1);
        counts
    }

    #[test]
    fn flows_are_chosen_as_asked() {
        assert_eq!(count(1, Spread::Zipf(Exponent(1000))), [100_000]);
        assert!(count(10, Spread::Uniform).iter().all(|n| (9_500..10_500).contains(n)));
        // shares of 1/n^s in the sum of all of 1,000 flows: 7.4855 for s = 1, 2.5492 for s = 1.5
        for (s, sum) in [(1000, 7.4855), (1500, 2.5492)] {
            let zipf = count(1000, Spread::Zipf(Exponent(s)));
            for flow in [0, 1, 9] {
                let want = 100_000.0 / f64::from(flow as u32 + 1).powf(f64::from(s) / 1000.0) / sum;
                assert!((f64::from(zipf[flow]) - want).abs() < want / 10.0, "{s} {flow}: {} of {want}", zipf[flow]);
            }
        }
    }

    #[test]
    fn one_seed_is_one_sequence() {
        let run = |seed| {
            let mut c = Choice::new(seed, 1000, Spread::Zipf(Exponent(1100)), Size::Range(60, 90), 60);
            (0..1000).map(|_| (c.flow(), c.length())).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }

    #[test]
    fn lengths_have_their_proportions() {
        let mut mix = choice(1, Spread::Uniform, Size::Mix);
        let lengths: Vec<_> = (0..1200).map(|_| mix.length()).collect();
        let count = |len: u16| lengths.iter().filter(|n| **n == len).count();
        assert_eq!([64, 576, 1400].map(count), [700, 400, 100]);
        let mut range = choice(1, Spread::Uniform, Size::Range(100, 103));
        let lengths: Vec<_> = (0..4000).map(|_| range.length()).collect();
        let count = |len: u16| lengths.iter().filter(|n| **n == len).count();
        assert!([100, 101, 102, 103].map(count).into_iter().all(|n| (850..1150).contains(&n)));
        assert_eq!(Choice::new(1, 1, Spread::Uniform, Size::Mix, 80).length(), 576);
    }
}
