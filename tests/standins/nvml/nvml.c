/* A stand-in libnvidia-ml.so.1 for the unmodified nvidia-ml-py. It is no driver: every call reads the text
   file that $NVML_STANDIN_STATE names, in which the last words of a line follow its key:

     gpus 2                          how many there are; without the file no driver is loaded
     gpu 0 uuid GPU-...              a fact of GPU 0; one that is missing is Not Supported
     gpu 0 lost 1                    every call about it answers GPU is lost
     gpu 0 energy 1                  it has drawn its present power since the host was started
     link 0 1 0                      P2P status of the NVLINK capability (missing: 5, not supported)
     level 0 1 10                    common ancestor (missing: 50, different NUMA nodes)
     error nvmlDeviceGetName 0 4     that function answers 4 for GPU 0; `*` in place of 0: for all

   Structs and symbols are those that nvidia-ml-py declares. With -DOLD_DRIVER some symbols are missing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, TOO_SMALL = 7, NOT_LOADED = 9, LOST = 15 };
enum { LINE = 4096, NVLINK = 2 };

typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned gpu, memory; } utilization_t;
typedef struct { unsigned pid; unsigned long long memory; unsigned gpu_instance, compute_instance; } process_t;
typedef struct {
    char bus_legacy[16];
    unsigned domain, bus, device, id, subsystem;
    char bus_id[32];
} pci_t;

static int started;

/* The words after `key` in the state; 0 if there is no such line. */
static int look(const char *key, char *words) {
    char line[LINE];
    const char *path = getenv("NVML_STANDIN_STATE");
    FILE *file = path ? fopen(path, "r") : NULL;
    size_t length = strlen(key);
    int found = 0;
    while (file && !found && fgets(line, LINE, file)) {
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, key, length) == 0 && line[length] == ' ') {
            strcpy(words, line + length + 1);
            found = 1;
        }
    }
    if (file) fclose(file);
    return found;
}

static int number(const char *key, int otherwise) {
    char words[LINE];
    return look(key, words) ? atoi(words) : otherwise;
}

/* What `function` answers about GPU `gpu` (-1: about none) before it looks any further. */
static int fails(const char *function, long gpu) {
    char key[LINE], words[LINE];
    if (!look("gpus", words)) return NOT_LOADED;
    snprintf(key, LINE, "error %s *", function);
    int all = number(key, OK);
    if (gpu < 0) return all;
    snprintf(key, LINE, "gpu %ld lost", gpu);
    int lost = number(key, 0) ? LOST : OK;
    snprintf(key, LINE, "error %s %ld", function, gpu);
    int code = all ? all : number(key, lost);
    return code ? code : started ? OK : UNINITIALIZED;
}

static long index_of(void *handle) { return (long)handle - 1; }

/* A fact of a GPU as text, or the error in its place. */
static int fact(const char *function, void *handle, const char *name, char *words) {
    char key[LINE];
    int code = fails(function, index_of(handle));
    if (code) return code;
    snprintf(key, LINE, "gpu %ld %s", index_of(handle), name);
    return look(key, words) ? OK : NOT_SUPPORTED;
}

static int unsigned_fact(const char *function, void *handle, const char *name, unsigned *value) {
    char words[LINE];
    int code = fact(function, handle, name, words);
    if (!code) *value = (unsigned)strtoul(words, NULL, 10);
    return code;
}

/* A fact such as `0-31,64-95` as the bits of 64-bit words. */
static int mask_fact(const char *function, void *handle, const char *name, unsigned size, unsigned long long *mask) {
    char words[LINE], *rest = words;
    int code = fact(function, handle, name, words);
    if (code) return code;
    memset(mask, 0, size * sizeof *mask);
    for (char *part = strtok_r(rest, ",", &rest); part; part = strtok_r(NULL, ",", &rest)) {
        char *dash = strchr(part, '-');
        unsigned last = (unsigned)atoi(dash ? dash + 1 : part);
        for (unsigned bit = (unsigned)atoi(part); bit <= last && bit / 64 < size; bit++) mask[bit / 64] |= 1ULL << bit % 64;
    }
    return OK;
}

/* A number of a pair of GPUs, whichever is named first. */
static int pair(const char *function, void *a, void *b, const char *kind, int *value) {
    char key[LINE];
    int code = fails(function, index_of(a)), other = fails(function, index_of(b));
    if (code || other) return code ? code : other;
    snprintf(key, LINE, "%s %ld %ld", kind, index_of(a), index_of(b));
    int there = number(key, -1);
    snprintf(key, LINE, "%s %ld %ld", kind, index_of(b), index_of(a));
    *value = there >= 0 ? there : number(key, *value);
    return OK;
}

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    int code = fails(__func__, -1);
    if (!code) started++;
    return code;
}
int nvmlShutdown(void) { return started ? (started--, OK) : UNINITIALIZED; }
const char *nvmlErrorString(int code) { (void)code; return "some error"; }

int nvmlSystemGetDriverVersion(char *text, unsigned size) {
    int code = fails(__func__, -1);
    if (!code) snprintf(text, size, "%s", "555.42.00-standin");
    return code;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    int code = fails(__func__, -1);
    if (!code) *count = (unsigned)number("gpus", 0);
    return code ? code : started ? OK : UNINITIALIZED;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    if ((int)index >= number("gpus", 0)) return INVALID;
    *handle = (void *)(long)(index + 1);
    return fails(__func__, index);
}
int nvmlDeviceGetUUID(void *handle, char *text, unsigned size) {
    char words[LINE];
    int code = fact(__func__, handle, "uuid", words);
    if (!code) snprintf(text, size, "%s", words);
    return code;
}
int nvmlDeviceGetName(void *handle, char *text, unsigned size) {
    char words[LINE];
    int code = fact(__func__, handle, "name", words);
    if (!code) snprintf(text, size, "%s", words);
    return code;
}
int nvmlDeviceGetMemoryInfo(void *handle, memory_t *memory) {
    char words[LINE];
    int code = fact(__func__, handle, "memory", words);
    if (!code) sscanf(words, "%llu %llu", &memory->total, &memory->free);
    if (!code) memory->used = memory->total - memory->free;
    return code;
}
int nvmlDeviceGetUtilizationRates(void *handle, utilization_t *rates) {
    rates->memory = 0;
    return unsigned_fact(__func__, handle, "utilization", &rates->gpu);
}
int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) {
    char words[LINE];
    int code = fact(__func__, handle, "capability", words);
    if (!code) sscanf(words, "%d.%d", major, minor);
    return code;
}
int nvmlDeviceGetPciInfo_v3(void *handle, pci_t *pci) {
    char words[LINE];
    int code = fact(__func__, handle, "pci", words);
    memset(pci, 0, sizeof *pci);
    if (!code) snprintf(pci->bus_id, sizeof pci->bus_id, "%.31s", words);
    return code;
}
int nvmlDeviceGetCpuAffinity(void *handle, unsigned size, unsigned long long *mask) {
    return mask_fact(__func__, handle, "cpus", size, mask);
}
int nvmlDeviceGetPowerUsage(void *handle, unsigned *milliwatts) {
    return unsigned_fact(__func__, handle, "power_mw", milliwatts);
}
int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *millijoules) {
    char words[LINE];
    unsigned milliwatts = 0;
    struct timespec now;
    int code = fact(__func__, handle, "energy", words);
    if (!code) code = unsigned_fact(__func__, handle, "power_mw", &milliwatts);
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (!code) *millijoules = (unsigned long long)((now.tv_sec + now.tv_nsec / 1e9) * milliwatts);
    return code;
}
int nvmlDeviceGetClockInfo(void *handle, unsigned type, unsigned *megahertz) {
    return unsigned_fact(__func__, handle, type == 1 ? "sm_clock" : type == 2 ? "memory_clock" : "-", megahertz);
}
int nvmlDeviceGetTemperature(void *handle, unsigned sensor, unsigned *celsius) {
    return unsigned_fact(__func__, handle, sensor == 0 ? "temperature" : "-", celsius);
}
int nvmlDeviceGetCurrentClocksThrottleReasons(void *handle, unsigned long long *bits) {
    unsigned value = 0;
    int code = unsigned_fact(__func__, handle, "reasons", &value);
    *bits = value;
    return code;
}
int nvmlDeviceGetEnforcedPowerLimit(void *handle, unsigned *milliwatts) {
    return unsigned_fact(__func__, handle, "power_limit_mw", milliwatts);
}
int nvmlDeviceGetP2PStatus(void *a, void *b, unsigned capability, int *status) {
    *status = capability == NVLINK ? 5 : OK; /* over PCIe they reach each other */
    return pair(__func__, a, b, capability == NVLINK ? "link" : "-", status);
}
int nvmlDeviceGetTopologyCommonAncestor(void *a, void *b, int *level) {
    *level = 50;
    return pair(__func__, a, b, "level", level);
}

#ifndef OLD_DRIVER
int nvmlDeviceGetCurrentClocksEventReasons(void *handle, unsigned long long *bits) {
    unsigned value = 0;
    int code = unsigned_fact(__func__, handle, "reasons", &value);
    *bits = value;
    return code;
}
int nvmlDeviceGetMemoryAffinity(void *handle, unsigned size, unsigned long long *mask, unsigned scope) {
    return scope == 0 ? mask_fact(__func__, handle, "numa", size, mask) : NOT_SUPPORTED;
}
int nvmlDeviceGetMigMode(void *handle, unsigned *current, unsigned *pending) {
    int code = unsigned_fact(__func__, handle, "mig", current);
    *pending = *current;
    return code;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, process_t *processes) {
    char words[LINE], *rest = words;
    unsigned found = 0;
    int code = fact(__func__, handle, "processes", words);
    if (code) return code;
    for (char *part = strtok_r(rest, ",", &rest); part; part = strtok_r(NULL, ",", &rest), found++)
        if (found < *count) processes[found] = (process_t){(unsigned)atoi(part), 1ULL << 30, ~0U, ~0U};
    code = found > *count ? TOO_SMALL : OK;
    *count = found;
    return code;
}
#endif
