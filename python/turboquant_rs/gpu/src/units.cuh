// Units of a code, most significant bits first (docs/numerics.md section 8): 1 1 2, then what is left of TQ_BITS.

// Width of unit `unit` of a TQ_BITS-bit code, 0 past the last.
__device__ __forceinline__ int tq_unit_width(int unit) {
    if (TQ_BITS == 3) return unit == 0 ? 1 : unit == 1 ? 2 : 0;
    if (unit < 2) return unit < TQ_BITS ? 1 : 0;
    if (unit == 2) return TQ_BITS >= 4 ? 2 : 0;
    if (unit == 3) return TQ_BITS == 5 || TQ_BITS == 7 ? 1 : TQ_BITS == 6 ? 2 : TQ_BITS == 8 ? 4 : 0;
    return unit == 4 && TQ_BITS == 7 ? 2 : 0;
}
#define TQ_MOST_UNITS 5

// Bytes that a unit of `width` bits takes in a row.
__device__ __forceinline__ int tq_unit_bytes(int width) { return (TQ_DIM * width + 7) / 8; }

// Bytes of a packed row of the top TQ_KEEP bits.
__device__ __forceinline__ int tq_row_bytes() {
    int bytes = 0, taken = 0;
#pragma unroll
    for (int unit = 0; unit < TQ_MOST_UNITS; unit++) {
        const int width = tq_unit_width(unit);
        if (width && taken < TQ_KEEP) {
            bytes += tq_unit_bytes(width);
            taken += width;
        }
    }
    return bytes;
}

// The top TQ_KEEP bits of the code of coordinate i of a packed row.
__device__ __forceinline__ int tq_unpack(const unsigned char* row, int i) {
    int code = 0, offset = 0, taken = 0;
#pragma unroll
    for (int unit = 0; unit < TQ_MOST_UNITS; unit++) {
        const int width = tq_unit_width(unit);
        if (width && taken < TQ_KEEP) {
            const int bit = i * width;
            code = code << width | (row[offset + bit / 8] >> (bit & 7) & ((1 << width) - 1));
            offset += tq_unit_bytes(width);
            taken += width;
        }
    }
    return code;
}
