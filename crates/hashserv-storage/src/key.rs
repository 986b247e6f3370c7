//! The keys by which hashes are looked up.

/// A task within a method: the key of a unihash.
///
/// Borrowed, because a build asks for tens of thousands of them in one go and each is part of a line that
/// has just been received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskKey<'a> {
    /// The algorithm that computes output hashes; hashes of different methods have nothing to do with each other.
    pub method: &'a str,
    /// The hash of the task's inputs: opaque text.
    pub taskhash: &'a str,
}

/// An output within a method: the key of the reports that produced it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OuthashKey<'a> {
    /// The algorithm that computed the output hash.
    pub method: &'a str,
    /// The hash of a task's output: opaque text.
    pub outhash: &'a str,
}
