// Candidates of a few queries by their first stage alone (docs/numerics.md section 12): a thread a row, whose upper end is its
// key; refine_dp4a.cu reads the others' bytes. All queries' tables lie in shared memory, where the threads of a warp, who
// choose from the same sixteen bytes at a time, meet in no bank.
//
// Reads TQ_STAGE_BYTES of every row, its bounds and scale.

#define TQ_MOST 4

extern "C" __global__ void __launch_bounds__(TQ_THREADS, 8) rank_stage(
    const unsigned char* __restrict__ packed, const float* __restrict__ scales, const unsigned* __restrict__ bounds,
    const unsigned char* __restrict__ tables, const float* __restrict__ factors, const float* __restrict__ deviations,
    const float* __restrict__ base, const float* __restrict__ query_squares, const float* __restrict__ row_squares,
    const unsigned* __restrict__ allowed, const unsigned* __restrict__ floors, unsigned long long* __restrict__ candidates,
    unsigned* __restrict__ counts, int row_bytes, long long pitch, long long rows, long long queries) {
    TQ_SHARED_MEMORY(memory);
    for (int i = threadIdx.x; i < (int)queries * TQ_STAGE_BYTES * 2; i += TQ_THREADS) {
        unsigned four[4];
        tq_load_four(four, tables + 16 * i);
        tq_store_four(memory + 16 * i, four);
    }
    tq_sync_block();
    const tq_ranking ranking = {query_squares, row_squares, allowed, floors, candidates, counts, pitch};
    const long long stride = (long long)gridDim.x * TQ_THREADS;
    for (long long row = (long long)blockIdx.x * TQ_THREADS + threadIdx.x; row < rows; row += stride) {
        const unsigned char* const code = packed + row * row_bytes;
        unsigned sums[TQ_MOST] = {};
        for (int byte = 0; byte < TQ_STAGE_BYTES; byte += 4) {
            unsigned word = 0;
            if (TQ_WHOLE_WORDS) word = *(const unsigned*)(code + byte);
#pragma unroll
            for (int k = 0; k < 4; k++) {
                if (byte + k >= TQ_STAGE_BYTES) continue;
                const unsigned pattern = TQ_WHOLE_WORDS ? word >> 8 * k & 255u : code[byte + k];
#pragma unroll
                for (int q = 0; q < TQ_MOST; q++) {
                    if (q >= queries) continue;
                    const unsigned char* const entries = memory + (q * TQ_STAGE_BYTES + byte + k) * 32;
                    sums[q] += entries[pattern & 15u] + entries[16 + (pattern >> 4)];
                }
            }
        }
        const float scale = scales[row];
        const unsigned bound = bounds[row];
#pragma unroll
        for (int q = 0; q < TQ_MOST; q++) {
            if (q >= queries) continue;
            const float end = tq_upper_end(sums[q], bound, factors[q], deviations[q], scale, base, q);
            tq_offer(ranking, q, row, end);
        }
    }
}
