// Codes of a fitted codec from products with its axes (docs/numerics.md section 11, encode, from step 3 on): one warp a
// row, whose whitened and rotated axes lie in shared memory, or in scratch where they exceed it.
//
// Reads 4·TQ_AXES bytes a row and writes its code and scale. Sums over segments run in the order of segments.

// <y, c>, <c, c> and <y, y> of a row, weighted by the segments' variances; with WRITE also the row's units.
template <bool WRITE>
__device__ __forceinline__ void tq_assign_segments(const float* row, const int* shape, const float* reals,
                                                   const int* units, const float* tables, int trial,
                                                   unsigned char* packed, float& a, float& q, float& p) {
    a = q = p = 0.0f;
    for (int s = 0; s < TQ_SEGMENTS; s++) {
        const tq_segment segment = tq_load_segment(shape, s);
        const float* const bounds = tables + segment.table + (trial << segment.bits);
        const float* const level = tables + segment.table + (TQ_TRIALS << segment.bits);
        float a_part[2] = {0.0f, 0.0f}, q_part[2] = {0.0f, 0.0f}, p_part[2] = {0.0f, 0.0f};
#pragma unroll 1
        for (int first = 0; first < segment.axes; first += 64) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const int chunk = first + 32 * half;
                if (chunk >= segment.axes) continue;  // the same in all lanes
                const bool holds = chunk + tq_lane() < segment.axes;
                const float y = holds ? row[segment.start + chunk + tq_lane()] : 0.0f;
                int code = 0;
                unsigned plane = 0;  // of lane b: bit b of the codes of 32 axes
#pragma unroll 1
                for (int bit = segment.bits - 1; bit >= 0; bit--) {
                    const bool below = bounds[code + (1 << bit) - 1] < y;
                    if (below) code += 1 << bit;
                    if (WRITE) {
                        const unsigned word = tq_ballot(below && holds);
                        if (tq_lane() == bit) plane = word;
                    }
                }
                if (WRITE && tq_lane() < segment.bits) {
                    unsigned char* const unit = packed + units[8 * s + segment.bits - 1 - tq_lane()] + chunk / 8;
#pragma unroll
                    for (int k = 0; k < 4; k++) {
                        if (chunk + 8 * k < segment.axes) unit[k] = (unsigned char)(plane >> 8 * k);
                    }
                }
                const float c = holds ? level[code] : 0.0f;
                a_part[half] = a_part[half] + y * c;
                q_part[half] = q_part[half] + c * c;
                if (WRITE) p_part[half] = p_part[half] + y * y;
            }
        }
        const float weight = reals[2 * s + 1];
        const float a_term = weight * tq_warp_halve(a_part[0], a_part[1]);
        const float q_term = weight * tq_warp_halve(q_part[0], q_part[1]);
        a = s ? a + a_term : a_term;
        q = s ? q + q_term : q_term;
        if (WRITE) {
            const float p_term = weight * tq_warp_halve(p_part[0], p_part[1]);
            p = s ? p + p_term : p_term;
        }
    }
}

// The scale of a row of norm 1; TQ_SCALE: 0 unbiased, 1 mse, 2 matched.
__device__ __forceinline__ float tq_kept_scale(float a, float q, float p) {
    if (a == 0.0f || p == 0.0f) return 0.0f;
    if (TQ_SCALE == 0) return tq_divide(p, a);
    if (TQ_SCALE == 1) return tq_divide(a, q);
    return tq_root(tq_divide(p, q));
}

extern "C" __global__ void __launch_bounds__(32 * TQ_WARPS, 6) fitted_codes(
    const int* __restrict__ products, const float* __restrict__ norms, const int* __restrict__ exponents,
    const float* __restrict__ whiten, const int* __restrict__ shape, const float* __restrict__ reals,
    const unsigned* __restrict__ signs, const unsigned short* __restrict__ source, const int* __restrict__ units,
    const float* __restrict__ tables, unsigned char* __restrict__ packed, float* __restrict__ scales,
    unsigned long long* faults, int without_norm, int row_bytes, long long first, long long rows, float* scratch) {
    TQ_SHARED_MEMORY(memory);
    float* const shared = (float*)memory;
    const float* found = tables;
    if (TQ_TABLE_FLOATS) {
        for (int i = threadIdx.x; i < TQ_TABLE_FLOATS; i += 32 * TQ_WARPS) shared[i] = tables[i];
        tq_sync_block();
        found = shared;
    }
    const tq_axes_row axes = tq_axes_memory(shared + TQ_TABLE_FLOATS, scratch);
    const long long stride = (long long)gridDim.x * TQ_WARPS;
    for (long long row = (long long)blockIdx.x * TQ_WARPS + tq_warp(); row < rows; row += stride) {
        const int* const t = products + row * TQ_AXES;
        for (int s = 0; s < TQ_SEGMENTS; s++) {
            const tq_segment segment = tq_load_segment(shape, s);
            tq_rotate_segment(axes, segment, reals[2 * s], signs, source, [&](int i) {
                return tq_to_float(t[segment.start + i]) * whiten[segment.start + i];
            });
        }
        float a, q, p;
        int best = 0;
        if (TQ_TRIALS > 1) {
            float most = 0.0f;
            for (int trial = 0; trial < TQ_TRIALS; trial++) {
                tq_assign_segments<false>(axes.row, shape, reals, units, found, trial, nullptr, a, q, p);
                const float cosine = tq_divide(a, tq_root(q));
                if (trial == 0 || cosine > most) {
                    most = cosine;
                    best = trial;
                }
            }
        }
        tq_assign_segments<true>(axes.row, shape, reals, units, found, best, packed + row * row_bytes, a, q, p);
        if (tq_lane() == 0) {
            const float k = tq_kept_scale(a, q, p);
            const float scale = without_norm ? k : tq_times_power(k * norms[row], exponents[row]);
            scales[row] = scale;
            if (!without_norm && !tq_is_finite(scale)) tq_report(faults, TQ_FAULT_NORM, first + row, 0);
        }
    }
}
