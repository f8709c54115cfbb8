//! `rate_limit`: drops events beyond a rate.

use super::{
    Decision, Factory, ProcessorKind, Shared,
    options::options,
    reports::{self, Counting, Reported},
    shared,
};
use crate::{
    config::Error,
    enrich::HostData,
    event::tree::Tree,
    opening::{Clock, Opening},
    time::Timestamp,
};
use hashbrown::HashMap;
use serde::Deserialize;
use serde_json::Value;
use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

pub(super) const KIND: ProcessorKind = ProcessorKind {
    name: "rate_limit",
    about: "Drops events beyond a rate, and counts them as `filtered` and in `processor.rate_limit.NUMBER.dropped`. The rate is that of the whole process. With `fields`, it applies to each \
            combination of values of these fields; up to 10,000 combinations are remembered, and the one that was seen longest ago is \
            forgotten first.",
    example: "limit: 1000/m\nfields: [source.ip]",
    options: &[("", RateLimit::OPTIONS), ("algorithm.", Algorithm::OPTIONS), ("algorithm.token_bucket.", TokenBucket::OPTIONS)],
    open,
};

options! {
    #[derive(Debug)]
    struct RateLimit {
        /// The number of events per second (`10/s`), minute (`10/m`) or hour (`10/h`).
        limit: Rate,
        /// The fields whose values have a rate of their own.
        fields: Vec<String> = Vec::new(),
        /// How the rate is applied.
        algorithm: Algorithm = Algorithm { token_bucket: TokenBucket { burst_multiplier: 1.0 } },
    }
}

options! {
    #[derive(Debug)]
    struct Algorithm {
        /// Events take tokens from a bucket, which is refilled at the rate of `limit`. There is no other algorithm.
        token_bucket: TokenBucket = TokenBucket { burst_multiplier: 1.0 },
    }
}

options! {
    #[derive(Debug)]
    struct TokenBucket {
        /// The size of the bucket, as a multiple of the number in `limit`.
        burst_multiplier: f64 = 1.0,
    }
}

/// A number of events per unit of time.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Rate {
    number: f64,
    /// The unit of time, in nanoseconds.
    unit: f64,
}

impl TryFrom<String> for Rate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("expected a number and a unit, such as 10/s, 10/m or 10/h, got `{text}`");
        let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
        let number = number.trim().parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0).ok_or_else(wrong)?;
        let unit = match unit.trim() {
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return Err(wrong()),
        };
        Ok(Self { number, unit })
    }
}

/// Maximum number of buckets.
const MAX_BUCKETS: usize = 10_000;

struct Bucket {
    tokens: f64,
    filled: Timestamp,
}

struct Limiter {
    options: RateLimit,
    clock: &'static dyn Clock,
    buckets: Mutex<HashMap<Box<str>, Bucket>>,
    dropped: Arc<Dropped>,
}

/// The number of events that the limit dropped.
#[derive(Default)]
struct Dropped(AtomicU64);

impl Counting for Dropped {
    fn each(&self, add: &mut dyn FnMut(&str, Reported)) {
        add("dropped", Reported::Count(self.0.load(Ordering::Relaxed)));
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.fmt(f)
    }
}

fn open(opening: &Opening<'_>) -> Result<Box<dyn Factory>, Error> {
    let mut options = RateLimit::read(opening.node)?;
    options.fields.sort();
    let dropped = Arc::default();
    reports::add(opening, "rate_limit", None, &dropped);
    Ok(shared(Limiter { options, clock: opening.clock, buckets: Mutex::default(), dropped }))
}

/// Removes a tenth of the buckets: those that were used longest ago. One pass makes room for many new buckets, so that a flood of new
/// values has a low cost per event.
fn evict(buckets: &mut HashMap<Box<str>, Bucket>) {
    let mut times: Vec<Timestamp> = buckets.values().map(|bucket| bucket.filled).collect();
    let nth = times.len() / 10;
    let (_, limit, _) = times.select_nth_unstable(nth);
    let limit = *limit;
    let mut most = nth + 1;
    buckets.retain(|_, bucket| {
        let goes = bucket.filled <= limit && most > 0;
        most -= usize::from(goes);
        !goes
    });
}

impl Limiter {
    /// The values of the fields. They identify the bucket of an event. A missing field counts as an empty text.
    fn key(&self, event: &Tree) -> String {
        let mut key = String::new();
        for field in &self.options.fields {
            match event.get(field) {
                Some(Value::String(text)) => key.push_str(text),
                Some(value) => key.push_str(&value.to_string()),
                None => {}
            }
            key.push('\0');
        }
        key
    }

    fn allows(&self, key: String, now: Timestamp) -> bool {
        let Rate { number, unit } = self.options.limit;
        let depth = number * self.options.algorithm.token_bucket.burst_multiplier;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS && !buckets.contains_key(key.as_str()) {
            evict(&mut buckets);
        }
        let bucket = buckets.entry(key.into_boxed_str()).or_insert(Bucket { tokens: depth, filled: now });
        bucket.tokens = (bucket.tokens + now.since(bucket.filled) as f64 / unit * number).min(depth);
        bucket.filled = now;
        let allowed = bucket.tokens >= 1.0;
        if allowed {
            bucket.tokens -= 1.0;
        }
        allowed
    }
}

impl Shared for Limiter {
    fn run(&self, event: &mut Tree, _: &HostData) -> Decision {
        if self.allows(self.key(event), self.clock.now()) {
            return Decision::Keep;
        }
        self.dropped.0.fetch_add(1, Ordering::Relaxed);
        Decision::Drop
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opening::testing::Fixed;

    static CLOCK: Fixed = Fixed(Timestamp(0));

    fn limiter(limit: &str, burst_multiplier: f64) -> Limiter {
        let algorithm = Algorithm { token_bucket: TokenBucket { burst_multiplier } };
        let options = RateLimit { limit: limit.to_owned().try_into().unwrap(), fields: Vec::new(), algorithm };
        Limiter { options, clock: &CLOCK, buckets: Mutex::default(), dropped: Arc::default() }
    }

    #[test]
    fn tokens_come_back_at_the_rate() {
        let limiter = limiter("2/s", 1.5);
        let passed = |millis: u64| (0..10).filter(|_| limiter.allows(String::new(), Timestamp(millis * 1_000_000))).count();
        assert_eq!([0, 400, 500, 1000, 9000].map(passed), [3, 0, 1, 1, 3]);
    }

    #[test]
    fn the_number_of_buckets_is_bounded_and_the_oldest_are_removed() {
        let limiter = limiter("1/h", 1.0);
        for number in 0..MAX_BUCKETS as u64 * 3 {
            assert!(limiter.allows(number.to_string(), Timestamp(number)));
        }
        let last = MAX_BUCKETS as u64 * 3;
        assert!(!limiter.allows((last - 1).to_string(), Timestamp(last)), "the newest is remembered");
        assert!(limiter.buckets.lock().unwrap().len() <= MAX_BUCKETS);
    }
}
