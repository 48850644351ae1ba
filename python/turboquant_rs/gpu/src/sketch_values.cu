// Products with a matrix's columns to decoded coordinates, in place, one warp a row: of signs product · step, then times
// length · constant, both rounded; of rows with norms, in fixed point, product · (norm/32000 · step), then times the scale.

extern "C" __global__ void __launch_bounds__(32 * TQ_WARPS) sketch_values(
    const float* __restrict__ scales, const float* __restrict__ own_norms, float* out, float constant, float step, int dim, int norms, long long rows) {
    const long long stride = (long long)gridDim.x * TQ_WARPS;
    for (long long row = (long long)blockIdx.x * TQ_WARPS + tq_warp(); row < rows; row += stride) {
        const float length = tq_product(scales[row * norms + norms - 1], constant);
        const float unit = own_norms ? tq_divide(own_norms[row], 32000.0f) * step : step;
        for (int i = tq_lane(); i < dim; i += 32) {
            float* const value = out + row * dim + i;
            *value = tq_product(tq_to_float((int)tq_bits(*value)) * unit, length);
        }
    }
}
