//! The integrity tag of a Retry packet (RFC 9001 §5.8).

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// The tag over `packet`, a Retry without its tag.
pub(super) fn tag(orig_dst_cid: &[u8], packet: &[u8]) -> [u8; 16] {
    let tag = key()
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(NONCE),
            Aad::from(pseudo_packet(orig_dst_cid, &[packet])),
            &mut [],
        )
        .expect("nothing is sealed, so nothing is too long");
    let mut bytes = [0; 16];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

/// Whether `payload`, what follows the header of a Retry, ends in the right tag.
pub(super) fn is_valid(orig_dst_cid: &[u8], header: &[u8], payload: &[u8]) -> bool {
    let Some((token, tag)) = payload.split_last_chunk::<16>() else { return false };
    let mut tag = *tag;
    let aad = Aad::from(pseudo_packet(orig_dst_cid, &[header, token]));
    // req: 9001-5.8-retry-tag
    key().open_in_place(Nonce::assume_unique_for_key(NONCE), aad, &mut tag).is_ok()
}

/// What the tag covers: the connection ID that the client chose first, then the packet.
fn pseudo_packet(orig_dst_cid: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let length = u8::try_from(orig_dst_cid.len()).expect("a connection ID has 20 bytes at most");
    let mut bytes = vec![length];
    bytes.extend_from_slice(orig_dst_cid);
    for part in parts {
        bytes.extend_from_slice(part);
    }
    bytes
}

fn key() -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &KEY).expect("the key has 16 bytes"))
}

/// Key and nonce of version 1, public constants (RFC 9001 §5.8).
const KEY: [u8; 16] = 0xbe0c_690b_9f66_575a_1d76_6b54_e368_c84e_u128.to_be_bytes();
const NONCE: [u8; 12] = [0x46, 0x15, 0x99, 0xd3, 0x5d, 0x63, 0x2b, 0xf2, 0x23, 0x98, 0x25, 0xbb];

#[cfg(test)]
mod tests {
    use super::*;

    /// The sample Retry of RFC 9001 §A.4.
    #[test]
    // req: 9001-5.8-retry-tag
    fn the_tag_of_the_sample_in_rfc_9001_is_the_same() {
        let orig_dst_cid = 0x8394_c8f0_3e51_5708_u64.to_be_bytes();
        let header = [0xff, 0, 0, 0, 1, 0, 8, 0xf0, 0x67, 0xa5, 0x50, 0x2a, 0x42, 0x62, 0xb5];
        let tag_of_sample = 0x04a2_65ba_2eff_4d82_9058_fb3f_0f24_96ba_u128.to_be_bytes();
        let packet = [&header[..], b"token"].concat();
        assert_eq!(tag(&orig_dst_cid, &packet), tag_of_sample);

        let mut payload = [&b"token"[..], &tag_of_sample].concat();
        assert!(is_valid(&orig_dst_cid, &header, &payload));
        payload[0] ^= 1;
        assert!(!is_valid(&orig_dst_cid, &header, &payload));
        assert!(!is_valid(&orig_dst_cid, &header, &payload[..15]), "too short for a tag");
    }
}
