// Prepare and rotate rows, one block a row and rotation; as rotate_warp.cu.

#define TQ_RUN_WORDS ((TQ_POWER + 31) / 32)

extern "C" __global__ void __launch_bounds__(TQ_THREADS, 512 / TQ_THREADS) rotate_block(
    const float* __restrict__ x, const unsigned* __restrict__ signs, const unsigned short* __restrict__ source,
    float factor, float* __restrict__ out, float* __restrict__ norms, int* __restrict__ exponents,
    unsigned long long* faults, int size, int refuse, long long first, long long rows, float* scratch) {
    TQ_SHARED_MEMORY(memory);
    tq_block block = tq_block_memory(memory, 0, scratch);
    const int runs = (size + TQ_DIM - 1) / TQ_DIM;
    for (long long item = blockIdx.x; item < rows * runs; item += gridDim.x) {
        const long long row = item / runs;
        const int run = (int)(item % runs), start = run * TQ_DIM;
        if (TQ_GIVEN) {
            for (int i = threadIdx.x; i < TQ_DIM; i += TQ_THREADS) block.row[TQ_AT(i)] = x[row * TQ_DIM + i];
            tq_sync_block();
        } else {
            int e;
            float norm;
            const bool whole = tq_block_prepare(block, x + row * TQ_DIM, faults, first + row, e, norm);
            if (run == 0 && threadIdx.x == 0) tq_keep_norm(norms, exponents, faults, row, first + row, norm, e, refuse);
            if (!whole) continue;
        }
        tq_block_rotate(block, signs + run * TQ_RUN_SIGNS, source ? source + run * TQ_RUN_PLACES : nullptr, factor);
        for (int i = threadIdx.x; i < TQ_DIM && i < size - start; i += TQ_THREADS) {
            out[row * size + start + i] = tq_kept(block.row[TQ_AT(i)]);
        }
    }
}
