// A rotated query as integers: docs/numerics.md section 10.

// `wide`: two bytes an integer.
__device__ __forceinline__ float tq_reach(bool wide) { return wide ? 16319.0f : 127.0f; }

// The integer of one rotated coordinate.
__device__ __forceinline__ int tq_query_integer(float r, float inverse, bool wide) {
    const int value = tq_round(r * inverse), reach = wide ? 16319 : 127;
    return value > reach ? reach : value < -reach ? -reach : value;
}

// One integer into its byte, or its two in base 128.
__device__ __forceinline__ void tq_store_integer(signed char* high, signed char* low, long long at, int value,
                                                 bool wide) {
    if (wide) {
        const int top = (value + 64) >> 7;
        high[at] = (signed char)top;
        low[at] = (signed char)(value - 128 * top);
    } else {
        high[at] = (signed char)value;
    }
}

// What one unit of a query's integer products is worth; reports norms of 2^96 and more. One thread a query calls it.
__device__ __forceinline__ float tq_query_worth(unsigned long long* faults, long long row, float largest, float norm,
                                                int e, float level_scale, bool cosine, bool wide) {
    const float worth = tq_divide(largest, tq_reach(wide)) * level_scale;
    if (cosine) return largest == 0.0f ? 0.0f : tq_divide(worth, norm == 0.0f ? 1.0f : norm);
    if (tq_reaches(norm, e, 96)) tq_report(faults, TQ_FAULT_NORM, row, 0);
    return tq_times_power(worth, e);
}
