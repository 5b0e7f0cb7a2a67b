//! The MQTT broker: listeners, sessions, router, retained messages, wills, access rules
