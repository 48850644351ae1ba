// Scales of codes of a fitted codec that lose their last units (docs/numerics.md section 11): one warp a row, unit after
// unit, each a factor from sums of the levels before and after. Only the sums of the unit's own segment change.

// The level of axis i of a segment by its `kept` most significant bits; `places` has where each number's levels start.
__device__ __forceinline__ float tq_kept_level(const unsigned char* packed, const int* units, const float* tables,
                                               const int* places, int kept, int held, int i) {
    return tables[places[kept] + (tq_unit_code(packed, units, held, i) >> (held - kept))];
}

// All lanes have and write the same value, so that each reads what it wrote itself; first, all have read what was there.
__device__ __forceinline__ void tq_set_square(float* squares, int s, float value) {
    tq_sync_warp();
    squares[s] = value;
}

extern "C" __global__ void __launch_bounds__(32 * TQ_WARPS, 6) fitted_cut(
    const unsigned char* __restrict__ packed, const float* __restrict__ scales, const int* __restrict__ shape,
    const float* __restrict__ reals, const int* __restrict__ units, const float* __restrict__ tables,
    const int* __restrict__ places, const int* __restrict__ dropped, float* __restrict__ out, int row_bytes, int drops,
    long long rows) {
    TQ_SHARED_MEMORY(memory);
    float* const squares = (float*)memory + tq_warp() * TQ_SEGMENTS;
    const long long stride = (long long)gridDim.x * TQ_WARPS;
    for (long long row = (long long)blockIdx.x * TQ_WARPS + tq_warp(); row < rows; row += stride) {
        const unsigned char* const codes = packed + row * row_bytes;
        for (int s = 0; s < TQ_SEGMENTS; s++) {
            const tq_segment segment = tq_load_segment(shape, s);
            const float sum = tq_stream_sum(segment.axes, [&](int i) {
                const float c = tq_kept_level(codes, units + 8 * s, tables, places + 9 * s, segment.bits, segment.bits, i);
                return c * c;
            });
            tq_set_square(squares, s, sum);
        }
        float scale = scales[row];
        for (int drop = 0; drop < drops; drop++) {
            const int s = dropped[2 * drop], kept = dropped[2 * drop + 1];
            const tq_segment segment = tq_load_segment(shape, s);
            const auto level = [&](int bits, int i) {
                return tq_kept_level(codes, units + 8 * s, tables, places + 9 * s, bits, segment.bits, i);
            };
            const float crossed =
                tq_stream_sum(segment.axes, [&](int i) { return level(kept, i) * level(kept - 1, i); });
            const float square =
                tq_stream_sum(segment.axes, [&](int i) { const float d = level(kept - 1, i); return d * d; });
            float cc = 0.0f, cd = 0.0f, dd = 0.0f;
            for (int k = 0; k < TQ_SEGMENTS; k++) {
                const float weight = reals[2 * k + 1], own = squares[k];
                const float c_term = weight * own, d_term = weight * (k == s ? square : own);
                const float both_term = weight * (k == s ? crossed : own);
                cc = k ? cc + c_term : c_term;
                cd = k ? cd + both_term : both_term;
                dd = k ? dd + d_term : d_term;
            }
            const float ratio = TQ_SCALE == 0   ? tq_divide(cc, cd)
                                : TQ_SCALE == 1 ? tq_divide(cd, dd)
                                                : tq_root(tq_divide(cc, dd));
            // A product below 2^-126 that rounds up to it stays.
            scale = tq_times_power(tq_product(scale, ratio), 0);
            tq_set_square(squares, s, square);
        }
        if (tq_lane() == 0) out[row] = scale;
    }
}
