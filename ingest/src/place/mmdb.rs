//! Writes small MaxMind databases for tests, by the format's description (version 2.0): a binary tree over the bits of an
//! address, the records that its leaves point to, and metadata at the end.

use std::net::Ipv4Addr;

const RECORD_BITS: u16 = 24;
const SEPARATOR: [u8; 16] = [0; 16];
const MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";

/// A value of the data section.
pub(super) enum Value {
    Text(&'static str),
    Map(Vec<(&'static str, Value)>),
    List(Vec<Value>),
    Short(u16),
    Integer(u32),
    Long(u64),
}

/// What a branch of the tree leads to.
#[derive(Clone, Copy)]
enum Branch {
    Nothing,
    Node(usize),
    /// At this place of the data section.
    Record(usize),
}

impl Value {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => {
                control(2, text.len(), out);
                out.extend(text.as_bytes());
            }
            Self::Map(pairs) => {
                control(7, pairs.len(), out);
                for (name, value) in pairs {
                    Self::Text(name).write(out);
                    value.write(out);
                }
            }
            Self::List(values) => {
                control(11, values.len(), out);
                values.iter().for_each(|value| value.write(out));
            }
            Self::Short(number) => integer(5, &number.to_be_bytes(), out),
            Self::Integer(number) => integer(6, &number.to_be_bytes(), out),
            Self::Long(number) => integer(9, &number.to_be_bytes(), out),
        }
    }
}

fn integer(kind: u8, bytes: &[u8], out: &mut Vec<u8>) {
    control(kind, bytes.len(), out);
    out.extend(bytes);
}

/// The byte that tells type and size; types from 8 on have a second one.
fn control(kind: u8, size: usize, out: &mut Vec<u8>) {
    let size = u8::try_from(size).ok().filter(|size| *size < 29).expect("tests write small values");
    if kind < 8 { out.push(kind << 5 | size) } else { out.extend([size, kind - 7]) }
}

/// A database of these IPv4 networks, built at this Unix second.
pub(super) fn database(networks: &[(Ipv4Addr, u8, Value)], build_epoch: u32) -> Vec<u8> {
    let mut nodes = vec![[Branch::Nothing; 2]];
    let mut data = Vec::new();
    for (address, bits, value) in networks {
        let mut at = 0;
        for depth in 0..*bits {
            let side = (address.to_bits() >> (31 - depth) & 1) as usize;
            at = match nodes[at][side] {
                Branch::Node(next) => next,
                Branch::Nothing | Branch::Record(_) if depth + 1 == *bits => {
                    nodes[at][side] = Branch::Record(data.len());
                    break;
                }
                Branch::Nothing | Branch::Record(_) => {
                    nodes.push([Branch::Nothing; 2]);
                    nodes[at][side] = Branch::Node(nodes.len() - 1);
                    nodes.len() - 1
                }
            };
        }
        value.write(&mut data);
    }
    let mut file = Vec::new();
    for branch in nodes.iter().flatten() {
        let pointer = match branch {
            Branch::Nothing => nodes.len(),
            Branch::Node(next) => *next,
            Branch::Record(offset) => nodes.len() + SEPARATOR.len() + offset,
        };
        file.extend(&u32::try_from(pointer).expect("a small file").to_be_bytes()[1..]);
    }
    file.extend(SEPARATOR);
    file.extend(data);
    file.extend(MARKER);
    let number = |value: usize| Value::Integer(u32::try_from(value).expect("a small file"));
    let metadata = Value::Map(vec![
        ("binary_format_major_version", Value::Short(2)),
        ("binary_format_minor_version", Value::Short(0)),
        ("build_epoch", Value::Long(u64::from(build_epoch))),
        ("database_type", Value::Text("Test-City")),
        ("description", Value::Map(vec![("en", Value::Text("places for tests"))])),
        ("ip_version", Value::Short(4)),
        ("languages", Value::List(vec![Value::Text("en")])),
        ("node_count", number(nodes.len())),
        ("record_size", Value::Short(RECORD_BITS)),
    ]);
    metadata.write(&mut file);
    file
}
