// Encode, one warp a row: the row is read once and stays in registers until its codes are written.

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
        tq_store_units<TQ_PLANE_WORDS>(packed + row * tq_row_bytes(), planes, 0);
        if (tq_lane() == 0) tq_finish_row(scales, squares, faults, row, norm, e, root, a, q, unit_norm);
    }
}
