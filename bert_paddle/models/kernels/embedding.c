/* BERT's embeddings of packed rows: the formulas are in the docstring of embedding.py. */
#include "rows.h"

/* z = W[word] + P[position] + T[segment]; y = dropout((z - mean) * rstd * gamma + beta).
 * z, y: [n, h]; stats: [n, 2]. */
void embed(const int64_t *words, const int64_t *positions, const int64_t *segments, const float *w,
           const float *p, const float *t, const float *gamma, const float *beta, float *z,
           float *y, float *stats, int64_t n, int64_t h, uint32_t seed, uint32_t threshold,
           float scale, float epsilon) {
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) {
        const float *a = w + words[i] * h, *b = p + positions[i] * h, *c = t + segments[i] * h;
        float *row = z + i * h, *out = y + i * h;
        uint32_t index = (uint32_t)(i * h);
        for (int64_t j = 0; j < h; j++) row[j] = a[j] + b[j] + c[j];
        norm(row, gamma, beta, out, stats + 2 * i, h, epsilon);
        if (threshold)
            for (int64_t j = 0; j < h; j++)
                out[j] *= kept(index + (uint32_t)j, seed, threshold, scale);
    }
}

/* out [rows, h] = 0, then out[places[i]] += grad[i] for i < n. Threads divide the columns among
 * them, so that each sum is computed in the order of i. */
static void scatter(const int64_t *places, const float *grad, float *out, int64_t rows, int64_t n,
                    int64_t h) {
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows; i++) memset(out + i * h, 0, (size_t)h * sizeof(float));
#pragma omp parallel for schedule(static)
    for (int64_t j0 = 0; j0 < h; j0 += 64) {
        int64_t j1 = j0 + 64 < h ? j0 + 64 : h;
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = j0; j < j1; j++) out[places[i] * h + j] += grad[i * h + j];
    }
}

/* The gradients of embed: dw [vocabulary, h], dp [lengths, h], dt [kinds, h], dgamma and dbeta [h].
 * vocabulary, lengths, kinds: rows of the token, position and segment embeddings; dz [n, h]:
 * workspace. */
int embed_grad(const float *dy, const float *z, const float *stats, const float *gamma,
               const int64_t *words, const int64_t *positions, const int64_t *segments, float *dz,
               float *dw, float *dp, float *dt, float *dgamma, float *dbeta, int64_t vocabulary,
               int64_t lengths, int64_t kinds, int64_t n, int64_t h, uint32_t seed,
               uint32_t threshold, float scale) {
    int64_t blocks = blocks_of(n);
    float *partial = calloc((size_t)(blocks * 2 * h), sizeof(float));
    if (!partial) return -1;
#pragma omp parallel for schedule(static)
    for (int64_t b = 0; b < blocks; b++) {
        float *gammas = partial + b * 2 * h, *betas = gammas + h;
        int64_t last = (b + 1) * BLOCK < n ? (b + 1) * BLOCK : n;
        for (int64_t i = b * BLOCK; i < last; i++) {
            float *grad = dz + i * h;
            uint32_t index = (uint32_t)(i * h);
            if (threshold)
                for (int64_t j = 0; j < h; j++)
                    grad[j] = dy[i * h + j] * kept(index + (uint32_t)j, seed, threshold, scale);
            else
                memcpy(grad, dy + i * h, (size_t)h * sizeof(float));
            norm_grad(grad, z + i * h, stats + 2 * i, gamma, grad, gammas, betas, h);
        }
    }
    add_up(partial, blocks, 2 * h, h, dgamma);
    add_up(partial + h, blocks, 2 * h, h, dbeta);
    free(partial);
    scatter(words, dz, dw, vocabulary, n, h);
    scatter(positions, dz, dp, lengths, n, h);
    scatter(segments, dz, dt, kinds, n, h);
    return 0;
}
