"""What the engine and the GPUs say of themselves while a load client measures.

Sampled in the background every `measure.sample_s` seconds from the moment the engine is ready, and once
more where a measurement begins and ends. [B, E] is the measured window of the client, as `windows.py` finds
it. The names below are metrics of a measurement like any other: in the journal, in MLflow at the chosen load
and as `by_load/…`, over repeats their mean. What is not told is left out and noted, never guessed. GPUs are
sampled where they are detected and leased to a real engine: not for simulated engines, declared inventories
or engines that someone else runs. In a replay nothing is.

| metric | what it is |
|---|---|
| server/kv_cache_usage_mean, _max | share of the KV cache in use (0-1), mean of the replicas; over samples |
| server/running_mean, _max | requests in the batches of all replicas; over samples |
| server/waiting_mean, _max | requests that wait for a place in them; over samples |
| server/preemptions | requests put back for want of KV cache, in [B, E], all replicas |
| server/prefix_cache_hit_rate | tokens (TensorRT-LLM: blocks) found in the cache / looked up, in [B, E] |
| gpu/utilization_mean | share of time with a kernel running (0-1), mean of GPUs and samples |
| gpu/memory_gib_max | memory in use on the fullest GPU |
| gpu/power_w_mean | power of all leased GPUs together, mean over samples |
| gpu/sm_clock_mhz_mean, gpu/memory_clock_mhz_mean | mean of GPUs and samples |
| gpu/temperature_c_max | of the hottest GPU |
| gpu/throttled_fraction | share of samples in which a cap or heat held back at least one GPU |
| energy_j | energy of all leased GPUs in [B, E], idle power and all |
| energy_j_per_output_token | energy_j / (output_tokens_per_s · (E - B)) |
| energy_j_per_total_token | energy_j / (total_tokens_per_s · (E - B)) |

Energy is the difference of the GPU's own counter, interpolated linearly at B and E; where there is no
counter, power integrated by the trapezoid rule. Counters of the engine are differences between the samples
nearest to B and to E, counted on where a counter began anew.

The series go to `series.jsonl` of the trial, whose lines hold the name of each value as MLflow shows it:
`system/gpu_<index>_…` (named as MLflow's own system metrics, so that its UI shows them as such) and
`server/kv_cache_usage`, `server/running`, `server/waiting`, `server/preemptions_total` (since the first
sample) and `server/prefix_cache_hit_rate_recent` (since the sample before).
"""
