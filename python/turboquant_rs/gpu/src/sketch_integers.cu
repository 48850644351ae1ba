// Projected queries as integers of two bytes, or (narrow) of one, one warp each (docs/numerics-papers.md section 4). `step`: what 1 of a matrix
// stands for, whose products the words then are; 0 where they are floats. What lies behind `size` values is 0. For a search
// also their values, `columns` floats, which a first stage is prepared from; with `cosine` norms are divided out.

extern "C" __global__ void __launch_bounds__(32 * TQ_WARPS) sketch_integers(
    const int* __restrict__ words, const float* __restrict__ norms, const int* __restrict__ exponents,
    signed char* __restrict__ high, signed char* __restrict__ low, float* __restrict__ worth, float* __restrict__ rotated,
    unsigned long long* faults, float constant, float step, int wide, int cosine, int columns, int size, int query_bytes, long long rows) {
    const long long stride = (long long)gridDim.x * TQ_WARPS;
    for (long long row = (long long)blockIdx.x * TQ_WARPS + tq_warp(); row < rows; row += stride) {
        const int* const from = words + row * size;
        const float norm = norms[row], unit = tq_divide(norm, 32000.0f) * step;
        const auto value = [&](int i) { return step == 0.0f ? tq_float((unsigned)from[i]) : tq_to_float(from[i]) * unit; };
        const float largest = tq_float(tq_stream_top(size, value));
        const float inverse = tq_divide(tq_reach(wide), largest == 0.0f ? 1.0f : largest);
        for (int i = tq_lane(); i < query_bytes; i += 32) {
            const float r = i < size ? value(i) : 0.0f;
            if (i < columns) rotated[row * columns + i] = r;
            const int integer = tq_query_integer(r, inverse, wide);
            tq_store_integer(high, low, row * query_bytes + i, integer, wide);
        }
        if (tq_lane() == 0) {
            worth[row] = tq_query_worth(faults, row, largest, norm, exponents[row], constant, cosine, wide);
        }
    }
}
