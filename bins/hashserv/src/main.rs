//! hashserv
fn main() {}
