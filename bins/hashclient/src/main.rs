//! hashclient
fn main() {}
