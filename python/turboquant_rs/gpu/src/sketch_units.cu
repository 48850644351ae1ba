// Signs as bytes of +1 and -1, one warp a row: a plane of `stride` bytes, a multiple of 4, for products with a matrix's
// columns. What lies behind `size` signs is 0. A lane writes four bytes at a time.

extern "C" __global__ void __launch_bounds__(32 * TQ_WARPS) sketch_units(
    const unsigned char* __restrict__ packed, unsigned* __restrict__ plane, int size, int row_bytes, int start, int stride,
    long long rows) {
    const long long step = (long long)gridDim.x * TQ_WARPS;
    for (long long row = (long long)blockIdx.x * TQ_WARPS + tq_warp(); row < rows; row += step) {
        const unsigned char* const bits = packed + row * row_bytes + start;
        for (int word = tq_lane(); word < stride / 4; word += 32) {
            unsigned four = 0;
#pragma unroll
            for (int k = 0; k < 4; k++) {
                const int sign = (int)tq_sketch_sign(bits, 4 * word + k, size);
                four |= ((unsigned)sign & 0xffu) << 8 * k;
            }
            plane[row * (stride / 4) + word] = four;
        }
    }
}
