//! AMQP 1.0 for both roles as a state machine that opens no socket.
//!
//! The caller moves bytes: what arrived goes into [`Connection::receive`](connection::Connection::receive), what is
//! to be sent lies in [`Connection::output`](connection::Connection::output), and what happened comes from
//! [`Connection::next_event`](connection::Connection::next_event). So one connection bears thousands of links and a
//! million small transfers a second, and every test runs in memory.
//!
//! It speaks what Azure IoT Hub and Event Hubs and their official clients speak: SASL or none, CBS tokens, batches
//! in one transfer. It does not do: transactions, links resumed over connections, TLS, WebSocket, time.
//!
//! In reading order: [`connection`] is what a user needs; [`message`], [`cbs`] and [`sasl`] are what travels over
//! it; [`performative`], [`frame`] and [`types`] are the layers below.

pub mod connection;
pub mod message;

pub mod cbs;
pub mod sasl;

pub mod performative;

pub mod frame;
pub mod types;
