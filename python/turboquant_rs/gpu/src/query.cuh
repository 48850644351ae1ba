// A rotated query as integers: docs/numerics.md section 10.

#define TQ_REACH (TQ_WIDE ? 16319 : 127)

// The integer of one rotated coordinate.
__device__ __forceinline__ int tq_query_integer(float r, float inverse) {
    const int value = tq_round(r * inverse);
    return value > TQ_REACH ? TQ_REACH : value < -TQ_REACH ? -TQ_REACH : value;
}

// One integer into its byte, or its two in base 128.
__device__ __forceinline__ void tq_store_integer(signed char* high, signed char* low, long long at, int value) {
    if (TQ_WIDE) {
        const int top = (value + 64) >> 7;
        high[at] = (signed char)top;
        low[at] = (signed char)(value - 128 * top);
    } else {
        high[at] = (signed char)value;
    }
}

// What one unit of a query's integer products is worth; reports norms of 2^96 and more. One thread a query calls it.
__device__ __forceinline__ float tq_query_worth(unsigned long long* faults, long long row, float largest, float norm,
                                                int e, float level_scale, bool cosine) {
    const float worth = tq_divide(largest, (float)TQ_REACH) * level_scale;
    if (cosine) return largest == 0.0f ? 0.0f : tq_divide(worth, norm == 0.0f ? 1.0f : norm);
    if (tq_reaches(norm, e, 96)) tq_report(faults, TQ_FAULT_NORM, row, 0);
    return tq_times_power(worth, e);
}
