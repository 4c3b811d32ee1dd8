//! SETTINGS (RFC 9114 §7.2.4): what each side announces once, as the first frame of its control stream.

use bytes::{Buf, Bytes, BytesMut};

use crate::{PeerMisbehaved, frame, varint};

/// Settings of one side (RFC 9114 §7.2.4.1, RFC 9204 §5, RFC 9220 §3, RFC 9297 §2.1.1).
///
/// [`Settings::default`] is what holds until a SETTINGS frame arrives.
///
/// # Wire format (RFC 9114 §7.2.4)
/// ```text
/// SETTINGS { Type (i) = 0x04, Length (i), Setting { Identifier (i), Value (i) } … }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// SETTINGS_MAX_FIELD_SECTION_SIZE, in bytes as RFC 9114 §4.2.2 counts; `None` is no limit.
    pub max_field_section_size: Option<u64>,
    /// SETTINGS_QPACK_MAX_TABLE_CAPACITY, in bytes as RFC 9204 §3.2.1 counts.
    pub qpack_max_table_capacity: u64,
    /// SETTINGS_QPACK_BLOCKED_STREAMS.
    pub qpack_blocked_streams: u64,
    /// SETTINGS_ENABLE_CONNECT_PROTOCOL; means something from a server only.
    pub enable_connect_protocol: bool,
    /// SETTINGS_H3_DATAGRAM.
    pub h3_datagram: bool,
}

impl Settings {
    /// Reads the payload of a SETTINGS frame; unknown settings are ignored.
    ///
    /// # Errors
    /// The rule that the frame breaks.
    pub(crate) fn parse(mut payload: Bytes) -> Result<Self, PeerMisbehaved> {
        let mut settings = Self::default();
        let mut seen = Vec::new();
        while payload.has_remaining() {
            // req: 9114-7.1-payload-fits
            let id = integer(&mut payload).ok_or(PeerMisbehaved::FrameLength)?;
            let value = integer(&mut payload).ok_or(PeerMisbehaved::FrameLength)?;
            settings.set(id, value)?;
            seen.push(id);
        }
        // req: 9114-7.2.4-no-duplicates
        // Sorted, because a frame full of settings must not cost its square.
        seen.sort_unstable();
        if seen.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(PeerMisbehaved::SettingTwice);
        }
        Ok(settings)
    }

    /// Appends a whole SETTINGS frame. What is at its default is left out; `grease` adds a reserved setting.
    pub(crate) fn write(&self, grease: bool, out: &mut BytesMut) {
        let mut payload = BytesMut::with_capacity(64);
        let mut put = |id, value| {
            varint::write(id, &mut payload);
            varint::write(value, &mut payload);
        };
        if let Some(size) = self.max_field_section_size {
            put(MAX_FIELD_SECTION_SIZE, size.min(varint::MAX));
        }
        if self.qpack_max_table_capacity > 0 {
            put(QPACK_MAX_TABLE_CAPACITY, self.qpack_max_table_capacity.min(varint::MAX));
        }
        if self.qpack_blocked_streams > 0 {
            put(QPACK_BLOCKED_STREAMS, self.qpack_blocked_streams.min(varint::MAX));
        }
        if self.enable_connect_protocol {
            put(ENABLE_CONNECT_PROTOCOL, 1);
        }
        if self.h3_datagram {
            put(H3_DATAGRAM, 1);
        }
        if grease {
            // req: 9114-7.2.4.1-send-grease
            put(frame::reserved(GREASE), GREASE);
        }
        frame::write_header(frame::SETTINGS, payload.len() as u64, out);
        out.extend_from_slice(&payload);
    }

    /// Whether a client that relied on `remembered` for 0-RTT is now given less.
    pub(crate) fn is_less_than(&self, remembered: &Self) -> bool {
        let limit = |settings: &Self| settings.max_field_section_size.unwrap_or(u64::MAX);
        limit(self) < limit(remembered)
            || self.qpack_blocked_streams < remembered.qpack_blocked_streams
            || (remembered.enable_connect_protocol && !self.enable_connect_protocol)
            || (remembered.h3_datagram && !self.h3_datagram)
            // RFC 9204 §3.2.3 asks for the very value, as the table may be in use, unless it was zero.
            || (remembered.qpack_max_table_capacity != 0
                && self.qpack_max_table_capacity != remembered.qpack_max_table_capacity)
    }

    fn set(&mut self, id: u64, value: u64) -> Result<(), PeerMisbehaved> {
        match id {
            MAX_FIELD_SECTION_SIZE => self.max_field_section_size = Some(value),
            QPACK_MAX_TABLE_CAPACITY => self.qpack_max_table_capacity = value,
            QPACK_BLOCKED_STREAMS => self.qpack_blocked_streams = value,
            // req: 9220-3-boolean
            ENABLE_CONNECT_PROTOCOL => self.enable_connect_protocol = boolean(value)?,
            // req: 9297-2.1.1-boolean
            H3_DATAGRAM => self.h3_datagram = boolean(value)?,
            // req: 9114-7.2.4.1-http2-settings
            0x00 | 0x02..=0x05 => return Err(PeerMisbehaved::Http2Setting),
            // req: 9114-7.2.4-ignore-unknown
            // req: 9114-7.2.4.1-ignore-reserved
            _ => {}
        }
        Ok(())
    }
}

fn integer(payload: &mut Bytes) -> Option<u64> {
    let (value, len) = varint::read(payload)?;
    payload.advance(len);
    Some(value)
}

const fn boolean(value: u64) -> Result<bool, PeerMisbehaved> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(PeerMisbehaved::SettingNotBoolean),
    }
}

/// Largest SETTINGS payload that we read, in bytes. Room for some hundred settings; implementations send ten.
pub(crate) const MAX_PAYLOAD: u64 = 4096;

const QPACK_MAX_TABLE_CAPACITY: u64 = 0x01;
const MAX_FIELD_SECTION_SIZE: u64 = 0x06;
const QPACK_BLOCKED_STREAMS: u64 = 0x07;
const ENABLE_CONNECT_PROTOCOL: u64 = 0x08;
const H3_DATAGRAM: u64 = 0x33;

/// Which of the reserved settings we send; a sans-IO crate has no dice, and any will do.
const GREASE: u64 = 0x1a5;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(payload: &'static [u8]) -> Result<Settings, PeerMisbehaved> {
        Settings::parse(Bytes::from_static(payload))
    }

    #[test]
    fn what_is_written_is_read() {
        let settings = Settings {
            max_field_section_size: Some(65_536),
            qpack_max_table_capacity: 4096,
            qpack_blocked_streams: 100,
            enable_connect_protocol: true,
            h3_datagram: true,
        };
        for grease in [false, true] {
            let mut out = BytesMut::new();
            settings.write(grease, &mut out);
            assert_eq!(out.first(), Some(&0x04));
            assert_eq!(usize::from(out[1]), out.len() - 2);
            assert_eq!(Settings::parse(out.split_off(2).freeze()), Ok(settings.clone()));
        }
    }

    #[test]
    fn unknown_and_reserved_settings_are_ignored() {
        // req: 9114-7.2.4-ignore-unknown
        // req: 9114-7.2.4.1-ignore-reserved
        assert_eq!(parse(&[0x21, 0x07, 0x40, 0xff, 0x01]), Ok(Settings::default()));
    }

    #[test]
    fn settings_of_http2_are_refused() {
        // req: 9114-7.2.4.1-http2-settings
        for id in [0x00, 0x02, 0x03, 0x04, 0x05] {
            let payload = Bytes::copy_from_slice(&[id, 0x00]);
            assert_eq!(Settings::parse(payload), Err(PeerMisbehaved::Http2Setting), "{id:#x}");
        }
    }

    #[test]
    fn a_setting_may_occur_once() {
        // req: 9114-7.2.4-no-duplicates
        assert_eq!(parse(&[0x07, 0x01, 0x07, 0x01]), Err(PeerMisbehaved::SettingTwice));
        assert_eq!(parse(&[0x21, 0x01, 0x07, 0x01, 0x21, 0x02]), Err(PeerMisbehaved::SettingTwice));
    }

    #[test]
    fn a_flag_is_zero_or_one() {
        // req: 9220-3-boolean
        assert_eq!(parse(&[0x08, 0x02]), Err(PeerMisbehaved::SettingNotBoolean));
        // req: 9297-2.1.1-boolean
        assert_eq!(parse(&[0x33, 0x02]), Err(PeerMisbehaved::SettingNotBoolean));
    }

    #[test]
    fn a_cut_setting_is_a_frame_error() {
        // req: 9114-7.1-payload-fits
        assert_eq!(parse(&[0x07]), Err(PeerMisbehaved::FrameLength));
        assert_eq!(parse(&[0x07, 0x40]), Err(PeerMisbehaved::FrameLength));
    }

    #[test]
    fn smaller_settings_than_remembered_are_seen() {
        let remembered = Settings {
            max_field_section_size: Some(1000),
            qpack_max_table_capacity: 100,
            qpack_blocked_streams: 10,
            enable_connect_protocol: true,
            h3_datagram: true,
        };
        assert!(!remembered.is_less_than(&remembered));
        let less = [
            Settings { max_field_section_size: Some(999), ..remembered.clone() },
            Settings { qpack_max_table_capacity: 101, ..remembered.clone() },
            Settings { qpack_blocked_streams: 9, ..remembered.clone() },
            Settings { enable_connect_protocol: false, ..remembered.clone() },
            Settings { h3_datagram: false, ..remembered.clone() },
        ];
        for settings in less {
            assert!(settings.is_less_than(&remembered), "{settings:?}");
        }
        let more = Settings { max_field_section_size: None, ..remembered.clone() };
        assert!(!more.is_less_than(&remembered));
    }
}
