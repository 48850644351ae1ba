// What is stored beside a row's codes: docs/numerics.md section 7.

// The scale of a row of norm 1, from root = √m, a = <y, c>, q = <c, c>. TQ_SCALE: 0 unbiased, 1 mse, 2 matched, 3 paper.
__device__ __forceinline__ float tq_unit_scale(float root, float a, float q) {
    if (TQ_SCALE == 0) return tq_divide(root, a);
    if (TQ_SCALE == 1) return tq_divide(a, root * q);
    if (TQ_SCALE == 2) return tq_divide(1.0f, tq_root(q));
    return tq_divide(1.0f, root);
}

// A row's scale and square, and what must be refused of it; one thread a row calls it.
__device__ __forceinline__ void tq_finish_row(float* scales, float* squares, unsigned long long* faults, long long row,
                                              float norm, int e, float root, float a, float q, bool unit_norm) {
    const float k = norm == 0.0f ? 0.0f : tq_unit_scale(root, a, q);
    const float scale = unit_norm ? k : tq_times_power(k * norm, e);
    scales[row] = scale;
    if (!unit_norm && !(tq_is_finite(scale) && tq_is_finite(tq_times_power(norm, e)))) {
        tq_report(faults, TQ_FAULT_NORM, row, 0);
    }
    if (squares) {
        if (tq_reaches(norm, e, 63)) tq_report(faults, TQ_FAULT_SQUARE, row, 0);
        // Rounded before the power of two and not after: the same, as no norm's square lies at half a step from 2^-126.
        squares[row] = tq_times_power(norm * norm, 2 * e);
    }
}
