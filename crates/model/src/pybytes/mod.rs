//! The frames of Pycom's firmware.
