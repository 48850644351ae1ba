// The polar transform of rotated rows, one warp a row: pairs to codes of angles and lengths, level after level, in place;
// then the radii and the string of codes. `codes` is room for a byte a code.

// How many of 2^bits - 1 boundaries, cosine and sine each, the angle of (a, b) is above; a, b >= 0. They ascend, and so do
// the rounded products, so that a binary search counts them.
__device__ __forceinline__ unsigned tq_polar_count(const float* bounds, float a, float b, int bits) {
    unsigned code = 0;
    for (int bit = bits - 1; bit >= 0; bit--) {
        const float* const bound = bounds + 2 * (code + (1u << bit) - 1);
        if (b * bound[0] > a * bound[1]) code += 1u << bit;
    }
    return code;
}

// The sector of the circle: the quadrant by signs, a ray in it by comparison.
__device__ __forceinline__ unsigned tq_polar_sector(const tq_polar_level& level, const float* bounds, float a, float b) {
    const bool second = a <= 0.0f && b > 0.0f, third = a < 0.0f && b <= 0.0f, fourth = a >= 0.0f && b < 0.0f;
    const unsigned quadrant = second ? 1u : third ? 2u : fourth ? 3u : 0u;
    if (level.bits == 1) return quadrant >> 1;
    const bool swap = second || fourth;
    const float u = tq_float(tq_magnitude(tq_bits(swap ? b : a))), v = tq_float(tq_magnitude(tq_bits(swap ? a : b)));
    return (quadrant << (level.bits - 2)) + tq_polar_count(bounds, u, v, level.inner);
}

extern "C" __global__ void __launch_bounds__(32 * TQ_WARPS, 8) polar_codes(
    float* rows, const int* __restrict__ exponents, const int* __restrict__ shape, const float* __restrict__ tables,
    unsigned char* codes, unsigned char* __restrict__ packed, unsigned long long* faults, int dim, int levels,
    int table_floats, int half, int row_bytes, long long first, long long count) {
    TQ_SHARED_MEMORY(memory);
    float* const bounds = (float*)memory;
    for (int i = threadIdx.x; i < table_floats; i += 32 * TQ_WARPS) bounds[i] = tables[i];
    tq_sync_block();
    const int width = half ? 2 : 4, radii = dim >> levels;
    const long long stride = (long long)gridDim.x * TQ_WARPS;
    for (long long row = (long long)blockIdx.x * TQ_WARPS + tq_warp(); row < count; row += stride) {
        float* const r = rows + row * dim;
        unsigned char* own = codes + row * dim;
        unsigned char* const to = packed + row * row_bytes;
        for (int l = 0; l < levels; l++) {
            const tq_polar_level level = tq_load_polar(shape, l);
            const int pairs = dim >> (l + 1);
            for (int start = 0; start < pairs; start += 32) {
                const int j = start + tq_lane();
                const bool holds = j < pairs;
                const float a = holds ? r[2 * j] : 0.0f, b = holds ? r[2 * j + 1] : 0.0f;
                const float* const own_bounds = bounds + level.table;
                const unsigned code =
                    l ? tq_polar_count(own_bounds, a, b, level.inner) : tq_polar_sector(level, own_bounds, a, b);
                tq_sync_warp();
                if (holds) {
                    r[j] = tq_root(a * a + b * b);
                    own[j] = (unsigned char)code;
                }
            }
            tq_sync_warp();
            own += pairs;
        }
        for (int j = tq_lane(); j < radii; j += 32) {
            const float radius = tq_times_power(r[j], exponents[row]);
            unsigned bits = half ? tq_to_half(radius) : tq_bits(radius);
            if (half ? bits >= TQ_HALF_INFINITY : !tq_is_finite(radius)) tq_report(faults, TQ_FAULT_NORM, first + row, 0);
            for (int k = 0; k < width; k++) to[width * j + k] = (unsigned char)(bits >> 8 * k);
        }
        // A lane puts a byte of the string together, from the codes that have bits in it.
        const int begin = width * radii, total = tq_load_polar(shape, levels).start;
        for (int at = tq_lane(); 8 * at < total; at += 32) {
            unsigned byte = 0;
            int l = 0;
            const unsigned char* level_codes = codes + row * dim;
            for (int bit = 8 * at; bit < 8 * at + 8 && bit < total;) {
                while (bit >= tq_load_polar(shape, l + 1).start) level_codes += dim >> ++l;
                const tq_polar_level level = tq_load_polar(shape, l);
                const int j = (bit - level.start) / level.bits, done = bit - level.start - j * level.bits;
                byte |= (unsigned)level_codes[j] >> done << (bit & 7);
                bit += level.bits - done;
            }
            to[begin + at] = (unsigned char)byte;
        }
    }
}
