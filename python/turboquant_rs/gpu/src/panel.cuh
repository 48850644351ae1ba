// Codes to integer levels, eight coordinates at a time: eight coordinates fill whole bytes of every unit.

// Integer levels that are looked up: sixteen signed bytes in registers (widths 1–4), or a table of two bytes each in
// shared memory, high in the upper byte (widths from 5). Signs of a sketch (TQ_SKETCH) are levels of one byte, ±1, of which
// the queries have two bytes an integer all the same.
#define TQ_TWO_BYTE_LEVELS (TQ_WIDE && !TQ_SKETCH)

// Codes lie from byte TQ_ROW_START of rows of TQ_ROW_BYTES on, and their scale is number TQ_NORM of TQ_NORMS.

struct tq_levels {
    unsigned words[4];
    const unsigned short* wide;
};

__device__ __forceinline__ tq_levels tq_load_levels(const short* levels, unsigned short* shared, int threads) {
    tq_levels table;
    table.wide = shared;
    for (int i = threadIdx.x; TQ_TWO_BYTE_LEVELS && i < 1 << TQ_KEEP; i += threads) {
        const int high = (levels[i] + 64) >> 7, low = levels[i] - 128 * high;
        shared[i] = (unsigned short)((high & 0xff) << 8 | (low & 0xff));
    }
#pragma unroll
    for (int k = 0; k < 4; k++) {
        unsigned word = 0;
#pragma unroll
        for (int b = 0; b < 4; b++) {
            const int i = 4 * k + b;
            if (!TQ_TWO_BYTE_LEVELS && i < 1 << TQ_KEEP) word |= ((unsigned)levels[i] & 0xffu) << 8 * b;
        }
        table.words[k] = word;
    }
    tq_sync_block();
    return table;
}

// `width` bytes (of a unit of that many bits) of granule g; bytes past the unit's end are 0.
__device__ __forceinline__ unsigned tq_unit_granule(const unsigned char* unit, int width, int g) {
    if (TQ_WHOLE_WORDS && width == 4) return ((const unsigned*)unit)[g];
    if (TQ_WHOLE_WORDS && width == 2) return ((const unsigned short*)unit)[g];
    unsigned word = 0;
#pragma unroll
    for (int k = 0; k < 4; k++) {
        if (k < width && g * width + k < tq_unit_bytes(width)) word |= (unsigned)unit[g * width + k] << 8 * k;
    }
    return word;
}

// The codes of granule g: bits 0–3 of the eight in the nibbles of `low`, bits 4–7 in those of `high`.
__device__ __forceinline__ void tq_granule(const unsigned char* row, int g, unsigned& low, unsigned& high) {
    int offset = 0, taken = 0;
    low = high = 0;
#pragma unroll
    for (int unit = 0; unit < TQ_MOST_UNITS; unit++) {
        const int width = tq_unit_width(unit);
        if (width && taken < TQ_KEEP) {
            taken += width;
            const unsigned field = tq_to_nibbles(tq_unit_granule(row + offset, width, g), width);
            const int shift = TQ_KEEP - taken;  // where the unit's lowest bit belongs in a code
            if (shift >= 4) {
                high |= field << (shift - 4);
            } else if (shift + width > 4) {  // the two bits at 3 and 4 that a 7-bit code has
                low |= (field & 0x11111111u) << 3;
                high |= field >> 1 & 0x11111111u;
            } else {
                low |= field << shift;
            }
            offset += tq_unit_bytes(width);
        }
    }
}

// Four nibbles of `codes` from nibble `first` to four levels of one byte each.
__device__ __forceinline__ unsigned tq_look_up(const tq_levels& table, unsigned codes, int first) {
    codes >>= 4 * first;
    if (TQ_KEEP <= 2) return tq_choose_bytes(table.words[0], table.words[0], codes & 0x3333u);
    if (TQ_KEEP == 3) return tq_choose_bytes(table.words[0], table.words[1], codes & 0x7777u);
    return tq_of_sixteen(table.words, codes);
}

// Levels of the eight coordinates of granule g: in `high`, or, of two bytes, their high and low bytes.
__device__ __forceinline__ void tq_granule_levels(const tq_levels& table, const unsigned char* row, int g,
                                                  unsigned (&high)[2], unsigned (&low)[2]) {
    unsigned codes, upper;
    tq_granule(row, g, codes, upper);
#pragma unroll
    for (int half = 0; half < 2; half++) {
        low[half] = 0;
        if (TQ_TWO_BYTE_LEVELS) {
            high[half] = 0;
#pragma unroll
            for (int k = 0; k < 4; k++) {
                const int shift = 4 * (4 * half + k);
                const unsigned level = table.wide[(codes >> shift & 15u) | (upper >> shift & 15u) << 4];
                high[half] |= level >> 8 << 8 * k;
                low[half] |= (level & 0xffu) << 8 * k;
            }
        } else {
            high[half] = tq_look_up(table, codes, 4 * half);
        }
    }
}

// The score of a query and a row from their integer products, rounded once.
__device__ __forceinline__ float tq_score(int hh, int cross, int ll, float worth, float scale) {
    float product;
    if (TQ_SKETCH) {
        product = tq_to_float(hh * 128 + ll);  // at most 16,319 · 65,536 < 2^30
    } else if (TQ_WIDE) {
        product = tq_to_float((long long)hh * 16384 + (long long)cross * 128 + (long long)ll);
    } else {
        product = tq_to_float(hh);
    }
    return tq_product(worth * product, scale);
}

// Keep a score. TQ_ADDED: added to the one that is there, unless that is ±inf, which decides.
__device__ __forceinline__ void tq_keep_score(float* out, float score) {
    if (TQ_ADDED) {
        const float share = *out;
        *out = (tq_bits(share) & 0x7fffffffu) == 0x7f800000u ? share : tq_sum(share, score);
    } else {
        *out = score;
    }
}
