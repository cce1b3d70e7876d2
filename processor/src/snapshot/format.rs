//! The bytes of a snapshot: head and pairs, compressed with zstd, and at their end how many there must be and a SHA-256 of all.
//!
//! An object that was cut short, or of which a byte is another, is never taken for a state.

use std::io::{self, Write};

use schemas::fact::RecordHash;
use sha2::{Digest as _, Sha256};

use crate::core::{CORE_VERSION, Head, Pair, StateError};
use crate::store::LAYOUT;

const MAGIC: &[u8; 8] = b"TRBSNAP1";
const LEVEL: i32 = 3;
/// Longer keys and values than the state has.
const MAX_KEY_BYTES: usize = 1 << 16;
const MAX_VALUE_BYTES: usize = 64 << 20;

const HEAD: u8 = 1;
const PAIR: u8 = 2;
const END: u8 = 3;

/// Writes a snapshot.
pub(super) struct Encoder {
    zstd: zstd::stream::write::Encoder<'static, Vec<u8>>,
    digest: Sha256,
    pairs: u64,
}

impl Encoder {
    pub(super) fn begin(partition: u32, head: &Head) -> io::Result<Self> {
        let zstd = zstd::stream::write::Encoder::new(Vec::new(), LEVEL)?;
        let mut encoder = Self { zstd, digest: Sha256::new(), pairs: 0 };
        let head = head.encode();
        encoder.put(MAGIC)?;
        encoder.put(&[HEAD])?;
        for number in [LAYOUT, CORE_VERSION, partition, length(&head)?] {
            encoder.put(&number.to_be_bytes())?;
        }
        encoder.put(&head)?;
        Ok(encoder)
    }

    pub(super) fn pair(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.pairs += 1;
        self.put(&[PAIR])?;
        for number in [length(key)?, length(value)?] {
            self.put(&number.to_be_bytes())?;
        }
        self.put(key)?;
        self.put(value)
    }

    /// What is ready to be sent.
    pub(super) fn ready(&mut self) -> &mut Vec<u8> {
        self.zstd.get_mut()
    }

    /// The rest.
    pub(super) fn finish(mut self) -> io::Result<Vec<u8>> {
        let pairs = self.pairs.to_be_bytes();
        self.put(&[END])?;
        self.put(&pairs)?;
        let digest = self.digest.finalize();
        self.zstd.write_all(&digest)?;
        self.zstd.finish()
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.zstd.write_all(bytes)
    }
}

fn length(bytes: &[u8]) -> io::Result<u32> {
    u32::try_from(bytes.len()).map_err(|_| io::Error::other("a key or a value of the state is too long"))
}

/// Why bytes are no snapshot that can be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("is damaged: {0}")]
    Damaged(String),
    #[error("is of another version or partition: layout {layout}, core {core}, partition {partition}")]
    Other { layout: u32, core: u32, partition: u32 },
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}

impl From<StateError> for Unusable {
    fn from(error: StateError) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// Reads a snapshot.
pub(super) struct Decoder {
    zstd: zstd::stream::write::Decoder<'static, Vec<u8>>,
    partition: u32,
    digest: Sha256,
    head: Option<Head>,
    pairs: u64,
    is_ended: bool,
}

impl Decoder {
    pub(super) fn new(partition: u32) -> io::Result<Self> {
        let zstd = zstd::stream::write::Decoder::new(Vec::new())?;
        Ok(Self { zstd, partition, digest: Sha256::new(), head: None, pairs: 0, is_ended: false })
    }

    /// Takes the next bytes of the object and gives the pairs that they complete.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Vec<Pair>, Unusable> {
        let mut pairs = Vec::new();
        // In small steps: what a few bytes say can be long.
        for bytes in bytes.chunks(64 << 10) {
            self.zstd.write_all(bytes)?;
            self.zstd.flush()?;
            self.parse(&mut pairs)?;
        }
        Ok(pairs)
    }

    /// The head, once everything has been taken and is as it was written.
    pub(super) fn finish(self) -> Result<Head, Unusable> {
        match self.head {
            Some(head) if self.is_ended => Ok(head),
            Some(_) | None => Err(Unusable::Damaged("it ends too early".into())),
        }
    }

    fn parse(&mut self, pairs: &mut Vec<Pair>) -> Result<(), Unusable> {
        let bytes = std::mem::take(self.zstd.get_mut());
        let mut rest = &bytes[..];
        while let Some(used) = self.parse_one(rest, pairs)? {
            rest = &rest[used..];
        }
        *self.zstd.get_mut() = rest.to_vec();
        Ok(())
    }

    /// Takes what stands at the beginning of `bytes`, and gives its length; `None` if it is not all there yet.
    fn parse_one(&mut self, bytes: &[u8], pairs: &mut Vec<Pair>) -> Result<Option<usize>, Unusable> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        if self.is_ended {
            return Err(Unusable::Damaged("there is something behind its end".into()));
        }
        let used = match (&self.head, first) {
            (None, _) => self.parse_head(bytes)?,
            (Some(_), PAIR) => parse_pair(bytes)?.map(|(pair, used)| {
                self.pairs += 1;
                pairs.push(pair);
                used
            }),
            (Some(_), END) => return self.parse_end(bytes),
            (Some(_), other) => return Err(Unusable::Damaged(format!("{other} is no beginning"))),
        };
        self.digest.update(&bytes[..used.unwrap_or(0)]);
        Ok(used)
    }

    fn parse_head(&mut self, bytes: &[u8]) -> Result<Option<usize>, Unusable> {
        const FIXED: usize = MAGIC.len() + 1 + 4 * 4;
        let Some(fixed) = bytes.get(..FIXED) else { return Ok(None) };
        if !fixed.starts_with(MAGIC) || fixed[MAGIC.len()] != HEAD {
            return Err(Unusable::Damaged("it is no snapshot".into()));
        }
        let number = |index: usize| number(&fixed[MAGIC.len() + 1 + 4 * index..]);
        let (layout, core, partition) = (number(0), number(1), number(2));
        if layout != LAYOUT || core > CORE_VERSION || partition != self.partition {
            return Err(Unusable::Other { layout, core, partition });
        }
        let bytes_of_head = bounded(number(3), MAX_VALUE_BYTES)?;
        let Some(head) = bytes.get(FIXED..FIXED + bytes_of_head) else { return Ok(None) };
        self.head = Some(Head::decode(head)?);
        Ok(Some(FIXED + bytes_of_head))
    }

    fn parse_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Unusable> {
        const COUNTED: usize = 1 + size_of::<u64>();
        let Some(end) = bytes.get(..COUNTED + size_of::<RecordHash>()) else { return Ok(None) };
        self.digest.update(&end[..COUNTED]);
        let digest = self.digest.finalize_reset();
        if end[1..COUNTED] != self.pairs.to_be_bytes() || end[COUNTED..] != digest[..] {
            return Err(Unusable::Damaged("its checksum is another".into()));
        }
        self.is_ended = true;
        Ok(Some(end.len()))
    }
}

fn parse_pair(bytes: &[u8]) -> Result<Option<(Pair, usize)>, Unusable> {
    const FIXED: usize = 1 + 2 * 4;
    let Some(fixed) = bytes.get(..FIXED) else { return Ok(None) };
    let key = bounded(number(&fixed[1..]), MAX_KEY_BYTES)?;
    let value = bounded(number(&fixed[5..]), MAX_VALUE_BYTES)?;
    let Some(all) = bytes.get(FIXED..FIXED + key + value) else { return Ok(None) };
    Ok(Some(((all[..key].to_vec(), all[key..].to_vec()), FIXED + key + value)))
}

/// The number that stands at the beginning of at least four bytes.
fn number(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn bounded(length: u32, limit: usize) -> Result<usize, Unusable> {
    match usize::try_from(length) {
        Ok(length) if length <= limit => Ok(length),
        Ok(_) | Err(_) => Err(Unusable::Damaged(format!("a length of {length}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(partition: u32, head: &Head, pairs: &[Pair]) -> Vec<u8> {
        let mut encoder = Encoder::begin(partition, head).unwrap();
        for (key, value) in pairs {
            encoder.pair(key, value).unwrap();
        }
        encoder.finish().unwrap()
    }

    fn decoded(bytes: &[u8], step: usize) -> Result<(Head, Vec<Pair>), Unusable> {
        let mut decoder = Decoder::new(3)?;
        let mut pairs = Vec::new();
        for bytes in bytes.chunks(step) {
            pairs.extend(decoder.take(bytes)?);
        }
        Ok((decoder.finish()?, pairs))
    }

    #[test]
    fn what_was_written_is_read_and_nothing_that_is_cut_or_changed() {
        let head = Head { source: 9, cut: 2, ..Head::default() };
        let pairs: Vec<Pair> =
            (0..300_u32).map(|n| (n.to_be_bytes().to_vec(), vec![n as u8; n as usize % 90])).collect();
        let bytes = encoded(3, &head, &pairs);
        for step in [1, 7, bytes.len()] {
            assert_eq!(decoded(&bytes, step).unwrap(), (head.clone(), pairs.clone()));
        }
        for end in 0..bytes.len() {
            assert!(matches!(decoded(&bytes[..end], 64), Err(Unusable::Damaged(_))), "cut at {end}");
        }
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 0x10;
            // Some bits of a frame's header say nothing about what is in it.
            if let Ok(read) = decoded(&other, 64) {
                assert_eq!(read, (head.clone(), pairs.clone()), "byte {at}");
            }
        }
        let twice = [&bytes[..], &bytes[..]].concat();
        assert!(matches!(decoded(&twice, 64), Err(Unusable::Damaged(_))));
    }

    #[test]
    fn what_another_partition_or_layout_has_written_is_told_from_damage() {
        let error = decoded(&encoded(4, &Head::default(), &[]), 64).unwrap_err();
        assert!(matches!(error, Unusable::Other { partition: 4, .. }), "{error}");
        assert!(decoded(&encoded(3, &Head::default(), &[]), 64).unwrap().1.is_empty());
    }
}
