//! Arguments as `ip` and `bridge` take them: words, some of which announce the next (`dev NAME`, `table NAME`).

use super::Failure;

/// The words of a command, read from the front.
#[derive(Debug)]
pub(super) struct Words<'w> {
    command: &'static str,
    usage: &'static str,
    rest: std::slice::Iter<'w, String>,
}

impl<'w> Words<'w> {
    /// `usage` is what a mistake is answered with.
    pub(super) fn new(command: &'static str, usage: &'static str, words: &'w [String]) -> Self {
        Self { command, usage, rest: words.iter() }
    }

    /// The next word.
    pub(super) fn next(&mut self) -> Option<&'w str> {
        self.rest.next().map(String::as_str)
    }

    /// The word that `word` announces.
    pub(super) fn behind(&mut self, word: &str) -> Result<String, Failure> {
        match self.next() {
            Some(value) => Ok(value.to_owned()),
            None => Err(self.wrong(&format!("{word} wants a name behind it"))),
        }
    }

    /// `word` has no place here.
    pub(super) fn unknown(&self, word: &str) -> Failure {
        self.wrong(&format!("{word:?} is not understood"))
    }

    /// A mistake, with how to write it.
    pub(super) fn wrong(&self, what: &str) -> Failure {
        Failure::bad_input(format!(
            "shunt: {}: {what}; write `shunt {} {}`",
            self.command, self.command, self.usage
        ))
    }
}
