// Signs of projections, one warp a row: bit j is 1 where value j is above 0, low bit first, padding 0. A value is a word of
// 32 bits, an integer product or a float: above 0 is the same of both. `size` words a row are read, a bit each is written.

// Write a word of bits at byte `at` of `bytes` bytes.
__device__ __forceinline__ void tq_store_bits(unsigned char* to, int at, unsigned word, int bytes) {
    if (((unsigned long long)to & 3) == 0 && at + 4 <= bytes) {
        *(unsigned*)(to + at) = word;
    } else {
        for (int k = 0; k < 4 && at + k < bytes; k++) to[at + k] = (unsigned char)(word >> 8 * k);
    }
}

extern "C" __global__ void __launch_bounds__(32 * TQ_WARPS) sketch_signs(
    const int* __restrict__ words, const float* __restrict__ norms, const int* __restrict__ exponents,
    unsigned char* __restrict__ packed, float* __restrict__ scales, int size, int row_bytes, int start, long long rows) {
    const int bytes = (size + 7) / 8;
    const long long stride = (long long)gridDim.x * TQ_WARPS;
    for (long long row = (long long)blockIdx.x * TQ_WARPS + tq_warp(); row < rows; row += stride) {
        const int* const from = words + row * size;
        unsigned char* const to = packed + row * row_bytes + start;
        for (int first = 0; first < size; first += 1024) {
            unsigned own = 0;
#pragma unroll 8
            for (int k = 0; k < 32; k++) {
                const int i = first + 32 * k + tq_lane();
                const unsigned bits = tq_ballot(i < size && from[i < size ? i : 0] > 0);
                own = tq_lane() == k ? bits : own;
            }
            tq_store_bits(to, first / 8 + 4 * tq_lane(), own, bytes);
        }
        if (scales && tq_lane() == 0) scales[row] = tq_times_power(norms[row], exponents[row]);
    }
}
