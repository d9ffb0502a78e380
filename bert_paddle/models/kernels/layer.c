/* The operations between the matrix products of a layer, but for attention. */
#include "rows.h"
#include "stored.h"

/* sum = x + bias; y = GELU(sum) = sum * Phi(sum), Phi: the CDF in `normal`.  All [n, f] */
void bias_gelu(const float *x, const float *bias, Stored *sum, Stored *y, int64_t n, int64_t f) {
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) {
        const float *row = x + i * f;
        Stored *before = sum + i * f, *out = y + i * f;
#pragma omp simd
        for (int64_t j = 0; j < f; j++) {
            float v = row[j] + bias[j], distribution, density;
            normal(v, &distribution, &density);
            before[j] = PUT(v);
            out[j] = PUT(v * distribution);
        }
    }
}

/* dx = dy * d(sum Phi(sum)) / dsum, with bias_gelu's `sum`; dbias = column sums of dx. */
int bias_gelu_grad(const Stored *sum, const float *dy, Stored *dx, float *dbias, int64_t n,
                   int64_t f) {
    int64_t blocks = blocks_of(n);
    float *partial = calloc((size_t)(blocks * f), sizeof(float));
    if (!partial) return -1;
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < blocks; b++) {
        float *sums = partial + b * f;
        int64_t last = (b + 1) * BLOCK < n ? (b + 1) * BLOCK : n;
        for (int64_t i = b * BLOCK; i < last; i++) {
            const Stored *row = sum + i * f;
            const float *grad = dy + i * f;
            Stored *out = dx + i * f;
#pragma omp simd
            for (int64_t j = 0; j < f; j++) {
                float v = GET(row[j]), distribution, density;
                normal(v, &distribution, &density);
                float g = grad[j] * (distribution + v * density);
                out[j] = PUT(g);
                sums[j] += g;
            }
        }
    }
    add_up(partial, blocks, f, f, dbias);
    free(partial);
    return 0;
}

/* z = dropout(x + bias) + residual, stored in x; y = (z - mean) * rstd * gamma + beta; `factor`: y
 * as a factor of the next product.  All [n, h]; stats: [n, 2], mean and rstd. */
void dropout_add_norm(float *x, const float *bias, const float *residual, const float *gamma,
                      const float *beta, float *y, Stored *factor, float *stats, int64_t n,
                      int64_t h, uint32_t seed, uint32_t threshold, float scale, float epsilon) {
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) {
        float *z = x + i * h, *out = y + i * h;
        const float *before = residual + i * h;
        uint32_t index = (uint32_t)(i * h);
        if (threshold)
            for (int64_t j = 0; j < h; j++)
                z[j] = (z[j] + bias[j]) * kept(index + (uint32_t)j, seed, threshold, scale) +
                       before[j];
        else
            for (int64_t j = 0; j < h; j++) z[j] = z[j] + bias[j] + before[j];
        norm(z, gamma, beta, out, stats + 2 * i, h, epsilon);
        if ((void *)factor != (void *)y)
            for (int64_t j = 0; j < h; j++) factor[i * h + j] = PUT(out[j]);
    }
}

/* The gradients of dropout_add_norm: dresidual and dx [n, h] (dx may be dy, with float); dgamma,
 * dbeta, dbias [h]. */
int dropout_add_norm_grad(const float *dy, const float *z, const float *stats, const float *gamma,
                          float *dresidual, Stored *dx, float *dgamma, float *dbeta, float *dbias,
                          int64_t n, int64_t h, uint32_t seed, uint32_t threshold, float scale) {
    int64_t blocks = blocks_of(n);
    float *partial = calloc((size_t)(blocks * 3 * h), sizeof(float));
    if (!partial) return -1;
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < blocks; b++) {
        float *gammas = partial + b * 3 * h, *betas = gammas + h, *biases = betas + h;
        int64_t last = (b + 1) * BLOCK < n ? (b + 1) * BLOCK : n;
        for (int64_t i = b * BLOCK; i < last; i++) {
            const float *grad = dy + i * h, *row = z + i * h;
            float *before = dresidual + i * h;
            Stored *inner = dx + i * h;
            uint32_t index = (uint32_t)(i * h);
            norm_grad(grad, row, stats + 2 * i, gamma, before, gammas, betas, h);
            if (threshold)
                for (int64_t j = 0; j < h; j++) {
                    float g = before[j] * kept(index + (uint32_t)j, seed, threshold, scale);
                    inner[j] = PUT(g);
                    biases[j] += g;
                }
            else
                for (int64_t j = 0; j < h; j++) {
                    inner[j] = PUT(before[j]);
                    biases[j] += before[j];
                }
        }
    }
    add_up(partial, blocks, 3 * h, h, dgamma);
    add_up(partial + h, blocks, 3 * h, h, dbeta);
    add_up(partial + 2 * h, blocks, 3 * h, h, dbias);
    free(partial);
    return 0;
}

/* sums[j] = column sums of x [n, h]. */
int column_sums(const Stored *x, float *sums, int64_t n, int64_t h) {
    int64_t blocks = blocks_of(n);
    float *partial = calloc((size_t)(blocks * h), sizeof(float));
    if (!partial) return -1;
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < blocks; b++) {
        int64_t last = (b + 1) * BLOCK < n ? (b + 1) * BLOCK : n;
        for (int64_t i = b * BLOCK; i < last; i++)
            for (int64_t j = 0; j < h; j++) partial[b * h + j] += GET(x[i * h + j]);
    }
    add_up(partial, blocks, h, h, sums);
    free(partial);
    return 0;
}

/* The weights of products in bfloat16: out[i] = x[i] for i < counts[t] of each tensor t. */
typedef struct {
    const float *x;
    uint16_t *out;
    int64_t count;
} Cast;

void cast_bfloat16(const Cast *casts, int64_t n) {
#pragma omp parallel
    for (int64_t t = 0; t < n; t++) {
        const float *restrict x = casts[t].x;
        uint16_t *restrict out = casts[t].out;
#pragma omp for schedule(static) nowait
        for (int64_t begin = 0; begin < casts[t].count; begin += CHUNK) {
            int64_t end = begin + CHUNK < casts[t].count ? begin + CHUNK : casts[t].count;
            for (int64_t j = begin; j < end; j++) out[j] = rounded(x[j]);
        }
    }
}
