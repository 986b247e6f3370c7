//! Asynchronous client for hash equivalence servers of the Yocto Project.
