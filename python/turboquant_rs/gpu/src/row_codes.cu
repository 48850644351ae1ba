// Codes of rotated rows, one warp a row, read from memory: of rows by a dense rotation (docs/numerics.md sections 6 to 8),
// which are products with its matrix, or the levels of TurboQuantProd (docs/numerics-papers.md section 5), TQ_RESIDUAL. Of
// those, `rows` hold R x′ and then u = y − c, and `left` its norm; scales are two a row.

// Coordinate i of the rotated row.
__device__ __forceinline__ float tq_rotated(const float* values, int i, float unit) {
    return TQ_RESIDUAL ? values[i] : tq_to_float((int)tq_bits(values[i])) * unit;
}

// The codes that `bounds` give: with WRITE to the row's units. Leaves <y, c> and <c, c>; of TQ_RESIDUAL <u, u> in `a`.
template <bool WRITE>
__device__ __forceinline__ void tq_code_row(float* values, float unit, float gain, bool zero, const float* bounds,
                                            const float* level, unsigned char* units, float& a, float& q) {
    float a_even = 0.0f, a_odd = 0.0f, q_even = 0.0f, q_odd = 0.0f;
    for (int start = 0; start < TQ_DIM; start += 1024) {
        unsigned planes[8][1] = {};
#pragma unroll 2
        for (int k = 0; k < 32; k++) {
            if (start + 32 * k >= TQ_DIM) break;
            const int i = start + 32 * k + tq_lane();
            const bool holds = i < TQ_DIM;
            const float y = holds ? tq_rotated(values, i, unit) * gain : 0.0f;
            const unsigned offset = tq_code_offset(bounds, y, [&](int bit, bool below) {
                if (!WRITE) return;
                const unsigned word = tq_ballot(below && holds);
                planes[bit][0] = tq_lane() == k ? word : planes[bit][0];
            });
            const float c = holds ? tq_level(level, offset) : 0.0f;
            float first = y * c, second = c * c;
            if (TQ_RESIDUAL) {
                const float u = holds && !zero ? y - c : 0.0f;
                if (holds) values[i] = u;
                first = u * u;
                second = 0.0f;
            }
            if (k & 1) {
                a_odd = a_odd + first;
                q_odd = q_odd + second;
            } else {
                a_even = a_even + first;
                q_even = q_even + second;
            }
        }
        if (WRITE) tq_store_units<1>(units, planes, start / 32);
    }
    a = tq_warp_halve(a_even, a_odd);
    q = tq_warp_halve(q_even, q_odd);
}

extern "C" __global__ void __launch_bounds__(32 * TQ_WARPS, 8) row_codes(
    float* rows, const float* __restrict__ norms, const int* __restrict__ exponents, const float* __restrict__ tables,
    unsigned char* __restrict__ packed, float* __restrict__ scales, float* __restrict__ left, unsigned long long* faults,
    float root, float step, int row_bytes, long long first, long long count) {
    TQ_SHARED_MEMORY(memory);
    float* const bounds = (float*)memory;
    const float* const level = bounds + (TQ_TRIALS << TQ_BITS);
    for (int i = threadIdx.x; i < (TQ_TRIALS + 1) << TQ_BITS; i += 32 * TQ_WARPS) bounds[i] = tables[i];
    tq_sync_block();
    const long long stride = (long long)gridDim.x * TQ_WARPS;
    for (long long row = (long long)blockIdx.x * TQ_WARPS + tq_warp(); row < count; row += stride) {
        float* const values = rows + row * TQ_DIM;
        unsigned char* const units = packed + (first + row) * row_bytes;
        const float norm = norms[row], gain = tq_divide(root, norm == 0.0f ? 1.0f : norm);
        const float unit = TQ_RESIDUAL ? 1.0f : tq_divide(norm, 32000.0f) * step;
        const bool zero = norm == 0.0f;
        float a, q;
        int best = 0;
        if (TQ_TRIALS > 1) {
            float most = 0.0f;
            for (int trial = 0; trial < TQ_TRIALS; trial++) {
                tq_code_row<false>(values, unit, gain, zero, bounds + (trial << TQ_BITS), level, units, a, q);
                const float cosine = tq_divide(a, tq_root(q));
                if (trial == 0 || cosine > most) {
                    most = cosine;
                    best = trial;
                }
            }
        }
        tq_code_row<true>(values, unit, gain, zero, bounds + (best << TQ_BITS), level, units, a, q);
        if (tq_lane() != 0) continue;
        if (TQ_RESIDUAL) {
            const float length = tq_root(a), inverse = tq_divide(1.0f, root);
            const float scale = tq_times_power(length * inverse * norm, exponents[row]);
            left[row] = length;
            scales[2 * (first + row)] = tq_times_power(inverse * norm, exponents[row]);
            scales[2 * (first + row) + 1] = scale;
            if (!tq_is_finite(scale)) tq_report(faults, TQ_FAULT_NORM, first + row, 0);
        } else {
            tq_finish_row(scales, nullptr, faults, first + row, norm, exponents[row], root, a, q, false);
        }
    }
}
