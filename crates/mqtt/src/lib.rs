//! MQTT packets, protocol state, topic names and filters; opens no socket
