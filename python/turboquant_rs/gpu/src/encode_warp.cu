// Encode, one warp a row: the row is read once and stays in registers until its codes are written.

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

// Write the units of a row; planes[b][k] of lane l holds bit b of the codes of coordinates 32·(32·k + l) and on.
__device__ __forceinline__ void tq_store_units(unsigned char* row, const unsigned (&planes)[8][TQ_PLANE_WORDS]) {
    int left = TQ_BITS, offset = 0;
#pragma unroll
    for (int unit = 0; unit < TQ_MOST_UNITS; unit++) {
        const int width = tq_unit_width(unit), bytes = tq_unit_bytes(width);
        left -= width;
#pragma unroll
        for (int k = 0; k < TQ_PLANE_WORDS; k++) {
            const int at = 32 * k + tq_lane();
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

// <y, c> and <c, c> of a row with the codes that `bounds` give; with WRITE also the planes of the codes.
template <bool WRITE>
__device__ __forceinline__ void tq_warp_assign(const tq_row& y, const float* bounds, const float* level, float& a,
                                               float& q, unsigned (&planes)[8][TQ_PLANE_WORDS]) {
    float a_even = 0.0f, a_odd = 0.0f, q_even = 0.0f, q_odd = 0.0f;
#pragma unroll
    for (int j = 0; j < TQ_SLOTS_USED; j++) {
        const unsigned offset = tq_code_offset(bounds, y[j], [&](int bit, bool below) {
            if (!WRITE) return;
            const unsigned word = tq_ballot(below && tq_holds(j));
            if (tq_lane() == (j & 31)) planes[bit][j / 32] = word;
        });
        const float c = tq_holds(j) ? tq_level(level, offset) : 0.0f;
        if (j & 1) {
            a_odd = a_odd + y[j] * c;
            q_odd = q_odd + c * c;
        } else {
            a_even = a_even + y[j] * c;
            q_even = q_even + c * c;
        }
    }
    a = tq_warp_halve(a_even, a_odd);
    q = tq_warp_halve(q_even, q_odd);
}

extern "C" __global__ void __launch_bounds__(32 * TQ_WARPS, TQ_RESIDENT) encode_warp(
    const float* __restrict__ x, const float* __restrict__ tables, const unsigned* __restrict__ signs,
    const unsigned short* __restrict__ places, float factor, unsigned char* __restrict__ packed,
    float* __restrict__ scales, float* __restrict__ squares, unsigned long long* faults, float root, int unit_norm,
    long long rows) {
    TQ_SHARED_MEMORY(memory);
    float* const bounds = (float*)memory;
    const float* const level = bounds + (TQ_TRIALS << TQ_BITS);
    float* const buffer = bounds + TQ_TABLE_BYTES / 4 + tq_warp() * TQ_WARP_FLOATS;
    for (int i = threadIdx.x; i < (TQ_TRIALS + 1) << TQ_BITS; i += 32 * TQ_WARPS) bounds[i] = tables[i];
    tq_sync_block();

    const long long stride = (long long)gridDim.x * TQ_WARPS;
    for (long long row = (long long)blockIdx.x * TQ_WARPS + tq_warp(); row < rows; row += stride) {
        tq_row v;
        int e;
        float norm;
        if (!tq_warp_prepare(v, x + row * TQ_DIM, faults, row, e, norm)) continue;
        tq_warp_rotate(v, buffer, signs, places, factor);
        const float gain = tq_divide(root, norm == 0.0f ? 1.0f : norm) * TQ_LAST_FACTOR;
#pragma unroll
        for (int j = 0; j < TQ_SLOTS_USED; j++) v[j] = tq_holds(j) ? v[j] * gain : 0.0f;

        unsigned planes[8][TQ_PLANE_WORDS] = {};
        float a, q;
        int best = 0;
        if (TQ_TRIALS > 1) {
            float most = 0.0f;
            for (int trial = 0; trial < TQ_TRIALS; trial++) {
                tq_warp_assign<false>(v, bounds + (trial << TQ_BITS), level, a, q, planes);
                const float cosine = tq_divide(a, tq_root(q));
                if (trial == 0 || cosine > most) {
                    most = cosine;
                    best = trial;
                }
            }
        }
        tq_warp_assign<true>(v, bounds + (best << TQ_BITS), level, a, q, planes);
        tq_store_units(packed + row * tq_row_bytes(), planes);
        if (tq_lane() == 0) tq_finish_row(scales, squares, faults, row, norm, e, root, a, q, unit_norm);
    }
}
