//! Plain packing, a byte of output at a time.

#[inline(always)]
pub(super) fn pack(codes: &[u8], width: u32, shift: u32, unit: &mut [u8]) {
    let mask = (1_u8 << width) - 1;
    for (codes, byte) in codes.chunks(8 / width as usize).zip(unit) {
        *byte = codes.iter().rev().fold(0, |byte, code| byte << (width & 7) | ((code >> shift) & mask));
    }
}

#[inline(always)]
pub(super) fn unpack(unit: &[u8], width: u32, codes: &mut [u8]) {
    let mask = (1_u8 << width) - 1;
    for (codes, byte) in codes.chunks_mut(8 / width as usize).zip(unit) {
        let mut byte = *byte;
        for code in codes {
            *code = *code << width | (byte & mask);
            byte >>= width;
        }
    }
}
