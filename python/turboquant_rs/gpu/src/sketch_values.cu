// Products of signs with a matrix's columns to decoded coordinates, in place, one warp a row: product · step, then times
// length · constant, both rounded.

extern "C" __global__ void __launch_bounds__(32 * TQ_WARPS) sketch_values(
    const float* __restrict__ scales, float* out, float constant, float step, int dim, int norms, long long rows) {
    const long long stride = (long long)gridDim.x * TQ_WARPS;
    for (long long row = (long long)blockIdx.x * TQ_WARPS + tq_warp(); row < rows; row += stride) {
        const float length = tq_product(scales[row * norms + norms - 1], constant);
        for (int i = tq_lane(); i < dim; i += 32) {
            float* const value = out + row * dim + i;
            *value = tq_product(tq_to_float((int)tq_bits(*value)) * step, length);
        }
    }
}
