//! Zipf's law with exponent 1.

use rand::RngExt as _;
use rand::rngs::StdRng;

/// Ranks `1..=n`, each as often as its inverse.
///
/// Rejection-inversion (Hörmann and Derflinger, 1996): `ln` is the integral of `1/x`, so that its inverse gives a rank that is right but
/// for the step's corner, which is refused.
pub(crate) struct Zipf {
    n: u32,
    low: f64,
    high: f64,
}

impl Zipf {
    pub(crate) fn new(n: u32) -> Self {
        Self { n, low: 1.5_f64.ln() - 1.0, high: (f64::from(n) + 0.5).ln() }
    }

    pub(crate) fn sample(&self, rng: &mut StdRng) -> u32 {
        loop {
            let at = rng.random_range(self.low..self.high);
            let rank = (at.exp().round() as u32).clamp(1, self.n);
            if at >= (f64::from(rank) + 0.5).ln() - f64::from(rank).recip() {
                return rank;
            }
        }
    }
}
