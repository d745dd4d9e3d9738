/* The calls of the CUDA runtime that the agent makes, with the host's memory in place of a GPU's. */
#include <stdlib.h>
#include <string.h>

static int streams;

const char *cudaGetErrorString(int status) { return status == 2 ? "out of memory" : "invalid argument"; }

int cudaDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    *value = attribute == 75 ? 8 : attribute == 76 ? 7 : attribute == 16 ? 8 : -1;
    return *value < 0;
}

int cudaStreamCreate(void **stream) { *stream = &streams; return 0; }
int cudaStreamSynchronize(void *stream) { return stream != &streams; }

int cudaMalloc(void **address, size_t size) {
    if (size > (size_t)1 << 32) return 2;
    *address = malloc(size);
    return 0;
}

int cudaFree(void *address) { free(address); return 0; }

int cudaMemcpyAsync(void *target, const void *source, size_t size, int kind, void *stream) {
    if (kind < 1 || kind > 2 || stream != &streams) return 1;
    memcpy(target, source, size);
    return 0;
}
