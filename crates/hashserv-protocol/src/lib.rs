//! tmp
mod address;
mod line_buffer;
pub use address::{Address, AddressError, Host};
pub use line_buffer::{LineBuffer, LineTooLong};
