//! The broker's promises, over real TCP, with the crate's own client and a journal on a disk that obeys.

mod backpressure;
mod delivery;
mod drops;
mod durable;
mod kit;
mod lifecycle;
mod login;
mod publishing;
mod survival;
