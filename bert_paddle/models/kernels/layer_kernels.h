/* The operations between the matrix products of a layer. kernels.c includes this file once for each
 * type `Stored` of the activations that are kept for the backward pass or are factors of a product:
 * float, or bfloat16, which halves their memory. GET and PUT convert an element to float and back,
 * NAME gives a function's name. Results of products (`x`, `dy`), the residual stream, norms and
 * sums are float32 in both. With float, an argument of type Stored may be the array that it is
 * computed from; `simd` then tells the compiler that elements of other indices are not read.
 */

/* sum = x + bias; y = GELU(sum) = sum * Phi(sum), Phi: the CDF in `normal`.  All [n, f] */
void NAME(bias_gelu)(const float *x, const float *bias, Stored *sum, Stored *y, int64_t n,
                     int64_t f) {
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
int NAME(bias_gelu_grad)(const Stored *sum, const float *dy, Stored *dx, float *dbias, int64_t n,
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
void NAME(dropout_add_norm)(float *x, const float *bias, const float *residual, const float *gamma,
                            const float *beta, float *y, Stored *factor, float *stats, int64_t n,
                            int64_t h, uint32_t seed, uint32_t threshold, float scale,
                            float epsilon) {
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
int NAME(dropout_add_norm_grad)(const float *dy, const float *z, const float *stats,
                                const float *gamma, float *dresidual, Stored *dx, float *dgamma,
                                float *dbeta, float *dbias, int64_t n, int64_t h, uint32_t seed,
                                uint32_t threshold, float scale) {
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
int NAME(column_sums)(const Stored *x, float *sums, int64_t n, int64_t h) {
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

/* The columns of one head, [rows, d], as floats whose rows begin every `stride` elements: the array
 * itself with float, else a copy in `buffer`, or room for one. */
typedef struct {
    float *x;
    int64_t stride;
} NAME(Block);

static inline NAME(Block) NAME(room)(Stored *x, int64_t h, int64_t d, float *buffer) {
    if (sizeof(Stored) == sizeof(float)) return (NAME(Block)){(float *)x, h};
    return (NAME(Block)){buffer, d};
}

static inline NAME(Block) NAME(block_of)(const Stored *x, int64_t rows, int64_t h, int64_t d,
                                         float *buffer) {
    NAME(Block) block = NAME(room)((Stored *)x, h, d, buffer);
    if (block.x == buffer)
        for (int64_t i = 0; i < rows; i++)
            for (int64_t c = 0; c < d; c++) buffer[i * d + c] = GET(x[i * h + c]);
    return block;
}

/* What was computed in `block` goes to x, where it is not there yet. */
static inline void NAME(keep)(NAME(Block) block, Stored *x, int64_t rows, int64_t h, int64_t d) {
    if ((void *)block.x != (void *)x)
        for (int64_t i = 0; i < rows; i++)
            for (int64_t c = 0; c < d; c++) x[i * h + c] = PUT(block.x[i * block.stride + c]);
}

static void NAME(add_bias)(const float *x, const float *bias, Stored *sum, int64_t rows, int64_t h,
                           int64_t d) {
    for (int64_t i = 0; i < rows; i++)
#pragma omp simd
        for (int64_t c = 0; c < d; c++) sum[i * h + c] = PUT(x[i * h + c] + bias[c]);
}

/* Stores q, k and v, the products with their biases, the probabilities, and out [nq, h]. Each
 * thread's workspace, `held`, has room for transposed keys, for probabilities before and after
 * dropout, and for a head's queries and values. A thread without it skips its units, since a
 * parallel loop cannot be left. */
int NAME(attention)(const float *xq, const float *xk, const float *xv, const float *bias_q,
                    const float *bias_k, const float *bias_v, Stored *q, Stored *k, Stored *v,
                    const int64_t *first_q, const int64_t *first_k, const int64_t *place,
                    Stored *probabilities, Stored *out, int64_t sequences, int64_t heads, int64_t d,
                    uint32_t seed, uint32_t threshold, float scale) {
    int64_t h = heads * d, turned, scores;
    int failed = 0;
    float factor = 1.0f / sqrtf((float)d);
    largest(first_q, first_k, sequences, d, &turned, &scores);
#pragma omp parallel
    {
        float *held = malloc((size_t)(3 * turned + 2 * scores) * sizeof(float));
        float *dropped = held + turned, *computed = dropped + scores, *first = computed + scores,
              *second = first + turned;
        if (!held) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for schedule(monotonic : dynamic)
        for (int64_t number = 0; number < sequences * heads; number++) {
            if (!held) continue;
            Unit u = unit_of(number, heads, d, first_q, first_k, place);
            int64_t bias = number % heads * d, count = u.queries * u.wide;
            float *p = NAME(room)(probabilities + u.p, u.wide, u.wide, computed).x;
            NAME(add_bias)(xq + u.q, bias_q + bias, q + u.q, u.queries, h, d);
            NAME(add_bias)(xk + u.k, bias_k + bias, k + u.k, u.keys, h, d);
            NAME(add_bias)(xv + u.k, bias_v + bias, v + u.k, u.keys, h, d);
            NAME(Block) queries = NAME(block_of)(q + u.q, u.queries, h, d, first);
            NAME(Block) keys = NAME(block_of)(k + u.k, u.keys, h, d, second);
            transpose(keys.x, u.keys, keys.stride, d, u.wide, held);
            product(queries.x, queries.stride, 1, held, u.wide, p, u.wide, u.queries, u.wide, d,
                    factor);
            for (int64_t i = 0; i < u.queries; i++) softmax(p + i * u.wide, u.keys, u.wide);
            NAME(keep)((NAME(Block)){p, u.wide}, probabilities + u.p, u.queries, u.wide, u.wide);
            if (threshold) drop(p, dropped, count, u.index, seed, threshold, scale);
            NAME(Block) values = NAME(block_of)(v + u.k, u.keys, h, d, second);
            NAME(Block) context = NAME(room)(out + u.q, h, d, first);
            product(threshold ? dropped : p, u.wide, 1, values.x, values.stride, context.x,
                    context.stride, u.queries, d, u.keys, 1.0f);
            NAME(keep)(context, out + u.q, u.queries, h, d);
        }
        free(held);
    }
    return -failed;
}

/* The gradients of attention: dq [nq, h], dk and dv [nk, h]. With P the probabilities, S the scores
 * before softmax, and dO = dout:
 *   dV = dropout(P)^T dO;  dP = dropout(dO V^T), with the same mask;
 *   dS = P * (dP - row sums of dP * P);  dQ = factor * dS K;  dK = factor * dS^T Q
 * `grads` holds dP, then dS. */
int NAME(attention_grad)(const float *dout, const Stored *q, const Stored *k, const Stored *v,
                         const int64_t *first_q, const int64_t *first_k, const int64_t *place,
                         const Stored *probabilities, Stored *dq, Stored *dk, Stored *dv,
                         int64_t sequences, int64_t heads, int64_t d, uint32_t seed,
                         uint32_t threshold, float scale) {
    int64_t h = heads * d, turned, scores;
    int failed = 0;
    float factor = 1.0f / sqrtf((float)d);
    largest(first_q, first_k, sequences, d, &turned, &scores);
#pragma omp parallel
    {
        float *held = malloc((size_t)(3 * turned + 3 * scores) * sizeof(float));
        float *grads = held + turned, *dropped = grads + scores, *loaded = dropped + scores,
              *first = loaded + scores, *second = first + turned;
        if (!held) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for schedule(monotonic : dynamic)
        for (int64_t number = 0; number < sequences * heads; number++) {
            if (!held) continue;
            Unit u = unit_of(number, heads, d, first_q, first_k, place);
            int64_t count = u.queries * u.wide;
            const float *p =
                NAME(block_of)(probabilities + u.p, u.queries, u.wide, u.wide, loaded).x;
            NAME(Block) values = NAME(block_of)(v + u.k, u.keys, h, d, first);
            transpose(values.x, u.keys, values.stride, d, u.wide, held);
            product(dout + u.q, h, 1, held, u.wide, grads, u.wide, u.queries, u.wide, d, 1.0f);
            if (threshold) {
                drop(p, dropped, count, u.index, seed, threshold, scale);
                drop(grads, grads, count, u.index, seed, threshold, scale);
            }
            NAME(Block) dvalues = NAME(room)(dv + u.k, h, d, first);
            product(threshold ? dropped : p, 1, u.wide, dout + u.q, h, dvalues.x, dvalues.stride,
                    u.keys, d, u.queries, 1.0f);
            NAME(keep)(dvalues, dv + u.k, u.keys, h, d);
            for (int64_t i = 0; i < u.queries; i++) {
                float *g = grads + i * u.wide, dot = 0.0f;
                const float *row = p + i * u.wide;
                for (int64_t j = 0; j < u.keys; j++) dot += g[j] * row[j];
                for (int64_t j = 0; j < u.keys; j++) g[j] = row[j] * (g[j] - dot);
            }
            NAME(Block) keys = NAME(block_of)(k + u.k, u.keys, h, d, first);
            NAME(Block) dqueries = NAME(room)(dq + u.q, h, d, second);
            product(grads, u.wide, 1, keys.x, keys.stride, dqueries.x, dqueries.stride, u.queries,
                    d, u.keys, factor);
            NAME(keep)(dqueries, dq + u.q, u.queries, h, d);
            NAME(Block) queries = NAME(block_of)(q + u.q, u.queries, h, d, first);
            NAME(Block) dkeys = NAME(room)(dk + u.k, h, d, second);
            product(grads, 1, u.wide, queries.x, queries.stride, dkeys.x, dkeys.stride, u.keys, d,
                    u.queries, factor);
            NAME(keep)(dkeys, dk + u.k, u.keys, h, d);
        }
        free(held);
    }
    return -failed;
}
