//! AMQP 1.0 for both roles as a state machine that opens no socket
