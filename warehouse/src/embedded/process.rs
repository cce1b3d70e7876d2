//! What parent and child say to each other: arguments, the password on stdin, one line on stdout.

use std::ffi::OsString;
use std::path::PathBuf;

/// The child's announcement, followed by its port.
pub(crate) const READY: &str = "engine ready on port ";

/// What the child is told on its command line. Nothing secret: command lines are public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChildArguments {
    pub(crate) library: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) port: u16,
    pub(crate) memory_bytes: u64,
    pub(crate) parent: u32,
}

const FLAGS: [&str; 5] = ["--library", "--data", "--port", "--memory-bytes", "--parent"];

impl ChildArguments {
    pub(crate) fn to_arguments(&self) -> Vec<OsString> {
        let values: [OsString; 5] = [
            self.library.clone().into(),
            self.data.clone().into(),
            self.port.to_string().into(),
            self.memory_bytes.to_string().into(),
            self.parent.to_string().into(),
        ];
        FLAGS.iter().map(OsString::from).zip(values).flat_map(|(flag, value)| [flag, value]).collect()
    }

    pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let arguments: Vec<OsString> = arguments.into_iter().collect();
        let value = |flag: &str| {
            let at = arguments.iter().position(|argument| argument == flag);
            at.and_then(|at| arguments.get(at + 1)).ok_or_else(|| format!("engine: {flag} is missing"))
        };
        let number = |flag: &str| -> Result<u64, String> {
            let text = value(flag)?.to_string_lossy().into_owned();
            text.parse().map_err(|_| format!("engine: {flag} {text} is no number"))
        };
        let [library, data, port, memory, parent] = FLAGS;
        Ok(Self {
            library: value(library)?.into(),
            data: value(data)?.into(),
            port: u16::try_from(number(port)?).map_err(|_| format!("engine: {port} is no port"))?,
            memory_bytes: number(memory)?,
            parent: u32::try_from(number(parent)?)
                .map_err(|_| format!("engine: {parent} is no process id"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_round_trip() {
        let arguments = ChildArguments {
            library: "/a b/libchdb.so".into(),
            data: "/data".into(),
            port: 9,
            memory_bytes: 1 << 30,
            parent: 7,
        };
        assert_eq!(ChildArguments::parse(arguments.to_arguments()).unwrap(), arguments);
        let missing = ChildArguments::parse(["--library".into(), "x".into()]).unwrap_err();
        assert_eq!(missing, "engine: --data is missing");
    }
}
