/* A stand-in libnvidia-ml.so.1 for the unmodified nvidia-ml-py: as many GPUs as $NVML_GPUS says.
   $NVML_FAILS names a function that answers with $NVML_ERROR. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { unsigned long long total, free, used; } memory_t;

static int fails(const char *name) {
    const char *which = getenv("NVML_FAILS");
    return which && strcmp(which, name) == 0 ? atoi(getenv("NVML_ERROR")) : 0;
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; return fails("init"); }
int nvmlInit_v2(void) { return fails("init"); }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return code == 3 ? "Not Supported" : "Driver Not Loaded"; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = (unsigned)atoi(getenv("NVML_GPUS")); return fails("count"); }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) { *handle = (void *)(long)(index + 1); return 0; }
int nvmlDeviceGetUUID(void *handle, char *text, unsigned size) { snprintf(text, size, "GPU-%ld", (long)handle - 1); return 0; }
int nvmlDeviceGetName(void *handle, char *text, unsigned size) { (void)handle; snprintf(text, size, "NVIDIA H100 80GB HBM3"); return 0; }
int nvmlDeviceGetMemoryInfo(void *handle, memory_t *memory) {
    (void)handle;
    memory->total = 85899345920ULL; memory->free = 85899345920ULL; memory->used = 0;
    return fails("memory");
}
int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) {
    (void)handle;
    *major = 9; *minor = 0;
    return fails("capability");
}
