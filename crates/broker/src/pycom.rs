//! What the broker must know of Pycom's firmware: which frames are signals, and that a PING wants a PONG.

/// Low bits of a frame's header: its type.
const TYPE: u8 = 0x0f;
const PING: u8 = 0x00;
const PYBYTES: u8 = 0x0e;
/// Command of a signal in a frame of type [`PYBYTES`].
const SIGNAL_COMMAND: u8 = 5;
/// The signal number that is the terminal.
const TERMINAL: u8 = 255;

/// The answer to a PING, on `d{token}`: nothing else feeds the device's watchdog.
pub(crate) const PONG: &[u8] = &[0x07];

/// Whether `frame` is a PING.
pub(crate) fn is_ping(frame: &[u8]) -> bool {
    matches!(frame, [header] if header & TYPE == PING)
}

/// Whether `frame` carries data of the user's program.
pub(crate) fn is_signal(frame: &[u8]) -> bool {
    matches!(frame, [header, SIGNAL_COMMAND, number, _, ..] if header & TYPE == PYBYTES && *number != TERMINAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_user_signals_are_signals() {
        assert!(is_signal(&[0x0e, 5, 1, 0, 0, 0, 25, 0]));
        assert!(is_signal(&[0x1e, 5, 0, 0x33]));
        for frame in [
            &[][..],
            &[0x00],
            &[0x0e],
            &[0x0e, 5, 1],
            &[0x0e, 5, 255, b'a', 0x33],
            &[0x0d, 5, 1, 2, 3],
            &[0x0e, 4, 1, 2],
        ] {
            assert!(!is_signal(frame), "{frame:?}");
        }
    }

    #[test]
    fn a_ping_is_one_byte_of_type_zero() {
        assert!(is_ping(&[0x00]) && is_ping(&[0x10]));
        assert!(!is_ping(&[]) && !is_ping(&[0x07]) && !is_ping(&[0, 0]));
    }
}
