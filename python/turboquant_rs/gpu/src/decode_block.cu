// Decode, one block a row.

extern "C" __global__ void __launch_bounds__(TQ_THREADS, 512 / TQ_THREADS) decode_block(
    const unsigned char* __restrict__ packed, const float* __restrict__ scales, const float* __restrict__ levels,
    const unsigned* __restrict__ signs, const unsigned short* __restrict__ source, float factor,
    float* __restrict__ out, long long rows, float* scratch) {
    TQ_SHARED_MEMORY(memory);
    float* const level = (float*)memory;
    for (int i = threadIdx.x; i < 1 << TQ_KEEP; i += TQ_THREADS) level[i] = levels[i];
    tq_sync_block();
    tq_block block = tq_block_memory(memory, TQ_TABLE_BYTES, scratch);

    for (long long row = blockIdx.x; row < rows; row += gridDim.x) {
        const unsigned char* const codes = packed + row * tq_row_bytes();
        for (int i = threadIdx.x; i < TQ_DIM; i += TQ_THREADS) block.row[TQ_AT(i)] = level[tq_unpack(codes, i)];
        tq_block_rotate_back(block, signs, source, factor);
        const float scale = scales[row];
        for (int i = threadIdx.x; i < TQ_DIM; i += TQ_THREADS) out[row * TQ_DIM + i] = tq_product(block.row[TQ_AT(i)], scale);
    }
}
