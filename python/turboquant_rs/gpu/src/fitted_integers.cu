// Queries of a fitted codec as integers, from products with its axes (docs/numerics.md sections 10 and 11): one warp each.
//
// A segment takes whole granules of eight columns and a group whole steps of 32; what is left of either is 0.

// What a query's first stage is prepared from (docs/numerics.md section 12): for every bit of it the coordinate times what
// the bit is worth, zeros behind a segment's; the largest magnitude of a coordinate, and the segments' lengths over it.
__device__ __forceinline__ void tq_stage(const tq_axes_row& axes, const int* shape, const int* units, const float* values,
                                         float largest, long long row, float* rotated, float* largests, float* lengths) {
    for (int unit = 0; unit < TQ_STAGE_UNITS; unit++) {
        const tq_segment segment = tq_load_segment(shape, units[2 * unit]);
        float* const to = rotated + row * TQ_STAGE_COLUMNS + units[2 * unit + 1];
        for (int i = tq_lane(); i < (segment.axes + 7) / 8 * 8; i += 32) {
            to[i] = i < segment.axes ? axes.row[segment.start + i] * values[unit] : 0.0f;
        }
    }
    const float divisor = largest == 0.0f ? 1.0f : largest;
    for (int s = 0; s < TQ_STAGE_SEGMENTS; s++) {
        const tq_segment segment = tq_load_segment(shape, s);
        const float length = tq_root(tq_stream_sum(segment.axes, [&](int i) {
            const float part = tq_divide(axes.row[segment.start + i], divisor);
            return part * part;
        }));
        if (tq_lane() == 0) lengths[row * TQ_STAGE_SEGMENTS + s] = length;
    }
    if (tq_lane() == 0) largests[row] = largest;
}

extern "C" __global__ void __launch_bounds__(32 * TQ_WARPS, 6) fitted_integers(
    const int* __restrict__ products, const float* __restrict__ norms, const int* __restrict__ exponents,
    const float* __restrict__ gains, const int* __restrict__ shape, const float* __restrict__ reals,
    const unsigned* __restrict__ signs, const unsigned short* __restrict__ source, const int* __restrict__ columns,
    const int* __restrict__ groups, const float* __restrict__ level_scales, signed char* __restrict__ high,
    signed char* __restrict__ low, float* __restrict__ worth, const int* __restrict__ units,
    const float* __restrict__ values, float* __restrict__ rotated, float* __restrict__ largests,
    float* __restrict__ lengths, unsigned long long* faults, int cosine, long long rows, float* scratch) {
    TQ_SHARED_MEMORY(memory);
    const tq_axes_row axes = tq_axes_memory((float*)memory, scratch);
    const long long stride = (long long)gridDim.x * TQ_WARPS;
    for (long long row = (long long)blockIdx.x * TQ_WARPS + tq_warp(); row < rows; row += stride) {
        const int* const t = products + row * TQ_AXES;
        const float norm = norms[row], unit = tq_divide(norm, TQ_UNIT);
        unsigned most = 0;
        for (int group = 0; group < TQ_GROUPS; group++) {
            const int first = groups[8 * group], last = groups[8 * group + 1];
            const bool wide = groups[8 * group + 5];
            unsigned top = 0;
            for (int s = first; s < last; s++) {
                const tq_segment segment = tq_load_segment(shape, s);
                tq_rotate_segment(axes, segment, reals[2 * s], signs, source, [&](int i) {
                    return tq_to_float(t[segment.start + i]) * (unit * gains[segment.start + i]);
                });
                for (int i = tq_lane(); i < segment.axes; i += 32) {
                    const unsigned magnitude = tq_magnitude(tq_bits(axes.row[segment.start + i]));
                    top = magnitude > top ? magnitude : top;
                }
            }
            const float largest = tq_float(tq_warp_largest(top));
            most = tq_bits(largest) > most ? tq_bits(largest) : most;
            const float inverse = tq_divide(tq_reach(wide), largest == 0.0f ? 1.0f : largest);
            for (int s = first; s < last; s++) {
                const tq_segment segment = tq_load_segment(shape, s);
                const int start = columns[2 * s], count = columns[2 * s + 1] - start;
                for (int i = tq_lane(); i < count; i += 32) {
                    const float r = i < segment.axes ? axes.row[segment.start + i] : 0.0f;
                    tq_store_integer(high, low, row * TQ_QUERY_BYTES + start + i, tq_query_integer(r, inverse, wide), wide);
                }
            }
            if (tq_lane() == 0) {
                worth[row * TQ_GROUPS + group] =
                    tq_query_worth(faults, row, largest, norm, exponents[row], level_scales[group], cosine, wide);
            }
        }
        if (TQ_STAGE_UNITS) tq_stage(axes, shape, units, values, tq_float(most), row, rotated, largests, lengths);
    }
}
