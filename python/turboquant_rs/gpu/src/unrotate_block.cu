// Decode a structured sketch, one block a row; as unrotate_warp.cu.

#define TQ_RUN_WORDS ((TQ_POWER + 31) / 32)

extern "C" __global__ void __launch_bounds__(TQ_THREADS, 512 / TQ_THREADS) unrotate_block(
    const unsigned char* __restrict__ packed, const float* __restrict__ scales, const unsigned* __restrict__ signs,
    const unsigned short* __restrict__ source, float factor, float* __restrict__ out,
    const int* __restrict__ powers, float constant, int size,
    int row_bytes, int start, int norms, long long rows, float* scratch) {
    TQ_SHARED_MEMORY(memory);
    tq_block block = tq_block_memory(memory, 0, scratch);
    const int runs = (size + TQ_DIM - 1) / TQ_DIM;
    for (long long row = blockIdx.x; row < rows; row += gridDim.x) {
        if (TQ_GIVEN) {
            float* const at = out + row * TQ_DIM;
            for (int i = threadIdx.x; i < TQ_DIM; i += TQ_THREADS) block.row[TQ_AT(i)] = at[i];
            tq_block_rotate_back(block, signs, source, factor);
            for (int i = threadIdx.x; i < TQ_DIM; i += TQ_THREADS) {
                const float value = block.row[TQ_AT(i)];
                at[i] = TQ_POWERS ? tq_times_power_of_any(value, powers[row]) : value;
            }
            continue;
        }
        const unsigned char* const bits = packed + row * row_bytes + start;
        const float length = tq_product(scales[row * norms + norms - 1], constant);
        for (int run = 0; run < runs; run++) {
            for (int i = threadIdx.x; i < TQ_DIM; i += TQ_THREADS) {
                block.row[TQ_AT(i)] = tq_sketch_sign(bits, run * TQ_DIM + i, size);
            }
            tq_block_rotate_back(block, signs + run * TQ_RUN_SIGNS, source ? source + run * TQ_RUN_PLACES : nullptr, factor);
            for (int i = threadIdx.x; i < TQ_DIM; i += TQ_THREADS) {
                float* const sum = out + row * TQ_DIM + i;
                const float total = (run ? *sum : 0.0f) + block.row[TQ_AT(i)];
                *sum = run + 1 == runs ? tq_product(total, length) : total;
            }
        }
    }
}
