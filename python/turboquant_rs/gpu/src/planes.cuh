// Codes as planes of bits, 32 coordinates a word, to the units of a row.

// Spread the 16 bits of a half word to the even bits of a word.
__device__ __forceinline__ unsigned tq_spread(unsigned half) {
    half = (half | half << 8) & 0x00ff00ffu;
    half = (half | half << 4) & 0x0f0f0f0fu;
    half = (half | half << 2) & 0x33333333u;
    return (half | half << 1) & 0x55555555u;
}

// Write word `at` of a unit of `bytes` bytes.
__device__ __forceinline__ void tq_store_word(unsigned char* unit, int at, unsigned word, int bytes) {
    if (TQ_WHOLE_WORDS) {
        if (4 * at < bytes) ((unsigned*)unit)[at] = word;
    } else {
#pragma unroll
        for (int k = 0; k < 4; k++) {
            if (4 * at + k < bytes) unit[4 * at + k] = (unsigned char)(word >> 8 * k);
        }
    }
}

// Write the units of a row, or some of their words; planes[b][k] of lane l holds bit b of the codes of coordinates
// 32·(first + 32·k + l) and on.
template <int WORDS>
__device__ __forceinline__ void tq_store_units(unsigned char* row, const unsigned (&planes)[8][WORDS], int first) {
    int left = TQ_BITS, offset = 0;
#pragma unroll
    for (int unit = 0; unit < TQ_MOST_UNITS; unit++) {
        const int width = tq_unit_width(unit), bytes = tq_unit_bytes(width);
        left -= width;
#pragma unroll
        for (int k = 0; k < WORDS; k++) {
            const int at = first + 32 * k + tq_lane();
            if (width == 1) tq_store_word(row + offset, at, planes[left][k], bytes);
            if (width == 2) {
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    const unsigned low = planes[left][k] >> 16 * half & 0xffffu;
                    const unsigned high = planes[left + 1][k] >> 16 * half & 0xffffu;
                    tq_store_word(row + offset, 2 * at + half, tq_spread(low) | tq_spread(high) << 1, bytes);
                }
            }
            if (width == 4) {
#pragma unroll
                for (int quarter = 0; quarter < 4; quarter++) {
                    unsigned word = 0;
#pragma unroll
                    for (int b = 0; b < 4; b++) {
                        const unsigned bits = planes[left + b][k] >> 8 * quarter & 0xffu;
                        word |= tq_spread(tq_spread(bits)) << b;
                    }
                    tq_store_word(row + offset, 4 * at + quarter, word, bytes);
                }
            }
        }
        offset += bytes;
    }
}
