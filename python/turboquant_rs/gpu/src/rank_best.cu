// The best of a query's candidates so far, one block a query: TQ_KEPT numbers in ascending order, and behind them, in memory,
// the candidates that are to join them, TQ_TILE at a time. Afterwards there are none, and the floor is the k-th best's.

// Put two numbers of shared memory in order.
__device__ __forceinline__ void tq_exchange(unsigned long long* values, int low, int high, bool ascending) {
    const unsigned long long a = values[low], b = values[high];
    if ((a > b) == ascending) {
        values[low] = b;
        values[high] = a;
    }
}

// The place of the lower of pair `pair`, whose places are `stride` apart.
__device__ __forceinline__ int tq_low_place(int pair, int stride) { return (pair & ~(stride - 1)) * 2 | (pair & (stride - 1)); }

extern "C" __global__ void __launch_bounds__(TQ_THREADS) rank_best(unsigned long long* __restrict__ candidates,
                                                                   unsigned* __restrict__ counts,
                                                                   unsigned* __restrict__ floors, int k, long long pitch,
                                                                   long long queries) {
    TQ_SHARED_MEMORY(memory);
    unsigned long long* const best = (unsigned long long*)memory;
    unsigned long long* const tile = best + TQ_KEPT;
    for (long long query = blockIdx.x; query < queries; query += gridDim.x) {
        unsigned long long* const found = candidates + query * pitch;
        const long long count = counts[query];
        tq_sync_block();
        for (int i = threadIdx.x; i < TQ_KEPT; i += TQ_THREADS) best[i] = found[i];
        for (long long start = 0; start < count; start += TQ_TILE) {
            // As short a tile as holds what is left, and as much as is kept.
            int length = TQ_TILE;
            while (length / 2 >= TQ_KEPT && length / 2 >= count - start) length /= 2;
            for (int i = threadIdx.x; i < length; i += TQ_THREADS) {
                tile[i] = start + i < count ? found[TQ_KEPT + start + i] : TQ_NO_ROW;
            }
            for (int size = 2; size <= length; size *= 2) {
                for (int stride = size / 2; stride; stride /= 2) {
                    tq_sync_block();
                    for (int pair = threadIdx.x; pair < length / 2; pair += TQ_THREADS) {
                        const int low = tq_low_place(pair, stride);
                        tq_exchange(tile, low, low + stride, !(low & size));
                    }
                }
            }
            tq_sync_block();
            // The least of both, which rise and then fall.
            for (int i = threadIdx.x; i < TQ_KEPT; i += TQ_THREADS) {
                const unsigned long long other = tile[TQ_KEPT - 1 - i];
                best[i] = other < best[i] ? other : best[i];
            }
            for (int stride = TQ_KEPT / 2; stride; stride /= 2) {
                tq_sync_block();
                for (int pair = threadIdx.x; pair < TQ_KEPT / 2; pair += TQ_THREADS) {
                    const int low = tq_low_place(pair, stride);
                    tq_exchange(best, low, low + stride, true);
                }
            }
        }
        tq_sync_block();
        for (int i = threadIdx.x; i < TQ_KEPT; i += TQ_THREADS) found[i] = best[i];
        if (threadIdx.x == 0) {
            floors[query] = (unsigned)(best[k - 1] >> 32);
            counts[query] = 0;
        }
    }
}
