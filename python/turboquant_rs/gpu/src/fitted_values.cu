// Codes of a fitted codec to rows of axes in fixed point (docs/numerics.md section 11, decode): one warp each. The products
// with the transposed matrix are coordinates, once multiplied by the row's factor.

extern "C" __global__ void __launch_bounds__(32 * TQ_WARPS, 6) fitted_values(
    const unsigned char* __restrict__ packed, const float* __restrict__ scales, const float* __restrict__ gains,
    const int* __restrict__ shape, const float* __restrict__ reals, const unsigned* __restrict__ signs,
    const unsigned short* __restrict__ source, const int* __restrict__ units, const float* __restrict__ tables,
    unsigned* __restrict__ high, unsigned* __restrict__ low, float* __restrict__ factors, int row_bytes, long long rows,
    float* scratch) {
    TQ_SHARED_MEMORY(memory);
    const tq_axes_row axes = tq_axes_memory((float*)memory, scratch);
    const long long stride = (long long)gridDim.x * TQ_WARPS;
    for (long long row = (long long)blockIdx.x * TQ_WARPS + tq_warp(); row < rows; row += stride) {
        const unsigned char* const codes = packed + row * row_bytes;
        for (int s = 0; s < TQ_SEGMENTS; s++) {
            const tq_segment segment = tq_load_segment(shape, s);
            tq_rotate_segment_back(axes, segment, reals[2 * s], signs, source, [&](int i) {
                if (segment.bits == 0) return 0.0f;
                return tables[segment.table + tq_unit_code(codes, units + 8 * s, segment.bits, i)];
            });
        }
        tq_sync_warp();
        const auto value = [&](int i) { return axes.row[i] * gains[i]; };
        const tq_power power = tq_power_of(tq_stream_top(TQ_AXES, value));
        const float norm = tq_stream_norm(TQ_AXES, power, value);
        tq_store_fixed(high + row * (TQ_STRIDE / 4), low + row * (TQ_STRIDE / 4), TQ_STRIDE, TQ_AXES, norm,
                       [&](int i) { return tq_take(power, value(i)); });
        if (tq_lane() == 0) {
            const float factor = tq_product(tq_divide(norm, TQ_UNIT), scales[row]);
            factors[row] = tq_times_power_of_any(factor, power.e);
        }
        tq_sync_warp();
    }
}
