//! The AMQP type system (AMQP 1.0, part 1): values, and how they are written and read.
//!
//! Reading is bounded: depth and number of values have limits, so that no input makes the decoder recurse or
//! allocate without end. Strings, symbols and binaries are slices of the input, not copies.

mod array;
mod decode;
pub mod encode;
mod text;
mod value;

pub use array::{Array, MixedArray};
pub use decode::{Composite, DecodeError, Decoder, MAX_DEPTH, MAX_VALUES};
pub use text::{Symbol, Text};
pub use value::{Described, Fields, Value};

#[cfg(test)]
pub(crate) mod strategies;
#[cfg(test)]
mod tests;
