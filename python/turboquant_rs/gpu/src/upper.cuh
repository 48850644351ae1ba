// The upper end of a row's score (docs/numerics.md section 12) from the sum of the entries that its first stage chooses.

__device__ __forceinline__ float tq_upper_end(unsigned sum, unsigned bound, float factor, float deviation,
                                              float scale, const float* base, long long query) {
    const int exact = (int)sum - 126 * TQ_STAGE_BYTES;
    const float estimate = factor * tq_to_float(exact) * tq_to_float((int)(bound & 0xffffu));
    const float reach = deviation * tq_to_float((int)(bound >> 16));
    const float end = tq_product(tq_sum(estimate, reach), scale);
    return base ? tq_sum(end, base[query]) : end;
}
