//! The hash equivalence protocol of the Yocto Project, without I/O.
